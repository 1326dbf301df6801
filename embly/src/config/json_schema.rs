//! The project file as a JSON Schema, for editors: made of the keys that the parser knows. It says
//! what has which form; what belongs together, and what is there, only the parser sees.

mod shapes;
mod table;

use serde_json::{Map, Value, json};

use super::schema::{self, Section};
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
    let mut definitions: Map<String, Value> = definitions.collect();
    add_parts(&mut definitions);
    json!({
        "$schema": DIALECT,
        "title": super::FILE_NAME,
        "description": "A project of Embly: functions, and the gateways that start them",
        "$ref": "#/$defs/project",
        "$defs": definitions,
    })
}

/// Things with names, of which an environment may say a part.
static NAMED: [&Section; 6] = [
    &schema::FUNCTION,
    &schema::GATEWAY,
    &schema::CRON,
    &schema::STORE,
    &schema::LOG_FILE,
    &schema::LOG_SYSLOG,
];

/// Adds what an environment may say: parts of definitions, in which nothing but a name is needed and a
/// key without a value is taken away.
fn add_parts(definitions: &mut Map<String, Value>) {
    let mut wanted: Vec<String> = NAMED
        .iter()
        .filter_map(|section| definition(section).map(part_name))
        .collect();
    if let Some(environment) = definitions.get_mut("environment") {
        properties(environment, &mut wanted);
    }
    while let Some(name) = wanted.pop() {
        let whole = name.strip_suffix(PART).and_then(|of| definitions.get(of));
        let Some(mut part) = whole.filter(|_| !definitions.contains_key(&name)).cloned() else {
            continue;
        };
        if let Some(schema) = part.as_object_mut() {
            schema.remove("required");
            let is_named =
                |section: &&Section| definition(section).map(part_name) == Some(name.clone());
            if NAMED.iter().any(is_named) {
                schema.insert("required".to_owned(), json!(["name"]));
            }
        }
        properties(&mut part, &mut wanted);
        definitions.insert(name, part);
    }
}

/// The end of the names of parts.
const PART: &str = "-part";

fn part_name(of: &str) -> String {
    format!("{of}{PART}")
}

/// Makes the properties of a map those of a part.
fn properties(schema: &mut Value, wanted: &mut Vec<String>) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else {
        return;
    };
    for property in properties.values_mut() {
        in_parts(property, wanted);
        let about = property.as_object_mut();
        let about = about.and_then(|property| property.remove("description"));
        let about = about.unwrap_or_default();
        let either = [property.take(), json!({"type": "null"})];
        *property = json!({"description": about, "anyOf": either});
    }
}

/// Maps are put together with those that are there; lists are taken whole.
fn in_parts(schema: &mut Value, wanted: &mut Vec<String>) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::String(reference)) = schema.get_mut("$ref")
        && !reference.ends_with(PART)
    {
        reference.push_str(PART);
        wanted.extend(reference.rsplit('/').next().map(str::to_owned));
    }
    if let Some(Value::Array(any)) = schema.get_mut("anyOf") {
        any.iter_mut().for_each(|one| in_parts(one, wanted));
    }
    // Variables, and what else has names of its own.
    if let Some(values) = schema.get_mut("additionalProperties")
        && values.is_object()
    {
        *values = json!({"anyOf": [values.take(), {"type": "null"}]});
    }
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
    use super::schema::{ALL, DEFAULTS, ENVIRONMENT};
    let mut gaps = Vec::new();
    let sections = ALL.iter().map(|(section, _)| *section);
    for section in sections.chain([&DEFAULTS, &ENVIRONMENT]) {
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
