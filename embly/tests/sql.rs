//! What functions keep in SQL stores.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use support::client::get;
use support::sql::{Talk, project};
use support::{Embly, Project, eventually};

#[test]
fn every_kind_of_value_goes_in_and_comes_back() {
    let project = Project::new()
        .guest_with("values", "    allow: {sql: [main]}")
        .http("values")
        .store("name: main, type: sql");
    let embly = Embly::run(&project);
    for _ in 0..2 {
        let answer = get(embly.at("values"), "/");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.text(), "13 values, nan None, the query has no row");
    }
    drop(embly);
    assert_eq!(get(Embly::run(&project).at("values"), "/").status, 200);
}

#[test]
fn statements_are_answered_one_by_one() {
    let project = project("");
    let embly = Embly::run(&project);
    let mut talk = Talk::new(&embly, "queries", "open main");
    assert_eq!(
        talk.ask("e CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL UNIQUE)"),
        "0 0"
    );
    assert_eq!(talk.ask("e INSERT INTO t (a) VALUES ('x'), ('y')"), "2 2");
    assert_eq!(
        talk.ask("q INSERT INTO t (a) VALUES ('z') RETURNING id, a"),
        "3,z"
    );
    assert_eq!(talk.ask("e UPDATE t SET a = a || a"), "3 0");
    assert_eq!(
        talk.ask("q SELECT id, a FROM t ORDER BY id"),
        "1,xx | 2,yy | 3,zz"
    );
    assert_eq!(talk.ask("first SELECT a FROM t ORDER BY id"), "xx");
    assert_eq!(talk.ask("q SELECT 1 WHERE 0"), "");
    for (asked, said) in [
        (
            "e INSERT INTO t (a) VALUES ('xx')",
            "Statement 2067: UNIQUE constraint failed: t.a",
        ),
        (
            "e INSERT INTO t (a) VALUES (NULL)",
            "Statement 1299: NOT NULL constraint failed: t.a",
        ),
        ("q SELECT a FROM u", "Statement 1: no such table: u"),
        (
            "q SELEC 1",
            "Statement 1: near \"SELEC\": syntax error (at byte 0 of the statement)",
        ),
        ("q SELECT 1; SELECT 2", "there is more than one statement"),
        ("q SELECT ?", "the parameter `?1` has no value"),
        ("q ", "there is no statement in the text"),
        ("q -- SELECT 1", "there is no statement in the text"),
        ("commit", "no commit here"),
        (
            "q SELECT CAST(x'ff' AS TEXT)",
            "select it as `CAST(… AS BLOB)`",
        ),
    ] {
        let answer = talk.ask(asked);
        assert!(answer.contains(said), "{asked}: {answer}");
    }
    assert_eq!(talk.ask("q SELECT count(*) FROM t"), "3");
}

#[test]
fn a_transaction_lives_as_long_as_its_stream() {
    let project = project("");
    let embly = Embly::run(&project);
    let mut other = Talk::new(&embly, "queries", "open main");
    other.ask("e CREATE TABLE t (a)");
    for end in ["commit", "rollback", "trap", "close"] {
        let mut talk = Talk::new(&embly, "queries", "open main");
        assert_eq!(talk.ask("begin"), "begun");
        assert!(
            talk.ask("begin")
                .contains("Sequence 0: a transaction is open already")
        );
        assert_eq!(
            talk.ask(&format!("e INSERT INTO t VALUES ('{end}')")),
            "1 1"
        );
        // Nobody else sees it, and readers do not wait for it.
        assert_eq!(
            other.ask(&format!("q SELECT count(*) FROM t WHERE a = '{end}'")),
            "0"
        );
        match end {
            "trap" => talk.say("trap"),
            "close" => drop(talk),
            end => assert_eq!(talk.ask(end), "ended"),
        }
        // Waits for its turn, so that the other has ended.
        assert!(
            other
                .ask("e DELETE FROM t WHERE a = 'nothing'")
                .starts_with("0 ")
        );
        let count = other.ask(&format!("q SELECT count(*) FROM t WHERE a = '{end}'"));
        assert_eq!(count, if end == "commit" { "1" } else { "0" }, "{end}");
        if end == "commit" {
            other.ask("e DELETE FROM t");
        }
    }
}

#[test]
fn two_writers_wait_for_each_other_and_a_reader_for_nobody() {
    let project = project("    limits: {sql: {wait: 300ms, transaction: 20s}}");
    let embly = Embly::run(&project);
    let mut one = Talk::new(&embly, "queries", "open main");
    one.ask("e CREATE TABLE t (a)");
    let mut two = Talk::new(&embly, "queries-too", "open main");
    let mut reader = Talk::new(&embly, "queries", "open main read");
    one.ask("begin");
    one.ask("e INSERT INTO t VALUES (1)");
    assert_eq!(reader.ask("q SELECT count(*) FROM t"), "0");
    two.say("begin");
    // It waits, since its limit is another one than this function's.
    let refused = Talk::new(&embly, "queries", "open main").ask("e INSERT INTO t VALUES (2)");
    assert!(refused.starts_with("Busy 0: others write"), "{refused}");
    assert!(!two.has_said_something());
    assert_eq!(one.ask("commit"), "ended");
    assert_eq!(two.hear(), "begun");
    assert_eq!(two.ask("q SELECT count(*) FROM t"), "1");
    assert_eq!(two.ask("e INSERT INTO t VALUES (3)"), "1 2");
    assert_eq!(two.ask("commit"), "ended");
    assert_eq!(reader.ask("q SELECT count(*) FROM t"), "2");
}

#[test]
fn a_reading_transaction_sees_one_state_and_changes_nothing() {
    let project = project("");
    let embly = Embly::run(&project);
    let mut writer = Talk::new(&embly, "queries", "open main");
    writer.ask("e CREATE TABLE t (a)");
    let mut reader = Talk::new(&embly, "queries-too", "open main");
    assert_eq!(reader.ask("begin read"), "begun");
    assert_eq!(reader.ask("q SELECT count(*) FROM t"), "0");
    assert_eq!(writer.ask("e INSERT INTO t VALUES (1)"), "1 1");
    assert_eq!(reader.ask("q SELECT count(*) FROM t"), "0");
    let refused = reader.ask("e INSERT INTO t VALUES (2)");
    assert!(
        refused.contains("Sequence 0: the transaction was begun to read"),
        "{refused}"
    );
    assert_eq!(reader.ask("commit"), "ended");
    assert_eq!(reader.ask("q SELECT count(*) FROM t"), "1");
}

#[test]
fn a_store_is_closed_to_functions_that_do_not_list_it_and_the_error_names_the_line() {
    for (allow, reads, writes) in [
        ("", false, false),
        (
            "    allow: {sql: [{store: main, access: read}]}",
            true,
            false,
        ),
        ("    allow: {sql: [main]}", true, true),
        ("    allow: {sql: [other]}", false, false),
    ] {
        let project = Project::new()
            .guest_with("queries", allow)
            .tcp("queries")
            .store("name: main, type: sql")
            .store("name: other, type: sql");
        let embly = Embly::run(&project);
        for (open, may, access) in [
            ("open main read", reads, "read"),
            ("open main", writes, "read-write"),
        ] {
            let answer = Talk::new(&embly, "queries", open).ask("q SELECT 1");
            assert_eq!(answer == "1", may, "{allow}, {open}: {answer}");
            let asked = if allow.is_empty() {
                "read-write"
            } else {
                access
            };
            let item = format!("{{store: main, access: {asked}}}");
            let line = match allow {
                "" => format!("add `sql: [{item}]`"),
                _ if allow.contains("other") => format!("write `sql: [other, {item}]`"),
                _ => format!("write `sql: [{item}]`"),
            };
            let line = format!("{line} under `allow` of function `queries`");
            assert!(may || answer.contains(&line), "{answer}");
        }
    }
}

#[test]
fn a_function_without_a_store_is_told_all_that_is_missing_at_once() {
    let embly = Embly::run(&Project::new().guest("queries").tcp("queries"));
    let answer = Talk::new(&embly, "queries", "open main").ask("q SELECT 1");
    let line = "add `sql: [{store: main, access: read-write}]` under `allow` of function `queries`, \
                and `- {name: main, type: sql}` to `stores`";
    assert!(answer.contains(line), "{answer}");
}

#[test]
fn stores_are_files_of_their_own() {
    let project = project("").store("name: other, type: sql, path: deep/other.db");
    project.edit(
        "    allow: {sql: [main]}",
        "    allow: {sql: [main, other]}",
    );
    let embly = Embly::run(&project);
    let mut main = Talk::new(&embly, "queries", "open main");
    main.ask("e CREATE TABLE t (a)");
    let mut other = Talk::new(&embly, "queries-too", "open other");
    assert!(other.ask("q SELECT * FROM t").contains("no such table"));
    let database = project.path().join("data/main.db");
    assert!(database.exists() && project.path().join("data/deep/other.db").exists());
    assert_eq!(main.ask("q PRAGMA journal_mode"), "wal");
    assert_eq!(main.ask("q PRAGMA synchronous"), "2");
}

#[test]
fn a_process_that_nobody_uses_ends_and_none_is_left_with_the_master() {
    let project = project("");
    let mut embly = Embly::run(&project);
    let mut talk = Talk::new(&embly, "queries", "open main");
    talk.ask("e CREATE TABLE t (a)");
    let process = support::sql::processes(&embly);
    assert_eq!(process.len(), 1);
    drop(talk);
    let mut again = Talk::new(&embly, "queries", "open main");
    again.ask("q SELECT * FROM t");
    // The next one finds it.
    assert_eq!(support::sql::processes(&embly), process);
    again.ask("begin");
    drop(again);
    embly.stops_with_nothing_left();
    eventually("its end", || {
        process.iter().all(support::process::Process::is_gone)
    });
}
