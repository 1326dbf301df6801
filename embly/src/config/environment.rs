//! Where `${NAME}` in `env` comes from.

use std::collections::BTreeMap;

use super::codes;
use super::fields::Field;
use super::problem::{Problem, Problems, quote};
use super::tree::{Node, Value};

/// A source of environment variables; names that are not UTF-8 or not set are `None`. And of the
/// secrets that are kept elsewhere.
pub struct Environment<'a> {
    variables: Box<Lookup<'a>>,
    secrets: Secrets<'a>,
    /// The one of the file's `environments` that is meant.
    chosen: Option<String>,
    /// The project runs on another machine, which has files that this one does not.
    elsewhere: bool,
}

type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

type IsKept<'a> = dyn Fn(&str) -> Result<bool, String> + 'a;

/// Where secrets are looked for.
pub enum Secrets<'a> {
    /// Neither they nor variables are needed now, so none is missing.
    Unneeded,
    /// In the environment alone.
    Variables,
    /// Somewhere, before the environment is asked.
    Kept {
        /// Whether there is one of this name, or why nobody can tell.
        is_kept: Box<IsKept<'a>>,
        /// The option that names where, as it is typed behind a command, if it is needed there.
        option: String,
    },
}

impl<'a> Environment<'a> {
    /// Asks `lookup` for each name.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + 'a) -> Self {
        Environment {
            variables: Box::new(lookup),
            secrets: Secrets::Variables,
            chosen: None,
            elsewhere: false,
        }
    }

    /// The same, with secrets from there.
    pub fn with_secrets(self, secrets: Secrets<'a>) -> Self {
        Environment { secrets, ..self }
    }

    /// The same, with what the file says for the environment of this name.
    pub fn choose(self, name: Option<&str>) -> Self {
        Environment {
            chosen: name.map(str::to_owned),
            ..self
        }
    }

    /// The one of the file's `environments` that is meant.
    pub(super) fn chosen(&self) -> Option<&str> {
        self.chosen.as_deref()
    }

    /// The same, for a machine that is not this one, or not yet: what lies there, outside of the project,
    /// need not be here.
    pub fn elsewhere(self, elsewhere: bool) -> Self {
        Environment { elsewhere, ..self }
    }

    /// Whether the project is read for another machine.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// Where secrets are looked for.
    pub(super) fn secrets(&self) -> &Secrets<'a> {
        &self.secrets
    }

    /// The environment of this process.
    pub fn of_process() -> Self {
        Environment::new(|name| std::env::var(name).ok())
    }

    /// This environment, and `fallback` for what it does not have: with the variables of
    /// [`dotenv`](super::dotenv), what the shell sets wins over the file.
    pub fn or(self, fallback: BTreeMap<String, String>) -> Environment<'a> {
        Environment::new(move |name| self.get(name).or_else(|| fallback.get(name).cloned()))
    }

    /// The value of the variable.
    pub fn get(&self, name: &str) -> Option<String> {
        // std panics on names that no variable can have.
        let possible = !name.is_empty() && !name.contains(['=', '\0']);
        possible.then(|| (self.variables)(name)).flatten()
    }
}

/// Whether this is a name that `${NAME}` and `.env` know.
pub(super) fn is_name(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Reads the `env` of a function.
pub(super) fn read(
    field: Field<'_>,
    environment: &Environment<'_>,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for entry in field.map(problems) {
        if entry.key.is_empty() || entry.key.contains(['=', '\0']) {
            let message = format!("{} cannot be an environment variable", quote(&entry.key));
            let problem = Problem::new(&codes::ENV_NAME, entry.key_span.clone(), message);
            problems.push(problem.help("write `NAME: value`, without `=`"));
            continue;
        }
        let text = match &entry.value.value {
            // Numbers and `true` are taken as they are written.
            Value::Scalar(scalar) if !entry.value.is_null() => &scalar.text,
            Value::Broken => continue,
            _ => {
                let message = format!(
                    "{} must have text, not {}",
                    quote(&entry.key),
                    entry.value.kind()
                );
                let key = entry.key.escape_debug();
                let (span, help) = match entry.value.is_null() {
                    true => (
                        &entry.key_span,
                        format!("for an empty value write `{key}: \"\"`"),
                    ),
                    false => (
                        &entry.value.span,
                        format!("write `{key}: value`, in quotes if it has brackets"),
                    ),
                };
                let problem = Problem::new(&codes::WRONG_TYPE, span.clone(), message);
                problems.push(problem.help(help));
                continue;
            }
        };
        if text.contains('\0') {
            let message = format!("the value of {} has a NUL character", quote(&entry.key));
            problems.push(Problem::new(
                &codes::ENV_NAME,
                entry.value.span.clone(),
                message,
            ));
            continue;
        }
        if let Some(value) = fill(text, &entry.value, environment, problems) {
            env.insert(entry.key.clone(), value);
        }
    }
    env
}

/// Puts the values of variables into `text`; `$${` is `${` itself.
fn fill(
    text: &str,
    node: &Node,
    environment: &Environment<'_>,
    problems: &mut Problems,
) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    let mut complete = true;
    // Where the next piece is looked for in the file, to underline it alone.
    let mut from = node.span.start;
    while let Some(at) = rest.find("${") {
        let (before, variable) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = &variable[2..];
            continue;
        }
        filled.push_str(before);
        let end = variable.find('}');
        let piece = &variable[..end.map_or(variable.len(), |end| end + 1)];
        rest = &variable[piece.len()..];

        let written = problems
            .text
            .get(from..node.span.end)
            .and_then(|file| file.find(piece));
        let span = written.map_or(node.span.clone(), |at| from + at..from + at + piece.len());
        if written.is_some() {
            from = span.end;
        }
        let name = end
            .map(|end| &variable[2..end])
            .filter(|name| is_name(name));
        let Some(name) = name else {
            let message = format!("{} does not name a variable", quote(piece));
            let problem = Problem::new(&codes::VARIABLE_FORM, span, message);
            problems.push(problem.help("write `${NAME}`, or `$${` for the characters themselves"));
            complete = false;
            continue;
        };
        match environment.get(name) {
            Some(value) => filled.push_str(&value),
            // Nothing runs that would get it.
            None if matches!(environment.secrets(), Secrets::Unneeded) => complete = false,
            None => {
                let message = format!("the variable {} is not set", quote(name));
                let problem = Problem::new(&codes::VARIABLE_MISSING, span, message);
                problems.push(problem.help(format!(
                    "set it before you start `embly`: `export {name}=…`; `embly dev` also reads `.env`"
                )));
                complete = false;
            }
        }
    }
    filled.push_str(rest);
    complete.then_some(filled)
}
