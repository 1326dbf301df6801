//! The other side of the admin API: asks a running master.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::admin::api;

/// The body of a request.
type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Bytes of a file that are sent at a time.
const PIECE: usize = 64 << 10;

/// A master that is asked who it is answers within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Where a master is asked.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug)]
pub enum Refusal {
    /// The master says why.
    Failed(api::Failure),
    /// There is nobody, or nobody who can be understood.
    Silent(String),
}

impl Client {
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Who it is.
    pub async fn master(&self) -> Result<api::Master, Refusal> {
        self.get("/v1/master").await
    }

    /// Asks for an object that is there at once.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refusal> {
        let asked = timeout(ANSWER_WITHIN, self.ask(&Method::GET, path)).await;
        asked.unwrap_or_else(|_| {
            let text = format!("does not answer within {ANSWER_WITHIN:?}");
            Err(Refusal::Silent(text))
        })
    }

    /// Asks for an object.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
    ) -> Result<T, Refusal> {
        let body = self.lines(method, path).await?.body;
        object(body).await
    }

    /// Sends a file and asks for an object.
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        file: File,
    ) -> Result<T, Refusal> {
        let pieces = futures_util::stream::unfold(file, |mut file| async move {
            let mut piece = vec![0; PIECE];
            match file.read(&mut piece) {
                Ok(0) => None,
                Ok(count) => {
                    piece.truncate(count);
                    Some((Ok(Frame::data(Bytes::from(piece))), file))
                }
                Err(error) => Some((Err(error), file)),
            }
        });
        let body = self.request(method, path, StreamBody::new(pieces).boxed_unsync());
        object(body.await?.body).await
    }

    /// Asks for lines that may go on and on.
    pub async fn lines(&self, method: &Method, path: &str) -> Result<Lines, Refusal> {
        let nothing = Empty::new().map_err(|never| match never {});
        self.request(method, path, nothing.boxed_unsync()).await
    }

    async fn request(&self, method: &Method, path: &str, body: Body) -> Result<Lines, Refusal> {
        let stream = UnixStream::connect(&self.socket).await.map_err(silent)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(silent)?;
        // It ends with the answer, or with the master.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .body(body)
            .map_err(silent)?;
        let response = sender.send_request(request).await.map_err(silent)?;
        let status = response.status();
        let body = response.into_body();
        if status.is_success() {
            return Ok(Lines {
                body,
                begun: Vec::new(),
                _sender: sender,
            });
        }
        let body = body.collect().await.map_err(silent)?.to_bytes();
        match serde_json::from_slice::<api::Failed>(&body) {
            Ok(failed) => Err(Refusal::Failed(failed.error)),
            Err(_) => Err(Refusal::Silent(format!("answers {status}"))),
        }
    }
}

async fn object<T: DeserializeOwned>(body: Incoming) -> Result<T, Refusal> {
    let body = body.collect().await.map_err(silent)?.to_bytes();
    serde_json::from_slice(&body).map_err(silent)
}

fn silent(error: impl Into<Box<dyn std::error::Error>>) -> Refusal {
    Refusal::Silent(error.into().to_string())
}

/// Lines as they come.
pub struct Lines {
    body: Incoming,
    /// The beginning of a line.
    begun: Vec<u8>,
    /// The connection is closed when it is dropped.
    _sender: http1::SendRequest<Body>,
}

impl Lines {
    /// More whole lines; `None` when the master has ended, or has no more.
    pub async fn next(&mut self) -> Option<Vec<String>> {
        loop {
            let frame = self.body.frame().await?.ok()?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.begun.extend_from_slice(&data);
            let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else {
                continue;
            };
            let rest = self.begun.split_off(end + 1);
            let whole = std::mem::replace(&mut self.begun, rest);
            let whole = String::from_utf8_lossy(&whole);
            return Some(whole.lines().map(str::to_owned).collect());
        }
    }
}
