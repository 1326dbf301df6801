//! `embly invoke`: one function, once, from a shell.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use support::client::{self, post};
use support::process::children;
use support::project::answering;
use support::terminal::Running;
use support::{Embly, PATIENCE, Project, command, eventually, kill};

/// What a command did: exit code, stdout, stderr.
type Ran = (i32, String, String);

/// `embly invoke NAME PATH …`, with this input.
fn invoke(project: &Project, name: &str, more: &[&str], input: &[u8]) -> Ran {
    let runtime = tempfile::tempdir().unwrap();
    let mut child = start(&mut invocation(project, name, more, runtime.path()));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // One that has ended needs no more.
        let _ = stdin.write_all(&input);
    });
    let ran = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = ran.status.code().unwrap_or(-1);
    (code, text(ran.stdout), text(ran.stderr))
}

fn invocation(project: &Project, name: &str, more: &[&str], runtime: &std::path::Path) -> Command {
    let path = project.path().to_str().unwrap();
    let mut command = command(&["invoke", name, path], runtime);
    command.args(more);
    command
}

fn start(command: &mut Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Runs a script of the guest: its exit code and stderr.
fn script(project: &Project, steps: &str) -> (i32, String) {
    let (code, _, stderr) = invoke(
        project,
        "script",
        &[],
        format!("x-do: {steps}\r\n\r\n").as_bytes(),
    );
    (code, stderr)
}

fn read_line(out: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line
}

#[test]
fn whoever_types_is_told_so_and_how_it_ends_and_nobody_else_is() {
    if support::program("script").is_none() {
        return support::skipped("script (util-linux)");
    }
    let project = Project::new().guest("echo");
    let runtime = tempfile::tempdir().unwrap();
    let path = project.path().to_str().unwrap();
    let script = support::environment(Command::new("script"), runtime.path());
    let line = format!("{} invoke echo {path}", support::EMBLY);
    let mut terminal = Running::in_terminal(script, &line, 80);
    let said = "type what the function is to get; Ctrl-D in an empty line ends it";
    assert!(terminal.sees(said));
    terminal.types("hello\n\x04");
    let (code, out, _) = terminal.ends();
    assert_eq!(code, 0, "{out}");
    assert_eq!(out.matches(said).count(), 1, "{out}");
    // What was typed, and what came back.
    assert_eq!(out.matches("hello\r\n").count(), 2, "{out}");

    let (code, out, err) = invoke(&project, "echo", &[], b"hello");
    assert_eq!((code, out.as_str()), (0, "hello"));
    assert!(!err.contains("Ctrl-D"), "{err}");
}

#[test]
fn standard_input_is_the_stream_and_what_comes_back_is_printed_as_it_comes() {
    let project = Project::new().guest("echo");
    let runtime = tempfile::tempdir().unwrap();
    let mut child = start(&mut invocation(&project, "echo", &[], runtime.path()));
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for line in ["one\n", "two\n"] {
        stdin.write_all(line.as_bytes()).unwrap();
        // It is here before there is more.
        assert_eq!(read_line(&mut stdout), line);
    }
    // Its end is a half-close, on which this function ends.
    drop(stdin);
    assert_eq!(read_line(&mut stdout), "");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn bytes_are_passed_on_as_they_are_however_many() {
    let project = Project::new().guest("echo");
    let runtime = tempfile::tempdir().unwrap();
    let mut child = start(&mut invocation(&project, "echo", &[], runtime.path()));
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut stdin = child.stdin.take().unwrap();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let mut back = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut back).unwrap();
    writer.join().unwrap();
    assert!(back == bytes, "{} of {} bytes", back.len(), bytes.len());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_function_gets_arguments_and_variables_and_its_log_is_on_stderr() {
    let project = Project::new()
        .guest_with("bare", "    env: {COLOUR: red}\n    limits: {depth: 1}")
        .guest("beats");
    let more = ["--env", "COLOUR=blue", "--", "one", "--two"];
    let (code, stdout, stderr) = invoke(&project, "bare", &more, b"");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("bare one --two blue; "), "{stdout}");
    let (code, stdout, stderr) = invoke(&project, "beats", &[], b"");
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert!(stderr.contains("\nbeats | beat\n"), "{stderr}");
}

#[test]
fn the_exit_code_is_the_functions_own_or_says_what_ended_it() {
    let project = Project::new()
        .guest_with("script", "    limits: {memory: 32MiB, wall: 20s}")
        .guest_with("sleeps-on", "    limits: {wall: 200ms}");
    assert_eq!(script(&project, "exit 0").0, 0);
    assert_eq!(script(&project, "exit 3").0, 3);
    for (steps, code, reason) in [("trap", 134, "trap"), ("eat", 124, "memory")] {
        let (is, stderr) = script(&project, steps);
        assert_eq!(is, code, "{stderr}");
        assert!(stderr.contains(&format!(": {reason}")), "{stderr}");
    }
    let (code, _, stderr) = invoke(&project, "sleeps-on", &[], b"");
    assert_eq!(code, 124, "{stderr}");
    assert!(stderr.contains(": wall"), "{stderr}");
}

#[test]
fn what_does_not_begin_is_told_apart_from_what_fails() {
    let project = Project::new()
        .wat("hello", &answering("hello"))
        .wat("broken", "(module (import \"x\" \"y\" (func)))");
    let (code, stdout, stderr) = invoke(&project, "helo", &[], b"");
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(
        stderr.ends_with("error: there is no function `helo`: did you mean `hello`?\n"),
        "{stderr}"
    );
    let (code, stdout, stderr) = invoke(&project, "broken", &[], b"");
    assert_eq!((code, stdout.as_str()), (125, ""));
    assert!(stderr.contains("error: `broken` was not built"), "{stderr}");
    for wrong in [
        &["--http", "GET", "hello"][..],
        &["--http", "G T", "/"],
        &["--http", "GET"],
        &["-d", "x"],
        &["--env", "x"],
    ] {
        let (code, stdout, stderr) = invoke(&project, "hello", wrong, b"");
        assert_eq!((code, stdout.as_str()), (2, ""), "{wrong:?}: {stderr}");
        assert!(stderr.starts_with("error: "), "{stderr}");
    }
    let (code, _, stderr) = invoke(
        &project,
        "hello",
        &["--http", "PUT", "/", "-d", "@/none"],
        b"",
    );
    assert_eq!(code, 125);
    assert!(
        stderr.starts_with("error: cannot read `/none`: "),
        "{stderr}"
    );
}

#[test]
fn only_what_it_needs_is_built_and_no_gateway_is_opened() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let project = Project::new()
        .wat_with("hello", &answering("hello"), "    allow: {spawn: []}")
        .wat("broken", "(module (import \"x\" \"y\" (func)))")
        .http("hello");
    project.edit("port: 0", &format!("port: {port}"));
    let (code, stdout, stderr) = invoke(&project, "hello", &["--http", "GET", "/"], b"");
    assert_eq!((code, stdout.as_str()), (0, "hello"), "{stderr}");
}

#[test]
fn a_function_may_start_others_and_find_those_that_the_project_keeps_running() {
    let project = Project::new().guest("spawns").guest("greets");
    let (code, stdout, stderr) = invoke(&project, "spawns", &["--http", "GET", "/greets"], b"");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("Embly"), "{stdout}");
}

#[test]
fn a_request_is_sent_as_a_gateway_does() {
    let project = Project::new().guest("shows").guest("measures");
    let more = [
        "--http",
        "POST",
        "/a?b=c",
        "-H",
        "X-One: 1",
        "-H",
        "Embly-User: alice",
        "-d",
        "body",
    ];
    let (code, stdout, stderr) = invoke(&project, "shows", &more, b"");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{stdout}");
    assert!(stdout.ends_with("\r\n\r\nbody"), "{stdout}");
    for header in [
        "host: localhost",
        "x-one: 1",
        "embly-user: alice",
        "embly-client: 127.0.0.1",
        "embly-scheme: http",
        "content-length: 4",
    ] {
        assert!(
            stdout.contains(&format!("\r\n{header}\r\n")),
            "{header}: {stdout}"
        );
    }
    assert!(stdout.contains("\r\nx-request-id: "), "{stdout}");
    // A file, of which the length is known, and standard input, of which it is not.
    project.write("body.txt", &"x".repeat(100_000));
    let file = format!("@{}", project.path().join("body.txt").display());
    let (code, stdout, stderr) = invoke(
        &project,
        "measures",
        &["--http", "PUT", "/", "-d", &file],
        b"",
    );
    assert_eq!((code, stdout.as_str()), (0, "100000"), "{stderr}");
    let input = vec![b'x'; 200_000];
    let (code, stdout, stderr) = invoke(
        &project,
        "measures",
        &["--http", "PUT", "/", "-d", "-"],
        &input,
    );
    assert_eq!((code, stdout.as_str()), (0, "200000"), "{stderr}");
}

#[test]
fn the_head_of_a_response_is_printed_when_asked_for_and_what_is_none_fails() {
    let project = Project::new()
        .wat("hello", &answering("hello"))
        .guest("greets")
        .guest("echo")
        .guest("fails-caught");
    let (code, stdout, _) = invoke(&project, "hello", &["--http", "GET", "/", "-i"], b"");
    assert_eq!(code, 0);
    assert_eq!(stdout, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    // An answer is one, whatever its status.
    let (code, stdout, _) = invoke(&project, "fails-caught", &["--http", "GET", "/", "-i"], b"");
    assert!(stdout.starts_with("HTTP/1.1 500 "), "{stdout}");
    assert_eq!(code, 0);
    for (name, reason) in [("greets", "bad_response"), ("echo", "bad_response")] {
        let (code, stdout, stderr) = invoke(&project, name, &["--http", "GET", "/"], b"");
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(stderr.contains(&format!(": {reason}: ")), "{stderr}");
    }
}

#[test]
fn events_and_what_a_function_says_are_told_apart_in_json() {
    let project = Project::new().wat("hello", &answering("hello"));
    let more = ["--http", "GET", "/", "--format", "json", "-i"];
    let (code, stdout, stderr) = invoke(&project, "hello", &more, b"");
    assert_eq!(code, 0, "{stderr}");
    let events: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let event = |kind: &str| events.iter().find(|event| event["event"] == kind).unwrap();
    assert_eq!(event("response")["status"], 200);
    let body = STANDARD
        .decode(event("output")["base64"].as_str().unwrap())
        .unwrap();
    assert_eq!(body, b"hello");
    assert_eq!(event("invocation_ended")["reason"], "ok");
}

#[test]
fn a_signal_ends_it_and_leaves_nothing() {
    let project = Project::new().guest("script");
    let runtime = tempfile::tempdir().unwrap();
    let mut child = start(&mut invocation(&project, "script", &[], runtime.path()));
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(b"x-do: say ready; sleep 600000\r\n\r\n")
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0);
    }
    let pid = i32::try_from(child.id()).unwrap();
    let processes = children(pid);
    assert!(!processes.is_empty());
    let since = std::time::Instant::now();
    kill(pid, rustix::process::Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(since.elapsed() < PATIENCE);
    eventually("nothing is left", || {
        processes.iter().all(|process| process.is_gone())
    });
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_without_a_word() {
    let project = Project::new().guest("floods");
    let runtime = tempfile::tempdir().unwrap();
    let mut child = start(&mut invocation(&project, "floods", &["-q"], runtime.path()));
    let mut some = [0; 1000];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut some).unwrap();
    drop(stdout);
    let ran = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stderr), "");
    assert_eq!(ran.status.code(), Some(0));
}

#[test]
fn beside_a_master_that_uses_the_stores_a_function_gets_copies_of_them() {
    let allow = "    allow: {kv: [default]}";
    let project = Project::new().guest_with("stores", allow).http("stores");
    let project = project
        .store("name: default, type: kv")
        .store("name: unused, type: sql");
    let embly = Embly::run(&project);
    let at = embly.at("stores");
    assert_eq!(post(at, "/default", b"set a 1").text(), "set\n");
    let asks = |steps: &[u8]| {
        let asked = ["--http", "POST", "/default", "-d", "@-"];
        let (code, out, err) = invoke(&project, "stores", &asked, steps);
        assert_eq!(code, 0, "{err}");
        (out, err)
    };
    let (out, err) = asks(b"get a\nset a 2\nget a");
    assert_eq!(out, "1\nset\n2\n");
    assert!(
        err.contains("copies of them, which are gone afterwards"),
        "{err}"
    );
    // The master's are as they were.
    assert_eq!(post(at, "/default", b"get a").text(), "1\n");
    drop(embly);
    let (out, err) = asks(b"get a\nset a 3");
    assert_eq!(out, "1\nset\n");
    assert!(!err.contains("copies"), "{err}");
    assert_eq!(asks(b"get a").0, "3\n");
}

#[test]
fn the_limits_of_bodies_hold_as_behind_a_gateway() {
    let limits = "    limits: {request_body: 10B, response_body: 10B}";
    let project = Project::new()
        .guest_with("script", limits)
        .wat_with("hello", &answering("0123456789a"), limits)
        .http("script");
    let ask = |name: &str, more: &[&str]| {
        let arguments = [&["--http", "POST", "/"], more].concat();
        invoke(&project, name, &arguments, b"")
    };
    let (code, stdout, stderr) = ask("hello", &[]);
    assert_eq!((code, stdout.as_str()), (124, ""), "{stderr}");
    assert!(
        stderr.contains("limit `response_body` reached: 10 bytes"),
        "{stderr}"
    );
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n";
    let steps = format!("x-do: {}", client::write(chunked));
    let (code, stdout, stderr) = ask("script", &["-H", &steps]);
    assert_eq!((code, stdout.as_str()), (124, "01234"), "{stderr}");
    let (code, _, stderr) = ask("script", &["-d", "0123456789a", "-H", "x-do: sleep 60000"]);
    assert_eq!(code, 124, "{stderr}");
    assert!(
        stderr.contains("limit `request_body` reached: 10 bytes"),
        "{stderr}"
    );
}
