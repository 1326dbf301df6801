//! `embly add`: what it writes, and that all else stays as it was.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::{command, output};
use tempfile::TempDir;

const FILE: &str = "\
# Ours.
functions:
  - name: hello   # says so
    path: \"./hello.wat\"
    language: wasm
    # limits: {memory: 1MiB}

gateways: []   # none yet
";

/// A project with one function and this file.
fn project(file: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("embly-project.yml"), file).unwrap();
    fs::write(folder.path().join("hello.wat"), "(module)").unwrap();
    folder
}

fn file(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("embly-project.yml")).unwrap()
}

/// `embly add … [PROJECT] …`: exit code, and what was said.
fn add(folder: &TempDir, what: &str, name: &str, more: &[&str]) -> (i32, String) {
    let start = ["add", what, name, folder.path().to_str().unwrap()];
    let (code, stdout, stderr) = output(&[&start[..], more].concat());
    assert_eq!(stdout, "");
    (code, stderr)
}

/// Everything below a folder, but for what cargo keeps.
fn listing(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.display().to_string());
        if path.is_dir() {
            found.extend(listing(&path));
        } else {
            found.push(fs::read_to_string(&path).unwrap());
        }
    }
    found.sort();
    found
}

#[test]
fn a_gateway_is_added_and_all_else_stays_as_it_was() {
    let folder = project(FILE);
    let path = folder.path().join("embly-project.yml");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let (code, said) = add(&folder, "gateway", "web", &[]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.starts_with("added the gateway `web` at port 8082 for the function `hello` to `"),
        "{said}"
    );
    let (code, said) = add(&folder, "gateway", "lines", &["--type", "tcp"]);
    assert_eq!(code, 0, "{said}");
    let schedule = ["--type", "cron", "--schedule", "@daily"];
    let (code, said) = add(&folder, "gateway", "nightly", &schedule);
    assert_eq!(code, 0, "{said}");
    let expected = FILE.replace(
        "gateways: []   # none yet\n",
        "\
gateways:   # none yet
  - name: web
    type: http
    port: 8082
    function: hello
  - name: lines
    type: tcp
    port: 8083
    function: hello
  - name: nightly
    type: cron
    schedule: \"@daily\"
    function: hello
",
    );
    assert_eq!(file(&folder), expected);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(output(&["check", path.to_str().unwrap()]).0, 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_link_a_byte_order_mark_and_the_ends_of_lines_stay() {
    let text = format!("\u{feff}{}", FILE.replace('\n', "\r\n"));
    let folder = project(&text);
    let path = folder.path().join("embly-project.yml");
    let real = folder.path().join("real.yml");
    fs::rename(&path, &real).unwrap();
    std::os::unix::fs::symlink("real.yml", &path).unwrap();
    let (code, said) = add(&folder, "gateway", "web", &["--port", "0"]);
    assert_eq!(code, 0, "{said}");
    assert!(path.symlink_metadata().unwrap().is_symlink());
    let block = "\r\n  - name: web\r\n    type: http\r\n    port: 0\r\n    function: hello\r\n";
    let expected = text.replace(
        "gateways: []   # none yet\r\n",
        &format!("gateways:   # none yet{block}"),
    );
    assert_eq!(fs::read_to_string(real).unwrap(), expected);
}

#[test]
fn what_cannot_be_added_changes_nothing() {
    let file_with = FILE.replace(
        "gateways: []   # none yet",
        "gateways:\n  - {name: web, type: http, port: 8082, function: hello}",
    );
    let folder = project(&file_with);
    let before = listing(folder.path());
    for (what, name, more, code, words) in [
        (
            "function",
            "Hello World",
            &[][..],
            2,
            "hint: `hello-world` can be one",
        ),
        ("gateway", "9", &[], 2, "`9` is not a name"),
        // Where the other one stands is shown.
        (
            "function",
            "hello",
            &[],
            2,
            "3 |   - name: hello   # says so",
        ),
        (
            "gateway",
            "web",
            &[],
            2,
            "a gateway is called `web` already",
        ),
        ("gateway", "b", &["--port", "8082"], 2, "error[E137]"),
        ("gateway", "b", &["--function", "hullo"], 2, "error[E122]"),
        (
            "gateway",
            "b",
            &["--type", "cron", "--schedule", "never"],
            2,
            "error[E210]",
        ),
        ("gateway", "b", &["--type", "cron"], 2, "--schedule"),
        (
            "gateway",
            "b",
            &["--schedule", "@daily"],
            2,
            "only a gateway of type cron",
        ),
        (
            "gateway",
            "b",
            &["--type", "cron", "--schedule", "@daily", "-p", "1"],
            2,
            "no `--port`",
        ),
        ("gateway", "b", &["--type", "udp"], 2, "'udp'"),
        (
            "function",
            "b",
            &["--path", "../b"],
            1,
            "is not a place in the project",
        ),
        (
            "function",
            "b",
            &["--path", "."],
            1,
            "is not a place in the project",
        ),
        ("function", "b", &["--path", "hello.wat/b"], 1, ""),
        ("function", "b", &["--path", "b.wasm"], 2, "error[E140]"),
        ("function", "b", &["--template", "site"], 2, "'site'"),
        // Cargo has its own opinion of names.
        ("function", "test", &[], 1, "cargo cannot make the crate"),
    ] {
        let (is, said) = add(&folder, what, name, more);
        assert_eq!(is, code, "{name} {more:?} {said}");
        assert!(said.contains(words), "{name} {more:?} {said}");
        assert_eq!(listing(folder.path()), before, "{name} {more:?}");
    }
    let runtime = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let mut command = command(&["add", "function", "b", path], runtime.path());
    let ran = command.env("PATH", "/nonexistent").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1));
    assert!(
        said.contains("cannot run `cargo`") && said.contains("`embly doctor`"),
        "{said}"
    );
    assert_eq!(listing(folder.path()), before);
}

#[test]
fn a_file_that_has_no_place_for_it_is_left_and_the_lines_are_shown() {
    for text in ["gateways: 5\n", "functions: []\n...\n"] {
        let folder = project(text);
        let (code, said) = add(&folder, "gateway", "web", &["--function", "hello"]);
        assert_eq!(code, 1, "{said}");
        assert!(
            said.contains("write there\n\ngateways:\n  - name: web\n"),
            "{said}"
        );
        assert_eq!(file(&folder), text);
    }
    let folder = project("functions: [\n");
    let (code, said) = add(&folder, "gateway", "web", &[]);
    assert_eq!(code, 2);
    assert!(said.contains("error[E104]"), "{said}");
    // What was wrong before is no reason: nothing of it is new.
    let folder = project("functions: []\nstores: [{name: x}]\n");
    let (code, said) = add(&folder, "function", "hello", &["--path", "./hello.wat"]);
    assert_eq!(code, 0, "{said}");
    let folder = project("functions: []\n");
    let (code, said) = add(&folder, "gateway", "web", &[]);
    assert_eq!(code, 2);
    assert!(
        said.contains("hint: `embly add function NAME` makes one"),
        "{said}"
    );
}

#[test]
fn a_function_comes_with_a_crate_in_the_workspace_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("shop");
    assert_eq!(output(&["new", root.to_str().unwrap()]).0, 0);
    let before = fs::read_to_string(root.join("embly-project.yml")).unwrap();
    let run = |more: &[&str]| {
        let start = ["add", "function"];
        output(&[&start[..], more, &[root.to_str().unwrap()]].concat())
    };
    let (code, _, said) = run(&["users"]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("embly add gateway users --function users"),
        "{said}"
    );
    let expected = before.replace(
        "gateways:",
        "  - name: users\n    path: ./users\n    language: rust\ngateways:",
    );
    assert_eq!(
        fs::read_to_string(root.join("embly-project.yml")).unwrap(),
        expected
    );
    let cargo = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(
        cargo.contains(r#"members = ["listener", "users"]"#),
        "{cargo}"
    );
    let manifest = fs::read_to_string(root.join("users/Cargo.toml")).unwrap();
    assert!(
        manifest.contains("\nembly.workspace = true\n"),
        "{manifest}"
    );
    let source = |name: &str| fs::read_to_string(root.join(name).join("src/main.rs")).unwrap();
    assert_eq!(source("users"), source("listener"));

    // A crate that is there stays, a folder of something else is not touched.
    let (code, _, said) = run(&["again", "--path", "users"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("was there and is as it was"), "{said}");
    fs::create_dir(root.join("notes")).unwrap();
    fs::write(root.join("notes/a.txt"), "mine").unwrap();
    let (code, _, said) = run(&["notes"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("`./notes` is there and is no crate"),
        "{said}"
    );
    assert_eq!(fs::read_dir(root.join("notes")).unwrap().count(), 1);

    // Deep in the project; a failure after the crate was made takes it back.
    let file = root.join("embly-project.yml");
    fs::set_permissions(&file, Permissions::from_mode(0o444)).unwrap();
    let before = listing(&root);
    let (code, _, said) = run(&["more", "--path", "a/b/more"]);
    assert_eq!(code, 1);
    assert!(said.contains("cannot write"), "{said}");
    assert_eq!(listing(&root), before);
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let (code, _, said) = run(&["more", "--path", "a/b/more"]);
    assert_eq!(code, 0, "{said}");
    let cargo = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(cargo.contains("\"a/b/more\""), "{cargo}");
}

#[test]
fn where_nobody_has_the_sdk_it_comes_with_the_function() {
    let folder = project("functions: []\n");
    let (code, said) = add(&folder, "function", "users", &[]);
    assert_eq!(code, 0, "{said}");
    let manifest = fs::read_to_string(folder.path().join("users/Cargo.toml")).unwrap();
    let line = r#"embly = { package = "embly-sdk", path = "../vendor/embly-sdk" }"#;
    assert!(manifest.contains(line), "{manifest}");
    assert!(folder.path().join("vendor/embly-sdk/src/lib.rs").exists());
    // The next one takes it from there.
    let (code, said) = add(&folder, "function", "more", &["--path", "deep/more"]);
    assert_eq!(code, 0, "{said}");
    let manifest = fs::read_to_string(folder.path().join("deep/more/Cargo.toml")).unwrap();
    assert!(
        manifest.contains("path = \"../../vendor/embly-sdk\""),
        "{manifest}"
    );
}
