//! The project of a run, its master, and what faults need to know of both.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::attacks::ATTACKS;
use crate::backend::Backend;
use crate::kinds::Limited;
use crate::load::{Load, Record, once};
use crate::plan::{Mode, Plan};
use crate::support::outbound::{Disk, own_disk};
use crate::support::process::{Process, children};
use crate::support::project::{answering, guest};
use crate::support::user::{copied, open};
use crate::support::{self, EMBLY, Embly, Project};

/// Whatever has happened, a master serves again so soon after the last fault is over.
pub const WELL_WITHIN: Duration = Duration::from_secs(30);

/// Of those that have a user of their own: one for each run, so that its processes are counted alone.
const FIRST_USER: u32 = 61_000;

/// What is not called any more has no process soon.
const SOON: &str = "    parked: {after: 2s}";

/// All that the project serves from text modules and from `tests/guest`.
const FUNCTIONS: [&str; 11] = [
    "stores", "mirrors", "echo", "socket", "queries", "asks", "chain", "link", "hello", "sleeps",
    "pours",
];

/// How the project file is at the moment.
#[derive(Default)]
struct Edits {
    header: usize,
    code: usize,
    migrations: usize,
    /// How many faults keep it from being one.
    broken: usize,
}

pub struct World {
    /// They go before the folders that they lie in.
    _disks: Vec<Disk>,
    pub project: Project,
    pub record: Record,
    pub backend: Backend,
    mode: Mode,
    soak: bool,
    user: Option<u32>,
    cache: tempfile::TempDir,
    /// The clock that it is told, where that is not the machine's.
    clock: Option<crate::clock::Shim>,
    pid: AtomicI32,
    at: Mutex<HashMap<&'static str, SocketAddr>>,
    embly: Mutex<Option<Embly>>,
    edits: Mutex<Edits>,
    text: String,
    findings: Mutex<Vec<String>>,
    /// What runs out for whom.
    pub limited: Limited,
    /// How often each kind has struck.
    struck: Mutex<HashMap<&'static str, usize>>,
    /// What earlier masters of this run have said.
    said: Mutex<String>,
    pub masters: AtomicUsize,
}

/// Gateways of the load, and of functions that faults ask themselves.
fn gateways(mode: Mode) -> Vec<&'static str> {
    let mut all: Vec<_> = Load::ALL.iter().map(|load| load.name()).collect();
    all.extend(["sleeps", "pours"]);
    if mode == Mode::Exec {
        all.push("attacks");
    }
    all
}

impl World {
    /// The project, and its master, which listens.
    pub fn start(plan: &Plan) -> Self {
        let backend = Backend::start();
        let project = project(plan, &backend);
        project.path();
        let text = project.read("embly-project.yml");
        let cache = tempfile::tempdir().unwrap();
        let mut disks = Vec::new();
        if plan.has("full-cache") {
            disks.extend(own_disk(cache.path(), "size=16m,mode=0700"));
        }
        let data = project.folder().join("data");
        if plan.has("full-data") {
            fs::create_dir(&data).unwrap();
            disks.extend(own_disk(&data, "size=6m,mode=0700"));
        }
        fill_cache(cache.path());
        let user = (plan.mode == Mode::User && rustix::process::geteuid().is_root())
            .then(|| FIRST_USER + u32::try_from(plan.seed % 4000).expect("less than 4,000"));
        let world = Self {
            clock: plan
                .has("clock-steps")
                .then(crate::clock::Shim::new)
                .flatten(),
            project,
            record: Record::default(),
            backend,
            mode: plan.mode,
            soak: plan.soak,
            user,
            cache,
            pid: AtomicI32::new(0),
            at: Mutex::default(),
            embly: Mutex::default(),
            edits: Mutex::default(),
            text,
            findings: Mutex::default(),
            limited: Limited::default(),
            struck: Mutex::default(),
            said: Mutex::default(),
            masters: AtomicUsize::new(0),
            _disks: disks,
        };
        world.begin();
        world
    }

    /// Starts a master on what is there; panics where it does not serve.
    pub fn begin(&self) {
        // That of the last one, with what it may have left.
        let mut runtime = tempfile::tempdir().unwrap();
        let old = self.master().take();
        if let Some(mut old) = old {
            std::mem::swap(&mut old.runtime, &mut runtime);
            self.said.lock().unwrap().push_str(&old.stderr());
        }
        let mut command = Command::new("setsid");
        if let Some(user) = self.user {
            for folder in [self.project.folder(), self.cache.path(), runtime.path()] {
                give(folder, user);
            }
            let id = user.to_string();
            command = Command::new("setpriv");
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "setsid"]);
            command.arg(executable_for_all());
        } else if self.mode == Mode::Exec {
            command.arg(std::env::current_exe().unwrap());
        } else {
            command.arg(EMBLY);
        }
        let mut command = support::environment(command, runtime.path());
        command.args(support::arguments("run", self.project.folder()));
        command.env("XDG_CACHE_HOME", self.cache.path());
        if self.mode == Mode::Exec {
            command.args(["--wrappers", "exec"]);
        }
        if let Some(clock) = &self.clock {
            clock.show(&mut command);
        }
        let keep = match self.soak {
            true => |line: &str| !line.contains("\"event\":\"invocation_"),
            false => |_: &str| true,
        };
        let count = gateways(self.mode).len();
        let started = Embly::spawn_and_keep(command, runtime, count, keep);
        let mut at = self.at.lock().unwrap();
        for gateway in gateways(self.mode) {
            at.insert(gateway, started.at(gateway));
        }
        self.pid.store(started.pid(), Ordering::SeqCst);
        self.masters.fetch_add(1, Ordering::Relaxed);
        *self.master() = Some(started);
    }

    fn master(&self) -> MutexGuard<'_, Option<Embly>> {
        self.embly.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a gateway listens; `None` while there is no master.
    pub fn at(&self, gateway: &str) -> Option<SocketAddr> {
        let there = self.pid.load(Ordering::SeqCst) != 0;
        there.then(|| self.at.lock().unwrap().get(gateway).copied())?
    }

    /// The master's process; `None` while there is none.
    pub fn pid(&self) -> Option<i32> {
        Some(self.pid.load(Ordering::SeqCst)).filter(|pid| *pid != 0)
    }

    /// Kills the master, and starts another one on the same data: as soon as that works.
    pub fn kill_and_restart(&self, pause: Duration) {
        let pid = self.pid.swap(0, Ordering::SeqCst);
        if pid == 0 {
            return;
        }
        support::kill(pid, Signal::KILL);
        if let Some(embly) = self.master().as_mut() {
            embly.wait();
        }
        std::thread::sleep(pause);
        self.begin_again();
    }

    /// Starts a master, where that fails because of some other fault, again.
    pub fn begin_again(&self) {
        let since = Instant::now();
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.begin())) {
                Ok(()) => return,
                Err(panic) if since.elapsed() > WELL_WITHIN => {
                    let text = crate::report::panic_text(panic.as_ref());
                    return self.finding(format!("no master starts on what is there: {text}"));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Does this with the master, where there is one.
    pub fn with<T>(&self, what: impl FnOnce(&mut Embly) -> T) -> Option<T> {
        self.master().as_mut().map(what)
    }

    /// The processes of the master.
    pub fn processes(&self) -> Vec<Process> {
        self.pid().map(children).unwrap_or_default()
    }

    pub fn servers(&self) -> Vec<Process> {
        let mut found = self.processes();
        found.retain(|process| {
            process.leads()
                && (process.name == "code" || FUNCTIONS.contains(&process.name.as_str()))
        });
        found
    }

    pub fn wrappers(&self) -> Vec<Process> {
        let mut found = self.processes();
        found.retain(|process| !process.leads());
        found
    }

    /// The processes that run SQL.
    pub fn sql(&self) -> Vec<Process> {
        self.with(|embly| support::sql::processes(embly))
            .unwrap_or_default()
    }

    /// The folders of the master's sockets.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let folders = self.with(|embly| support::admin::folders(embly.runtime.path()));
        folders.unwrap_or_default()
    }

    /// The master's cache and the folder with its data.
    pub fn cache(&self) -> &Path {
        self.cache.path()
    }

    pub fn data(&self) -> PathBuf {
        self.project.folder().join("data")
    }

    pub fn clock(&self) -> Option<&crate::clock::Shim> {
        self.clock.as_ref()
    }

    /// Tells the master to read its project again.
    pub fn reload(&self) {
        if let Some(pid) = self.pid() {
            signal(pid, Signal::HUP);
        }
    }

    /// Changes the project file, and has it read.
    pub fn edit(&self, what: Edit) {
        let mut edits = self.edits.lock().unwrap();
        match what {
            Edit::Code => {
                edits.code += 1;
                let text = answering(&format!("code {}", edits.code));
                self.project.write("code.wat", &text);
            }
            Edit::Header => edits.header += 1,
            Edit::Break => edits.broken += 1,
            Edit::Mend => edits.broken -= 1,
            Edit::Migration(text) => {
                edits.migrations += 1;
                let n = edits.migrations;
                let text = text.replace("NUMBER", &n.to_string());
                self.project
                    .write(&format!("migrations/{:03}-more.sql", n + 1), &text);
            }
        }
        let version = format!("x-version: v{}", edits.header);
        let mut text = self.text.replace("x-version: v0", &version);
        if edits.broken > 0 {
            text.push_str("  - {name: nobody, type: http, port: [no, number]\n");
        }
        self.project.write("embly-project.yml", &text);
        drop(edits);
        self.reload();
    }

    /// How many migrations were added.
    pub fn migrations(&self) -> usize {
        self.edits.lock().unwrap().migrations
    }

    /// Something that must not be.
    pub fn finding(&self, what: String) {
        self.findings.lock().unwrap().push(what);
    }

    pub fn findings(&self) -> Vec<String> {
        self.findings.lock().unwrap().clone()
    }

    /// Does this; that it panics is a finding.
    pub fn watched(&self, who: &str, what: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(what)) {
            let text = crate::report::panic_text(panic.as_ref());
            self.finding(format!("{who}: {text}"));
        }
    }

    /// A fault of this kind has had an effect, so often.
    pub fn strikes(&self, kind: &'static str, times: usize) {
        *self.struck.lock().unwrap().entry(kind).or_default() += times;
    }

    pub fn struck(&self) -> HashMap<&'static str, usize> {
        self.struck.lock().unwrap().clone()
    }

    /// One request of this kind is acknowledged, in the end.
    pub fn well(&self, load: Load) {
        let since = Instant::now();
        let mut outcome = once(self, load);
        while outcome != crate::load::Outcome::Acknowledged {
            if since.elapsed() > WELL_WITHIN {
                return self.finding(format!("{} is not well again: {outcome:?}", load.name()));
            }
            std::thread::sleep(Duration::from_millis(50));
            outcome = once(self, load);
        }
    }

    /// What masters of this run have said, the last lines.
    pub fn said(&self, lines: usize) -> String {
        let mut said = self.said.lock().unwrap().clone();
        self.with(|embly| {
            said.push_str(&embly.stderr());
            for event in embly.events() {
                if ["message", "invocation_ended"].contains(&event["event"].as_str().unwrap_or(""))
                {
                    said.push_str(&format!("{event}\n"));
                }
            }
        });
        let all: Vec<&str> = said.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// A change of the project.
pub enum Edit {
    Code,
    Header,
    Break,
    Mend,
    /// Its text, in which `NUMBER` is its own.
    Migration(&'static str),
}

/// Sends a signal to what may be gone.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn project(plan: &Plan, backend: &Backend) -> Project {
    let mut project = if plan.parked {
        Project::new()
    } else {
        Project::unparked()
    };
    let at = backend.at();
    for name in FUNCTIONS {
        let limits = match name {
            "echo" | "queries" | "socket" if plan.soak => "{idle: 20s}",
            _ if plan.soak => "{wall: 20s, idle: 20s}",
            "echo" | "queries" | "socket" => "{idle: 5s}",
            "sleeps" | "pours" => "{wall: 5s, idle: 5s}",
            _ => "{wall: 5s}",
        };
        let mut keys = format!("    limits: {limits}");
        if plan.soak {
            keys += &format!("\n{SOON}");
        }
        keys += match name {
            "stores" => "\n    allow: {kv: [default]}".to_owned(),
            "queries" => "\n    allow: {sql: [main]}".to_owned(),
            "asks" => format!("\n    allow: {{http: [{{url: 'http://{at}', private: true}}]}}"),
            _ => String::new(),
        }
        .as_str();
        if plan.reused && ["mirrors", "stores", "hello"].contains(&name) {
            keys += "\n    isolation: function";
        }
        project = project.guest_with(name, &keys);
        project = match name {
            "echo" | "queries" => project.tcp(name),
            "socket" => project.gateway(name, "websocket", name),
            "link" => project,
            _ => project.http(name),
        };
    }
    let keys = if plan.soak { SOON } else { "" };
    project = project.wat_with("code", &answering("code 0"), keys);
    project = project.gateway_with(
        "code",
        "    port: 0\n    function: code\n    headers: {set: {x-version: v0}}",
    );
    if plan.mode == Mode::Exec {
        let mut routes = "    port: 0\n    routes:".to_owned();
        for attack in ATTACKS {
            let name = attack.name;
            project = project.wat_with(name, &answering("hello"), "    limits: {wall: 1s}");
            routes += &format!("\n      - {{path: /{name}, function: {name}}}");
        }
        project = project.gateway_with("attacks", &routes);
    }
    project.write(
        "migrations/001-first.sql",
        "CREATE TABLE t (a TEXT) STRICT;\n",
    );
    project
        .store("name: default, type: kv")
        .store("name: main, type: sql, path: main.db, migrations: ./migrations")
}

/// Copies the artefacts that every run needs: each is compiled once.
fn fill_cache(cache: &Path) {
    static ONCE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let full = ONCE.get_or_init(|| {
        guest();
        let cache = tempfile::tempdir().unwrap();
        let runtime = tempfile::tempdir().unwrap();
        let project = Project::new()
            .guest("hello")
            .wat("code", &answering("code 0"));
        let project = project.wat("attack", &answering("hello"));
        let path = project.path().to_str().unwrap();
        let mut build = support::command(&["build", path], runtime.path());
        build.env("XDG_CACHE_HOME", cache.path());
        let built = build.output().unwrap();
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        cache
    });
    let (from, to) = (
        full.path().join("embly/artefacts"),
        cache.join("embly/artefacts"),
    );
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Everything in a folder belongs to this user from now on.
fn give(folder: &Path, user: u32) {
    chown(folder, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => give(&entry.path(), user),
            // A file may go meanwhile.
            false => drop(chown(entry.path(), Some(user), Some(user))),
        }
    }
}

/// The executable where every user may run it.
fn executable_for_all() -> &'static Path {
    static COPY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = COPY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path());
        let path = copied(Path::new(EMBLY), folder.path());
        (folder, path)
    });
    path
}
