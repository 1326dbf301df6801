//! SQL databases that outlive an invocation.
//!
//! The project file lists the store, its migrations, and who may use it:
//!
//! ```yml
//! functions:
//!   - name: guestbook
//!     path: ./guestbook
//!     language: rust
//!     allow: {sql: [main]}
//! stores:
//!   - {name: main, type: sql, path: main.db, migrations: ./migrations}
//! ```
//!
//! What asks the store is sent when it is called. Plain functions [`wait`](Call::wait) for the answer,
//! async ones `.await` it:
//!
//! ```no_run
//! # use embly_sdk as embly;
//! use embly::{Error, sql::{self, params}};
//!
//! fn plain() -> Result<(), Error> {
//!     let mut db = sql::open("main")?;
//!     db.execute("INSERT INTO entries (text) VALUES (?)", params!["hello"]).wait()?;
//!     for row in db.query("SELECT id, text FROM entries ORDER BY id", ()) {
//!         let row = row?;
//!         println!("{} {}", row.get::<i64>("id")?, row.get::<String>("text")?);
//!     }
//!     Ok(())
//! }
//!
//! async fn asynchronous() -> Result<(), Error> {
//!     let mut db = sql::open("main")?;
//!     let (count,): (i64,) = db.query_one("SELECT count(*) FROM entries", ()).await?;
//!     let mut rows = db.query("SELECT id, text FROM entries", ());
//!     while let Some(row) = rows.next_row().await? {
//!         println!("{}", row.get::<String>("text")?);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A transaction lives at most as long as its [`Database`], which is a stream:
//!
//! ```no_run
//! # use embly_sdk as embly;
//! # use embly::{Error, sql::{self, params}};
//! # fn f(mut db: sql::Database) -> Result<(), Error> {
//! db.transaction(|tx| {
//!     tx.execute("UPDATE accounts SET sum = sum - ? WHERE id = 1", params![10]).wait()?;
//!     tx.execute("UPDATE accounts SET sum = sum + ? WHERE id = 2", params![10]).wait()?;
//!     Ok(())
//! })?;
//! # Ok(())
//! # }
//! ```

mod failed;
mod link;
mod row;
mod value;

pub use crate::__sql_params as params;
pub use failed::{Cause, Failed};
pub use row::{Column, FromRow, Row};
pub use value::{FromValue, Params, Value};

use crate::{
    error::Error,
    proto::sql::{
        Access, Begin, Commit, Execute, Named, Open, Rollback, Value as Sent,
        request::Request as Asked, response::Response as Said, value::Kind,
    },
    task,
};
use link::Link;
use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    io,
    ops::{Deref, DerefMut},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// Opens a store, to read and to change it. What the project file does not allow shows at the first
/// statement.
///
/// # Errors
/// When too many children of this invocation are alive.
pub fn open(store: &str) -> Result<Database, Error> {
    Database::open(store, Access::ReadWrite)
}

/// Opens a store to read it.
///
/// # Errors
/// When too many children of this invocation are alive.
pub fn open_read(store: &str) -> Result<Database, Error> {
    Database::open(store, Access::Read)
}

/// A store that is open: a stream to the service `embly/sql`. It is closed when this is dropped.
#[derive(Debug)]
pub struct Database {
    link: Link,
}

/// What a statement has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Rows that were inserted, changed or deleted.
    pub changes: u64,
    /// The row that was inserted last; 0 where the statement has inserted none.
    pub last_insert_id: i64,
}

/// An answer that is on its way. The request was sent when this was made.
#[must_use = "what went wrong shows when it is waited for"]
pub struct Call<'a, T>(Pin<Box<dyn Future<Output = Result<T, Error>> + 'a>>);

impl<'a, T> Call<'a, T> {
    fn new(future: impl Future<Output = Result<T, Error>> + 'a) -> Self {
        Self(Box::pin(future))
    }

    /// Waits for it.
    ///
    /// # Errors
    /// [`Failed`]; and when the stream to the service has ended.
    pub fn wait(self) -> Result<T, Error> {
        task::block_on(self)
    }
}

impl<T> Future for Call<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for Call<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call")
    }
}

pub(crate) fn sent(value: Value) -> Sent {
    Sent {
        kind: match value {
            Value::Null => None,
            Value::Integer(value) => Some(Kind::Integer(value)),
            Value::Real(value) => Some(Kind::Real(value)),
            Value::Text(value) => Some(Kind::Text(value)),
            Value::Blob(value) => Some(Kind::Blob(value)),
        },
    }
}

pub(crate) fn received(value: Sent) -> Value {
    match value.kind {
        None => Value::Null,
        Some(Kind::Integer(value)) => Value::Integer(value),
        Some(Kind::Real(value)) => Value::Real(value),
        Some(Kind::Text(value)) => Value::Text(value),
        Some(Kind::Blob(value)) => Value::Blob(value),
    }
}

impl Database {
    fn open(store: &str, access: Access) -> Result<Self, Error> {
        let mut link = Link::open()?;
        link.ask(Asked::Open(Open {
            store: store.to_owned(),
            access: access.into(),
        }));
        Ok(Self { link })
    }

    fn ask(&mut self, sql: &str, params: Params) -> u64 {
        let named = |(name, value)| Named {
            name,
            value: Some(sent(value)),
        };
        self.link.ask(Asked::Execute(Execute {
            sql: sql.to_owned(),
            parameters: params.in_order.into_iter().map(sent).collect(),
            named: params.by_name.into_iter().map(named).collect(),
        }))
    }

    /// Runs a statement. Rows that it gives are passed over.
    pub fn execute(&mut self, sql: &str, params: impl Into<Params>) -> Call<'_, Done> {
        let number = self.ask(sql, params.into());
        self.finish(number)
    }

    /// Runs a statement, for its rows: one after the other, as they are asked for.
    pub fn query(&mut self, sql: &str, params: impl Into<Params>) -> Rows<'_> {
        let number = self.ask(sql, params.into());
        Rows {
            link: &mut self.link,
            number,
            columns: Rc::default(),
            batch: VecDeque::new(),
            ended: false,
        }
    }

    /// All rows of a statement, as values of a type.
    pub fn query_all<T: FromRow>(
        &mut self,
        sql: &str,
        params: impl Into<Params>,
    ) -> Call<'_, Vec<T>> {
        let mut rows = self.query(sql, params);
        Call::new(async move {
            let mut all = Vec::new();
            while let Some(row) = rows.next_row().await? {
                all.push(T::from_row(row)?);
            }
            Ok(all)
        })
    }

    /// The first row of a statement, if it has any. Others are not fetched.
    pub fn query_optional<T: FromRow>(
        &mut self,
        sql: &str,
        params: impl Into<Params>,
    ) -> Call<'_, Option<T>> {
        let mut rows = self.query(sql, params);
        Call::new(async move { rows.next_row().await?.map(T::from_row).transpose() })
    }

    /// The first row of a statement. It is an error of the kind
    /// [`NotFound`](std::io::ErrorKind::NotFound) when there is none.
    pub fn query_one<'a, T: FromRow + 'a>(
        &'a mut self,
        sql: &str,
        params: impl Into<Params>,
    ) -> Call<'a, T> {
        let row = self.query_optional(sql, params);
        Call::new(async move {
            let none = || io::Error::new(io::ErrorKind::NotFound, "the query has no row");
            Ok(row.await?.ok_or_else(none)?)
        })
    }

    /// Begins a transaction that may change the store. It waits until no other does.
    pub fn begin(&mut self) -> Call<'_, Transaction<'_>> {
        self.begin_to(true)
    }

    /// Begins a transaction that sees the store as it is at its first statement, whatever others change
    /// meanwhile. It waits for nobody.
    pub fn begin_read(&mut self) -> Call<'_, Transaction<'_>> {
        self.begin_to(false)
    }

    fn begin_to(&mut self, write: bool) -> Call<'_, Transaction<'_>> {
        let number = self.link.ask(Asked::Begin(Begin { write }));
        // From now on: who does not wait for it undoes it all the same.
        let mut transaction = Transaction {
            database: self,
            open: true,
        };
        Call::new(async move {
            let begun = transaction.link.done(number).await;
            transaction.open = begun.is_ok();
            begun.map(|_| transaction)
        })
    }

    /// Does `work` in a transaction: what it has changed counts when it returns `Ok`, and nothing of
    /// it otherwise.
    ///
    /// # Errors
    /// That of `work`; and as [`begin`](Self::begin) and [`commit`](Transaction::commit).
    pub fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut transaction = self.begin().wait()?;
        let result = work(&mut transaction)?;
        transaction.commit().wait()?;
        Ok(result)
    }

    fn finish(&mut self, number: u64) -> Call<'_, Done> {
        let link = &mut self.link;
        Call::new(async move { link.done(number).await })
    }
}

impl Link {
    async fn done(&mut self, number: u64) -> Result<Done, Error> {
        loop {
            if let Said::Done(done) = poll_fn(|cx| self.poll_answer(number, cx)).await? {
                return Ok(Done {
                    changes: done.changes,
                    last_insert_id: done.last_insert_id,
                });
            }
        }
    }
}

/// Rows of a query that is under way. An iterator for plain functions; async ones use
/// [`next_row`](Self::next_row). When it is dropped, no more of them come.
#[derive(Debug)]
pub struct Rows<'a> {
    link: &'a mut Link,
    number: u64,
    columns: Rc<[String]>,
    batch: VecDeque<Row>,
    ended: bool,
}

impl Rows<'_> {
    /// The next row, `None` after the last one.
    ///
    /// # Errors
    /// [`Failed`]; and when the stream to the service has ended.
    pub async fn next_row(&mut self) -> Result<Option<Row>, Error> {
        poll_fn(|cx| self.poll_row(cx)).await
    }

    fn poll_row(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Row>, Error>> {
        loop {
            if let Some(row) = self.batch.pop_front() {
                return Poll::Ready(Ok(Some(row)));
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            match ready!(self.link.poll_answer(self.number, cx)) {
                Ok(Said::Columns(columns)) => self.columns = columns.names.into(),
                Ok(Said::Rows(rows)) => {
                    let columns = &self.columns;
                    self.batch.extend(rows.rows.into_iter().map(|row| Row {
                        columns: Rc::clone(columns),
                        values: row.values.into_iter().map(received).collect(),
                    }));
                }
                Ok(Said::Done(_)) => self.ended = true,
                // An error ends the answer, or the stream; it is not told of as a row.
                Ok(Said::Error(_)) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        task::block_on(self.next_row()).transpose()
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.link.cancel();
        }
    }
}

/// A transaction. It is a [`Database`] as well, for the statements in it. What is not
/// [committed](Self::commit) is undone when this is dropped.
#[derive(Debug)]
pub struct Transaction<'a> {
    database: &'a mut Database,
    open: bool,
}

impl<'a> Transaction<'a> {
    /// Makes what was changed count. When the answer is there it is durable, as the store is.
    pub fn commit(self) -> Call<'a, ()> {
        self.end(Asked::Commit(Commit {}))
    }

    /// Undoes what was changed, and waits for it.
    pub fn rollback(self) -> Call<'a, ()> {
        self.end(Asked::Rollback(Rollback {}))
    }

    fn end(mut self, how: Asked) -> Call<'a, ()> {
        let number = self.database.link.ask(how);
        Call::new(async move {
            let this = &mut self;
            let ended = this.database.link.done(number).await;
            // A commit that has failed may have left it open.
            this.open = ended.as_ref().is_err_and(|error| {
                let failed = error.downcast_ref::<Failed>();
                failed.is_some_and(|failed| failed.in_transaction)
            });
            ended.map(drop)
        })
    }
}

impl Deref for Transaction<'_> {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.database
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Database {
        self.database
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            self.database.link.ask(Asked::Rollback(Rollback {}));
        }
    }
}
