//! Answers that are the gateway's own: small, in HTML, text or JSON, with the reason in a header.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use protos::{Ending, Reason};

use super::head::REQUEST_ID;
use super::html::Shown;
use crate::report::describe;

/// The header with the reason.
pub const ERROR: HeaderName = HeaderName::from_static("embly-error");

/// What a browser wants with the answer.
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// A client that is asked to come back waits so long, in seconds.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// The answer for an invocation that ended so, before its head was sent.
///
/// What went wrong inside (a trap's text, a path) is for the log; somebody who works on the function
/// is told.
pub fn answer(
    status: StatusCode,
    ending: &Ending,
    form: Form,
    request_id: &HeaderValue,
    told: Option<&Told>,
) -> Response<Bytes> {
    let reason = ending.reason;
    let id = request_id.to_str().unwrap_or_default();
    let title = status.canonical_reason().unwrap_or("Error");
    let (kind, body) = if form == Form::Json {
        let mut body = serde_json::json!({
            "error": reason.name(), "status": status.as_u16(), "request_id": id,
        });
        if let Some(Told { what, advice }) = told {
            body["detail"] = what.clone().into();
            body["advice"] = advice.clone().into();
        }
        ("application/json", body.to_string())
    } else if form == Form::Any {
        let code = status.as_u16();
        let detail = match told {
            Some(Told { what, advice }) => format!("{what}\n\n{advice}\n"),
            None => format!("{reason}\n"),
        };
        let body = format!("{code} {title}\n\n{detail}request {id}\n");
        ("text/plain; charset=utf-8", body)
    } else {
        let detail = told.map(|Told { what, advice }| {
            let (what, advice) = (Shown(what), Shown(advice));
            format!("<pre>{what}</pre>\n<p>{advice}</p>\n")
        });
        let code = status.as_u16();
        let body = format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>{code} {title}</title>\n\
             <h1>{code} {title}</h1>\n{}<p><small>{reason} · request {}</small></p>\n",
            detail.unwrap_or_default(),
            Shown(id),
        );
        ("text/html; charset=utf-8", body)
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ERROR, HeaderValue::from_static(reason.name()));
    headers.insert(REQUEST_ID, request_id.clone());
    if reason == Reason::Backoff {
        // Its code is the number of seconds.
        headers.insert(RETRY_AFTER, HeaderValue::from(ending.code.max(1)));
    } else if reason.retry() || reason == Reason::Shutdown {
        headers.insert(RETRY_AFTER, RETRY_SECONDS);
    }
    response
}

/// What somebody who works on a function is told.
#[derive(Debug, Clone)]
pub struct Told {
    /// What happened. Without secrets.
    pub what: String,
    /// Where to look.
    pub advice: String,
}

impl Told {
    /// Of an ending, without secrets.
    pub fn of(ending: &Ending, function: &str) -> Self {
        let (what, reason) = (describe(ending), ending.reason);
        let advice = match reason {
            // It was not running.
            Reason::Refused
            | Reason::Overloaded
            | Reason::Backoff
            | Reason::Starting
            | Reason::TooLarge => {
                format!("`embly explain {reason}` says what to do")
            }
            _ => format!(
                "The log of `{function}` says more: it is in the terminal of `embly dev`, and \
                 `embly logs --function {function}` shows it; `embly explain {reason}` says what to do"
            ),
        };
        Self { what, advice }
    }
}

/// An answer of the gateway itself, which has not to do with a function: there is no route, say.
pub fn own(status: StatusCode, form: Form, request_id: &HeaderValue) -> Response<Bytes> {
    let id = request_id.to_str().unwrap_or_default();
    let (code, title) = (
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error"),
    );
    let (kind, body) = if form == Form::Json {
        let body = serde_json::json!({"status": code, "title": title, "request_id": id});
        ("application/json", body.to_string())
    } else if form == Form::Any {
        let body = format!("{code} {title}\n\nrequest {id}\n");
        ("text/plain; charset=utf-8", body)
    } else {
        let body = format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>{code} {title}</title>\n\
             <h1>{code} {title}</h1>\n<p><small>request {}</small></p>\n",
            Shown(id),
        );
        ("text/html; charset=utf-8", body)
    };
    let mut response = empty(status, request_id);
    *response.body_mut() = Bytes::from(body);
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The same without a body.
pub fn empty(status: StatusCode, request_id: &HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(REQUEST_ID, request_id.clone());
    response
}

/// The answer to a request that HTTP itself does not allow, as hyper's own ones are.
pub fn bare(status: StatusCode, request_id: &HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(REQUEST_ID, request_id.clone());
    response
}

/// In which form a client wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people who look at it: a browser that goes to a page.
    Page,
    /// For a program that makes a page of it.
    Html,
    /// For whoever takes anything: somebody who types `curl`, say.
    Any,
    /// For programs.
    Json,
}

impl Form {
    /// The one that these headers of a request ask for.
    pub fn asked(request: &HeaderMap) -> Self {
        let accepts = |what: &str| {
            let mut accepted = request.get_all(ACCEPT).iter();
            accepted.any(|value| value.to_str().is_ok_and(|value| value.contains(what)))
        };
        let (json, html) = (accepts("json"), accepts("text/html"));
        // A script that asks for HTML puts it into a page.
        let mode = request.get(SEC_FETCH_MODE);
        let goes = mode.is_none_or(|mode| mode == "navigate");
        match (html, json) {
            (true, _) if goes => Self::Page,
            (true, _) => Self::Html,
            (false, false) => Self::Any,
            (false, true) => Self::Json,
        }
    }
}
