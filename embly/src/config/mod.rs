//! The project file, `embly-project.yml`: found, read, checked, and every problem shown.
//!
//! [`find`] looks for the file, [`load`] makes a [`Project`] of it or says all that is
//! wrong with it. On the way: `read` (text), `yaml` (a `tree` in which everything knows its
//! place), `overlay` (an environment takes the place of what the file says), `fields` (the keys that `schema` knows), then `function` and `gateway` with
//! `route` with `policy` and `websocket`, `transport`, `timeouts`, `access_log`, `cron`, `log`, `environment`, `secret`, `limit`, `allow`,
//! `http`, `tcp`, `store`, `paths` (values). What
//! is wrong goes to [`Problems`] and the rest is read on; `codes` is the table of all that can be
//! wrong.

mod access_log;
mod allow;
mod codes;
mod cron;
mod dotenv;
pub mod edit;
mod environment;
mod fields;
mod find;
mod function;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod gateway;
mod http;
mod json_schema;
mod limit;
mod log;
mod machine;
mod names;
mod overlay;
mod paths;
mod policy;
mod problem;
mod project;
mod read;
mod relocate;
mod render;
mod route;
mod schema;
mod secret;
mod sql;
mod store;
mod suggest;
mod tcp;
mod timeouts;
mod transport;
mod tree;
mod units;
mod websocket;
mod written;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

pub use access_log::AccessLog;
pub use codes::{ALL as CODES, Code};
pub use dotenv::{DOTENV, dotenv};
pub use environment::{Environment, Secrets};
pub use find::{NotFound, find};
pub use json_schema::json_schema;
pub use machine::Machine;
pub use names::{LONGEST_NAME, usable as is_usable_name};
pub use policy::{
    Algorithm, Auth, Basic, Compress, Cors, HeaderRules, Headers, IpRules, Jwt, Names, Policy,
    Rate, usable_keys,
};
pub use problem::{Problem, Problems, Record};
pub use relocate::{Place, Thing, relocated};
pub use suggest::nearest;
pub use timeouts::Timeouts;
pub use written::Written;

use crate::allow::Allow;
use crate::limits::{Isolation, Limits, Parked};
use crate::report::SinkPlan;
use crate::routes::{HostPattern, Pattern, Takes};
use crate::schedule::Schedule;
use crate::secrets::Given;
use crate::tls;

/// Name of the file that makes a folder a project.
pub const FILE_NAME: &str = "embly-project.yml";

/// A project file in which nothing is wrong.
#[derive(Clone, Debug)]
pub struct Project {
    /// The folder of the file, absolute and without links.
    pub root: PathBuf,
    /// The file, in `root`.
    pub file: PathBuf,
    /// In the order of the file; at least one.
    pub functions: Vec<Function>,
    /// In the order of the file.
    pub gateways: Vec<Gateway>,
    /// Those of type cron, in the order of the file.
    pub crons: Vec<Cron>,
    /// In the order of the file.
    pub stores: Vec<Store>,
    /// Where lines of logs go beside the output, in the order of the file.
    pub logs: Vec<SinkPlan>,
    /// The names of its `environments`, in the order of the file.
    pub environments: Vec<String>,
    /// The secrets that functions list.
    pub secrets: Given,
    /// Whether later migrations may have been applied than those that it has: it is a version among
    /// others, which may be served again after a later one.
    pub among_versions: bool,
    /// What is allowed but hardly meant.
    pub warnings: Problems,
}

/// A unit of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Unique among the functions of the project.
    pub name: String,
    /// The folder of the crate, or the `.wasm` or `.wat` file; absolute and without links.
    pub path: PathBuf,
    /// The folder that a build may read, `path` is in it; absolute and without links.
    pub context: PathBuf,
    /// How it becomes WebAssembly.
    pub language: Language,
    /// The exported function that runs.
    pub entry: String,
    /// Environment variables, `${NAME}` replaced.
    pub env: BTreeMap<String, String>,
    /// Names of the secrets that it gets.
    pub secrets: BTreeSet<String>,
    /// What each invocation may use.
    pub limits: Limits,
    /// What one process serves.
    pub isolation: Isolation,
    /// How many wrappers wait for requests.
    pub parked: Parked,
    /// What each may do to others.
    pub allow: Allow,
    /// Started with the project, and again as this says; `None`: only when it is called.
    pub start: Option<Restart>,
}

/// When a function that was started with the project is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It runs once.
    Never,
    /// After any ending but exit 0.
    OnFailure,
    /// After any ending.
    Always,
}

impl Restart {
    const ALL: [Restart; 3] = [Restart::Never, Restart::OnFailure, Restart::Always];

    /// As the project file says it.
    pub fn name(self) -> &'static str {
        match self {
            Restart::Never => "never",
            Restart::OnFailure => "on-failure",
            Restart::Always => "always",
        }
    }
}

/// What a function is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A crate.
    Rust,
    /// A ready module, binary or text.
    Wasm,
}

impl Language {
    const ALL: [Language; 2] = [Language::Rust, Language::Wasm];

    /// As the project file says it.
    pub fn name(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Wasm => "wasm",
        }
    }
}

/// What starts a function from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Unique among the gateways of the project.
    pub name: String,
    /// What it speaks.
    pub kind: GatewayKind,
    /// Where to listen.
    pub bind: Bind,
    /// 0: any free one, or there is none.
    pub port: u16,
    /// Its certificates; `None`: it serves without TLS.
    pub tls: Option<Tls>,
    /// Whose word about clients counts.
    pub proxies: Proxies,
    /// They begin each connection with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// The hosts that it serves; none: all.
    pub hosts: Vec<HostPattern>,
    /// Name of a function of the project: what takes what no route matches.
    pub function: Option<String>,
    /// In the order of the file.
    pub routes: Vec<Route>,
    /// How it serves WebSockets, if that is what it is for.
    pub websocket: Option<Websocket>,
    /// How long clients are waited for.
    pub timeouts: Timeouts,
    /// Where its access lines go as well.
    pub access_log: Option<AccessLog>,
    /// The path that a version that was just deployed answers with a status from 200 to 299.
    pub health: Option<String>,
    /// What is done to requests that no route takes, and to their answers.
    pub policy: Policy,
}

/// How WebSockets are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Websocket {
    /// The most bytes of one message, either way.
    pub message: u32,
    /// So often a silent client is asked whether it is there; `None`: never.
    pub ping: Option<Duration>,
    /// Pages of these origins may connect; none: all.
    pub origins: Vec<String>,
    /// Subprotocols that the function speaks, the best first.
    pub protocols: Vec<String>,
}

/// Where a gateway listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// A port of this address.
    Ip(IpAddr),
    /// A Unix socket; absolute.
    Unix(PathBuf),
    /// A socket that systemd has opened, by its name.
    Systemd(String),
}

/// Those who stand before a gateway and are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Their addresses.
    pub networks: Vec<IpNet>,
    /// Programs that connect to a Unix socket.
    pub unix: bool,
}

impl Proxies {
    /// Whether one of them has this address.
    pub fn trust(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }
}

/// The certificates of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Those in files; the first is for clients that name no host.
    pub files: Vec<tls::Files>,
    /// One that is made on the machine of a developer.
    pub dev: bool,
}

/// Some of the requests of a gateway, and what answers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What the function is told; the path where the file does not say.
    pub name: String,
    /// Which paths.
    pub path: Pattern,
    /// Which methods.
    pub methods: Takes,
    /// What answers.
    pub target: Target,
    /// Variables on top of the function's own.
    pub env: BTreeMap<String, String>,
    /// Its function takes WebSockets, and nothing else.
    pub websocket: Option<Websocket>,
    /// What is done to its requests and their answers: what it says, and else what its gateway does.
    pub policy: Policy,
}

/// What answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The function of this name.
    Function(String),
    /// The gateway, with another place.
    Redirect(Redirect),
    /// The gateway, with files.
    Files(Files),
}

/// A folder of static files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Absolute and without links.
    pub root: PathBuf,
    /// What is answered for a file that is not there: a file below the folder, and a status.
    pub not_found: Option<(String, u16)>,
    /// How long browsers may keep one without asking; `None`: they ask each time.
    pub cache: Option<Duration>,
}

/// Another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// A path or URL, in pieces.
    pub to: Vec<Piece>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// A piece of where a redirect leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The parameter of this name.
    Parameter(String),
}

/// What a gateway speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayKind {
    /// One invocation for each request.
    Http,
    /// One invocation for each connection.
    Tcp,
    /// HTTP that takes WebSockets only: one invocation for each.
    Websocket,
}

impl GatewayKind {
    const ALL: [GatewayKind; 3] = [GatewayKind::Http, GatewayKind::Tcp, GatewayKind::Websocket];

    /// As the project file says it.
    pub fn name(self) -> &'static str {
        match self {
            GatewayKind::Http => "http",
            GatewayKind::Tcp => "tcp",
            GatewayKind::Websocket => "websocket",
        }
    }

    /// The scheme of its URLs.
    pub fn scheme(self) -> &'static str {
        match self {
            GatewayKind::Http => "http",
            GatewayKind::Tcp => "tcp",
            GatewayKind::Websocket => "ws",
        }
    }
}

/// A gateway of type cron: it starts its function when the time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    /// Unique among the gateways of the project.
    pub name: String,
    /// Name of a function of the project.
    pub function: String,
    /// When.
    pub schedule: Schedule,
    /// What happens to a run whose time comes while another one goes on.
    pub overlap: Overlap,
    /// What happens to runs whose time has passed while nothing could run.
    pub missed: Missed,
    /// Each run begins later by a random time below this one.
    pub jitter: Duration,
}

/// Runs whose time comes while another one goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Are left out.
    Skip,
    /// Begin when it has ended.
    Queue,
    /// Begin all the same.
    Allow,
}

impl Overlap {
    const ALL: &[Overlap] = &[Overlap::Skip, Overlap::Queue, Overlap::Allow];

    /// As the project file says it.
    pub fn name(self) -> &'static str {
        match self {
            Overlap::Skip => "skip",
            Overlap::Queue => "queue",
            Overlap::Allow => "allow",
        }
    }
}

/// Runs whose time has passed: the machine slept, or no master ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Are left out.
    Skip,
    /// Are made up for by one.
    RunOnce,
}

impl Missed {
    const ALL: &[Missed] = &[Missed::Skip, Missed::RunOnce];

    /// As the project file says it.
    pub fn name(self) -> &'static str {
        match self {
            Missed::Skip => "skip",
            Missed::RunOnce => "run-once",
        }
    }
}

/// Where functions keep data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Unique among the stores of the project.
    pub name: String,
    /// What it is.
    pub kind: StoreKind,
    /// Its file, relative to the state folder.
    pub path: PathBuf,
}

/// What a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Keys and values.
    Kv {
        /// When a change is acknowledged.
        durability: Durability,
        /// Bytes that its entries may have together; `None` for no limit.
        size: Option<u64>,
    },
    /// An SQLite database.
    Sql {
        /// When a commit is acknowledged.
        durability: Durability,
        /// The most bytes that it may have.
        size: Option<u64>,
        /// In the order in which they are applied.
        migrations: Vec<Migration>,
    },
}

/// A file with statements that are applied once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// From 1, without gaps.
    pub number: u32,
    /// Name of the file.
    pub name: String,
    /// The file; absolute.
    pub path: PathBuf,
}

/// When a change to a store is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is on the disk: it survives the end of the master, and of the machine.
    #[default]
    Full,
    /// When the system has it: it survives the end of the master.
    Relaxed,
}

/// Reads and checks a project file. The error has every problem of the file.
pub fn load(file: &Path, environment: &Environment<'_>) -> Result<Project, Problems> {
    load_for(file, environment, &Machine::here())
}

/// The project file as it is written, with what it says for one of its environments in its place.
/// The error has its problems as far as that goes.
pub fn written(file: &Path, environment: Option<&str>) -> Result<Written, Problems> {
    project::written(read::text(file)?, environment)
}

/// [`load`], for a machine of another size.
pub fn load_for(
    file: &Path,
    environment: &Environment<'_>,
    machine: &Machine,
) -> Result<Project, Problems> {
    project::read(read::text(file)?, environment, machine)
}
