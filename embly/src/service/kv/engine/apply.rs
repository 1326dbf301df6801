//! What each request does to the file, within the transaction of its group.

use std::collections::HashMap;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::feed::{Change, What};
use super::file::{self, Head, cost};
use super::types::{Entry, Error, Expected, Outcome, Put, Write};

/// A group of requests that are committed together.
pub struct Group<'a> {
    /// Within its transaction.
    pub connection: &'a Connection,
    /// As it is after the requests so far.
    pub head: Head,
    /// What the entries may cost.
    pub size: u64,
    /// The time.
    pub now: u64,
}

/// What is known of a key before it is changed.
#[derive(Default)]
struct Row {
    /// It has one, maybe one whose time has passed.
    length: Option<usize>,
    version: u64,
    expires: Option<u64>,
}

impl Row {
    /// Whether a reader sees it.
    fn exists(&self, now: u64) -> bool {
        self.length.is_some() && self.expires.is_none_or(|expires| expires > now)
    }
}

impl Group<'_> {
    /// Carries out a request: the outcome, and what has changed. With an error nothing has; after
    /// [`Error::Failed`] the whole group has to be given up.
    pub fn apply(&mut self, write: &Write) -> Result<(Outcome, Vec<Change>), Error> {
        match write {
            Write::Set { key, value, ttl } => {
                let existed = self.row(key)?.exists(self.now);
                let (version, changes) =
                    self.put_all(&[(key.clone(), Some((value.clone(), *ttl)))])?;
                Ok((Outcome::Changed { existed, version }, changes))
            }
            Write::Delete { key } => {
                let existed = self.row(key)?.exists(self.now);
                let (_, changes) = self.put_all(&[(key.clone(), None)])?;
                let version = 0;
                Ok((Outcome::Changed { existed, version }, changes))
            }
            Write::Swap {
                key,
                expected,
                new,
                ttl,
            } => {
                let now = self.now;
                let current = file::get(self.connection, key)?.filter(|it| !it.is_over(now));
                let holds = match (expected, &current) {
                    (Expected::Absent, current) => current.is_none(),
                    (Expected::Value(value), Some(current)) => *value == current.value,
                    (Expected::Version(version), Some(current)) => *version == current.version,
                    (Expected::Value(_) | Expected::Version(_), None) => false,
                };
                if !holds {
                    return Ok((Outcome::Other(current), Vec::new()));
                }
                let new = new.clone().map(|value| (value, *ttl));
                let removes = new.is_none();
                let (version, changes) = self.put_all(&[(key.clone(), new)])?;
                let version = if removes { 0 } else { version };
                Ok((Outcome::Swapped(version), changes))
            }
            Write::Increment { key, by, ttl } => self.increment(key, *by, *ttl),
            Write::Expire { key, ttl } => self.expire(key, *ttl),
            Write::Batch { checks, writes } => {
                for (number, (key, version)) in checks.iter().enumerate() {
                    let row = self.row(key)?;
                    let has = if row.exists(self.now) { row.version } else { 0 };
                    if has != *version {
                        return Ok((Outcome::Failed(number), Vec::new()));
                    }
                }
                let (version, changes) = self.put_all(writes)?;
                Ok((Outcome::Committed(version), changes))
            }
        }
    }

    fn increment(
        &mut self,
        key: &Bytes,
        by: i64,
        ttl: Option<u64>,
    ) -> Result<(Outcome, Vec<Change>), Error> {
        let now = self.now;
        let current = file::get(self.connection, key)?.filter(|it| !it.is_over(now));
        let (number, expires) = match &current {
            None => (0, self.expires(ttl)),
            Some(entry) => {
                let text = std::str::from_utf8(&entry.value).ok();
                let number = text.and_then(|text| text.parse::<i64>().ok());
                (number.ok_or(Error::NotANumber)?, entry.expires)
            }
        };
        let value = number.checked_add(by).ok_or(Error::Overflow)?;
        let text = Bytes::from(value.to_string());
        let row = self.row(key)?;
        self.fits(grows(key, row.length, Some(text.len())))?;
        self.head.sequence += 1;
        let version = self.head.sequence;
        let change = self.set(&row, key, text, expires)?;
        Ok((Outcome::Sum { value, version }, vec![change]))
    }

    fn expire(&mut self, key: &Bytes, ttl: Option<u64>) -> Result<(Outcome, Vec<Change>), Error> {
        let now = self.now;
        let Some(mut entry) = file::get(self.connection, key)?.filter(|it| !it.is_over(now)) else {
            let (existed, version) = (false, 0);
            return Ok((Outcome::Changed { existed, version }, Vec::new()));
        };
        entry.expires = self.expires(ttl);
        let mut statement = self
            .connection
            .prepare_cached("UPDATE entries SET expires = ?2 WHERE key = ?1")?;
        statement.execute(params![&key[..], entry.expires.map(u64::cast_signed)])?;
        self.head.sequence += 1;
        let outcome = Outcome::Changed {
            existed: true,
            version: entry.version,
        };
        let what = What::Set(entry);
        Ok((outcome, vec![self.change(key, what)]))
    }

    /// Sets and removes keys in this order, if all of it fits: the version of what is set.
    fn put_all(&mut self, puts: &[Put]) -> Result<(u64, Vec<Change>), Error> {
        let mut growth = 0;
        let mut lengths = HashMap::new();
        for (key, new) in puts {
            let length = new.as_ref().map(|(value, _)| value.len());
            // A key that comes again has what it was given before.
            let before = match lengths.insert(&key[..], length) {
                Some(before) => before,
                None => self.row(key)?.length,
            };
            growth += grows(key, before, length);
        }
        self.fits(growth)?;
        self.head.sequence += 1;
        let mut changes = Vec::new();
        for (key, new) in puts {
            let row = self.row(key)?;
            match new {
                Some((value, ttl)) => {
                    let (value, expires) = (Bytes::copy_from_slice(value), self.expires(*ttl));
                    changes.push(self.set(&row, key, value, expires)?);
                }
                None => {
                    let Some(length) = row.length else { continue };
                    self.remove(key, length)?;
                    let there = row.exists(self.now);
                    let what = if there { What::Deleted } else { What::Expired };
                    changes.push(self.change(key, what));
                }
            }
        }
        if changes.is_empty() {
            self.head.sequence -= 1;
        }
        Ok((self.head.sequence, changes))
    }

    fn expires(&self, ttl: Option<u64>) -> Option<u64> {
        ttl.map(|ttl| self.now.saturating_add(ttl))
    }

    fn fits(&self, growth: i128) -> Result<(), Error> {
        let after = i128::from(self.head.bytes) + growth;
        // What makes it smaller is taken also where it is too large already.
        if growth > 0 && after > i128::from(self.size) {
            return Err(Error::Full { size: self.size });
        }
        Ok(())
    }

    fn row(&self, key: &[u8]) -> Result<Row, Error> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT length(value), version, expires FROM entries WHERE key = ?1")?;
        let row = statement.query_row([key], |row| {
            Ok(Row {
                length: Some(row.get::<_, u32>(0)? as usize),
                version: row.get::<_, i64>(1)?.unsigned_abs(),
                expires: row.get::<_, Option<i64>>(2)?.map(i64::unsigned_abs),
            })
        });
        Ok(row.optional()?.unwrap_or_default())
    }

    fn set(
        &mut self,
        row: &Row,
        key: &Bytes,
        value: Bytes,
        expires: Option<u64>,
    ) -> Result<Change, Error> {
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO entries (key, value, version, expires) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (key) DO UPDATE SET value = ?2, version = ?3, expires = ?4",
        )?;
        let version = self.head.sequence;
        statement.execute(params![
            &key[..],
            &value[..],
            version.cast_signed(),
            expires.map(u64::cast_signed)
        ])?;
        self.head.bytes += cost(key.len(), value.len());
        let before = row.length.map_or(0, |length| cost(key.len(), length));
        self.head.bytes = self.head.bytes.saturating_sub(before);
        let entry = Entry {
            value,
            version,
            expires,
        };
        Ok(self.change(key, What::Set(entry)))
    }

    fn remove(&mut self, key: &[u8], length: usize) -> Result<(), Error> {
        let mut statement = self
            .connection
            .prepare_cached("DELETE FROM entries WHERE key = ?1")?;
        statement.execute([key])?;
        self.head.bytes = self.head.bytes.saturating_sub(cost(key.len(), length));
        Ok(())
    }

    fn change(&self, key: &[u8], what: What) -> Change {
        Change {
            sequence: self.head.sequence,
            // It is kept: no piece of a larger message.
            key: Bytes::copy_from_slice(key),
            what,
        }
    }

    /// Removes entries whose time has passed, so many at most.
    pub fn sweep(&mut self, most: u32) -> Result<Vec<Change>, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT key, length(value) FROM entries WHERE expires <= ?1 ORDER BY expires LIMIT ?2",
        )?;
        let rows = statement.query_map(params![self.now.cast_signed(), most], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u32>(1)? as usize))
        })?;
        let over = rows.collect::<Result<Vec<_>, _>>()?;
        if !over.is_empty() {
            self.head.sequence += 1;
        }
        let mut changes = Vec::new();
        for (key, length) in over {
            self.remove(&key, length)?;
            changes.push(self.change(&key, What::Expired));
        }
        Ok(changes)
    }

    /// When the next entry expires.
    pub fn next_expiry(&self) -> Result<Option<u64>, Error> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT min(expires) FROM entries WHERE expires IS NOT NULL")?;
        let next = statement.query_row([], |row| row.get::<_, Option<i64>>(0))?;
        Ok(next.map(i64::unsigned_abs))
    }
}

/// How much the store grows with a key whose value had one length and then has another.
fn grows(key: &[u8], before: Option<usize>, after: Option<usize>) -> i128 {
    let cost = |length: Option<usize>| length.map_or(0, |it| i128::from(cost(key.len(), it)));
    cost(after) - cost(before)
}
