//! A project file as it is written, once an environment has taken its place in it.

use serde_json::{Map, Number, Value as Json};

use super::tree::{Entry, Node, Scalar, Value};

/// The keys and values of a project file, as they are written: `${NAME}` is not replaced.
#[derive(Debug)]
pub struct Written(pub(super) Node);

impl Written {
    /// As YAML, in blocks.
    pub fn yaml(&self) -> String {
        let mut text = String::new();
        block(&self.0, 0, &mut text);
        text
    }

    /// As JSON.
    pub fn json(&self) -> Json {
        json(&self.0)
    }
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::Map(entries) => {
            let entries = entries.iter();
            let entries = entries.map(|entry| (entry.key.clone(), json(&entry.value)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Scalar(_) if node.is_null() => Json::Null,
        Value::Scalar(scalar) => {
            let text = &scalar.text;
            let number = || text.parse::<Number>().ok().map(Json::Number);
            match node.kind() {
                "true or false" => Json::Bool(text.eq_ignore_ascii_case("true")),
                "a number" => number().unwrap_or_else(|| text.clone().into()),
                _ => text.clone().into(),
            }
        }
        Value::Broken => Json::Null,
    }
}

/// The lines of a map or a list, or what stands behind a key.
fn block(node: &Node, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            for entry in entries {
                text.push_str(&pad);
                pair(entry, indent, text);
            }
        }
        Value::List(items) if !items.is_empty() => {
            for item in items {
                text.push_str(&pad);
                text.push_str("- ");
                match &item.value {
                    // Its first key stands behind the dash.
                    Value::Map(entries) if !entries.is_empty() => {
                        for (n, entry) in entries.iter().enumerate() {
                            if n > 0 {
                                text.push_str(&pad);
                                text.push_str("  ");
                            }
                            pair(entry, indent + 2, text);
                        }
                    }
                    Value::List(items) if !items.is_empty() => {
                        text.push('\n');
                        block(item, indent + 2, text);
                    }
                    _ => line(item, text),
                }
            }
        }
        _ => line(node, text),
    }
}

fn pair(entry: &Entry, indent: usize, text: &mut String) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let key = &entry.key;
    let is_plain = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(plain);
    match is_plain {
        true => text.push_str(key),
        false => text.push_str(&quoted(key)),
    }
    text.push(':');
    let nested = match &entry.value.value {
        Value::Map(entries) => !entries.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Scalar(_) | Value::Broken => false,
    };
    if nested {
        text.push('\n');
        block(&entry.value, indent + 2, text);
    } else {
        text.push(' ');
        line(&entry.value, text);
    }
}

/// What fits in the rest of a line.
fn line(node: &Node, text: &mut String) {
    match &node.value {
        Value::Map(_) => text.push_str("{}"),
        Value::List(_) => text.push_str("[]"),
        Value::Broken => text.push('~'),
        Value::Scalar(_) if node.is_null() => text.push('~'),
        Value::Scalar(Scalar { text: value, plain }) => match *plain && !value.contains('\n') {
            true => text.push_str(value),
            false => text.push_str(&quoted(value)),
        },
    }
    text.push('\n');
}

/// Escapes of JSON are escapes of YAML.
fn quoted(text: &str) -> String {
    // Strings always have a JSON form.
    serde_json::to_string(text).unwrap_or_default()
}
