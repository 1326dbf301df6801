//! Stores as files: copies of them, and looks into them.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rusqlite::Connection;
use serde_json::Value;
use support::client::{get, put};
use support::{Embly, Project, output};

fn project() -> Project {
    Project::new()
        .guest_with("keeps", "    allow: {kv: [default]}")
        .http("keeps")
        .store("name: default, type: kv")
        .store("name: empty, type: kv")
}

/// `embly store …` on this project.
fn store(project: &Project, arguments: &[&str]) -> (i32, String, String) {
    let path = project.path().to_str().unwrap();
    let mut all = vec!["store"];
    all.extend(arguments);
    all.push(path);
    output(&all)
}

fn at(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

fn file(project: &Project, name: &str) -> PathBuf {
    project.path().join("data").join(name)
}

#[test]
fn a_copy_of_a_store_in_use_is_of_one_moment_and_can_be_put_back() {
    let project = project();
    let folder = tempfile::tempdir().unwrap();
    let copy = at(&folder, "copy.kv");
    let mut embly = Embly::run(&project);
    let keeps = embly.at("keeps");
    let (stop, written) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let n = written.load(Ordering::Relaxed);
                assert_eq!(put(keeps, &format!("/n{n:06}"), b"value").text(), "set");
                written.store(n + 1, Ordering::Relaxed);
            }
        });
        support::eventually("some are set", || written.load(Ordering::Relaxed) > 50);
        let before = written.load(Ordering::Relaxed);
        let (code, stdout, stderr) = store(&project, &["backup", "default", &copy]);
        let after = written.load(Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
        assert!(
            stderr.contains("copied the store `default` to `"),
            "{stderr}"
        );
        // What was acknowledged before is in it, and no later one without all earlier ones.
        let there = Connection::open(&copy).unwrap();
        let (count, last): (u32, Vec<u8>) = there
            .query_row("SELECT count(*), max(key) FROM entries", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert!(
            (before..=after + 1).contains(&count),
            "{before} {count} {after}"
        );
        assert_eq!(
            String::from_utf8(last).unwrap(),
            format!("n{:06}", count - 1)
        );
    });
    assert_eq!(
        fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing else is left"
    );
    put(keeps, "/later", b"than the copy");
    // Not while somebody uses it.
    let (code, _, stderr) = store(&project, &["restore", "default", &copy]);
    assert_eq!(code, 1);
    let pid = format!("process {}", embly.pid());
    assert!(
        stderr.contains(&pid) && stderr.contains("while no master uses it"),
        "{stderr}"
    );
    assert_eq!(get(keeps, "/later").text(), "than the copy");
    embly.stops_with_nothing_left();

    let (code, stdout, stderr) = store(&project, &["restore", "default", &copy]);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert!(!file(&project, "default.kv.before-restore").exists());
    let embly = Embly::run(&project);
    assert_eq!(get(embly.at("keeps"), "/n000000").text(), "value");
    assert_eq!(get(embly.at("keeps"), "/later").status, 500);
    assert_eq!(put(embly.at("keeps"), "/new", b"value").text(), "set");
}

#[test]
fn a_store_of_a_master_that_was_killed_is_copied_and_put_back_with_all_that_was_acknowledged() {
    let project = project();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (at(&folder, "first"), at(&folder, "second"));
    let embly = Embly::run(&project);
    assert_eq!(put(embly.at("keeps"), "/a", b"one").text(), "set");
    drop(embly);
    assert_eq!(store(&project, &["backup", "default", &first]).0, 0);
    let embly = Embly::run(&project);
    assert_eq!(put(embly.at("keeps"), "/a", b"two").text(), "set");
    drop(embly);
    assert_eq!(store(&project, &["backup", "default", &second]).0, 0);
    for (copy, value) in [(&first, "one"), (&second, "two"), (&first, "one")] {
        let (code, _, stderr) = store(&project, &["restore", "default", copy]);
        assert_eq!(code, 0, "{stderr}");
        let embly = Embly::run(&project);
        assert_eq!(get(embly.at("keeps"), "/a").text(), value);
    }
}

#[test]
fn what_is_no_whole_store_of_its_type_is_refused_and_the_store_stays_as_it_was() {
    let project = project();
    let folder = tempfile::tempdir().unwrap();
    let embly = Embly::run(&project);
    let big = vec![7; 100_000];
    for n in 0..10 {
        assert_eq!(
            put(embly.at("keeps"), &format!("/k{n}"), &big).text(),
            "set"
        );
    }
    drop(embly);
    let copy = at(&folder, "copy");
    assert_eq!(store(&project, &["backup", "default", &copy]).0, 0);

    let whole = fs::read(&copy).unwrap();
    let cut = at(&folder, "cut");
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let damaged = at(&folder, "damaged");
    let mut bytes = whole.clone();
    bytes[whole.len() / 2..whole.len() / 2 + 4096].fill(0xff);
    bytes[4096..8192].fill(0xff);
    fs::write(&damaged, bytes).unwrap();
    let text = at(&folder, "text");
    fs::write(&text, "these are words, and no pages of a database at all").unwrap();
    let other = at(&folder, "other");
    let tables = Connection::open(&other).unwrap();
    tables
        .execute_batch("CREATE TABLE a (b); CREATE TABLE c (d)")
        .unwrap();
    drop(tables);
    let missing = at(&folder, "missing");
    for (from, words) in [
        (&cut, "cut"),
        (&damaged, "damaged"),
        (&text, "not a database"),
        (&other, "is not a store of type `kv`"),
        (&missing, "missing"),
    ] {
        let before = fs::read(file(&project, "default.kv")).unwrap();
        let (code, stdout, stderr) = store(&project, &["restore", "default", from]);
        assert_eq!((code, stdout.as_str()), (1, ""), "{from}: {stderr}");
        assert!(stderr.contains(words), "{from}: {stderr}");
        assert!(
            fs::read(file(&project, "default.kv")).unwrap() == before,
            "{from}"
        );
        let left: Vec<_> = fs::read_dir(project.path().join("data"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("restor"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let embly = Embly::run(&project);
    assert!(get(embly.at("keeps"), "/k9").body == big);
}

#[test]
fn a_store_that_is_broken_can_be_replaced_by_a_copy() {
    let project = project();
    let folder = tempfile::tempdir().unwrap();
    let copy = at(&folder, "copy");
    let embly = Embly::run(&project);
    put(embly.at("keeps"), "/a", b"value");
    drop(embly);
    assert_eq!(store(&project, &["backup", "default", &copy]).0, 0);
    for broken in [Some("broken"), None] {
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(file(&project, &format!("default.kv{end}")));
        }
        if let Some(broken) = broken {
            fs::write(file(&project, "default.kv"), broken).unwrap();
            let (code, _, stderr) = store(&project, &["backup", "default", &at(&folder, "x")]);
            assert_eq!(code, 1);
            assert!(stderr.contains("not a database"), "{stderr}");
            assert!(!folder.path().join("x").exists());
        }
        let (code, _, stderr) = store(&project, &["restore", "default", &copy]);
        assert_eq!(code, 0, "{stderr}");
        let embly = Embly::run(&project);
        assert_eq!(get(embly.at("keeps"), "/a").text(), "value");
    }
}

#[test]
fn what_an_interrupted_restore_has_left_is_not_overwritten() {
    let project = project();
    let folder = tempfile::tempdir().unwrap();
    let copy = at(&folder, "copy");
    let embly = Embly::run(&project);
    put(embly.at("keeps"), "/a", b"value");
    drop(embly);
    assert_eq!(store(&project, &["backup", "default", &copy]).0, 0);
    let before = file(&project, "default.kv.before-restore");
    fs::write(&before, "of before").unwrap();
    let (code, _, stderr) = store(&project, &["restore", "default", &copy]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("an earlier restore was stopped"),
        "{stderr}"
    );
    assert_eq!(fs::read_to_string(&before).unwrap(), "of before");
    // The half of a copy is of no use to anybody.
    fs::remove_file(&before).unwrap();
    fs::write(file(&project, "default.kv.restoring"), "half").unwrap();
    assert_eq!(store(&project, &["restore", "default", &copy]).0, 0);
}

#[test]
fn a_copy_overwrites_nothing_and_needs_a_store_that_is_there() {
    let project = project();
    let folder = tempfile::tempdir().unwrap();
    let copy = at(&folder, "copy");
    let (code, _, stderr) = store(&project, &["backup", "default", &copy]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("nothing is kept in the store `default` yet"),
        "{stderr}"
    );
    assert!(stderr.contains("--state"), "{stderr}");
    let embly = Embly::run(&project);
    put(embly.at("keeps"), "/a", b"value");
    fs::write(&copy, "precious").unwrap();
    let (code, _, stderr) = store(&project, &["backup", "default", &copy]);
    assert_eq!(code, 1);
    assert!(stderr.contains("is there already"), "{stderr}");
    assert_eq!(fs::read_to_string(&copy).unwrap(), "precious");
    let (code, _, stderr) = store(&project, &["backup", "default", "/no/such/folder/copy"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("/no/such/folder"), "{stderr}");
    for (name, help) in [
        ("defualt", "did you mean `default`?"),
        ("x", "there are `default`, `empty`"),
    ] {
        let (code, _, stderr) = store(&project, &["backup", name, &copy]);
        assert_eq!(code, 2);
        assert!(stderr.contains(help), "{stderr}");
    }
}

/// Objects that a command has printed.
fn objects(stdout: &str) -> Vec<Value> {
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn keys_are_shown_in_pages_and_nothing_in_them_acts_on_the_terminal() {
    let project = project();
    let embly = Embly::run(&project);
    let keeps = embly.at("keeps");
    for n in 0..5 {
        assert_eq!(put(keeps, &format!("/a{n}"), b"12345").text(), "set");
    }
    assert_eq!(put(keeps, "/b", b"\x1b[2J\xff\nx").text(), "set");
    // A key with what a terminal would obey, which no path of a URL can have.
    let connection = Connection::open(file(&project, "default.kv")).unwrap();
    connection
        .execute(
            "UPDATE entries SET key = ?1 WHERE key = ?2",
            [&b"c\x1b]0;title\x07"[..], b"a4"],
        )
        .unwrap();
    let (code, stdout, stderr) = store(&project, &["browse", "default", ""]);
    assert_eq!(code, 0, "{stderr}");
    let expected = "KEY                BYTES  EXPIRES\n\
                    a0                 5      -\n\
                    a1                 5      -\n\
                    a2                 5      -\n\
                    a3                 5      -\n\
                    b                  7      -\n\
                    c\\x1b]0;title\\x07  5      -\n";
    assert_eq!(stdout, expected);
    let (_, stdout, stderr) = store(&project, &["browse", "default", "--limit", "2", "a"]);
    assert_eq!(stdout.lines().count(), 3, "{stdout}");
    assert!(
        stderr.contains("there is more: add `--after 'a1'`"),
        "{stderr}"
    );
    let (_, stdout, stderr) = store(
        &project,
        &["browse", "default", "--limit", "2", "--after", "a1", "a"],
    );
    assert!(stdout.contains("a2") && stdout.contains("a3"), "{stdout}");
    assert!(!stderr.contains("there is more"), "{stderr}");
    // What it shows can be typed.
    let (_, stdout, _) = store(
        &project,
        &[
            "browse", "default", "--values", "--format", "json", "--after", "a3", "",
        ],
    );
    let shown = objects(&stdout);
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0]["event"], "entry");
    assert_eq!(
        (&shown[0]["key"], &shown[0]["bytes"]),
        (&"b".into(), &7.into())
    );
    assert_eq!(shown[0]["value"], "\\x1b[2J\\xff\\nx");
    assert_eq!(shown[0]["expires_at"], Value::Null);
    let key = shown[1]["key"].as_str().unwrap();
    let (_, stdout, _) = store(&project, &["browse", "default", key]);
    assert_eq!(stdout.lines().count(), 2, "{stdout}");
    let (code, stdout, stderr) = store(&project, &["browse", "default", "zzz"]);
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert!(stderr.contains("there is nothing to show"), "{stderr}");
    // The master goes on.
    assert_eq!(get(keeps, "/a0").text(), "12345");
}

#[test]
fn two_masters_do_not_share_a_state_folder() {
    let project = project();
    let embly = Embly::run(&project);
    let (code, _, stderr) = output(&[
        "run",
        project.path().to_str().unwrap(),
        "--bind",
        "127.0.0.1:0",
    ]);
    assert_eq!(code, 1);
    let who = format!("in use by another master, process {}", embly.pid());
    assert!(
        stderr.contains(&who) && stderr.contains("--state"),
        "{stderr}"
    );
    assert_eq!(put(embly.at("keeps"), "/a", b"value").text(), "set");
}
