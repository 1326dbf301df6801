//! Access lines: the event, and files of them.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use support::client::{connect, get, request, reset, script, write};
use support::outbound::own_disk;
use support::websocket::{Raw, close};
use support::{Done, Embly, Project, eventually};

/// A line in the combined format, and nothing else.
const COMBINED: &str = "^[0-9a-z.:]+ - [!-~]+ \
    \\[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{4}\\] \
    \"([] !#-[^-~]|\\\\[\"\\\\nrtbv]|\\\\x[0-9a-f]{2})*\" [0-9]{3} ([1-9][0-9]*|-) \
    \"([] !#-[^-~]|\\\\[\"\\\\nrtbv]|\\\\x[0-9a-f]{2})*\" \
    \"([] !#-[^-~]|\\\\[\"\\\\nrtbv]|\\\\x[0-9a-f]{2})*\" \
    gateway=[a-z0-9-]+ request_id=[!-~]+ function=[a-z0-9-]+ address=([0-9a-f]{16}|-) \
    reason=([a-z_]+|-) queue_us=([0-9]+|-) start_us=([0-9]+|-) run_us=([0-9]+|-) \
    total_us=[0-9]+ bytes_in=[0-9]+ cpu_us=([0-9]+|-) memory_bytes=([0-9]+|-)$";

/// The lines of a file in the state folder, once there are so many.
fn lines(project: &Project, name: &str, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    eventually("the lines are there", || {
        let text = fs::read_to_string(project.folder().join("data").join(name));
        lines = text
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.len() >= count
    });
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

/// Sees that all lines are in the combined format, to a program that knows nothing of us.
fn all_combined(lines: &[String]) {
    let mut grep = Command::new("grep");
    grep.args(["-cE", COMBINED]).env("LC_ALL", "C");
    let text = lines.join("\n") + "\n";
    let count = String::from_utf8(support::output_for(&mut grep, &text).stdout).unwrap();
    assert_eq!(count.trim(), lines.len().to_string(), "{lines:#?}");
}

/// What a line in the combined format says.
struct Line {
    user: String,
    request: String,
    status: String,
    bytes: String,
    referer: String,
    agent: String,
    fields: HashMap<String, String>,
}

impl Line {
    fn new(line: &str) -> Self {
        let (before, _) = line.split_once(" [").unwrap();
        let quoted: Vec<&str> = line.split('"').collect();
        let [_, request, numbers, referer, _, agent, fields] = quoted[..] else {
            panic!("{line}");
        };
        let (status, bytes) = numbers.trim().split_once(' ').unwrap();
        let fields = fields.split_whitespace();
        let fields = fields.map(|field| field.split_once('=').unwrap());
        Self {
            user: before.rsplit(' ').next().unwrap().to_owned(),
            request: request.to_owned(),
            status: status.to_owned(),
            bytes: bytes.to_owned(),
            referer: referer.to_owned(),
            agent: agent.to_owned(),
            fields: fields.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        }
    }

    fn is(&self, status: &str, bytes: &str, function: &str, reason: &str) -> bool {
        let field = |name: &str| self.fields[name].as_str();
        let same = (
            &*self.status,
            &*self.bytes,
            field("function"),
            field("reason"),
        );
        same == (status, bytes, function, reason)
    }

    fn number(&self, name: &str) -> u64 {
        self.fields[name].parse().unwrap()
    }
}

/// Answers "ok", and then works for more than 100 ms of CPU time, however busy the machine is: each
/// turn needs the result of the one before, which takes a processor at least 4 cycles.
const WORKS: &str = r#"(module
  (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "HTTP/1.1 200 OK\0d\0acontent-length: 2\0d\0a\0d\0aok")
  (func (export "_start") (local $n i64) (local $x i64)
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 40) (i32.const 0)))
    (loop $again
      (local.set $x (i64.add (local.get $n)
        (i64.mul (local.get $x) (i64.const 6364136223846793005))))
      (local.set $n (i64.add (local.get $n) (i64.const 1)))
      (br_if $again (i64.lt_u (local.get $n) (i64.const 200000000))))
    (i64.store (i32.const 0) (local.get $x))))"#;

fn project(access_log: &str, more: &str) -> Project {
    let keys = format!(
        "    port: 0\n    access_log: {access_log}\n    routes:\n      \
         - {{path: '/s/{{file...}}', files: {{root: ./public}}}}\n      \
         - {{path: /works, function: works}}\n      \
         - {{path: /f, function: script}}\n{more}"
    );
    let project = Project::new()
        .wat("works", WORKS)
        .guest_with("script", "    limits: {wall: 1s}")
        .gateway_with("web", &keys);
    project.write("public/some", "some text");
    project
}

fn asking(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n")
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// `embly hash` of a password.
fn hash(password: &str) -> String {
    let runtime = tempfile::tempdir().unwrap();
    let command = support::command(&["hash"], runtime.path());
    let (code, hash, said) = support::secrets::finish(command, password.as_bytes());
    assert_eq!(code, 0, "{said}");
    hash.trim().to_owned()
}

/// Whether a process serves several invocations, so that its memory is nobody's.
fn reused() -> bool {
    std::env::var("EMBLY_TEST_ISOLATION").is_ok_and(|isolation| isolation == "function")
}

#[test]
fn combined_lines_have_who_asked_what_and_what_became_of_it() {
    let auth = format!("{{basic: {{users: {{anna: \"{}\"}}}}}}", hash("pass"));
    let private = format!("      - {{path: /private, function: script, auth: {auth}}}\n");
    let project = project("logs/access.log", &private);
    let mut embly = Embly::run(&project);
    let at = embly.at("web");
    let steps = format!("x-do: {}\r\n", write(ANSWER));
    let visit = format!("referer: http://a.test/b\r\nuser-agent: some agent\r\n{steps}");
    let body = format!("content-length: 5\r\n{visit}");
    let answer = request(at, asking("POST", "/works?a=b", &body) + "hello");
    assert_eq!(answer.text(), "ok");
    assert_eq!(get(at, "/s/some").text(), "some text");
    assert_eq!(get(at, "/nothing").status, 404);
    request(at, asking("HEAD", "/s/some", ""));
    request(at, asking("HEAD", "/f", &steps));
    assert_eq!(
        request(at, asking("GET", "/f", "x-do: sleep 60000\r\n")).status,
        504
    );
    let mut leaves = connect(at);
    let asked = asking("GET", "/f", "x-do: say begun; sleep 60000\r\n");
    leaves.write_all(asked.as_bytes()).unwrap();
    embly.event("log", |event| event["line"] == "begun");
    reset(leaves);
    assert_eq!(get(at, "/private").status, 401);
    // "anna:pass".
    let known = format!("authorization: Basic YW5uYTpwYXNz\r\n{steps}");
    assert_eq!(request(at, asking("GET", "/private", &known)).text(), "ok");
    let lines = lines(&project, "logs/access.log", 9);
    all_combined(&lines);
    let lines: Vec<Line> = lines.iter().map(|line| Line::new(line)).collect();
    let of = |request: &str, status: &str| {
        let found = lines
            .iter()
            .find(|line| line.request == format!("{request} HTTP/1.1") && line.status == status);
        found.unwrap_or_else(|| panic!("{request} {status}"))
    };
    let function = of("POST /works?a=b", "200");
    assert!(function.is("200", "2", "works", "-"));
    assert_eq!(function.user, "-");
    assert_eq!(function.referer, "http://a.test/b");
    assert_eq!(function.agent, "some agent");
    assert_eq!(function.number("bytes_in"), 5);
    assert!(function.number("cpu_us") >= 100_000);
    assert!(function.number("run_us") >= 100_000);
    assert!(function.number("total_us") > 0);
    assert!(function.number("queue_us") == 0 && function.number("start_us") > 0);
    assert!(reused() || function.number("memory_bytes") > 64 * 1024);
    let started = embly.event("invocation_started", |_| true);
    assert_eq!(started["address"], *function.fields["address"]);
    assert_eq!(started["request_id"], *function.fields["request_id"]);
    let file = of("GET /s/some", "200");
    assert!(file.is("200", "9", "-", "-"));
    assert_eq!((&*file.referer, &*file.agent), ("-", "-"));
    for none in [
        "address",
        "queue_us",
        "start_us",
        "run_us",
        "cpu_us",
        "memory_bytes",
    ] {
        assert_eq!(file.fields[none], "-", "{none}");
    }
    assert_eq!(of("GET /nothing", "404").fields["function"], "-");
    assert!(of("HEAD /s/some", "200").is("200", "-", "-", "-"));
    assert!(of("HEAD /f", "200").is("200", "-", "script", "-"));
    assert_eq!(of("GET /private", "401").user, "-");
    assert_eq!(of("GET /private", "200").user, "anna");
    let limited = of("GET /f", "504");
    assert_eq!(limited.fields["reason"], "wall");
    assert!(limited.number("run_us") > 0);
    let gone = of("GET /f", "499");
    assert!(gone.is("499", "-", "script", "client_gone"));
    let file = project.folder().join("data/logs/access.log");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // What was said last is there when the master has gone.
    get(at, "/s/some");
    embly.stops_with_nothing_left();
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 10);
}

#[test]
fn a_client_cannot_forge_a_line() {
    let project = project("access.log", "");
    let embly = Embly::run(&project);
    let at = embly.at("web");
    let forged = [
        asking("GET", "/x\"%22%0a127.0.0.1", ""),
        asking("GET", "/a", "user-agent: x\" 200 1 \"-\" \"\r\n"),
        asking("GET", "/b", "user-agent: \\\" \\\r\nreferer: \"\r\n"),
        asking("GET", "/c", "user-agent: tab\there \u{e4}\u{2028}\r\n"),
        asking("GET", "/d", "referer: \r\n"),
    ];
    for bytes in &forged {
        request(at, bytes);
    }
    request(
        at,
        [&b"GET /e HTTP/1.1\r\nhost: x\r\nconnection: close\r\nreferer: \xff\x80\r\n\r\n"[..]]
            .concat(),
    );
    let lines = lines(&project, "access.log", 6);
    all_combined(&lines);
    assert!(
        lines
            .iter()
            .any(|line| line.contains("\"x\\\" 200 1 \\\"-\\\" \\\"\""))
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("\"tab\\there \\xc3\\xa4\\xe2\\x80\\xa8\""))
    );
    assert!(lines.iter().any(|line| line.contains("\"\\xff\\x80\"")));
}

#[test]
fn a_file_that_is_moved_away_is_written_anew_after_a_hang_up_and_no_line_is_lost() {
    const CLIENTS: usize = 4;
    const TURNS: usize = 5;
    let project = project("access.log", "");
    let embly = Embly::run(&project);
    let at = embly.at("web");
    let done = Done::default();
    let data = project.folder().join("data");
    let asked: usize = thread::scope(|scope| {
        let end = done.at_end();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut asked = 0;
                    while !done.is_set() {
                        assert_eq!(get(at, "/s/some").status, 200);
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for turn in 1..=TURNS {
            let log = data.join("access.log");
            fs::rename(&log, data.join(format!("access.log.{turn}"))).unwrap();
            embly.signal(Signal::HUP);
            eventually("the file is there again", || log.exists());
            // Requests of this turn are in it.
            eventually("lines", || fs::metadata(&log).unwrap().len() > 0);
            eventually("the reload", || embly.messages("reloaded") >= turn);
        }
        drop(end);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    let count = |name: String| {
        let text = fs::read_to_string(data.join(name)).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        all_combined(&lines);
        lines.len()
    };
    eventually("all lines", || {
        let turned = (1..=TURNS).map(|turn| count(format!("access.log.{turn}")));
        turned.sum::<usize>() + count("access.log".to_owned()) == asked
    });
}

#[test]
fn gateways_share_a_file_of_json_lines_without_secrets() {
    const SECRET: &str = "correct-horse-battery-staple";
    let keys = |path: &str| {
        format!("    port: 0\n    function: script\n    access_log: {{path: {path}, format: json}}")
    };
    let project = Project::new()
        .guest_with("script", "    secrets: [KEY]")
        .gateway_with("one", &keys("access.json"))
        .gateway_with("two", &keys("./access.json"));
    let runtime = tempfile::tempdir().unwrap();
    let mut command = support::command(&support::arguments("run", project.path()), runtime.path());
    command.env("KEY", SECRET);
    let embly = Embly::spawn(command, runtime, project.gateways());
    for gateway in ["one", "two"] {
        let more = format!(
            "x-do: {}\r\nreferer: http://x/{SECRET}\r\nuser-agent: {SECRET}\r\n",
            write(ANSWER)
        );
        let path = format!("/{SECRET}");
        assert_eq!(
            request(embly.at(gateway), asking("GET", &path, &more)).text(),
            "ok"
        );
    }
    let lines = lines(&project, "access.json", 2);
    for gateway in ["one", "two"] {
        let is_its = |line: &&String| line.contains(&format!("\"gateway\":\"{gateway}\""));
        let line = lines.iter().find(is_its).unwrap();
        assert!(!line.contains(SECRET), "{line}");
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["path"], "/[secret KEY]");
        assert_eq!(line["referer"], "http://x/[secret KEY]");
        assert_eq!(line["user_agent"], "[secret KEY]");
        assert_eq!(line["user"], Value::Null);
        assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &2.into()));
        let time = line["time"].as_str().unwrap();
        assert!(
            time.parse::<jiff::Timestamp>().is_ok() && time.ends_with('Z'),
            "{time}"
        );
        // Beside these it is the event.
        let event = embly.event("access", |event| event["request_id"] == line["request_id"]);
        for (name, value) in event.as_object().unwrap() {
            if name != "event" {
                assert_eq!(&line[name], value, "{name}");
            }
        }
    }
}

#[test]
fn the_line_of_a_request_waits_for_the_end_of_its_invocation() {
    for isolation in ["invocation", "function"] {
        let keys = format!("    isolation: {isolation}");
        let project = Project::new()
            .guest_with("script", &keys)
            .wat_with("works", WORKS, &keys)
            .http("script")
            .http("works");
        let embly = Embly::run(&project);
        let steps = script(&format!("{}; sleep 2000", write(ANSWER)));
        assert_eq!(request(embly.at("script"), steps).text(), "ok");
        assert_eq!(get(embly.at("works"), "/").text(), "ok");
        for function in ["script", "works"] {
            let access = embly.event("access", |access| access["function"] == function);
            let number = |name: &str| access[name].as_u64().unwrap();
            match function {
                "works" => assert!(number("cpu_us") >= 100_000, "{access}"),
                _ => {
                    assert!(number("run_us") >= 2_000_000, "{access}");
                    assert!(number("total_us") < number("run_us"), "{access}");
                }
            }
            assert!(
                number("start_us") > 0 && number("queue_us") == 0,
                "{access}"
            );
            assert_eq!(number("bytes_in"), 0);
            assert!(isolation == "function" || number("memory_bytes") > 64 * 1024);
            let ending = embly.ending(function);
            for name in ["queue_us", "start_us", "run_us", "cpu_us", "memory_bytes"] {
                assert_eq!(access[name], ending[name], "{name}");
            }
        }
    }
}

#[test]
fn a_websocket_has_its_line_at_its_end() {
    let keys = "    port: 0\n    access_log: access.log\n    routes:\n      \
                - {path: /, function: socket, websocket: true}";
    let project = Project::new().guest("socket").gateway_with("web", keys);
    let embly = Embly::run(&project);
    let mut raw = Raw::open(embly.at("web"), "/");
    raw.say("hello");
    assert_eq!(raw.frame().payload, b"hello");
    raw.send(&[close(1000, "")]);
    raw.frame();
    let lines = lines(&project, "access.log", 1);
    all_combined(&lines);
    let line = Line::new(&lines[0]);
    assert_eq!(
        (&*line.status, &*line.fields["function"]),
        ("101", "socket")
    );
    assert_eq!(line.fields["reason"], "-");
    assert!(line.number("bytes_in") >= 5 && line.number("run_us") > 0);
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_at_the_start_with_path_and_key() {
    for (what, make) in [
        (
            "a folder",
            (|path: &Path| fs::create_dir_all(path).unwrap()) as fn(&Path),
        ),
        ("a link", |path| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink("/dev/null", path).unwrap();
        }),
    ] {
        let project = project("access.log", "");
        let path = project.path().join("data/access.log");
        make(&path);
        fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o700)).unwrap();
        let folder = project.path().to_str().unwrap();
        let (code, _, said) = support::output(&["run", folder]);
        assert_ne!(code, 0, "{what}");
        for word in ["`web`", "`access_log`", "data/access.log`"] {
            assert!(said.contains(word), "{what}: {said}");
        }
    }
}

#[test]
fn a_log_that_the_project_has_lost_is_closed_and_not_made_anew() {
    let project = project("old.log", "");
    let embly = Embly::run(&project);
    let at = embly.at("web");
    get(at, "/s/some");
    lines(&project, "old.log", 1);
    let data = project.folder().join("data");
    project.edit("old.log", "new.log");
    embly.signal(Signal::HUP);
    eventually("the reload", || embly.messages("reloaded") == 1);
    fs::rename(data.join("old.log"), data.join("moved")).unwrap();
    embly.signal(Signal::HUP);
    eventually("the reload", || embly.messages("reloaded") == 2);
    get(at, "/s/some");
    lines(&project, "new.log", 1);
    assert!(!data.join("old.log").exists());
}

#[test]
fn after_a_full_disk_and_a_hang_up_a_line_does_not_go_on_where_one_was_cut() {
    let project = project("access.log", "");
    let data = project.folder().join("data");
    fs::create_dir_all(&data).unwrap();
    let Some(_disk) = own_disk(&data, "size=64k,mode=700") else {
        return;
    };
    let embly = Embly::run(&project);
    let at = embly.at("web");
    get(at, "/s/some");
    lines(&project, "access.log", 1);
    // Then lines fit only into what is left of the page of the last one.
    let full = fs::write(data.join("full"), [0; 128 * 1024]);
    assert!(full.is_err());
    eventually("a line is cut", || {
        get(at, "/s/some");
        embly.stderr().contains("cannot write the `access_log`")
    });
    fs::remove_file(data.join("full")).unwrap();
    embly.signal(Signal::HUP);
    eventually("the reload", || embly.messages("reloaded") == 1);
    get(at, "/s/some?after");
    let after = || {
        let text = fs::read(data.join("access.log")).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines()
            .find(|line| line.contains("/s/some?after"))
            .map(str::to_owned)
    };
    eventually("the next line", || after().is_some());
    all_combined(&[after().unwrap()]);
}
