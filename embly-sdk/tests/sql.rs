//! SQL from a function, with a store that answers as the test says.
#![cfg(feature = "sql")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use embly_sdk as embly;

use embly::{
    Error,
    mock::{self, Answer},
    sql::{self, Cause, Database, FromRow, Row, Value, params},
};

fn store() -> (mock::Sql, Database) {
    (mock::Sql::new(), sql::open("main").unwrap())
}

fn statements(store: &mock::Sql) -> Vec<String> {
    store.asked().into_iter().map(|(sql, _)| sql).collect()
}

#[test]
fn rows_are_typed_by_name_place_tuple_and_by_types_of_ones_own() {
    #[derive(Debug, PartialEq)]
    struct User {
        id: i64,
        name: Option<String>,
    }
    impl FromRow for User {
        fn from_row(row: Row) -> Result<Self, Error> {
            Ok(Self {
                id: row.get("id")?,
                name: row.get(1)?,
            })
        }
    }
    let (store, mut db) = store();
    let rows = [params![1, "Ada"], params![2, None::<i64>]];
    store.answer(
        "SELECT id, name FROM users",
        Answer::rows(["id", "name"], rows),
    );
    let sql = "SELECT id,  name\n FROM users";
    // Space does not count to the mock, words do.
    let error = db
        .query_all::<User>("SELECT id FROM users", ())
        .wait()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no answer for the statement `SELECT id FROM users`")
    );
    let users: Vec<User> = db.query_all(sql, ()).wait().unwrap();
    let (ada, two) = (Some("Ada".to_owned()), 2);
    assert_eq!(
        users,
        [
            User { id: 1, name: ada },
            User {
                id: two,
                name: None
            }
        ]
    );
    let pairs: Vec<(i64, Option<String>)> = db.query_all(sql, ()).wait().unwrap();
    assert_eq!(pairs[1], (2, None));
    let row = db.query(sql, ()).nth(1).unwrap().unwrap();
    let error = row.get::<String>("name").unwrap_err().to_string();
    assert_eq!(
        error,
        "column `name`: it is NULL, not a TEXT: take it as an `Option`"
    );
    assert!(
        row.get::<i64>("nam")
            .unwrap_err()
            .to_string()
            .contains("there are `id`, `name`")
    );
    assert!(
        row.get::<i64>(2)
            .unwrap_err()
            .to_string()
            .contains("the row has 2, from 0")
    );
    assert!(
        row.get::<String>("id")
            .unwrap_err()
            .to_string()
            .contains("it is an INTEGER")
    );
    assert!(row.get::<bool>("id").is_err());
    assert_eq!(row.into_values(), [Value::Integer(2), Value::Null]);
}

#[test]
fn rows_that_are_not_read_do_not_hold_up_the_next_statement() {
    let (store, mut db) = store();
    let many = (0..1000).map(|n| params![n]);
    store.answer("SELECT n", Answer::rows(["n"], many));
    store.answer("INSERT", Answer::changed(1).last_insert_id(7));
    let first: (i64,) = db.query_one("SELECT n", ()).wait().unwrap();
    assert_eq!(first, (0,));
    drop(db.query("SELECT n", ()));
    drop(db.execute("INSERT", ()));
    let done = db.execute("INSERT", params![1, 2.5]).wait().unwrap();
    assert_eq!((done.changes, done.last_insert_id), (1, 7));
    let asked = statements(&store);
    assert_eq!(asked, ["SELECT n", "SELECT n", "INSERT", "INSERT"]);
}

#[test]
fn what_is_not_committed_is_rolled_back() {
    let (store, mut db) = store();
    store.answer("INSERT", Answer::changed(1));
    let said: Result<(), Error> = db.transaction(|tx| {
        tx.execute("INSERT", ()).wait()?;
        Err(Error::msg("no"))
    });
    assert_eq!(said.unwrap_err().to_string(), "no");
    let changes = db.transaction(|tx| Ok(tx.execute("INSERT", ()).wait()?.changes));
    assert_eq!(changes.unwrap(), 1);
    embly::block_on(async {
        let mut tx = db.begin().await.unwrap();
        tx.execute("INSERT", ()).await.unwrap();
        let error = tx.begin().await.unwrap_err();
        let failed = error.downcast_ref::<sql::Failed>().unwrap();
        assert_eq!(
            (failed.cause, failed.in_transaction),
            (Cause::Sequence, true)
        );
        tx.rollback().await.unwrap();
        drop(db.begin().await.unwrap());
        db.begin_read().await.unwrap().commit().await.unwrap();
    });
    assert_eq!(
        statements(&store),
        [
            "BEGIN", "INSERT", "ROLLBACK", "BEGIN", "INSERT", "COMMIT", "BEGIN", "INSERT", "BEGIN",
            "ROLLBACK", "BEGIN", "ROLLBACK", "BEGIN", "COMMIT"
        ]
    );
}

#[test]
fn errors_say_what_may_be_done() {
    let (store, mut db) = store();
    store.answer(
        "A",
        Answer::failed(Cause::Statement, 2067, "UNIQUE constraint failed"),
    );
    store.answer_with("B", |params| match &params.by_name[..] {
        [(name, Value::Integer(1))] if name == ":a" => Answer::changed(3),
        _ => Answer::failed(Cause::Busy, 0, "others write"),
    });
    let error = db.execute("A", ()).wait().unwrap_err();
    let failed = error.downcast_ref::<sql::Failed>().unwrap();
    assert!(failed.is_constraint() && !failed.in_transaction);
    assert_eq!(error.to_string(), "UNIQUE constraint failed");
    assert_eq!(
        db.execute("B", params! {":a" => 1}).wait().unwrap().changes,
        3
    );
    let error = db.execute("B", ()).wait().unwrap_err();
    assert_eq!(
        error.downcast_ref::<sql::Failed>().unwrap().cause,
        Cause::Busy
    );
    let none = db
        .query_one::<(i64,)>("B", params! {":a" => 1})
        .wait()
        .unwrap_err();
    assert_eq!(
        std::io::Error::from(none).kind(),
        std::io::ErrorKind::NotFound
    );
}
