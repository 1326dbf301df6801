//! `stores` of the project, and who may use them.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use super::codes;
use super::fields::{Field, Fields};
use super::names::Names;
use super::problem::{Problem, Problems, quote};
use super::tree::{Node, Value};
use super::{Durability, Store, StoreKind, schema, sql, suggest, units};
use crate::allow::KvGrant;
use crate::limits;

const TYPES: [&str; 2] = ["kv", "sql"];
const DURABILITIES: [&str; 2] = ["full", "relaxed"];
pub(super) const ACCESSES: [&str; 2] = ["read", "read-write"];

/// Files and folders of Embly itself in the state folder: the secrets, the locks, what is kept of
/// schedules, and what was deployed.
const OWN: [&str; 6] = [
    "secrets.enc",
    "secrets.enc.new",
    "secrets.lock",
    "lock",
    "cron",
    "versions",
];

/// SQLite has files of these names beside that of a store.
const OF_SQLITE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// And a restore has these.
const OF_A_RESTORE: [&str; 2] = [".before-restore", ".restoring"];

/// Stores by their names, as functions can use them: `None` for one that is wrong itself.
pub(super) type Known<'t> = HashMap<&'t str, Option<StoreKind>>;

/// Reads the section; the second value is what functions are checked against, `None` where not
/// all names are known.
pub(super) fn read<'t>(
    field: Option<Field<'t>>,
    root: &Path,
    problems: &mut Problems,
) -> (Vec<Store>, Option<Known<'t>>) {
    let (mut stores, mut known) = (Vec::new(), Known::new());
    let Some(field) = field else {
        return (stores, Some(known));
    };
    let mut all_named = true;
    let (mut names, mut paths) = (Names::default(), HashMap::new());
    for item in field.list(problems) {
        let Some(fields) = Fields::read(item, &schema::STORE, problems) else {
            all_named = false;
            continue;
        };
        let name = fields.get("name");
        all_named &= name.is_some();
        let name = name.and_then(|field| names.take(field, "stores", problems));
        let store = name.and_then(|name| store(&fields, name, root, &mut paths, problems));
        if let Some(name) = name {
            known.insert(name, store.as_ref().map(|store| store.kind.clone()));
        }
        stores.extend(store);
    }
    (stores, all_named.then_some(known))
}

fn store(
    fields: &Fields<'_>,
    name: &str,
    root: &Path,
    paths: &mut HashMap<PathBuf, Range<usize>>,
    problems: &mut Problems,
) -> Option<Store> {
    let kind = fields.get("type");
    let kind = kind.and_then(|field| one_of(field, &TYPES, &codes::STORE_TYPE, problems));
    let durability = match fields.get("durability") {
        Some(field) => one_of(field, &DURABILITIES, &codes::DURABILITY, problems)?,
        None => "full",
    };
    let durability = match durability {
        "relaxed" => Durability::Relaxed,
        _ => Durability::Full,
    };
    let kind = kind?;
    let (path, span) = match fields.get("path") {
        Some(field) => {
            let path = in_state((field, field.key.example), &codes::STORE_PATH, problems)?;
            (path, field.span())
        }
        None => (
            PathBuf::from(format!(
                "{name}.{}",
                if kind == "sql" { "db" } else { kind }
            )),
            fields.get("name")?.span(),
        ),
    };
    if let Some(first) = paths.insert(path.clone(), span.clone()) {
        let message = format!("two stores are kept in `{}`", path.display());
        let problem = Problem::new(&codes::STORE_PATH, span, message);
        let problem = problem.related(first, "the first one");
        problems.push(problem.help("give one of them another `path`"));
        return None;
    }
    let kind = match kind {
        "kv" => {
            sql::not_here(fields, kind, problems);
            let size = size(fields, limits::KV_SIZE, problems)?;
            StoreKind::Kv { durability, size }
        }
        _ => {
            // All that is wrong is said.
            let migrations = sql::migrations(fields, root, problems);
            StoreKind::Sql {
                durability,
                size: size(fields, limits::SQL_SIZE, problems)?,
                migrations,
            }
        }
    };
    Some(Store {
        name: name.to_owned(),
        kind,
        path,
    })
}

/// What a store may hold; `Some(None)` is `none`.
fn size(fields: &Fields<'_>, default: u64, problems: &mut Problems) -> Option<Option<u64>> {
    let Some(field) = fields.get("size") else {
        return Some(Some(default));
    };
    let text = field.scalar("a size", problems)?;
    let help = match units::size(text) {
        Ok(None) => return Some(None),
        Ok(Some(bytes)) if bytes >= limits::STORE_SIZE_MIN => return Some(Some(bytes)),
        Ok(Some(_)) => format!(
            "write at least `{}`",
            units::show_size(limits::STORE_SIZE_MIN)
        ),
        Err(Some(instead)) => format!("write `size: {instead}`"),
        Err(None) => format!("write, for example, `{}`", field.key.example),
    };
    let message = format!("a store cannot have the size {}", quote(text));
    problems.push(Problem::new(&codes::STORE_SIZE, field.span(), message).help(help));
    None
}

/// A file below the state folder, such as the example.
pub(super) fn in_state(
    (field, example): (Field<'_>, &str),
    code: &'static codes::Code,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let text = field.text(problems)?;
    let parts = Path::new(text)
        .components()
        .filter(|part| *part != Component::CurDir);
    let path: PathBuf = parts.collect();
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let why = if !inside || path.as_os_str().is_empty() || text.ends_with('/') {
        Some(format!("write `{example}`, without `..`"))
    } else {
        taken(&path).map(|why| format!("{why}: write another name"))
    };
    if let Some(help) = why {
        let message = format!("{} is not a file in the state folder", quote(text));
        problems.push(Problem::new(code, field.span(), message).help(help));
        return None;
    }
    Some(path)
}

/// Why a name in the state folder is somebody else's.
fn taken(path: &Path) -> Option<String> {
    let own = |part: Component<'_>| {
        let name = part.as_os_str().to_string_lossy();
        OWN.contains(&&*name)
            .then(|| format!("Embly keeps `{name}` in the state folder"))
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let end = |ends: &[&'static str]| ends.iter().copied().find(|end| name.ends_with(end));
    path.components()
        .next()
        .and_then(own)
        .or_else(|| end(&OF_SQLITE).map(|end| format!("SQLite keeps `NAME{end}` beside a store")))
        .or_else(|| {
            end(&OF_A_RESTORE)
                .map(|end| format!("`embly store restore` keeps `NAME{end}` beside a store"))
        })
}

/// One of a few words, or reported.
pub(super) fn one_of<'t>(
    field: Field<'t>,
    words: &[&'static str],
    code: &'static codes::Code,
    problems: &mut Problems,
) -> Option<&'static str> {
    let text = field.scalar("text", problems)?;
    let found = words.iter().find(|word| **word == text);
    if found.is_none() {
        let name = field.key.name;
        let message = format!("`{name}` cannot be {}", quote(text));
        let help = match suggest::nearest(text, words.iter().copied()) {
            Some(near) => format!("did you mean `{name}: {near}`?"),
            None => format!("it is one of {}", suggest::list(words.iter().copied())),
        };
        problems.push(Problem::new(code, field.span(), message).help(help));
    }
    found.copied()
}

/// Reads `allow: {kv: …}`: names of stores, or maps with a prefix and the kind of access.
pub(super) fn kv(
    field: Field<'_>,
    known: Option<&Known<'_>>,
    problems: &mut Problems,
) -> Vec<KvGrant> {
    let items = field.list(problems).iter();
    items
        .filter_map(|item| kv_grant(item, known, problems))
        .collect()
}

fn kv_grant(item: &Node, known: Option<&Known<'_>>, problems: &mut Problems) -> Option<KvGrant> {
    if let Value::Scalar(scalar) = &item.value
        && !item.is_null()
    {
        check(&scalar.text, item.span.clone(), "kv", known, problems);
        return Some(KvGrant {
            store: scalar.text.clone(),
            prefix: String::new(),
            write: true,
        });
    }
    let fields = Fields::read(item, &schema::ALLOW_KV, problems)?;
    let store = fields.get("store");
    let store = store.and_then(|field| {
        let text = field.text(problems)?;
        check(text, field.span(), "kv", known, problems);
        Some(text)
    });
    let prefix = match fields.get("prefix") {
        Some(field) => field.text(problems)?,
        None => "",
    };
    let access = match fields.get("access") {
        Some(field) => one_of(field, &ACCESSES, &codes::ACCESS, problems)?,
        None => "read-write",
    };
    Some(KvGrant {
        store: store?.to_owned(),
        prefix: prefix.to_owned(),
        write: access == "read-write",
    })
}

/// Whether there is a store of this name and type.
pub(super) fn check(
    name: &str,
    span: Range<usize>,
    kind: &str,
    known: Option<&Known<'_>>,
    problems: &mut Problems,
) {
    let Some(known) = known else { return };
    let (message, help) = match known.get(name) {
        Some(None) => return,
        Some(Some(there)) if there.name() == kind => return,
        Some(Some(there)) => (
            format!("the store {} is of type `{}`", quote(name), there.name()),
            format!("list it under `allow: {{{}: …}}`", there.name()),
        ),
        None => (
            format!("there is no store {}", quote(name)),
            match suggest::nearest(name, known.keys().copied()) {
                Some(near) => format!("did you mean {}?", quote(near)),
                None => format!(
                    "add `- {{name: {}, type: {kind}}}` to `stores`",
                    quote(name).trim_matches('`')
                ),
            },
        ),
    };
    problems.push(Problem::new(&codes::UNKNOWN_STORE, span, message).help(help));
}

impl StoreKind {
    /// As the project file says it.
    pub fn name(&self) -> &'static str {
        match self {
            StoreKind::Kv { .. } => "kv",
            StoreKind::Sql { .. } => "sql",
        }
    }
}
