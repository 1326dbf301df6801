//! Connections to other servers, plain or with TLS (cargo feature `tcp`).
//!
//! The project file has to list each address:
//!
//! ```yml
//! functions:
//!   - name: counter
//!     path: ./counter
//!     language: rust
//!     allow: {tcp: ["redis.internal:6379"]}
//! ```
//!
//! ```no_run
//! # use embly_sdk as embly;
//! use embly::{Error, prelude::*, tcp};
//!
//! async fn ping() -> Result<bool, Error> {
//!     let stream = tcp::connect("redis.internal:6379").await?;
//!     stream.send(b"PING\r\n").await?;
//!     Ok(stream.receive().await?.starts_with(b"+PONG"))
//! }
//! ```
//!
//! In a plain function `tcp::connect(…).wait()` does the same, and [`Stream`] is a `Read` and a
//! `Write`. The end of a stream is told from a connection that broke: see [`Conn`](crate::Conn).
//!
//! - [`connect`], [`connect_tls`], [`connect_tls_with`]: a [`Stream`].
//! - [`connect_starttls`]: a [`Plain`] one that changes to TLS later, as PostgreSQL and SMTP do.
//! - [`ConnectError`]: why there is none.

mod call;
mod error;
mod plain;
mod stream;

pub use error::{ConnectError, ErrorKind};
pub use plain::Plain;
pub use stream::Stream;

use crate::{proto::tcp as proto, task::block_on};
use call::Call;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use call::{frame, read};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Connects to `HOST:PORT`: a name, an IPv4 address, or an IPv6 address in brackets.
///
/// It begins when this is called, so several can be on their way at once.
pub fn connect(address: &str) -> Connecting<Stream> {
    open(address, None)
}

/// Connects and begins TLS; the certificate has to be one for the host of the address.
pub fn connect_tls(address: &str) -> Connecting<Stream> {
    open(address, Some(&Tls::new()))
}

/// The same, with more to say about TLS.
///
/// ```no_run
/// # use embly_sdk as embly;
/// # async fn f() -> Result<(), embly::Error> {
/// use embly::tcp::{self, Tls};
///
/// let tls = Tls::new().server_name("db.example.com").alpn(["postgresql"]);
/// let stream = tcp::connect_tls_with("10.0.0.7:5432", &tls).await?;
/// # Ok(())
/// # }
/// ```
pub fn connect_tls_with(address: &str, tls: &Tls) -> Connecting<Stream> {
    open(address, Some(tls))
}

/// Connects without TLS, to change to it later.
pub fn connect_starttls(address: &str) -> Connecting<Plain> {
    let call = Call::begin(address, None, true);
    Connecting::new(async move {
        let mut call = call?;
        let opened = call.answer().await?;
        Ok(Plain::new(call, opened))
    })
}

fn open(address: &str, tls: Option<&Tls>) -> Connecting<Stream> {
    let call = Call::begin(address, tls, false);
    Connecting::new(async move {
        let mut call = call?;
        let opened = call.answer().await?;
        Ok(Stream::new(call, opened))
    })
}

/// What to say about TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    server_name: String,
    alpn: Vec<String>,
}

impl Tls {
    /// The certificate has to be one for the host of the address.
    pub fn new() -> Self {
        Self::default()
    }

    /// The certificate has to be one for this name, or IP address.
    #[must_use]
    pub fn server_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.server_name);
        self
    }

    /// Offers these protocols (ALPN), the best first; at most 16.
    #[must_use]
    pub fn alpn<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.alpn = names.into_iter().map(str::to_owned).collect();
        self
    }

    fn message(&self) -> proto::Tls {
        proto::Tls {
            server_name: self.server_name.clone(),
            alpn: self.alpn.clone(),
        }
    }
}

/// A connection that is on its way. Dropped, it is given up.
#[must_use = "nobody waits for the connection until it is awaited (or `wait` is called)"]
pub struct Connecting<T>(Pin<Box<dyn Future<Output = Result<T, ConnectError>>>>);

impl<T> Connecting<T> {
    fn new(work: impl Future<Output = Result<T, ConnectError>> + 'static) -> Self {
        Self(Box::pin(work))
    }

    /// Waits for it, in a plain function.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn wait(self) -> Result<T, ConnectError> {
        block_on(self)
    }
}

impl<T> Future for Connecting<T> {
    type Output = Result<T, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for Connecting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}
