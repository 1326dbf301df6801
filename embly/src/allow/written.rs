//! The lists of a function as the project file writes them: for advice that has all that is there.

use std::collections::BTreeMap;
use std::fmt;

/// The longest line that is written out, in bytes; beyond it only what is to be added.
const LONGEST: usize = 1024;

/// The lists, by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written(BTreeMap<&'static str, Vec<Item>>);

/// An item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A text.
    One(Text),
    /// Keys and values, in their order.
    Map(Vec<(String, Text)>),
}

/// A scalar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What it says.
    pub text: String,
    /// Without quotes: it may mean a number, `true` or nothing.
    pub plain: bool,
}

impl Item {
    /// A text.
    pub fn one(text: impl Into<String>) -> Self {
        Self::One(Text::quoted(text))
    }

    /// Keys with their texts.
    pub fn map(pairs: &[(&str, &str)]) -> Self {
        let pairs = pairs.iter();
        Self::Map(
            pairs
                .map(|(key, text)| ((*key).to_owned(), Text::quoted(*text)))
                .collect(),
        )
    }

    /// With this key as well; `main` is the key that a text alone stands for.
    #[must_use]
    pub fn with(self, main: &str, key: &str, text: Text) -> Self {
        let mut pairs = match self {
            Self::One(_) if key == main => return Self::One(text),
            Self::One(text) => vec![(main.to_owned(), text)],
            Self::Map(pairs) => pairs,
        };
        match pairs.iter_mut().find(|(has, _)| has == key) {
            Some((_, has)) => *has = text,
            None => pairs.push((key.to_owned(), text)),
        }
        Self::Map(pairs)
    }

    /// Without this key.
    #[must_use]
    pub fn without(self, key: &str) -> Self {
        match self {
            Self::Map(mut pairs) => {
                pairs.retain(|(has, _)| has != key);
                Self::Map(pairs)
            }
            Self::One(_) => self,
        }
    }
}

impl Text {
    /// A text, whatever it looks like.
    pub fn quoted(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, plain: false }
    }

    /// `true`
    pub fn yes() -> Self {
        let text = "true".to_owned();
        Self { text, plain: true }
    }
}

impl Written {
    /// Takes down a list.
    pub fn set(&mut self, key: &'static str, items: Vec<Item>) {
        self.0.insert(key, items);
    }

    /// Whether there is a list of this key, be it an empty one.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// An item that is there.
    pub fn item(&self, key: &str, at: usize) -> Option<&Item> {
        self.0.get(key)?.get(at)
    }

    /// What to write so that the list has this item too.
    pub fn advice(&self, key: &str, item: Item, function: &str) -> String {
        self.instead(key, usize::MAX, item, function)
    }

    /// What to write so that the list has this item, in the place of that one.
    pub fn instead(&self, key: &str, at: usize, item: Item, function: &str) -> String {
        let mut items: Vec<&Item> = Vec::new();
        items.extend(self.0.get(key).into_iter().flatten());
        match items.get_mut(at) {
            Some(there) => *there = &item,
            None => items.push(&item),
        }
        line(key, self.has(key), &items, &&item, function)
    }
}

/// The whole line, and where it belongs. One that is there already has to be written anew: a key
/// that is there twice is an error.
pub fn line<T: fmt::Display>(
    key: &str,
    there: bool,
    items: &[T],
    new: &T,
    function: &str,
) -> String {
    let items: Vec<_> = items.iter().map(T::to_string).collect();
    let items = items.join(", ");
    if items.len() > LONGEST {
        return format!("add `{new}` to `{key}` under `allow` of function `{function}`");
    }
    let verb = if there { "write" } else { "add" };
    format!("{verb} `{key}: [{items}]` under `allow` of function `{function}`")
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(text) => text.fmt(f),
            Self::Map(pairs) => {
                f.write_str("{")?;
                for (n, (key, text)) in pairs.iter().enumerate() {
                    let comma = if n == 0 { "" } else { ", " };
                    write!(f, "{comma}{key}: {text}")?;
                }
                f.write_str("}")
            }
        }
    }
}

impl fmt::Display for Text {
    /// As YAML reads it in brackets; in quotes where it could be something else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        let word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
            && !["true", "false", "null"].contains(&text.to_ascii_lowercase().as_str());
        if word || self.plain && ["true", "false"].contains(&text.as_str()) {
            return f.write_str(text);
        }
        f.write_str("\"")?;
        // In a project file `${` is a variable.
        for c in text.replace("${", "$${").chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_all_that_is_there() {
        let mut written = Written::default();
        let item = Item::map(&[("store", "default"), ("prefix", "a 1")]);
        assert_eq!(
            written.advice("kv", item.clone(), "f"),
            "add `kv: [{store: default, prefix: \"a 1\"}]` under `allow` of function `f`"
        );
        written.set("kv", vec![Item::one("main"), item.clone()]);
        assert_eq!(
            written.advice("kv", Item::one("more"), "f"),
            "write `kv: [main, {store: default, prefix: \"a 1\"}, more]` under `allow` of \
             function `f`"
        );
        let instead = Item::one("main").with("store", "access", Text::quoted("read"));
        assert_eq!(
            written.instead("kv", 0, instead, "f"),
            "write `kv: [{store: main, access: read}, {store: default, prefix: \"a 1\"}]` under \
             `allow` of function `f`"
        );
        written.set("kv", Vec::new());
        assert_eq!(
            written.advice("kv", Item::one("main"), "f"),
            "write `kv: [main]` under `allow` of function `f`"
        );
        written.set("kv", vec![item; 1000]);
        assert_eq!(
            written.advice("kv", Item::one("main"), "f"),
            "add `main` to `kv` under `allow` of function `f`"
        );
    }

    #[test]
    fn a_text_means_itself() {
        for (text, shown) in [
            ("a-1", "a-1"),
            ("1", "\"1\""),
            ("true", "\"true\""),
            ("", "\"\""),
            ("*.a:1", "\"*.a:1\""),
            ("a\"\\\n", "\"a\\\"\\\\\\u000a\""),
            ("${A}", "\"$${A}\""),
        ] {
            assert_eq!(Text::quoted(text).to_string(), shown);
        }
        assert_eq!(Text::yes().to_string(), "true");
    }
}
