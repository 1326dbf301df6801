//! The migrations of a store: texts with numbers, each applied once and in a transaction of its own,
//! and recorded with its checksum.
//!
//! The master sends the list of all that there are (`Check`). The process looks at what is recorded
//! and answers with the numbers that are to be applied, or with what is wrong. Then the master sends
//! those, one after the other (`Apply`).

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;

use rusqlite::Batch;
use rusqlite::fallible_iterator::FallibleIterator;

use super::connection::Worker;
use super::statement::Failure;
use super::wire::{self, FromWorker, ToWorker};

/// The table of what was applied.
pub const TABLE: &str = "_embly_migrations";

/// One migration, as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// From 1, without gaps.
    pub number: u32,
    /// Name of its file.
    pub name: String,
    /// Of its text: [`checksum`].
    pub checksum: String,
}

/// The checksum of a text.
pub fn checksum(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Begins a list where later migrations may have been applied than those in it.
const LATER: &str = "later\n";

/// The content of `Check`. With `later`, a later version of the project may have applied more of them.
pub fn encode(all: &[Known], later: bool) -> Vec<u8> {
    let line = |one: &Known| format!("{}\t{}\t{}\n", one.number, one.checksum, one.name);
    let first = if later { LATER } else { "" };
    let lines = all.iter().map(line).collect::<String>();
    format!("{first}{lines}").into_bytes()
}

fn decode(bytes: Vec<u8>) -> Option<(Vec<Known>, bool)> {
    let text = String::from_utf8(bytes).ok()?;
    let (text, later) = match text.strip_prefix(LATER) {
        Some(text) => (text, true),
        None => (text.as_str(), false),
    };
    let known = |line: &str| {
        let mut parts = line.splitn(3, '\t');
        Some(Known {
            number: parts.next()?.parse().ok()?,
            checksum: parts.next()?.to_owned(),
            name: parts.next()?.to_owned(),
        })
    };
    let all: Option<_> = text.lines().map(known).collect();
    Some((all?, later))
}

/// Serves until the master closes the socket.
pub fn serve(worker: &mut Worker, socket: &mut UnixStream) -> io::Result<()> {
    let mut all = Vec::new();
    loop {
        let (kind, content) = wire::read(socket)?;
        let done = match ToWorker::from_byte(kind) {
            Some(ToWorker::Check) => {
                let later;
                (all, later) = decode(content).ok_or(io::ErrorKind::InvalidData)?;
                pending(worker, &all, later).map(|numbers| {
                    let numbers = numbers.into_iter().flat_map(u32::to_le_bytes);
                    (FromWorker::Pending, numbers.collect())
                })
            }
            Some(ToWorker::Apply) => {
                let (number, text) = content
                    .split_first_chunk()
                    .ok_or(io::ErrorKind::InvalidData)?;
                let number = u32::from_le_bytes(*number);
                let known = all.iter().find(|one| one.number == number);
                let known = known.ok_or(io::ErrorKind::InvalidData)?;
                let text = std::str::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData)?;
                apply(worker, known, text).map(|()| (FromWorker::Applied, Vec::new()))
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        match done {
            Ok((kind, content)) => wire::write(socket, kind as u8, &content, &[])?,
            Err(why) => {
                wire::write(socket, FromWorker::Failed as u8, why.as_bytes(), &[])?;
                return Ok(());
            }
        }
    }
}

/// The numbers of those that are not applied yet, if those that are fit to what there is.
fn pending(worker: &Worker, all: &[Known], later: bool) -> Result<Vec<u32>, String> {
    let failed = |error: rusqlite::Error| format!("cannot read the table `{TABLE}`: {error}");
    worker.authorizer.own(true);
    let recorded = recorded(worker);
    worker.authorizer.own(false);
    let mut recorded = recorded.map_err(failed)?;
    let mut pending = Vec::new();
    for one in all {
        match recorded.remove(&one.number) {
            None => pending.push(one.number),
            Some((_, checksum)) if checksum == one.checksum => {}
            Some((name, _)) => {
                return Err(format!(
                    "the migration `{}` was changed after it was applied{}: put it back as it was, \
                     and write what is to change in a new migration",
                    one.name,
                    if name == one.name {
                        String::new()
                    } else {
                        format!(" as `{name}`")
                    },
                ));
            }
        }
    }
    let last = all.last().map_or(0, |last| last.number);
    match recorded.pop_first() {
        None => Ok(pending),
        Some((number, _)) if later && number > last => Ok(pending),
        Some((_, (name, _))) => Err(format!(
            "the migration `{name}` was applied and is not there any more: put its file back; to undo \
             what it did, write a new migration"
        )),
    }
}

type Recorded = BTreeMap<u32, (String, String)>;

fn recorded(worker: &Worker) -> rusqlite::Result<Recorded> {
    let connection = &worker.connection;
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {TABLE} (number INTEGER PRIMARY KEY, name TEXT NOT NULL, \
         checksum TEXT NOT NULL, applied TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) STRICT"
    ))?;
    let mut statement =
        connection.prepare(&format!("SELECT number, name, checksum FROM {TABLE}"))?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    rows.collect()
}

fn apply(worker: &mut Worker, known: &Known, text: &str) -> Result<(), String> {
    let failed = |worker: &Worker, error: rusqlite::Error, at: usize| {
        let Failure {
            message, offset, ..
        } = worker.explain(error);
        let at = at + offset.unwrap_or(0) as usize;
        format!(
            "the migration `{}` failed at line {}: {message}; the database is as it was before it",
            known.name,
            line(text, at),
        )
    };
    let begun = worker.own("BEGIN IMMEDIATE");
    begun.map_err(|error| failed(worker, error, 0))?;
    worker.clock.start();
    let mut at = 0;
    let ran = statements(worker, text, &mut at).and_then(|()| record(worker, known));
    worker.clock.pause();
    match ran.and_then(|()| worker.own("COMMIT")) {
        Ok(()) => Ok(()),
        Err(error) => {
            let why = failed(worker, error, at);
            // What has failed may have ended it already.
            if worker.in_transaction() {
                let _ = worker.own("ROLLBACK");
            }
            Err(why)
        }
    }
}

/// Runs all statements of a text; `at` is where the one under way begins, in bytes.
fn statements(worker: &Worker, text: &str, at: &mut usize) -> rusqlite::Result<()> {
    // Of something that was asked before.
    drop(worker.authorizer.why());
    let mut batch = Batch::new(&worker.connection, text);
    while let Some(mut statement) = batch.next()? {
        let begin = *at;
        let mut rows = statement.raw_query();
        while rows.next()?.is_some() {}
        drop(rows);
        *at = begin + length(&text[begin..], &statement);
    }
    Ok(())
}

/// How long the text of a statement is, with the space before it.
fn length(rest: &str, statement: &rusqlite::Statement<'_>) -> usize {
    // It has no parameters, so this is the text itself.
    let text = statement.expanded_sql().unwrap_or_default();
    rest.find(&text).map_or(0, |begin| begin + text.len())
}

fn record(worker: &Worker, known: &Known) -> rusqlite::Result<()> {
    worker.authorizer.own(true);
    let sql = format!("INSERT INTO {TABLE} (number, name, checksum) VALUES (?1, ?2, ?3)");
    let values = (known.number, &known.name, &known.checksum);
    let done = worker
        .connection
        .prepare(&sql)
        .and_then(|mut statement| statement.execute(values));
    worker.authorizer.own(false);
    done.map(drop)
}

/// The line that this byte is on.
fn line(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    // A statement begins where the one before has ended, at its end of line.
    let rest = &text.as_bytes()[before.len()..];
    let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
    let lines = |bytes: &mut dyn Iterator<Item = &u8>| bytes.filter(|byte| **byte == b'\n').count();
    1 + lines(&mut before.iter()) + lines(&mut space.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_reads_back() {
        let all = [
            Known {
                number: 1,
                name: "001-a b.sql".to_owned(),
                checksum: checksum("x"),
            },
            Known {
                number: 2,
                name: "002-c.sql".to_owned(),
                checksum: checksum(""),
            },
        ];
        for later in [false, true] {
            let (read, said) = decode(encode(&all, later)).unwrap();
            assert_eq!((&read[..], said), (&all[..], later));
        }
        assert_eq!(decode(b"x".to_vec()), None);
    }

    #[test]
    fn a_place_is_told_by_its_line() {
        let text = "a;\n\nb";
        assert_eq!([0, 1, 2, 4].map(|at| line(text, at)), [1, 1, 3, 3]);
    }
}
