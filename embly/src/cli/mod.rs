//! The command line: what can be typed, and the exit code of it.

mod add;
mod admin;
mod build;
mod bundle;
mod check;
mod clean;
mod context;
mod dev;
mod doctor;
mod explain;
mod hash;
mod help;
mod invoke;
mod keys;
mod manual;
mod mistyped;
mod new;
mod output;
mod run;
mod schema;
mod scratch;
mod secrets;
mod serve;
mod source;
mod store;
mod taken;
mod test;
mod toolchain;
mod ws;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use embly_wrapper::jail::User;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use admin::Ask;

use crate::bundle::VerifyKey;
use crate::gateway::Activated;
use crate::master::BindOverride;
use crate::report::{self, Reporter};
use crate::versions::Versions;

/// Functions as WebAssembly, each invocation in a process of its own
#[derive(Debug, Parser)]
#[command(name = "embly", version, about, disable_help_subcommand = true)]
#[command(
    after_help = "Examples:\n  embly new hello && cd hello && embly dev\n  embly invoke hello --http GET /\n  embly explain E122"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new project
    #[command(
        after_help = "Examples:\n  embly new hello\n  embly new hello --template site\n  embly new --list\n  mkdir hello && cd hello && embly new ."
    )]
    New(new::New),
    /// Add a function or a gateway to the project file, which otherwise stays as it is
    #[command(
        after_help = "Examples:\n  embly add function users\n  embly add gateway web --function users"
    )]
    Add {
        #[command(subcommand)]
        command: add::Command,
    },
    /// Build, run, and build again at each change
    #[command(
        after_help = "Examples:\n  embly dev\n  embly dev examples/project\n  embly dev --bind :0\n\nKeys in a terminal:\n  r  build all functions again\n  o  open in a browser\n  f  lines of one function only\n  p  what runs now\n  q  stop\n  ?  all of this"
    )]
    Dev(Serve),
    /// Build what has changed, and run; or run a bundle
    #[command(
        after_help = "Examples:\n  embly run\n  embly run --bind 0.0.0.0 --state /var/lib/shop\n  embly run shop.embly --state /var/lib/shop\n  embly run --format json >events.jsonl"
    )]
    Run(Run),
    /// Build
    #[command(after_help = "Examples:\n  embly build\n  embly build examples/project --no-install")]
    Build(Project),
    /// Build, and put all that runs elsewhere into one file
    #[command(
        after_help = "Examples:\n  embly bundle\n  embly bundle -o /tmp/shop.embly\n  embly bundle --new-key shop.key\n  embly bundle --sign-key shop.key"
    )]
    Bundle(bundle::Make),
    /// Unpack a bundle to a new folder, which is a project
    #[command(
        after_help = "Examples:\n  embly unbundle shop.embly\n  embly unbundle shop.embly -C /tmp/shop --verify-key shop.key.pub"
    )]
    Unbundle(bundle::Unpack),
    /// Run one function once: standard input is its stream, which is printed
    #[command(
        after_help = "Examples:\n  echo hello | embly invoke echo\n  embly invoke digest </dev/null\n  embly invoke hello --http GET '/?name=you' -i\n  embly invoke users --http POST /users -H 'Content-Type: application/json' -d @user.json\n  embly invoke import --env MODE=fast -- --all"
    )]
    Invoke(Box<invoke::Invoke>),
    /// Run the functions' own tests, then requests to the project as it is served, from `tests/*.hurl`
    #[command(
        after_help = "Examples:\n  embly test\n  embly test --filter users\n  embly test --format json"
    )]
    Test(Box<test::Test>),
    /// See whether the project file is right, and nothing else
    #[command(
        after_help = "Examples:\n  embly check\n  embly check --format json\n  embly check --environment production --resolved"
    )]
    Check(check::Check),
    /// What only the functions get that list it
    #[command(after_help = "Examples:\n  embly secrets set STRIPE_KEY\n  embly secrets list")]
    Secrets {
        #[command(subcommand)]
        command: secrets::Command,
    },
    /// What functions keep
    #[command(
        after_help = "Examples:\n  embly store browse default\n  embly store backup default /backups/default.kv"
    )]
    Store {
        #[command(subcommand)]
        command: store::Command,
    },
    /// Talk to a WebSocket: lines are sent as text, messages are printed, bytes as hex
    #[command(
        after_help = "Examples:\n  embly ws ws://127.0.0.1:8080/chat\n  echo hello | embly ws -H 'Origin: https://example.test' wss://example.test/chat"
    )]
    Ws(ws::Ws),
    /// Make the hash of a password, or a token and its hash, for `auth` of the project file
    #[command(
        after_help = "Examples:\n  embly hash\n  embly hash <password.txt\n  embly hash --token"
    )]
    Hash {
        /// Make a random token
        #[arg(long)]
        token: bool,
    },
    /// Show the masters that run
    #[command(after_help = "Examples:\n  embly masters\n  embly masters --format json")]
    Masters,
    /// Show what runs in a master: each invocation, and what it uses
    #[command(
        after_help = "Examples:\n  embly ps\n  embly ps --functions\n  embly ps --master 8b3e0f6d"
    )]
    Ps {
        #[command(flatten)]
        which: admin::Which,
        /// Show functions, how many of their processes run and wait, and what was refused
        #[arg(long)]
        functions: bool,
    },
    /// Show what runs in a master, again and again: keys choose the order, `q` quits
    #[command(after_help = "Examples:\n  embly top\n  embly top --sort memory")]
    Top(admin::Top),
    /// Show what functions have written, from what the master keeps
    #[command(
        after_help = "Examples:\n  embly logs\n  embly logs -f --function hello\n  embly logs --since 10m examples/project"
    )]
    Logs(admin::Logs),
    /// Show who started whom, what went between them and how each ended: of a request, or of all that
    /// belongs to an invocation
    #[command(
        after_help = "Examples:\n  embly trace\n  embly trace 8b3e0f6d2f1c9a47\n  embly trace 019ad3f2-7c1e-7a30-9d5b-3f1e2a4b5c6d --format json"
    )]
    Trace(admin::Trace),
    /// End an invocation, and what it has started
    #[command(after_help = "Examples:\n  embly kill 8b3e0f6d2f1c9a47\n  embly kill 8b3e0f")]
    Kill {
        /// Its address, as `embly ps` shows it, or the beginning of it
        address: admin::Beginning,
        #[command(flatten)]
        which: admin::Which,
    },
    /// Have a master read its project again, build what has changed and serve it
    #[command(after_help = "Examples:\n  embly reload\n  embly reload --master 8b3e0f6d")]
    Reload(admin::Which),
    /// Say whether a master serves: for health checks
    #[command(after_help = "Example:\n  embly ready || echo not yet")]
    Ready(admin::Which),
    /// Give a master a bundle: it is checked, compiled and served, or nothing changes
    #[command(
        after_help = "Examples:\n  embly deploy shop.embly\n  embly deploy shop.embly --master 8b3e0f6d\n  embly deploy shop.embly --to ssh://shop@example.test"
    )]
    Deploy(admin::Deploy),
    /// Show the versions that were deployed to a master and are kept
    #[command(
        after_help = "Examples:\n  embly versions\n  embly versions --master 8b3e0f6d\n  embly versions --state /var/lib/shop"
    )]
    Versions(admin::Kept),
    /// Have a master serve a version that was deployed before
    #[command(after_help = "Examples:\n  embly rollback\n  embly rollback 3")]
    Rollback {
        /// Its number, as `embly versions` shows it [default: the latest before the current one]
        version: Option<u64>,
        #[command(flatten)]
        named: admin::Named,
    },
    /// Have a master finish what runs, then stop; a second time, stop at once
    #[command(after_help = "Examples:\n  embly stop\n  embly stop --master 8b3e0f6d")]
    Stop(admin::Which),
    /// Say what is there, what is missing, and what to type
    #[command(after_help = "Example:\n  embly doctor")]
    Doctor,
    /// Print the JSON Schema of the project file, which editors complete and check it with
    #[command(after_help = "Example:\n  embly schema >embly-project.schema.json")]
    Schema,
    /// Say what a code, the reason of an ending or an errno means, and what to do
    #[command(
        after_help = "Examples:\n  embly explain E122\n  embly explain bad_response\n  embly explain"
    )]
    Explain {
        /// The code, as `E122`, `memory` or `EAGAIN`; without one all are listed
        code: Option<String>,
    },
    /// Show what Embly has made that can be made again, and remove what you choose
    #[command(after_help = "Examples:\n  embly clean\n  embly clean --build\n  embly clean --all")]
    Clean(clean::Clean),
    /// Print a script with which a shell completes what you type
    #[command(
        after_help = "Examples:\n  embly completions bash >~/.local/share/bash-completion/completions/embly\n  embly completions zsh >\"${fpath[1]}/_embly\"\n  embly completions fish >~/.config/fish/completions/embly.fish"
    )]
    Completions {
        /// The shell
        shell: manual::Shell,
    },
    /// Print the manual page, or make one for each command in a folder
    #[command(
        after_help = "Examples:\n  embly man | man -l -\n  embly man ~/.local/share/man/man1"
    )]
    Man {
        /// The folder; made where it is not there
        dir: Option<PathBuf>,
    },
    /// The compiler for functions
    #[command(after_help = "Example:\n  embly toolchain install")]
    Toolchain {
        #[command(subcommand)]
        command: Toolchain,
    },
}

#[derive(Debug, Subcommand)]
enum Toolchain {
    /// Install what is missing to compile functions, without root
    #[command(after_help = "Example:\n  embly toolchain install")]
    Install,
}

#[derive(Debug, Args)]
struct Where {
    /// Folder of the project, or anything below it
    #[arg(default_value = ".")]
    path: PathBuf,
}

/// A project file, and which of its environments is meant.
#[derive(Debug, Args)]
struct Chosen {
    #[command(flatten)]
    place: Where,
    /// With what the project file says for this one of its `environments`
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
}

impl Chosen {
    /// The name of the environment, if one is meant.
    fn named(&self) -> Option<&str> {
        self.environment.as_deref()
    }
}

/// A project, and what it keeps.
#[derive(Debug, Args)]
struct Kept {
    #[command(flatten)]
    chosen: Chosen,
    /// Folder of what is kept: stores, secrets [default: data, in the project]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Project {
    #[command(flatten)]
    chosen: Chosen,
    /// Do not install what is missing, say so and stop
    #[arg(long)]
    no_install: bool,
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    project: Project,
    /// Listen there instead of where the project file says; port 0 is any free one
    #[arg(long, env = "EMBLY_BIND", value_name = "ADDR|ADDR:0|:0", value_parser = parse_bind)]
    bind: Option<BindOverride>,
    /// Folder of what is kept: stores, secrets [default: data, in the project]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Answer there with metrics for Prometheus (`/metrics`) and health (`/healthz`, `/readyz`), to
    /// whoever asks; port 0 is any free one
    #[arg(long, value_name = "IP:PORT")]
    admin_listen: Option<SocketAddr>,
    /// Path of the socket for wrappers that Embly did not fork
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// How wrappers are started: forked from a loaded function, or as a program each, which is
    /// slow and helps to look for mistakes
    #[arg(long, value_enum, default_value_t = Wrappers::Fork)]
    wrappers: Wrappers,
    /// As root: the user that functions run as, by number, of whom nothing else should run
    #[arg(long, value_name = "UID[:GID]")]
    jail_user: Option<User>,
    /// Do not start where a part of the jail is missing
    #[arg(long)]
    require_jail: bool,
    /// Sockets that were open before.
    #[arg(skip)]
    activated: Arc<Activated>,
    /// What the master is known by, where that is not the project file.
    #[arg(skip)]
    known_as: Option<PathBuf>,
    /// Whether versions can be deployed, and the key that must have signed them.
    #[arg(skip)]
    deploys: Option<(Versions, Option<VerifyKey>)>,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    serve: Serve,
    #[command(flatten)]
    verify: bundle::Verify,
}

impl Serve {
    /// What a command of another kind serves for itself.
    fn alone(project: Project, jail_user: Option<User>, require_jail: bool) -> Self {
        Self {
            project,
            bind: None,
            state: None,
            admin_listen: None,
            socket: None,
            wrappers: Wrappers::Fork,
            jail_user,
            require_jail,
            activated: Arc::default(),
            known_as: None,
            deploys: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wrappers {
    Fork,
    Exec,
}

#[derive(Debug, Args)]
struct Output {
    /// Lines for people on stderr, or a JSON object a line on stdout
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// No colour
    #[arg(long, global = true)]
    no_color: bool,
    /// Say more
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Only say what is wrong
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// How a command ended, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Done,
    /// Something went wrong, and was said.
    Failed,
    /// The command line or the project file is wrong.
    Usage,
    /// As a function wants it.
    Code(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Code(code) => code,
        })
    }
}

/// What was typed. Wrong lines, and those that ask for help, end here.
fn parse() -> Cli {
    let typed = help::fitted(Cli::command()).try_get_matches();
    let parsed = typed.and_then(|mut matches| {
        let parsed = Cli::from_arg_matches_mut(&mut matches);
        parsed.map_err(|error| error.format(&mut Cli::command()))
    });
    parsed.unwrap_or_else(|error| mistyped::exit(error))
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    // There is one thread, and nothing is open.
    let activated = Arc::new(Activated::take());
    let Cli { command, output } = parse();
    let options = report::Options {
        format: match output.format {
            Format::Text => report::Format::Text,
            Format::Json => report::Format::Json,
        },
        color: report::Options::terminal_color(output.no_color),
        verbose: output.verbose,
        quiet: output.quiet,
    };
    let reporter = match Reporter::new(options) {
        Ok(reporter) => reporter,
        Err(error) => {
            eprintln!("error: cannot start a thread: {error}");
            return Exit::Failed.into();
        }
    };
    let exit = match command {
        Command::New(new) => new::run(&new, &reporter),
        Command::Add { command } => add::run(&command, &reporter),
        Command::Dev(mut serve) => {
            serve.activated = activated;
            dev::run(&serve, &reporter)
        }
        Command::Run(mut run) => {
            run.serve.activated = activated;
            run::run(run, &reporter)
        }
        Command::Build(project) => build::run(&project, &reporter),
        Command::Bundle(make) => bundle::make(&make, &reporter),
        Command::Unbundle(unpack) => bundle::unpack(&unpack, &reporter),
        Command::Invoke(invoke) => invoke::run(*invoke, &reporter),
        Command::Test(test) => test::run(*test, &reporter),
        Command::Check(check) => check::run(&check, &reporter),
        Command::Store { command } => store::run(&command, &reporter),
        Command::Secrets { command } => secrets::run(&command, &reporter),
        Command::Ws(ws) => ws::run(&ws, &reporter),
        Command::Hash { token } => hash::run(token, &reporter),
        Command::Masters => admin::run(&Ask::Masters, &reporter),
        Command::Ps { which, functions } => admin::run(&Ask::Ps(&which, functions), &reporter),
        Command::Top(top) => admin::run(&Ask::Top(&top), &reporter),
        Command::Logs(logs) => admin::run(&Ask::Logs(&logs), &reporter),
        Command::Trace(trace) => admin::run(&Ask::Trace(&trace), &reporter),
        Command::Kill { address, which } => admin::run(&Ask::Kill(&which, &address), &reporter),
        Command::Ready(which) => admin::run(&Ask::Ready(&which), &reporter),
        Command::Reload(which) => admin::run(&Ask::Reload(&which), &reporter),
        Command::Deploy(deploy) => admin::deploy(&deploy, &reporter),
        Command::Versions(kept) => admin::run(&Ask::Versions(&kept), &reporter),
        Command::Rollback { version, named } => {
            admin::run(&Ask::Rollback(&named, version), &reporter)
        }
        Command::Stop(which) => admin::run(&Ask::Stop(&which), &reporter),
        Command::Doctor => doctor::run(&reporter),
        Command::Schema => schema::run(&reporter),
        Command::Clean(clean) => clean::run(&clean, &reporter),
        Command::Completions { shell } => manual::completions(shell, &reporter),
        Command::Man { dir } => manual::man(dir.as_deref(), &reporter),
        Command::Explain { code } => explain::run(code.as_deref(), &reporter),
        Command::Toolchain {
            command: Toolchain::Install,
        } => toolchain::install(&reporter),
    };
    reporter.finish();
    exit.into()
}

/// `ADDR`, `ADDR:0` or `:0`. Another port would be the same for all gateways.
fn parse_bind(text: &str) -> Result<BindOverride, String> {
    let (address, any_port) = match text.strip_suffix(":0") {
        // `::0` is an address, and so is everything with two colons and no brackets.
        Some(address) if !address.contains(':') || address.starts_with('[') => (address, true),
        _ => (text, false),
    };
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if address.is_empty() && any_port {
        return Ok(BindOverride {
            address: None,
            any_port,
        });
    }
    let address: IpAddr = address.parse().map_err(|_| {
        "an IP address like 0.0.0.0, or with port 0 like 127.0.0.1:0, or :0, is expected".to_owned()
    })?;
    Ok(BindOverride {
        address: Some(address),
        any_port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bind_takes_an_address_with_port_0_or_without() {
        let parsed = |text| parse_bind(text).map(|bind| (bind.address, bind.any_port));
        let address = |text: &str| Some(text.parse().unwrap());
        assert_eq!(parsed(":0"), Ok((None, true)));
        assert_eq!(parsed("0.0.0.0"), Ok((address("0.0.0.0"), false)));
        assert_eq!(parsed("127.0.0.1:0"), Ok((address("127.0.0.1"), true)));
        assert_eq!(parsed("[::1]:0"), Ok((address("::1"), true)));
        assert_eq!(parsed("::1"), Ok((address("::1"), false)));
        assert!(parse_bind("127.0.0.1:80").is_err());
        assert!(parse_bind("").is_err());
    }
}
