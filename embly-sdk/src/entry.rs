//! How a function begins and ends: [`run`] and what a handler may return.

use crate::{error::Error, stream::Conn, sys, task};
use std::{fmt, future::Future};

/// Runs the handler on the connection to whoever started this function.
///
/// The handler is a plain `fn` or an `async fn`, and returns nothing or a `Result`.
///
/// ```no_run
/// # use embly_sdk as embly;
/// use embly::{Conn, Error, prelude::*};
///
/// fn execute(mut conn: Conn) -> Result<(), Error> {
///     conn.write_all(b"Hello\n")?;
///     Ok(())
/// }
///
/// fn main() -> Result<(), Error> {
///     embly::run(execute)
/// }
/// ```
///
/// # Errors
/// None on Embly: an `Err` of the handler is printed to the log, and the process exits with 1.
/// As a normal program, outside of Embly, it says so.
pub fn run<H, R, Kind>(handler: H) -> Result<(), Error>
where
    H: FnOnce(Conn) -> R,
    R: Outcome<Kind>,
{
    finish(|conn| handler(conn).outcome())
}

/// The same as [`run`]: an `Err` of the handler is printed to the log, and the process exits with 1.
///
/// # Errors
/// As [`run`].
pub fn run_catch_error<H, R, Kind>(handler: H) -> Result<(), Error>
where
    H: FnOnce(Conn) -> R,
    R: Outcome<Kind>,
{
    run(handler)
}

/// Runs a whole function in this process.
pub(crate) fn finish(function: impl FnOnce(Conn) -> Result<(), Error>) -> Result<(), Error> {
    if !sys::in_function() {
        return Err(Error::msg(
            "this is a function of an Embly project: run it with `embly dev`, test it with \
             `embly::mock`",
        ));
    }
    if exit_code(function(Conn::PARENT)) != 0 {
        std::process::exit(1);
    }
    Ok(())
}

/// What a function's result means; an error is printed to the log.
pub(crate) fn exit_code(result: Result<(), Error>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            complain(&error);
            1
        }
    }
}

/// Prints the error of a handler to the log.
pub(crate) fn complain(error: &Error) {
    eprintln!("error: {error}");
    if let Some(note) = note(&error.to_string()) {
        eprintln!("note: {note}");
    }
}

/// What to do instead, where std has said that it cannot: its words do not name Embly.
fn note(error: &str) -> Option<&'static str> {
    // Of `std::fs`, for any path: WASI's ENOENT, which nothing of Embly is shown as.
    if error.contains("(os error 44)") {
        return Some(
            "a function has no files: `include_str!` takes one into the program, and a store keeps what \
             changes",
        );
    }
    // Of sockets, threads and processes on this target.
    error.contains("not supported on this platform").then_some(
        "a function has no sockets, threads or processes: `embly::http` and `embly::tcp` reach out, and \
         `embly::spawn_function` runs another one beside it",
    )
}

/// What a handler may return: `()`, a `Result<(), E>` with any error that can be printed, a future of
/// one of them, or never.
///
/// `Kind` only tells the plain values from the futures; the compiler finds it.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "return `()`, or a `Result<(), embly::Error>`; plain or from an `async fn`"
)]
pub trait Outcome<Kind>: sealed::Sealed<Kind> {
    #[doc(hidden)]
    fn outcome(self) -> Result<(), Error>;
}

/// What a handler's work comes to: `()` or a `Result<(), E>`.
pub trait Value: sealed::SealedValue {
    #[doc(hidden)]
    fn value(self) -> Result<(), Error>;
}

impl Value for () {
    fn value(self) -> Result<(), Error> {
        Ok(())
    }
}

impl<E: fmt::Display> Value for Result<(), E> {
    fn value(self) -> Result<(), Error> {
        // All that is left to do with it is to print it. `#`: with its causes, where a type has them.
        self.map_err(|error| Error::msg(format!("{error:#}")))
    }
}

/// A handler that never returns: an endless loop, or a panic.
impl Value for sealed::Never {
    fn value(self) -> Result<(), Error> {
        self
    }
}

/// The kind of an [`Outcome`] that is there when the handler returns.
#[derive(Debug)]
pub enum Plain {}

/// The kind of an [`Outcome`] that is a future.
#[derive(Debug)]
pub enum Async {}

impl<V: Value> Outcome<Plain> for V {
    fn outcome(self) -> Result<(), Error> {
        self.value()
    }
}

impl<F> Outcome<Async> for F
where
    F: Future,
    F::Output: Value,
{
    fn outcome(self) -> Result<(), Error> {
        task::block_on(self).value()
    }
}

mod sealed {
    use super::{Async, Plain, Value};

    pub trait Sealed<Kind> {}
    impl<V: Value> Sealed<Plain> for V {}
    impl<F: Future<Output: Value>> Sealed<Async> for F {}

    /// The type `!`, which has no name of its own on stable Rust: it is what `fn() -> !` returns.
    pub type Never = <fn() -> ! as Returns>::Output;

    pub trait Returns {
        type Output;
    }
    impl<R> Returns for fn() -> R {
        type Output = R;
    }

    pub trait SealedValue {}
    impl SealedValue for Never {}
    impl SealedValue for () {}
    impl<E: std::fmt::Display> SealedValue for Result<(), E> {}
}
