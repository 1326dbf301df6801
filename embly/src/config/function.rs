//! One function of the file.

use std::path::{Path, PathBuf};

use super::codes;
use super::environment::{self, Environment};
use super::fields::{Field, Fields};
use super::machine::Machine;
use super::problem::{Problem, Problems, quote};
use super::{Function, Language, allow, limit, paths, suggest};

/// What the values of a file are checked against.
pub(super) struct World<'a> {
    /// The project folder, links resolved.
    pub root: &'a Path,
    pub environment: &'a Environment<'a>,
    pub machine: &'a Machine,
}

/// `None` if something is wrong, and reported.
pub(super) fn read(
    fields: &Fields<'_>,
    name: Option<&str>,
    functions: Option<&[&str]>,
    world: &World<'_>,
    problems: &mut Problems,
) -> Option<Function> {
    let language = fields
        .get("language")
        .and_then(|field| language(field, problems));
    let (path, context) = places(fields, language, world, problems);
    let entry = match fields.get("entry") {
        Some(field) => field.text(problems).map(str::to_owned),
        None => Some("_start".to_owned()),
    };
    let env = fields.get("env");
    let env = env.map(|field| environment::read(field, world.environment, problems));
    let limits = fields.get("limits");
    let limits = limits.map(|field| limit::read(field, world.machine, problems));
    let allow = fields.get("allow");
    let allow = allow.map(|field| allow::read(field, functions, problems));
    let start = allow::start(fields, problems);
    Some(Function {
        name: name?.to_owned(),
        path: path?,
        context: context?,
        language: language?,
        entry: entry?,
        env: env.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
        allow: allow.unwrap_or_default(),
        start,
    })
}

fn language(field: Field<'_>, problems: &mut Problems) -> Option<Language> {
    let text = field.scalar("text", problems)?;
    let found = Language::ALL
        .iter()
        .find(|language| language.name() == text);
    if found.is_none() {
        let message = format!("the language {} is not supported", quote(text));
        let names = Language::ALL.iter().map(|language| language.name());
        let help = match suggest::nearest(text, names) {
            Some(near) => format!("did you mean `language: {near}`?"),
            None => {
                "write `language: rust`, or `language: wasm` for a module that is built already"
                    .to_owned()
            }
        };
        problems.push(Problem::new(&codes::LANGUAGE, field.span(), message).help(help));
    }
    found.copied()
}

fn places(
    fields: &Fields<'_>,
    language: Option<Language>,
    world: &World<'_>,
    problems: &mut Problems,
) -> (Option<PathBuf>, Option<PathBuf>) {
    let context = paths::context(fields.get("context"), world.root, problems);
    let path = match (fields.get("path"), &context) {
        (Some(field), Some(context)) => paths::path(field, context, world.root, language, problems),
        _ => None,
    };
    (path, context)
}
