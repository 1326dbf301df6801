//! [`crate::sql`] in a test: which statement gets which answer, and what was asked.

use crate::{
    error::Error,
    mock,
    prelude::*,
    proto::sql::{
        self as proto, Columns, Request, Response, Rows, request::Request as Asked,
        response::Response as Said,
    },
    sql::{Cause, Params, Value, received, sent},
    stream::Conn,
    sys::mock::world::Start,
};
use prost::Message;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Stands for the SQL stores of a test. It runs no SQL: the test says which statement gets which
/// answer, and a statement that nobody spoke of is an error that names it.
///
/// ```
/// use embly_sdk::{mock, sql::{self, params, Value}};
///
/// let store = mock::Sql::new();
/// store.answer("SELECT id, name FROM users", mock::Answer::rows(["id", "name"], [params![1, "Ada"]]));
/// store.answer("INSERT INTO users (name) VALUES (?)", mock::Answer::changed(1).last_insert_id(2));
///
/// let mut db = sql::open("main").unwrap();
/// let users: Vec<(i64, String)> = db.query_all("SELECT id, name FROM users", ()).wait().unwrap();
/// assert_eq!(users, [(1, "Ada".to_owned())]);
/// db.execute("INSERT INTO users (name) VALUES (?)", params!["Bob"]).wait().unwrap();
/// assert_eq!(store.asked()[1].1.in_order, [Value::from("Bob")]);
/// let error = db.execute("DROP TABLE users", ()).wait().unwrap_err().to_string();
/// assert!(error.contains("DROP TABLE users"), "{error}");
/// ```
///
/// Space between words does not count. Transactions show among what was asked as `BEGIN`, `COMMIT` and
/// `ROLLBACK`; they undo nothing.
#[derive(Clone, Debug, Default)]
pub struct Sql(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    answers: BTreeMap<String, Answers>,
    asked: Vec<(String, Params)>,
}

type Answers = Arc<dyn Fn(&Params) -> Answer + Send + Sync>;

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script")
            .field("statements", &self.answers.keys())
            .field("asked", &self.asked)
            .finish()
    }
}

/// What a statement gets.
#[derive(Clone, Debug)]
pub struct Answer {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    done: Result<proto::Done, proto::Error>,
}

impl Answer {
    /// Rows with these columns; the values are those of `params!`, in order.
    pub fn rows<'c>(
        columns: impl IntoIterator<Item = &'c str>,
        rows: impl IntoIterator<Item = Params>,
    ) -> Self {
        Self {
            columns: columns.into_iter().map(str::to_owned).collect(),
            rows: rows.into_iter().map(|row| row.in_order).collect(),
            ..Self::changed(0)
        }
    }

    /// So many rows were changed.
    pub fn changed(changes: u64) -> Self {
        Self {
            columns: Vec::new(),
            rows: Vec::new(),
            done: Ok(proto::Done {
                changes,
                ..proto::Done::default()
            }),
        }
    }

    /// And this one was inserted last.
    pub fn last_insert_id(mut self, id: i64) -> Self {
        if let Ok(done) = &mut self.done {
            done.last_insert_id = id;
        }
        self
    }

    /// It fails, with an extended result code of SQLite or 0.
    pub fn failed(cause: Cause, code: i32, message: &str) -> Self {
        Self {
            done: Err(error(cause, code, message.to_owned())),
            ..Self::changed(0)
        }
    }
}

fn error(cause: Cause, code: i32, message: String) -> proto::Error {
    let cause = match cause {
        Cause::Statement => proto::Cause::Statement,
        Cause::Forbidden => proto::Cause::Forbidden,
        Cause::Time => proto::Cause::Time,
        Cause::Memory => proto::Cause::Memory,
        Cause::Busy => proto::Cause::Busy,
        Cause::Sequence => proto::Cause::Sequence,
        Cause::Lost => proto::Cause::Lost,
        Cause::Rows => proto::Cause::Rows,
    };
    proto::Error {
        cause: cause.into(),
        code,
        message,
        ..proto::Error::default()
    }
}

impl Sql {
    /// Takes the place of all SQL stores of this test.
    pub fn new() -> Self {
        let sql = Self::default();
        let theirs = sql.clone();
        mock::function("embly/sql", move |conn: Conn| theirs.serve(conn));
        sql
    }

    /// From now on this statement gets this answer.
    pub fn answer(&self, sql: &str, answer: Answer) {
        self.answer_with(sql, move |_| answer.clone());
    }

    /// From now on this statement gets the answer that this gives for its parameters.
    pub fn answer_with(
        &self,
        sql: &str,
        answer: impl Fn(&Params) -> Answer + Send + Sync + 'static,
    ) {
        self.script().answers.insert(plain(sql), Arc::new(answer));
    }

    /// The statements so far, in order, with their parameters.
    pub fn asked(&self) -> Vec<(String, Params)> {
        self.script().asked.clone()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut conn: Conn) -> Result<(), Error> {
        let mut input = Vec::new();
        let mut open = false;
        loop {
            while let Some(request) = frame(&mut input)? {
                let frames = self.reply(request, &mut open)?;
                conn.write_all(&frames)?;
            }
            let bytes = conn.bytes()?;
            if bytes.is_empty() {
                return Ok(());
            }
            input.extend(bytes);
        }
    }

    fn reply(&self, request: Request, open: &mut bool) -> Result<Vec<u8>, Error> {
        let unknown = || Error::msg("a request of a kind that is not known");
        let mut control = |sql: &str, now: bool| {
            self.script()
                .asked
                .push((sql.to_owned(), Params::default()));
            if *open == now {
                return Answer::failed(Cause::Sequence, 0, "not in this order");
            }
            *open = now;
            Answer::changed(0)
        };
        let answer = match request.request.ok_or_else(unknown)? {
            Asked::Open(_) => Answer::changed(0),
            Asked::Begin(_) => control("BEGIN", true),
            Asked::Commit(_) => control("COMMIT", false),
            Asked::Rollback(_) => control("ROLLBACK", false),
            // All rows of a statement are on their way by now.
            Asked::Cancel(_) => return Ok(Vec::new()),
            Asked::Execute(execute) => self.execute(execute),
        };
        let mut frames = Vec::new();
        if !answer.columns.is_empty() {
            put(
                &mut frames,
                Said::Columns(Columns {
                    names: answer.columns,
                }),
            );
        }
        for values in answer.rows {
            let values = values.into_iter().map(sent).collect();
            let rows = vec![proto::Row { values }];
            put(&mut frames, Said::Rows(Rows { rows }));
        }
        put(
            &mut frames,
            match answer.done {
                Ok(done) => Said::Done(proto::Done {
                    in_transaction: *open,
                    ..done
                }),
                Err(error) => Said::Error(proto::Error {
                    in_transaction: *open,
                    ..error
                }),
            },
        );
        Ok(frames)
    }

    fn execute(&self, execute: proto::Execute) -> Answer {
        let name = |named: proto::Named| (named.name, received(named.value.unwrap_or_default()));
        let params = Params {
            in_order: execute.parameters.into_iter().map(received).collect(),
            by_name: execute.named.into_iter().map(name).collect(),
        };
        let sql = plain(&execute.sql);
        let mut script = self.script();
        script.asked.push((sql.clone(), params.clone()));
        let answer = script.answers.get(&sql).map(Arc::clone);
        drop(script);
        match answer {
            Some(answer) => answer(&params),
            None => Answer::failed(
                Cause::Statement,
                0,
                &format!(
                    "the test has no answer for the statement `{sql}`: give it one with \
                 `mock::Sql::answer`"
                ),
            ),
        }
    }
}

/// What every test begins with: a store that has an answer for nothing.
pub(crate) fn all() -> Vec<(&'static str, Start)> {
    vec![(
        "embly/sql",
        mock::start(|conn: Conn| Sql::default().serve(conn)),
    )]
}

/// A statement, whatever the space between its words.
fn plain(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn frame(input: &mut Vec<u8>) -> Result<Option<Request>, Error> {
    let Some(length) = input.first_chunk::<4>() else {
        return Ok(None);
    };
    let end = 4 + u32::from_le_bytes(*length) as usize;
    if input.len() < end {
        return Ok(None);
    }
    let request = Request::decode(&input[4..end])?;
    input.drain(..end);
    Ok(Some(request))
}

fn put(frames: &mut Vec<u8>, said: Said) {
    let response = Response {
        response: Some(said),
    };
    let length = u32::try_from(response.encoded_len()).unwrap_or(u32::MAX);
    frames.extend(length.to_le_bytes());
    response.encode(frames).expect("a vector grows");
}
