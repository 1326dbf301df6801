//! `before`: a function in front of what a request asks for. It gets the head of the request, and lets
//! it pass, with headers of its own, or answers it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;

use super::super::Gateway;
use super::access::Access;
use super::answer::{self, Body};
use super::connection::Client;
use super::exchange::{self, NoAnswer};
use super::forwarded::is_of_proxies;
use super::head::{self, Settled};
use super::refuse::Form;
use super::route::Asked;

/// The header of an answer that says what becomes of the request.
const BEFORE: HeaderName = HeaderName::from_static("embly-before");

/// The request passes.
const GO_ON: &str = "go-on";

/// What becomes of the request.
pub enum Verdict {
    /// It passes, with headers of the function in front.
    GoOn(Box<Access>),
    /// It has its answer.
    Answer(Response<Body>),
}

/// Asks the function in front.
///
/// # Errors
/// [`NoAnswer`].
pub async fn ask(
    to @ (gateway, asked, client): (&Arc<Gateway>, &Asked, &Client),
    request: &mut Request<Incoming>,
    request_id: &HeaderValue,
    mut access: Access,
) -> Result<Verdict, NoAnswer> {
    access.function = Arc::clone(&asked.name);
    let mut question = Request::new(Empty::<Bytes>::new());
    *question.method_mut() = request.method().clone();
    *question.uri_mut() = request.uri().clone();
    question.headers_mut().clone_from(request.headers());
    question.headers_mut().remove(CONTENT_LENGTH);
    let answered = exchange::answer(to, question, request_id, &mut access).await;
    let mut answered = match answered {
        Ok(answered) => answered,
        Err(refusal) => {
            let at = (&**gateway, client);
            let form = Form::asked(request.headers());
            let refused = exchange::refused(at, refusal, form, request_id, access).await;
            return refused.map(Verdict::Answer);
        }
    };
    let said = answered.head.headers.remove(BEFORE);
    // It has no body, so it cannot fail any more.
    let passes =
        said.is_some_and(|said| said == GO_ON) && answered.head.status == StatusCode::NO_CONTENT;
    if !passes {
        let (form, id) = (Form::asked(request.headers()), request_id.clone());
        let answer = exchange::given(gateway, answered, form, id, access).await;
        return Ok(Verdict::Answer(answer));
    }
    answer::pass_over(answered.source);
    replace(request, &answered.head.headers);
    access.passed();
    Ok(Verdict::GoOn(Box::new(access)))
}

/// Those of the function in front take the place of the client's. None of them changes for whom the
/// request is, what its body is, what it becomes, or what the gateway itself tells.
fn replace<T>(request: &mut Request<T>, with: &HeaderMap) {
    let of_gateway = |name: &HeaderName| {
        head::is_withheld(name)
            || head::is_of_message(name)
            || is_of_proxies(name)
            || ["content-", "sec-websocket-"]
                .iter()
                .any(|kind| name.as_str().starts_with(kind))
    };
    let names: Vec<_> = with
        .keys()
        .filter(|name| !of_gateway(name))
        .cloned()
        .collect();
    let headers = request.headers_mut();
    for name in &names {
        headers.remove(name);
        for value in with.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    Settled::note(request, names);
}
