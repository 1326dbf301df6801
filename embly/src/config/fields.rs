//! From the tree to the keys of a section and plain values; what does not fit is reported.

use std::collections::BTreeMap;
use std::ops::Range;

use super::codes;
use super::problem::{Problem, Problems, quote};
use super::schema::{self, Key, Section};
use super::suggest;
use super::tree::{Entry, Node, Value};

/// A map of the file whose keys are checked against its section.
pub(super) struct Fields<'t> {
    section: &'static Section,
    found: BTreeMap<&'static str, Field<'t>>,
    /// Keys that were meant by others that do not exist.
    meant: Vec<&'static str>,
}

/// A known key with its value.
#[derive(Clone, Copy)]
pub(super) struct Field<'t> {
    pub key: &'static Key,
    pub entry: &'t Entry,
}

impl<'t> Fields<'t> {
    /// Reports unknown and missing keys; `None` if `node` is no map.
    pub fn read(
        node: &'t Node,
        section: &'static Section,
        problems: &mut Problems,
    ) -> Option<Fields<'t>> {
        let Value::Map(entries) = &node.value else {
            let what = format!("{} must be a map of keys", section.what);
            let help = section
                .keys
                .first()
                .map(|key| format!("write its keys, such as `{}`", key.example));
            wrong_type(node.span.clone(), node, &what, help, problems);
            return None;
        };
        let title = title(section, entries);
        let mut fields = Fields {
            section,
            found: BTreeMap::new(),
            meant: Vec::new(),
        };
        for entry in entries {
            match section.key(&entry.key) {
                Some(key) => {
                    fields.found.insert(key.name, Field { key, entry });
                }
                None => {
                    let meant = unknown(entry, entries, section, &title, problems);
                    fields.meant.extend(meant);
                }
            }
        }
        for key in section.keys.iter().filter(|key| key.required) {
            fields.need(key.name, node, problems);
        }
        Some(fields)
    }

    /// Reports a key that is not there.
    pub fn need(&self, name: &str, node: &Node, problems: &mut Problems) {
        // A key that was nearly right is not reported a second time as missing.
        if self.found.contains_key(name) || self.meant.contains(&name) {
            return;
        }
        if let (Some(key), Value::Map(entries)) = (self.section.key(name), &node.value) {
            let message = format!("{} has no `{name}`", title(self.section, entries));
            let problem = Problem::new(&codes::MISSING_KEY, node.span.clone(), message);
            problems.push(problem.help(format!("write `{}`", key.example)));
        }
    }

    /// The value of a key of this section, if it is there.
    pub fn get(&self, name: &str) -> Option<Field<'t>> {
        debug_assert!(self.section.key(name).is_some(), "{name} is in the table");
        self.found.get(name).copied()
    }

    /// The keys that are there, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = Field<'t>> {
        self.found.values().copied()
    }
}

/// "function `hello`" where it has a name, else "a function".
fn title(section: &Section, entries: &[Entry]) -> String {
    let name = entries.iter().find_map(|entry| match &entry.value.value {
        Value::Scalar(scalar) if entry.key == "name" && !scalar.text.is_empty() => {
            Some(&scalar.text)
        }
        _ => None,
    });
    match (name, section.what.strip_prefix("a ")) {
        (Some(name), Some(what)) => format!("{what} {}", quote(name)),
        _ => section.what.to_owned(),
    }
}

/// Reports a key that does not exist and returns the one that was meant.
fn unknown(
    entry: &Entry,
    entries: &[Entry],
    section: &'static Section,
    title: &str,
    problems: &mut Problems,
) -> Option<&'static str> {
    let meant = section.meant(&entry.key);
    let taken = |key: &Key| entries.iter().any(|entry| entry.key == key.name);
    let help = match (meant, schema::home(&entry.key)) {
        (_, Some(home)) => format!("{} is a key of {home}", quote(&entry.key)),
        (Some(key), None) if taken(key) => format!("remove it; `{}` is there already", key.name),
        (Some(key), None) => format!("did you mean `{}`?", key.name),
        (None, None) => {
            let names = section.keys.iter().map(|key| key.name);
            format!("the keys of {} are {}", section.what, suggest::list(names))
        }
    };
    let message = format!("unknown key {} in {title}", quote(&entry.key));
    let problem = Problem::new(&codes::UNKNOWN_KEY, entry.key_span.clone(), message);
    problems.push(problem.help(help));
    meant.map(|key| key.name)
}

impl<'t> Field<'t> {
    /// Where to point for its value; at the key when there is no value.
    pub fn span(&self) -> Range<usize> {
        match self.entry.value.is_null() {
            true => self.entry.key_span.clone(),
            false => self.entry.value.span.clone(),
        }
    }

    fn wrong(&self, expected: &str, help: Option<String>, problems: &mut Problems) {
        let what = format!("`{}` must be {expected}", self.key.name);
        let help = help.unwrap_or_else(|| format!("write `{}`", self.key.example));
        wrong_type(self.span(), &self.entry.value, &what, Some(help), problems);
    }

    /// Text, or else reported. A number is not taken as text.
    pub fn text(&self, problems: &mut Problems) -> Option<&'t str> {
        let node = &self.entry.value;
        match (&node.value, node.kind()) {
            (Value::Scalar(scalar), "text") if !scalar.text.is_empty() => Some(&scalar.text),
            (Value::Scalar(scalar), "a number" | "true or false") => {
                let help = format!("put it in quotes: `{}: \"{}\"`", self.key.name, scalar.text);
                self.wrong("text", Some(help), problems);
                None
            }
            (Value::Scalar(scalar), "text") if !scalar.plain => {
                let message = format!("`{}` is empty", self.key.name);
                let problem = Problem::new(&codes::WRONG_TYPE, self.span(), message);
                problems.push(problem.help(format!("write `{}`", self.key.example)));
                None
            }
            _ => {
                self.wrong("text", None, problems);
                None
            }
        }
    }

    /// What is written there, a number too, or else reported.
    pub fn scalar(&self, expected: &str, problems: &mut Problems) -> Option<&'t str> {
        match &self.entry.value.value {
            Value::Scalar(scalar) if !self.entry.value.is_null() => Some(&scalar.text),
            _ => {
                self.wrong(expected, None, problems);
                None
            }
        }
    }

    /// `true` or `false`, or else reported.
    pub fn flag(&self, problems: &mut Problems) -> Option<bool> {
        let node = &self.entry.value;
        match (&node.value, node.kind()) {
            (Value::Scalar(scalar), "true or false") => {
                Some(scalar.text.eq_ignore_ascii_case("true"))
            }
            _ => {
                self.wrong("true or false", None, problems);
                None
            }
        }
    }

    /// A whole number, or else reported. Numbers beyond 64 bits come out as the largest.
    pub fn whole(&self, problems: &mut Problems) -> Option<i64> {
        let node = &self.entry.value;
        let text = match &node.value {
            Value::Scalar(scalar) => scalar.text.as_str(),
            _ => "",
        };
        let sign = text.strip_prefix('-');
        let digits = sign.unwrap_or(text);
        let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if node.kind() == "a number" && !whole {
            let message = format!(
                "`{}` must be a whole number, not {}",
                self.key.name,
                quote(text)
            );
            let problem = Problem::new(&codes::WRONG_TYPE, self.span(), message);
            problems.push(problem.help(format!("write `{}`", self.key.example)));
            return None;
        }
        if whole && node.kind() == "a number" {
            let size = digits.parse().unwrap_or(i64::MAX);
            return Some(if sign.is_some() { -size } else { size });
        }
        let help = whole.then(|| format!("write `{}: {text}`, without quotes", self.key.name));
        self.wrong("a whole number", help, problems);
        None
    }

    /// The items of a list, or else reported; a key without a value has none.
    pub fn list(&self, problems: &mut Problems) -> &'t [Node] {
        match &self.entry.value.value {
            Value::List(items) => items,
            _ if self.entry.value.is_null() => &[],
            Value::Map(_) => {
                let help = "begin each item with `- `".to_owned();
                self.wrong("a list", Some(help), problems);
                &[]
            }
            Value::Scalar(scalar) if self.takes_names() && is_name(&scalar.text) => {
                let help = format!("write `{}: [{}]`", self.key.name, scalar.text);
                self.wrong("a list", Some(help), problems);
                &[]
            }
            _ => {
                self.wrong("a list", None, problems);
                &[]
            }
        }
    }

    /// Whether the items of its list are names, of which any word may be one.
    fn takes_names(&self) -> bool {
        let item = self.key.example.split(['[', ',', ']']).nth(1);
        item.is_some_and(is_name)
    }

    /// The entries of a map, or else reported; a key without a value has none.
    pub fn map(&self, problems: &mut Problems) -> &'t [Entry] {
        match &self.entry.value.value {
            Value::Map(entries) => entries,
            _ if self.entry.value.is_null() => &[],
            _ => {
                self.wrong("a map", None, problems);
                &[]
            }
        }
    }
}

/// Whether it may be the name of something, which needs no quotes.
fn is_name(word: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    word.starts_with(|first: char| first.is_ascii_alphabetic()) && word.chars().all(fits)
}

pub(super) fn wrong_type(
    span: Range<usize>,
    node: &Node,
    what: &str,
    help: Option<String>,
    problems: &mut Problems,
) {
    if matches!(node.value, Value::Broken) {
        return;
    }
    let message = match node.kind() {
        "nothing" => format!("{what}, but there is nothing"),
        kind => format!("{what}, not {kind}"),
    };
    let mut problem = Problem::new(&codes::WRONG_TYPE, span, message);
    problem.help = help;
    problems.push(problem);
}
