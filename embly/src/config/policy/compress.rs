//! `compress`: answers that are sent in fewer bytes.

use super::super::fields::{Field, Fields};
use super::super::problem::{Problem, Problems, quote};
use super::super::route::scalar;
use super::super::tree::Value;
use super::super::{codes, schema, units};

/// Answers that are compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compress {
    /// Of these types, in lower case, without parameters: `text/html`, `text/*`.
    pub types: Vec<String>,
    /// From so many bytes up.
    pub least: u64,
}

/// Text, whatever it is called.
const TYPES: [&str; 11] = [
    "text/*",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/xhtml+xml",
    "application/ld+json",
    "application/manifest+json",
    "application/problem+json",
    "application/wasm",
    "application/x-ndjson",
    "image/svg+xml",
];

/// What is smaller fits into the packet that its head is in.
const LEAST: u64 = 1024;

/// `None` for `false` as well.
pub(super) fn read(field: Field<'_>, problems: &mut Problems) -> Option<Compress> {
    let mut compress = Compress {
        types: TYPES.map(str::to_owned).to_vec(),
        least: LEAST,
    };
    if let Value::Scalar(_) = field.entry.value.value {
        return field.flag(problems)?.then_some(compress);
    }
    let fields = Fields::read(&field.entry.value, &schema::COMPRESS_RULES, problems)?;
    if let Some(field) = fields.get("types") {
        let items = field.list(problems).iter();
        let texts = items.filter_map(|item| scalar(item, field, problems));
        compress.types = texts.map(str::to_ascii_lowercase).collect();
        for text in &compress.types {
            let halves = text.split_once('/');
            if !halves.is_some_and(|(kind, of)| is_token(kind) && (of == "*" || is_token(of))) {
                wrong(field, text, "is not a type", problems);
            }
        }
    }
    if let Some(field) = fields.get("least") {
        let text = field.scalar("a size", problems)?;
        match units::size(text) {
            Ok(Some(least)) => compress.least = least,
            _ => wrong(field, text, "is not a size", problems),
        }
    }
    Some(compress)
}

fn is_token(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
    !text.is_empty() && text.bytes().all(token)
}

fn wrong(field: Field<'_>, text: &str, why: &str, problems: &mut Problems) {
    let message = format!("{} {why}", quote(text));
    let problem = Problem::new(&codes::COMPRESS, field.span(), message);
    problems.push(problem.help(format!("write, for example, `{}`", field.key.example)));
}
