//! Write functions for Embly.
//!
//! An Embly function runs in a process of its own for each request, connection or call. It reads
//! bytes, writes bytes, and starts other functions.
//!
//! ```no_run
//! # use embly_sdk as embly;
//! use embly::{
//!     Error,
//!     http::{Body, Request, ResponseWriter, run_catch_error},
//!     prelude::*,
//! };
//!
//! async fn execute(_req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
//!     w.write_all(b"Hello World")?;
//!     Ok(())
//! }
//!
//! fn main() -> Result<(), Error> {
//!     run_catch_error(execute)
//! }
//! ```
//!
//! In `Cargo.toml` the crate goes by its short name:
//!
//! ```toml
//! [dependencies]
//! embly = { package = "embly-sdk", path = "…" }
//! ```
//!
//! # A tour
//!
//! - [`http`]: functions behind an http gateway: [`http::run`], [`http::run_catch_error`].
//! - [`websocket`]: functions that hold a WebSocket: [`websocket::run`].
//! - [`run`]: functions behind a tcp gateway, and those that other functions start.
//! - [`Conn`]: the stream to whoever called, and to every child.
//! - [`spawn_function`], [`spawn_with`], [`kill`]: start another function of the project, and end it.
//! - [`register`], [`accept`], [`lookup`], [`monitor`]: be found by name, and find others.
//! - [`join!`], [`join_all`], [`sleep`], [`block_on`]: several things at once.
//! - [`kv`]: keys and values that outlive an invocation.
//! - `tcp`: connections to other servers, with the cargo feature of that name.
//! - `http::client`: ask others over HTTP; with the feature `http-client` of this crate.
//! - [`secret()`]: a value that the project file gives to this function and that is not shown.
//! - `sql`: SQL databases, with the cargo feature `sql`.
//! - [`log`]: lines for the log that say how much they matter.
//! - [`on_warning`], [`warning()`], [`warned`]: when a limit is nearly reached.
//! - [`Error`], [`Exit`], [`Reason`]: what went wrong, and how the other side ended.
//! - [`mock`]: the same without Embly, for `cargo test`.
//!
//! Handlers are plain or `async` functions; everything works in both. In an async handler a
//! call that waits (`conn.bytes()`, `write_all`) holds up the other futures of that handler until
//! it is done; `.await` and [`Conn::send`] do not.
//!
//! What a function prints to stdout and stderr, and the message of a panic, is its log; lines with a
//! level are written by [`log`].

pub mod error;
pub mod http;
pub mod kv;
pub mod log;
#[cfg(not(target_arch = "wasm32"))]
pub mod mock;
pub mod prelude;
#[cfg(feature = "sql")]
pub mod sql;
#[cfg(feature = "tcp")]
pub mod tcp;
pub mod websocket;

mod entry;
mod names;
mod options;
#[cfg(any(
    feature = "http-client",
    feature = "kv",
    feature = "sql",
    feature = "tcp"
))]
mod proto;
mod reason;
mod secret;
mod service;
mod spawn;
mod stream;
mod sys;
mod task;
mod warning;

pub use entry::{Async, Outcome, Plain, Value, run, run_catch_error};
pub use error::Error;
pub use names::{Accept, Monitor, accept, lookup, monitor, register, unregister};
pub use options::SpawnOptions;
pub use reason::{Exit, Reason};
pub use secret::{Secret, secret};
pub use spawn::{kill, spawn_and_send, spawn_function, spawn_with};
pub use stream::{Conn, Sending};
pub use task::{Join, Sleep, block_on, join_all, sleep};
pub use warning::{Limit, Warned, on_warning, warned, warning};
