//! SQL: `embly/sql`, SQLite databases of the project.
//!
//! SQL that a function sends is hostile input to a large C library, so it runs in processes of its
//! own (`embly_wrapper::sql`), which are kept for the function that they were started for. Here is
//! what arbitrates between them: whose turn it is to write ([`turns`]), who has which process
//! ([`store`], [`lease`]), and when a transaction has been open for too long ([`session`]).

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod lease;
mod migrate;
mod request;
mod session;
mod store;
mod turns;
mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use protos::{Ending, Errno};
use tokio::time::timeout;

use super::{Apply, Caller, ConfigureError, Service, Session, Settings};
use crate::allow::{Allow, Item};
use crate::config::{Migration, StoreKind};
use crate::limits::SQL_WAIT;
use store::{Kind, Shared, Store};
use turns::Turn;

const NAME: &str = "embly/sql";

/// The service.
#[derive(Debug, Default)]
pub struct Sql {
    stores: Stores,
    /// Made when the first store is.
    shared: Mutex<Option<Arc<Shared>>>,
}

/// The stores, by their names.
#[derive(Debug, Clone, Default)]
struct Stores(Arc<RwLock<HashMap<String, Arc<Store>>>>);

impl Service for Sql {
    fn names(&self) -> &'static [&'static str] {
        &[NAME]
    }

    fn configure(&self, settings: &Settings<'_>) -> Result<Apply, ConfigureError> {
        let before = self.stores.all();
        let mut stores = HashMap::new();
        let mut kinds = Vec::new();
        // What can be wrong without a database is looked at before any is touched.
        let mut read = Vec::new();
        for store in &settings.project.stores {
            let StoreKind::Sql {
                durability,
                size,
                migrations,
            } = &store.kind
            else {
                continue;
            };
            let kind = Kind {
                durability: *durability,
                // SQLite itself has an end far below.
                size: size.unwrap_or(i64::MAX.cast_unsigned()),
            };
            read.push((store, kind, self.read(&store.name, migrations)?));
        }
        for (store, kind, migrations) in read {
            let failed = |why: String| failed(&store.name, &why);
            let path = settings.state()?.path(&store.path);
            let path = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
            }
            let same = before.values().find(|store| store.path == path);
            let open = match same {
                Some(open) => Arc::clone(open),
                None => {
                    let shared = self.shared().map_err(|error| failed(error.to_string()))?;
                    Arc::new(Store::new(&store.name, path, kind, &shared))
                }
            };
            // Nobody else writes meanwhile.
            let turn = same.map(turn).transpose().map_err(failed)?;
            let later = settings.project.among_versions;
            let applied = migrate::migrate(&open.path, kind, &migrations, later).map_err(failed)?;
            drop(turn);
            for name in applied {
                let text = format!("store `{}`: applied the migration `{name}`", store.name);
                settings.reporter.info(text);
            }
            kinds.push((Arc::clone(&open), kind));
            stores.insert(store.name.clone(), open);
        }
        let current = self.stores.clone();
        Ok(Box::new(move || {
            for (store, kind) in kinds {
                store.set_kind(kind);
            }
            *current.0.write().unwrap_or_else(PoisonError::into_inner) = stores;
        }))
    }

    fn check(&self, _: &str, caller: &Caller) -> Result<(), Ending> {
        let function = &caller.function;
        if !function.allow.sql.is_empty() {
            return Ok(());
        }
        let mut names: Vec<_> = self.stores.all().into_keys().collect();
        names.sort();
        let name = names.first().map_or("main", String::as_str);
        let (allow, function) = (&function.allow, &function.name);
        let mut ending = refused(allow, function, name, "use the store", "read-write");
        if names.is_empty() {
            let store = format!(", and `- {{name: {name}, type: sql}}` to `stores`");
            ending.detail.push_str(&store);
        }
        Err(ending)
    }

    fn open(&self, _: &str, caller: Caller) -> Box<dyn Session> {
        Box::new(session::Call {
            caller,
            stores: self.stores.clone(),
        })
    }
}

/// The right to write a store that is in use; `None` where nobody else runs.
fn turn(open: &Arc<Store>) -> Result<Option<Turn>, String> {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return Ok(None);
    };
    let taken = async { timeout(SQL_WAIT, open.turns.take(&NAME.into())).await };
    runtime.block_on(taken).map(Some).map_err(|_| {
        format!(
            "a function has had a transaction open that writes for {} s, so migrations cannot be \
             looked at; try again, or lower its `limits: {{sql: {{transaction: …}}}}`",
            SQL_WAIT.as_secs()
        )
    })
}

fn failed(store: &str, why: &str) -> ConfigureError {
    ConfigureError::Other(format!("the store `{store}` cannot be used: {why}"))
}

impl Sql {
    fn read(
        &self,
        store: &str,
        migrations: &[Migration],
    ) -> Result<Vec<migrate::Read>, ConfigureError> {
        migrate::read(migrations).map_err(|why| failed(store, &why))
    }

    fn shared(&self) -> std::io::Result<Arc<Shared>> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = &*shared {
            return Ok(Arc::clone(shared));
        }
        let made = Arc::new(Shared::new()?);
        Ok(Arc::clone(shared.insert(made)))
    }
}

impl Stores {
    fn all(&self) -> HashMap<String, Arc<Store>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn get(&self, name: &str) -> Option<Arc<Store>> {
        let stores = self.0.read().unwrap_or_else(PoisonError::into_inner);
        stores.get(name).cloned()
    }
}

/// Whether the project file lets a function use this store, to write or only to read.
fn permitted(allow: &Allow, function: &str, store: &str, write: bool) -> Result<(), Ending> {
    let mut grants = allow.sql.iter().filter(|grant| grant.store == store);
    if grants.any(|grant| grant.write || !write) {
        return Ok(());
    }
    let (does, access) = if write {
        ("change the store", "read-write")
    } else {
        ("read the store", "read")
    };
    Err(refused(allow, function, store, does, access))
}

fn refused(allow: &Allow, function: &str, store: &str, does: &str, access: &str) -> Ending {
    let item = Item::map(&[("store", store), ("access", access)]);
    // One that is there says less.
    let at = allow.sql.iter().position(|grant| grant.store == store);
    let at = at.unwrap_or(usize::MAX);
    let advice = allow.written.instead("sql", at, item, function);
    let detail = format!("function `{function}` may not {does} `{store}`: {advice}");
    Ending::refused(Errno::ACCES, detail)
}
