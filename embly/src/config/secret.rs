//! `secrets` of a function: names, and whether there are values for them.

use std::collections::BTreeSet;
use std::ops::Range;

use super::codes;
use super::environment::Secrets;
use super::fields::{Field, wrong_type};
use super::function::World;
use super::problem::{Problem, Problems, quote};
use super::tree::{Node, Value};
use crate::secrets::{Given, Secret, advice, is_name};

/// What all functions list together.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// With the values that the environment has.
    pub given: Given,
    /// That they cannot be read is told once.
    told: bool,
}

/// Reads the list.
pub(super) fn read(
    field: Field<'_>,
    world: &World<'_>,
    problems: &mut Problems,
) -> BTreeSet<String> {
    let list = field.list(problems);
    let names = list.iter().filter_map(|item| name(item, field, problems));
    let names: Vec<(&Node, &str)> = names.collect();
    let mut listed = world.secrets.borrow_mut();
    for (node, name) in &names {
        let value = value(name, node.span.clone(), &mut listed, world, problems);
        listed.given.insert((*name).to_owned(), value);
    }
    names.into_iter().map(|(_, name)| name.to_owned()).collect()
}

fn name<'t>(
    item: &'t Node,
    field: Field<'_>,
    problems: &mut Problems,
) -> Option<(&'t Node, &'t str)> {
    let Value::Scalar(scalar) = &item.value else {
        let help = Some(format!("write `{}`", field.key.example));
        let what = "an item of `secrets` must be a name";
        wrong_type(item.span.clone(), item, what, help, problems);
        return None;
    };
    if is_name(&scalar.text) {
        return Some((item, &scalar.text));
    }
    // What stands here may be the value, which is not to be shown.
    let message = "this cannot be the name of a secret";
    let problem = Problem::new(&codes::SECRET_NAME, item.span.clone(), message);
    problems.push(problem.help(format!(
        "write its name, such as `{}`, never its value",
        field.key.example
    )));
    None
}

/// The value that the environment has. Reports where there is none at all.
fn value(
    name: &str,
    span: Range<usize>,
    listed: &mut Listed,
    world: &World<'_>,
    problems: &mut Problems,
) -> Option<Secret> {
    let value = world.environment.get(name).map(Secret::new);
    let (kept, option) = match world.environment.secrets() {
        Secrets::Unneeded => (Ok(true), ""),
        Secrets::Variables => (Ok(false), ""),
        Secrets::Kept { is_kept, option } => (is_kept(name), option.as_str()),
    };
    match (kept, value) {
        (Ok(true), value) => return value.and_then(Result::ok),
        (Ok(false), Some(Ok(value))) => return Some(value),
        (Ok(false), Some(Err(unfit))) => {
            let message = format!("the secret {} {unfit}", quote(name));
            let problem = Problem::new(&codes::SECRET_VALUE, span, message);
            problems.push(problem.help(format!(
                "give the variable `{name}` another value, or type `embly secrets set {name}{option}`"
            )));
        }
        (Ok(false), None) => {
            let message = format!("there is no secret {}", quote(name));
            let problem = Problem::new(&codes::SECRET_MISSING, span, message);
            problems.push(problem.help(advice(name, option)));
        }
        // One file, one problem.
        (Err(_), _) if listed.told => {}
        (Err(why), _) => {
            listed.told = true;
            let problem = Problem::new(&codes::SECRETS_UNREADABLE, span, why);
            problems.push(problem.help(format!(
                "then type `embly secrets list{option}`, which shows what is there"
            )));
        }
    }
    None
}
