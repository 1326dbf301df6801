//! Where a page of an error waits for the next build. Only a gateway of `embly dev` answers it: to all
//! others it is a path like any other.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tokio::time::timeout;

use super::super::{Gateway, Workbench, closed};
use super::answer::Body;
use super::connection::Client;
use super::{refuse, sound};

/// The path.
const PATH: &str = "/.embly/dev/reload";

/// A page is answered after so long in any case: what is in between may end what says nothing.
const WAIT: Duration = Duration::from_secs(20);

/// The build that a page knows, if this request is one that waits.
pub fn asked<'a, T>(
    gateway: &'a Gateway,
    request: &'a Request<T>,
) -> Option<(&'a Workbench, &'a str)> {
    let bench = gateway.dev.as_ref()?;
    let (method, uri) = (request.method(), request.uri());
    let asks = method == Method::GET && uri.path() == PATH;
    if !asks || sound::unacceptable(request).is_some() {
        return None;
    }
    let parameters = uri.query().unwrap_or_default().split('&');
    let mut known = parameters.filter_map(|one| one.strip_prefix("since="));
    Some((bench, known.next().unwrap_or_default()))
}

/// 200 and the name of the last build, once that is another one than the page knows; 204 when it
/// should ask again. No line of the access log is about it.
pub async fn answer(
    bench: &Workbench,
    known: &str,
    client: &Client,
    request_id: &HeaderValue,
) -> Response<Body> {
    let _under_way = client.request();
    let mut closing = client.closing.clone();
    let build = tokio::select! {
        build = timeout(WAIT, bench.build_after(known)) => build.ok(),
        () = closed(&mut closing) => None,
        () = client.reset() => None,
    };
    let mut response = match build {
        None => refuse::empty(StatusCode::NO_CONTENT, request_id),
        Some(build) => {
            let mut response = refuse::empty(StatusCode::OK, request_id);
            *response.body_mut() = Bytes::from(build);
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, text);
            response
        }
    };
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response.map(Body::full)
}
