//! Whether a version works that was just deployed: the master asks a gateway, as a client of its own
//! that no proxy and no TLS stands before.

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

use super::super::{Peer, Site, Socket, Transport};
use super::connection;

/// The status of what a gateway of this site answers to a GET, once all of the answer is there.
///
/// # Errors
/// It does not answer.
pub async fn status_of(site: Arc<Site>, host: &str, path: &str) -> io::Result<StatusCode> {
    let (ours, theirs) = UnixStream::pair()?;
    // Closing when this is over, or given up.
    let (_open, closing) = watch::channel(false);
    let transport = Transport::of_the_master(site.transport().timeouts);
    let transport = Arc::new(transport);
    let theirs = Socket::Unix(Arc::new(theirs));
    tokio::spawn(connection::serve(
        site,
        transport,
        theirs,
        Peer::Unix,
        closing,
    ));
    let (mut sender, connection) = handshake(TokioIo::new(ours))
        .await
        .map_err(io::Error::other)?;
    // It ends with the answer.
    let connection = tokio::spawn(connection);
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
    let mut body = response.into_body();
    while let Some(piece) = body.frame().await {
        piece.map_err(io::Error::other)?;
    }
    drop(sender);
    // What it says of its end does not matter.
    let _ = connection.await;
    Ok(status)
}
