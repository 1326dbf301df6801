//! Keys and values: `embly/kv/get` and `embly/kv/set`, as in the original Embly, and `embly/kv`,
//! which does the rest over a stream that is held open.

mod engine;
mod original;
mod request;
mod session;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use protos::{Ending, Errno, is_name};

use super::{Apply, Caller, ConfigureError, Service, Session, Settings};
use crate::allow::{Allow, Item};
use crate::config::{Durability, StoreKind};
use crate::report::{Often, Reporter};
use engine::clock::Clock;
use engine::types::Error;
use engine::{Engine, Say};

const GET: &str = "embly/kv/get";
const SET: &str = "embly/kv/set";
const KV: &str = "embly/kv";

/// The store of [`GET`] and [`SET`].
const DEFAULT: &str = "default";

/// The longest key in a message, in bytes.
const LONGEST_SHOWN: usize = 100;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 10_000;

/// The longest value, in bytes.
pub const MAX_VALUE: usize = 100_000;

/// The service.
#[derive(Debug, Default)]
pub struct Kv {
    /// The stores of the project, by their names.
    stores: Arc<Stores>,
    /// All that were ever opened, by their files. They stay open until the master ends: calls of
    /// functions that still run may use them, and a file has one engine.
    open: Mutex<HashMap<PathBuf, Arc<Engine>>>,
}

type Stores = RwLock<HashMap<String, Arc<Engine>>>;

impl Service for Kv {
    fn names(&self) -> &'static [&'static str] {
        &[GET, SET, KV]
    }

    fn configure(&self, settings: &Settings<'_>) -> Result<Apply, ConfigureError> {
        let (mut stores, mut changes) = (HashMap::new(), Vec::new());
        for store in &settings.project.stores {
            let StoreKind::Kv { durability, size } = store.kind else {
                continue;
            };
            let path = settings.state()?.path(&store.path);
            let size = size.unwrap_or(u64::MAX);
            let engine = self.engine(&path, durability, size, settings.reporter, &store.name);
            let engine = engine.map_err(|error| {
                ConfigureError::Other(format!(
                    "cannot open the store `{}` in `{}`: {error}",
                    store.name,
                    path.display()
                ))
            })?;
            changes.push((Arc::clone(&engine), durability, size));
            stores.insert(store.name.clone(), engine);
        }
        let current = Arc::clone(&self.stores);
        Ok(Box::new(move || {
            for (engine, durability, size) in changes {
                engine.set(durability, size);
            }
            *current.write().unwrap_or_else(PoisonError::into_inner) = stores;
        }))
    }

    fn check(&self, name: &str, caller: &Caller) -> Result<(), Ending> {
        let function = &caller.function;
        if name == KV {
            // Which store, it says on the stream.
            return match function.allow.kv.first() {
                Some(_) => Ok(()),
                None => Err(none_allowed(&self.stores, &function.allow, &function.name)),
            };
        }
        store(&self.stores, DEFAULT, &function.allow, &function.name)?;
        permitted(&function.allow, &function.name, DEFAULT, None, name == SET)
    }

    fn open(&self, name: &str, caller: Caller) -> Box<dyn Session> {
        let stores = Arc::clone(&self.stores);
        if name == KV {
            return Box::new(session::Opening { caller, stores });
        }
        Box::new(original::Original {
            caller,
            stores,
            sets: name == SET,
        })
    }
}

impl Kv {
    fn engine(
        &self,
        path: &PathBuf,
        durability: Durability,
        size: u64,
        reporter: &Reporter,
        name: &str,
    ) -> Result<Arc<Engine>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = open.get(path).filter(|engine| !engine.has_stopped()) {
            return Ok(Arc::clone(engine));
        }
        // One that has stopped lets its file go.
        open.remove(path);
        let say = say(reporter, name);
        let engine = Engine::open(path, durability, size, Clock::real(), say)?;
        let engine = Arc::new(engine);
        open.insert(path.clone(), Arc::clone(&engine));
        Ok(engine)
    }
}

/// Tells the operator what goes wrong with a store.
fn say(reporter: &Reporter, store: &str) -> Say {
    let (reporter, store) = (reporter.clone(), store.to_owned());
    let often = Mutex::new(Often::default());
    Box::new(move |text| {
        let mut often = often.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(more) = often.say() {
            reporter.warn(format!("store `{store}`: {text}{more}"));
        }
    })
}

/// The store of this name, for a function of this name.
fn store(
    stores: &Stores,
    name: &str,
    allow: &Allow,
    function: &str,
) -> Result<Arc<Engine>, Ending> {
    let stores = stores.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(engine) = stores.get(name) {
        return Ok(Arc::clone(engine));
    }
    if !is_name(name) {
        let detail = "a store has a name of lower-case letters, digits and `-`, at most 63 of them";
        return Err(Ending::refused(Errno::INVAL, detail));
    }
    let item = Item::map(&[("store", name), ("access", "read-write")]);
    let advice = allow.written.advice("kv", item, function);
    let detail = format!(
        "there is no store `{name}`: add `- {{name: {name}, type: kv}}` to `stores`, and {advice}"
    );
    Err(Ending::refused(Errno::NOENT, detail))
}

/// Why a function that may use no store has none, with all that is missing in the project file.
fn none_allowed(stores: &Stores, allow: &Allow, function: &str) -> Ending {
    let stores = stores.read().unwrap_or_else(PoisonError::into_inner);
    let name = stores.keys().min().map_or(DEFAULT, String::as_str);
    let item = Item::map(&[("store", name), ("access", "read-write")]);
    let advice = allow.written.advice("kv", item, function);
    let store = match stores.is_empty() {
        true => format!(", and `- {{name: {name}, type: kv}}` to `stores`"),
        false => String::new(),
    };
    let detail = format!("function `{function}` may not use the store `{name}`: {advice}{store}");
    Ending::refused(Errno::ACCES, detail)
}

/// Whether the project file lets a function read, or write, this key of this store, or all keys that
/// begin with it; without a key: any.
fn permitted(
    allow: &Allow,
    function: &str,
    store: &str,
    key: Option<&[u8]>,
    write: bool,
) -> Result<(), Ending> {
    let grants = allow.kv.iter().filter(|grant| grant.store == store);
    let fits = |prefix: &str| key.is_none_or(|key| key.starts_with(prefix.as_bytes()));
    if grants
        .clone()
        .any(|grant| fits(&grant.prefix) && (grant.write || !write))
    {
        return Ok(());
    }
    let (does, access) = if write {
        ("change", "read-write")
    } else {
        ("read", "read")
    };
    let what = match key {
        Some(key) if grants.count() > 0 => {
            format!("{} of the store `{store}`", shown(key))
        }
        _ => format!("the store `{store}`"),
    };
    let prefix = prefix(key);
    // One that says the same of a lesser access is replaced.
    let mut grants = allow.kv.iter();
    let at = grants.position(|grant| grant.store == store && grant.prefix == prefix);
    let item = match prefix {
        "" => Item::map(&[("store", store), ("access", access)]),
        prefix => Item::map(&[("store", store), ("prefix", prefix), ("access", access)]),
    };
    let at = at.unwrap_or(usize::MAX);
    let advice = allow.written.instead("kv", at, item, function);
    let detail = format!("function `{function}` may not {does} {what}: {advice}");
    Err(Ending::refused(Errno::ACCES, detail))
}

/// The prefix that allows no more than was asked for, if a project file can well say it.
fn prefix(key: Option<&[u8]>) -> &str {
    let key = key.filter(|key| key.len() <= LONGEST_SHOWN);
    let text = key.and_then(|key| str::from_utf8(key).ok());
    let text = text.filter(|text| !text.contains(char::is_control));
    text.unwrap_or_default()
}

/// A key in a message; a long one not whole.
fn shown(key: &[u8]) -> String {
    let dots = if key.len() > LONGEST_SHOWN { "…" } else { "" };
    let key = &key[..key.len().min(LONGEST_SHOWN)];
    format!("the key `{}{dots}`", key.escape_ascii())
}

/// Why a key cannot be used.
fn check_key(key: &[u8]) -> Result<(), (Errno, String)> {
    match key.len() {
        0 => Err((Errno::INVAL, "a key is not empty".to_owned())),
        1..=MAX_KEY => Ok(()),
        length => {
            let detail = format!("a key has at most {MAX_KEY} bytes, not {length}");
            Err((Errno::TOOBIG, detail))
        }
    }
}

/// Why a value cannot be kept.
fn check_value(value: &Bytes) -> Result<(), (Errno, String)> {
    if value.len() > MAX_VALUE {
        let detail = format!("a value has at most {MAX_VALUE} bytes, not {}", value.len());
        return Err((Errno::TOOBIG, detail));
    }
    Ok(())
}

/// The errno for what a store answers.
fn errno(error: &Error) -> Errno {
    match error {
        Error::Failed(_) | Error::Stopped => Errno::IO,
        Error::Full { .. } => Errno::NOSPC,
        Error::NotANumber | Error::Overflow => Errno::INVAL,
    }
}
