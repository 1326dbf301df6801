//! `embly test`: which tests it runs, against what, and what it says.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use serde_json::Value;
use support::project::answering;
use support::{Project, command, output};

/// A project with one function, which needs no compiler, and these files in `tests/`.
fn project(files: &[(&str, &str)]) -> Project {
    let project = Project::new()
        .wat("hello", &answering("hello"))
        .http("hello");
    for (name, text) in files {
        project.write(&format!("tests/{name}"), text);
    }
    project
}

fn test(project: &Project, more: &[&str]) -> (i32, String, String) {
    let path = project.path().to_str().unwrap();
    output(&[&["test", path][..], more].concat())
}

const GOOD: &str = "GET {{hello}}/\nHTTP 200\n`hello`\n\nGET {{hello}}/again\nHTTP 200\n";

#[test]
fn files_are_run_in_their_order_against_the_project_on_a_free_port() {
    let project = project(&[
        ("b.hurl", GOOD),
        ("a.hurl", "GET {{hello}}/\nHTTP 200\n"),
        ("notes.txt", "GET nothing"),
    ]);
    let (code, stdout, stderr) = test(&project, &[]);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    let said: Vec<&str> = stderr
        .lines()
        .filter(|line| line.starts_with("passed "))
        .collect();
    assert!(
        said[0].starts_with("passed tests/a.hurl (1 request, "),
        "{stderr}"
    );
    assert!(
        said[1].starts_with("passed tests/b.hurl (2 requests, "),
        "{stderr}"
    );
    assert!(stderr.ends_with("\n\n2 passed, 0 failed\n"), "{stderr}");
    // What functions keep does not come from the project, nor is anything left there.
    let left = fs::read_dir(project.folder()).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["embly-project.yml", "hello.wat", "tests"]);
}

#[test]
fn what_fails_is_shown_with_file_line_and_text_and_the_others_are_run() {
    let project = project(&[
        ("bad.hurl", "# one\nGET {{hello}}/\nHTTP 404\n"),
        ("good.hurl", GOOD),
        (
            "unknown.hurl",
            "GET {{hello}}/\nHTTP 200\n[Asserts]\nxpath \"//a\" exists\n",
        ),
    ]);
    let (code, stdout, stderr) = test(&project, &[]);
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    for words in [
        "error: tests/bad.hurl:3:6: the status is 200, expected: 404\nhello\n  3 | HTTP 404\n",
        "error: tests/unknown.hurl:4:1: the query `xpath` is not supported\n  4 | xpath \"//a\" exists\n",
        "error: failed tests/bad.hurl (request 1 of 1, ",
        "\nhint: `embly test --filter bad.hurl` runs it alone\n",
        "error: failed tests/unknown.hurl (cannot be read, ",
        "passed tests/good.hurl (2 requests, ",
        "\n1 passed, 2 failed\n",
    ] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
}

#[test]
fn what_was_said_in_a_test_is_shown_where_it_failed_and_with_verbose() {
    let project = project(&[
        ("a.hurl", "GET {{hello}}/passes\nHTTP 200\n"),
        ("b.hurl", "GET {{hello}}/fails\nHTTP 404\n"),
        ("c.hurl", "GET {{hello}}/passes-too\nHTTP 200\n"),
    ]);
    let (code, _, stderr) = test(&project, &[]);
    assert_eq!(code, 1, "{stderr}");
    let place = |words: &str| {
        stderr
            .find(words)
            .unwrap_or_else(|| panic!("{words}: {stderr}"))
    };
    // Before what is wrong.
    assert!(
        place("\"GET /fails HTTP/1.1\" 200") < place("tests/b.hurl:2:6"),
        "{stderr}"
    );
    assert!(!stderr.contains("/passes"), "{stderr}");
    let (_, _, stderr) = test(&project, &["--verbose"]);
    for path in ["/passes ", "/fails ", "/passes-too "] {
        assert!(stderr.contains(path), "{stderr}");
    }
}

#[test]
fn events_are_an_object_a_line() {
    let project = project(&[
        ("bad.hurl", "GET {{hello}}/\nHTTP 404\n"),
        ("good.hurl", GOOD),
    ]);
    let (code, stdout, stderr) = test(&project, &["--format", "json"]);
    assert_eq!(code, 1, "{stderr}");
    let events = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let events: Vec<Value> = events.collect();
    let tests: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "test")
        .collect();
    let [bad, good] = tests.as_slice() else {
        panic!("{stdout}");
    };
    assert_eq!(
        (&bad["name"], &bad["passed"]),
        (&"tests/bad.hurl".into(), &false.into())
    );
    assert_eq!(bad["problems"][0]["line"], 2);
    assert_eq!(bad["problems"][0]["column"], 6);
    assert_eq!(
        (&good["kind"], &good["requests"]),
        (&"hurl".into(), &2.into())
    );
    assert!(good["problems"].as_array().unwrap().is_empty() && good["elapsed_ms"].is_u64());
    let last = events.last().unwrap();
    assert_eq!(
        *last,
        serde_json::json!({"event": "tests", "passed": 1, "failed": 1})
    );
}

#[test]
fn only_what_has_the_text_in_its_name_is_run() {
    let project = project(&[
        ("bad.hurl", "GET {{hello}}/\nHTTP 404\n"),
        ("good.hurl", GOOD),
    ]);
    let (code, _, stderr) = test(&project, &["--filter", "goo"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.ends_with("\n1 passed, 0 failed\n"), "{stderr}");
    let (code, _, stderr) = test(&project, &["--filter", "nowhere"]);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("nothing to test has `nowhere` in its name"),
        "{stderr}"
    );
    // Only files of tests, so nothing is built where there is none.
    fs::remove_dir_all(project.folder().join("tests")).unwrap();
    let (code, _, stderr) = test(&project, &[]);
    assert_eq!(code, 0);
    assert!(stderr.contains("there is nothing to test"), "{stderr}");
}

#[test]
fn a_gateway_with_tls_a_unix_socket_or_a_fixed_port_is_reached_by_its_url() {
    let project = project(&[(
        "all.hurl",
        "GET {{hello}}/\nHTTP 200\n\nGET {{other}}/\nHTTP 200\n",
    )]);
    project.path();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let file = project.read("embly-project.yml")
        + &format!(
            "  - name: other\n    type: http\n    bind: unix:other.sock\n    function: hello\n\
         \x20 - {{name: tls, type: http, port: {port}, function: hello, tls: {{dev: true}}}}\n\
         \x20 - {{name: often, type: cron, schedule: \"* * * * * *\", function: hello}}\n"
        );
    project.write("embly-project.yml", &file);
    let (code, _, stderr) = test(&project, &[]);
    assert_eq!(code, 0, "{stderr}");
    assert!(!Path::new(&project.folder().join("other.sock")).exists());
}

#[test]
fn a_function_that_does_not_build_fails_and_what_it_uses_is_begun_anew() {
    let project = Project::new().wat("hello", "(module (oops))").http("hello");
    project.write("tests/a.hurl", GOOD);
    let (code, _, stderr) = test(&project, &[]);
    assert_eq!(code, 1, "{stderr}");
    let broken = Project::new()
        .wat("hello", &answering("hello"))
        .http("hello");
    broken.path();
    broken.write("embly-project.yml", "functions: [\n");
    assert_eq!(test(&broken, &[]).0, 2);
}

#[test]
fn tests_of_functions_are_compiled_beside_builds_and_not_in_the_folder_of_an_editor() {
    let project = Project::new()
        .wat("hello", &answering("hello"))
        .http("hello");
    project.path();
    project.write(
        "embly-project.yml",
        "functions: [{name: a, path: ./a, language: rust}]\n",
    );
    project.write(
        "a/Cargo.toml",
        "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    );
    project.write("a/src/main.rs", "fn main() {}\n#[test]\nfn passes() {}\n");
    // As an editor's check does while it runs.
    project.write("a/target/debug/.cargo-lock", "");
    let lock = project.folder().join("a/target/debug/.cargo-lock");
    let lock = fs::File::open(lock).unwrap();
    lock.lock().unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let path = project.folder().to_str().unwrap();
    let mut test = command(&["test", path], runtime.path());
    let ran = test.env_remove("CARGO_TARGET_DIR").output().unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(project.folder().join(".embly/target").is_dir());
    assert_eq!(
        fs::read_dir(project.folder().join("a/target"))
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn a_test_that_has_failed_is_shown_with_the_command_that_runs_it_and_not_with_cargos() {
    let project = project(&[(
        "a.hurl",
        "GET {{hello}}/\nHTTP 200\n\nGET {{hello}}/\nHTTP 404\n",
    )]);
    project.path();
    let file = project.read("embly-project.yml");
    let more = "functions:\n  - {name: falls, path: ./falls, language: rust}\n";
    project.write("embly-project.yml", &file.replacen("functions:\n", more, 1));
    project.write(
        "falls/Cargo.toml",
        "[package]\nname = \"falls\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    );
    let text = "fn main() {}\n#[test]\nfn no() { eprintln!(\"said\"); panic!(\"oh\") }\n";
    project.write("falls/src/main.rs", text);
    let (code, _, stderr) = test(&project, &[]);
    assert_eq!(code, 1, "{stderr}");
    // All else that cargo says, and what it runs.
    for words in ["Running ", "\nsaid\n", "test no ... FAILED", "\noh\n"] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    assert!(!stderr.contains("to rerun pass"), "{stderr}");
    for words in [
        "error: failed falls (",
        "\nhint: `embly test --filter falls` runs it alone\n",
        "error: failed tests/a.hurl (request 2 of 2, ",
    ] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    // Whoever has typed that knows it.
    let (_, _, stderr) = test(&project, &["--filter", "falls"]);
    assert!(stderr.contains("error: failed falls ("), "{stderr}");
    assert!(!stderr.contains("--filter"), "{stderr}");
}

#[test]
fn a_limit_is_said_with_its_unit_where_it_is_set_and_what_explains_it() {
    let project = Project::new()
        .wat_with(
            "eats",
            "(module (memory (export \"memory\") 1)
              (func (export \"_start\")
                (loop $more (br_if $more (i32.gt_s (memory.grow (i32.const 1)) (i32.const 0))))
                unreachable))",
            "    limits: {memory: 1MiB}",
        )
        .http("eats");
    project.write("tests/a.hurl", "GET {{eats}}/\nHTTP 200\n");
    let (code, _, stderr) = test(&project, &[]);
    assert_eq!(code, 1, "{stderr}");
    for words in [
        "eats | error: memory: limit `memory` reached: 1MiB, 1.1MiB wanted\n",
        ": memory; set by `limits: {memory: …}`, see `embly explain memory`\n",
    ] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    assert_eq!(stderr.matches("1.1MiB").count(), 1, "{stderr}");
}

#[test]
fn without_cargo_it_says_what_is_missing() {
    let project = project(&[]);
    project.write(
        "embly-project.yml",
        "functions: [{name: a, path: ./a, language: rust}]\n",
    );
    project.write("a/Cargo.toml", "[package]\nname = \"a\"\n");
    let runtime = tempfile::tempdir().unwrap();
    let mut test = command(
        &["test", project.folder().to_str().unwrap()],
        runtime.path(),
    );
    let ran = test.env("PATH", "/nonexistent").output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(
        said.contains("cannot run `cargo`") && said.contains("`embly doctor`"),
        "{said}"
    );
}

#[test]
fn logs_of_the_project_get_nothing_of_tests() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let syslog = UnixDatagram::bind(&path).unwrap();
    syslog.set_nonblocking(true).unwrap();
    let log = format!(
        "logs: [{{name: system, type: syslog, address: {}}}]",
        path.display()
    );
    let project = project(&[("good.hurl", GOOD)]).top(&log);
    let (code, _, stderr) = test(&project, &[]);
    assert_eq!(code, 0, "{stderr}");
    let mut buffer = [0; 1024];
    assert!(syslog.recv(&mut buffer).is_err(), "{buffer:?}");
}

/// As `embly dev` and `embly run` find them: from the state folder, the environment and `.env`.
#[test]
fn functions_get_their_secrets_from_wherever_dev_has_them() {
    let project = project(&[("a.hurl", GOOD)]);
    project.edit(
        "language: wasm",
        "language: wasm\n    secrets: [FILED, SET, DOTTED]",
    );
    project.write(".env", "DOTTED=from-dotenv\n");
    let (place, runtime) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, state) = (project.path(), place.path().join("state"));
    let embly = |what: &[&str], input: &str| {
        let mut embly = command(what, runtime.path());
        embly
            .arg(path)
            .args(["--state", state.to_str().unwrap()])
            .env("EMBLY_SECRETS_KEY_FILE", place.path().join("key"))
            .env("SET", "from-the-environment");
        let ran = support::output_for(&mut embly, input);
        (
            ran.status.code().unwrap(),
            String::from_utf8(ran.stderr).unwrap(),
        )
    };
    let (code, stderr) = embly(&["test"], "");
    assert!(
        code == 2
            && stderr.contains("no secret `FILED`")
            && stderr.contains("embly-project.yml: 1 error"),
        "{stderr}"
    );
    let (code, stderr) = embly(&["secrets", "set", "FILED"], "from-the-file");
    assert_eq!(code, 0, "{stderr}");
    let (code, stderr) = embly(&["test"], "");
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.ends_with("\n1 passed, 0 failed\n"), "{stderr}");
    assert!(!project.folder().join("data").exists());
}
