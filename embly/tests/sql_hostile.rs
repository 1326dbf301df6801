//! What SQL cannot do, whatever a function sends; and what becomes of it when a process dies.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use prost::Message;
use protos::services::sql::request::Request as Asked;
use protos::services::sql::{Begin, Cancel, Commit, Execute, Open, Request};
use rustix::process::Signal;
use support::process::resident;
use support::sql::{Talk, processes, project};
use support::{Embly, eventually};

/// No such statement is carried out, by a writer or a reader.
const FORBIDDEN: &[&str] = &[
    "ATTACH 'other.db' AS other",
    "ATTACH DATABASE ':memory:' AS m",
    "DETACH DATABASE main",
    "VACUUM",
    "VACUUM INTO 'copy.db'",
    "VACUUM main INTO '/tmp/copy.db'",
    "SELECT load_extension('x')",
    "SELECT load_extension('x', 'y')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT fts3_tokenizer('x', x'0000000000000000')",
    "PRAGMA journal_mode = OFF",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA main.journal_mode = MEMORY",
    "PRAGMA synchronous = OFF",
    "PRAGMA synchronous(0)",
    "PRAGMA writable_schema = 1",
    "PRAGMA writable_schema = RESET",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA ignore_check_constraints = 1",
    "PRAGMA trusted_schema = 1",
    "PRAGMA query_only = 0",
    "PRAGMA hard_heap_limit = 0",
    "PRAGMA soft_heap_limit = 0",
    "PRAGMA max_page_count = 1073741823",
    "PRAGMA temp_store = 1",
    "PRAGMA temp_store_directory = '/tmp'",
    "PRAGMA mmap_size = 1000000000",
    "PRAGMA cache_size = -1000000",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA busy_timeout = 1000000",
    "PRAGMA user_version = 7",
    "PRAGMA schema_version = 7",
    "PRAGMA application_id = 7",
    "PRAGMA page_size = 512",
    "PRAGMA auto_vacuum = 1",
    "PRAGMA secure_delete = 0",
    "PRAGMA threads = 8",
    "PRAGMA case_sensitive_like = 1",
    "PRAGMA recursive_triggers = 1",
    "PRAGMA cell_size_check = 0",
    "PRAGMA database_list",
    "PRAGMA shrink_memory",
    "PRAGMA incremental_vacuum",
    "PRAGMA optimize",
    "BEGIN",
    "BEGIN EXCLUSIVE",
    "COMMIT",
    "END",
    "ROLLBACK",
    "SAVEPOINT a",
    "RELEASE a",
    "ROLLBACK TO a",
    "CREATE TEMP TABLE x (a)",
    "CREATE TEMP VIEW x AS SELECT 1",
    "CREATE TEMP TRIGGER x INSERT ON t BEGIN SELECT 1; END",
    "CREATE TABLE temp.x (a)",
    "CREATE VIRTUAL TABLE x USING fts3(a)",
    "CREATE VIRTUAL TABLE x USING fts4(a)",
    "CREATE VIRTUAL TABLE x USING dbstat",
    "INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 2, 'CREATE TABLE x (a)')",
    "UPDATE sqlite_schema SET sql = 'x'",
    "DELETE FROM sqlite_sequence",
    "INSERT INTO _embly_migrations VALUES (1, 'x', 'x', 'x')",
    "UPDATE _EMBLY_MIGRATIONS SET checksum = ''",
    "DELETE FROM \"_embly_migrations\"",
    "DROP TABLE _embly_migrations",
    "ALTER TABLE _embly_migrations ADD COLUMN x",
    "CREATE TRIGGER x INSERT ON _embly_migrations BEGIN SELECT 1; END",
    "CREATE INDEX x ON _embly_migrations (name)",
    "SELECT \"no such column\"",
    "EXPLAIN ATTACH 'x' AS y",
];

/// Refused to who has opened the store for reading.
const CHANGES: &[&str] = &[
    "INSERT INTO t VALUES (1)",
    "INSERT OR REPLACE INTO t VALUES (1)",
    "REPLACE INTO t VALUES (1)",
    "UPDATE t SET a = 1",
    "DELETE FROM t",
    "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
    "INSERT INTO t VALUES (1) RETURNING a",
    "CREATE TABLE u (a)",
    "CREATE INDEX i ON t (a)",
    "CREATE VIEW v AS SELECT 1",
    "CREATE TRIGGER x INSERT ON t BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE x USING fts5(a)",
    "DROP TABLE t",
    "ALTER TABLE t RENAME TO u",
    "ALTER TABLE t ADD COLUMN b",
    "ANALYZE",
    "REINDEX",
    "EXPLAIN INSERT INTO t VALUES (1)",
];

#[test]
fn what_is_forbidden_is_refused_to_writers_and_readers() {
    let project = project("");
    let embly = Embly::run(&project);
    let mut writer = Talk::new(&embly, "queries", "open main");
    writer.ask("e CREATE TABLE t (a)");
    writer.ask("e CREATE INDEX of_t ON t (a)");
    writer.ask("e INSERT INTO t VALUES ('kept')");
    let before = writer.ask("q SELECT type, name, sql FROM sqlite_schema");
    let files = || {
        let folder = std::fs::read_dir(project.path().join("data")).unwrap();
        let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let files_before = files();
    for open in ["open main", "open main read"] {
        let mut talk = Talk::new(&embly, "queries", open);
        let changes = if open.ends_with("read") { CHANGES } else { &[] };
        for sql in FORBIDDEN.iter().chain(changes) {
            let said = talk.ask(&format!("e {sql}"));
            let refused = said.starts_with("Forbidden ") || said.starts_with("Statement 1: ");
            assert!(refused, "{open}: {sql}: {said}");
        }
        // Also in a transaction, and it is not the worse for it.
        assert_eq!(talk.ask("begin read"), "begun");
        for sql in FORBIDDEN {
            let said = talk.ask(&format!("e {sql}"));
            // What would write is not run at all.
            let refused = ["Forbidden ", "Statement 1: ", "Sequence 0: "];
            let refused = refused.iter().any(|begin| said.starts_with(begin));
            assert!(refused, "{open}, in a transaction: {sql}: {said}");
        }
        assert_eq!(talk.ask("commit"), "ended");
        assert_eq!(talk.ask("q SELECT a FROM t"), "kept");
    }
    assert_eq!(
        writer.ask("q SELECT type, name, sql FROM sqlite_schema"),
        before
    );
    assert_eq!(writer.ask("q PRAGMA journal_mode"), "wal");
    assert_eq!(writer.ask("q PRAGMA foreign_keys"), "1");
    assert_eq!(files(), files_before);
    // What only tells is allowed.
    assert_eq!(writer.ask("q SELECT name FROM pragma_table_info('t')"), "a");
    assert!(writer.ask("q PRAGMA table_info(t)").starts_with("0,a"));
    assert_eq!(writer.ask("q PRAGMA integrity_check"), "ok");
    // And so are full-text search and trees of rectangles.
    let made = writer.ask("e CREATE VIRTUAL TABLE words USING fts5(text)");
    assert!(made.ends_with(" 0"), "{made}");
    assert_eq!(
        writer.ask("e INSERT INTO words VALUES ('a word or two')"),
        "1 1"
    );
    assert_eq!(
        writer.ask("q SELECT text FROM words WHERE words MATCH 'word'"),
        "a word or two"
    );
    let made = writer.ask("e CREATE VIRTUAL TABLE boxes USING rtree(id, a, b)");
    assert!(made.ends_with(" 0"), "{made}");
}

/// Endless, or nearly so; one by one in the steps of SQLite, and in a single step.
const ENDLESS: &[&str] = &[
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) \
     SELECT count(*) FROM n a, n b, n c",
    "SELECT instr(zeroblob(3900000), CAST(zeroblob(1900000) || x'01' AS BLOB))",
];

#[test]
fn an_endless_statement_ends_with_the_limit_of_time() {
    let project = project("    limits: {sql: {time: 500ms}}");
    let embly = Embly::run(&project);
    for open in ["open main", "open main read"] {
        let mut talk = Talk::new(&embly, "queries", open);
        for sql in ENDLESS {
            let since = Instant::now();
            let said = talk.ask(&format!("q {sql}"));
            assert!(said.starts_with("Time "), "{sql}: {said}");
            assert!(said.contains("limit `time`"), "{sql}: {said}");
            assert!(
                since.elapsed() < Duration::from_secs(10),
                "{:?}",
                since.elapsed()
            );
            assert_eq!(talk.ask("q SELECT 1"), "1");
        }
    }
    // One that writes is undone, and does not keep others waiting.
    let mut talk = Talk::new(&embly, "queries", "open main");
    talk.ask("e CREATE TABLE t (a)");
    let said = talk.ask(
        "e INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
         SELECT 1 FROM n WHERE i % 1000 = 0",
    );
    assert!(said.starts_with("Time "), "{said}");
    let mut other = Talk::new(&embly, "queries-too", "open main");
    assert_eq!(other.ask("e INSERT INTO t VALUES (1)"), "1 1");
    assert_eq!(other.ask("q SELECT count(*) FROM t"), "1");
}

/// More than the limit of memory, or than a value or a row can have.
const GREEDY: &[&str] = &[
    "SELECT randomblob(1000000000)",
    "SELECT zeroblob(1000000000)",
    "SELECT hex(zeroblob(3000000))",
    "SELECT zeroblob(3000000), zeroblob(3000000)",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10000000) \
     SELECT group_concat(i) FROM n",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) \
     SELECT i, randomblob(1000) r FROM n ORDER BY r",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) \
     SELECT DISTINCT randomblob(1000) FROM n",
    "WITH RECURSIVE n(i, r) AS (SELECT 1, 'x' UNION SELECT i + 1, randomblob(2000000) FROM n) \
     SELECT count(*) FROM n",
];

#[test]
fn a_statement_that_takes_too_much_memory_ends_with_the_limit() {
    let project = project("    limits: {sql: {memory: 16MiB}}");
    let embly = Embly::run(&project);
    let mut talk = Talk::new(&embly, "queries", "open main");
    for sql in GREEDY {
        let said = talk.ask(&format!("count {sql}"));
        assert!(said.starts_with("Memory "), "{sql}: {said}");
        for process in processes(&embly) {
            assert!(
                resident(process.pid) < 128 << 20,
                "{sql}: {}",
                resident(process.pid)
            );
        }
        assert_eq!(talk.ask("q SELECT 1"), "1", "after {sql}");
    }
    assert!(resident(embly.pid()) < 64 << 20);
}

#[test]
fn statements_that_are_made_to_hurt_end_in_words() {
    let project = project("");
    let embly = Embly::run(&project);
    let mut talk = Talk::new(&embly, "queries", "open main");
    talk.ask("e CREATE TABLE t (a)");
    let many = |piece: &str, count: usize| piece.repeat(count);
    let corpus = [
        format!("SELECT {}1{}", many("(", 10_000), many(")", 10_000)),
        format!("SELECT {}1", many("-", 3)),
        format!("SELECT {}1", many("NOT ", 10_000)),
        format!("SELECT 1{}", many(" UNION SELECT 1", 1000)),
        format!("SELECT 1{}", many(", 1", 10_000)),
        format!(
            "SELECT '{}' LIKE '{}'",
            many("a", 100_000),
            many("%a", 10_000)
        ),
        format!("SELECT 1 FROM t{}", many(", t", 100)),
        format!("SELECT abs({})", many("1,", 1000)),
        format!("SELECT {}", many("x'", 1001)),
        format!("SELECT printf('%{}d', 1)", many("9", 9)),
        format!("SELECT '{}'", many("x", 2_000_000)),
        "SELECT ?99999".to_owned(),
        "SELECT json_extract('[[[[', '$[0')".to_owned(),
        format!("SELECT json('{}')", many("[", 100_000)),
        "SELECT substr('x', -9223372036854775808, -9223372036854775808)".to_owned(),
        "SELECT abs(-9223372036854775808)".to_owned(),
        "SELECT round(1e308, 1e308), 1e999, -1e999".to_owned(),
        "SELECT quote(zeroblob(3000000))".to_owned(),
        "SELECT sum(9223372036854775807) FROM (SELECT 1 UNION ALL SELECT 2)".to_owned(),
        "SELECT date('now', '+99999999999 years')".to_owned(),
        "CREATE VIEW v AS SELECT * FROM v".to_owned(),
        "SELECT * FROM v".to_owned(),
        "CREATE TRIGGER x AFTER INSERT ON t BEGIN INSERT INTO t VALUES (1); END".to_owned(),
        "SELECT * FROM pragma_function_list LIMIT 1".to_owned(),
        "\u{0}".to_owned(),
        "SELECT 1 \u{0} SELECT 2".to_owned(),
        "SELECT \u{feff}1".to_owned(),
        "';--".to_owned(),
        "/*".to_owned(),
    ];
    for sql in corpus {
        let said = talk.ask(&format!("count {sql}"));
        assert!(!said.is_empty(), "{}", &sql[..sql.len().min(100)]);
        assert!(
            !said.starts_with("error"),
            "{}: {said}",
            &sql[..sql.len().min(100)]
        );
        assert!(
            !said.starts_with("Lost"),
            "{}: {said}",
            &sql[..sql.len().min(100)]
        );
        assert_eq!(talk.ask("q SELECT 1"), "1");
    }
}

#[test]
fn a_process_that_is_killed_is_an_error_to_its_caller_and_to_nobody_else() {
    let project = project("");
    let embly = Embly::run(&project);
    let mut other = Talk::new(&embly, "queries-too", "open main");
    other.ask("e CREATE TABLE t (a)");
    let known = processes(&embly);
    let kill_new = || {
        let mut killed = 0;
        for process in processes(&embly)
            .into_iter()
            .filter(|one| !known.contains(one))
        {
            process.signal(Signal::KILL);
            killed += 1;
        }
        killed
    };
    let mut talk = Talk::new(&embly, "queries", "open main");
    // While nobody uses it: nobody notices.
    assert_eq!(talk.ask("q SELECT 1"), "1");
    assert_eq!(kill_new(), 1);
    eventually("its end", || processes(&embly).len() == 1);
    assert_eq!(talk.ask("q SELECT 1"), "1");
    // In a transaction.
    assert_eq!(talk.ask("begin"), "begun");
    assert_eq!(talk.ask("e INSERT INTO t VALUES (1)"), "1 1");
    assert_eq!(kill_new(), 1);
    let said = talk.ask("e INSERT INTO t VALUES (2)");
    assert!(
        said.starts_with("Lost 0: the process that had the store open has died"),
        "{said}"
    );
    let said = talk.ask("commit");
    assert!(
        said.contains("Sequence 0: no transaction is open"),
        "{said}"
    );
    // While it works.
    talk.say(
        "q WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    );
    eventually("its process", || kill_new() == 1);
    assert!(talk.hear().starts_with("Lost 0: "));
    // While its rows are on their way.
    const MANY: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) \
                        SELECT i FROM n";
    assert_eq!(talk.ask(&format!("start {MANY}")), "1");
    assert_eq!(kill_new(), 1);
    let said = talk.ask("go on");
    assert!(said.starts_with("Lost 0: "), "{said}");
    assert_eq!(talk.ask("q SELECT count(*) FROM t"), "0");
    assert_eq!(other.ask("e INSERT INTO t VALUES (3)"), "1 1");
}

#[test]
fn a_master_that_is_stopped_at_once_ends_well_while_a_statement_runs() {
    let project = project("    limits: {sql: {time: 60s}}");
    let mut embly = Embly::run(&project);
    let mut talk = Talk::new(&embly, "queries", "open main");
    assert_eq!(talk.ask("q SELECT 1"), "1");
    // A single step of SQLite: it does not leave off.
    talk.say(&format!("q {}", ENDLESS[3]));
    let pid = processes(&embly)[0].pid;
    eventually("the statement runs", || {
        let all = embly.processes();
        all.iter().any(|one| one.pid == pid && one.state == 'R')
    });
    let at = embly.at("queries");
    embly.signal(Signal::TERM);
    eventually("the gateway is closed", || {
        std::net::TcpStream::connect(at).is_err()
    });
    embly.signal(Signal::TERM);
    assert_eq!(embly.wait().code(), Some(0));
    eventually("the end of its process", || {
        rustix::process::test_kill_process(rustix::process::Pid::from_raw(pid).unwrap()).is_err()
    });
}

#[test]
fn a_transaction_that_stays_open_is_rolled_back_by_its_limit() {
    let project = project("    limits: {sql: {transaction: 300ms, read: 600ms}}");
    let embly = Embly::run(&project);
    let mut talk = Talk::new(&embly, "queries", "open main");
    talk.ask("e CREATE TABLE t (a)");
    assert_eq!(talk.ask("begin"), "begun");
    assert_eq!(talk.ask("e INSERT INTO t VALUES (1)"), "1 1");
    let mut other = Talk::new(&embly, "queries-too", "open main");
    // It waits for the end of the other.
    assert_eq!(other.ask("e INSERT INTO t VALUES (2)"), "1 1");
    let said = talk.ask("commit");
    assert!(
        said.starts_with("Time 0: a transaction that writes was open"),
        "{said}"
    );
    assert!(said.contains("limit `transaction`"), "{said}");
    assert_eq!(talk.ask("q SELECT a FROM t"), "2");
    // Rows that nobody takes are a transaction as well.
    const MANY: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) \
                        SELECT i FROM n";
    assert_eq!(talk.ask(&format!("start {MANY}")), "1");
    eventually("the end of its process", || processes(&embly).len() <= 1);
    let said = talk.ask("go on");
    assert!(
        said.starts_with("Time 0: ") && said.contains("limit `read`"),
        "{said}"
    );
    assert_eq!(talk.ask("q SELECT a FROM t"), "2");
}

#[test]
fn rows_beyond_their_limit_are_an_error() {
    let project = project("    limits: {sql: {rows: 3}}");
    let embly = Embly::run(&project);
    let mut talk = Talk::new(&embly, "queries", "open main");
    assert_eq!(talk.ask("count VALUES (1), (2), (3)"), "3");
    let said = talk.ask("count VALUES (1), (2), (3), (4)");
    assert!(
        said.starts_with("Rows 0: ") && said.contains("`rows: 3`"),
        "{said}"
    );
    assert_eq!(talk.ask("q SELECT 1"), "1");
}

#[test]
fn a_store_does_not_grow_beyond_its_size() {
    let project = support::Project::new()
        .guest_with("queries", "    allow: {sql: [main]}")
        .tcp("queries")
        .store("name: main, type: sql, size: 1MiB");
    let embly = Embly::run(&project);
    let mut talk = Talk::new(&embly, "queries", "open main");
    talk.ask("e CREATE TABLE t (a)");
    let said = talk.ask("e INSERT INTO t VALUES (zeroblob(2000000))");
    assert!(said.contains("the limit `size` of the store"), "{said}");
    assert_eq!(talk.ask("e INSERT INTO t VALUES (zeroblob(200000))"), "1 1");
    assert_eq!(talk.ask("q SELECT count(*) FROM t"), "1");
}

#[test]
fn a_million_rows_take_no_memory_of_the_master() {
    let project = project("    limits: {sql: {time: 60s}}");
    let embly = Embly::run(&project);
    let mut talk = Talk::new(&embly, "queries", "open main");
    talk.ask("q SELECT 1");
    let before = resident(embly.pid());
    let said = talk.ask(
        "count WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) \
         SELECT i, 'a text of some length beside the number' FROM n",
    );
    assert_eq!(said, "1000000");
    let grown = support::process::peak_memory(embly.pid()).saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes");
    // Those that are not wanted are not sent, and the process goes on.
    let process = processes(&embly);
    let first = talk.ask(
        "first WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) \
         SELECT i FROM n",
    );
    assert_eq!(first, "1");
    assert_eq!(talk.ask("q SELECT 2"), "2");
    assert_eq!(processes(&embly), process);
}

#[test]
fn a_function_has_so_many_processes_and_no_more() {
    let project = project("    limits: {sql: {connections: 2, wait: 300ms}}");
    let embly = Embly::run(&project);
    let mut talks: Vec<Talk> = (0..3)
        .map(|_| Talk::new(&embly, "queries", "open main read"))
        .collect();
    assert_eq!(talks[0].ask("begin read"), "begun");
    assert_eq!(talks[1].ask("begin read"), "begun");
    let said = talks[2].ask("begin read");
    assert!(
        said.starts_with("Busy 0: no process was free within the limit `wait`"),
        "{said}"
    );
    assert_eq!(processes(&embly).len(), 2);
    assert_eq!(
        Talk::new(&embly, "queries-too", "open main").ask("q SELECT 1"),
        "1"
    );
    assert_eq!(talks[0].ask("commit"), "ended");
    assert_eq!(talks[2].ask("begin read"), "begun");
}

#[test]
fn a_process_that_runs_sql_is_jailed() {
    let project = project("");
    let embly = Embly::run(&project);
    let mut talk = Talk::new(&embly, "queries", "open main");
    talk.ask("begin");
    let process = processes(&embly).remove(0);
    let read = |name: &str| {
        std::fs::read_to_string(format!("/proc/{}/{name}", process.pid)).unwrap_or_default()
    };
    let status = read("status");
    for line in [
        "Seccomp:\t2",
        "NoNewPrivs:\t1",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "Threads:\t1",
    ] {
        assert!(status.contains(line), "{line} in {status}");
    }
    assert_eq!(read("oom_score_adj").trim(), "1000");
    let limits = read("limits");
    for (name, most) in [("Max core file size", "0"), ("Max open files", "32")] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.contains(most), "{line}");
    }
    // Its socket, twice /dev/null, and the files of the one database.
    let folder = std::fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap();
    for entry in folder {
        let target = std::fs::read_link(entry.unwrap().path()).unwrap();
        let target = target.to_string_lossy().into_owned();
        let known = target == "/dev/null"
            || target.starts_with("socket:")
            || target.contains("/data/main.db")
            || target.contains("urandom");
        assert!(known, "{target}");
    }
}

/// A function that passes on what it is sent as it is.
/// The project goes with its folder.
fn run_raw() -> (support::Project, Embly) {
    let project = support::Project::new()
        .guest_with(
            "raw-sql",
            "    allow: {sql: [main]}\n    limits: {cpu: none}",
        )
        .tcp("raw-sql")
        .store("name: main, type: sql");
    let embly = Embly::run(&project);
    (project, embly)
}

/// All that the service says to these bytes, and how it ends.
fn send_raw(embly: &Embly, bytes: &[u8]) -> String {
    let mut stream = support::client::connect(embly.at("raw-sql"));
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&length.to_le_bytes()[..], message].concat()
}

fn frame(asked: Option<Asked>) -> Vec<u8> {
    framed(&Request { request: asked }.encode_to_vec())
}

fn open(store: &str) -> Vec<u8> {
    let store = store.to_owned();
    frame(Some(Asked::Open(Open { store, access: 0 })))
}

fn select(sql: &str) -> Execute {
    Execute {
        sql: sql.to_owned(),
        ..Execute::default()
    }
}

#[test]
fn a_request_that_is_long_in_memory_takes_none_of_the_master() {
    let (_project, embly) = run_raw();
    let good = [
        open("main"),
        frame(Some(Asked::Execute(select("SELECT 'good'")))),
    ]
    .concat();
    let said = send_raw(&embly, &good);
    assert!(said.contains("good") && said.ends_with("ok 0: "), "{said}");
    let before = resident(embly.pid());
    // Two bytes for each parameter, which has neither a name nor a value.
    let mut execute = select("SELECT 1").encode_to_vec();
    execute.extend([0x1a, 0].repeat(2_000_000));
    let mut message = vec![0x12];
    prost::encode_length_delimiter(execute.len(), &mut message).unwrap();
    message.extend(execute);
    let said = send_raw(
        &embly,
        &[
            open("main"),
            framed(&message),
            frame(Some(Asked::Execute(select("SELECT 'after'")))),
        ]
        .concat(),
    );
    assert!(said.contains("after") && said.ends_with("ok 0: "), "{said}");
    let grown = support::process::peak_memory(embly.pid()).saturating_sub(before);
    assert!(grown < 40 << 20, "{grown} bytes");
}

#[test]
fn a_request_that_cannot_be_read_is_an_error_and_the_process_goes_on() {
    let (_project, embly) = run_raw();
    // A statement that ends too early.
    let cut = framed(&[0x12, 2, 0x0a, 9]);
    let begin = || frame(Some(Asked::Begin(Begin { write: false })));
    let after = || frame(Some(Asked::Execute(select("SELECT 'after'"))));
    let said = send_raw(&embly, &[open("main"), begin(), cut, after()].concat());
    assert!(said.contains("the request cannot be read"), "{said}");
    assert!(said.contains("after") && said.ends_with("ok 0: "), "{said}");
    // Two requests in one would be one to the master and another to the process.
    let two = framed(&[0x12, 0, 0x1a, 2, 8, 1]);
    let said = send_raw(&embly, &[open("main"), two].concat());
    assert!(said.contains("refused 28: a message is not one"), "{said}");
}

#[test]
fn who_does_not_speak_the_protocol_is_refused() {
    let (_project, embly) = run_raw();
    let send = |bytes: &[u8]| {
        let said = send_raw(&embly, bytes);
        said.rsplit('\n').next().unwrap().to_owned()
    };
    let good = open("main");
    let then = |more: &[u8]| send(&[&good[..], more].concat());
    assert_eq!(send(b""), "ok 0: ");
    assert_eq!(send(&good), "ok 0: ");
    assert_eq!(then(&frame(Some(Asked::Cancel(Cancel {})))), "ok 0: ");
    assert_eq!(then(&frame(Some(Asked::Commit(Commit {})))), "ok 0: ");
    for (said, why) in [
        (
            send(&frame(Some(Asked::Commit(Commit {})))),
            "the first message names the store",
        ),
        (send(&frame(None)), "a request of a kind that is not known"),
        (send(b"GET / HTTP/1.1\r\n\r\n"), "is too long"),
        (send(&good[..3]), "the stream ends within a message"),
        (
            send(&[5, 0, 0, 0, 255, 255, 255, 255, 255]),
            "a message cannot be read",
        ),
        (send(&open(&"x".repeat(5000))), "is too long"),
        (then(&good), "a stream has one store, named once"),
        (then(&frame(None)), "a request of a kind that is not known"),
        (then(&[1, 0, 0x40, 0, 0]), "is too long"),
        (then(&[255; 100]), "is too long"),
        (
            then(&[0, 0, 0x30, 0, 1, 2, 3]),
            "the stream ends within a message",
        ),
        (
            then(&good[..good.len() - 1]),
            "the stream ends within a message",
        ),
    ] {
        assert!(
            said.starts_with("refused 28: ") && said.contains(why),
            "{why}: {said}"
        );
    }
    let unknown = send(&open("mian"));
    assert!(
        unknown.starts_with("refused 2: function `raw-sql` may not read"),
        "{unknown}"
    );
}
