//! Text with variables in it: `{{name}}`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Wrong;

/// Variables by their names.
pub(super) type Variables = BTreeMap<String, Value>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Template(pub Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    /// A name, and where it stands.
    Variable(usize, String),
}

impl Template {
    /// Adds a character of text.
    pub fn push(&mut self, letter: char) {
        match self.0.last_mut() {
            Some(Part::Text(text)) => text.push(letter),
            _ => self.0.push(Part::Text(letter.to_string())),
        }
    }

    /// The text, with the values of variables.
    pub fn fill(&self, variables: &Variables) -> Result<String, Wrong> {
        self.fill_with(variables, |_, value| plain(value))
    }

    /// The same for JSON: inside of quotes a value is written so that it stays inside.
    pub fn fill_json(&self, variables: &Variables) -> Result<String, Wrong> {
        self.fill_with(variables, |before, value| {
            let value = plain(value);
            match inside_quotes(before) {
                true => {
                    let quoted = Value::from(value).to_string();
                    quoted[1..quoted.len() - 1].to_owned()
                }
                false => value,
            }
        })
    }

    fn fill_with(
        &self,
        variables: &Variables,
        show: impl Fn(&str, &Value) -> String,
    ) -> Result<String, Wrong> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(more) => text.push_str(more),
                Part::Variable(at, name) => {
                    let value = variable(variables, *at, name)?;
                    let value = show(&text, value);
                    text.push_str(&value);
                }
            }
        }
        Ok(text)
    }

    /// The text of a template without variables.
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// The value of a variable.
pub(super) fn variable<'v>(
    variables: &'v Variables,
    at: usize,
    name: &str,
) -> Result<&'v Value, Wrong> {
    variables.get(name).ok_or_else(|| {
        let known: Vec<&str> = variables.keys().map(String::as_str).collect();
        let known = match known.as_slice() {
            [] => "there are none".to_owned(),
            known => format!("there are {}", known.join(", ")),
        };
        Wrong::new(at, format!("there is no variable `{name}`: {known}"))
    })
}

/// A value as text.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Whether a piece of JSON ends in the middle of a text.
fn inside_quotes(json: &str) -> bool {
    let (mut inside, mut escaped) = (false, false);
    for letter in json.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            _ => {}
        }
    }
    inside
}
