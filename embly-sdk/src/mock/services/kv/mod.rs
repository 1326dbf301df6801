//! Keys and values in memory, so that functions that use [`kv`](crate::kv) are tested without Embly.
//! A store is there when it is first used. Entries expire by the clock of the mock
//! ([`mock::now`](crate::mock::now)).
//!
//! ```
//! # use embly_sdk as embly;
//! use embly::{Conn, Error, kv, mock, prelude::*};
//!
//! async fn greets(mut conn: Conn) -> Result<(), Error> {
//!     kv::set(b"greeted", b"yes").await?;
//!     Ok(conn.write_all(&kv::get(b"greeting").await?)?)
//! }
//!
//! mock::kv::set("default", b"greeting", b"Hello");
//! assert_eq!(mock::spawn(greets).string().unwrap(), "Hello");
//! assert_eq!(mock::kv::get("default", b"greeted").unwrap(), b"yes");
//! ```

mod model;
#[cfg(feature = "kv")]
mod session;

pub(crate) use model::Stores;

use crate::{
    error::Error,
    mock,
    reason::Reason,
    stream::Conn,
    sys::{
        Errno,
        mock::{guest, world::Start},
    },
};
use model::Store;
use std::{io::Write, sync::PoisonError, time::Duration};

const DEFAULT: &str = "default";

/// The services.
pub(crate) fn all() -> Vec<(&'static str, Start)> {
    vec![
        ("embly/kv/get", mock::start(answers_get)),
        ("embly/kv/set", mock::start(answers_set)),
        #[cfg(feature = "kv")]
        ("embly/kv", mock::start(session::serve)),
    ]
}

/// Sets a key, for ever.
pub fn set(store: &str, key: &[u8], value: &[u8]) {
    with(store, |store| {
        store.set(key, value.to_vec(), None);
    });
}

/// The value of a key.
pub fn get(store: &str, key: &[u8]) -> Option<Vec<u8>> {
    with(store, |store| {
        store.get(key).map(|entry| entry.value.clone())
    })
}

/// When a key expires, from now; `None` where it does not, or is not there.
pub fn ttl(store: &str, key: &[u8]) -> Option<Duration> {
    let expires = with(store, |store| store.get(key)?.expires)?;
    Some(expires - mock::now())
}

/// All keys with their values, in order.
pub fn entries(store: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    with(store, |store| {
        let entries = store.entries().iter();
        entries
            .map(|(key, it)| (key.clone(), it.value.clone()))
            .collect()
    })
}

/// Does something with a store, in which nothing has expired.
fn with<T>(name: &str, act: impl FnOnce(&mut Store) -> T) -> T {
    let world = guest::me().world;
    let now = world.now();
    let mut stores = world.kv.lock().unwrap_or_else(PoisonError::into_inner);
    let store = stores.store(name);
    store.pass(now);
    let result = act(store);
    let watchers = store.watchers_to_wake();
    drop(stores);
    watchers.into_iter().for_each(|guest| world.poke(guest));
    result
}

fn answers_get(mut conn: Conn) -> Result<(), Error> {
    let key = conn.bytes()?;
    // Whoever writes gives the turn to others: nothing is locked then.
    match get(DEFAULT, &key) {
        Some(value) => Ok(conn.write_all(&value)?),
        None => mock::end(
            Reason::Refused,
            Errno::NOENT.0.into(),
            "there is no such key",
        ),
    }
}

fn answers_set(conn: Conn) -> Result<(), Error> {
    let request = conn.bytes()?;
    let split = request.split_at_checked(2).and_then(|(length, rest)| {
        let length = u16::from_le_bytes(length.try_into().ok()?);
        rest.split_at_checked(length.into())
    });
    let (key, value) = split.ok_or_else(|| Error::msg("that is not a request to set a key"))?;
    set(DEFAULT, key, value);
    Ok(())
}
