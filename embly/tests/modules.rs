//! Modules that nobody has thought of: what a generator has made (`fuzz/modules`) is compiled, and run in
//! the jail, in a process of its own and in one that is used again. Each ends with a reason, within its
//! limits, and takes nothing along: no process is ended by a fault of its own, by the jail, or not at all.
//!
//! `EMBLY_MODULES` names another folder of modules than that of those that are kept, or one module. This
//! program is Embly as well, for the compiler and the wrappers.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use embly_wrapper::compile::{self, CompileError};
use embly_wrapper::control::Reply;
use embly_wrapper::jail::Policy;
use embly_wrapper::process::{self, ForkServer, Reaped, Spec, Status, Which};
use protos::{
    Address, Body, Ending, Limits, Message, PROTOCOL_VERSION, Reason, Severity, Slot, Startup,
    frame,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use support::harness;

/// Bytes of memory of each invocation.
const MEMORY: u64 = 64 << 20;

/// Whatever takes longer hangs, also where the machine has much else to do.
const WITHIN: Duration = Duration::from_secs(60);

/// One that has said nothing for so long is looked at: it may wait for something that never comes.
const SILENT: Duration = Duration::from_millis(20);

/// The invocation, and the parent that it has.
const OWN: u64 = 7;
const PARENT: u64 = 6;

/// Each of these is reached by the modules that are kept.
const ENDINGS: [&str; 7] = [
    "ok",
    "exit",
    "trap",
    "memory",
    "cpu",
    "waits",
    "not compiled",
];

/// CPU time of each invocation. Of thousands that a generator has made many need all of it; one that is kept ends as its
/// name says, also on a machine that is busy: one of them traps after 30 to 55 ms, and another one after a second.
fn cpu() -> Duration {
    let from = std::env::var_os("EMBLY_MODULES");
    let are_many = from.is_some_and(|from| Path::new(&from).is_dir());
    Duration::from_millis(if are_many { 50 } else { 250 })
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let first = arguments.peek().and_then(|first| first.to_str());
    match first {
        Some("wrapper") => embly_wrapper::main(arguments.skip(1)),
        _ => harness::run(&harness::tests![
            whatever_module_is_compiled_and_run_ends_with_a_reason,
        ]),
    }
}

fn whatever_module_is_compiled_and_run_ends_with_a_reason() {
    let kept = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../fuzz/corpus/modules"
    ));
    let other = std::env::var_os("EMBLY_MODULES").map(PathBuf::from);
    let modules = files(other.as_deref().unwrap_or(kept));
    let (next, seen) = (Mutex::new(modules.iter()), Mutex::new(Seen::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // The same module twice has the same artefact.
                let folder = tempfile::tempdir().unwrap();
                while let Some(module) = { next.lock().unwrap().next() } {
                    let runs = one(module, folder.path());
                    let runs = match module.starts_with(kept) {
                        true => runs.and_then(|runs| as_its_name_says(module, runs)),
                        false => runs,
                    };
                    seen.lock().unwrap().add(module, runs);
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    eprint!("{}", seen.table());
    assert!(seen.findings.is_empty(), "{}", seen.findings.join("\n"));
    if other.is_none() {
        for end in ENDINGS {
            assert!(seen.ends.contains_key(end), "none of them ends so: {end}");
        }
    }
}

/// Those that are kept have names that begin with their ending.
fn as_its_name_says(module: &Path, runs: Vec<Run>) -> Result<Vec<Run>, String> {
    let name = module.file_name().unwrap().to_string_lossy();
    match name.starts_with(&runs[0].end.replace(' ', "-")) {
        true => Ok(runs),
        false => Err(format!("it ends with `{}`", runs[0].end)),
    }
}

/// The modules of a folder in their order, or the one that this is.
fn files(from: &Path) -> Vec<PathBuf> {
    if from.is_file() {
        return vec![from.to_owned()];
    }
    let modules = std::fs::read_dir(from).unwrap();
    let mut modules: Vec<_> = modules.map(|module| module.unwrap().path()).collect();
    modules.sort();
    modules
}

/// What has come of the modules so far.
#[derive(Default)]
struct Seen {
    modules: usize,
    /// Of each ending, how many of the first, and of all runs.
    ends: BTreeMap<&'static str, [usize; 2]>,
    /// Of each kind of message, in how many runs it was sent.
    said: BTreeMap<String, usize>,
    findings: Vec<String>,
}

impl Seen {
    fn add(&mut self, module: &Path, runs: Result<Vec<Run>, String>) {
        self.modules += 1;
        match runs {
            Ok(runs) => {
                for (at, run) in runs.iter().enumerate() {
                    let [first, all] = self.ends.entry(run.end).or_default();
                    *first += usize::from(at == 0);
                    *all += 1;
                    let kinds: BTreeSet<_> = run.said.iter().map(|said| kind(said)).collect();
                    for kind in kinds {
                        *self.said.entry(kind.to_owned()).or_default() += 1;
                    }
                }
            }
            Err(why) => {
                let module = module.display();
                let finding = format!(
                    "{module}: {why}\nrepeat it: EMBLY_MODULES={module} cargo test --workspace --test modules"
                );
                // There may be hours to come.
                eprintln!("a finding: {finding}");
                self.findings.push(finding);
            }
        }
    }

    fn table(&self) -> String {
        let mut table = format!(
            "{} modules, {} findings\n| ending | first runs | all runs |\n|---|---:|---:|\n",
            self.modules,
            self.findings.len()
        );
        for (end, [first, all]) in &self.ends {
            table += &format!("| {end} | {first} | {all} |\n");
        }
        table + &format!("messages, and how many runs sent them: {:?}\n", self.said)
    }
}

/// One run: how it ended, and what it has said until then.
struct Run {
    end: &'static str,
    said: Vec<String>,
}

/// Compiles a module, runs it in a process of its own, and twice in one that is used again.
fn one(wasm: &Path, cache: &Path) -> Result<Vec<Run>, String> {
    let compiled = match compile::compile(wasm, cache, "_start") {
        Ok(compiled) => compiled,
        // All others are faults of the compiler, or too much for what they are.
        Err(CompileError::Preflight(why)) => {
            let unlinked = ["incompatible import type", "which Embly does not offer"];
            let unlinked = |line: &&String| unlinked.iter().any(|words| line.contains(words));
            return match why.iter().find(unlinked) {
                Some(line) => Err(format!("the generator is not up to date: {line}")),
                None => Ok(vec![Run {
                    end: "not compiled",
                    said: Vec::new(),
                }]),
            };
        }
        Err(error) => return Err(format!("compiler: {error}")),
    };
    let mut runs = Vec::new();
    for reuse in [false, true] {
        runs.extend(runs_of(&compiled.artefact, reuse)?);
    }
    std::fs::remove_file(&compiled.artefact).unwrap();
    let wasm = std::fs::read(wasm).unwrap();
    let bounded = |run: &Run| !["cpu", "waits"].contains(&run.end);
    if repeatable(&wasm) && runs.iter().all(bounded) {
        for (at, run) in runs.iter().enumerate() {
            let (first, this) = (&runs[0].said, &run.said);
            if first != this {
                return Err(format!("run {at} was another one: {first:?}, {this:?}"));
            }
        }
    }
    Ok(runs)
}

/// Whether it does the same in each run, as far as it comes: it asks neither for the time nor for chance,
/// and not for what has come in the meantime.
fn repeatable(wasm: &[u8]) -> bool {
    let asks = [
        "clock_time_get",
        "random_get",
        "poll_oneoff",
        "_events",
        "_status",
    ];
    let imports = |name: &str| wasm.windows(name.len()).any(|part| part == name.as_bytes());
    !asks.into_iter().any(imports)
}

fn runs_of(artefact: &Path, reuse: bool) -> Result<Vec<Run>, String> {
    let spec = Spec {
        function: "module".to_owned(),
        artefact: artefact.to_owned(),
        entry: "_start".to_owned(),
        memory: Some(MEMORY),
        reuse,
    };
    let server = ForkServer::start(&spec, &Policy::default()).unwrap();
    let (group, control) = (server.pid(), server.into_control());
    // Both sockets are closed behind it.
    let runs = runs(control, reuse);
    for Reaped { pid, status, .. } in reap(group)? {
        if status != Status::Exited(0) {
            let who = if pid == group {
                "fork server"
            } else {
                "wrapper"
            };
            let said = runs.map(|runs| runs.into_iter().map(|run| run.said).collect::<Vec<_>>());
            return Err(format!("the {who} ended with {status:?}, after {said:?}"));
        }
    }
    runs
}

fn runs(control: OwnedFd, reuse: bool) -> Result<Vec<Run>, String> {
    wait(&control)?;
    match process::receive(control.as_fd()).map_err(|error| format!("fork server: {error}"))? {
        Reply::Ready(_) => {}
        reply => return Err(format!("fork server: {reply:?}")),
    }
    let (ours, theirs) = process::pair().unwrap();
    process::fork(control.as_fd(), &[(Slot(1), theirs.as_fd())]).unwrap();
    drop(theirs);
    wait(&ours)?;
    let hello = process::hello(ours.as_fd()).map_err(|error| format!("hello: {error}"))?;
    let mut wrapper = Wrapper {
        socket: ours,
        pid: hello.pid,
        heard: BytesMut::new(),
    };
    let mut runs = Vec::new();
    for _ in 0..1 + usize::from(reuse) {
        wrapper.begin(reuse);
        runs.push(wrapper.listen()?);
        match runs.last() {
            Some(Run { end: "ok", .. }) if reuse => {}
            Some(Run { end: "waits", .. }) => break,
            _ => {
                wrapper.has_closed()?;
                break;
            }
        }
    }
    Ok(runs)
}

/// A wrapper, seen from a master that answers nothing.
struct Wrapper {
    socket: OwnedFd,
    pid: i32,
    heard: BytesMut,
}

impl Wrapper {
    /// An invocation, and all that its parent says to it.
    fn begin(&self, reuse: bool) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
        let startup = Startup {
            version: PROTOCOL_VERSION,
            args: vec!["module".to_owned()],
            env: vec!["KEY=value".to_owned()],
            limits: Some(Limits {
                memory: MEMORY,
                cpu: micros(cpu()),
                cpu_window: micros(1000 * cpu()),
                children: 4,
                ..Limits::default()
            }),
            reuse,
            ..Startup::default()
        };
        let startup = Body::Startup {
            address: address(OWN),
            parent: address(PARENT),
            startup: Box::new(startup),
        };
        let data = Body::Data(Bytes::from_static(b"whatever a parent says"));
        let mut bytes = BytesMut::new();
        for (from, body) in [
            (None, startup),
            (Some(PARENT), data),
            (Some(PARENT), Body::HalfClose),
        ] {
            let message = Message {
                to: Some(address(OWN)),
                from: from.map(address),
                body,
            };
            frame::encode(message, &mut bytes).unwrap();
        }
        let written = process::write(self.socket.as_fd(), &bytes);
        assert_eq!(written.unwrap(), bytes.len());
    }

    /// What it says, until it says how it ends, or waits for more than there is.
    fn listen(&mut self) -> Result<Run, String> {
        let (mut said, since) = (Vec::new(), Instant::now());
        loop {
            while let Some(message) =
                frame::decode(&mut self.heard).map_err(|error| error.to_string())?
            {
                if message.from != Address::new(OWN) {
                    return Err(format!("it speaks in another's name: {message:?}"));
                }
                said.push(in_words(&message.body));
                if let Body::Exit(ending) = message.body {
                    let end = reason(&ending)?;
                    return Ok(Run { end, said });
                }
            }
            if poll_for(&self.socket, SILENT) {
                self.read(&said)?;
            } else if self.sleeps() {
                return Ok(Run { end: "waits", said });
            } else if since.elapsed() > WITHIN {
                return Err(format!("it goes on, after {said:?}"));
            }
        }
    }

    fn read(&mut self, said: &[String]) -> Result<(), String> {
        match process::read(self.socket.as_fd(), &mut self.heard, 64 << 10) {
            Ok(0) => Err(format!("it ended without a word, after {said:?}")),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(format!("its socket: {error}")),
        }
    }

    /// One that computes does not sleep, however little of a processor it gets.
    fn sleeps(&self) -> bool {
        let asleep = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid));
            // `PID (NAME) STATE …`
            stat.is_ok_and(|stat| stat.rsplit(") ").next().unwrap_or("").starts_with('S'))
        };
        asleep() && !poll_for(&self.socket, SILENT) && asleep()
    }

    /// Nothing comes behind the ending.
    fn has_closed(&mut self) -> Result<(), String> {
        wait(&self.socket)?;
        match process::read(self.socket.as_fd(), &mut self.heard, 64 << 10) {
            Ok(0) if self.heard.is_empty() => Ok(()),
            other => Err(format!("after its ending: {other:?}, {:?}", self.heard)),
        }
    }
}

/// What is the same in each run: not the addresses, which are random.
fn in_words(body: &Body) -> String {
    match body {
        Body::Spawn { name, .. } => format!("Spawn {name}"),
        Body::Lookup { name, .. } => format!("Lookup {name}"),
        // Of the guest, and what the wrapper says of its end.
        Body::Log {
            severity: Some(Severity::Error),
            line,
            ..
        } => format!("Backtrace {line}"),
        other => format!("{other:?}"),
    }
}

fn kind(said: &str) -> &str {
    let end = said.find(|letter: char| !letter.is_alphabetic());
    &said[..end.unwrap_or(said.len())]
}

/// The reasons that a wrapper can give.
fn reason(ending: &Ending) -> Result<&'static str, String> {
    match ending.reason {
        Reason::Ok | Reason::Exit | Reason::Trap | Reason::Memory | Reason::Cpu => {
            Ok(ending.reason.name())
        }
        _ => Err(format!("it ended with {ending:?}")),
    }
}

fn address(number: u64) -> Address {
    Address::new(number).unwrap()
}

fn poll_for(fd: &OwnedFd, time: Duration) -> bool {
    let time = Timespec::try_from(time).unwrap();
    let ready = poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&time));
    ready.is_ok_and(|ready| ready > 0)
}

fn wait(fd: &OwnedFd) -> Result<(), String> {
    match poll_for(fd, WITHIN) {
        true => Ok(()),
        false => Err(format!("nothing within {WITHIN:?}")),
    }
}

/// All of a group, which end by themselves.
fn reap(group: i32) -> Result<Vec<Reaped>, String> {
    let (mut all, begun) = (Vec::new(), Instant::now());
    loop {
        match process::reap(Which::Group(group)) {
            Ok(Some(reaped)) => all.push(reaped),
            Err(_) => return Ok(all),
            Ok(None) if begun.elapsed() < WITHIN => std::thread::sleep(Duration::from_millis(1)),
            Ok(None) => return Err("its processes go on".to_owned()),
        }
    }
}
