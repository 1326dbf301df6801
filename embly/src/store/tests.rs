//! Stores of both types, on files that are made here.

use std::fs;

use rusqlite::Connection;

use super::*;

fn place(folder: &tempfile::TempDir, kind: Kind, sql: &str) -> Place {
    let path = folder.path().join("store");
    let _ = fs::remove_file(&path);
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let name = "store".to_owned();
    Place { name, kind, path }
}

fn page(place: &Place, prefix: &str, after: &str, limit: u32) -> Result<Page, Error> {
    let some = |text: &str| Some(text.as_bytes().to_vec()).filter(|text| !text.is_empty());
    Browser::open(place.clone())?.page(&Asked {
        prefix: some(prefix),
        after: some(after),
        limit,
        values: true,
    })
}

/// What the service makes.
const KV: &str = "PRAGMA application_id = 1164796523; PRAGMA user_version = 1; \
    CREATE TABLE entries (key BLOB PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL, \
    expires INTEGER) WITHOUT ROWID, STRICT; \
    CREATE TABLE store (one INTEGER PRIMARY KEY, sequence INTEGER NOT NULL) STRICT; ";

#[test]
fn keys_whose_time_has_passed_are_not_shown_and_others_say_when_they_go() {
    let folder = tempfile::tempdir().unwrap();
    let insert = "INSERT INTO entries VALUES (x'61', x'31', 1, 1000), (x'62', x'32', 1, \
        4102444800123), (x'63', x'33', 1, NULL)";
    let place = place(&folder, Kind::Kv, &format!("{KV} {insert}"));
    let Page { shown, next } = page(&place, "", "", 10).unwrap();
    assert_eq!(next, None);
    let entry = |key: &str, value: &str, expires_at: Option<&str>| Shown::Entry {
        key: key.to_owned(),
        bytes: 1,
        expires_at: expires_at.map(str::to_owned),
        value: Some(value.to_owned()),
    };
    let there = [
        entry("b", "2", Some("2100-01-01T00:00:00.123Z")),
        entry("c", "3", None),
    ];
    assert_eq!(shown, there);
    let first = page(&place, "", "", 1).unwrap();
    assert_eq!(
        (first.shown, first.next.as_deref()),
        (vec![there[0].clone()], Some("b"))
    );
    assert_eq!(page(&place, "", "b", 1).unwrap().shown, there[1..]);
}

const SQL: &str = "CREATE TABLE \"a \"\"table\" (id INTEGER PRIMARY KEY, text, \"b\u{1b}\"); \
    INSERT INTO \"a \"\"table\" VALUES (1, 'x' || char(27) || '[2J', x'00ff'), (2, NULL, 1.5), \
    (3, 9e999, -7); \
    CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
    SELECT i FROM n;";

#[test]
fn tables_and_their_rows_are_shown_and_what_they_say_acts_on_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder, Kind::Sql, SQL);
    let Page { shown, next } = page(&place, "", "", 10).unwrap();
    assert_eq!(next, None);
    let [Shown::Table { name, rows, schema }] = &shown[..] else {
        panic!("{shown:?}");
    };
    assert_eq!((&**name, *rows), ("a \"table", 3));
    assert!(
        schema.starts_with("CREATE TABLE") && schema.contains("b\\x1b"),
        "{schema}"
    );

    let Page { shown, next } = page(&place, "a \"table", "", 2).unwrap();
    assert_eq!(next.as_deref(), Some("2"));
    let json = serde_json::to_value(&shown).unwrap();
    let first = serde_json::json!({"id": 1, "text": "x\\x1b[2J", "b\\x1b": {"blob": "00ff"}});
    let second = serde_json::json!({"id": 2, "text": null, "b\\x1b": 1.5});
    assert_eq!(json[0], serde_json::json!({"event": "row", "row": first}));
    assert_eq!(json[1]["row"], second);
    let Page { shown, next } = page(&place, "a \"table", "2", 2).unwrap();
    assert_eq!((shown.len(), next), (1, None));
    let json = serde_json::to_value(&shown).unwrap();
    assert_eq!(json[0]["row"]["text"], "inf");
}

#[test]
fn views_are_not_run_and_tables_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder, Kind::Sql, SQL);
    for name in ["endless", "sqlite_schema", "none", "x\"; DROP TABLE a"] {
        let error = page(&place, name, "", 10).unwrap_err();
        assert!(matches!(error, Error::NoTable(_)), "{error}");
    }
}

#[test]
fn a_store_of_one_type_is_not_taken_for_one_of_the_other() {
    let folder = tempfile::tempdir().unwrap();
    // Looks like one, and the service would not open it.
    let foreign =
        "CREATE TABLE entries (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT";
    for (sql, is) in [
        (KV, Kind::Kv),
        (foreign, Kind::Sql),
        (SQL, Kind::Sql),
        // A table of that name is nothing special.
        (
            "CREATE TABLE entries (a); CREATE TABLE b (key, value)",
            Kind::Sql,
        ),
        (
            "CREATE TABLE entries (key, value); CREATE TABLE b (c)",
            Kind::Sql,
        ),
    ] {
        for kind in [Kind::Kv, Kind::Sql] {
            let place = place(&folder, kind, sql);
            let read = place.read();
            assert_eq!(read.is_ok(), is == kind, "{sql}");
            let to = folder.path().join("copy");
            assert_eq!(backup(&place, &to).is_ok(), is == kind, "{sql}");
            assert_eq!(to.exists(), is == kind);
            let _ = fs::remove_file(to);
        }
    }
    // What a master has just made, with nothing in it.
    let place = place(&folder, Kind::Kv, "PRAGMA journal_mode = WAL");
    assert!(place.read().is_ok());
}

#[test]
fn what_the_service_would_not_open_is_never_put_in_the_place_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let path = state.join("store.kv");
    let place = Place {
        name: "store".to_owned(),
        kind: Kind::Kv,
        path: path.clone(),
    };
    let held = format!("{KV} INSERT INTO entries VALUES (x'61', x'31', 1, NULL)");
    Connection::open(&path)
        .unwrap()
        .execute_batch(&held)
        .unwrap();
    let foreign =
        "CREATE TABLE entries (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID".to_owned();
    for (n, sql) in [
        foreign.clone(),
        format!("PRAGMA user_version = 1; {foreign}"),
        format!("{KV} PRAGMA user_version = 2"),
        format!("{KV} PRAGMA user_version = 0"),
    ]
    .iter()
    .enumerate()
    {
        let copy = folder.path().join(format!("copy-{n}"));
        Connection::open(&copy).unwrap().execute_batch(sql).unwrap();
        let error = restore(&place, &state, &copy).unwrap_err();
        let named = matches!(&error, Error::OtherKind { path, is: None, .. } if *path == copy)
            || matches!(&error, Error::OtherVersion { path, .. } if *path == copy);
        assert!(named, "{error}");
        let kept = page(&place, "", "", 10).unwrap();
        assert_eq!(kept.shown.len(), 1, "{sql}");
    }
}

#[test]
fn a_copy_has_the_same_row_numbers_settings_and_no_log_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let sql = "PRAGMA journal_mode = WAL; PRAGMA user_version = 7; CREATE TABLE t (a); \
        INSERT INTO t (rowid, a) VALUES (5, 'x'), (900, 'y'); DELETE FROM t WHERE a = 'x'";
    let place = place(&folder, Kind::Sql, sql);
    let writer = Connection::open(&place.path).unwrap();
    // In the middle of somebody's transaction, which is not in it.
    writer
        .execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES ('z')")
        .unwrap();
    let to = folder.path().join("copy");
    backup(&place, &to).unwrap();
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(
        fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .filter(|entry| { entry.file_name().to_string_lossy().starts_with("copy") })
            .count(),
        1
    );
    let copy = Connection::open(&to).unwrap();
    let rows: (i64, i64) = copy
        .query_row("SELECT count(*), max(rowid) FROM t", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(rows, (1, 900));
    let version: i64 = copy
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 7);
}

#[test]
fn what_is_put_back_is_the_copy_and_nothing_of_the_log_of_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let path = state.join("deep/store.db");
    let place = Place {
        name: "s".to_owned(),
        kind: Kind::Sql,
        path: path.clone(),
    };
    let copy = folder.path().join("copy");
    Connection::open(&copy)
        .unwrap()
        .execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
        .unwrap();
    assert!(!restore(&place, &state, &copy).unwrap(), "there was none");
    let value = || -> i64 {
        Connection::open(&path)
            .unwrap()
            .query_row("SELECT a FROM t", [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(value(), 1);
    // Like a master that was killed: the log has what the file has not.
    let killed = Connection::open(&path).unwrap();
    killed
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; UPDATE t SET a = 2",
        )
        .unwrap();
    for end in ["", "-wal"] {
        let file = state.join(format!("deep/store.db{end}"));
        fs::copy(&file, folder.path().join(format!("saved{end}"))).unwrap();
    }
    drop(killed);
    for end in ["", "-wal"] {
        let saved = folder.path().join(format!("saved{end}"));
        fs::copy(saved, state.join(format!("deep/store.db{end}"))).unwrap();
    }
    assert!(restore(&place, &state, &copy).unwrap());
    assert_eq!(value(), 1);
    let names = fs::read_dir(state.join("deep")).unwrap().flatten();
    let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["store.db"]);
}
