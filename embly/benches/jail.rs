//! What each step of the jail costs: `cargo xtask bench jail [ROUNDS]`.
//!
//! This program is Embly as well, with a jail of as many steps as the name of the function says;
//! the executable has no such choice. All variants are measured in one run, in turns, so that a
//! machine that is slower for a while is so for all. Shown are medians over the rounds.

mod own;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use embly_wrapper::compile::compile;
use embly_wrapper::control::Reply;
use embly_wrapper::jail::{Policy, Step};
use embly_wrapper::process::{self, ForkServer, Spec, Which};
use embly_wrapper::server::Program;
use own::Own;
use protos::Slot;
use rustix::event::{PollFd, PollFlags, poll};

/// What is added from one variant to the next.
const ADDED: [(&str, &[Step]); 7] = [
    (
        "none of it: a session, descriptors, death with the master",
        &[Step::ParentDeath, Step::Environment, Step::Standard],
    ),
    (
        "limits, first to go without memory",
        &[Step::OomScore, Step::Limits],
    ),
    (
        "IPC, UTS and network namespaces",
        &[Step::IpcNamespace, Step::UtsNamespace, Step::NetNamespace],
    ),
    (
        "user, user namespace, no capabilities, not dumpable",
        &[
            Step::User,
            Step::UserNamespace,
            Step::Capabilities,
            Step::NoNewPrivileges,
            Step::NotDumpable,
        ],
    ),
    ("landlock", &[Step::Landlock]),
    ("the filter for system calls", &[Step::Filter]),
    ("no processes, in each wrapper: all", &[Step::NoProcesses]),
];

/// A function is called so, with the number of the variant behind it.
const NAME: &str = "step-";

/// Forks, and requests, of one variant in one round.
const FORKS: usize = 200;
const REQUESTS: usize = 200;

/// Forks that are asked for together.
const BATCH: usize = 32;

/// Rounds, if the command does not say.
const ROUNDS: usize = 15;

/// Answers and ends.
const MODULE: &str = include_str!("hello.wat");

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_ref().and_then(|first| first.to_str()) {
        Some("wrapper") => embly_wrapper::main_as(
            &Program {
                steps,
                ..Program::default()
            },
            arguments,
        ),
        Some("run") => embly::cli::main(),
        rounds => {
            let rounds = rounds.and_then(|rounds| rounds.parse().ok());
            match measure(rounds.unwrap_or(ROUNDS)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("error: {error}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}

fn steps(function: &str) -> &'static [Step] {
    let variant = function
        .strip_prefix(NAME)
        .and_then(|variant| variant.parse::<usize>().ok())
        .unwrap_or(ADDED.len() - 1);
    let added = ADDED.iter().take(variant + 1);
    let steps: Vec<Step> = added.flat_map(|(_, steps)| steps.iter().copied()).collect();
    // Once per process.
    steps.leak()
}

/// What one variant took, a number for each round.
#[derive(Default)]
struct Figures {
    start: Vec<Duration>,
    fork: Vec<Duration>,
    batch: Vec<Duration>,
    /// Of fork server and wrapper together, per fork.
    cpu: Vec<Duration>,
    request: Vec<Duration>,
}

fn measure(rounds: usize) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hello.wat");
    std::fs::write(&file, MODULE)?;
    let compiled = compile(&file, folder.path(), "_start").map_err(io::Error::other)?;
    let spec = |variant| Spec {
        function: format!("{NAME}{variant}"),
        artefact: compiled.artefact.clone(),
        entry: "_start".to_owned(),
        memory: Some(128 << 20),
        reuse: false,
    };
    let mut figures: Vec<Figures> = ADDED.iter().map(|_| Figures::default()).collect();
    for _ in 0..rounds {
        for (variant, figures) in figures.iter_mut().enumerate() {
            let began = Instant::now();
            let mut server = Forks::start(&spec(variant))?;
            figures.start.push(began.elapsed());
            server.forks(BATCH)?;
            let before = server.cpu()?;
            let mut times = Vec::new();
            for _ in 0..FORKS {
                let began = Instant::now();
                server.forks(1)?;
                times.push(began.elapsed());
            }
            figures.fork.push(median(&mut times));
            let forks = u32::try_from(FORKS).unwrap_or(u32::MAX);
            figures.cpu.push((server.cpu()? - before) / forks);
            let began = Instant::now();
            for _ in 0..FORKS / BATCH {
                server.forks(BATCH)?;
            }
            let forks = u32::try_from(FORKS / BATCH * BATCH).unwrap_or(u32::MAX);
            figures.batch.push(began.elapsed() / forks);
        }
    }
    let master = master(folder.path())?;
    let mut clients = master
        .at
        .iter()
        .map(|at| Client::connect(*at))
        .collect::<io::Result<Vec<_>>>()?;
    for client in &mut clients {
        client.requests(REQUESTS)?;
    }
    for _ in 0..rounds {
        for (client, figures) in clients.iter_mut().zip(&mut figures) {
            figures.request.push(client.requests(REQUESTS)?);
        }
    }
    drop(master);
    println!(
        "| with | fork server ready after | CPU per fork | fork to end, one by one | forks/s, {BATCH} at once | request, p50 |"
    );
    println!("|---|--:|--:|--:|--:|--:|");
    for ((name, _), figures) in ADDED.iter().zip(&mut figures) {
        let micros = |time: &mut Vec<Duration>| median(time).as_micros();
        println!(
            "| {name} | {:.1} ms | {} µs | {} µs | {:.0} | {} µs |",
            median(&mut figures.start).as_secs_f64() * 1e3,
            micros(&mut figures.cpu),
            micros(&mut figures.fork),
            1.0 / median(&mut figures.batch).as_secs_f64(),
            micros(&mut figures.request),
        );
    }
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A fork server without a master beside it.
struct Forks {
    server: i32,
    control: std::os::fd::OwnedFd,
    next: u64,
    wrappers: Duration,
}

impl Forks {
    fn start(spec: &Spec) -> io::Result<Self> {
        let server = ForkServer::start(spec, &Policy::default())?;
        let pid = server.pid();
        let control = server.into_control();
        wait(control.as_fd())?;
        match process::receive(control.as_fd())? {
            Reply::Ready(missing) if missing.is_empty() => Ok(Self {
                server: pid,
                control,
                next: 0,
                wrappers: Duration::ZERO,
            }),
            other => Err(io::Error::other(format!(
                "the jail is not complete: {other:?}"
            ))),
        }
    }

    /// CPU time of the fork server and of all wrappers that were reaped. The kernel counts that of
    /// the former in nanoseconds.
    fn cpu(&self) -> io::Result<Duration> {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.server))?;
        let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
        Ok(self.wrappers + Duration::from_nanos(nanos.unwrap_or(0)))
    }

    /// Forks so many at once, waits for their hellos, closes their sockets, and reaps them all.
    fn forks(&mut self, count: usize) -> io::Result<()> {
        let mut pairs = Vec::new();
        for _ in 0..count {
            self.next += 1;
            pairs.push((Slot(self.next), process::pair()?));
        }
        let batch: Vec<_> = pairs
            .iter()
            .map(|(slot, (_, theirs))| (*slot, theirs.as_fd()))
            .collect();
        process::fork(self.control.as_fd(), &batch)?;
        for (_, (ours, _)) in &pairs {
            wait(ours.as_fd())?;
            process::hello(ours.as_fd())?;
        }
        drop(pairs);
        let mut left = count;
        while left > 0 {
            match process::reap(Which::Group(self.server))? {
                Some(reaped) => {
                    self.wrappers += reaped.cpu;
                    left -= 1;
                }
                None => std::thread::yield_now(),
            }
        }
        Ok(())
    }
}

impl Drop for Forks {
    fn drop(&mut self) {
        // It has no wrapper left.
        let _ = process::kill(self.server);
        while let Ok(None) = process::reap(Which::Process(self.server)) {
            std::thread::yield_now();
        }
    }
}

fn wait(fd: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], None)?;
    Ok(())
}

/// A master with a function for each variant.
fn master(folder: &Path) -> io::Result<Own> {
    let mut text = "functions:\n".to_owned();
    for variant in 0..ADDED.len() {
        text += &format!("  - {{name: {NAME}{variant}, path: ./hello.wat, language: wasm}}\n");
    }
    text += "gateways:\n";
    for variant in 0..ADDED.len() {
        let name = format!("{NAME}{variant}");
        text += &format!("  - {{name: {name}, type: http, port: 0, function: {name}}}\n");
    }
    std::fs::write(folder.join("embly-project.yml"), text)?;
    Own::start(folder, ADDED.len())
}

struct Client(TcpStream);

impl Client {
    fn connect(at: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// So many requests, one after the other on one connection: their median.
    fn requests(&mut self, count: usize) -> io::Result<Duration> {
        let mut times = Vec::new();
        for _ in 0..count {
            let began = Instant::now();
            self.0.write_all(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n")?;
            let mut answer = Vec::new();
            let mut buffer = [0; 4096];
            while !answer.ends_with(b"hello") {
                let bytes = self.0.read(&mut buffer)?;
                if bytes == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                answer.extend_from_slice(&buffer[..bytes]);
            }
            times.push(began.elapsed());
        }
        Ok(median(&mut times))
    }
}
