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

/// The folder of an example.
fn folder(name: &str) -> PathBuf {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    examples.join(name)
}

impl Example {
    fn start(name: &str) -> Self {
        Self::start_in(name, &folder(name))
    }

    /// With another project file than its own, in a folder `there`: each of the texts is replaced.
    fn start_with(name: &str, there: &Path, replace: &[(&str, &str)]) -> Self {
        let example = folder(name).canonicalize().unwrap();
        let file = fs::read_to_string(example.join("embly-project.yml")).unwrap();
        let context = format!("    context: {}\n    path: ", example.display());
        let file = replace.iter().fold(file, |file, (what, with)| {
            assert!(file.contains(what), "{what} is not in {file}");
            file.replace(what, with)
        });
        let file = file.replace("    path: ", &context);
        fs::write(there.join("embly-project.yml"), file).unwrap();
        support::project::guest();
        // Compiling all that it needs may take longer than a test waits for anything.
        let (code, _, stderr) = support::output(&["build", there.to_str().unwrap()]);
        assert_eq!(code, 0, "{stderr}");
        Self::start_in(name, there)
    }

    fn start_in(name: &str, folder: &Path) -> Self {
        // What cargo needs to compile for wasm is in the cache from now on.
        support::project::guest();
        let file = folder.join("embly-project.yml");
        let project = config::load(&file, &Environment::of_process()).unwrap();
        let runtime = tempfile::tempdir().unwrap();
        let mut command = support::environment(Command::new(EMBLY), runtime.path());
        command.args(support::arguments("dev", folder));
        // What one run keeps is not there in the next.
        command.arg("--state").arg(runtime.path().join("data"));
        let embly = Embly::spawn(command, runtime, project.gateways.len());
        let ports = project.gateways.iter();
        let ports = ports
            .map(|gateway| (gateway.port, embly.at(&gateway.name)))
            .collect();
        // Where it says something else than in the repository, that counts.
        let readme = fs::read_to_string(folder.join("README.md"))
            .or_else(|_| fs::read_to_string(self::folder(name).join("README.md")))
            .unwrap();
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
                // The steps that follow may build on this one.
                support::skipped(&missing.join(", "));
                return;
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
fn site() {
    let example = Example::start("site");
    example.assert_readme();
    let authority = support::cache_home().join("embly/authority/authority.pem");
    let at = example.at("site");
    let url = format!("wss://localhost:{}/echo", at.port());
    let mut ws = Command::new(EMBLY)
        .args(["ws", "--ca", authority.to_str().unwrap(), &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = ws.stdin.take().unwrap();
    stdin.write_all(b"hello\nagain\n").unwrap();
    drop(stdin);
    let said = ws.wait_with_output().unwrap();
    assert!(said.status.success());
    assert_eq!(said.stdout, b"hello\nagain\n");
    let told = example.embly.event("message", |event| {
        event["text"].as_str().unwrap().contains("`digest`")
    });
    assert!(
        told["text"]
            .as_str()
            .unwrap()
            .contains("`0 * * * *`, next at ")
    );
}

#[test]
fn redis() {
    let Some(redis) = support::servers::redis() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let at = format!("127.0.0.1:{}", redis.port);
    let example = Example::start_with("redis", folder.path(), &[("127.0.0.1:6379", &at)]);
    example.assert_readme();
    // Many at once, each with a connection of its own.
    let http = example.at("index");
    let visits: Vec<_> = (0..40)
        .map(|_| thread::spawn(move || support::get(http, "/many").text()))
        .collect();
    let counts = visits.into_iter().map(|visit| visit.join().unwrap());
    let counts: BTreeSet<String> = counts
        .map(|text| text.lines().next().unwrap().to_owned())
        .collect();
    let expected = (1..=40).map(|count| format!("many: {count}"));
    assert_eq!(counts, expected.collect());
    drop(redis);
    assert_eq!(support::get(http, "/milk").status, 500);
}

#[test]
fn postgres() {
    let password = "only an example";
    let authority = support::outbound::Authority::new();
    let certificate = authority.sign_pem(&["127.0.0.1"], 2999);
    let Some(postgres) = support::servers::postgres(password, Some(certificate)) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let at = format!("127.0.0.1:{}", postgres.port);
    let address = ("127.0.0.1:5432", at.as_str());
    let example = Example::start_with("postgres", folder.path(), &[address]);
    example.assert_readme();
    drop(example);
    let wrong = [address, (password, "a wrong one")];
    let example = Example::start_with("postgres", folder.path(), &wrong);
    assert_eq!(support::get(example.at("index"), "/").status, 500);
    let failed = example
        .embly
        .event("log", |event| event["stream"] == "stderr");
    let line = failed["line"].as_str().unwrap();
    assert!(line.contains("password authentication failed"), "{line}");
    drop(example);

    // With TLS, which begins after a question and its answer.
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    let entry = format!("[{{address: \"{at}\", ca: ./ca.pem}}]");
    let with_tls = [
        ("[\"127.0.0.1:5432\"]", entry.as_str()),
        address,
        ("POSTGRES_TLS: \"no\"", "POSTGRES_TLS: \"yes\""),
    ];
    let example = Example::start_with("postgres", folder.path(), &with_tls);
    let notes = support::get(example.at("index"), "/").text();
    assert!(notes.starts_with("1: buy milk\n2: "), "{notes}");
    fs::write(
        folder.path().join("ca.pem"),
        support::outbound::Authority::new().pem,
    )
    .unwrap();
    let example = Example::start_with("postgres", folder.path(), &with_tls);
    assert_eq!(support::get(example.at("index"), "/").status, 500);
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
fn kv() {
    // Each with a state folder of its own.
    for _ in 0..2 {
        let example = Example::start("kv");
        for _ in ["what it sets", "what is there"] {
            example.assert_readme();
        }
        let kept = example.embly.runtime.path().join("data/default.kv");
        assert!(kept.exists());
    }
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

/// A copy of an example in which text was replaced, and that depends on the SDK where it is.
fn changed(name: &str, replace: &[(&str, &str)]) -> tempfile::TempDir {
    let sdk = folder("../embly-sdk").canonicalize().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        fs::create_dir_all(copy.path().join(&inner)).unwrap();
        for entry in fs::read_dir(folder(name).join(&inner)).unwrap() {
            let entry = entry.unwrap();
            let path = inner.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                // What builds leave.
                true if entry.file_name() == ".embly" || entry.file_name() == "target" => {}
                true => folders.push(path),
                false => {
                    let text = fs::read_to_string(entry.path()).unwrap();
                    let text = text.replace("../../../embly-sdk", sdk.to_str().unwrap());
                    let text = replace
                        .iter()
                        .fold(text, |text, (old, new)| text.replace(old, new));
                    fs::write(copy.path().join(path), text).unwrap();
                }
            }
        }
    }
    copy
}

#[test]
fn proxy() {
    if !exists("python3") {
        return support::skipped("python3");
    }
    let proxied = tempfile::tempdir().unwrap();
    fs::create_dir(proxied.path().join("files")).unwrap();
    fs::write(proxied.path().join("files/hello.txt"), "hello\n").unwrap();
    let long: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(proxied.path().join("files/long"), &long).unwrap();
    // As its README says, on a free port.
    let mut server = Command::new("python3")
        .args([
            "-u",
            "-m",
            "http.server",
            "--bind",
            "127.0.0.1",
            "--directory",
        ])
        .arg(proxied.path())
        .arg("0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let said = server.stdout.take().unwrap();
    BufReader::new(said).read_line(&mut line).unwrap();
    let port = line
        .split("port ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let here = format!("127.0.0.1:{port}");
    let copy = changed("proxy", &[("127.0.0.1:8190", &here)]);
    // A folder that was never built: no matter how long that takes.
    support::project::guest();
    let (code, _, said) = support::output(&["build", copy.path().to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    let example = Example::start_in("proxy", copy.path());
    example.assert_readme();
    let answer = support::get(example.at("index"), "/files/long");
    assert!(answer.complete && answer.body == long);
    for path in ["/elsewhere/hello.txt", "/files/..%2Felsewhere/hello.txt"] {
        let url = format!("http://{here}{path}");
        example.embly.event("log", |event| {
            let line = event["line"].as_str().unwrap();
            line.contains(&format!("may not ask for `{url}`"))
        });
    }
    let _ = server.kill();
    let _ = server.wait();
}

/// A server that answers with what it gets, piece by piece, from the first one on.
fn answers_at_once() -> SocketAddr {
    support::outbound::server(|mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.contains("content-length: 8"), "{head}");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n");
        for _ in 0..2 {
            let mut piece = [0; 4];
            if stream.read_exact(&mut piece).is_err() || stream.write_all(&piece).is_err() {
                return;
            }
        }
    })
}

#[test]
fn proxy_streams_both_ways_at_once() {
    let here = answers_at_once().to_string();
    let copy = changed("proxy", &[("127.0.0.1:8190", &here)]);
    support::project::guest();
    let (code, _, said) = support::output(&["build", copy.path().to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    let example = Example::start_in("proxy", copy.path());
    let mut client = connect(example.at("index"));
    let head =
        "PUT /files/a HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 8\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    // The second half of the request is only written when the first half of the answer is there: who
    // keeps either back waits for ever.
    client.write_all(b"one,").unwrap();
    let mut answer = Vec::new();
    let ends_so = |answer: &mut Vec<u8>, client: &mut std::net::TcpStream, end: &[u8]| {
        while !answer.ends_with(end) {
            let mut piece = [0; 1024];
            let length = client.read(&mut piece).unwrap();
            let so_far = String::from_utf8_lossy(answer).into_owned();
            assert!(length > 0, "{so_far}");
            answer.extend_from_slice(&piece[..length]);
        }
    };
    ends_so(&mut answer, &mut client, b"one,");
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    client.write_all(b"two.").unwrap();
    ends_so(&mut answer, &mut client, b"one,two.");
}

#[test]
fn guestbook() {
    let example = Example::start("guestbook");
    example.assert_readme();
    let at = example.at("index");
    let hostile = b"name=%3Cimg+src%3Dx%3E&message=%27%29%3B+DROP+TABLE+entries%3B--";
    assert_eq!(support::client::post(at, "/", hostile).status, 303);
    let page = support::get(at, "/").text();
    assert!(
        page.contains("<strong>&lt;img src=x&gt;</strong>"),
        "{page}"
    );
    assert!(page.contains("&#39;); DROP TABLE entries;--"), "{page}");
    assert!(page.contains("<strong>Ada</strong>"), "{page}");
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
    // The kernel counts about: it may be a little less than before.
    let master = peak_memory(example.embly.pid()).saturating_sub(before);
    eprintln!("function {function} bytes, master {master} more than before");
    assert!(function < 16 << 20, "the function took {function} bytes");
    assert!(master < 8 << 20, "the master took {master} bytes more");
}
