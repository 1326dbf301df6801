//! How a function behind an http gateway runs.

use super::{
    body::Body,
    head::{self, Failed},
    response::ResponseWriter,
};
use crate::{
    entry::{self, Outcome},
    error::Error,
    stream::Conn,
};
use http::{Method, Request, StatusCode};

/// What to do when the handler fails before anything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnError {
    /// Exit with 1; the gateway answers.
    Exit,
    /// Answer with a 500.
    Answer,
}

/// Runs the handler on the request that this function was started for.
///
/// An `Err` of the handler (if it returns a `Result` at all) is printed to the log, and the process
/// exits with 1: the gateway answers 500, or cuts a response that has begun. A request that is not
/// HTTP is answered with 400.
///
/// ```no_run
/// # use embly_sdk as embly;
/// use embly::{
///     http::{self, Body, Request, ResponseWriter},
///     prelude::*,
/// };
///
/// fn execute(req: Request<Body>, mut w: ResponseWriter) {
///     if let Err(error) = w.write_all(req.uri().path().as_bytes()) {
///         eprintln!("nobody listens: {error}");
///     }
/// }
///
/// fn main() -> Result<(), embly::Error> {
///     http::run(execute)
/// }
/// ```
///
/// # Errors
/// None on Embly. As a normal program, outside of Embly, it says so.
pub fn run<H, R, Kind>(handler: H) -> Result<(), Error>
where
    H: FnOnce(Request<Body>, ResponseWriter) -> R,
    R: Outcome<Kind>,
{
    entry::finish(|conn| serve(conn, OnError::Exit, handler))
}

/// As [`run`], but an `Err` before the first flush becomes a plain response with status 500. The
/// text of the error goes to the log, never to the client; only `embly dev` shows it to whoever asks.
///
/// ```no_run
/// # use embly_sdk as embly;
/// use embly::{
///     Error,
///     http::{Body, Request, ResponseWriter, run_catch_error},
///     prelude::*,
/// };
///
/// async fn execute(_req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
///     w.write_all(b"Hello World")?;
///     Ok(())
/// }
///
/// fn main() -> Result<(), Error> {
///     run_catch_error(execute)
/// }
/// ```
///
/// # Errors
/// As [`run`].
pub fn run_catch_error<H, R, Kind>(handler: H) -> Result<(), Error>
where
    H: FnOnce(Request<Body>, ResponseWriter) -> R,
    R: Outcome<Kind>,
{
    entry::finish(|conn| serve(conn, OnError::Answer, handler))
}

/// Reads the request, runs the handler, sends the response.
pub(crate) fn serve<H, R, Kind>(conn: Conn, on_error: OnError, handler: H) -> Result<(), Error>
where
    H: FnOnce(Request<Body>, ResponseWriter) -> R,
    R: Outcome<Kind>,
{
    let request = match head::read(conn) {
        Ok(request) => request,
        Err(Failed::Stream(error)) => return Err(error),
        Err(Failed::Malformed(why)) => {
            eprintln!("the request is not HTTP: {why}");
            let text = format!("Bad Request: {why}\n");
            return ResponseWriter::new(conn, false).replace(StatusCode::BAD_REQUEST, &text);
        }
    };
    let writer = ResponseWriter::new(conn, request.method() == Method::HEAD);
    let result = handler(request, writer.clone())
        .outcome()
        .and_then(|()| writer.finish());
    match result {
        Err(error) if on_error == OnError::Answer && !writer.is_started() => {
            entry::complain(&error);
            writer.failed()
        }
        result => result,
    }
}
