//! The HTTP client: `embly/http`. A function says what it wants to ask, the service looks whether it
//! may, asks, follows redirects, and hands on what comes back.
//!
//! - `request`: what a caller asks for, checked;
//! - `call`: one call, from the request to the last byte of the response;
//! - `way`: whether a function may go there, and how far it is trusted;
//! - `pool`, `connection`: connections to servers, and HTTP on them;
//! - `body`, `decode`: the bytes that go there, and those that come back;
//! - `redirect`, `failure`: what servers answer instead, and what goes wrong.
//!
//! All of it runs on a thread of its own: what TLS and unpacking take of a processor is not taken
//! from the thread that moves everybody's bytes.

mod body;
mod call;
mod clock;
mod connection;
mod decode;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod pool;
mod redirect;
mod request;
mod thread;
mod way;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use protos::Ending;

use super::outbound::Dialler;
use super::outbound::tls::Authorities;
use super::{Apply, Caller, ConfigureError, Service, Session, Settings};
use call::Call;
use pool::Pool;
use thread::Thread;
use way::Tls;

const NAME: &str = "embly/http";

/// The service.
#[derive(Debug)]
pub struct Http {
    thread: Thread,
    client: Arc<Client>,
}

/// What all calls share.
#[derive(Debug)]
struct Client {
    dialler: Arc<Dialler>,
    pool: Arc<Pool>,
    /// Whom to trust, by the file of an entry.
    tls: RwLock<HashMap<Option<PathBuf>, Tls>>,
    room: decode::Room,
}

impl Http {
    /// Not configured yet.
    pub fn new(dialler: Arc<Dialler>) -> Self {
        let client = Client {
            dialler,
            pool: Arc::default(),
            tls: RwLock::default(),
            room: decode::Room::default(),
        };
        Self {
            thread: Thread::default(),
            client: Arc::new(client),
        }
    }
}

impl Service for Http {
    fn names(&self) -> &'static [&'static str] {
        &[NAME]
    }

    fn configure(&self, settings: &Settings<'_>) -> Result<Apply, ConfigureError> {
        let functions = &settings.project.functions;
        let grants = functions.iter().flat_map(|function| &function.allow.http);
        let mut files: Vec<_> = grants.map(|grant| grant.ca.clone()).collect();
        files.sort();
        files.dedup();
        if !files.is_empty() {
            Dialler::check_settings().map_err(ConfigureError::Other)?;
        }
        let mut tls = HashMap::new();
        let mut system = None;
        for file in files {
            let system = system.get_or_insert_with(Authorities::of_the_system);
            let authorities = match &file {
                None => Ok(system.clone()),
                Some(file) => system.with_file(file),
            };
            let made = authorities.and_then(|authorities| Tls::new(&authorities));
            let made = made.map_err(|error| ConfigureError::Other(error.to_string()))?;
            tls.insert(file, made);
        }
        let client = Arc::clone(&self.client);
        Ok(Box::new(move || {
            *client.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        }))
    }

    /// The first message says what is asked for; a refusal names it.
    fn check(&self, _: &str, _: &Caller) -> Result<(), Ending> {
        Ok(())
    }

    fn open(&self, _: &str, caller: Caller) -> Box<dyn Session> {
        Box::new(Call {
            caller,
            client: Arc::clone(&self.client),
            runtime: self.thread.runtime(),
        })
    }
}
