//! Versions that say whether they are healthy: who is asked, and what becomes of those that are not.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use super::support::project::{answering, writing};
use super::support::sql::Talk;
use super::support::{Embly, Project, get};
use super::{Place, answer, deploy, serving};

/// Asks until all of `done` is done, and says what the answers were.
fn answers_until(ask: impl Fn() -> String + Sync, done: impl FnOnce()) -> BTreeSet<String> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asks = scope.spawn(|| {
            let mut answers = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                answers.insert(ask());
            }
            answers
        });
        done();
        over.store(true, Ordering::Relaxed);
        asks.join().unwrap()
    })
}

#[test]
fn nobody_but_the_master_gets_an_answer_of_a_version_before_it_is_healthy() {
    let place = Place::new();
    let state = place.state();
    // `spawns` is the same in both, and what it spawns is not.
    let versions = |child: &str, web: &str| {
        let health = "    port: 0\n    function: spawns\n    health: /child";
        Project::new()
            .guest("spawns")
            .gateway_with("spawns", health)
            .wat("child", child)
            .wat("hello", web)
            .gateway_with("web", "    port: 0\n    function: hello\n    health: /")
    };
    let traps = "(module (func (export \"_start\") unreachable))";
    let first = versions(&writing("first"), &answering("first"))
        .guest_with("queries", "    allow: {sql: [main]}")
        .tcp("queries")
        .store("name: main, type: sql, path: main.db");
    let embly = Embly::start("run", &first, &["--state", &state]);
    let ask = || {
        let talk = Talk::new(&embly, "queries", "open main").ask("q SELECT 'first'");
        let spawned = get(embly.at("spawns"), "/child").text();
        let spawned = spawned.lines().next().unwrap().to_owned();
        format!("{} {spawned} {talk}", answer(&embly))
    };
    let expected = BTreeSet::from(["first answer: first first".to_owned()]);
    let bad = place.bundle("bad", &versions(traps, traps), &[]);
    let deploy = || {
        let (code, _, err) = embly.told(&["deploy", &bad]);
        assert!(
            code == 1 && err.contains("gateway `web` is not healthy"),
            "{err}"
        );
    };
    assert_eq!(answers_until(ask, deploy), expected);
    assert_eq!(ask(), "first answer: first first");
    // The master has asked `spawns`, which is healthy with the new child.
    let trapped = |event: &Value| event["function"] == "child" && event["reason"] == "trap";
    assert!(embly.events().iter().any(trapped));
}

#[test]
fn what_still_answers_when_a_version_is_given_up_is_ended() {
    let place = Place::new();
    let state = place.state();
    let embly = Embly::start("run", &serving("first"), &["--state", &state]);
    let endless = "(module (func (export \"_start\") (loop br 0)))";
    let hangs = Project::new()
        .wat_with("hello", endless, "    limits: {cpu: 60s, wall: 60s}")
        .gateway_with("web", "    port: 0\n    function: hello\n    health: /");
    let (code, _, err) = embly.told(&["deploy", &place.bundle("hangs", &hangs, &[])]);
    assert!(code == 1 && err.contains("within 5s"), "{err}");
    assert_eq!(embly.ending("hello")["reason"], "client_gone");
    assert_eq!(answer(&embly), "first");
}

#[test]
fn a_version_whose_store_has_another_file_is_asked_once_it_is_served() {
    let place = Place::new();
    let state = place.state();
    let table = ["CREATE TABLE t (a TEXT);"];
    let folder = with_table("folder", &table);
    let embly = Embly::start("run", &folder, &["--state", &state]);
    let moved = |answer: &str| {
        let project = with_table(answer, &table);
        project.edit("main.db", "moved.db");
        project
    };
    let (code, _, err) = embly.told(&["deploy", &place.bundle("bad", &moved(""), &[])]);
    assert!(code == 1 && err.contains("is not healthy"), "{err}");
    assert_eq!(answer(&embly), "folder");
    deploy(&embly, &place.bundle("good", &moved("moved"), &[]));
    assert_eq!(answer(&embly), "moved");
    assert!(Path::new(&state).join("moved.db").exists());
}

fn with_table(answer: &str, migrations: &[&str]) -> Project {
    let mut project = Project::new();
    project = match answer {
        "" => project.wat("hello", "(module (func (export \"_start\") unreachable))"),
        answer => project.wat("hello", &answering(answer)),
    };
    let project = project
        .guest_with("queries", "    allow: {sql: [main]}")
        .tcp("queries")
        .gateway_with("web", "    port: 0\n    function: hello\n    health: /")
        .store("name: main, type: sql, path: main.db, migrations: ./migrations");
    for (at, text) in migrations.iter().enumerate() {
        project.write(&format!("migrations/00{}-x.sql", at + 1), text);
    }
    project
}

#[test]
fn an_unhealthy_version_is_taken_back_also_where_it_has_applied_a_migration() {
    let place = Place::new();
    let state = place.state();
    let first = "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('kept');";
    let project = with_table("folder", &[first]);
    let start = || Embly::start("run", &project, &["--state", &state]);
    let embly = start();
    let ask = |embly: &Embly| Talk::new(embly, "queries", "open main").ask("q SELECT * FROM t");
    assert_eq!(ask(&embly), "kept");
    let second = "ALTER TABLE t ADD COLUMN b TEXT DEFAULT 'new';";
    let bad = place.bundle("bad", &with_table("", &[first, second]), &[]);
    let (code, _, err) = embly.told(&["deploy", &bad]);
    assert!(code == 1 && err.contains("is not healthy"), "{err}");
    assert_eq!(
        (answer(&embly).as_str(), ask(&embly).as_str()),
        ("folder", "kept,new")
    );
    drop(embly);
    let embly = start();
    assert_eq!(answer(&embly), "folder");
    // And so can one that was right.
    deploy(
        &embly,
        &place.bundle("one", &with_table("one", &[first, second]), &[]),
    );
    let third = "ALTER TABLE t ADD COLUMN c TEXT DEFAULT 'newer';";
    deploy(
        &embly,
        &place.bundle("two", &with_table("two", &[first, second, third]), &[]),
    );
    assert_eq!(
        (answer(&embly).as_str(), ask(&embly).as_str()),
        ("two", "kept,new,newer")
    );
    assert_eq!(embly.told(&["rollback"]).0, 0);
    assert_eq!(
        (answer(&embly).as_str(), ask(&embly).as_str()),
        ("one", "kept,new,newer")
    );
    // One that was changed is a mistake all the same.
    let other = place.bundle(
        "other",
        &with_table("other", &["CREATE TABLE t (z TEXT);"]),
        &[],
    );
    let (code, _, err) = embly.told(&["deploy", &other]);
    assert!(
        code == 1 && err.contains("was changed after it was applied"),
        "{err}"
    );
    assert_eq!(answer(&embly), "one");
}
