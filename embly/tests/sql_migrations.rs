//! Migrations of SQL stores; and commits that outlive the master.
//!
//! `EMBLY_SQL_ROUNDS=1000 cargo test -p embly --test sql_migrations commits` kills the master
//! so often; `EMBLY_SQL_SEED` repeats one run.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use support::sql::{Talk, processes};
use support::{Embly, Project, eventually};

fn project() -> Project {
    Project::new()
        .guest_with("queries", "    allow: {sql: [main]}")
        .tcp("queries")
        .store("name: main, type: sql, path: main.db, migrations: ./migrations")
}

const FIRST: &str = "-- The table.\nCREATE TABLE t (a TEXT);\nINSERT INTO t VALUES ('one');\n";
const SECOND: &str = "ALTER TABLE t ADD COLUMN b INTEGER NOT NULL DEFAULT 7;";
/// The second line is wrong.
const BROKEN: &str = "INSERT INTO t VALUES ('three', 3);\n\nCRATE TABLE u (a);\n";

/// `embly run` to its end: the exit code, and what it said.
fn fails(project: &Project) -> String {
    let path = project.path().to_str().unwrap();
    let arguments = ["run", path, "--bind", "127.0.0.1:0"];
    let (code, _, stderr) = support::output(&arguments);
    assert_eq!(code, 1, "{stderr}");
    stderr
}

fn ask(embly: &Embly, line: &str) -> String {
    Talk::new(embly, "queries", "open main").ask(line)
}

#[test]
fn migrations_are_applied_once_in_order_and_recorded() {
    let project = project();
    project.write("migrations/001-first.sql", FIRST);
    project.write("migrations/002_second.sql", SECOND);
    let embly = Embly::run(&project);
    assert_eq!(ask(&embly, "q SELECT a, b FROM t"), "one,7");
    assert_eq!(
        ask(
            &embly,
            "q SELECT number, name, length(checksum) FROM _embly_migrations"
        ),
        "1,001-first.sql,64 | 2,002_second.sql,64"
    );
    assert_eq!(
        embly.messages("store `main`: applied the migration `001-first.sql`"),
        1
    );
    drop(embly);
    project.write(
        "migrations/003-third.sql",
        "INSERT INTO t VALUES ('two', 2)",
    );
    let embly = Embly::run(&project);
    assert_eq!(ask(&embly, "q SELECT a, b FROM t"), "one,7 | two,2");
    assert_eq!(
        embly.messages("store `main`: applied the migration `001-first.sql`"),
        0
    );
}

#[test]
fn a_migration_that_fails_leaves_the_database_as_it_was_and_nothing_is_served() {
    let project = project();
    project.write("migrations/001-first.sql", FIRST);
    project.write("migrations/002-second.sql", SECOND);
    project.write("migrations/003-third.sql", BROKEN);
    let said = fails(&project);
    assert!(
        said.contains("the migration `003-third.sql` failed at line 3"),
        "{said}"
    );
    assert!(said.contains("near \"CRATE\": syntax error"), "{said}");
    // Those before it are applied, nothing of its own is.
    project.write(
        "migrations/003-third.sql",
        "INSERT INTO t VALUES ('four', 4);",
    );
    let embly = Embly::run(&project);
    assert_eq!(ask(&embly, "q SELECT a, b FROM t"), "one,7 | four,4");
}

#[test]
fn what_migrations_may_not_do_fails_them() {
    for (text, why) in [
        ("ATTACH 'x' AS y;", "a store is one database"),
        (
            "BEGIN; CREATE TABLE u (a); COMMIT;",
            "transactions are not begun and ended by SQL",
        ),
        ("COMMIT;", "transactions are not begun and ended by SQL"),
        ("DROP TABLE _embly_migrations;", "is Embly's own"),
        ("PRAGMA journal_mode = DELETE;", "can be read, not set"),
        ("INSERT INTO t VALUES (NULL, 'x', 'y');", "no such table: t"),
    ] {
        let project = project();
        project.write("migrations/001-first.sql", text);
        let said = fails(&project);
        assert!(
            said.contains("`001-first.sql` failed at line 1") && said.contains(why),
            "{said}"
        );
    }
}

#[test]
fn a_migration_that_was_changed_or_removed_is_named() {
    let project = project();
    project.write("migrations/001-first.sql", FIRST);
    project.write("migrations/002-second.sql", SECOND);
    drop(Embly::run(&project));
    project.write("migrations/001-first.sql", &format!("{FIRST} -- more"));
    let said = fails(&project);
    assert!(
        said.contains("the migration `001-first.sql` was changed after it was applied")
            && said.contains("new migration"),
        "{said}"
    );
    project.write("migrations/001-first.sql", FIRST);
    std::fs::remove_file(project.path().join("migrations/002-second.sql")).unwrap();
    let said = fails(&project);
    assert!(
        said.contains("`002-second.sql` was applied and is not there any more"),
        "{said}"
    );
    project.write("migrations/002-second.sql", SECOND);
    assert_eq!(ask(&Embly::run(&project), "q SELECT a, b FROM t"), "one,7");
}

#[test]
fn a_reload_applies_new_migrations_and_a_failure_changes_nothing() {
    let project = project();
    project.write("migrations/001-first.sql", FIRST);
    let embly = Embly::start_detached("run", &project);
    let mut talk = Talk::new(&embly, "queries", "open main");
    assert_eq!(talk.ask("q SELECT * FROM t"), "one");
    project.write("migrations/002-second.sql", SECOND);
    embly.signal(Signal::HUP);
    embly.event("message", |event| event["text"] == "reloaded");
    // One that is open sees it as well.
    assert_eq!(talk.ask("q SELECT * FROM t"), "one,7");
    project.write("migrations/003-third.sql", BROKEN);
    embly.signal(Signal::HUP);
    let text = |event: &serde_json::Value| event["text"].as_str().unwrap_or_default().to_owned();
    let event = embly.event("message", |event| text(event).contains("003-third.sql"));
    assert!(
        text(&event).contains("the project is served as it was"),
        "{event}"
    );
    assert_eq!(talk.ask("q SELECT * FROM t"), "one,7");
    assert_eq!(talk.ask("e INSERT INTO t VALUES ('still', 1)"), "1 2");
    assert_eq!(ask(&embly, "q SELECT count(*) FROM t"), "2");
}

#[test]
fn a_reload_does_not_wait_without_end_for_a_function_that_writes() {
    let limits = "    limits: {sql: {transaction: none, read: none}}";
    let project = Project::new()
        .guest_with("queries", &format!("    allow: {{sql: [main]}}\n{limits}"))
        .tcp("queries")
        .store("name: main, type: sql, path: main.db, migrations: ./migrations");
    project.write("migrations/001-first.sql", FIRST);
    let embly = Embly::start_detached("run", &project);
    let mut talk = Talk::new(&embly, "queries", "open main");
    assert_eq!(talk.ask("begin"), "begun");
    embly.signal(Signal::HUP);
    let text = |event: &serde_json::Value| event["text"].as_str().unwrap_or_default().to_owned();
    let event = embly.event("message", |event| text(event).contains("the store `main`"));
    assert!(
        text(&event).contains("has had a transaction open"),
        "{event}"
    );
    assert_eq!(talk.ask("e INSERT INTO t VALUES ('two')"), "1 2");
    assert_eq!(talk.ask("commit"), "ended");
    embly.signal(Signal::HUP);
    embly.event("message", |event| event["text"] == "reloaded");
}

#[test]
fn a_crash_in_a_migration_leaves_it_unapplied() {
    let project = project();
    project.write("migrations/001-first.sql", FIRST);
    project.write(
        "migrations/002-second.sql",
        "INSERT INTO t VALUES ('half');\nINSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL \
         SELECT i + 1 FROM n LIMIT 1000000000000) SELECT 'x' FROM n WHERE i < 0;\n",
    );
    let runtime = tempfile::tempdir().unwrap();
    let mut command = support::command(&[], runtime.path());
    command.args(support::arguments("run", project.path()));
    let mut embly = Embly::spawn(command, runtime, 0);
    eventually("a process that is busy with it", || {
        let busy = processes(&embly)
            .into_iter()
            .find(|process| support::process::cpu_time(process.pid) > Duration::from_millis(100));
        busy.inspect(|process| process.signal(Signal::KILL))
            .is_some()
    });
    assert_eq!(embly.wait().code(), Some(1));
    let stderr = embly.stderr();
    assert!(
        stderr.contains("the process that applies migrations has died"),
        "{stderr}"
    );
    project.write(
        "migrations/002-second.sql",
        "INSERT INTO t VALUES ('whole');",
    );
    assert_eq!(
        ask(&Embly::run(&project), "q SELECT a FROM t"),
        "one | whole"
    );
}

const PAIRS: &str = "CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER, c TEXT) STRICT";

/// Rounds where only some tests are run, and where all are.
const FEW: u64 = 3;
const MANY: u64 = 30;

/// Streams that write at the same time.
const WRITERS: u64 = 4;

/// Rows of a writer begin with its number times this.
const APART: u64 = 1_000_000;

/// What the environment says, if it says so.
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The moments at which something is killed.
fn moments() -> StdRng {
    let seed = variable("EMBLY_SQL_SEED").unwrap_or_else(rand::random);
    eprintln!("EMBLY_SQL_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Two rows in each transaction, so that a half one would show.
fn pair(one: u64) -> String {
    let two = one + 1;
    format!(
        "e INSERT INTO t VALUES ({one}, {}, 'x'), ({two}, {}, 'y')",
        one * 3,
        two * 3
    )
}

#[test]
fn commits_that_were_acknowledged_are_there_whenever_a_process_was_killed() {
    let project = project();
    project.write("migrations/001-first.sql", PAIRS);
    let embly = Embly::run(&project);
    let done = support::Done::default();
    let (mut lost, mut acknowledged) = (0, 0_u64);
    std::thread::scope(|scope| {
        let _end = done.at_end();
        scope.spawn(|| {
            let mut random = moments();
            while !done.is_set() {
                // It is the moment that is to be another one each time.
                let pause = random.random_range(1000..21_000);
                std::thread::sleep(Duration::from_micros(pause));
                for process in processes(&embly) {
                    process.signal(Signal::KILL);
                }
            }
        });
        let mut talk = Talk::new(&embly, "queries", "open main");
        while lost < 20 {
            let two = acknowledged + 2;
            let said = talk.ask(&pair(acknowledged + 1));
            if said == format!("2 {two}") {
                acknowledged += 2;
                continue;
            }
            assert!(said.starts_with("Lost 0: "), "{said}");
            lost += 1;
            let there = loop {
                let said = talk.ask("q SELECT count(*) FROM t");
                match said.parse::<u64>() {
                    Ok(there) => break there,
                    Err(_) => assert!(said.starts_with("Lost 0: "), "{said}"),
                }
            };
            // The one that was under way may be there, as a whole.
            assert!(
                [acknowledged, two].contains(&there),
                "{there}, {acknowledged}"
            );
            acknowledged = there;
        }
    });
    // The last one that was killed shows once.
    eventually("a process that lives", || ask(&embly, "q SELECT 1") == "1");
    assert_eq!(
        ask(&embly, "q SELECT count(*) FROM t WHERE b <> a * 3"),
        "0"
    );
    assert_eq!(ask(&embly, "q PRAGMA integrity_check"), "ok");
}

/// What one stream has written.
struct Writer {
    number: u64,
    /// Rows whose commit was acknowledged: the least that must be there.
    acknowledged: u64,
    /// Rows that were asked for: the most that may be there.
    asked: u64,
}

impl Writer {
    /// Writes until the master is gone.
    fn write(&mut self, mut talk: Talk, all: &AtomicU64) {
        loop {
            let one = self.number * APART + self.acknowledged + 1;
            self.asked = self.acknowledged + 2;
            match talk.ask(&pair(one)) {
                said if said == format!("2 {}", one + 1) => self.acknowledged += 2,
                said if said.is_empty() => return,
                said => panic!("{said}"),
            }
            all.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sees that all is there, each transaction whole, and goes on from it.
    fn check(&mut self, embly: &Embly) {
        let first = self.number * APART;
        let said = ask(
            embly,
            &format!(
                "q SELECT count(*), coalesce(max(a), {first}) - {first} FROM t WHERE a > {first} AND \
                 a < {}",
                first + APART
            ),
        );
        let (count, last) = said.split_once(',').unwrap();
        let (count, last): (u64, u64) = (count.parse().unwrap(), last.parse().unwrap());
        assert_eq!(count, last, "rows are missing");
        assert_eq!(count % 2, 0, "a transaction is there in part");
        assert!(
            (self.acknowledged..=self.asked).contains(&count),
            "{}: {count}, not {} to {}",
            self.number,
            self.acknowledged,
            self.asked
        );
        (self.acknowledged, self.asked) = (count, count);
    }
}

#[test]
fn commits_that_were_acknowledged_are_there_after_the_master_was_killed() {
    let all = std::env::var_os("EMBLY_TEST_ALL").is_some_and(|all| all == "1");
    let rounds = variable("EMBLY_SQL_ROUNDS").unwrap_or(if all { MANY } else { FEW });
    let mut random = moments();
    let project = project();
    project.write("migrations/001-first.sql", PAIRS);
    let mut writers: Vec<Writer> = (1..=WRITERS)
        .map(|number| Writer {
            number,
            acknowledged: 0,
            asked: 0,
        })
        .collect();
    let check = |embly: &Embly, writers: &mut [Writer]| {
        for writer in writers {
            writer.check(embly);
        }
        let wrong = "q SELECT count(*) FROM t WHERE b <> a * 3";
        assert_eq!(ask(embly, wrong), "0");
    };
    for round in 0..rounds {
        let embly = Embly::run(&project);
        check(&embly, &mut writers);
        let acknowledged = AtomicU64::new(0);
        let pause = Duration::from_micros(random.random_range(0..30_000));
        std::thread::scope(|scope| {
            for writer in &mut writers {
                let talk = Talk::new(&embly, "queries", "open main");
                let acknowledged = &acknowledged;
                scope.spawn(move || writer.write(talk, acknowledged));
            }
            eventually("commits are acknowledged", || {
                acknowledged.load(Ordering::Relaxed) > WRITERS
            });
            // At any moment of the load, also of a checkpoint.
            std::thread::sleep(pause);
            support::kill(embly.pid(), Signal::KILL);
        });
        if round % 10 == 9 {
            eprintln!("{} of {rounds}", round + 1);
        }
    }
    let embly = Embly::run(&project);
    check(&embly, &mut writers);
    assert_eq!(ask(&embly, "q PRAGMA integrity_check"), "ok");
}
