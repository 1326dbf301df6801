//! A YAML file as a tree in which every key and value knows its bytes.

use std::ops::Range;

/// A piece of the file: a value and its bytes.
#[derive(Debug)]
pub(super) struct Node {
    pub span: Range<usize>,
    pub value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something that was refused and reported already.
    Broken,
}

#[derive(Debug)]
pub(super) struct Scalar {
    pub text: String,
    /// Without quotes, so that it may mean a number, `true` or nothing.
    pub plain: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub value: Node,
}

impl Node {
    pub fn broken(span: Range<usize>) -> Self {
        Node {
            span,
            value: Value::Broken,
        }
    }

    /// Nothing, as YAML writes it: `key:`, `~` or `null`.
    pub fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => {
                scalar.plain && matches!(scalar.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// What it is, in the words of a message.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar(scalar) if !scalar.plain => "text",
            Value::Scalar(scalar) if is_bool(&scalar.text) => "true or false",
            Value::Scalar(scalar) if is_number(&scalar.text) => "a number",
            Value::Scalar(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Broken => "something else",
        }
    }
}

fn is_bool(text: &str) -> bool {
    matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

/// Numbers of YAML's core schema; what is only nearly one is text.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix: &str, radix| {
        let rest = text.strip_prefix(prefix);
        rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    let decimal = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    radix("0x", 16) || radix("0o", 8) || (decimal && digits.parse::<f64>().is_ok())
}
