//! What `embly new` makes passes its own tests, builds for wasm and answers, wherever it lies.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use embly::scaffold::{self, TEMPLATES, Template};
use support::{Embly, get, output};

/// Makes a project of each template. Returned is that of a site, to which the functions and gateways of
/// the others were added, so that what they share is compiled once.
fn all(folder: &Path) -> PathBuf {
    for template in &TEMPLATES {
        let project = scaffold::new(&folder.join(template.name), template).unwrap();
        does(&["check", project.folder.to_str().unwrap()]);
    }
    let project = folder.join("site");
    let path = project.to_str().unwrap();
    for (template, gateway, how) in [
        ("http", "index", &[][..]),
        ("tcp", "lines", &["--type", "tcp"]),
        (
            "websocket",
            "socket",
            &["--type", "websocket", "--port", "0"],
        ),
        // A time that comes while a test waits.
        (
            "cron",
            "regularly",
            &["--type", "cron", "--schedule", "* * * * * *"],
        ),
        ("empty", "", &[]),
    ] {
        let name = Template::find(template).unwrap().function;
        does(&["add", "function", name, path, "--template", template]);
        let source = |root: &Path| fs::read_to_string(root.join(name).join("src/main.rs")).unwrap();
        assert_eq!(source(&project), source(&folder.join(template)));
        if !gateway.is_empty() {
            let add = ["add", "gateway", gateway, path, "--function", name];
            does(&[&add[..], how].concat());
        }
    }
    does(&["check", path]);
    project
}

/// Runs a command that does what it was asked for, without a warning.
fn does(arguments: &[&str]) {
    let (code, _, stderr) = output(arguments);
    assert_eq!(code, 0, "{arguments:?} {stderr}");
    assert!(!stderr.contains("warning"), "{stderr}");
}

#[test]
fn every_template_inside_of_another_workspace_passes_its_test_builds_and_answers() {
    // What cargo needs to compile for wasm is in the cache from now on.
    support::project::guest();
    let around = tempfile::tempdir().unwrap();
    fs::write(
        around.path().join("Cargo.toml"),
        "[workspace]\nresolver = \"3\"\nmembers = [\"none\"]\n",
    )
    .unwrap();
    let folder = around.path().join("my project");
    let project = all(&folder);

    let hello = folder.join("http/tests/hello.hurl");
    fs::copy(hello, project.join("tests/hello.hurl")).unwrap();
    let path = project.to_str().unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let mut test = support::command(&["test", path, "--format", "json"], runtime.path());
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-project");
    let tested = test.env("CARGO_TARGET_DIR", target).output().unwrap();
    let stderr = String::from_utf8_lossy(&tested.stderr);
    assert_eq!(tested.status.code(), Some(0), "{stderr}");
    assert_eq!(
        stderr.matches("1 passed").count(),
        TEMPLATES.len(),
        "{stderr}"
    );
    // What cargo says where there was a warning.
    assert!(!stderr.contains(" generated "), "{stderr}");
    let events = String::from_utf8(tested.stdout).unwrap();
    let last = events.lines().last().unwrap();
    assert_eq!(last, r#"{"event":"tests","passed":8,"failed":0}"#);

    let runtime = tempfile::tempdir().unwrap();
    let mut command = support::command(&[], runtime.path());
    command.args(support::arguments("run", &project));
    let embly = Embly::spawn(command, runtime, 4);
    answers(&embly, path);
}

/// Asks each of them what its README says.
fn answers(embly: &Embly, project: &str) {
    let hello = get(embly.at("index"), "/here");
    assert_eq!(
        (hello.status, hello.text()),
        (200, "Hello from /here\n".to_owned())
    );

    let mut lines = TcpStream::connect(embly.at("lines")).unwrap();
    let mut answer = BufReader::new(lines.try_clone().unwrap());
    for word in ["one", "two"] {
        writeln!(lines, "{word}").unwrap();
        let mut line = String::new();
        answer.read_line(&mut line).unwrap();
        assert_eq!(line, format!("You said {word}\n"));
    }

    let runtime = tempfile::tempdir().unwrap();
    let url = format!("ws://{}", embly.at("socket"));
    let said = support::output_for(&mut support::command(&["ws", &url], runtime.path()), "hi\n");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "hi\n");

    embly.event("log", |event| {
        let line = event["line"].as_str().unwrap_or_default();
        event["function"] == "digest" && line.ends_with(" seconds since 1970")
    });

    let site = embly.at("site");
    let page = get(site, "/");
    assert!(
        page.text().contains("<title>site</title>"),
        "{}",
        page.text()
    );
    for file in ["/style.css", "/site.js"] {
        assert!(page.text().contains(file));
        assert_eq!(get(site, file).status, 200, "{file}");
    }
    assert_eq!(get(site, "/api/hello/you").text(), "Hello you\n");
    let missing = get(site, "/nowhere");
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("Not here"));

    let mut invoke = support::command(&["invoke", "hello", project], runtime.path());
    let said = support::output_for(&mut invoke, "you\n");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "Hello you\n");
}
