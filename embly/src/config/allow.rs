//! `allow`, `start` and `restart` of a function: what it may do to others, and whether it is kept
//! running.

use std::collections::BTreeSet;
use std::path::Path;

use super::fields::{Field, Fields, wrong_type};
use super::problem::{Problem, Problems, quote};
use super::tree::{Node, Value};
use super::{Restart, codes, http, names, schema, sql, store, suggest, tcp};
use crate::allow::{Allow, Item, Text};

/// What the lists are checked against; `None` where not all names could be read.
#[derive(Clone, Copy)]
pub(super) struct There<'a> {
    /// The project folder.
    pub root: &'a Path,
    /// The functions of the project.
    pub functions: Option<&'a [&'a str]>,
    /// The stores of the project.
    pub stores: Option<&'a store::Known<'a>>,
}

/// Reads the section.
pub(super) fn read(field: Field<'_>, there: There<'_>, problems: &mut Problems) -> Allow {
    let mut allow = Allow::default();
    if field.entry.value.is_null() {
        return allow;
    }
    let Some(fields) = Fields::read(&field.entry.value, &schema::ALLOW, problems) else {
        return allow;
    };
    for field in fields.iter() {
        allow
            .written
            .set(field.key.name, written(&field.entry.value));
        match field.key.name {
            "kv" => allow.kv = store::kv(field, there.stores, problems),
            "tcp" => allow.tcp = tcp::grants(field, there.root, problems),
            "http" => allow.http = http::grants(field, there.root, problems),
            "sql" => allow.sql = sql::grants(field, there.stores, problems),
            _ => names_of(field, there, &mut allow, problems),
        }
    }
    allow
}

/// A list as it stands there. What is wrong with it is reported elsewhere.
fn written(list: &Node) -> Vec<Item> {
    let text = |node: &Node| match &node.value {
        Value::Scalar(scalar) => Some(Text {
            text: scalar.text.clone(),
            plain: scalar.plain,
        }),
        _ => None,
    };
    let item = |node: &Node| match &node.value {
        Value::Map(entries) => {
            let pairs = entries
                .iter()
                .map(|entry| Some((entry.key.clone(), text(&entry.value)?)));
            pairs.collect::<Option<_>>().map(Item::Map)
        }
        _ => text(node).map(Item::One),
    };
    match &list.value {
        Value::List(nodes) => nodes.iter().filter_map(item).collect(),
        _ => Vec::new(),
    }
}

/// Reads one of the lists of names.
fn names_of(field: Field<'_>, there: There<'_>, allow: &mut Allow, problems: &mut Problems) {
    let list = field.list(problems);
    let names = list.iter().filter_map(|item| text(item, field, problems));
    let names: Vec<(&Node, &str)> = names.collect();
    let mut read = BTreeSet::new();
    for (node, name) in names {
        let problem = match field.key.name {
            "spawn" => unknown(node, name, there.functions),
            _ => unusable(node, name),
        };
        if let Some(problem) = problem {
            problems.push(problem);
        }
        read.insert(name.to_owned());
    }
    match field.key.name {
        "spawn" => allow.spawn = Some(read),
        "register" => allow.register = read,
        "reach" => allow.reach = read,
        name => debug_assert!(false, "{name} is in the table but not read"),
    }
}

fn text<'t>(
    item: &'t Node,
    field: Field<'_>,
    problems: &mut Problems,
) -> Option<(&'t Node, &'t str)> {
    match &item.value {
        Value::Scalar(scalar) if !item.is_null() => Some((item, &scalar.text)),
        _ => {
            let what = format!("an item of `{}` must be a name", field.key.name);
            let help = Some(format!("write `{}`", field.key.example));
            wrong_type(item.span.clone(), item, &what, help, problems);
            None
        }
    }
}

fn unknown(node: &Node, name: &str, functions: Option<&[&str]>) -> Option<Problem> {
    let functions = functions.filter(|functions| !functions.contains(&name))?;
    let message = format!("there is no function {}", quote(name));
    let near = suggest::nearest(name, functions.iter().copied());
    let help = match near {
        Some(near) => format!("did you mean {}?", quote(near)),
        None if name.contains('/') => {
            "services are not started by this list; remove it here".to_owned()
        }
        None => format!(
            "the functions are {}",
            suggest::list(functions.iter().copied())
        ),
    };
    Some(Problem::new(&codes::UNKNOWN_FUNCTION, node.span.clone(), message).help(help))
}

fn unusable(node: &Node, name: &str) -> Option<Problem> {
    if names::usable(name) {
        return None;
    }
    let message = format!("{} cannot be a name", quote(name));
    let help = match names::near(name) {
        Some(near) => format!("write `{near}`"),
        None => "use lower-case letters, digits and `-`, with a letter first".to_owned(),
    };
    Some(Problem::new(&codes::BAD_NAME, node.span.clone(), message).help(help))
}

/// Whether the function is started with the project, and when again.
pub(super) fn start(fields: &Fields<'_>, problems: &mut Problems) -> Option<Restart> {
    let start = fields
        .get("start")
        .is_some_and(|field| field.flag(problems) == Some(true));
    let Some(field) = fields.get("restart") else {
        return start.then_some(Restart::OnFailure);
    };
    let restart = policy(field, problems);
    if fields.get("start").is_none() {
        let message = "`restart` has no effect without `start`";
        let problem = Problem::new(&codes::RESTART_ALONE, field.entry.key_span.clone(), message);
        problems.push(problem.help("write `start: true` beside it, or remove it"));
    }
    start.then_some(restart?)
}

fn policy(field: Field<'_>, problems: &mut Problems) -> Option<Restart> {
    let text = field.scalar("text", problems)?;
    let found = Restart::ALL.iter().find(|restart| restart.name() == text);
    if found.is_none() {
        let names = || Restart::ALL.iter().map(|restart| restart.name());
        let help = match suggest::nearest(text, names()) {
            Some(near) => format!("did you mean `restart: {near}`?"),
            None => format!("it is one of {}", suggest::list(names())),
        };
        let message = format!("{} is not a way to restart", quote(text));
        problems.push(Problem::new(&codes::RESTART, field.span(), message).help(help));
    }
    found.copied()
}
