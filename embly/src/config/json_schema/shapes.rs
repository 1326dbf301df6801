//! The forms of values, as schemas.

use serde_json::{Map, Value, json};

use super::super::schema::Section;
use super::definition;

/// What a value looks like.
#[derive(Debug)]
pub(super) enum Shape {
    /// Text that is not empty.
    Text,
    /// Text of this form.
    Form(&'static str),
    /// `true` or `false`.
    Flag,
    /// A whole number in this range.
    Whole(i64, i64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// One of these numbers.
    Numbers(&'static [i64]),
    /// Bytes, or `none`.
    Size,
    /// Bytes, never without limit.
    Held,
    /// A time, or `none`.
    Time,
    /// A count from 1, or `none`.
    Count,
    /// So many in a second, or `none`.
    Rate,
    /// Text, a number, `true` or `false`: taken as it is written.
    Scalar,
    /// A map of these keys.
    In(&'static Section),
    /// A map with any keys.
    Map(&'static Shape),
    /// A list.
    List(&'static Shape),
    /// A list of one at least.
    Some(&'static Shape),
    /// A key without a value.
    Nothing,
    /// A list in which those of one `type` have keys of their own.
    Typed(&'static str, &'static Section, &'static Section),
    /// A list of things with names, of which all else may be missing, or taken away.
    Parts(&'static [&'static Section]),
    /// One of these.
    Any(&'static [Shape]),
}

/// Names of functions, gateways, stores.
pub(super) const NAME: Shape = Shape::Form("^[a-z][a-z0-9-]{0,62}$");

const SIZE: &str = "^(none|[0-9]+(TiB|GiB|MiB|KiB|TB|GB|MB|KB|B)?)$";

const HELD: &str = "^[0-9]+(TiB|GiB|MiB|KiB|TB|GB|MB|KB|B)?$";

const TIME: &str = "^(none|(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$";

const COUNT: &str = "^(none|[0-9]+)$";

const RATE: &str = "^(none|[0-9]+/s)$";

impl Shape {
    /// As a schema, without a description.
    pub(super) fn schema(&self) -> Map<String, Value> {
        let schema = match self {
            Self::Text => json!({"type": "string", "minLength": 1}),
            Self::Form(pattern) => json!({"type": "string", "pattern": pattern}),
            Self::Scalar => json!({"type": ["string", "number", "boolean"]}),
            Self::Flag => json!({"type": "boolean"}),
            Self::Whole(least, most) => {
                json!({"type": "integer", "minimum": least, "maximum": most})
            }
            Self::Words(words) => json!({"enum": words}),
            Self::Numbers(numbers) => json!({"enum": numbers}),
            // A pattern is for text, the rest for numbers.
            Self::Size => json!({"type": ["string", "integer"], "pattern": SIZE, "minimum": 1}),
            Self::Held => json!({"type": ["string", "integer"], "pattern": HELD, "minimum": 1}),
            Self::Count => json!({"type": ["string", "integer"], "pattern": COUNT, "minimum": 1}),
            Self::Time => json!({"type": "string", "pattern": TIME}),
            Self::Rate => json!({"type": "string", "pattern": RATE}),
            Self::In(section) => reference(section),
            Self::Map(values) => {
                json!({"type": ["object", "null"], "additionalProperties": values.schema()})
            }
            Self::List(items) => json!({"type": ["array", "null"], "items": items.schema()}),
            Self::Some(items) => json!({"type": "array", "items": items.schema(), "minItems": 1}),
            Self::Typed(kind, own, other) => {
                let is_own = json!({"properties": {"type": {"const": kind}}, "required": ["type"]});
                let items = json!({"if": is_own, "then": reference(own), "else": reference(other)});
                json!({"type": ["array", "null"], "items": items})
            }
            Self::Any(shapes) => {
                let shapes = shapes.iter().map(|shape| Value::Object(shape.schema()));
                json!({"anyOf": shapes.collect::<Vec<_>>()})
            }
            Self::Parts(sections) => {
                let parts = sections.iter().map(|section| {
                    let name = definition(section).unwrap_or_default();
                    json!({"$ref": format!("#/$defs/{name}-part")})
                });
                let items = json!({"anyOf": parts.collect::<Vec<_>>()});
                json!({"type": ["array", "null"], "items": items})
            }
            Self::Nothing => json!({"type": "null"}),
        };
        match schema {
            Value::Object(schema) => schema,
            _ => Map::new(),
        }
    }
}

fn reference(section: &Section) -> Value {
    let name = definition(section).unwrap_or_default();
    json!({"$ref": format!("#/$defs/{name}")})
}
