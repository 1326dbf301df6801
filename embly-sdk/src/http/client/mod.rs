//! Asking others over HTTP: the service `embly/http`, with the types of the crate `http`.
//!
//! The project file says whom a function may ask:
//!
//! ```yml
//! functions:
//!   - name: weather
//!     path: ./weather
//!     language: rust
//!     allow: {http: ["https://api.example.com/v1/"]}
//! ```
//!
//! ```no_run
//! # use embly_sdk as embly;
//! use embly::{Error, http::{Body, Request, ResponseWriter, client}, prelude::*};
//!
//! async fn execute(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
//!     let mut response = client::get("https://api.example.com/v1/today").await?;
//!     w.status(response.status())?;
//!     w.write_all(&response.body_mut().bytes()?)?;
//!     Ok(())
//! }
//! ```
//!
//! A request is on its way when [`get`] or [`send`] is called, so several run at once
//! ([`join_all`](crate::join_all)); [`Call::wait`] waits in a plain function. A body that is longer
//! than memory is written piece by piece: [`start`].
//!
//! A response that breaks off never looks whole: reading its body gives an error. What goes wrong has
//! a [`Kind`].

mod call;
mod error;
mod options;

use crate::{proto::http::Request as Message, stream::Conn};
use http::Request;
use std::io;

pub(super) use call::Exchange;
pub use call::{Call, FinalUrl, Upload};
pub use error::{Error, Kind};
pub use options::{Options, Version};

/// Bytes of a body that go with the request; a longer one follows it.
const CONTENT: usize = 64 * 1024;

/// `GET` of a URL.
///
/// ```no_run
/// # use embly_sdk as embly;
/// # fn f() -> Result<(), embly::Error> {
/// let response = embly::http::client::get("https://api.example.com/").wait()?;
/// # Ok(())
/// # }
/// ```
pub fn get(url: impl AsRef<str>) -> Call {
    let message = Message {
        method: "GET".to_owned(),
        url: url.as_ref().to_owned(),
        ..Message::default()
    };
    Call::send(message, &[])
}

/// Sends a request with all of its body. [`Options`] are an extension of the request.
///
/// ```no_run
/// # use embly_sdk as embly;
/// # async fn f() -> Result<(), embly::Error> {
/// use embly::http::{Request, client};
///
/// let request = Request::post("https://api.example.com/v1/notes")
///     .header("content-type", "text/plain")
///     .extension(client::Options::new().redirects(0))
///     .body("remember the milk")?;
/// let response = client::send(request).await?;
/// # Ok(())
/// # }
/// ```
pub fn send(request: Request<impl AsRef<[u8]>>) -> Call {
    let (head, body) = request.into_parts();
    let (mut message, body) = (options::message(&head), body.as_ref());
    if body.len() <= CONTENT {
        message.content = body.to_vec();
        return Call::send(message, &[]);
    }
    message.body_follows = true;
    if !head.headers.contains_key(http::header::CONTENT_LENGTH) {
        message.headers.push(crate::proto::http::Header {
            name: "content-length".to_owned(),
            value: body.len().to_string().into_bytes(),
        });
    }
    Call::send(message, body)
}

/// Begins a request whose body is then written to the [`Upload`], piece by piece. With a header
/// `content-length` it has to be of that length.
///
/// ```no_run
/// # use embly_sdk as embly;
/// # async fn f() -> Result<(), embly::Error> {
/// use embly::http::{Request, client};
///
/// let request = Request::put("https://api.example.com/v1/log").body(())?;
/// let (upload, call) = client::start(request)?;
/// let writes = async {
///     for n in 0..1_000_000 {
///         upload.send(format!("{n}\n").as_bytes()).await?;
///     }
///     upload.finish()
/// };
/// let (written, response) = embly::join!(writes, call);
/// written?;
/// let response = response?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`Call`].
pub fn start(request: Request<()>) -> Result<(Upload, Call), Error> {
    let (head, ()) = request.into_parts();
    let mut message = options::message(&head);
    message.body_follows = true;
    Call::start(message)
}

/// Calls the service.
fn open() -> Result<Conn, Error> {
    crate::service::call("embly/http").map_err(|error| Error::of_io(io::Error::from(error)))
}
