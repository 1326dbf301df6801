//! A part of JSONPath (RFC 9535): `$`, `.name`, `['name']`, `[0]`, `[-1]`, `[*]` and `.*`.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(i64),
    All,
}

impl JsonPath {
    /// Reads a path.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(mut rest) = text.trim().strip_prefix('$') else {
            return Err(format!("`{text}` is no JSONPath: it begins with `$`"));
        };
        let other = |rest: &str| {
            format!(
                "`{rest}` of a JSONPath is not supported: only `.name`, `['name']`, `[0]`, `[*]`"
            )
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or_else(|| other(rest))?;
            steps.push(step);
            rest = after;
        }
        Ok(Self(steps))
    }

    /// What it finds: a list where the path may find several, else one value or none.
    pub fn find(&self, json: &Value) -> Option<Value> {
        let mut found = vec![json];
        for step in &self.0 {
            found = found
                .into_iter()
                .flat_map(|value| next(value, step))
                .collect();
        }
        match self.0.contains(&Step::All) {
            true => Some(found.into_iter().cloned().collect()),
            false => found.first().map(|value| (*value).clone()),
        }
    }
}

fn step(rest: &str) -> Option<(Step, &str)> {
    if let Some(rest) = rest.strip_prefix('.') {
        if let Some(rest) = rest.strip_prefix('*') {
            return Some((Step::All, rest));
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let usual = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let good = !name.is_empty() && name.chars().all(usual);
        return good.then(|| (Step::Name(name.to_owned()), rest));
    }
    let rest = rest.strip_prefix('[')?.trim_start();
    for quote in ['\'', '"'] {
        if let Some(rest) = rest.strip_prefix(quote) {
            let (name, rest) = rest.split_once(quote)?;
            let rest = rest.trim_start().strip_prefix(']')?;
            let plain = !name.contains('\\');
            return plain.then(|| (Step::Name(name.to_owned()), rest));
        }
    }
    let (inside, rest) = rest.split_once(']')?;
    match inside.trim() {
        "*" => Some((Step::All, rest)),
        number => Some((Step::Index(number.parse().ok()?), rest)),
    }
}

fn next<'j>(value: &'j Value, step: &Step) -> Vec<&'j Value> {
    match (value, step) {
        (Value::Object(map), Step::Name(name)) => map.get(name).into_iter().collect(),
        (Value::Array(items), Step::Index(index)) => nth(items, *index).into_iter().collect(),
        (Value::Array(items), Step::All) => items.iter().collect(),
        (Value::Object(map), Step::All) => map.values().collect(),
        _ => Vec::new(),
    }
}

/// An item of a list, from its end where the number is negative.
pub(super) fn nth<T>(items: &[T], index: i64) -> Option<&T> {
    let place = usize::try_from(index.unsigned_abs()).ok()?;
    match index < 0 {
        true => items.get(items.len().checked_sub(place)?),
        false => items.get(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_finds_one_value_or_a_list() {
        let json = json!({"a": [{"b": 1}, {"b": 2}], "c d": null, "e": {}});
        for (path, found) in [
            ("$", Some(json.clone())),
            ("$.a[0].b", Some(json!(1))),
            ("$.a[-1].b", Some(json!(2))),
            ("$['a'][1]['b']", Some(json!(2))),
            ("$.a[*].b", Some(json!([1, 2]))),
            ("$.e.*", Some(json!([]))),
            ("$[\"c d\"]", Some(json!(null))),
            ("$.a[2]", None),
            ("$.x.y", None),
            ("$.a[-3]", None),
        ] {
            assert_eq!(JsonPath::parse(path).unwrap().find(&json), found, "{path}");
        }
        for path in [
            "a",
            "$..a",
            "$.a[?(@.b)]",
            "$.a[0:1]",
            "$.",
            "$['a",
            "$[x]",
            "$a",
        ] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }
}
