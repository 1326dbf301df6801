//! Connections to others: `embly/tcp`. A call is one connection, plain or with TLS.

mod pump;
mod session;
mod wire;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use protos::{Ending, Errno};

use super::outbound::tls::{Authorities, Client};
use super::outbound::{Dialler, HostPort, Refused, Remedy, Trust};
use super::{Apply, Caller, ConfigureError, Service, Session, Settings};
use crate::allow::{Item, TcpGrant, Text};

const NAME: &str = "embly/tcp";

/// The service.
#[derive(Debug)]
pub struct Tcp(Arc<Shared>);

/// What the calls have in common.
#[derive(Debug)]
struct Shared {
    dialler: Arc<Dialler>,
    /// By the file of certificate authorities, `None` for those of the system alone.
    clients: RwLock<Clients>,
    /// Connections by the name of the function, where there are any.
    open: Mutex<HashMap<Arc<str>, u32>>,
}

type Clients = HashMap<Option<PathBuf>, Client>;

impl Tcp {
    /// Connects with this dialler.
    pub fn new(dialler: Arc<Dialler>) -> Self {
        Self(Arc::new(Shared {
            dialler,
            clients: RwLock::default(),
            open: Mutex::default(),
        }))
    }
}

impl Service for Tcp {
    fn names(&self) -> &'static [&'static str] {
        &[NAME]
    }

    fn configure(&self, settings: &Settings<'_>) -> Result<Apply, ConfigureError> {
        let functions = settings.project.functions.iter();
        let grants = functions.flat_map(|function| &function.allow.tcp);
        let mut clients = Clients::new();
        let mut system = None;
        for grant in grants {
            let system = match &system {
                Some(system) => system,
                None => {
                    Dialler::check_settings().map_err(ConfigureError::Other)?;
                    system.insert(Authorities::of_the_system())
                }
            };
            for ca in [None, grant.ca.clone()] {
                if let Entry::Vacant(entry) = clients.entry(ca) {
                    let client = client(system, entry.key()).map_err(ConfigureError::Other)?;
                    entry.insert(client);
                }
            }
        }
        let shared = Arc::clone(&self.0);
        Ok(Box::new(move || {
            *shared
                .clients
                .write()
                .unwrap_or_else(PoisonError::into_inner) = clients;
        }))
    }

    /// The first message says who is meant; a refusal names them.
    fn check(&self, _: &str, _: &Caller) -> Result<(), Ending> {
        Ok(())
    }

    fn open(&self, _: &str, caller: Caller) -> Box<dyn Session> {
        Box::new(session::Connects {
            shared: Arc::clone(&self.0),
            caller,
        })
    }
}

fn client(system: &Authorities, ca: &Option<PathBuf>) -> Result<Client, String> {
    let authorities = match ca {
        None => system.clone(),
        Some(path) => system.with_file(path).map_err(|error| error.to_string())?,
    };
    Client::new(&authorities, &[]).map_err(|error| error.to_string())
}

impl Shared {
    /// TLS with these authorities.
    fn client(&self, ca: &Option<PathBuf>) -> Option<Client> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.get(ca).cloned()
    }

    /// Counts a connection of the caller's function as long as the result lives.
    fn count(self: &Arc<Self>, caller: &Caller) -> Result<Counted, Ending> {
        let function = &caller.function;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(&function.name).copied().unwrap_or_default();
        match function.limits.tcp.connections {
            Some(most) if count >= most => {
                let detail = format!(
                    "function `{name}` has {count} connections to others, its limit: raise \
                     `limits: {{tcp: {{connections: {most}}}}}` of function `{name}`",
                    name = function.name
                );
                Err(Ending::refused(Errno::AGAIN, detail))
            }
            _ => {
                open.insert(Arc::clone(&function.name), count.saturating_add(1));
                Ok(Counted {
                    shared: Arc::clone(self),
                    function: Arc::clone(&function.name),
                })
            }
        }
    }
}

/// A connection of a function.
struct Counted {
    shared: Arc<Shared>,
    function: Arc<str>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self
            .shared
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.function) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&self.function);
            }
        }
    }
}

/// The entry for this address, with how far it goes.
fn permitted<'a>(caller: &'a Caller, target: &HostPort) -> Result<(&'a TcpGrant, Trust), Ending> {
    let function = &caller.function;
    let Some(grant) = TcpGrant::of(&function.allow.tcp, target) else {
        let name = &function.name;
        let item = Item::one(target.to_string());
        let advice = function.allow.written.advice("tcp", item, name);
        let detail = format!("function `{name}` may not connect to `{target}`: {advice}");
        return Err(Ending::refused(Errno::ACCES, detail));
    };
    let trust = match grant.is_exact() || grant.private {
        true => Trust::Private,
        false => Trust::Public,
    };
    Ok((grant, trust))
}

/// What to write so that the entry that counts for this address, or one for this address alone that
/// is as strict, is another one.
fn instead(
    caller: &Caller,
    target: &HostPort,
    grant: &TcpGrant,
    change: impl Fn(Item) -> Item,
) -> String {
    let function = &caller.function;
    let (grants, written) = (&function.allow.tcp, &function.allow.written);
    let at = grants.iter().position(|other| std::ptr::eq(other, grant));
    let at = at.unwrap_or(usize::MAX);
    let there = written.item("tcp", at).cloned();
    let own = there.unwrap_or_else(|| Item::one(grant.to_string()));
    if grant.is_exact() {
        return written.instead("tcp", at, change(own), &function.name);
    }
    // Exact entries may be private.
    let exact = own.with("address", "address", Text::quoted(target.to_string()));
    let item = change(exact.without("private"));
    written.advice("tcp", item, &function.name)
}

/// The refusal of a connection without TLS.
fn without_tls(caller: &Caller, target: &HostPort, grant: &TcpGrant) -> Ending {
    let advice = instead(caller, target, grant, |item| item.without("tls"));
    let detail = format!(
        "function `{name}` may connect to `{target}` with TLS only, the project file says `tls: \
         true`; if it is to do without, {advice}",
        name = caller.function.name
    );
    Ending::refused(Errno::ACCES, detail)
}

/// The refusal of a name for its addresses.
fn unreachable(refused: &Refused, grant: &TcpGrant, caller: &Caller) -> Ending {
    let target = &refused.target;
    let remedy = match refused.remedy() {
        Remedy::Private => format!(
            "list it as it is, {}, or write `private: true` in its entry",
            instead(caller, target, grant, |item| item)
        ),
        Remedy::Address(address) => {
            let address = std::net::SocketAddr::new(address, target.port);
            let item = Item::one(address.to_string());
            let function = &caller.function;
            let advice = function.allow.written.advice("tcp", item, &function.name);
            format!(
                "such addresses are only reached by their numbers, {advice} and connect to that"
            )
        }
        Remedy::Nothing => "no function may connect to that".to_owned(),
    };
    Ending::refused(Errno::ACCES, format!("{refused}: {remedy}"))
}
