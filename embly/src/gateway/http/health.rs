//! Whether a version works that was just deployed: the master asks a gateway, as a client of its own
//! that no proxy and no TLS stands before.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::{Peer, Site, Socket, Transport};
use super::connection;
use super::refuse::ERROR;

/// What a gateway has answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Why it is not the function's own, as the gateway says.
    reason: Option<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.as_u16();
        match &self.reason {
            Some(reason) => write!(f, "{status} ({reason}; `embly logs` has more)"),
            None => write!(f, "{status}"),
        }
    }
}

/// What a gateway of this site answers to a GET, once all of the answer is there.
///
/// # Errors
/// It does not answer.
pub async fn answer_of(site: Arc<Site>, host: &str, path: &str) -> io::Result<Answer> {
    let (ours, theirs) = UnixStream::pair()?;
    // Closing when this is over, or given up.
    let (_open, closing) = watch::channel(false);
    let transport = Transport::of_the_master(site.transport().timeouts);
    let transport = Arc::new(transport);
    let theirs = Socket::Unix(Arc::new(theirs));
    // Both sides end with the answer, or when nobody waits for that any more.
    let mut sides = JoinSet::new();
    let serving = connection::serve(site, transport, theirs, Peer::Unix, closing);
    sides.spawn(serving);
    let (mut sender, connection) = handshake(TokioIo::new(ours))
        .await
        .map_err(io::Error::other)?;
    // What it says of its end does not matter.
    sides.spawn(async move { drop(connection.await) });
    let request = Request::get(path)
        .header(HOST, host)
        .header("user-agent", "embly-health")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let status = response.status();
    let reason = response.headers().get(ERROR);
    let reason = reason.and_then(|reason| Some(reason.to_str().ok()?.to_owned()));
    let mut body = response.into_body();
    while let Some(piece) = body.frame().await {
        piece.map_err(io::Error::other)?;
    }
    drop(sender);
    while sides.join_next().await.is_some() {}
    Ok(Answer { status, reason })
}
