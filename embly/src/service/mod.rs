//! Services: what functions may reach outside of themselves, each a special function that the host
//! provides. A function spawns one by its name, which has a slash in it, and speaks with it over the
//! stream; the project file says which function may use which, default nothing.
//!
//! A service is a module here, and a line in `all`. No service knows another.

pub mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod http;
pub mod kv;
pub mod outbound;
mod sql;
mod tcp;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use protos::{Ending, Errno};

use crate::config::Project;
use crate::report::Reporter;
use crate::state::{State, StateError};
use crate::switchboard::Host;
pub use crate::switchboard::{Caller, Ended, Inbox, Serving, Session, Sink, Stream, StreamEvent};
use outbound::Dialler;

/// Every service. One line each. What connects to others does so with the one dialler.
fn all(dialler: &Arc<Dialler>) -> Vec<Box<dyn Service>> {
    vec![
        Box::new(kv::Kv::default()),
        Box::new(sql::Sql::default()),
        Box::new(tcp::Tcp::new(Arc::clone(dialler))),
        Box::new(http::Http::new(Arc::clone(dialler))),
    ]
}

/// The names of all services, by which functions spawn them.
pub fn names() -> Vec<&'static str> {
    let names = |service: Box<dyn Service>| service.names().iter();
    all(&Arc::default())
        .into_iter()
        .flat_map(names)
        .copied()
        .collect()
}

/// One service, or a few that belong together. It lives as long as the master.
pub trait Service: fmt::Debug + Send + Sync {
    /// The names that it is spawned by.
    fn names(&self) -> &'static [&'static str];

    /// Takes over what a project file says: opens what it names, and applies it when the result is
    /// called. Until then calls are served as before; it is never called where another service
    /// cannot be configured. May block.
    ///
    /// # Errors
    /// A text for the operator: what is wrong, where, and what to do.
    fn configure(&self, settings: &Settings<'_>) -> Result<Apply, ConfigureError>;

    /// Whether this caller may begin a call at all. What it asks for then is checked as it is
    /// asked.
    ///
    /// # Errors
    /// The refusal; it names the line to add to the project file.
    fn check(&self, name: &str, caller: &Caller) -> Result<(), Ending>;

    /// A call that was checked.
    fn open(&self, name: &str, caller: Caller) -> Box<dyn Session>;
}

/// Makes a configuration the one that counts.
pub type Apply = Box<dyn FnOnce() + Send>;

/// What a service is configured with.
pub struct Settings<'a> {
    /// What the project file says.
    pub project: &'a Project,
    /// Where to say what happens later.
    pub reporter: &'a Reporter,
    services: &'a Services,
}

impl Settings<'_> {
    /// The state folder. Taken when it is first asked for.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn state(&self) -> Result<Arc<State>, StateError> {
        self.services.state()
    }
}

/// Why a project's services cannot be provided.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// No folder for what is kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// Something that it names cannot be used.
    #[error("{0}")]
    Other(String),
}

/// All services of a master.
#[derive(Debug)]
pub struct Services {
    list: Vec<Box<dyn Service>>,
    dialler: Arc<Dialler>,
    folder: PathBuf,
    state: Mutex<Option<Arc<State>>>,
    /// All names, for messages.
    names: OnceLock<String>,
}

impl Services {
    /// All there are, not configured yet. `folder` is the state folder.
    pub fn new(folder: PathBuf) -> Self {
        let dialler = Arc::default();
        Self {
            list: all(&dialler),
            dialler,
            folder,
            state: Mutex::default(),
            names: OnceLock::new(),
        }
    }

    /// Takes over what a project file says, when the result is called. May block.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn configure(
        &self,
        project: &Project,
        reporter: &Reporter,
    ) -> Result<impl FnOnce() + Send + use<>, ConfigureError> {
        let settings = Settings {
            project,
            reporter,
            services: self,
        };
        let applies = self.list.iter().map(|service| service.configure(&settings));
        let applies = applies.collect::<Result<Vec<_>, _>>()?;
        Ok(move || applies.into_iter().for_each(|apply| apply()))
    }

    /// The state folder. Taken when it is first asked for.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn state(&self) -> Result<Arc<State>, StateError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = &*state {
            return Ok(Arc::clone(state));
        }
        let taken = Arc::new(State::take(&self.folder)?);
        Ok(Arc::clone(state.insert(taken)))
    }

    fn unknown(&self, name: &str) -> Ending {
        let names = self.names.get_or_init(|| {
            let names = self.list.iter().flat_map(|service| service.names());
            let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
            names.join(", ")
        });
        let detail = format!("there is no service `{name}`; there are {names}");
        Ending::refused(Errno::NOENT, detail)
    }
}

impl Host for Services {
    fn connections(&self) -> usize {
        self.dialler.connections()
    }

    fn open(&self, name: &str, caller: Caller) -> Result<Box<dyn Session>, Ending> {
        let mut services = self.list.iter();
        let service = services.find(|service| service.names().contains(&name));
        let service = service.ok_or_else(|| self.unknown(name))?;
        service.check(name, &caller)?;
        Ok(service.open(name, caller))
    }
}
