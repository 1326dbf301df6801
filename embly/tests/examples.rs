//! The examples do what their READMEs show.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use embly::config::{self, Environment};
use support::client::{connect, read_response};
use support::process::{Process, peak_memory};
use support::{EMBLY, Embly, eventually};

/// An example that is served, and the port that each of its gateways has in its README.
struct Example {
    readme: String,
    ports: Vec<(u16, SocketAddr)>,
    embly: Embly,
}

impl Example {
    fn start(name: &str) -> Self {
        // What cargo needs to compile for wasm is in the cache from now on.
        support::project::guest();
        let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../examples")
            .join(name);
        let file = folder.join("embly-project.yml");
        let project = config::load(&file, &Environment::of_process()).unwrap();
        let runtime = tempfile::tempdir().unwrap();
        let mut command = support::environment(Command::new(EMBLY), runtime.path());
        command.args(support::arguments("dev", &folder));
        let embly = Embly::spawn(command, runtime, project.gateways.len());
        let ports = project.gateways.iter();
        let ports = ports
            .map(|gateway| (gateway.port, embly.at(&gateway.name)))
            .collect();
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        Self {
            readme,
            ports,
            embly,
        }
    }

    /// Does what the README says and compares what it shows.
    fn assert_readme(&self) {
        let steps = steps(&self.readme);
        assert!(!steps.is_empty(), "the README shows nothing");
        for Step { command, output } in steps {
            let missing: Vec<&str> = programs(&command)
                .filter(|program| !exists(program))
                .collect();
            if !missing.is_empty() {
                support::skipped(&missing.join(", "));
                continue;
            }
            assert_eq!(
                run(&self.with_real_ports(&command)).trim_end(),
                output,
                "{command}"
            );
        }
    }

    fn with_real_ports(&self, command: &str) -> String {
        self.ports
            .iter()
            .fold(command.to_owned(), |command, (port, at)| {
                let real = at.port();
                let command = command.replace(&format!("127.0.0.1:{port}"), &at.to_string());
                command.replace(&format!("127.0.0.1 {port}"), &format!("127.0.0.1 {real}"))
            })
    }

    fn at(&self, gateway: &str) -> SocketAddr {
        self.embly.at(gateway)
    }
}

/// A command of a README and what it prints.
struct Step {
    command: String,
    output: String,
}

/// The steps in the `console` blocks of a document: a line with `$ `, then its output.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in text.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for line in block.lines() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    command: command.to_owned(),
                    output: String::new(),
                }),
                (None, Some(step)) => {
                    let between = if step.output.is_empty() { "" } else { "\n" };
                    step.output += &format!("{between}{line}");
                }
                (None, None) => panic!("output before the first command: {line}"),
            }
        }
    }
    steps
}

/// The programs of a line: the first word of each part of a pipe.
fn programs(command: &str) -> impl Iterator<Item = &str> {
    command
        .split(" | ")
        .filter_map(|part| part.split(' ').next())
}

fn exists(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status();
    found.unwrap().success()
}

fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn hello_world() {
    Example::start("hello-world").assert_readme();
}

#[test]
fn project() {
    let example = Example::start("project");
    example.assert_readme();

    // As many lines as one likes on one connection, each answered before the next is sent.
    let mut client = connect(example.at("lines"));
    let mut answers = BufReader::new(client.try_clone().unwrap()).lines();
    for _ in 0..200 {
        client.write_all(b"hi\n").unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), "from embly: hi");
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert!(answers.next().is_none());

    // Each has logged the time and a number of its own.
    let mut numbers = BTreeSet::new();
    eventually("a line of the log for each", || {
        let events = example.embly.events();
        let lines = events
            .iter()
            .filter(|event| event["event"] == "log" && event["function"] == "echo");
        let lines = lines.filter_map(|event| event["line"].as_str()?.strip_prefix("time "));
        let both: Vec<(f64, u64)> = lines
            .map(|line| line.split_once(", random ").unwrap())
            .map(|(time, number)| (time.parse().unwrap(), number.parse().unwrap()))
            .collect();
        assert!(both.iter().all(|(time, _)| *time > 1.7e9));
        numbers = both.into_iter().map(|(_, number)| number).collect();
        numbers.len() >= 200
    });
}

#[test]
fn mjpeg() {
    let example = Example::start("mjpeg");
    example.assert_readme();
    let mut client = connect(example.at("index"));
    let began = Instant::now();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    // When each picture has come whole: its last two bytes are the end marker of a JPEG.
    let (mut bytes, mut times) = (Vec::new(), Vec::new());
    let mut buffer = [0; 64 * 1024];
    while times.len() < 12 {
        let count = client.read(&mut buffer).unwrap();
        assert!(count > 0, "the stream ends");
        bytes.extend_from_slice(&buffer[..count]);
        let pictures = bytes.windows(2).filter(|pair| *pair == b"\xff\xd9").count();
        times.resize(pictures, began.elapsed());
    }
    assert!(times[0] < Duration::from_secs(1), "{times:?}");
    let next_second = times
        .iter()
        .filter(|time| **time <= times[0] + Duration::from_secs(1));
    assert!(next_second.count() > 8, "{times:?}");
    let between = times
        .windows(2)
        .filter(|pair| pair[1] - pair[0] > Duration::from_millis(50));
    assert!(between.count() >= 8, "they come one by one: {times:?}");

    let wrappers = example.embly.wrappers("camera");
    drop(client);
    let gone = Instant::now();
    // The others wait for the next client.
    eventually("the one that served it ends", || {
        wrappers.iter().any(Process::is_gone)
    });
    let time = gone.elapsed();
    assert!(time < Duration::from_secs(1), "{time:?}");
}

#[test]
fn fan_out() {
    Example::start("fan-out").assert_readme();
}

#[test]
fn board() {
    let example = Example::start("board");
    let open = |n| {
        let of = |event: &serde_json::Value| event["line"] == "open";
        example.embly.nth_event("log", n, of);
    };
    open(0);
    example.assert_readme();

    // Many at once, by both ways in.
    let (http, tcp) = (example.at("index"), example.at("lines"));
    let visitors: Vec<_> = (0..50)
        .map(|n| {
            thread::spawn(move || {
                if n % 2 == 0 {
                    let answer = support::client::post(http, "/", b"tea\n");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                } else {
                    let mut client = connect(tcp);
                    client.write_all(b"tea\n").unwrap();
                    client.shutdown(Shutdown::Write).unwrap();
                    let mut lines = String::new();
                    client.read_to_string(&mut lines).unwrap();
                    assert!(lines.contains(": tea\n"), "{lines}");
                }
            })
        })
        .collect();
    for visitor in visitors {
        visitor.join().unwrap();
    }
    let lines = support::get(http, "/").text();
    assert_eq!(lines.matches(": tea").count(), 50, "{lines}");

    // A new board opens when the old one is killed; visitors are told meanwhile.
    for process in example.embly.wrappers("board") {
        process.signal(rustix::process::Signal::KILL);
    }
    example.embly.ending("board");
    let mut last = support::get(http, "/");
    while last.status != 200 {
        assert_eq!(last.status, 503, "{}", last.text());
        last = support::get(http, "/");
    }
    open(1);
    assert_eq!(last.text(), "");
}

#[test]
fn upload() {
    const MILLION: usize = 1_000_000;
    const BYTES: usize = 200 * MILLION;
    /// Of so many zeros.
    const SHA256: &str = "d162f6594b643795442d4c7bba3a1711962b9e63717625d9f1f9696df315c86b";
    let example = Example::start("upload");
    example.assert_readme();
    let before = peak_memory(example.embly.pid());

    let mut client = connect(example.at("index"));
    let mut body = client.try_clone().unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {BYTES}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).unwrap();
    let sender = thread::spawn(move || {
        let piece = vec![0; MILLION];
        (0..BYTES / MILLION).for_each(|_| body.write_all(&piece).unwrap());
    });
    let answer = read_response(client);
    sender.join().unwrap();
    assert_eq!(
        (answer.status, answer.text().trim_end()),
        (200, &*format!("{BYTES} bytes, sha256 {SHA256}"))
    );

    let ended = |event: &serde_json::Value| event["bytes_in"].as_u64().unwrap() > BYTES as u64;
    let function = example.embly.event("invocation_ended", ended)["memory_bytes"]
        .as_u64()
        .unwrap();
    let master = peak_memory(example.embly.pid()) - before;
    eprintln!("function {function} bytes, master {master} more than before");
    assert!(function < 16 << 20, "the function took {function} bytes");
    assert!(master < 8 << 20, "the master took {master} bytes more");
}
