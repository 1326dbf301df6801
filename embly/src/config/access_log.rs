//! `access_log` of a gateway: a file for its access lines.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::fields::{Field, Fields};
use super::problem::{Problem, Problems};
use super::tree::Value;
use super::{GatewayKind, codes, schema, store};
use crate::report::LineFormat;

const FORMATS: [&str; 2] = ["combined", "json"];

/// Where the access lines of a gateway go as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The file, relative to the state folder.
    pub path: PathBuf,
    /// How they look there.
    pub format: LineFormat,
}

/// Files of the state folder that are somebody's.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Those of stores.
    pub stores: Vec<PathBuf>,
    /// Those of gateways, and how their lines look.
    logs: BTreeMap<PathBuf, (LineFormat, Range<usize>)>,
    /// Those of the project's logs.
    sinks: Vec<PathBuf>,
}

impl Files {
    /// Takes a file for a log of the project, or says whose it is already.
    pub fn take_log(&mut self, path: &Path) -> Option<String> {
        let shown = path.display();
        if self.stores.iter().any(|store| clash(store, path)) {
            return Some(format!("a store is kept in `{shown}`"));
        }
        if self.logs.keys().any(|log| clash(log, path)) {
            return Some(format!("a gateway writes its `access_log` to `{shown}`"));
        }
        if self.sinks.iter().any(|log| clash(log, path)) {
            return Some(format!("another log is written to `{shown}`"));
        }
        let mut others = self.stores.iter().chain(self.logs.keys());
        if let Some(other) = others.find(|other| numbered(path, other)) {
            let other = other.display();
            return Some(format!(
                "a full `{shown}` is moved to `{other}`, which is a store or an `access_log`"
            ));
        }
        self.sinks.push(path.to_owned());
        None
    }
}

/// Reads the key; `None` if it is not there, or wrong and reported.
pub(super) fn read(
    fields: &Fields<'_>,
    kind: Option<GatewayKind>,
    files: &mut Files,
    problems: &mut Problems,
) -> Option<AccessLog> {
    let field = fields.get("access_log")?;
    if kind == Some(GatewayKind::Tcp) {
        let message = "`access_log` has no effect on a gateway of type tcp";
        let span = field.entry.key_span.clone();
        let problem = Problem::new(&codes::HTTP_ONLY, span, message);
        problems.push(problem.help("remove it, or write `type: http`"));
    }
    let (path, format) = match &field.entry.value.value {
        Value::Map(_) => {
            let fields = Fields::read(&field.entry.value, &schema::ACCESS_LOG, problems)?;
            let format = match fields.get("format") {
                Some(field) => {
                    store::one_of(field, &FORMATS, &codes::ACCESS_LOG, problems).map(format)
                }
                None => Some(LineFormat::Combined),
            };
            (fields.get("path")?, format)
        }
        _ => (field, Some(LineFormat::Combined)),
    };
    let span = path.span();
    let path = path_of(path, problems)?;
    let format = format?;
    if let Some(store) = files.stores.iter().find(|store| clash(store, &path)) {
        let message = format!("a store is kept in `{}`", store.display());
        let problem = Problem::new(&codes::ACCESS_LOG, span.clone(), message);
        problems.push(problem.help("write another path"));
        return None;
    }
    let clashes = |other: &&PathBuf| **other != path && clash(other, &path);
    if let Some((other, (_, first))) = files.logs.iter().find(|(other, _)| clashes(other)) {
        let message = format!(
            "the file `{}` cannot be a folder as well",
            shorter(other, &path)
        );
        let problem = Problem::new(&codes::ACCESS_LOG, span, message);
        let problem = problem.related(first.clone(), "the other one");
        problems.push(problem.help("write another path"));
        return None;
    }
    let first = files.logs.entry(path.clone());
    let (other, first) = first.or_insert_with(|| (format, span.clone()));
    if *other != format {
        let message = format!("two gateways write `{}` in two formats", path.display());
        let problem = Problem::new(&codes::ACCESS_LOG, span, message);
        let problem = problem.related(first.clone(), "the other one");
        problems.push(problem.help("write the same `format` in both, or another `path`"));
        return None;
    }
    Some(AccessLog { path, format })
}

/// Whether one of the two is the other, or a folder on its way.
fn clash(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Whether `other` is where a full `log` is moved to: its name and a number.
fn numbered(log: &Path, other: &Path) -> bool {
    let (log, other) = (log.as_os_str().as_bytes(), other.as_os_str().as_bytes());
    let number = other
        .strip_prefix(log)
        .and_then(|end| end.strip_prefix(b"."));
    number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

fn shorter<'p>(one: &'p Path, other: &'p Path) -> std::path::Display<'p> {
    let shorter = if other.starts_with(one) { one } else { other };
    shorter.display()
}

fn format(name: &str) -> LineFormat {
    match name {
        "json" => LineFormat::Json,
        _ => LineFormat::Combined,
    }
}

fn path_of(field: Field<'_>, problems: &mut Problems) -> Option<PathBuf> {
    let example = "access.log";
    store::in_state((field, example), &codes::ACCESS_LOG, problems)
}
