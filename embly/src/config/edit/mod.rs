//! A project file with one more item in a list, and otherwise byte for byte as it was: what
//! `embly add` writes.
//!
//! `place` finds where the item goes and how it is written there. What comes of it is read again: only a
//! tree that is the old one and the item is good.

mod place;

use std::io;
use std::ops::Range;
use std::path::Path;

use super::environment::Environment;
use super::machine::Machine;
use super::problem::{Problem, Problems, quote};
use super::tree::{Node, Value};
use super::{codes, names, project, read, yaml};

/// A list of the project file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// `functions`
    Functions,
    /// `gateways`
    Gateways,
}

impl List {
    fn key(self) -> &'static str {
        match self {
            List::Functions => "functions",
            List::Gateways => "gateways",
        }
    }

    /// One of them, in a message.
    fn one(self) -> &'static str {
        match self {
            List::Functions => "function",
            List::Gateways => "gateway",
        }
    }
}

/// A value of a new item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Text, also where it looks like something else.
    Text(String),
    /// A number.
    Number(u16),
}

/// A new item: its keys, in the order in which they are written.
pub type Item = [(&'static str, Given)];

/// Why there is no file with the item.
#[derive(Debug)]
pub enum EditError {
    /// The file, or what would come of it, is wrong.
    Wrong(Box<Problems>),
    /// It cannot be written without a change to the rest. What a person can write.
    ByHand(String),
}

/// A project file that can be read, but need not be right.
#[derive(Debug)]
pub struct Draft {
    text: Problems,
    tree: Node,
}

/// What a draft becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The whole text.
    pub text: String,
}

impl Draft {
    /// Reads a project file. One with nothing in it is fine.
    ///
    /// # Errors
    /// What is wrong with its form.
    pub fn open(file: &Path) -> Result<Self, Problems> {
        Self::of(read::text(file)?)
    }

    fn of(mut problems: Problems) -> Result<Self, Problems> {
        let tree = yaml::parse(&mut problems);
        let empty = tree.is_none() && problems.iter().all(|one| one.code.id == codes::EMPTY.id);
        if !empty && problems.count().0 > 0 {
            problems.sort();
            return Err(problems);
        }
        let tree = tree.unwrap_or(Node {
            span: 0..0,
            value: Value::Map(Vec::new()),
        });
        let text = Problems::new(problems.file, problems.text.into());
        Ok(Self { text, tree })
    }

    /// Names of the items of a list, as far as they have one.
    pub fn names(&self, list: List) -> Vec<&str> {
        let named = self.scalars(list, "name");
        named.map(|(name, _)| name).collect()
    }

    /// The values of a key of the items of a list.
    pub fn values(&self, list: List, key: &'static str) -> Vec<&str> {
        self.scalars(list, key).map(|(text, _)| text).collect()
    }

    fn scalars(
        &self,
        list: List,
        key: &'static str,
    ) -> impl Iterator<Item = (&str, Range<usize>)> + '_ {
        let items = self.list(list).unwrap_or_default().iter();
        items.filter_map(move |item| {
            let value = entry(item, key)?;
            match &value.value {
                Value::Scalar(scalar) => Some((scalar.text.as_str(), value.span.clone())),
                _ => None,
            }
        })
    }

    fn list(&self, list: List) -> Option<&[Node]> {
        match &entry(&self.tree, list.key())?.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// That a new item can have this name.
    ///
    /// # Errors
    /// It is none, or another one has it.
    pub fn free(&self, list: List, name: &str) -> Result<(), EditError> {
        let taken = self.scalars(list, "name").find(|(other, _)| *other == name);
        let Some((_, span)) = taken else {
            return Ok(());
        };
        let one = list.one();
        let message = format!("a {one} is called {} already", quote(name));
        let problem = Problem::new(&codes::DUPLICATE_NAME, span, message);
        let names = self.names(list);
        let mut others = (2..=names.len() + 2).map(|number| format!("{name}{number}"));
        let other = others.find(|other| names::usable(other) && !names.contains(&other.as_str()));
        let help = match other {
            Some(other) => {
                format!("change that one, or choose another name: `embly add {one} {other}`")
            }
            None => "change that one, or choose another name".to_owned(),
        };
        Err(self.wrong(problem.help(help)))
    }

    fn wrong(&self, problem: Problem) -> EditError {
        let mut problems = self.text.clone();
        problems.push(problem);
        EditError::Wrong(Box::new(problems))
    }

    /// The file with one more item at the end of a list.
    ///
    /// # Errors
    /// It cannot be written there.
    pub fn with(&self, list: List, item: &Item) -> Result<Edited, EditError> {
        let placed = place::edits(&self.text.text, &self.tree, list.key(), item);
        let placed = placed.map(|edits| apply(&self.text.text, edits));
        let good = placed.filter(|text| {
            let mut problems = Problems::new(self.text.file.clone(), text.clone());
            let tree = yaml::parse(&mut problems);
            problems.is_empty() && tree.is_some_and(|tree| grown(&self.tree, &tree, list, item))
        });
        match good {
            Some(text) => Ok(Edited { text }),
            None => Err(EditError::ByHand(place::by_hand(list.key(), item))),
        }
    }

    /// That nothing is wrong with the new text that was not wrong before.
    ///
    /// # Errors
    /// What is.
    pub fn check(&self, edited: &Edited) -> Result<(), EditError> {
        let environment = Environment::of_process();
        let machine = Machine::here();
        let problems = |text: &str| {
            let text = Problems::new(self.text.file.clone(), text.to_owned());
            project::read(text, &environment, &machine).err()
        };
        let Some(after) = problems(&edited.text) else {
            return Ok(());
        };
        let before = problems(&self.text.text);
        let was = |one: &Problem| {
            let mut before = before.iter().flat_map(Problems::iter);
            before.any(|other| other.code.id == one.code.id && other.message == one.message)
        };
        let mut new = Problems::new(self.text.file.clone(), edited.text.clone());
        for problem in after
            .iter()
            .filter(|one| !one.code.is_warning() && !was(one))
        {
            new.push(problem.clone());
        }
        match new.is_empty() {
            true => Ok(()),
            false => Err(EditError::Wrong(Box::new(new))),
        }
    }
}

impl Draft {
    /// What is written in the place of `before`, the bytes of the file.
    ///
    /// # Errors
    /// They are not those that were read: somebody else has changed the file.
    pub fn bytes(&self, edited: &Edited, before: &[u8]) -> io::Result<Vec<u8>> {
        let text = self.text.text.as_bytes();
        // A byte order mark is not part of the text.
        match before.strip_suffix(text) {
            Some(mark) if mark.len() + text.len() == before.len() && mark.len() <= 3 => {
                Ok([mark, edited.text.as_bytes()].concat())
            }
            _ => Err(io::Error::other("somebody else has just changed it")),
        }
    }
}

/// What can be a name; or another one that can.
///
/// # Errors
/// It cannot, with a name that it could be.
pub fn check_name(name: &str) -> Result<(), Option<String>> {
    match names::usable(name) {
        true => Ok(()),
        false => Err(names::near(name)),
    }
}

fn entry<'t>(node: &'t Node, key: &str) -> Option<&'t Node> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let found = entries.iter().find(|entry| entry.key == key);
    found.map(|entry| &entry.value)
}

/// Replaces pieces of the text, which do not overlap.
fn apply(text: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let mut whole = text.to_owned();
    for (range, with) in edits.iter().rev() {
        whole.replace_range(range.clone(), with);
    }
    whole
}

/// Whether `new` is `old` with this item at the end of this list, and nothing else.
fn grown(old: &Node, new: &Node, list: List, item: &Item) -> bool {
    let (Value::Map(old), Value::Map(new)) = (&old.value, &new.value) else {
        return false;
    };
    let ends = |list: &Node, with: &[Node]| match &list.value {
        Value::List(items) => match items.split_last() {
            Some((last, rest)) => same_all(rest, with) && is_item(last, item),
            None => false,
        },
        _ => false,
    };
    let mut entries = new.iter();
    let kept = old.iter().all(|old| {
        entries.next().is_some_and(|new| {
            let value = match &old.value.value {
                Value::List(items) if old.key == list.key() => ends(&new.value, items),
                _ if old.key == list.key() => old.value.is_null() && ends(&new.value, &[]),
                _ => same(&old.value, &new.value),
            };
            old.key == new.key && value
        })
    });
    let there = old.iter().any(|entry| entry.key == list.key());
    let added = match entries.next() {
        Some(new) => !there && new.key == list.key() && ends(&new.value, &[]),
        None => there,
    };
    kept && added && entries.next().is_none()
}

fn same(old: &Node, new: &Node) -> bool {
    match (&old.value, &new.value) {
        (Value::Scalar(old), Value::Scalar(new)) => old.text == new.text && old.plain == new.plain,
        (Value::List(old), Value::List(new)) => same_all(old, new),
        (Value::Map(old), Value::Map(new)) => {
            let mut pairs = old.iter().zip(new);
            old.len() == new.len()
                && pairs.all(|(old, new)| old.key == new.key && same(&old.value, &new.value))
        }
        _ => false,
    }
}

fn same_all(old: &[Node], new: &[Node]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same(old, new))
}

fn is_item(node: &Node, item: &Item) -> bool {
    let Value::Map(entries) = &node.value else {
        return false;
    };
    let is = |node: &Node, given: &Given| match (&node.value, given) {
        (Value::Scalar(scalar), Given::Text(text)) => node.kind() == "text" && scalar.text == *text,
        (Value::Scalar(scalar), Given::Number(number)) => {
            node.kind() == "a number" && scalar.text == number.to_string()
        }
        _ => false,
    };
    let mut pairs = entries.iter().zip(item);
    entries.len() == item.len()
        && pairs.all(|(entry, (key, given))| entry.key == *key && is(&entry.value, given))
}

#[cfg(test)]
mod tests;
