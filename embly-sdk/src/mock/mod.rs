//! Embly in memory, so that functions are tested with `cargo test`.
//!
//! The test stands where the gateway, or the parent function, would: it starts a handler and talks
//! to it.
//!
//! ```
//! # use embly_sdk as embly;
//! use embly::{Error, http::{Body, Request, ResponseWriter}, mock, prelude::*};
//!
//! async fn execute(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
//!     let name = String::from_utf8(req.body_mut().bytes()?)?;
//!     write!(w, "Hello {name}")?;
//!     Ok(())
//! }
//!
//! // In a `#[test]`:
//! let response = mock::http(execute, Request::post("/").body("you").unwrap());
//! assert_eq!(response.status, 200);
//! assert_eq!(response.text(), "Hello you");
//! ```
//!
//! Functions that the one under test starts are registered by their names, the real ones or
//! stand-ins that behave as the test wants:
//!
//! ```
//! # use embly_sdk as embly;
//! use embly::{Conn, Error, Reason, mock, prelude::*};
//! use std::time::Duration;
//!
//! fn front(mut conn: Conn) -> Result<(), Error> {
//!     match embly::spawn_function("slow")?.string() {
//!         Ok(answer) => conn.write_all(answer.as_bytes())?,
//!         Err(error) => write!(conn, "sorry: {}", error.exit().unwrap().reason)?,
//!     }
//!     Ok(())
//! }
//!
//! mock::function("slow", |mut conn: Conn| async move {
//!     embly::sleep(Duration::from_secs(3600)).await; // takes no time in a test
//!     conn.write_all(b"here I am").unwrap();
//! });
//! assert_eq!(mock::spawn(front).string().unwrap(), "here I am");
//!
//! mock::function("slow", |_: Conn| mock::end(Reason::Wall, 0, "after 30 s"));
//! assert_eq!(mock::spawn(front).string().unwrap(), "sorry: wall");
//! ```
//!
//! # What is as on the real Embly, and what is not
//! Streams have the same credit (16 KiB at first, up to 256 KiB as it is used), half-close and
//! endings; a panic is an ending with the reason `trap`; children end with their parent; 64 live
//! children are the most, and so are 64 streams by name; a name that nobody registered is `refused`.
//! What the project file allows is not looked at. Each function runs in a
//! thread of its own, but only one at a time and always in the same order, so a test either fails
//! or it does not. The clock is one of the mock's own ([`now`]): when all functions wait, it jumps
//! to the next [`sleep`](crate::sleep). When all wait and no sleep is left, the test panics and
//! says who waits. There are no limits on time and memory (but [`warn`] says that one is near), `static` variables are shared between
//! functions, and `std::process::exit` ends the whole test (use [`end`]).
//!
//! The services of the host have stand-ins of their own: keys and values are kept in memory ([`kv`]), and are
//! gone with the test; who is asked over HTTP is a handler of the test (`mock::http_client`, with the
//! feature `http-client`), and so is who is connected to (`mock::tcp`, feature `tcp`). For
//! SQL the test says which statement gets which answer (`mock::Sql`, feature `sql`). What the project file
//! allows is not looked at there either.
//!
//! Each test thread has a mock of its own. Tests that run one after the other in one thread
//! (`--test-threads=1`) share it; where that matters, begin with [`reset`].

mod response;
mod services;

pub use crate::sys::mock::world::Calls;
pub use response::Response;
pub(crate) use services::all as services;
#[cfg(feature = "http-client")]
pub use services::http as http_client;
pub use services::kv;
#[cfg(feature = "sql")]
pub use services::sql::{Answer, Sql};
#[cfg(feature = "tcp")]
pub use services::tcp;

use crate::{
    entry::{self, Outcome},
    error::Error,
    http::{self, Body, OnError, Request, ResponseWriter},
    reason::{Exit, Reason},
    stream::{Conn, input},
    sys::mock::{guest, world::Start},
    task::{newcomers, reactor},
    warning::{self, Limit},
    websocket,
};
use std::{sync::Arc, time::Duration};

/// Registers a function: `spawn_function(name)` starts this handler from now on.
///
/// The handler is what `embly::run` takes.
pub fn function<H, R, Kind>(name: &str, handler: H)
where
    H: Fn(Conn) -> R + Send + Sync + 'static,
    R: Outcome<Kind>,
{
    guest::me().world.register(name, start(handler));
}

/// Registers a function whose handler is one of `embly::http::run_catch_error`: for
/// [`http::forward`].
pub fn http_function<H, R, Kind>(name: &str, handler: H)
where
    H: Fn(Request<Body>, ResponseWriter) -> R + Send + Sync + 'static,
    R: Outcome<Kind>,
{
    function(name, move |conn: Conn| {
        http::serve(conn, OnError::Answer, &handler)
    });
}

/// Gives a secret to all functions of the test; until [`reset`].
pub fn secret(name: &str, value: &str) {
    guest::me().world.set_secret(name, value);
}

/// Starts a handler as a child of the test; what the test writes to the connection is what it
/// reads.
pub fn spawn<H, R, Kind>(handler: H) -> Conn
where
    H: Fn(Conn) -> R + Send + Sync + 'static,
    R: Outcome<Kind>,
{
    Conn::new(guest::me().start("the function under test", start(handler)))
}

/// Runs a handler of `embly::http::run_catch_error` on this request, to its end.
///
/// The body gets a `Content-Length`; with a header `Transfer-Encoding: chunked` it is sent as it
/// is and has to be coded already.
///
/// # Panics
/// When everybody waits for each other; the message says who.
pub fn http<H, R, Kind>(handler: H, request: Request<impl AsRef<[u8]>>) -> Response
where
    H: Fn(Request<Body>, ResponseWriter) -> R + Send + Sync + 'static,
    R: Outcome<Kind>,
{
    let to_head = request.method() == http::Method::HEAD;
    Response::of(
        exchange(handler, &response::request_bytes(&request)),
        to_head,
    )
}

/// As [`http()`], byte for byte, and closed after them: for broken requests, and to look at the
/// response as it is sent.
///
/// # Panics
/// As [`http()`].
pub fn exchange<H, R, Kind>(handler: H, request: &[u8]) -> (Vec<u8>, Exit)
where
    H: Fn(Request<Body>, ResponseWriter) -> R + Send + Sync + 'static,
    R: Outcome<Kind>,
{
    let conn = spawn_http(handler);
    let sends = async {
        // Who answers without reading all of it is right to do so.
        let _ = conn.send(request).await;
        conn.close()
    };
    let receives = async {
        let mut response = Vec::new();
        // A bad ending shows after the last byte; the caller gets it as a value.
        while conn.await.is_ok() {
            match conn.now() {
                bytes if bytes.is_empty() => break,
                bytes => response.extend(bytes),
            }
        }
        response
    };
    let (_, response) = crate::block_on(async { crate::join!(sends, receives) });
    (
        response,
        conn.status()
            .expect("a child that was started has an ending"),
    )
}

/// Starts a handler of `embly::http::run_catch_error`; the request is for the test to write, the
/// response to read: for bodies and responses without an end.
pub fn spawn_http<H, R, Kind>(handler: H) -> Conn
where
    H: Fn(Request<Body>, ResponseWriter) -> R + Send + Sync + 'static,
    R: Outcome<Kind>,
{
    spawn(move |conn| http::serve(conn, OnError::Answer, &handler))
}

/// Starts a handler of `embly::websocket::run` with this request; the test has the client's end: what
/// it sends is what the handler receives.
///
/// There is no gateway between the two, so a close is not answered by itself, and when the
/// handler returns there is no close either, but the end.
///
/// # Panics
/// When the handler has ended before it got the request.
pub fn websocket<H, R, Kind>(handler: H, request: Request<()>) -> websocket::Socket
where
    H: Fn(websocket::Socket) -> R + Send + Sync + 'static,
    R: Outcome<Kind>,
{
    let conn = spawn(move |conn| websocket::serve(conn, &handler));
    websocket::Socket::of_client(conn, request).expect("a handler that was just started reads")
}

/// In a handler: ends this invocation in this way.
pub fn end(reason: Reason, code: i32, detail: &str) -> ! {
    guest::end(Exit {
        reason,
        code,
        detail: detail.to_owned(),
    })
}

/// Warns a function that was started on this connection: it is nearly at this limit. The mock has no
/// limits on time of its own.
pub fn warn(conn: Conn, limit: Limit) {
    guest::me().warn(conn.id(), limit.name());
}

/// The time on the clock of the mock, which began at 0.
pub fn now() -> Duration {
    guest::me().world.now()
}

/// How often the calls of the host were made, by the test and all its functions together.
pub fn calls() -> Calls {
    guest::me().world.calls()
}

/// Begins anew: ends all functions of this test, forgets their names, sets the clock to 0.
pub fn reset() {
    guest::forget();
    reactor::reset();
    newcomers::reset();
    input::reset();
    warning::reset();
}

pub(crate) fn start<H, R, Kind>(handler: H) -> Start
where
    H: Fn(Conn) -> R + Send + Sync + 'static,
    R: Outcome<Kind>,
{
    Arc::new(move || {
        let result: Result<(), Error> = handler(Conn::PARENT).outcome();
        entry::exit_code(result)
    })
}
