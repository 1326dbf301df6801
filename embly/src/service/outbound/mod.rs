//! The dialler: the one way by which services connect to others on behalf of functions.
//!
//! A name is looked up, each of its addresses is judged by the table in [`class`], and the
//! connection goes to the very address that was judged. So it does not matter what the name means a
//! moment later.

pub mod class;
mod connection;
mod race;
pub mod resolve;
pub mod tls;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use crate::allow::{Host, HostError, HostPort};
use class::{Class, Kind, classify};
pub use connection::Connection;
use resolve::{ResolveError, Resolver};

/// Of the descriptors that the master can have, this part is for connections to others: the rest is
/// for invocations and their clients.
const DESCRIPTORS_PART: u64 = 4;

/// So many connections at least.
const CONNECTIONS_MIN: u64 = 16;

/// So many where the system has no limit.
const CONNECTIONS_MAX: u64 = 65_536;

/// How far the entry of the project file that lists a host goes.
///
/// A host that is an IP address is only ever listed as it is; so it may be connected to under
/// [`Trust::Private`] also where it is one of [`Class::Metadata`]. Nobody but the function itself may
/// choose those: not who redirects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Addresses of the internet: wildcards, redirects.
    Public,
    /// Also loopback and private ones, but where a redirect leads: `private: true`.
    Redirect,
    /// Also loopback and private ones: an exact host, or `private: true`.
    Private,
}

impl Trust {
    /// Whether `host`, which has an address of this class, may be connected to.
    fn allows(self, host: &Host, class: Class) -> bool {
        match class {
            Class::Public => true,
            Class::Loopback | Class::Private => self != Self::Public,
            Class::Metadata => self == Self::Private && matches!(host, Host::Address(_)),
            Class::Forbidden => false,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// None of its addresses may be connected to.
    #[error("{0}")]
    Refused(Refused),
    /// None of them has answered as it should.
    #[error("cannot connect to `{target}`: {}", each(.tried))]
    Connect {
        /// What was asked for.
        target: HostPort,
        /// Each address that was tried, with what it did.
        tried: Vec<(SocketAddr, io::Error)>,
    },
    /// It took too long.
    #[error("cannot connect to `{target}`: nothing was heard for {within:?}")]
    Timeout {
        /// What was asked for.
        target: HostPort,
        /// How long.
        within: Duration,
    },
    /// The master has too many connections.
    #[error(
        "no more connections to others are possible: the master has {0}, a quarter of its limit on \
         open files"
    )]
    Full(usize),
}

fn each(tried: &[(SocketAddr, io::Error)]) -> String {
    let each = tried
        .iter()
        .map(|(address, error)| format!("{address}: {error}"));
    each.collect::<Vec<_>>().join("; ")
}

/// Addresses that may not be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What was asked for.
    pub target: HostPort,
    /// Its addresses, with what they are.
    pub addresses: Vec<(IpAddr, Kind)>,
}

/// What would open the way to a host that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// An entry with the exact host, or with `private: true`.
    Private,
    /// An entry with this very IP address.
    Address(IpAddr),
    /// Nothing.
    Nothing,
}

impl Refused {
    /// What would open the way.
    pub fn remedy(&self) -> Remedy {
        let mut remedy = Remedy::Nothing;
        for (address, kind) in &self.addresses {
            match kind.class {
                Class::Loopback | Class::Private => return Remedy::Private,
                Class::Metadata => remedy = Remedy::Address(*address),
                Class::Public | Class::Forbidden => {}
            }
        }
        remedy
    }
}

impl fmt::Display for Refused {
    /// Without what would help, which depends on the service.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Those of a name that has many say the same.
        const SHOWN: usize = 4;
        let Self { target, addresses } = self;
        write!(f, "`{target}` may not be reached: ")?;
        for (at, (address, kind)) in addresses.iter().take(SHOWN).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{address} is {}", kind.what)?;
        }
        match addresses.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// Connects to others. One for all services: they share the names that were looked up, and the
/// number of connections that the master can have.
#[derive(Debug)]
pub struct Dialler {
    resolver: Resolver,
    room: Arc<Semaphore>,
    most: usize,
}

impl Default for Dialler {
    fn default() -> Self {
        // The hard limit: the master takes all of it when it starts.
        let descriptors = getrlimit(Resource::Nofile).maximum;
        Self::with_room(descriptors.map(|most| most / DESCRIPTORS_PART))
    }
}

impl Dialler {
    fn with_room(connections: Option<u64>) -> Self {
        let most = connections.unwrap_or(CONNECTIONS_MAX);
        let most = most.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self {
            resolver: Resolver::default(),
            room: Arc::new(Semaphore::new(most)),
            most,
        }
    }

    /// Whether the environment of the master is as it should be; for when a project that connects
    /// to others is loaded.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn check_settings() -> Result<(), String> {
        resolve::servers().map(drop)
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.most - self.room.available_permits().min(self.most)
    }

    /// Connects within this time, `None` for as long as the system tries.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn connect(
        &self,
        target: &HostPort,
        trust: Trust,
        within: Option<Duration>,
    ) -> Result<Connection, DialError> {
        let full = |_| DialError::Full(self.most);
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(full)?;
        let connecting = async {
            let addresses = self.addresses(target, trust).await?;
            let connected = race::connect(&addresses, permit, &self.room).await;
            connected.map_err(|tried| DialError::Connect {
                target: target.clone(),
                tried,
            })
        };
        let (stream, permit) = match within {
            None => connecting.await?,
            Some(within) => {
                let timed = timeout(within, connecting).await;
                timed.map_err(|_| DialError::Timeout {
                    target: target.clone(),
                    within,
                })??
            }
        };
        Ok(Connection::new(stream, permit))
    }

    /// The addresses of a host that this trust reaches, at least one.
    ///
    /// # Errors
    /// [`DialError::Resolve`], [`DialError::Refused`].
    pub async fn addresses(
        &self,
        target: &HostPort,
        trust: Trust,
    ) -> Result<Vec<SocketAddr>, DialError> {
        let addresses = match &target.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.resolver.look_up(name).await?,
        };
        Ok(permitted(target, trust, &addresses)?)
    }
}

impl From<Refused> for DialError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Those of the addresses that this trust reaches.
fn permitted(
    target: &HostPort,
    trust: Trust,
    addresses: &[IpAddr],
) -> Result<Vec<SocketAddr>, Refused> {
    let (mut good, mut refused) = (Vec::new(), Vec::new());
    for address in addresses {
        // What is written as IPv6 and means IPv4 is connected to as what it was judged as.
        let address = address.to_canonical();
        let kind = classify(address);
        if trust.allows(&target.host, kind.class) {
            good.push(SocketAddr::new(address, target.port));
        } else {
            refused.push((address, kind));
        }
    }
    if good.is_empty() {
        let target = target.clone();
        let addresses = refused;
        return Err(Refused { target, addresses });
    }
    good.dedup();
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    fn judged(text: &str, trust: Trust, addresses: &[&str]) -> Result<Vec<String>, Remedy> {
        let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let permitted = permitted(&target(text), trust, &addresses);
        match permitted {
            Ok(addresses) => Ok(addresses.iter().map(SocketAddr::to_string).collect()),
            Err(refused) => Err(refused.remedy()),
        }
    }

    #[test]
    fn a_name_reaches_what_its_entry_is_trusted_with() {
        use Trust::{Private, Public, Redirect};
        let reached = |address: &str| Ok(vec![format!("{address}:80")]);
        let cloud = "169.254.169.254";
        for (trust, address, result) in [
            (Public, "8.8.8.8", reached("8.8.8.8")),
            (Public, "127.0.0.1", Err(Remedy::Private)),
            (Public, "10.0.0.1", Err(Remedy::Private)),
            (Public, cloud, Err(Remedy::Address(cloud.parse().unwrap()))),
            (Public, "224.0.0.1", Err(Remedy::Nothing)),
            (Private, "8.8.8.8", reached("8.8.8.8")),
            (Private, "127.0.0.1", reached("127.0.0.1")),
            (Private, "::ffff:10.0.0.1", reached("10.0.0.1")),
            (Private, cloud, Err(Remedy::Address(cloud.parse().unwrap()))),
            (Private, "0.0.0.0", Err(Remedy::Nothing)),
            (Redirect, "8.8.8.8", reached("8.8.8.8")),
            (Redirect, "127.0.0.1", reached("127.0.0.1")),
            (
                Redirect,
                cloud,
                Err(Remedy::Address(cloud.parse().unwrap())),
            ),
        ] {
            assert_eq!(judged("a:80", trust, &[address]), result, "{address}");
        }
    }

    #[test]
    fn only_an_address_that_is_listed_itself_reaches_credentials_of_a_cloud() {
        let cloud = "169.254.169.254";
        let listed = format!("{cloud}:80");
        assert_eq!(
            judged(&listed, Trust::Private, &[cloud]),
            Ok(vec![listed.clone()])
        );
        assert!(judged(&listed, Trust::Public, &[cloud]).is_err());
        assert!(judged(&listed, Trust::Redirect, &[cloud]).is_err());
        assert!(judged("0.0.0.0:80", Trust::Private, &["0.0.0.0"]).is_err());
    }

    #[test]
    fn addresses_that_are_refused_are_left_out_and_named() {
        let mixed = ["10.0.0.1", "8.8.8.8", "8.8.8.8", "169.254.169.254"];
        assert_eq!(
            judged("a:1", Trust::Public, &mixed),
            Ok(vec!["8.8.8.8:1".to_owned()])
        );
        let refused = permitted(
            &target("a:1"),
            Trust::Public,
            &["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        );
        assert_eq!(
            refused.unwrap_err().to_string(),
            "`a:1` may not be reached: 10.0.0.1 is a private address, ::1 is a loopback address"
        );
    }

    #[tokio::test]
    async fn connections_are_counted_and_bounded() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = target(&listener.local_addr().unwrap().to_string());
        let dialler = Dialler::with_room(Some(0));
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS_MIN {
            open.push(
                dialler
                    .connect(&target, Trust::Private, None)
                    .await
                    .unwrap(),
            );
        }
        assert_eq!(dialler.connections(), open.len());
        let full = dialler.connect(&target, Trust::Private, None).await;
        assert!(matches!(full, Err(DialError::Full(16))));
        open.pop();
        assert!(dialler.connect(&target, Trust::Private, None).await.is_ok());
    }
}
