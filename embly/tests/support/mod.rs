//! What the end-to-end tests share: a project in a folder of its own, the real executable
//! serving it on free ports, its events, and a plain HTTP client.

#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(
    dead_code,
    unused_imports,
    reason = "each test file is a program of its own and uses a part"
)]

pub mod admin;
pub mod bundle;
pub mod client;
pub mod harness;
pub mod http2;
pub mod kv;
pub mod outbound;
pub mod process;
pub mod project;
pub mod pypi;
pub mod secrets;
pub mod servers;
pub mod session;
pub mod sql;
pub mod terminal;
pub mod tls;
pub mod user;
pub mod websocket;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use client::get;
pub use project::Project;
pub use session::Session;

/// Nothing that a test waits for takes this long, on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The executable under test.
pub const EMBLY: &str = env!("CARGO_BIN_EXE_embly");

/// A cache that all tests share, so that a guest is compiled once.
pub fn cache_home() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache-home")
}

/// `embly` with these arguments, a private socket folder, and the tests' cache.
pub fn command(arguments: &[&str], runtime_dir: &Path) -> Command {
    let mut command = environment(Command::new(EMBLY), runtime_dir);
    command.args(arguments);
    command
}

/// The arguments for a project on free ports, with JSON events.
pub fn arguments<'a>(what: &'a str, project: &'a Path) -> [&'a str; 7] {
    let path = project.to_str().unwrap();
    [
        what,
        path,
        "--bind",
        "127.0.0.1:0",
        "--format",
        "json",
        "-v",
    ]
}

/// Says that a test does nothing here; a failure where everything must be tested.
pub fn skipped(needs: &str) {
    let all = std::env::var_os("EMBLY_TEST_ALL").is_some_and(|all| all == "1");
    assert!(!all, "needs {needs}");
    eprintln!("skipped: needs {needs}");
}

/// A program that a test calls; without it the test is skipped.
pub fn program(name: &str) -> Option<PathBuf> {
    let found = std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        skipped(name);
    }
    found
}

/// A private socket folder, and the tests' cache.
pub fn environment(mut command: Command, runtime_dir: &Path) -> Command {
    command
        .env("XDG_CACHE_HOME", cache_home())
        .env("XDG_RUNTIME_DIR", runtime_dir)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

/// A master that runs. Killed when dropped.
pub struct Embly {
    child: Child,
    events: Arc<(Mutex<Events>, Condvar)>,
    stderr: Arc<Mutex<String>>,
    gateways: HashMap<String, SocketAddr>,
    /// The folder for sockets.
    pub runtime: tempfile::TempDir,
}

#[derive(Default)]
struct Events {
    all: Vec<Value>,
    closed: bool,
}

impl Embly {
    /// `embly run` on this project; returns when all gateways listen.
    pub fn run(project: &Project) -> Self {
        Self::start("run", project, &[])
    }

    /// `embly dev`.
    pub fn dev(project: &Project) -> Self {
        Self::start("dev", project, &[])
    }

    /// `embly COMMAND` with more arguments, on free ports, with JSON events.
    pub fn start(what: &str, project: &Project, arguments: &[&str]) -> Self {
        let runtime = tempfile::tempdir().unwrap();
        let mut command = command(&[], runtime.path());
        command
            .args(self::arguments(what, project.path()))
            .args(arguments);
        Self::spawn(command, runtime, project.gateways())
    }

    /// `embly run` after a shell has done this, which sets a limit.
    pub fn limited(project: &Project, script: &str) -> Self {
        let runtime = tempfile::tempdir().unwrap();
        let mut command = environment(Command::new("sh"), runtime.path());
        command
            .args(["-c", &format!("{script}\nexec \"$@\""), "sh"])
            .arg(EMBLY)
            .args(arguments("run", project.path()));
        Self::spawn(command, runtime, project.gateways())
    }

    /// Starts a command and waits until so many gateways listen.
    pub fn spawn(command: Command, runtime: tempfile::TempDir, gateways: usize) -> Self {
        Self::spawn_and_keep(command, runtime, gateways, |_| true)
    }

    /// The same, and only these lines of its events are kept: nobody could hold those of a million
    /// requests.
    pub fn spawn_and_keep(
        mut command: Command,
        runtime: tempfile::TempDir,
        gateways: usize,
        keep: fn(&str) -> bool,
    ) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let events: Arc<(Mutex<Events>, Condvar)> = Arc::default();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let theirs = Arc::clone(&events);
        std::thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            for line in lines.filter(|line| keep(line)) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                theirs.0.lock().unwrap().all.push(event);
                theirs.1.notify_all();
            }
            theirs.0.lock().unwrap().closed = true;
            theirs.1.notify_all();
        });
        let stderr: Arc<Mutex<String>> = Arc::default();
        let theirs = Arc::clone(&stderr);
        std::thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                let mut text = theirs.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        let mut embly = Self {
            child,
            events,
            stderr,
            gateways: HashMap::new(),
            runtime,
        };
        for n in 0..gateways {
            let event = embly.nth_event("listening", n, |_| true);
            let url = event["url"].as_str().unwrap();
            // A Unix socket has no address.
            if let Some((_, at)) = url.split_once("://") {
                let gateway = event["gateway"].as_str().unwrap().to_owned();
                embly.gateways.insert(gateway, at.parse().unwrap());
            }
        }
        embly
    }

    /// Where a gateway listens.
    pub fn at(&self, gateway: &str) -> SocketAddr {
        self.gateways[gateway]
    }

    /// The process of the master.
    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// The first event of this kind for which `is` says yes; waits for it.
    pub fn event(&self, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.nth_event(kind, 0, is)
    }

    /// The same, after passing over `skip` of them.
    pub fn nth_event(&self, kind: &str, skip: usize, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let (lock, more) = &*self.events;
        let mut events = lock.lock().unwrap();
        loop {
            let found = events
                .all
                .iter()
                .filter(|e| e["event"] == kind && is(e))
                .nth(skip);
            if let Some(event) = found {
                return event.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || events.closed {
                let all: Vec<String> = events.all.iter().map(Value::to_string).collect();
                panic!(
                    "no event `{kind}`; events:\n{}\nstderr:\n{}",
                    all.join("\n"),
                    self.stderr()
                );
            }
            events = more.wait_timeout(events, left).unwrap().0;
        }
    }

    /// How the first invocation of a function ended.
    pub fn ending(&self, function: &str) -> Value {
        self.event("invocation_ended", |event| event["function"] == function)
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Value> {
        self.events.0.lock().unwrap().all.clone()
    }

    /// How many of the events so far are of this kind and have these words.
    pub fn messages(&self, text: &str) -> usize {
        let events = self.events.0.lock().unwrap();
        let said = |event: &&Value| event["event"] == "message" && event["text"] == text;
        events.all.iter().filter(said).count()
    }

    /// What was said on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Like [`Embly::start`], in a session without a terminal, where a hang-up reloads.
    pub fn start_detached(what: &str, project: &Project) -> Self {
        let runtime = tempfile::tempdir().unwrap();
        let mut command = environment(Command::new("setsid"), runtime.path());
        command.arg(EMBLY).args(arguments(what, project.path()));
        Self::spawn(command, runtime, project.gateways())
    }

    /// Types on the terminal, if it was started in one.
    pub fn type_keys(&mut self, keys: &[u8]) {
        let terminal = self.child.stdin.as_mut().unwrap();
        terminal.write_all(keys).unwrap();
        terminal.flush().unwrap();
    }

    /// Sends a signal to the master.
    pub fn signal(&self, signal: rustix::process::Signal) {
        kill(self.pid(), signal);
    }

    /// Has it stop, and sees that nothing is left of what it did: no entry in a table, no process.
    pub fn stops_with_nothing_left(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        assert_eq!(self.wait().code(), Some(0));
        let stopped = self.event("stopped", |_| true);
        for what in [
            "addresses",
            "links",
            "unread",
            "bytes",
            "receivers",
            "fork_servers",
            "wrappers",
        ] {
            assert_eq!(stopped[what], 0, "{what} in {stopped}");
        }
    }

    /// Waits until it exits.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("embly does not exit; stderr:\n{}", self.stderr())
    }
}

impl Drop for Embly {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("stderr of embly:\n{}", self.stderr());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says when it is dropped, also by a panic, that those who look at it are to end.
#[derive(Default)]
pub struct Done(std::sync::atomic::AtomicBool);

impl Done {
    /// Whether it is time to end.
    pub fn is_set(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Sets it when the result is dropped.
    pub fn at_end(&self) -> impl Drop {
        struct AtEnd<'a>(&'a Done);
        impl Drop for AtEnd<'_> {
            fn drop(&mut self) {
                self.0.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        AtEnd(self)
    }
}

/// Sends a signal to a process.
pub fn kill(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Runs `embly` with these arguments to its end: exit code, stdout, stderr.
pub fn output(arguments: &[&str]) -> (i32, String, String) {
    let runtime = tempfile::tempdir().unwrap();
    let output = command(arguments, runtime.path()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// Runs a command to its end with this on standard input.
pub fn output_for(command: &mut Command, input: impl AsRef<[u8]>) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_ref()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Calls `until` every few milliseconds until it says yes.
pub fn eventually(what: &str, mut until: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !until() {
        assert!(Instant::now() < deadline, "does not happen: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The processes that run invocations of this master: all that do not lead their own group, as
/// fork servers do.
pub fn wrappers(embly: &Embly) -> Vec<i32> {
    let mut found = embly.processes();
    found.retain(|process| !process.leads() && process.group != embly.pid());
    found.into_iter().map(|process| process.pid).collect()
}
