//! Static files: what a route with `files` answers.

mod disk;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED,
    RANGE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::{Body as _, Frame, SizeHint};
use protos::Reason;
use tower_http::services::ServeDir;
use tower_http::services::fs::{DefaultServeDirFallback, ServeFileSystemResponseBody};

use super::access::Access;
use crate::config;
use crate::wrapper::Counted;
pub use disk::Disk;

/// A folder that a route serves.
#[derive(Debug)]
pub struct Files {
    disk: Disk,
    service: Service,
    /// What is answered for a file that is not there.
    not_found: Option<(String, StatusCode)>,
    cache: HeaderValue,
}

type Service = ServeDir<DefaultServeDirFallback, Disk>;

/// The answer, or `None` for a file that is not there.
pub type Found = Option<Response<ServeFileSystemResponseBody>>;

impl Files {
    /// What the project file says. The folder is opened now.
    ///
    /// # Errors
    /// That of the system.
    pub fn new(config: &config::Files) -> io::Result<Self> {
        let disk = Disk::open(&config.root)?;
        let service = ServeDir::with_backend("", disk.clone())
            .precompressed_br()
            .precompressed_gzip()
            // Several ranges in one answer are asked for by attackers more often than by players.
            .ignore_multi_range_requests(true);
        let not_found = config.not_found.as_ref().map(|(file, status)| {
            let status = StatusCode::from_u16(*status);
            (format!("/{file}"), status.unwrap_or(StatusCode::NOT_FOUND))
        });
        // Without a time, a browser asks each time whether it has changed.
        let cache = config.cache.map_or("no-cache".to_owned(), |time| {
            format!("public, max-age={}", time.as_secs())
        });
        Ok(Self {
            disk,
            service,
            not_found,
            cache: HeaderValue::try_from(cache).unwrap_or(HeaderValue::from_static("no-cache")),
        })
    }

    /// Answers a request with GET or HEAD for a file by its path in the folder, which is encoded as in
    /// the request, behind `prefix`.
    ///
    /// # Errors
    /// Reading it failed.
    pub async fn answer(
        &self,
        request: Request<()>,
        prefix: &str,
        path: &str,
    ) -> io::Result<Found> {
        let method = request.method().clone();
        let encodings = request.headers().get(ACCEPT_ENCODING).cloned();
        // A range of a version that has changed meanwhile is of no use to who has the rest of it
        // (RFC 9110, section 13.1.5).
        let condition = request.headers().get(IF_RANGE).cloned();
        let whole = condition.as_ref().map(|_| {
            let mut whole = request.clone();
            whole.headers_mut().remove(RANGE);
            whole
        });
        let mut response = self.file(request, prefix, path).await?;
        if response.status() == StatusCode::PARTIAL_CONTENT
            && let (Some(version), Some(whole)) = (condition, whole)
            && !is_version(&version, response.headers())
        {
            response = self.file(whole, prefix, path).await?;
        }
        if response.status() == StatusCode::NOT_FOUND {
            let Some((file, status)) = &self.not_found else {
                return Ok(None);
            };
            let mut plain = Request::new(());
            *plain.method_mut() = method;
            if let Some(encodings) = encodings {
                plain.headers_mut().insert(ACCEPT_ENCODING, encodings);
            }
            response = self.file(plain, "", file).await?;
            if response.status() != StatusCode::OK {
                return Ok(None);
            }
            *response.status_mut() = *status;
        }
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, self.cache.clone());
        if let Some(kind) = headers.get(CONTENT_TYPE).and_then(with_charset) {
            headers.insert(CONTENT_TYPE, kind);
        }
        Ok(Some(response))
    }

    async fn file(
        &self,
        mut request: Request<()>,
        prefix: &str,
        path: &str,
    ) -> io::Result<Response<ServeFileSystemResponseBody>> {
        let target = match request.uri().query() {
            Some(query) => Some(format!("{path}?{query}")),
            None => (request.uri() != path).then(|| path.to_owned()),
        };
        if let Some(target) = target {
            *request.uri_mut() = target.try_into().map_err(io::Error::other)?;
        }
        self.disk.forget();
        let mut service = self.service.clone().redirect_path_prefix(prefix);
        match service.try_call(request).await {
            Err(error) if is_missing(&error) => {
                let body = ServeFileSystemResponseBody::default();
                let mut response = Response::new(body);
                *response.status_mut() = StatusCode::NOT_FOUND;
                Ok(response)
            }
            answered => answered,
        }
    }
}

/// Text is UTF-8; without a word about it browsers guess.
fn with_charset(kind: &HeaderValue) -> Option<HeaderValue> {
    let kind = kind.to_str().ok()?;
    if !kind.starts_with("text/") || kind.contains(';') {
        return None;
    }
    HeaderValue::try_from(format!("{kind}; charset=utf-8")).ok()
}

fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{
        InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied,
    };
    matches!(
        error.kind(),
        NotFound | NotADirectory | IsADirectory | PermissionDenied | InvalidFilename | InvalidInput
    )
}

/// Whether the response is of the version that `If-Range` names.
fn is_version(version: &HeaderValue, response: &HeaderMap) -> bool {
    let is = |name| response.get(name) == Some(version);
    is(ETAG) || is(LAST_MODIFIED)
}

/// The body of a file on its way to the client.
pub struct FileBody {
    body: ServeFileSystemResponseBody,
    _counted: Counted,
    access: Access,
    /// Bytes that its head has promised.
    length: Option<u64>,
}

impl std::fmt::Debug for FileBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileBody").finish_non_exhaustive()
    }
}

impl FileBody {
    /// Counts what is sent.
    pub fn new(response: &HeaderMap, body: ServeFileSystemResponseBody, access: Access) -> Self {
        let length = response.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let counted = access.file();
        let mut body = Self {
            body,
            _counted: counted,
            access,
            length,
        };
        body.look_for_the_end();
        body
    }

    /// After the last byte of a known length nobody asks for more.
    fn look_for_the_end(&mut self) {
        if self.body.is_end_stream() || self.length == Some(self.access.bytes) {
            self.access.reason = None;
        }
    }

    /// The next piece.
    pub fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.access.bytes += bytes as u64;
                self.look_for_the_end();
            }
            // The file could not be read to its end: the connection is cut.
            Some(Err(_)) => self.access.cut(Reason::BadResponse),
            None => self.access.reason = None,
        }
        Poll::Ready(frame)
    }

    /// So many bytes were sent for those that were handed out.
    pub fn sent_instead(&mut self, bytes: u64) {
        self.access.sent = Some(bytes);
    }

    /// The client did not take all of it.
    pub fn not_taken(&mut self) {
        self.access.not_taken();
    }

    /// How much there is.
    pub fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    /// Whether all was said.
    pub fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
