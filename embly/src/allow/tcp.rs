//! Whom a function may connect to: `allow: {tcp: …}` of the project file.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::host::{Host, HostError, HostPort};

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpGrant {
    /// The hosts.
    pub hosts: Hosts,
    /// The port.
    pub port: u16,
    /// Whether a host that is not listed exactly may have private and loopback addresses.
    pub private: bool,
    /// Only with TLS from the first byte.
    pub tls: bool,
    /// Certificate authorities beside those of the system: a PEM file.
    pub ca: Option<PathBuf>,
}

/// What an entry lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// This one.
    Exactly(Host),
    /// All names that end in a dot and this one: `*.example.com`.
    Below(String),
}

impl Hosts {
    fn cover(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Exactly(one), host) => one == host,
            (Self::Below(end), Host::Name(name)) => name
                .strip_suffix(end.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            (Self::Below(_), Host::Address(_)) => false,
        }
    }
}

impl TcpGrant {
    /// The entry that counts for this address: the exact one before others, then one that reaches
    /// further.
    pub fn of<'a>(grants: &'a [TcpGrant], target: &HostPort) -> Option<&'a TcpGrant> {
        let covers =
            |grant: &&TcpGrant| grant.port == target.port && grant.hosts.cover(&target.host);
        let rank = |grant: &&TcpGrant| (grant.is_exact(), grant.private);
        // Of several that are alike the last one is taken; the file has each only once.
        grants.iter().filter(covers).max_by_key(rank)
    }

    /// Whether it lists one host.
    pub fn is_exact(&self) -> bool {
        matches!(self.hosts, Hosts::Exactly(_))
    }

    /// Whether it lists the same as this one.
    pub fn is_for_the_same(&self, other: &TcpGrant) -> bool {
        self.hosts == other.hosts && self.port == other.port
    }
}

impl FromStr for TcpGrant {
    type Err = HostError;

    /// `HOST:PORT` or `*.NAME:PORT`.
    fn from_str(text: &str) -> Result<Self, HostError> {
        let below = text.strip_prefix("*.");
        let HostPort { host, port } = below.unwrap_or(text).parse()?;
        let hosts = match (below, host) {
            (None, host) => Hosts::Exactly(host),
            (Some(_), Host::Name(name)) => Hosts::Below(name),
            (Some(_), Host::Address(_)) => {
                return Err(HostError::new(text, "`*.` stands before a name"));
            }
        };
        Ok(Self {
            hosts,
            port,
            private: false,
            tls: false,
            ca: None,
        })
    }
}

impl fmt::Display for TcpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::Exactly(host) => write!(f, "{host}:{}", self.port),
            Hosts::Below(name) => write!(f, "*.{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> TcpGrant {
        text.parse().unwrap()
    }

    fn covers(entry: &str, target: &str) -> bool {
        TcpGrant::of(&[grant(entry)], &target.parse().unwrap()).is_some()
    }

    #[test]
    fn an_entry_covers_its_host_and_port_and_nothing_else() {
        assert!(covers("db.example:5432", "DB.example.:5432"));
        assert!(covers("127.0.0.1:1", "[::ffff:127.0.0.1]:1"));
        assert!(covers("[::1]:1", "[0:0::1]:1"));
        assert!(covers("*.example:1", "a.example:1"));
        assert!(covers("*.example:1", "a.b.example:1"));
        for (entry, target) in [
            ("db.example:5432", "db.example:5433"),
            ("db.example:5432", "x.db.example:5432"),
            ("*.example:1", "example:1"),
            ("*.example:1", "badexample:1"),
            ("*.example:1", "a.example:2"),
            ("*.example:1", "a.example.evil:1"),
            ("*.example:1", "10.0.0.1:1"),
        ] {
            assert!(!covers(entry, target), "{entry} {target}");
        }
        for text in [
            "*:1",
            "*.*.a:1",
            "a.*.b:1",
            "*.10.0.0.1:1",
            "*.a",
            "*a.b:1",
            "*.:1",
        ] {
            assert!(text.parse::<TcpGrant>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_exact_entry_counts_before_others_wherever_it_stands() {
        let private = TcpGrant {
            private: true,
            ..grant("*.b.example:1")
        };
        let grants = [grant("a.b.example:1"), grant("*.example:1"), private];
        let of = |text: &str| TcpGrant::of(&grants, &text.parse().unwrap()).unwrap();
        assert!(of("a.b.example:1").is_exact());
        assert!(of("c.b.example:1").private);
        assert!(!of("c.example:1").private);
    }
}
