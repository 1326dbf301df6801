//! The stand-in for `embly/kv`.

use super::{
    model::{Change, Entry, Store, What},
    with,
};
use crate::{
    error::Error, mock, proto::kv as proto, reason::Reason, stream::Conn, sys::mock::guest, task,
};
use prost::Message;
use proto::{event::What as Told, request::What as Request, response::What as Response};
use std::{
    collections::BTreeMap, future::poll_fn, io::Write, pin::pin, task::Poll, time::Duration,
};

const INVALID: i32 = 28;

pub(super) async fn serve(conn: Conn) -> Result<(), Error> {
    let mut session = Session {
        conn,
        input: Vec::new(),
        store: String::new(),
        watches: BTreeMap::new(),
    };
    let Some(open) = session.message::<proto::Open>().await? else {
        mock::end(
            Reason::Refused,
            INVALID,
            "the stream ended before its `Open`",
        )
    };
    session.store = open.store;
    while let Some(request) = session.message::<proto::Request>().await? {
        let response = session.answer(request);
        session.write(&response)?;
    }
    Ok(())
}

struct Session {
    conn: Conn,
    input: Vec<u8>,
    store: String,
    watches: BTreeMap<u64, Watch>,
}

struct Watch {
    what: proto::watch::What,
    /// All up to this number was told.
    told: u64,
}

impl Session {
    /// The next message; tells what has changed while it waits.
    async fn message<M: Message + Default>(&mut self) -> Result<Option<M>, Error> {
        loop {
            if let Some(length) = self.input.first_chunk() {
                let end = 4 + u32::from_le_bytes(*length) as usize;
                if let Some(message) = self.input.get(4..end) {
                    let message = M::decode(message);
                    self.input.drain(..end);
                    return Ok(Some(message?));
                }
            }
            self.tell()?;
            if !self.arrives().await? {
                return Ok(None);
            }
        }
    }

    /// Waits until more has arrived (`false`: the end), or there is something to tell.
    async fn arrives(&mut self) -> Result<bool, Error> {
        let expiry = with(&self.store, |store| {
            let next = store.next_expiry().filter(|_| !self.watches.is_empty());
            next.map(|at| at.saturating_sub(store.now()))
        });
        let mut sleep = pin!(task::sleep(expiry.unwrap_or_default()));
        let mut first = true;
        poll_fn(|cx| {
            let found = {
                use std::future::Future;
                let mut conn = self.conn;
                std::pin::Pin::new(&mut conn).poll(cx)
            };
            if let Poll::Ready(arrived) = found {
                arrived?;
                let bytes = self.conn.now();
                self.input.extend(&bytes);
                return Poll::Ready(Ok(!bytes.is_empty()));
            }
            let due = expiry.is_some() && {
                use std::future::Future;
                sleep.as_mut().poll(cx).is_ready()
            };
            // Somebody who changes something has our stream report a change.
            let woken = !std::mem::take(&mut first) && !self.watches.is_empty();
            if due || woken {
                return Poll::Ready(Ok(true));
            }
            Poll::Pending
        })
        .await
    }

    fn write(&mut self, response: &proto::Response) -> Result<(), Error> {
        let message = response.encode_to_vec();
        let length = u32::try_from(message.len())?;
        self.conn
            .write_all(&[&length.to_le_bytes()[..], &message].concat())?;
        Ok(())
    }

    fn tell(&mut self) -> Result<(), Error> {
        let mut responses = Vec::new();
        with(&self.store, |store| {
            for (id, watch) in &mut self.watches {
                let changes = store.after(watch.told).iter();
                let changes = changes.filter(|change| watch.wants(&change.key));
                responses.extend(changes.map(|change| event(*id, change, store.now())));
                watch.told = store.sequence();
            }
        });
        responses
            .iter()
            .try_for_each(|response| self.write(response))
    }

    fn answer(&mut self, request: proto::Request) -> proto::Response {
        let id = request.id;
        let what = match request.what {
            Some(Request::Watch(watch)) => self.watch(id, watch),
            Some(Request::Unwatch(unwatch)) => {
                let existed = self.watches.remove(&unwatch.watch).is_some();
                Ok(Response::Unwatched(proto::Unwatched { existed }))
            }
            Some(what) => with(&self.store, |store| answer(store, what)),
            None => Err("a request that asks for nothing known".to_owned()),
        };
        let what = Some(what.unwrap_or_else(|detail| {
            let errno = INVALID.unsigned_abs();
            Response::Error(proto::Error { errno, detail })
        }));
        proto::Response { id, what }
    }

    fn watch(&mut self, id: u64, watch: proto::Watch) -> Result<Response, String> {
        let what = watch.what.ok_or("a watch is of a key, or of a prefix")?;
        let guest = guest::me().guest;
        let told = with(&self.store, |store| {
            store.watch(guest);
            watch.after.unwrap_or(store.sequence())
        });
        self.watches.insert(id, Watch { what, told });
        let sequence = told;
        Ok(Response::Watching(proto::Watching { sequence }))
    }
}

impl Watch {
    fn wants(&self, key: &[u8]) -> bool {
        match &self.what {
            proto::watch::What::Key(of) => key == of,
            proto::watch::What::Prefix(of) => key.starts_with(of),
        }
    }
}

fn event(id: u64, change: &Change, now: Duration) -> proto::Response {
    let key = change.key.clone();
    let what = match &change.what {
        What::Set(it) if it.expires.is_some_and(|at| at <= now) => Told::Expired(key),
        What::Set(it) => Told::Set(entry(&key, it, now)),
        What::Deleted => Told::Deleted(key),
        What::Expired => Told::Expired(key),
    };
    let (sequence, what) = (change.sequence, Some(what));
    let what = Some(Response::Event(proto::Event { sequence, what }));
    proto::Response { id, what }
}

fn entry(key: &[u8], entry: &Entry, now: Duration) -> proto::Entry {
    let ttl = entry.expires.map(|at| at.saturating_sub(now).as_millis());
    proto::Entry {
        key: key.to_vec(),
        value: entry.value.clone(),
        version: entry.version,
        ttl_ms: ttl.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)),
    }
}

fn changed(existed: bool, version: u64) -> Response {
    Response::Changed(proto::Changed { existed, version })
}

fn answer(store: &mut Store, what: Request) -> Result<Response, String> {
    let now = store.now();
    let at = |ttl: Option<u64>| ttl.map(|millis| now + Duration::from_millis(millis));
    Ok(match what {
        Request::Get(get) => {
            check(&get.key)?;
            let mut entry = store.get(&get.key).map(|it| entry(&[], it, now));
            if let Some(entry) = entry.as_mut().filter(|_| get.without_value) {
                entry.value.clear();
            }
            Response::Found(proto::Found { entry })
        }
        Request::Set(set) => {
            check(&set.key)?;
            let existed = store.get(&set.key).is_some();
            changed(existed, store.set(&set.key, set.value, at(set.ttl_ms)))
        }
        Request::Delete(delete) => {
            check(&delete.key)?;
            changed(store.remove(&delete.key), 0)
        }
        Request::Swap(swap) => {
            check(&swap.key)?;
            let current = store.get(&swap.key);
            let holds = match swap.expected.ok_or("a swap says what is expected")? {
                proto::swap::Expected::Absent(_) => current.is_none(),
                proto::swap::Expected::Value(value) => {
                    current.is_some_and(|entry| entry.value == value)
                }
                proto::swap::Expected::Version(version) => {
                    current.is_some_and(|entry| entry.version == version)
                }
            };
            let current = current.filter(|_| !holds).map(|it| entry(&[], it, now));
            let version = match swap.new {
                _ if !holds => current.as_ref().map_or(0, |entry| entry.version),
                Some(new) => store.set(&swap.key, new, at(swap.ttl_ms)),
                None => {
                    store.remove(&swap.key);
                    0
                }
            };
            Response::Swapped(proto::Swapped {
                swapped: holds,
                version,
                current,
            })
        }
        Request::Increment(increment) => {
            check(&increment.key)?;
            let (before, expires) = match store.get(&increment.key) {
                None => (0, at(increment.ttl_ms)),
                Some(entry) => {
                    let text = String::from_utf8_lossy(&entry.value);
                    let number = text.parse::<i64>();
                    let not =
                        "the value is not a whole number of 64 bits, so it cannot be incremented";
                    (number.map_err(|_| not)?, entry.expires)
                }
            };
            let value = before.checked_add(increment.by);
            let value = value.ok_or("the sum does not fit in 64 bits")?;
            let version = store.set(&increment.key, value.to_string().into_bytes(), expires);
            Response::Incremented(proto::Incremented { value, version })
        }
        Request::Expire(expire) => {
            check(&expire.key)?;
            let existed = store.expire(&expire.key, at(expire.ttl_ms));
            let version = store.version(&expire.key);
            Response::Expiry(proto::Changed { existed, version })
        }
        Request::List(list) => {
            let limit = match list.limit {
                0 => 100,
                limit => limit as usize,
            };
            let fits = |key: &Vec<u8>| key.starts_with(&list.prefix) && *key > list.after;
            let found = store.entries().iter().filter(|(key, _)| fits(key));
            let mut entries: Vec<_> = found.map(|(key, it)| entry(key, it, now)).collect();
            let more = entries.len() > limit;
            entries.truncate(limit);
            if list.without_values {
                entries.iter_mut().for_each(|entry| entry.value.clear());
            }
            let last = entries.last().filter(|_| more);
            let next = last.map(|entry| entry.key.clone()).unwrap_or_default();
            Response::Page(proto::Page { entries, next })
        }
        Request::Batch(batch) => {
            let mut checks = batch.checks.iter();
            let failed = checks.position(|check| store.version(&check.key) != check.version);
            for write in batch.writes.into_iter().filter(|_| failed.is_none()) {
                match write
                    .what
                    .ok_or("a write of a batch that is nothing known")?
                {
                    proto::write::What::Set(set) => {
                        store.set(&set.key, set.value, at(set.ttl_ms));
                    }
                    proto::write::What::Delete(delete) => {
                        store.remove(&delete.key);
                    }
                }
            }
            Response::Committed(proto::Committed {
                applied: failed.is_none(),
                version: if failed.is_none() {
                    store.sequence()
                } else {
                    0
                },
                failed: failed.map_or(0, |at| u32::try_from(at).unwrap_or(u32::MAX)),
            })
        }
        Request::Watch(_) | Request::Unwatch(_) => {
            return Err("a watch belongs to its stream".to_owned());
        }
    })
}

fn check(key: &[u8]) -> Result<(), String> {
    match key.len() {
        1..=10_000 => Ok(()),
        0 => Err("a key is not empty".to_owned()),
        length => Err(format!("a key has at most 10000 bytes, not {length}")),
    }
}
