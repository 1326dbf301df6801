//! Functions that hold a WebSocket: behind a gateway of type `websocket`, or a route with
//! `websocket: true`.
//!
//! Each connection has an invocation of its own. The gateway has answered the handshake already,
//! answers pings, and puts fragments together: the function gets whole messages, text and binary
//! told apart.
//!
//! ```no_run
//! # use embly_sdk as embly;
//! use embly::{
//!     Error,
//!     websocket::{self, Message, Socket},
//! };
//!
//! async fn echo(socket: Socket) -> Result<(), Error> {
//!     while let Some(message) = socket.receive().await? {
//!         if let Message::Text(_) | Message::Binary(_) = message {
//!             socket.send(message).await?;
//!         }
//!     }
//!     Ok(())
//! }
//!
//! fn main() -> Result<(), Error> {
//!     websocket::run(echo)
//! }
//! ```
//!
//! In a plain function `wait()` stands where `.await` does: `socket.receive().wait()?`.
//!
//! When the handler returns, the client gets the close code 1000; after an error, a panic or a
//! limit it gets 1011, and the name of the reason.

mod message;
mod socket;

pub use message::Message;
pub use socket::{Receiving, Sending, Socket};

use crate::{
    entry::{self, Outcome},
    error::Error,
    stream::Conn,
};

/// Runs the handler on the WebSocket that this function was started for.
///
/// An `Err` of the handler (if it returns a `Result` at all) is printed to the log, and the
/// process exits with 1: the client gets the close code 1011.
///
/// # Errors
/// None on Embly. As a normal program, outside of Embly, it says so.
pub fn run<H, R, Kind>(handler: H) -> Result<(), Error>
where
    H: FnOnce(Socket) -> R,
    R: Outcome<Kind>,
{
    entry::finish(|conn| serve(conn, handler))
}

/// The same as [`run`].
///
/// # Errors
/// As [`run`].
pub fn run_catch_error<H, R, Kind>(handler: H) -> Result<(), Error>
where
    H: FnOnce(Socket) -> R,
    R: Outcome<Kind>,
{
    run(handler)
}

/// Reads the request, runs the handler.
pub(crate) fn serve<H, R, Kind>(conn: Conn, handler: H) -> Result<(), Error>
where
    H: FnOnce(Socket) -> R,
    R: Outcome<Kind>,
{
    handler(Socket::open(conn)?).outcome()
}
