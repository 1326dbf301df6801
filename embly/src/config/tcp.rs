//! `allow: {tcp: …}` of a function: whom it may connect to.

use std::ops::Range;
use std::path::Path;

use super::fields::{Field, Fields};
use super::problem::{Problem, Problems, quote};
use super::tree::{Node, Value};
use super::{codes, paths, schema};
use crate::allow::TcpGrant;

/// Reads the list: `HOST:PORT`, or maps with more keys.
pub(super) fn grants(field: Field<'_>, root: &Path, problems: &mut Problems) -> Vec<TcpGrant> {
    let mut read: Vec<(TcpGrant, Range<usize>)> = Vec::new();
    for item in field.list(problems) {
        let Some((grant, span)) = grant(item, root, problems) else {
            continue;
        };
        let same = read.iter().find(|(other, _)| other.is_for_the_same(&grant));
        if let Some((_, first)) = same {
            let message = format!("`{grant}` is listed twice");
            let problem = Problem::new(&codes::TCP_ADDRESS, span, message);
            let problem = problem.related(first.clone(), "the first one");
            problems.push(problem.help("keep one of them"));
            continue;
        }
        read.push((grant, span));
    }
    read.into_iter().map(|(grant, _)| grant).collect()
}

fn grant(item: &Node, root: &Path, problems: &mut Problems) -> Option<(TcpGrant, Range<usize>)> {
    if let Value::Scalar(scalar) = &item.value
        && !item.is_null()
    {
        let span = item.span.clone();
        return Some((address(&scalar.text, span.clone(), problems)?, span));
    }
    let fields = Fields::read(item, &schema::ALLOW_TCP, problems)?;
    let named = fields.get("address");
    let named = named.and_then(|field| {
        let text = field.text(problems)?;
        Some((address(text, field.span(), problems)?, field.span()))
    });
    let flag = |name, problems: &mut Problems| match fields.get(name) {
        Some(field) => field.flag(problems),
        None => Some(false),
    };
    let private = flag("private", problems);
    let tls = flag("tls", problems);
    let ca = match fields.get("ca") {
        Some(field) => Some(paths::certificates(field, root, problems)?),
        None => None,
    };
    let (grant, span) = named?;
    let grant = TcpGrant {
        private: private?,
        tls: tls?,
        ca,
        ..grant
    };
    Some((grant, span))
}

fn address(text: &str, span: Range<usize>, problems: &mut Problems) -> Option<TcpGrant> {
    match text.parse() {
        Ok(grant) => Some(grant),
        Err(error) => {
            let error: crate::allow::HostError = error;
            let message = format!("{} is not an address to connect to", quote(text));
            let problem = Problem::new(&codes::TCP_ADDRESS, span, message);
            problems.push(problem.help(error.why()));
            None
        }
    }
}
