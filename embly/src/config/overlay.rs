//! `environments` of a project: what one of them says takes the place of what the file says. Done to the
//! tree before it is read, so that what is wrong is shown where it stands.

use std::ops::Range;

use super::fields::{Fields, wrong_type};
use super::names::usable;
use super::problem::{Problem, Problems, quote};
use super::schema::{self, Section};
use super::tree::{Entry, Node, Value};
use super::{codes, suggest};

/// The key.
pub(super) const KEY: &str = "environments";

/// Lists whose items have names by which they are put together, what such an item is called, and the keys of
/// a whole one; all other lists are taken whole.
static NAMED: [(&str, &str, &Section); 4] = [
    ("functions", "function", &schema::FUNCTION),
    ("gateways", "gateway", &schema::GATEWAY),
    ("stores", "store", &schema::STORE),
    ("logs", "log", &schema::LOG_SYSLOG),
];

/// Takes the environments out of the tree, and puts the one of this name into its place. Returns the
/// names of all that there are.
pub(super) fn apply(tree: &mut Node, wanted: Option<&str>, problems: &mut Problems) -> Vec<String> {
    let Value::Map(entries) = &mut tree.value else {
        return Vec::new();
    };
    let at = entries.iter().position(|entry| entry.key == KEY);
    let taken = at.map(|at| entries.remove(at));
    let mut environments = taken.map(|entry| environments(entry, problems));
    let found = wanted.and_then(|wanted| {
        let all = environments.as_mut()?;
        let at = all.iter().position(|entry| entry.key == wanted)?;
        Some(std::mem::replace(
            &mut all[at].value,
            Node::broken(Default::default()),
        ))
    });
    let names = environments.iter().flatten();
    let names: Vec<String> = names.map(|entry| entry.key.clone()).collect();
    match (wanted, found) {
        (Some(_), Some(over)) => merge(tree, over, true, problems),
        (Some(wanted), None) => unknown(wanted, &names, problems),
        (None, _) => {}
    }
    names
}

/// Those that are right in themselves.
fn environments(entry: Entry, problems: &mut Problems) -> Vec<Entry> {
    if entry.value.is_null() {
        return Vec::new();
    }
    let Value::Map(entries) = entry.value.value else {
        let help = "write `environments: {production: {…}}`".to_owned();
        let what = "`environments` must be a map";
        let (node, span) = (&entry.value, entry.value.span.clone());
        wrong_type(span, node, what, Some(help), problems);
        return Vec::new();
    };
    let mut right = Vec::new();
    for mut entry in entries {
        if !usable(&entry.key) {
            let message = format!("{} cannot be the name of an environment", quote(&entry.key));
            let problem = Problem::new(&codes::BAD_NAME, entry.key_span.clone(), message);
            problems
                .push(problem.help("use lower-case letters, digits and `-`, with a letter first"));
            continue;
        }
        if entry.value.is_null() {
            entry.value.value = Value::Map(Vec::new());
        }
        // Its keys are those of a project; what is in them is read in its place.
        if Fields::read(&entry.value, &schema::ENVIRONMENT, problems).is_some() {
            right.push(entry);
        }
    }
    right
}

fn unknown(wanted: &str, names: &[String], problems: &mut Problems) {
    let known = || names.iter().map(String::as_str);
    let help = match suggest::nearest(wanted, known()) {
        Some(near) => format!("did you mean `--environment {near}`?"),
        None if names.is_empty() => {
            format!("the file has no `environments`; write `environments: {{{wanted}: {{}}}}`")
        }
        None => format!("the environments are {}", suggest::list(known())),
    };
    let message = format!("there is no environment {}", quote(wanted));
    problems.push(Problem::of_file(&codes::UNKNOWN_ENVIRONMENT, message).help(help));
}

/// Puts maps together key by key; `top`: those of a project, with the lists whose items have names. All
/// else is replaced.
fn merge(base: &mut Node, over: Node, top: bool, problems: &mut Problems) {
    match (&mut base.value, over.value) {
        (Value::Map(entries), Value::Map(more)) => {
            for new in more {
                put(entries, new, top, problems);
            }
        }
        (_, value) => {
            *base = Node {
                span: over.span,
                value,
            }
        }
    }
}

/// Puts a key into a map; one without a value is taken away.
fn put(entries: &mut Vec<Entry>, new: Entry, top: bool, problems: &mut Problems) {
    let at = entries.iter().position(|entry| entry.key == new.key);
    match at {
        Some(at) if new.value.is_null() => drop(entries.remove(at)),
        None if new.value.is_null() => {}
        None => entries.push(new),
        Some(at) => {
            let old = &mut entries[at];
            let named = NAMED.iter().find(|(key, ..)| top && *key == new.key);
            match (&mut old.value.value, new.value.value, named) {
                (Value::Map(_), value @ Value::Map(_), _) => {
                    let span = new.value.span;
                    merge(&mut old.value, Node { span, value }, false, problems);
                }
                (Value::List(items), Value::List(more), Some(named)) => {
                    merge_named(items, more, named, problems);
                }
                (_, value, _) => {
                    let span = new.value.span;
                    *old = Entry {
                        key: new.key,
                        key_span: new.key_span,
                        value: Node { span, value },
                    };
                }
            }
        }
    }
}

/// Puts lists of things with names together; those that are new come last.
fn merge_named(
    base: &mut Vec<Node>,
    over: Vec<Node>,
    (_, what, section): &(&str, &str, &Section),
    problems: &mut Problems,
) {
    let known: Vec<String> = base.iter().filter_map(name).map(str::to_owned).collect();
    for item in over {
        let same = |other: &Node| name(other).is_some() && name(other) == name(&item);
        match base.iter().position(same) {
            Some(at) => merge(&mut base[at], item, false, problems),
            None if is_meant(&item, &known, (what, section), problems) => base.push(item),
            None => {}
        }
    }
}

/// Whether an item that the file does not have may be a new one. One that is not whole is not: its name
/// is misspelled, or keys are missing. One that is nearly called as another is only warned of.
fn is_meant(
    item: &Node,
    known: &[String],
    (what, section): (&str, &Section),
    problems: &mut Problems,
) -> bool {
    let (Value::Map(entries), Some((name, span))) = (&item.value, named(item)) else {
        // What it is instead is said when it is read.
        return true;
    };
    let missing = section.keys.iter().filter(|key| {
        let there = |entry: &Entry| entry.key == key.name && !entry.value.is_null();
        key.required && !entries.iter().any(there)
    });
    let missing: Vec<&str> = missing.map(|key| key.name).collect();
    let near = suggest::nearest(name, known.iter().map(String::as_str));
    let problem = match (missing.as_slice(), near) {
        ([], None) => return true,
        ([], Some(near)) => {
            let message = format!(
                "this adds a {what} {}, and the file has one {}",
                quote(name),
                quote(near)
            );
            let help = format!(
                "write `name: {near}` if that one is meant; or choose a name that differs more"
            );
            Problem::new(&codes::NEARLY_NAMED, span, message).help(help)
        }
        (missing, near) => {
            let message = format!("the file has no {what} {} to change", quote(name));
            let add = format!(
                "one that is added here needs {} as well",
                suggest::list(missing.iter().copied())
            );
            let help = match near {
                Some(near) => format!("did you mean `name: {near}`? {add}"),
                None if known.is_empty() => add,
                None => {
                    let known = suggest::list(known.iter().map(String::as_str));
                    format!("it has {known}; {add}")
                }
            };
            Problem::new(&codes::NOT_THERE_TO_CHANGE, span, message).help(help)
        }
    };
    let meant = problem.code.is_warning();
    problems.push(problem);
    meant
}

fn name(node: &Node) -> Option<&str> {
    named(node).map(|(name, _)| name)
}

/// Its name, and where that stands.
fn named(node: &Node) -> Option<(&str, Range<usize>)> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let entry = entries.iter().find(|entry| entry.key == "name")?;
    match &entry.value.value {
        Value::Scalar(scalar) => Some((&scalar.text, entry.value.span.clone())),
        _ => None,
    }
}
