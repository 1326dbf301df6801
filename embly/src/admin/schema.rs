//! Objects of the admin API: a struct and its JSON schema from one text.

use serde_json::{Map, Value, json};

/// A type that has a JSON schema.
pub trait Schema {
    /// It.
    fn schema() -> Value;
}

macro_rules! plain {
    ($($type:ty: $schema:tt;)+) => {
        $(impl Schema for $type {
            fn schema() -> Value {
                json!($schema)
            }
        })+
    };
}

plain! {
    String: {"type": "string"};
    bool: {"type": "boolean"};
    u64: {"type": "integer", "minimum": 0};
    i32: {"type": "integer"};
    Value: {"type": "object"};
}

impl<T: Schema> Schema for Option<T> {
    fn schema() -> Value {
        json!({"anyOf": [T::schema(), {"type": "null"}]})
    }
}

impl<T: Schema> Schema for Vec<T> {
    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }
}

/// An object of these fields, all of which are always there.
pub fn object(about: &str, fields: Vec<(&str, &str, Value)>) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _, _)| *name).collect();
    let mut properties = Map::new();
    for (name, about, mut schema) in fields.iter().cloned() {
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), about.trim().into());
        }
        properties.insert(name.to_owned(), schema);
    }
    json!({
        "type": "object",
        "description": about.trim(),
        "properties": properties,
        "required": names,
    })
}

/// Structs that are read and written as JSON, with their schemas.
macro_rules! objects {
    ($(
        #[doc = $about:literal]
        pub struct $name:ident {
            $(#[doc = $field_about:literal] pub $field:ident: $type:ty,)+
        }
    )+) => {
        $(
            #[doc = $about]
            #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
            pub struct $name {
                $(#[doc = $field_about] pub $field: $type,)+
            }

            impl $crate::admin::schema::Schema for $name {
                fn schema() -> serde_json::Value {
                    $crate::admin::schema::object($about, vec![
                        $((
                            stringify!($field),
                            $field_about,
                            <$type as $crate::admin::schema::Schema>::schema(),
                        ),)+
                    ])
                }
            }
        )+
    };
}
pub(super) use objects;
