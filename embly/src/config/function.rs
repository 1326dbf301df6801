//! One function of the file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::codes;
use super::environment::{self, Environment};
use super::fields::{Field, Fields};
use super::machine::Machine;
use super::problem::{Problem, Problems, quote};
use super::{Function, Language, allow, limit, log, paths, schema, secret, suggest};
use crate::limits::{Isolation, Parked};
use crate::report::Level;

/// What the values of a file are checked against.
pub(super) struct World<'a> {
    /// The project folder, links resolved.
    pub root: &'a Path,
    pub environment: &'a Environment<'a>,
    pub machine: &'a Machine,
    /// The secrets that were listed so far.
    pub secrets: RefCell<secret::Listed>,
}

/// What holds for all functions that do not say otherwise.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    limits: limit::Known,
    env: BTreeMap<String, String>,
    log_level: Option<Level>,
}

/// Reads the `defaults` of a project.
pub(super) fn defaults(field: Field<'_>, world: &World<'_>, problems: &mut Problems) -> Defaults {
    let mut defaults = Defaults::default();
    if field.entry.value.is_null() {
        return defaults;
    }
    let node = &field.entry.value;
    if let Some(fields) = Fields::read(node, &schema::DEFAULTS, problems) {
        defaults.limits = limits(&fields, &defaults, world, problems);
        defaults.env = env(&fields, &defaults, world, problems);
        defaults.log_level = log::level(fields.get("log_level"), problems);
    }
    defaults
}

/// The limits of a section, on top of the defaults.
fn limits(
    fields: &Fields<'_>,
    defaults: &Defaults,
    world: &World<'_>,
    problems: &mut Problems,
) -> limit::Known {
    let known = defaults.limits.clone();
    match fields.get("limits") {
        Some(field) => limit::read(field, known, world.machine, problems),
        None => known,
    }
}

/// The environment of a section, on top of the defaults.
fn env(
    fields: &Fields<'_>,
    defaults: &Defaults,
    world: &World<'_>,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let mut env = defaults.env.clone();
    if let Some(field) = fields.get("env") {
        env.extend(environment::read(field, world.environment, problems));
    }
    env
}

/// `None` if something is wrong, and reported.
pub(super) fn read(
    fields: &Fields<'_>,
    name: Option<&str>,
    there: allow::There<'_>,
    defaults: &Defaults,
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
    let env = env(fields, defaults, world, problems);
    let secrets = fields.get("secrets");
    let secrets = secrets.map(|field| secret::read(field, world, problems));
    let mut limits = limits(fields, defaults, world, problems).limits;
    let level = log::level(fields.get("log_level"), problems);
    if let Some(level) = level.or(defaults.log_level) {
        limits.log.severity = level.severity();
    }
    let isolation = isolation(fields, world, problems);
    let mut parked = Parked::of(isolation, limits.concurrency);
    if let Some(field) = fields.get("parked") {
        parked = limit::parked(field, parked, world.machine, problems);
    }
    let allow = fields.get("allow");
    let allow = allow.map(|field| allow::read(field, there, problems));
    let start = allow::start(fields, problems);
    Some(Function {
        name: name?.to_owned(),
        path: path?,
        context: context?,
        language: language?,
        entry: entry?,
        env,
        secrets: secrets.unwrap_or_default(),
        limits,
        isolation,
        parked,
        allow: allow.unwrap_or_default(),
        start,
    })
}

/// What a process serves; what is wrong is as if it were not there.
fn isolation(fields: &Fields<'_>, world: &World<'_>, problems: &mut Problems) -> Isolation {
    const KINDS: [&str; 2] = ["invocation", "function"];
    let kind = fields.get("isolation").and_then(|field| {
        let text = field.scalar("text", problems)?;
        if !KINDS.contains(&text) {
            let help = match suggest::nearest(text, KINDS) {
                Some(near) => format!("did you mean `isolation: {near}`?"),
                None => format!("it is one of {}", suggest::list(KINDS)),
            };
            let message = format!("{} is not a kind of isolation", quote(text));
            problems.push(Problem::new(&codes::ISOLATION, field.span(), message).help(help));
        }
        Some(text)
    });
    let reuse = fields.get("reuse");
    let read = reuse.map(|field| limit::reuse(field, world.machine, problems));
    match (kind, reuse) {
        (Some("function"), _) => return Isolation::Function(read.unwrap_or_default()),
        (None | Some("invocation"), Some(field)) => {
            let message = "`reuse` has no effect without `isolation: function`";
            let span = field.entry.key_span.clone();
            let problem = Problem::new(&codes::REUSE_ALONE, span, message);
            problems.push(problem.help("write `isolation: function` beside it, or remove it"));
        }
        _ => {}
    }
    Isolation::Invocation
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
