//! Functions that use SQL stores.

use std::fmt::Write as _;

use embly::{
    Conn, Error,
    http::{Body, Request, ResponseWriter},
    prelude::*,
    sql::{self, Database, Params, Row, Value, params},
};

/// What is to be done comes in lines, and what came of each is a line of the answer. The first one is
/// `open STORE` or `open STORE read`. Then:
///
/// - `q SQL`: the rows of a statement; `e SQL`: what it changes and the last row
/// - `first SQL`: the first row, the others are not wanted; `count SQL`: how many there are
/// - `start SQL`: the first row, the others are still wanted, until the next line
/// - `begin`, `begin read`, `commit`, `rollback`; `trap`: a panic
pub async fn queries(conn: Conn) -> Result<(), Error> {
    let mut lines = Lines {
        conn,
        rest: Vec::new(),
    };
    let Some(first) = lines.next()? else {
        return Ok(());
    };
    let words: Vec<&str> = first.split(' ').collect();
    let mut db = match words[..] {
        ["open", store, "read"] => sql::open_read(store)?,
        ["open", store] => sql::open(store)?,
        _ => return Err(Error::msg("open it first")),
    };
    while let Some(how) = work(&mut db, &mut lines).await? {
        lines.say(&format!("no {how} here"))?;
    }
    Ok(())
}

/// Sends all that it is sent to the service, as it is; answers with what comes back, and then how the
/// call ended.
pub fn raw(mut conn: Conn) -> Result<(), Error> {
    let mut all = Vec::new();
    conn.read_to_end(&mut all)?;
    let mut service = embly::spawn_function("embly/sql")?;
    // Who has refused the first bytes takes no more.
    let _ = service.write_all(&all);
    let _ = service.close();
    let mut said = Vec::new();
    // A bad ending shows below.
    let _ = service.read_to_end(&mut said);
    let exit = service.status()?;
    conn.write_all(&said)?;
    write!(conn, "\n{} {}: {}", exit.reason, exit.code, exit.detail)?;
    Ok(())
}

struct Lines {
    conn: Conn,
    rest: Vec<u8>,
}

impl Lines {
    fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(Some(String::from_utf8(line)?.trim_end().to_owned()));
            }
            let bytes = self.conn.bytes()?;
            if bytes.is_empty() {
                return Ok(None);
            }
            self.rest.extend(bytes);
        }
    }

    fn say(&mut self, line: &str) -> Result<(), Error> {
        let line = line.replace('\n', " ");
        Ok(self.conn.write_all(format!("{line}\n").as_bytes())?)
    }
}

/// Does what the lines say; the result is the word that ends a transaction, `None` at the end.
async fn work(db: &mut Database, lines: &mut Lines) -> Result<Option<String>, Error> {
    while let Some(line) = lines.next()? {
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "commit" | "rollback" => return Ok(Some(word.to_owned())),
            "begin" => {
                let begun = match rest {
                    "read" => db.begin_read().await,
                    _ => db.begin().await,
                };
                let mut tx = match begun {
                    Ok(tx) => tx,
                    Err(error) => {
                        lines.say(&failed(&error))?;
                        continue;
                    }
                };
                lines.say("begun")?;
                let ended = match Box::pin(work(&mut tx, lines)).await?.as_deref() {
                    Some("commit") => tx.commit().await,
                    Some(_) => tx.rollback().await,
                    None => return Ok(None),
                };
                lines.say(&ended.map_or_else(|error| failed(&error), |()| "ended".to_owned()))?;
            }
            "start" => {
                let mut rows = db.query(rest, ());
                let said = match rows.next_row().await {
                    Ok(row) => row.map_or("none".to_owned(), shown),
                    Err(error) => failed(&error),
                };
                lines.say(&said)?;
                lines.next()?;
                let mut count = 1_u64;
                let said = loop {
                    match rows.next_row().await {
                        Ok(Some(_)) => count += 1,
                        Ok(None) => break count.to_string(),
                        Err(error) => break failed(&error),
                    }
                };
                lines.say(&said)?;
            }
            _ => {
                let said = step(db, word, rest).await;
                lines.say(&said.unwrap_or_else(|error| failed(&error)))?;
            }
        }
    }
    Ok(None)
}

async fn step(db: &mut Database, word: &str, rest: &str) -> Result<String, Error> {
    match word {
        "q" => {
            let rows: Vec<Row> = db.query_all(rest, ()).await?;
            let rows: Vec<String> = rows.into_iter().map(shown).collect();
            Ok(rows.join(" | "))
        }
        "e" => {
            let done = db.execute(rest, ()).await?;
            Ok(format!("{} {}", done.changes, done.last_insert_id))
        }
        "first" => {
            let first: Option<Row> = db.query_optional(rest, ()).await?;
            Ok(first.map_or("none".to_owned(), shown))
        }
        "count" => {
            let mut rows = db.query(rest, ());
            let mut count = 0_u64;
            while rows.next_row().await?.is_some() {
                count += 1;
            }
            Ok(count.to_string())
        }
        "trap" => panic!("as it was told"),
        _ => Err(Error::msg(format!("what is `{word}`?"))),
    }
}

fn failed(error: &Error) -> String {
    match error.downcast_ref::<sql::Failed>() {
        Some(failed) => format!("{:?} {}: {failed}", failed.cause, failed.code),
        None => format!("error: {error}"),
    }
}

fn shown(row: Row) -> String {
    let mut text = String::new();
    for (n, value) in row.into_values().into_iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        let done = match value {
            Value::Null => write!(text, "null"),
            Value::Integer(value) => write!(text, "{value}"),
            Value::Real(value) => write!(text, "{value:?}"),
            Value::Text(value) => write!(text, "{value}"),
            Value::Blob(value) => write!(text, "x{}", value.len()),
        };
        done.expect("a string grows");
    }
    text
}

/// Every kind of value goes in as a parameter and comes back; the answer says so.
pub fn values(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let mut db = sql::open("main")?;
    db.execute(
        "CREATE TABLE IF NOT EXISTS kinds (id INTEGER PRIMARY KEY, value ANY) STRICT",
        (),
    )
    .wait()?;
    db.execute("DELETE FROM kinds", ()).wait()?;
    let kinds = [
        Value::Null,
        Value::Integer(0),
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Integer(-1),
        Value::Real(0.1),
        Value::Real(f64::MIN_POSITIVE),
        Value::Real(f64::INFINITY),
        Value::Text(String::new()),
        Value::Text("it's \"ä\" \u{1F600}\0 and more".to_owned()),
        Value::Blob(Vec::new()),
        Value::Blob((0..=255).collect()),
        Value::Blob(vec![7; 3_000_000]),
    ];
    db.transaction(|tx| {
        for (n, value) in kinds.iter().enumerate() {
            let id = i64::try_from(n)?;
            let values = params! {":id" => id, ":value" => value.clone()};
            let done = tx
                .execute("INSERT INTO kinds VALUES (:id, :value)", values)
                .wait()?;
            assert_eq!((done.changes, done.last_insert_id), (1, id));
        }
        Ok(())
    })?;
    let mut count = 0;
    for (row, kind) in db
        .query("SELECT value FROM kinds ORDER BY id", ())
        .zip(&kinds)
    {
        assert_eq!(&row?.get::<Value>("value")?, kind);
        count += 1;
    }
    // A NaN is a NULL to SQLite.
    let (nan,): (Option<f64>,) = db.query_one("SELECT ?", params![f64::NAN]).wait()?;
    let typed: (i64, String, Option<Vec<u8>>, bool, f64) = db
        .query_one(
            "SELECT ?, ?, ?, ?, ?",
            params![1, "two", None::<i64>, true, 5.5],
        )
        .wait()?;
    assert_eq!(typed, (1, "two".to_owned(), None, true, 5.5));
    let none: Params = ().into();
    let missing = db
        .query_one::<(i64,)>("SELECT 1 WHERE 0", none)
        .wait()
        .unwrap_err();
    write!(w, "{count} values, nan {nan:?}, {missing}")?;
    Ok(())
}
