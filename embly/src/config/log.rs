//! `logs` of a project, and `log_level`: where lines of logs go beside the output, and which.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::access_log::Files;
use super::fields::{Field, Fields};
use super::names::Names;
use super::problem::{Problem, Problems, quote};
use super::tree::{Node, Value};
use super::{codes, gateway, schema, store, units};
use crate::report::{Address, FACILITIES, Level, Rotate, SinkPlan, Target, Wording};

const TYPES: [&str; 2] = ["file", "syslog"];

const FORMATS: [&str; 2] = ["text", "json"];

/// In the order of their weight.
const LEVELS: [Level; 4] = [Level::Debug, Level::Info, Level::Warn, Level::Error];

/// A file of less is rotated for each few lines.
const LEAST_SIZE: u64 = 4 * 1024;

/// Each is renamed when the file is full.
const MOST_KEPT: i64 = 100;

/// Reads a level; `None` if there is none, or it is wrong and reported.
pub(super) fn level(field: Option<Field<'_>>, problems: &mut Problems) -> Option<Level> {
    let names = LEVELS.map(Level::name);
    let name = store::one_of(field?, &names, &codes::LOG_LEVEL, problems)?;
    LEVELS.into_iter().find(|level| level.name() == name)
}

/// Reads the list. `known` are the functions of the project, where all of them have names.
pub(super) fn read(
    field: Field<'_>,
    known: Option<&[&str]>,
    files: &mut Files,
    problems: &mut Problems,
) -> Vec<SinkPlan> {
    let mut names = Names::default();
    let items = field.list(problems).iter();
    items
        .filter_map(|item| sink(item, known, &mut names, files, problems))
        .collect()
}

/// Its type decides which keys it has.
fn is_syslog(item: &Node) -> bool {
    let Value::Map(entries) = &item.value else {
        return false;
    };
    entries.iter().any(|entry| match &entry.value.value {
        Value::Scalar(scalar) => entry.key == "type" && scalar.text == "syslog",
        _ => false,
    })
}

fn sink<'t>(
    item: &'t Node,
    known: Option<&[&str]>,
    names: &mut Names<'t>,
    files: &mut Files,
    problems: &mut Problems,
) -> Option<SinkPlan> {
    let section = match is_syslog(item) {
        true => &schema::LOG_SYSLOG,
        false => &schema::LOG_FILE,
    };
    let fields = Fields::read(item, section, problems)?;
    let name = fields.get("name");
    let name = name.and_then(|field| names.take(field, "logs", problems));
    let kind = fields.get("type");
    let kind = kind.and_then(|field| store::one_of(field, &TYPES, &codes::LOG_SINK, problems));
    let level = match fields.get("level") {
        Some(field) => level(Some(field), problems),
        None => Some(Level::Info),
    };
    let functions = fields.get("functions");
    let functions = functions.map(|field| functions_of(field, known, problems));
    let target = match kind {
        Some("syslog") => syslog(&fields, problems),
        Some(_) => file(&fields, files, problems),
        None => None,
    };
    Some(SinkPlan {
        name: name?.to_owned(),
        level: level?,
        functions,
        target: target?,
    })
}

fn functions_of(
    field: Field<'_>,
    known: Option<&[&str]>,
    problems: &mut Problems,
) -> BTreeSet<String> {
    let items = field.list(problems).iter();
    let named = items.filter_map(|item| {
        let Value::Scalar(scalar) = &item.value else {
            let message = "`functions` lists names of functions";
            let problem = Problem::new(&codes::WRONG_TYPE, item.span.clone(), message);
            problems.push(problem.help("write `functions: [hello]`"));
            return None;
        };
        let problem = gateway::unknown_function(item.span.clone(), &scalar.text, known);
        problem
            .into_iter()
            .for_each(|problem| problems.push(problem));
        Some(scalar.text.clone())
    });
    named.collect()
}

fn file(fields: &Fields<'_>, files: &mut Files, problems: &mut Problems) -> Option<Target> {
    let wording = match fields.get("format") {
        Some(field) => match store::one_of(field, &FORMATS, &codes::LOG_SINK, problems) {
            Some("json") => Wording::Json,
            _ => Wording::Text,
        },
        None => Wording::Text,
    };
    let rotate = match fields.get("rotate") {
        Some(field) => rotate(field, problems),
        None => Some(Rotate::default()),
    };
    let path = path(fields.get("path")?, files, problems)?;
    Some(Target::File {
        path,
        wording,
        rotate,
    })
}

/// `none`, or how; what is wrong is as if it were not there.
fn rotate(field: Field<'_>, problems: &mut Problems) -> Option<Rotate> {
    let mut rotate = Rotate::default();
    if matches!(&field.entry.value.value, Value::Scalar(scalar) if scalar.text == "none") {
        return None;
    }
    let Some(fields) = Fields::read(&field.entry.value, &schema::LOG_ROTATE, problems) else {
        return Some(rotate);
    };
    if let Some(field) = fields.get("size")
        && let Some(text) = field.scalar("a size", problems)
    {
        match units::size(text).ok().flatten() {
            Some(size) if size >= LEAST_SIZE => rotate.size = size,
            _ => wrong(field, "a size from 4KiB", "size: 10MiB", problems),
        }
    }
    if let Some(field) = fields.get("keep")
        && let Some(keep) = field.whole(problems)
    {
        match u32::try_from(keep)
            .ok()
            .filter(|_| (1..=MOST_KEPT).contains(&keep))
        {
            Some(keep) => rotate.keep = keep,
            None => wrong(field, "a number from 1 to 100", "keep: 5", problems),
        }
    }
    Some(rotate)
}

fn wrong(field: Field<'_>, what: &str, example: &str, problems: &mut Problems) {
    let message = format!("`{}` must be {what}", field.key.name);
    let problem = Problem::new(&codes::LOG_SINK, field.span(), message);
    problems.push(problem.help(format!("write `{example}`")));
}

fn path(field: Field<'_>, files: &mut Files, problems: &mut Problems) -> Option<PathBuf> {
    let path = store::in_state((field, "all.log"), &codes::LOG_SINK, problems)?;
    let name = path.extension().unwrap_or_default().to_string_lossy();
    let why = if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        Some("a full log is moved to a file whose name ends in a number".to_owned())
    } else {
        files.take_log(&path)
    };
    if let Some(why) = why {
        let problem = Problem::new(&codes::LOG_SINK, field.span(), why);
        problems.push(problem.help("write another path"));
        return None;
    }
    Some(path)
}

fn syslog(fields: &Fields<'_>, problems: &mut Problems) -> Option<Target> {
    let facility = match fields.get("facility") {
        Some(field) => store::one_of(field, &FACILITIES, &codes::LOG_SINK, problems)?,
        None => "daemon",
    };
    let facility = FACILITIES.iter().position(|known| *known == facility)?;
    let address = match fields.get("address") {
        Some(field) => address(field, problems)?,
        None => Address::default(),
    };
    Some(Target::Syslog {
        address,
        facility: u8::try_from(facility).ok()?,
    })
}

fn address(field: Field<'_>, problems: &mut Problems) -> Option<Address> {
    let text = field.text(problems)?;
    let path = text.strip_prefix("unix:").unwrap_or(text);
    let address = match text.strip_prefix("udp:") {
        Some(at) => at.parse::<SocketAddr>().ok().map(Address::Udp),
        None => Some(path)
            .filter(|path| Path::new(path).is_absolute())
            .map(|path| Address::Unix(path.into())),
    };
    if address.is_none() {
        let message = format!("{} is not an address of syslog", quote(text));
        let problem = Problem::new(&codes::LOG_SINK, field.span(), message);
        problems.push(problem.help(
            "write a path such as `/dev/log` or `unix:/run/log.sock`, or an IP address and a port such as \
             `udp:127.0.0.1:514`",
        ));
    }
    address
}
