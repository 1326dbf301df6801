//! Functions behind an http gateway.
//!
//! A handler gets the request and a [`ResponseWriter`]; it is a plain `fn` or an `async fn`:
//!
//! ```no_run
//! # use embly_sdk as embly;
//! use embly::{
//!     Error,
//!     http::{Body, Request, ResponseWriter, run_catch_error},
//!     prelude::*,
//! };
//!
//! async fn execute(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
//!     let body = req.body_mut().bytes()?;
//!     w.status(201)?;
//!     w.header("Content-Type", "text/plain")?;
//!     writeln!(w, "{} {}: {} bytes", req.method(), req.uri(), body.len())?;
//!     Ok(())
//! }
//!
//! fn main() -> Result<(), Error> {
//!     run_catch_error(execute)
//! }
//! ```
//!
//! The response is sent when the handler returns, with its length. To send a part of it
//! earlier, flush: [`Flusher::flush_response`].

mod body;
mod chunked;
#[cfg(feature = "http-client")]
pub mod client;
mod forward;
pub(crate) mod head;
mod response;
mod run;
mod status;

pub use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
pub use body::{Body, Chunks};
pub use forward::forward;
pub use response::{Flusher, ResponseWriter};
pub use run::{run, run_catch_error};
pub use status::IntoStatus;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use {
    chunked::Decoder,
    run::{OnError, serve},
};
