//! The file of a store. Its schema is documented in `docs/services/kv.md`; whoever changes it raises
//! [`VERSION`] and says how older files are brought up.

use std::path::Path;

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::types::{Entry, Error, Listing, Page};
use crate::config::Durability;

/// `application_id` of the file: "Embk".
const APPLICATION: i32 = 0x456d_626b;

/// `user_version` of the file.
const VERSION: i32 = 1;

const SCHEMA: &str = "
CREATE TABLE entries (
    key BLOB PRIMARY KEY,
    value BLOB NOT NULL,
    version INTEGER NOT NULL,
    expires INTEGER
) WITHOUT ROWID, STRICT;
CREATE INDEX entries_by_expiry ON entries (expires) WHERE expires IS NOT NULL;
CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    sequence INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
INSERT INTO store VALUES (1, 0, 0);
";

/// Bytes of pages that a connection keeps: the inner pages of a large store.
const PAGES: &str = "-4096";

/// What a file says of itself as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the last change.
    pub sequence: u64,
    /// What the entries cost, as [`cost`] counts.
    pub bytes: u64,
}

/// What an entry counts towards the size of its store: its bytes, and about what the file needs
/// beside them.
pub fn cost(key: usize, value: usize) -> u64 {
    (key + value) as u64 + 64
}

/// Opens a file to write, or makes it. Blocks.
pub fn open(path: &Path, durability: Durability) -> Result<(Connection, Head), Error> {
    let mut connection = Connection::open(path)?;
    // Only has an effect on a new file. Pages that were freed are given back bit by bit.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "cache_size", PAGES)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Whatever a burst has made of it, the log does not stay larger.
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;
    synchronous(&connection, durability)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let tables: u32 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    check(&transaction)?;
    let head = head(&transaction)?;
    transaction.commit()?;
    Ok((connection, head))
}

/// Opens a file to read, which must be there. Blocks.
pub fn open_to_read(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "cache_size", PAGES)?;
    check(&connection)?;
    Ok(connection)
}

fn check(connection: &Connection) -> Result<(), Error> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let problem = if application != APPLICATION {
        "it is an SQLite file of something else than a kv store of Embly: give the store another \
         `path`, or move the file away"
            .to_owned()
    } else if version != VERSION {
        format!(
            "its format has the version {version}, this Embly knows {VERSION}: use the Embly that \
             wrote it, or a newer one"
        )
    } else {
        return Ok(());
    };
    Err(Error::Failed(problem))
}

/// How sure a commit is.
pub fn synchronous(connection: &Connection, durability: Durability) -> Result<(), Error> {
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Relaxed => "NORMAL",
    };
    Ok(connection.pragma_update(None, "synchronous", synchronous)?)
}

/// What the file says of itself, as this connection sees it.
pub fn head(connection: &Connection) -> Result<Head, Error> {
    let mut statement = connection.prepare_cached("SELECT sequence, bytes FROM store")?;
    Ok(statement.query_row([], |row| {
        Ok(Head {
            sequence: row.get::<_, i64>(0)?.unsigned_abs(),
            bytes: row.get::<_, i64>(1)?.unsigned_abs(),
        })
    })?)
}

/// Writes [`Head`].
pub fn set_head(transaction: &Transaction<'_>, head: Head) -> Result<(), Error> {
    let mut statement =
        transaction.prepare_cached("UPDATE store SET sequence = ?1, bytes = ?2 WHERE one = 1")?;
    statement.execute(params![
        head.sequence.cast_signed(),
        head.bytes.cast_signed()
    ])?;
    Ok(())
}

/// The entry of a key, whether its time has passed or not.
pub fn get(connection: &Connection, key: &[u8]) -> Result<Option<Entry>, Error> {
    let mut statement =
        connection.prepare_cached("SELECT value, version, expires FROM entries WHERE key = ?1")?;
    let entry = statement.query_row([key], |row| entry(row, 0));
    Ok(entry.optional()?)
}

/// Value, version and expiry, from this column on.
fn entry(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Entry> {
    Ok(Entry {
        value: row.get::<_, Vec<u8>>(at)?.into(),
        version: row.get::<_, i64>(at + 1)?.unsigned_abs(),
        expires: row.get::<_, Option<i64>>(at + 2)?.map(i64::unsigned_abs),
    })
}

/// Lists from a key on. SQLite takes one bound from below and one from above to find its way in the
/// index; whatever else is said of a key it looks at one by one, to the end of the store.
const FROM: &str = "\
    SELECT CASE WHEN ?2 THEN value ELSE x'' END, version, expires, key FROM entries \
    WHERE key >= ?1 AND (expires IS NULL OR expires > ?3) ORDER BY key";

/// The same, up to another key.
const FROM_TO: &str = "\
    SELECT CASE WHEN ?2 THEN value ELSE x'' END, version, expires, key FROM entries \
    WHERE key >= ?1 AND key < ?4 AND (expires IS NULL OR expires > ?3) ORDER BY key";

/// A page of the keys whose time has not passed.
pub fn list(connection: &Connection, listing: &Listing, now: u64) -> Result<Page, Error> {
    // The first key after another is that with a zero behind it.
    let after = [&listing.after[..], &[0]].concat();
    let first = after.max(listing.prefix.to_vec());
    let (values, now) = (listing.values, now.cast_signed());
    let end = after_all(&listing.prefix);
    let sql = if end.is_some() { FROM_TO } else { FROM };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = match end {
        Some(end) => statement.query(params![first, values, now, end])?,
        None => statement.query(params![first, values, now])?,
    };
    let (mut page, mut bytes) = (Page::default(), 0);
    while let Some(row) = rows.next()? {
        let key: Vec<u8> = row.get(3)?;
        let entry = entry(row, 0)?;
        bytes += key.len() + entry.value.len();
        let full = page.entries.len() >= listing.limit || bytes > listing.bytes;
        if full && !page.entries.is_empty() {
            page.more = true;
            break;
        }
        page.entries.push((key.into(), entry));
    }
    Ok(page)
}

/// What comes right after all keys that begin so; `None` where nothing does.
fn after_all(prefix: &[u8]) -> Option<Vec<u8>> {
    let length = prefix.iter().rposition(|byte| *byte != u8::MAX)? + 1;
    let mut end = prefix[..length].to_vec();
    end[length - 1] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_after_all_keys_that_begin_so() {
        assert_eq!(after_all(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_all(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after_all(b"\xff"), None);
        assert_eq!(after_all(b""), None);
    }

    #[test]
    fn a_list_looks_at_no_keys_but_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, _) = open(&folder.path().join("a"), Durability::Full).unwrap();
        let plan = |sql: &str, parameters: &[&dyn rusqlite::ToSql]| {
            let sql = format!("EXPLAIN QUERY PLAN {sql}");
            let mut statement = connection.prepare(&sql).unwrap();
            let steps = statement.query_map(parameters, |row| row.get::<_, String>(3));
            steps.unwrap().collect::<Result<Vec<_>, _>>().unwrap()
        };
        let (key, now) = (Vec::<u8>::new(), 0);
        let all = "SEARCH entries USING PRIMARY KEY (key>?)";
        assert_eq!(plan(FROM, &[&key, &true, &now]), [all]);
        let some = "SEARCH entries USING PRIMARY KEY (key>? AND key<?)";
        assert_eq!(plan(FROM_TO, &[&key, &true, &now, &key]), [some]);
    }

    #[test]
    fn durability_is_what_sqlite_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for (durability, expected) in [(Durability::Full, 2), (Durability::Relaxed, 1)] {
            let (connection, _) = open(&folder.path().join("a"), durability).unwrap();
            let number = |name| connection.pragma_query_value(None, name, |row| row.get(0));
            assert_eq!(number("synchronous"), Ok(expected));
            let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get(0));
            assert_eq!(mode, Ok("wal".to_owned()));
        }
    }

    #[test]
    fn another_file_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE a (b)").unwrap();
        let error = open(&path, Durability::Full).unwrap_err().to_string();
        assert!(error.contains("something else"), "{error}");

        let path = folder.path().join("newer.db");
        let (newer, _) = open(&path, Durability::Full).unwrap();
        newer.pragma_update(None, "user_version", 2).unwrap();
        let error = open(&path, Durability::Full).unwrap_err().to_string();
        assert!(error.contains("version 2"), "{error}");

        let path = folder.path().join("garbage.db");
        std::fs::write(&path, [7; 10_000]).unwrap();
        let error = open(&path, Durability::Full).unwrap_err().to_string();
        assert!(error.contains("not a database"), "{error}");
    }
}
