//! Whether a function may go somewhere, and how far it is trusted on the way.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use protos::services::http::{Kind, Version};
use url::Host as UrlHost;

use super::Client;
use super::failure::Failure;
use super::pool::Key;
use crate::allow::http::{Target, granted};
use crate::pool::Function;
use crate::service::outbound::tls::{self, Authorities, CaError};
use crate::service::outbound::{Host, HostPort, Trust};

/// Names of protocols in TLS (RFC 7301).
const HTTP_1: &[u8] = b"http/1.1";
/// The same for version 2.
pub const HTTP_2: &[u8] = b"h2";

/// TLS with one set of authorities, for each version that may be asked for.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Tells it from all others there ever were.
    id: u64,
    any: tls::Client,
    one: tls::Client,
    many: tls::Client,
}

impl Tls {
    /// With these authorities.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn new(authorities: &Authorities) -> Result<Self, CaError> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        Ok(Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            any: tls::Client::new(authorities, &[HTTP_2, HTTP_1])?,
            one: tls::Client::new(authorities, &[HTTP_1])?,
            many: tls::Client::new(authorities, &[HTTP_2])?,
        })
    }

    /// For this version.
    fn client(self, version: Version) -> tls::Client {
        match version {
            Version::Any => self.any,
            Version::Http1 => self.one,
            Version::Http2 => self.many,
        }
    }
}

/// How to get to a server.
#[derive(Debug)]
pub struct Way {
    /// Which connections lead there.
    pub key: Key,
    /// `None` without TLS.
    pub tls: Option<tls::Client>,
    /// What the project file may list, for advice.
    pub entry: String,
}

impl Client {
    /// The way to a URL. `crossed`: a redirect from another origin leads there, so that it was not the
    /// function that chose it.
    ///
    /// # Errors
    /// [`Kind::NotAllowed`] without an entry.
    pub fn way(
        &self,
        function: &Function,
        target: &Target,
        crossed: bool,
        version: Version,
    ) -> Result<Way, Failure> {
        let Some(grant) = granted(&function.allow.http, target) else {
            return Err(not_allowed(&function.name, target, crossed));
        };
        let trust = if grant.private || (grant.is_exact() && !crossed) {
            Trust::Private
        } else {
            Trust::Public
        };
        let tls = if target.is_https() {
            let all = self.tls.read().unwrap_or_else(PoisonError::into_inner);
            // A function of an older version may name a file that the newer one does not.
            let found = all.get(&grant.ca).cloned();
            let gone = || Failure::new(Kind::Tls, "the project was loaded anew: try again");
            Some(found.ok_or_else(gone)?)
        } else {
            None
        };
        let key = Key {
            target: host_port(target)?,
            tls: tls.as_ref().map(|tls| tls.id),
            trust,
            version,
            head: function.limits.http.response_head,
        };
        Ok(Way {
            key,
            tls: tls.map(|tls| tls.client(version)),
            entry: target.entry(),
        })
    }
}

fn not_allowed(function: &str, target: &Target, crossed: bool) -> Failure {
    let (url, entry) = (target.url(), target.entry());
    let what = if crossed {
        "be redirected to"
    } else {
        "ask for"
    };
    Failure::new(
        Kind::NotAllowed,
        format!(
            "function `{function}` may not {what} `{url}`: add `http: [\"{entry}\"]` under `allow` of \
             function `{function}`"
        ),
    )
}

fn host_port(target: &Target) -> Result<HostPort, Failure> {
    let host = match target.host() {
        UrlHost::Ipv4(address) => Host::Address((*address).into()),
        UrlHost::Ipv6(address) => Host::Address((*address).into()),
        UrlHost::Domain(name) => name
            .parse()
            .map_err(|error| Failure::invalid(format!("{error}")))?,
    };
    match target.port() {
        0 => Err(Failure::invalid("port 0 is nobody's")),
        port => Ok(HostPort { host, port }),
    }
}
