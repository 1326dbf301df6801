//! From names to addresses. A static executable has no getaddrinfo, so a library asks the name
//! servers; `/etc/hosts` and `/etc/resolv.conf` are read as the system would.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use tokio::time::timeout;

/// Name servers instead of those of the system: `IP` or `IP:PORT`, several with commas.
pub const SERVERS: &str = "EMBLY_DNS";

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// Port of name servers.
const PORT: u16 = 53;

/// Both files are read again when this has passed: a laptop changes its network, a container its
/// hosts.
const READ_EVERY: Duration = Duration::from_secs(5);

/// For a name, all its servers and search domains together: a person still takes it for an answer,
/// and a lost packet or two are no failure.
const WITHIN: Duration = Duration::from_secs(10);

/// Addresses of a name that are looked at; those of busy services are a dozen.
const ADDRESSES: usize = 32;

/// Answers that are kept, as long as they say.
const CACHED: u64 = 512;

/// Longest time for which an answer is kept, whatever it says …
const KEPT: Duration = Duration::from_secs(60 * 60);

/// … and the longest for which a name does not exist: it may be made meanwhile.
const MISSING: Duration = Duration::from_secs(10);

/// Why a name has no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nobody knows it.
    #[error("the name `{0}` does not exist, or has no addresses")]
    Missing(String),
    /// Nobody could say.
    #[error("the name `{name}` cannot be looked up: {why}")]
    Failed {
        /// The name.
        name: String,
        /// What the name servers did.
        why: String,
    },
    /// There are no settings to look names up with.
    #[error("names cannot be looked up: {0}")]
    Settings(String),
}

/// What the files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Files {
    resolv_conf: Vec<u8>,
    hosts: Vec<u8>,
}

impl Files {
    /// Blocks. What is not there is empty.
    fn read() -> io::Result<Self> {
        let read = |path| match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        };
        Ok(Self {
            resolv_conf: read(RESOLV_CONF)?,
            hosts: read(HOSTS)?,
        })
    }
}

/// Looks names up.
#[derive(Debug, Default)]
pub struct Resolver {
    current: Mutex<Option<Current>>,
}

#[derive(Debug)]
struct Current {
    files: Files,
    at: Instant,
    resolves: Arc<Resolves>,
}

impl Resolver {
    /// The addresses of a name, at least one.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if let Some(addresses) = local(name) {
            return Ok(addresses);
        }
        self.current().await?.look_up(name).await
    }

    /// With the files as they are, or were some seconds ago.
    async fn current(&self) -> Result<Arc<Resolves>, ResolveError> {
        let old = {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *current {
                Some(current) if current.at.elapsed() < READ_EVERY => {
                    return Ok(Arc::clone(&current.resolves));
                }
                // The others go on with what there is while one reads.
                Some(current) => {
                    current.at = Instant::now();
                    Some((current.files.clone(), Arc::clone(&current.resolves)))
                }
                None => None,
            }
        };
        let read = tokio::task::spawn_blocking(Files::read).await;
        let files = match (read, old) {
            (Ok(Ok(files)), Some((old, resolves))) if files == old => return Ok(resolves),
            (Ok(Ok(files)), _) => files,
            (_, Some((_, resolves))) => return Ok(resolves),
            (Ok(Err(error)), None) => {
                let text = format!("`{RESOLV_CONF}` or `{HOSTS}` cannot be read: {error}");
                return Err(ResolveError::Settings(text));
            }
            (Err(error), None) => return Err(ResolveError::Settings(error.to_string())),
        };
        let servers = servers().map_err(ResolveError::Settings)?;
        let resolves = Resolves::new(&files, &servers).map_err(ResolveError::Settings)?;
        let resolves = Arc::new(resolves);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Current {
            files,
            at: Instant::now(),
            resolves: Arc::clone(&resolves),
        });
        Ok(resolves)
    }
}

/// The servers of [`SERVERS`]; none where it is not set.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn servers() -> Result<Vec<SocketAddr>, String> {
    match std::env::var(SERVERS) {
        Ok(text) => parse_servers(&text),
        Err(std::env::VarError::NotPresent) => Ok(Vec::new()),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("`{SERVERS}` is not UTF-8")),
    }
}

fn parse_servers(text: &str) -> Result<Vec<SocketAddr>, String> {
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    let server = |item: &str| {
        let alone = item.parse().map(|ip: IpAddr| SocketAddr::new(ip, PORT));
        alone.or_else(|_| item.parse()).map_err(|_| {
            format!(
                "`{SERVERS}` has `{}`, which is not the address of a name server: write \
                 `{SERVERS}=192.0.2.1` or `{SERVERS}=192.0.2.1:53`",
                item.escape_debug()
            )
        })
    };
    items.map(server).collect()
}

/// RFC 6761, section 6.3: nobody is asked for these.
fn local(name: &str) -> Option<Vec<IpAddr>> {
    let local = name == "localhost" || name.ends_with(".localhost");
    local.then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

/// With one state of the files.
#[derive(Debug)]
struct Resolves {
    hosts: Hosts,
    servers: TokioResolver,
}

impl Resolves {
    fn new(files: &Files, servers: &[SocketAddr]) -> Result<Self, String> {
        let mut hosts = Hosts::default();
        // It takes what it can read, line by line.
        let text = String::from_utf8_lossy(&files.hosts);
        hosts
            .read_hosts_conf(text.as_bytes())
            .map_err(|error| format!("`{HOSTS}` cannot be read: {error}"))?;
        let (config, options) = configuration(&files.resolv_conf, servers);
        let provider = TokioRuntimeProvider::default();
        let servers = TokioResolver::builder_with_config(config, provider)
            .with_options(options)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { hosts, servers })
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let failed = |why: String| ResolveError::Failed {
            name: name.to_owned(),
            why,
        };
        let missing = || ResolveError::Missing(name.to_owned());
        let asked = Name::from_ascii(name).map_err(|error| failed(error.to_string()))?;
        let known = self.in_hosts(&asked);
        if !known.is_empty() {
            return Ok(known);
        }
        let answer = match timeout(WITHIN, self.servers.lookup_ip(asked)).await {
            Ok(answer) => answer,
            Err(_) => {
                let seconds = WITHIN.as_secs();
                return Err(failed(format!(
                    "no name server has answered in {seconds} s"
                )));
            }
        };
        let addresses: Vec<_> = match answer {
            Ok(answer) => answer.iter().take(ADDRESSES).collect(),
            Err(error) if error.is_no_records_found() => return Err(missing()),
            Err(NetError::Timeout) => return Err(failed("no name server has answered".into())),
            Err(error) => return Err(failed(error.to_string())),
        };
        if addresses.is_empty() {
            return Err(missing());
        }
        Ok(addresses)
    }

    /// What `/etc/hosts` says. For a name that stands there nobody else is asked.
    fn in_hosts(&self, name: &Name) -> Vec<IpAddr> {
        let of = |kind| {
            self.hosts
                .lookup_static_host(&Query::query(name.clone(), kind))
        };
        let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of);
        let found: Vec<_> = found.collect();
        let records = found.iter().flat_map(|lookup| lookup.answers());
        let addresses = records.filter_map(|record| record.data.ip_addr());
        addresses.take(ADDRESSES).collect()
    }
}

/// As resolv.conf(5) says; what is not understood is left out.
fn configuration(resolv_conf: &[u8], servers: &[SocketAddr]) -> (ResolverConfig, ResolverOpts) {
    let (said, _) = resolv_conf::Config::parse_with_errors(resolv_conf);
    let system = || {
        let all = said.get_nameservers_or_local();
        let addresses = all.iter().map(IpAddr::from);
        addresses
            .map(|address| SocketAddr::new(address, PORT))
            .collect()
    };
    let servers: Vec<SocketAddr> = match servers {
        [] => system(),
        servers => servers.to_vec(),
    };
    let servers = servers.into_iter().map(|server| {
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        for connection in &mut config.connections {
            connection.port = server.port();
        }
        config
    });
    let search = said.get_last_search_or_domain();
    let search = search.filter_map(|name| Name::from_str_relaxed(name).ok());
    let config = ResolverConfig::from_parts(None, search.collect(), servers.collect());
    let mut options = ResolverOpts::default();
    options.ndots = said.ndots as usize;
    options.timeout = Duration::from_secs(u64::from(said.timeout.max(1)));
    options.attempts = said.attempts as usize;
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    options.cache_size = CACHED;
    options.positive_max_ttl = Some(KEPT);
    options.negative_max_ttl = Some(MISSING);
    options.use_hosts_file = ResolveHosts::Never;
    (config, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolves(resolv_conf: &str, hosts: &str) -> Resolves {
        let files = Files {
            resolv_conf: resolv_conf.into(),
            hosts: hosts.into(),
        };
        Resolves::new(&files, &[]).unwrap()
    }

    #[test]
    fn names_of_the_hosts_file_are_answered_by_it_alone() {
        let resolves = resolves("", "10.1.2.3 db db.internal # mine\nfd00::7 db\nnonsense\n");
        let of = |name: &str| resolves.in_hosts(&Name::from_ascii(name).unwrap());
        let expected: [IpAddr; 2] = ["10.1.2.3".parse().unwrap(), "fd00::7".parse().unwrap()];
        assert_eq!(of("db"), expected);
        assert_eq!(of("DB"), expected);
        assert_eq!(of("db.internal"), expected[..1]);
        assert_eq!(of("mine"), [] as [IpAddr; 0]);
    }

    #[test]
    fn the_resolv_conf_of_the_system_counts() {
        let text = b"search a.example b.example\nnameserver 192.0.2.7\nnameserver fe80::1%eth0\n\
            options ndots:3 timeout:2 attempts:4\nnonsense";
        let (config, options) = configuration(text, &[]);
        let servers = config.name_servers().iter().map(|server| server.ip);
        let expected: [IpAddr; 2] = ["192.0.2.7".parse().unwrap(), "fe80::1".parse().unwrap()];
        assert!(servers.eq(expected));
        assert_eq!(config.search().len(), 2);
        assert_eq!((options.ndots, options.attempts), (3, 4));
        assert_eq!(options.timeout, Duration::from_secs(2));
        let (config, _) = configuration(b"", &[]);
        assert_eq!(config.name_servers()[0].ip.to_string(), "127.0.0.1");
        let (config, _) = configuration(text, &["192.0.2.8:5353".parse().unwrap()]);
        assert_eq!(config.name_servers().len(), 1);
        let ports = config.name_servers()[0].connections.iter();
        assert!(ports.map(|connection| connection.port).eq([5353, 5353]));
    }

    #[test]
    fn name_servers_are_addresses_with_or_without_a_port() {
        let expected: [SocketAddr; 3] = [
            "192.0.2.1:53".parse().unwrap(),
            "192.0.2.2:5353".parse().unwrap(),
            "[2001:db8::1]:53".parse().unwrap(),
        ];
        let servers = parse_servers("192.0.2.1, 192.0.2.2:5353,2001:db8::1,").unwrap();
        assert_eq!(servers, expected);
        let why = parse_servers("dns.example").unwrap_err();
        assert!(why.contains("EMBLY_DNS=192.0.2.1:53"), "{why}");
    }

    #[test]
    fn this_machine_needs_no_name_server() {
        for name in ["localhost", "x.localhost"] {
            let local = local(name).unwrap();
            assert!(local.iter().all(IpAddr::is_loopback), "{name}");
        }
        assert_eq!(local("localhost.example"), None);
    }
}
