//! What only stores of the type `sql` have: migrations, a size, and who may use them.

use std::fs;
use std::path::{Path, PathBuf};

use super::fields::{Field, Fields};
use super::problem::{Problem, Problems, quote};
use super::tree::{Node, Value};
use super::{Migration, codes, schema, store};
use crate::allow::SqlGrant;

/// A file with more is no migration; it is held in memory.
const MOST: u64 = 1 << 20;

/// Reads `allow: {sql: …}`: names of stores, or maps with the kind of access.
pub(super) fn grants(
    field: Field<'_>,
    known: Option<&store::Known<'_>>,
    problems: &mut Problems,
) -> Vec<SqlGrant> {
    let items = field.list(problems).iter();
    items
        .filter_map(|item| grant(item, known, problems))
        .collect()
}

fn grant(
    item: &Node,
    known: Option<&store::Known<'_>>,
    problems: &mut Problems,
) -> Option<SqlGrant> {
    if let Value::Scalar(scalar) = &item.value
        && !item.is_null()
    {
        store::check(&scalar.text, item.span.clone(), "sql", known, problems);
        return Some(SqlGrant {
            store: scalar.text.clone(),
            write: true,
        });
    }
    let fields = Fields::read(item, &schema::ALLOW_SQL, problems)?;
    let name = fields.get("store").and_then(|field| {
        let text = field.text(problems)?;
        store::check(text, field.span(), "sql", known, problems);
        Some(text)
    });
    let access = match fields.get("access") {
        Some(field) => store::one_of(field, &store::ACCESSES, &codes::ACCESS, problems)?,
        None => "read-write",
    };
    Some(SqlGrant {
        store: name?.to_owned(),
        write: access == "read-write",
    })
}

/// Reports the keys that a store of another type does not have.
pub(super) fn not_here(fields: &Fields<'_>, kind: &str, problems: &mut Problems) {
    if let Some(field) = fields.get("migrations") {
        let message = format!("a store of the type `{kind}` has no `migrations`");
        let problem = Problem::new(&codes::STORE_KEY, field.entry.key_span.clone(), message);
        problems.push(problem.help("remove it, or write `type: sql`"));
    }
}

/// The migrations of a store, in their order; what is wrong with them is reported.
pub(super) fn migrations(
    fields: &Fields<'_>,
    root: &Path,
    problems: &mut Problems,
) -> Vec<Migration> {
    let Some(field) = fields.get("migrations") else {
        return Vec::new();
    };
    let Some(text) = field.text(problems) else {
        return Vec::new();
    };
    let found = folder(root, text).and_then(|folder| files(&folder));
    let mut found = match found {
        Ok(found) => found,
        Err((why, help)) => {
            let message = format!("{} {why}", quote(text));
            let problem = Problem::new(&codes::MIGRATIONS, field.span(), message);
            problems.push(problem.help(help));
            return Vec::new();
        }
    };
    found.sort();
    let mut migrations: Vec<Migration> = Vec::new();
    let mut wrong = |message: String, help: String| {
        problems.push(Problem::new(&codes::MIGRATION_NAME, field.span(), message).help(help));
    };
    let mut numbered = Vec::new();
    for (name, path) in found {
        match number(&name) {
            Some(number) => numbered.push((number, name, path)),
            None => wrong(
                format!("{} is not the name of a migration", quote(&name)),
                "call it `NUMBER-name.sql`, such as `001-first.sql`, or move it elsewhere"
                    .to_owned(),
            ),
        }
    }
    numbered.sort();
    for (number, name, path) in numbered {
        let before = migrations.last().map_or(0, |last| last.number);
        if number == before && number > 0 {
            let first = migrations.last().map_or("", |last| &last.name);
            wrong(
                format!("{} has the number of {}", quote(&name), quote(first)),
                format!("give the later one the number {}", number + 1),
            );
        } else if number != before + 1 {
            let missing = before + 1;
            wrong(
                format!("there is no migration {missing} before {}", quote(&name)),
                format!("call it `{missing:03}-…`: the numbers begin with 1 and have no gaps"),
            );
        }
        migrations.push(Migration { number, name, path });
    }
    migrations
}

/// Why there are none, and what to do.
type Wrong = (String, String);

fn folder(root: &Path, text: &str) -> Result<PathBuf, Wrong> {
    let folder = root.join(text).canonicalize().map_err(|error| {
        let why = format!("cannot be read: {error}");
        let help = format!("`migrations` is a folder, relative to {}", root.display());
        (why, help)
    })?;
    if !folder.starts_with(root) {
        let help = "move it into the folder of the project file".to_owned();
        return Err(("is outside of the project".to_owned(), help));
    }
    if !folder.is_dir() {
        let help = "write the folder that the files are in".to_owned();
        return Err(("is not a folder".to_owned(), help));
    }
    Ok(folder)
}

/// The files in it, without those that editors and systems hide.
fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, Wrong> {
    let unreadable = |error: std::io::Error| {
        let why = format!("cannot be read: {error}");
        (why, "let this user read the folder".to_owned())
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let path = entry.path();
        let length = fs::metadata(&path).map_err(unreadable)?.len();
        if length > MOST {
            let why = format!("has a file {} of more than 1 MiB", quote(&name));
            return Err((why, "split it into several migrations".to_owned()));
        }
        files.push((name, path));
    }
    Ok(files)
}

/// The number in front of `001-name.sql` or `001_name.sql`.
fn number(name: &str) -> Option<u32> {
    let stem = name.strip_suffix(".sql")?;
    let (digits, _) = stem
        .split_once(['-', '_'])
        .filter(|(_, rest)| !rest.is_empty())?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // A tab would end the name where it is recorded.
    let fits = plain && !name.contains(char::is_control);
    digits.parse().ok().filter(|_| fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_begins_with_its_number() {
        assert_eq!(number("001-first.sql"), Some(1));
        assert_eq!(number("12_more-things.sql"), Some(12));
        for name in [
            "first.sql",
            "1.sql",
            "1-.sql",
            "-x.sql",
            "+1-x.sql",
            "1-x.txt",
            "99999999999-x.sql",
        ] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
