//! The admin API against its own OpenAPI document: schemathesis makes up requests, right and wrong ones,
//! and looks at each answer, for status, type, schema, headers, and errors of the server.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use support::project::{WAITS, answering};
use support::{Embly, Project, output, pypi};

/// As it was when what it finds was mended; a later one may look for more.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// For one side; twice that is what the test takes.
const SECONDS: &str = "10";

/// Ends with the test.
struct Bridge(Child);

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/openapi")
        .join(name)
}

/// Asks at this address, and takes the document from there.
fn holds(program: &Path, document: &str, more: &[&str], bundle: &Path, admin: &str) {
    let folder = tempfile::tempdir().unwrap();
    let ran = Command::new(program)
        .args(["run", document, "--checks", "all", "--max-time", SECONDS])
        .args([
            "--request-timeout",
            "10",
            "--seed",
            "1",
            "--no-color",
            "--warnings",
            "off",
        ])
        .args(more)
        .env("SCHEMATHESIS_HOOKS", here("hooks.py"))
        .env("EMBLY_BUNDLE", bundle)
        .env("EMBLY_ADMIN", admin)
        // What it keeps of other runs.
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    eprintln!("{said}");
}

#[test]
fn whatever_is_asked_the_answers_are_those_of_the_openapi_document() {
    let Some(program) = pypi::program(SCHEMATHESIS, "st") else {
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let project = Project::new()
        .wat("hello", &answering("hello"))
        // There again when it was killed.
        .wat_with("waits", WAITS, "    start: true\n    restart: always")
        .http("hello");
    let bundle = place.path().join("hello.embly");
    let path = project.path().to_str().unwrap();
    let (code, _, err) = output(&["bundle", path, "-o", bundle.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    let state = place.path().join("state");
    let arguments = [
        "--state",
        state.to_str().unwrap(),
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let mut embly = Embly::start("run", &project, &arguments);

    let mut bridge = Command::new("python3")
        .arg(here("bridge.py"))
        .arg(embly.admin())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(bridge.stdout.take().unwrap())
        .read_line(&mut port)
        .unwrap();
    let _bridge = Bridge(bridge);
    let admin = format!("http://127.0.0.1:{}", port.trim());
    let document = format!("{admin}/v1/openapi.json");
    // It ends the master, and is looked at by other tests.
    let socket = [
        "--exclude-path",
        "/v1/stop",
        "--exclude-path-regex",
        "^/[a-z]+$",
    ];
    holds(&program, &document, &socket, &bundle, &admin);
    let (_, master) = embly.asks("GET", "/v1/master");
    let listens = master["admin_listen"].as_str().unwrap().to_owned();
    let shown = ["--url", &listens, "--include-path-regex", "^/[a-z]+$"];
    holds(&program, &document, &shown, &bundle, &admin);

    // It is there as before, and nothing of it was too much.
    assert_eq!(support::get(embly.at("hello"), "/").text(), "hello");
    assert_eq!(embly.asks("GET", "/v1/master").1["state"], "serving");
    let wrong = embly.events();
    let wrong: Vec<_> = wrong
        .iter()
        .filter(|event| {
            event["level"] == "error" && !event["text"].as_str().unwrap().contains("bundle")
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    embly.signal(Signal::TERM);
    embly.wait();
}
