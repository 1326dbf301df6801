//! `allow: {http: …}`: what a function may ask of others.

use std::ops::Range;
use std::path::Path;

use super::codes;
use super::fields::{Field, Fields};
use super::problem::{Problem, Problems, quote};
use super::tree::{Node, Value};
use super::{paths, schema};
use crate::allow::http::HttpGrant;

/// Reads the list: URLs, or maps with a URL.
pub(super) fn grants(field: Field<'_>, root: &Path, problems: &mut Problems) -> Vec<HttpGrant> {
    let items = field.list(problems).iter();
    items
        .filter_map(|item| grant(item, root, problems))
        .collect()
}

fn grant(item: &Node, root: &Path, problems: &mut Problems) -> Option<HttpGrant> {
    if let Value::Scalar(scalar) = &item.value
        && !item.is_null()
    {
        return url(&scalar.text, item.span.clone(), problems);
    }
    let fields = Fields::read(item, &schema::ALLOW_HTTP, problems)?;
    let grant = fields
        .get("url")
        .and_then(|field| url(field.text(problems)?, field.span(), problems));
    let private = match fields.get("private") {
        Some(field) => field.flag(problems)?,
        None => false,
    };
    let ca = match fields.get("ca") {
        Some(field) => Some(paths::certificates(field, root, problems)?),
        None => None,
    };
    let mut grant = grant?;
    (grant.private, grant.ca) = (private, ca);
    Some(grant)
}

fn url(text: &str, span: Range<usize>, problems: &mut Problems) -> Option<HttpGrant> {
    let error = match HttpGrant::parse(text) {
        Ok(grant) => return Some(grant),
        Err(error) => error,
    };
    let code = match error.wildcard {
        true => &codes::HTTP_WILDCARD,
        false => &codes::HTTP_URL,
    };
    let message = format!("{} {}", quote(text), error.why);
    problems.push(Problem::new(code, span, message).help(error.help));
    None
}
