//! From the messages of `embly/kv` to what a store is asked for, with every check, and back.

use bytes::Bytes;
use proto::{request, response, swap, watch, write};
use protos::Errno;
use protos::services::kv as proto;

use super::engine::types::{Entry, Error, Expected, Listing, Outcome, Page, Put, Write};
use super::engine::{Change, Of, What};
use super::{check_key, check_value, errno, permitted};
use crate::limits;
use crate::pool::Function;

/// The longest message, in bytes: a value of the largest size fits in it twice.
pub const MAX_MESSAGE: usize = 256 * 1024;

const _: () = assert!(MAX_MESSAGE > 2 * (super::MAX_KEY + super::MAX_VALUE));

/// Entries of a page where the request does not say.
const PAGE: u32 = 100;

/// Bytes of keys and values on a page.
const PAGE_BYTES: usize = 256 * 1024;

/// The longest time to live: no time of the store's clock overflows, and nobody means it.
const MAX_TTL: u64 = 1000 * 365 * 24 * 60 * 60 * 1000;

/// What a request asks for.
pub enum Asked {
    /// A change.
    Write(Write),
    /// Nothing that changes the store.
    Look(Look),
}

/// What changes nothing.
pub enum Look {
    /// The entry of a key, maybe without its value.
    Get(Bytes, bool),
    /// A page.
    List(Listing),
    /// To be told of changes.
    Watch(Of, Option<u64>),
    /// To be told no more.
    Unwatch(u64),
}

/// Why a request is not done.
pub type Refused = (Errno, String);

/// Who asks, of which store.
pub struct Asker<'a> {
    pub function: &'a Function,
    pub store: &'a str,
}

impl Asker<'_> {
    /// Whether it may read, or write, this key.
    fn may(&self, key: &[u8], write: bool) -> Result<(), Refused> {
        check_key(key)?;
        self.permitted(key, write)
    }

    fn permitted(&self, key: &[u8], write: bool) -> Result<(), Refused> {
        let Self { function, store } = self;
        permitted(&function.allow, &function.name, store, Some(key), write)
            .map_err(|ending| (Errno::ACCES, ending.detail))
    }

    fn limits(&self) -> &limits::Kv {
        &self.function.limits.kv
    }

    /// Checks a request.
    pub fn ask(&self, what: Option<request::What>) -> Result<Asked, Refused> {
        let what = what.ok_or_else(|| invalid("a request that asks for nothing known"))?;
        Ok(match what {
            request::What::Get(get) => {
                self.may(&get.key, false)?;
                Asked::Look(Look::Get(get.key, get.without_value))
            }
            request::What::Set(set) => {
                self.may(&set.key, true)?;
                check_value(&set.value)?;
                Asked::Write(Write::Set {
                    ttl: ttl(set.ttl_ms)?,
                    key: set.key,
                    value: set.value,
                })
            }
            request::What::Delete(delete) => {
                self.may(&delete.key, true)?;
                Asked::Write(Write::Delete { key: delete.key })
            }
            request::What::Swap(swap) => Asked::Write(self.swap(swap)?),
            request::What::Increment(increment) => {
                // The answer tells what is there.
                self.may(&increment.key, true)?;
                self.may(&increment.key, false)?;
                Asked::Write(Write::Increment {
                    ttl: ttl(increment.ttl_ms)?,
                    key: increment.key,
                    by: increment.by,
                })
            }
            request::What::Expire(expire) => {
                self.may(&expire.key, true)?;
                Asked::Write(Write::Expire {
                    ttl: ttl(expire.ttl_ms)?,
                    key: expire.key,
                })
            }
            request::What::List(list) => Asked::Look(Look::List(self.list(list)?)),
            request::What::Batch(batch) => Asked::Write(self.batch(batch)?),
            request::What::Watch(watch) => self.watch(watch)?,
            request::What::Unwatch(unwatch) => Asked::Look(Look::Unwatch(unwatch.watch)),
        })
    }

    fn swap(&self, swap: proto::Swap) -> Result<Write, Refused> {
        self.may(&swap.key, true)?;
        self.may(&swap.key, false)?;
        let expected = match swap.expected {
            Some(swap::Expected::Absent(true)) => Expected::Absent,
            Some(swap::Expected::Value(value)) => Expected::Value(value),
            Some(swap::Expected::Version(version)) if version > 0 => Expected::Version(version),
            Some(swap::Expected::Absent(false) | swap::Expected::Version(_)) | None => {
                return Err(invalid("a swap says what is expected"));
            }
        };
        if let Some(new) = &swap.new {
            check_value(new)?;
        } else if swap.ttl_ms.is_some() {
            return Err(invalid("what is deleted has no time to live"));
        }
        Ok(Write::Swap {
            ttl: ttl(swap.ttl_ms)?,
            key: swap.key,
            expected,
            new: swap.new,
        })
    }

    fn list(&self, list: proto::List) -> Result<Listing, Refused> {
        if list.prefix.len() > super::MAX_KEY || list.after.len() > super::MAX_KEY {
            let detail = format!("a prefix has at most {} bytes", super::MAX_KEY);
            return Err((Errno::TOOBIG, detail));
        }
        self.permitted(&list.prefix, false)?;
        let most = self.limits().page;
        let limit = if list.limit == 0 {
            PAGE.min(most)
        } else {
            list.limit
        };
        if limit > most {
            let detail =
                format!("a page has at most {most} entries, not {limit}: `kv: {{page: …}}`");
            return Err((Errno::TOOBIG, detail));
        }
        Ok(Listing {
            prefix: list.prefix,
            after: list.after,
            limit: limit as usize,
            bytes: PAGE_BYTES,
            values: !list.without_values,
        })
    }

    fn batch(&self, batch: proto::Batch) -> Result<Write, Refused> {
        let (count, most) = (batch.checks.len() + batch.writes.len(), self.limits().batch);
        if count > most as usize {
            let detail = format!(
                "a batch has at most {most} checks and writes, not {count}: `kv: {{batch: …}}`"
            );
            return Err((Errno::TOOBIG, detail));
        }
        let mut checks = Vec::with_capacity(batch.checks.len());
        for check in batch.checks {
            self.may(&check.key, false)?;
            checks.push((check.key, check.version));
        }
        let mut writes: Vec<Put> = Vec::with_capacity(batch.writes.len());
        for write in batch.writes {
            let (key, new) = match write.what {
                Some(write::What::Set(set)) => {
                    check_value(&set.value)?;
                    (set.key, Some((set.value, ttl(set.ttl_ms)?)))
                }
                Some(write::What::Delete(delete)) => (delete.key, None),
                None => return Err(invalid("a write of a batch that is nothing known")),
            };
            self.may(&key, true)?;
            writes.push((key, new));
        }
        Ok(Write::Batch { checks, writes })
    }

    fn watch(&self, watch: proto::Watch) -> Result<Asked, Refused> {
        let of = match watch.what {
            Some(watch::What::Key(key)) => {
                self.may(&key, false)?;
                Of::Key(key)
            }
            Some(watch::What::Prefix(prefix)) => {
                if prefix.len() > super::MAX_KEY {
                    let detail = format!("a prefix has at most {} bytes", super::MAX_KEY);
                    return Err((Errno::TOOBIG, detail));
                }
                self.permitted(&prefix, false)?;
                Of::Prefix(prefix)
            }
            None => return Err(invalid("a watch is of a key, or of a prefix")),
        };
        Ok(Asked::Look(Look::Watch(of, watch.after)))
    }
}

fn invalid(detail: &str) -> Refused {
    (Errno::INVAL, detail.to_owned())
}

fn ttl(ttl: Option<u64>) -> Result<Option<u64>, Refused> {
    match ttl {
        Some(0) => Err(invalid("a time to live is at least one millisecond")),
        Some(ttl) if ttl > MAX_TTL => Err(invalid("a time to live is at most a thousand years")),
        ttl => Ok(ttl),
    }
}

/// An answer.
pub fn response(id: u64, what: response::What) -> proto::Response {
    let what = Some(what);
    proto::Response { id, what }
}

/// The answer to what is not done.
pub fn refusal(id: u64, (errno, detail): Refused) -> proto::Response {
    let errno = u32::from(errno.0);
    response(id, response::What::Error(proto::Error { errno, detail }))
}

/// The answer to what has failed.
pub fn failure(id: u64, error: &Error) -> proto::Response {
    refusal(id, (errno(error), error.to_string()))
}

/// The answer to a change.
pub fn outcome(id: u64, asked: Kind, outcome: Outcome, now: u64) -> proto::Response {
    let what = match outcome {
        Outcome::Changed { existed, version } => {
            let changed = proto::Changed { existed, version };
            match asked {
                Kind::Expire => response::What::Expiry(changed),
                Kind::Other => response::What::Changed(changed),
            }
        }
        Outcome::Swapped(version) => response::What::Swapped(proto::Swapped {
            swapped: true,
            version,
            current: None,
        }),
        Outcome::Other(current) => {
            let current = current.filter(|entry| !entry.is_over(now));
            response::What::Swapped(proto::Swapped {
                swapped: false,
                version: current.as_ref().map_or(0, |entry| entry.version),
                // Its key is known.
                current: current.map(|it| entry(Bytes::new(), it, now)),
            })
        }
        Outcome::Sum { value, version } => {
            response::What::Incremented(proto::Incremented { value, version })
        }
        Outcome::Committed(version) => response::What::Committed(proto::Committed {
            applied: true,
            version,
            failed: 0,
        }),
        Outcome::Failed(number) => response::What::Committed(proto::Committed {
            applied: false,
            version: 0,
            failed: u32::try_from(number).unwrap_or(u32::MAX),
        }),
    };
    response(id, what)
}

/// What of a change its answer depends on.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// It was one of the time to live.
    Expire,
    /// It was another.
    Other,
}

impl Kind {
    /// That of a change.
    pub fn of(write: &Write) -> Self {
        match write {
            Write::Expire { .. } => Self::Expire,
            Write::Set { .. }
            | Write::Delete { .. }
            | Write::Swap { .. }
            | Write::Increment { .. }
            | Write::Batch { .. } => Self::Other,
        }
    }
}

/// The answer to a get.
pub fn found(id: u64, found: Option<Entry>, without_value: bool, now: u64) -> proto::Response {
    let found = found.map(|mut it| {
        if without_value {
            it.value = Bytes::new();
        }
        // Its key is known.
        entry(Bytes::new(), it, now)
    });
    response(id, response::What::Found(proto::Found { entry: found }))
}

/// The answer to a list. What has expired since it was read is left out.
pub fn page(id: u64, page: Page, now: u64) -> proto::Response {
    let last = page.entries.last().filter(|_| page.more);
    let next = last.map(|(key, _)| key.clone()).unwrap_or_default();
    let entries = page.entries.into_iter();
    let entries = entries.filter(|(_, entry)| !entry.is_over(now));
    let entries = entries.map(|(key, it)| entry(key, it, now)).collect();
    response(id, response::What::Page(proto::Page { entries, next }))
}

fn entry(key: Bytes, entry: Entry, now: u64) -> proto::Entry {
    proto::Entry {
        key,
        value: entry.value,
        version: entry.version,
        ttl_ms: entry.expires.map(|expires| expires.saturating_sub(now)),
    }
}

/// What a watch tells.
pub fn event(id: u64, change: Change, now: u64) -> proto::Response {
    use proto::event::What as Told;
    let what = match change.what {
        // A key whose time has passed is never shown.
        What::Set(it) if it.is_over(now) => Told::Expired(change.key),
        What::Set(it) => Told::Set(entry(change.key, it, now)),
        What::Deleted => Told::Deleted(change.key),
        What::Expired => Told::Expired(change.key),
    };
    told(id, change.sequence, what)
}

/// What a watch tells that has missed something.
pub fn fell_behind(id: u64, sequence: u64) -> proto::Response {
    told(id, sequence, proto::event::What::FellBehind(true))
}

fn told(id: u64, sequence: u64, what: proto::event::What) -> proto::Response {
    let what = Some(what);
    response(id, response::What::Event(proto::Event { sequence, what }))
}
