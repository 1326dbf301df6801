//! The command line: what it prints, where, and how it exits.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use support::project::answering;
use support::{Embly, Project, command, get, output};

/// A project that answers `hello`, in text form: it needs no compiler for Rust.
fn hello() -> Project {
    Project::new()
        .wat("hello", &answering("hello"))
        .http("hello")
}

fn path(project: &Project) -> &str {
    project.path().to_str().unwrap()
}

/// Runs in a folder: exit code, stdout, stderr.
fn output_in(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let runtime = tempfile::tempdir().unwrap();
    let output = command(arguments, runtime.path())
        .current_dir(folder)
        .output();
    texts(output.unwrap())
}

fn texts(
    Output {
        status,
        stdout,
        stderr,
    }: Output,
) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn check_says_that_a_project_is_right() {
    let project = hello();
    let (code, stdout, stderr) = output(&["check", path(&project)]);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert!(
        stderr.ends_with("embly-project.yml\nall is right: 1 function, 1 gateway\n"),
        "{stderr}"
    );
    // Its path as one would type it, from anywhere below.
    let below = project.path().join("a/b");
    fs::create_dir_all(&below).unwrap();
    let (_, _, stderr) = output_in(project.path(), &["check", "a/b"]);
    assert!(
        stderr.starts_with("project embly-project.yml\n"),
        "{stderr}"
    );
}

#[test]
fn check_shows_every_problem_of_a_file_and_exits_with_2() {
    let project = hello();
    project.edit("type: http", "typ: http");
    project.edit("function: hello", "function: helo");
    let (code, stdout, stderr) = output(&["check", path(&project)]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    for words in ["embly-project.yml:", "typ", "helo", "hello", "E1"] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    let (code, stdout, _) = output(&["check", path(&project), "--format", "json"]);
    assert_eq!(code, 2);
    let event: Value = serde_json::from_str(stdout.lines().next().unwrap()).unwrap();
    assert_eq!(event["event"], "problems");
    assert!(event["problems"].as_array().unwrap().len() >= 2, "{event}");
    // Nothing is built or opened before the file is right.
    for what in ["build", "run", "dev"] {
        assert_eq!(output(&[what, path(&project)]).0, 2, "{what}");
    }
}

#[test]
fn without_a_project_file_it_says_where_it_looked() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("below");
    fs::create_dir(&below).unwrap();
    for what in ["check", "build", "run", "dev"] {
        let (code, stdout, stderr) = output(&[what, below.to_str().unwrap()]);
        assert_eq!((code, stdout.as_str()), (2, ""));
        let looked = fs::canonicalize(folder.path()).unwrap();
        assert!(stderr.starts_with("error: "), "{stderr}");
        assert!(
            stderr.contains(looked.join("below").to_str().unwrap()),
            "{stderr}"
        );
        assert!(stderr.contains("embly-project.yml"), "{stderr}");
    }
    let (code, _, stderr) = output(&["check", "/no/such/folder"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("/no/such/folder"), "{stderr}");
}

#[test]
fn a_second_build_does_nothing_and_says_so() {
    let project = hello();
    let cache = tempfile::tempdir().unwrap();
    let build = || {
        let runtime = tempfile::tempdir().unwrap();
        let mut command = command(&["build", path(&project)], runtime.path());
        texts(
            command
                .env("XDG_CACHE_HOME", cache.path())
                .output()
                .unwrap(),
        )
    };
    let (code, stdout, stderr) = build();
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert!(stderr.contains("\nbuilt hello in "), "{stderr}");
    let (code, _, stderr) = build();
    assert_eq!(code, Some(0));
    assert!(stderr.ends_with("\nunchanged hello\n"), "{stderr}");
    // An artefact that was damaged is made again.
    let artefacts = fs::read_dir(cache.path().join("embly/artefacts")).unwrap();
    for artefact in artefacts.flatten() {
        fs::remove_file(artefact.path()).unwrap();
        fs::write(artefact.path(), "cut").unwrap();
    }
    assert!(build().2.contains("\nbuilt hello in "));
}

#[test]
fn one_function_that_fails_does_not_keep_the_others_from_being_built() {
    let project = Project::new()
        .wat("hello", &answering("hello"))
        .wat("broken", "(module (import \"x\" \"y\" (func)))")
        .http("hello");
    let (code, _, stderr) = output(&["build", path(&project)]);
    assert_eq!(code, 1);
    assert!(stderr.contains("error: `broken` was not built"), "{stderr}");
    assert!(stderr.contains(" hello"), "{stderr}");
    // And nothing is served.
    assert_eq!(output(&["run", path(&project), "--bind", ":0"]).0, 1);
}

#[test]
fn bind_overrides_address_and_port() {
    let project = hello();
    for (bind, address) in [
        (":0", "127.0.0.1"),
        ("127.0.0.1:0", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("127.0.0.2", "127.0.0.2"),
        ("[::1]:0", "::1"),
        ("::1", "::1"),
    ] {
        if address == "::1" && TcpListener::bind("[::1]:0").is_err() {
            support::skipped("IPv6");
            continue;
        }
        let runtime = tempfile::tempdir().unwrap();
        let arguments = ["run", path(&project), "--bind", bind, "--format", "json"];
        let embly = Embly::spawn(command(&arguments, runtime.path()), runtime, 1);
        let at = embly.at("hello");
        assert_eq!(at.ip().to_string(), address, "{bind}");
        assert_ne!(at.port(), 0);
        let at = if address == "0.0.0.0" {
            SocketAddr::from(([127, 0, 0, 1], at.port()))
        } else {
            at
        };
        assert_eq!(get(at, "/").text(), "hello");
    }
}

#[test]
fn where_to_listen_may_stand_in_the_environment() {
    let project = hello();
    let run = |bind: &str, more: &[&str]| {
        let runtime = tempfile::tempdir().unwrap();
        let mut command = command(&["run", path(&project), "--format", "json"], runtime.path());
        command.args(more).env("EMBLY_BIND", bind);
        Embly::spawn(command, runtime, 1).at("hello")
    };
    assert_eq!(run("127.0.0.2:0", &[]).ip().to_string(), "127.0.0.2");
    let at = run("127.0.0.2:0", &["--bind", "127.0.0.3:0"]);
    assert_eq!(at.ip().to_string(), "127.0.0.3");
}

#[test]
fn a_bind_that_is_none_is_a_mistake_of_usage() {
    let project = hello();
    for bind in [
        "localhost",
        "127.0.0.1:80",
        "",
        ":",
        "300.0.0.1",
        "127.0.0.1:99999",
    ] {
        let (code, _, stderr) = output(&["run", path(&project), "--bind", bind]);
        assert_eq!(code, 2, "{bind}: {stderr}");
        assert!(stderr.contains("--bind"), "{stderr}");
    }
    // An address of somebody else is one, but cannot be had.
    let (code, _, stderr) = output(&["run", path(&project), "--bind", "192.0.2.1:0"]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("192.0.2.1 is not an address of this machine"),
        "{stderr}"
    );
}

#[test]
fn a_missing_target_is_not_installed_when_that_is_forbidden() {
    let project = Project::new().rust("hello", "fn main() {}").http("hello");
    let (cache, runtime) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // A rustc that has std for no target but its own.
    let tools = tempfile::tempdir().unwrap();
    let rustc = tools.path().join("rustc");
    let script = "#!/bin/sh\ncase \"$*\" in\n*target-libdir*) echo /nonexistent;;\n*) exec \"$REAL\" \"$@\";;\nesac\n";
    fs::write(&rustc, script).unwrap();
    fs::set_permissions(&rustc, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for what in ["build", "run", "dev"] {
        let mut command = command(&[what, path(&project), "--no-install"], runtime.path());
        command
            .env("XDG_CACHE_HOME", cache.path())
            .env("RUSTC", &rustc)
            .env("REAL", "rustc");
        let (code, stdout, stderr) = texts(command.output().unwrap());
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(
            stderr.contains("\nerror: ") && stderr.contains("wasm32-wasip1"),
            "{stderr}"
        );
        assert!(stderr.contains("embly toolchain install"), "{stderr}");
    }
}

#[test]
fn doctor_says_what_is_there() {
    let (code, stdout, stderr) = output(&["doctor"]);
    assert_eq!(stdout, "");
    for what in [
        "kernel",
        "rust",
        "linker",
        "cache",
        "socket folder",
        "descriptors",
        "jail",
    ] {
        let said = |mark: &str| stderr.contains(&format!("{mark} {what}: "));
        assert!(said("✓") || said("✗") || said("!"), "{what}: {stderr}");
    }
    assert_eq!(code, i32::from(stderr.contains('✗')), "{stderr}");
    let runtime = tempfile::tempdir().unwrap();
    let broken = |folder: &Path| {
        let mut broken = command(&["doctor"], runtime.path());
        broken
            .env("XDG_RUNTIME_DIR", "/nonexistent")
            .env("PATH", "/nonexistent")
            .current_dir(folder);
        texts(broken.output().unwrap())
    };
    let rust = Project::new().rust("hello", "fn main() {}").http("hello");
    let (code, _, stderr) = broken(rust.path());
    assert_eq!(code, Some(1));
    for what in ["✗ rust: ", "✗ linker: ", "✗ socket folder: ", "→ "] {
        assert!(stderr.contains(what), "{what}: {stderr}");
    }
    // What serves a bundle builds nothing.
    let wasm = hello();
    for folder in [wasm.path(), runtime.path()] {
        let (_, _, stderr) = broken(folder);
        let only = "only who builds functions needs it\n";
        let said: Vec<&str> = stderr.split_inclusive('\n').collect();
        for what in ["! rust: ", "! linker: "] {
            let said = said.iter().find(|line| line.starts_with(what));
            assert!(said.is_some_and(|line| line.ends_with(only)), "{stderr}");
        }
    }
}

#[test]
fn only_what_is_near_is_proposed_for_a_command_that_is_not_there() {
    for (typed, near) in [
        ("biuld", "build"),
        ("dep", "deploy"),
        ("lgos", "logs"),
        ("rnu", "run"),
    ] {
        let (code, _, stderr) = output(&[typed]);
        assert_eq!(code, 2);
        assert!(stderr.contains(&format!("'{near}'")), "{typed}: {stderr}");
    }
    let (code, _, stderr) = output(&["bogus"]);
    assert_eq!(code, 2);
    assert!(
        !stderr.contains("similar") && stderr.contains("'--help'"),
        "{stderr}"
    );
}

#[test]
fn new_makes_a_project_and_says_what_to_do_next() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = output_in(folder.path(), &["new", "shop"]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    assert!(
        stderr.starts_with("made the project `shop` in `shop`\n\n  cd shop && embly dev\n"),
        "{stderr}"
    );
    let (code, _, stderr) = output_in(folder.path(), &["check", "shop"]);
    assert_eq!(code, Some(0), "{stderr}");
    // Editors complete the project file by what lies beside it.
    let file = fs::read_to_string(folder.path().join("shop/embly-project.yml")).unwrap();
    let line = "# yaml-language-server: $schema=vendor/embly-project.schema.json\n";
    assert!(file.starts_with(line), "{file}");
    let schema = folder.path().join("shop/vendor/embly-project.schema.json");
    assert_eq!(fs::read_to_string(schema).unwrap(), output(&["schema"]).1);
    // What is there is left alone.
    let (code, _, stderr) = output_in(folder.path(), &["new", "shop"]);
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("error: "), "{stderr}");
    let here = folder.path().join("here");
    fs::create_dir(&here).unwrap();
    let (code, _, stderr) = output_in(&here, &["new", "."]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("\n  embly dev\n"), "{stderr}");
}

#[test]
fn templates_are_shown_with_the_files_that_they_make() {
    let (code, stdout, stderr) = output(&["new", "--list"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for line in [
        "http       a function that answers HTTP requests [default]",
        "site       static files, and a function that their page asks",
        "           api/Cargo.toml, api/src/main.rs, public/404.html, public/index.html, public/site.js, public/style.css, tests/site.hurl",
        "Each has .gitignore, Cargo.toml, README.md, embly-project.yml, vendor/ as well",
    ] {
        assert!(
            stdout.lines().any(|other| other == line),
            "{line}: {stdout}"
        );
    }
    let (code, stdout, _) = output(&["new", "--list", "--format", "json"]);
    assert_eq!(code, 0);
    let names = stdout.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["event"], "template");
        assert!(event["files"].as_array().unwrap().len() > 6, "{event}");
        event["name"].as_str().unwrap().to_owned()
    });
    let names: Vec<String> = names.collect();
    assert_eq!(names, ["http", "tcp", "websocket", "cron", "site", "empty"]);
    let folder = tempfile::tempdir().unwrap();
    for wrong in [
        &["new"][..],
        &["new", "shop", "--list"],
        &["new", "shop", "--template", "htpp"],
    ] {
        let (code, _, stderr) = output_in(folder.path(), wrong);
        assert_eq!(code, Some(2), "{stderr}");
    }
    let (_, _, stderr) = output_in(folder.path(), &["new", "shop", "-t", "htpp"]);
    assert!(stderr.contains("'http'"), "{stderr}");
}

#[test]
fn what_is_no_command_is_a_mistake_of_usage() {
    for arguments in [
        &["fly"][..],
        &[],
        &["run", "--fly"],
        &["check", "a", "b"],
        &["check", "-q", "-v"],
    ] {
        let (code, stdout, stderr) = output(arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!stderr.is_empty());
    }
    let (_, _, stderr) = output(&["buidl"]);
    assert!(stderr.contains("'build'"), "{stderr}");
    for arguments in [["--help"], ["--version"]] {
        let (code, stdout, stderr) = output(&arguments);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(
            stdout.contains("embly") || stdout.contains("Functions"),
            "{stdout}"
        );
    }
}

#[test]
fn quiet_says_only_what_is_wrong() {
    let project = hello();
    for what in ["check", "build"] {
        let nothing = (0, String::new(), String::new());
        assert_eq!(output(&[what, "-q", path(&project)]), nothing, "{what}");
    }
    project.edit("type: http", "type: htpp");
    let (code, _, stderr) = output(&["check", "-q", path(&project)]);
    assert_eq!(code, 2);
    assert!(stderr.contains("htpp"), "{stderr}");
}

#[test]
fn text_for_people_goes_to_stderr_and_shows_each_request() {
    let project = Project::new().guest("tells").http("tells");
    let runtime = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    project.edit("port: 0", &format!("port: {port}"));
    let mut embly = Embly::spawn(
        command(&["run", path(&project)], runtime.path()),
        runtime,
        0,
    );
    let line = format!("http://127.0.0.1:{port} → tells\n");
    support::eventually("the gateway is open", || embly.stderr().contains(&line));
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let id = get(at, "/a?b").header("x-request-id").unwrap().to_owned();
    support::eventually("an access line", || embly.stderr().contains(&id));
    let stderr = embly.stderr();
    let access = stderr.lines().find(|line| line.contains(&id)).unwrap();
    assert!(
        access.starts_with("127.0.0.1:") && access.contains("\"GET /a?b"),
        "{access}"
    );
    assert!(access.contains("\" 200 "), "{access}");
    assert!(stderr.contains("\ntells | to the log\n"), "{stderr}");
    embly.signal(rustix::process::Signal::INT);
    assert_eq!(embly.wait().code(), Some(0));
    assert!(TcpStream::connect(at).is_err());
    assert_eq!(
        embly.events(),
        Vec::<Value>::new(),
        "nothing is written to stdout"
    );
}

/// The keys of an event, which must be just these.
fn assert_keys(event: &Value, keys: &[&str]) {
    let mut found: Vec<&str> = event
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut keys = keys.to_vec();
    keys.push("event");
    keys.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, keys, "{event}");
}

/// An address in an event: 16 hex digits.
fn assert_address(event: &Value, key: &str) {
    let text = event[key].as_str().unwrap();
    assert!(
        text.len() == 16 && text.parse::<protos::Address>().is_ok(),
        "{event}"
    );
}

#[test]
fn events_are_an_object_a_line_with_the_fields_of_the_reference() {
    let mut embly = Embly::run(&Project::new().guest("tells").http("tells"));
    let response = get(embly.at("tells"), "/path?query");
    let id = response.header("x-request-id").unwrap();
    let ended = embly.ending("tells");
    let access = embly.event("access", |_| true);
    embly.signal(rustix::process::Signal::TERM);
    assert_eq!(embly.wait().code(), Some(0));
    assert_eq!(embly.event("stopped", |_| true)["reason"], "signal");

    let listening = embly.event("listening", |_| true);
    assert_keys(
        &listening,
        &["gateway", "url", "address", "function", "routes"],
    );
    assert_address(&listening, "address");
    assert_eq!(
        (&listening["gateway"], &listening["function"]),
        (&"tells".into(), &"tells".into())
    );

    let build = embly.event("build", |_| true);
    assert_keys(&build, &["function", "state", "elapsed_ms"]);
    assert!(
        ["compiled", "unchanged"].contains(&build["state"].as_str().unwrap()),
        "{build}"
    );

    let started = embly.event("invocation_started", |_| true);
    assert_keys(
        &started,
        &["address", "parent", "function", "gateway", "request_id"],
    );
    assert_address(&started, "address");
    assert_address(&started, "parent");
    assert_eq!(started["gateway"], "tells");

    assert_keys(
        &ended,
        &[
            "address",
            "function",
            "reason",
            "code",
            "detail",
            "queue_us",
            "start_us",
            "run_us",
            "cpu_us",
            "memory_bytes",
            "bytes_in",
            "bytes_out",
            "request_id",
        ],
    );
    assert_eq!(ended["address"], started["address"]);
    assert!(
        ended["bytes_out"].as_u64().unwrap() > response.body.len() as u64,
        "{ended}"
    );
    for measured in ["start_us", "run_us", "cpu_us", "memory_bytes", "bytes_in"] {
        assert!(ended[measured].as_u64().unwrap() > 0, "{measured}: {ended}");
    }

    let log = embly.event("log", |_| true);
    assert_keys(
        &log,
        &[
            "function",
            "address",
            "stream",
            "level",
            "line",
            "request_id",
        ],
    );

    for key in [
        "gateway",
        "client",
        "method",
        "path",
        "status",
        "bytes",
        "total_us",
        "function",
        "address",
        "request_id",
        "reason",
    ] {
        assert!(access.get(key).is_some(), "{key}: {access}");
    }
    assert_eq!(
        (&access["path"], &access["status"]),
        (&"/path?query".into(), &200.into())
    );
    assert_eq!(
        access["bytes"].as_u64().unwrap(),
        response.body.len() as u64
    );
    for event in [&started, &ended, &log, &access] {
        assert_eq!(event["request_id"], id, "{event}");
    }
    assert!(
        embly
            .events()
            .iter()
            .all(|event| event["event"].is_string())
    );
}

#[test]
fn a_bundle_needs_no_variables_and_where_it_runs_they_are_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let project = hello();
    project.edit(
        "language: wasm\n",
        "language: wasm\n    env: {TOKEN: \"${EMBLY_TEST_UNSET}\"}\n",
    );
    let to = place.path().join("one.embly");
    let path = project.path().to_str().unwrap();
    let (code, _, err) = output(&["bundle", path, "-o", to.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    let state = place.path().join("state");
    for arguments in [
        vec!["check", path],
        vec![
            "run",
            to.to_str().unwrap(),
            "--state",
            state.to_str().unwrap(),
        ],
    ] {
        let (code, _, err) = output(&arguments);
        assert_eq!(code, 2, "{err}");
        assert!(
            err.contains("error[E150]: the variable `EMBLY_TEST_UNSET`"),
            "{err}"
        );
    }
}
