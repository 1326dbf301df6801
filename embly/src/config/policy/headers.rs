//! `headers`: those that are set, and those that are removed.

use std::ops::Range;

use http::{HeaderName, HeaderValue};

use super::super::fields::{Field, Fields};
use super::super::problem::{Problem, Problems, quote};
use super::super::route::scalar;
use super::super::tree::{Entry, Value};
use super::super::{codes, schema};

/// Headers that the gateway makes: those that frame a message or are for one hop (RFC 9110, section
/// 7.6.1), and the id of a request.
const MADE: [&str; 13] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
    "sec-websocket-accept",
    "sec-websocket-key",
];

/// Names that begin so are Embly's own.
const OWN_PREFIX: &str = "embly-";

/// Headers of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// These instead of what is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Not these.
    pub remove: Vec<HeaderName>,
}

/// What is done to headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// Of every response.
    pub response: Headers,
    /// Of requests, before a function sees them.
    pub request: Headers,
}

pub(super) fn read(field: Field<'_>, problems: &mut Problems) -> Option<HeaderRules> {
    let fields = Fields::read(&field.entry.value, &schema::HEADER_RULES, problems)?;
    let request = match fields.get("request") {
        Some(field) => {
            let fields = Fields::read(&field.entry.value, &schema::HEADER_REQUEST, problems)?;
            // It names whom the request is for, and a function waits for no answer in between.
            one_way(&fields, &["host", "expect"], problems)
        }
        None => Headers::default(),
    };
    Some(HeaderRules {
        response: one_way(&fields, &[], problems),
        request,
    })
}

fn one_way(fields: &Fields<'_>, fixed: &[&str], problems: &mut Problems) -> Headers {
    let mut headers = Headers::default();
    if let Some(field) = fields.get("set") {
        for entry in field.map(problems) {
            let name = name(&entry.key, entry.key_span.clone(), fixed, problems);
            let value = value(entry, problems);
            headers.set.extend(name.zip(value));
        }
    }
    if let Some(field) = fields.get("remove") {
        for item in field.list(problems) {
            let name = scalar(item, field, problems)
                .and_then(|text| name(text, item.span.clone(), fixed, problems));
            headers.remove.extend(name);
        }
    }
    headers
}

fn name(
    text: &str,
    span: Range<usize>,
    fixed: &[&str],
    problems: &mut Problems,
) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        let message = format!("{} is not the name of a header", quote(text));
        let problem = Problem::new(&codes::HEADER, span, message);
        problems.push(problem.help("write it as HTTP has it, such as `x-frame-options`"));
        return None;
    };
    let made = [&MADE[..], fixed].concat();
    if made.contains(&name.as_str()) || name.as_str().starts_with(OWN_PREFIX) {
        let message = format!("the header `{name}` is made by the gateway");
        let problem = Problem::new(&codes::HEADER, span, message);
        problems.push(problem.help("remove it"));
        return None;
    }
    Some(name)
}

fn value(entry: &Entry, problems: &mut Problems) -> Option<HeaderValue> {
    let text = match &entry.value.value {
        Value::Scalar(scalar) if !entry.value.is_null() => Some(scalar.text.as_str()),
        _ => None,
    };
    let value = text.and_then(|text| HeaderValue::from_str(text).ok());
    if value.is_none() {
        let message = format!("this is not a value of the header {}", quote(&entry.key));
        let span = match entry.value.is_null() {
            true => entry.key_span.clone(),
            false => entry.value.span.clone(),
        };
        let problem = Problem::new(&codes::HEADER, span, message);
        problems.push(problem.help("write one line of ASCII text"));
    }
    value
}
