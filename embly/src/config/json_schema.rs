//! The project file as a JSON Schema, for editors: made of the keys that the parser knows. It says
//! what has which form; what belongs together, and what is there, only the parser sees.

mod shapes;
mod table;

use serde_json::{Map, Value, json};

use super::schema::Section;
use table::{Doc, TABLE};

/// The dialect that editors know.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a project file, draft 2020-12.
pub fn json_schema() -> Value {
    let definitions = TABLE.iter().map(|(name, section, docs)| {
        let mut schema = object(section, docs);
        schema.insert(
            "description".to_owned(),
            format!("The keys of {}", section.what).into(),
        );
        ((*name).to_owned(), Value::Object(schema))
    });
    let definitions: Map<String, Value> = definitions.collect();
    json!({
        "$schema": DIALECT,
        "title": super::FILE_NAME,
        "description": "A project of Embly: functions, and the gateways that start them",
        "$ref": "#/$defs/project",
        "$defs": definitions,
    })
}

/// A map with the keys of a section, and no others.
fn object(section: &Section, docs: &[Doc]) -> Map<String, Value> {
    let properties = section.keys.iter().map(|key| {
        // A key that is not in the table is any: a test says so.
        let mut schema = Map::new();
        if let Some(doc) = docs.iter().find(|doc| doc.key == key.name) {
            schema = doc.shape.schema();
            let text = match doc.default {
                "" => doc.what.to_owned(),
                default => format!("{} [default: {default}]", doc.what),
            };
            let text = format!("{text}\n\nExample: `{}`", key.example);
            schema.insert("description".to_owned(), text.into());
            if let Some(default) = default(doc.default) {
                schema.insert("default".to_owned(), default);
            }
        }
        (key.name.to_owned(), Value::Object(schema))
    });
    let properties: Map<String, Value> = properties.collect();
    let required = section.keys.iter().filter(|key| key.required);
    let required: Vec<&str> = required.map(|key| key.name).collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties.into());
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema.insert("additionalProperties".to_owned(), false.into());
    schema
}

/// A default, unless it is only described.
fn default(text: &str) -> Option<Value> {
    match text {
        "" => None,
        text if text.contains(' ') => None,
        text => Some(serde_json::from_str(text).unwrap_or_else(|_| text.into())),
    }
}

/// The name of a section among the definitions.
fn definition(section: &Section) -> Option<&'static str> {
    let mut table = TABLE.iter();
    table
        .find(|(_, other, _)| std::ptr::eq(*other, section))
        .map(|(name, _, _)| *name)
}

/// What is wrong with the table: keys that it does not have, or has and nobody reads.
#[cfg(test)]
fn gaps() -> Vec<String> {
    use super::schema::{ALL, DEFAULTS};
    let mut gaps = Vec::new();
    let sections = ALL.iter().map(|(section, _)| *section);
    for section in sections.chain([&DEFAULTS]) {
        let entry = TABLE
            .iter()
            .find(|(_, other, _)| std::ptr::eq(*other, section));
        let Some((name, _, docs)) = entry else {
            gaps.push(format!("{} is missing", section.what));
            continue;
        };
        let (keys, docs) = (section.keys.iter(), docs.iter());
        let (keys, docs): (Vec<_>, Vec<_>) = (
            keys.map(|key| key.name).collect(),
            docs.map(|doc| doc.key).collect(),
        );
        if keys != docs {
            gaps.push(format!("{name}: {keys:?}, described {docs:?}"));
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_parser_is_described_in_its_order() {
        assert_eq!(gaps(), Vec::<String>::new());
        for (name, section, docs) in TABLE {
            assert_eq!(definition(section), Some(*name));
            for doc in *docs {
                let (what, key) = (doc.what, doc.key);
                assert!(!what.is_empty() && !what.ends_with('.'), "{name} {key}");
            }
        }
    }
}
