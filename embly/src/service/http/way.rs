//! Whether a function may go somewhere, and how far it is trusted on the way.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use protos::services::http::{Kind, Version};
use url::Host as UrlHost;

use super::Client;
use super::failure::Failure;
use super::pool::Key;
use crate::allow::http::{HttpGrant, Target, granted};
use crate::allow::{Item, Text};
use crate::pool::Function;
use crate::service::outbound::class::{Class, classify};
use crate::service::outbound::tls::{self, Authorities, CaError};
use crate::service::outbound::{Host, HostPort, Refused, Remedy, Trust};

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
    /// Where it leads.
    target: Target,
    /// Which entry allows it.
    entry: usize,
    /// Whether a redirect from elsewhere leads there.
    crossed: bool,
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
        let grants = &function.allow.http;
        let Some(grant) = granted(grants, target) else {
            return Err(not_allowed(function, target, crossed));
        };
        let trust = match crossed {
            false if grant.private || grant.is_exact() => Trust::Private,
            true if grant.private => Trust::Redirect,
            _ => Trust::Public,
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
        let same = |other: &HttpGrant| std::ptr::eq(other, grant);
        Ok(Way {
            key,
            tls: tls.map(|tls| tls.client(version)),
            target: target.clone(),
            entry: grants.iter().position(same).unwrap_or(usize::MAX),
            crossed,
        })
    }
}

impl Way {
    /// What to write so that addresses that were refused are reached.
    pub fn advice(&self, refused: &Refused, function: &Function) -> String {
        let (written, name) = (&function.allow.written, &function.name);
        match refused.remedy() {
            Remedy::Private => {
                let (host, url) = (self.target.entry(), "url");
                let own = written.item("http", self.entry).cloned();
                let own = own.unwrap_or_else(|| Item::one(&host));
                let private = own.with(url, "private", Text::yes());
                let grant = function.allow.http.get(self.entry);
                let advice = match grant.is_some_and(HttpGrant::is_exact) {
                    // Beside it another one could count less.
                    true => written.instead("http", self.entry, private, name),
                    false => {
                        let exact = private.with(url, url, Text::quoted(host));
                        written.advice("http", exact, name)
                    }
                };
                format!("; if that is meant, {advice}")
            }
            Remedy::Address(_) if self.crossed => format!("; {NEVER}"),
            Remedy::Address(address) => {
                let item = Item::one(self.target.entry_with(address));
                let advice = written.advice("http", item, name);
                format!("; if that is meant, {advice}, and ask for it by that URL")
            }
            Remedy::Nothing => "; no entry of the project file opens it".to_owned(),
        }
    }
}

/// Said of a redirect to where a cloud keeps credentials.
const NEVER: &str = "no redirect leads there, whatever the project file says";

fn is_metadata(target: &Target) -> bool {
    let address = match target.host() {
        UrlHost::Ipv4(address) => IpAddr::from(*address),
        UrlHost::Ipv6(address) => IpAddr::from(*address),
        UrlHost::Domain(_) => return false,
    };
    classify(address).class == Class::Metadata
}

fn not_allowed(function: &Function, target: &Target, crossed: bool) -> Failure {
    let (url, name) = (target.url(), &function.name);
    let what = if crossed {
        "be redirected to"
    } else {
        "ask for"
    };
    let advice = if crossed && is_metadata(target) {
        NEVER.to_owned()
    } else {
        let item = Item::one(target.entry());
        function.allow.written.advice("http", item, name)
    };
    Failure::new(
        Kind::NotAllowed,
        format!("function `{name}` may not {what} `{url}`: {advice}"),
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
