//! Metrics and health on an address, for those who watch a master from elsewhere: nothing of it can
//! change anything.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::server::{self, Body, text};
use super::{Admin, metrics};

/// A connection ends after this time, whatever its client does: an answer takes a moment.
const CONNECTION: Duration = Duration::from_secs(30);

const PLAIN: &str = "text/plain; charset=utf-8";

/// What there is: path, what it says, and with which statuses.
pub const SHOWN: &[(&str, &str, &[StatusCode])] = &[
    (
        "/metrics",
        "Metrics in the text format of Prometheus.",
        &[StatusCode::OK],
    ),
    ("/healthz", "Whether the master answers.", &[StatusCode::OK]),
    (
        "/readyz",
        "Whether it serves.",
        &[StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE],
    ),
];

impl Admin {
    /// Answers with metrics and health at this address from now on; where that is.
    ///
    /// # Errors
    /// It cannot listen there.
    pub fn listen(self: &Arc<Self>, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        // Set once, as the master starts.
        let _ = self.listens.set(format!("http://{address}"));
        let admin = Arc::clone(self);
        let accept =
            move |context: &mut Context<'_>| listener.poll_accept(context).map_ok(|it| it.0);
        tokio::spawn(server::serve(accept, move |stream| {
            let admin = Arc::clone(&admin);
            async move {
                let answer = |request| std::future::ready(admin.shows(&request));
                let _ = timeout(CONNECTION, server::connection(stream, answer)).await;
            }
        }));
        Ok(address)
    }

    fn shows(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if SHOWN.iter().all(|(known, ..)| *known != path) {
            let known = "there is `/metrics`, `/healthz` and `/readyz`\n";
            return text(StatusCode::NOT_FOUND, PLAIN, known);
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let only = "for GET only\n";
            let response = text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, only);
            return server::allow(response, &["GET", "HEAD"]);
        }
        match path {
            "/metrics" => {
                let shown = metrics::text(&self.switchboard, self.since);
                text(StatusCode::OK, metrics::TYPE, shown)
            }
            // Whoever answers here is the one that moves all bytes.
            "/healthz" => text(StatusCode::OK, PLAIN, "ok\n"),
            _ => match self.state() {
                "serving" => text(StatusCode::OK, PLAIN, "ready\n"),
                state => {
                    let state = format!("{state}\n");
                    text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, state)
                }
            },
        }
    }
}
