//! What a function may ask of others over HTTP: which URLs an entry of `allow: {http: …}` covers.
//!
//! URLs are compared after they were normalised as browsers do it, by the library that also makes
//! the request: letters, default ports, numbers as IPv4 addresses, `..`, international names.

use std::net::IpAddr;
use std::path::PathBuf;

use url::{Host, Url};

/// Longest URL that is looked at, in bytes: what servers commonly take.
pub const URL_MAX: usize = 8 * 1024;

/// What stands in front of a host to mean all below it.
const WILDCARD: &str = "*.";

/// An entry of `allow: {http: …}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGrant {
    https: bool,
    host: Hosts,
    port: u16,
    /// What paths begin with, in the form of [`comparable`].
    path: String,
    /// Whether it may lead to private addresses where it otherwise would not.
    pub private: bool,
    /// Authorities whose word counts beside that of the usual ones: a file, absolute.
    pub ca: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Exactly(Host),
    /// All below this name, itself not.
    Below(String),
}

/// Why a text cannot be an entry, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// It is about the wildcard.
    pub wildcard: bool,
    /// What is wrong, after the text in quotes.
    pub why: String,
    /// What to write.
    pub help: String,
}

impl Unusable {
    fn new(why: &str, help: impl Into<String>) -> Self {
        Self {
            wildcard: false,
            why: why.to_owned(),
            help: help.into(),
        }
    }

    fn wildcard(why: &str, help: &str) -> Self {
        Self {
            wildcard: true,
            ..Self::new(why, help)
        }
    }
}

impl HttpGrant {
    /// Reads the URL of an entry.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let Some((scheme, rest)) = text.split_once("://") else {
            let host = text.split('/').next().unwrap_or_default();
            return Err(Unusable::new(
                "does not begin with `https://` or `http://`",
                format!(
                    "write `https://{}/`",
                    if host.is_empty() { "HOST" } else { host }
                ),
            ));
        };
        if rest.is_empty() || rest.starts_with(['/', '\\']) {
            return Err(Unusable::new("names no host", "write `https://HOST/`"));
        }
        let below = rest.strip_prefix(WILDCARD);
        let name = rest.split(['/', '?', '#', ':']).next().unwrap_or_default();
        if below
            .unwrap_or(name)
            .split(['/', '?', '#', ':'])
            .next()
            .unwrap_or_default()
            .contains('*')
        {
            return Err(Unusable::wildcard(
                "has a `*` that does not stand for the first part of a host name",
                "write `https://*.example.com/`, or each host as an entry of its own",
            ));
        }
        let plain = format!("{scheme}://{}", below.unwrap_or(rest));
        let target = Target::parse(&plain)
            .map_err(|error| Unusable::new(&error.to_string(), "write `https://HOST/PATH/`"))?;
        let url = &target.url;
        if url.query().is_some() || plain.contains('#') {
            return Err(Unusable::new(
                "has a query or a fragment, which no prefix can have",
                format!("write it up to the path: `{}`", origin_and_path(url)),
            ));
        }
        if hides_dots(url.path()) {
            return Err(Unusable::new(
                "has an encoded `..` in its path",
                "write the path that is meant",
            ));
        }
        let host = match (target.host, below) {
            (Host::Domain(name), Some(_)) => Hosts::Below(name),
            (_, Some(_)) => {
                return Err(Unusable::wildcard(
                    "has a `*.` in front of an address",
                    "addresses are listed one by one, without `*.`",
                ));
            }
            (host, None) => Hosts::Exactly(host),
        };
        Ok(Self {
            https: target.https,
            host,
            port: target.port,
            path: comparable(url.path()),
            private: false,
            ca: None,
        })
    }

    /// Whether it names its host, and not all below one.
    pub fn is_exact(&self) -> bool {
        matches!(self.host, Hosts::Exactly(_))
    }

    /// Whether this is a URL that it covers.
    pub fn covers(&self, target: &Target) -> bool {
        self.https == target.https
            && self.port == target.port
            && self.host.has(&target.host)
            && self.covers_path(target.url.path())
    }

    /// Whether a path begins with the entry's, up to the end of a segment.
    fn covers_path(&self, path: &str) -> bool {
        // All of a host: what its server makes of a path is its own business.
        if self.path == "/" {
            return true;
        }
        let path = comparable(path);
        let rest = path.strip_prefix(&self.path);
        let at_boundary = rest.is_some_and(|rest| {
            self.path.ends_with('/') || rest.is_empty() || rest.starts_with('/')
        });
        at_boundary && !hides_dots(&path)
    }

    /// How exact it is, of several that cover a URL the most exact one counts.
    fn exactness(&self) -> (bool, usize, usize) {
        match &self.host {
            Hosts::Exactly(_) => (true, 0, self.path.len()),
            Hosts::Below(name) => (false, name.len(), self.path.len()),
        }
    }
}

impl Hosts {
    fn has(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Exactly(own), host) => own == host,
            (Self::Below(name), Host::Domain(host)) => host
                .strip_suffix(name.as_str())
                .and_then(|first| first.strip_suffix('.'))
                .is_some_and(|first| !first.is_empty()),
            (Self::Below(_), Host::Ipv4(_) | Host::Ipv6(_)) => false,
        }
    }
}

/// The entry that counts for a URL, if any covers it.
pub fn granted<'a>(grants: &'a [HttpGrant], target: &Target) -> Option<&'a HttpGrant> {
    let covering = grants.iter().filter(|grant| grant.covers(target));
    // Of equals the first; `max_by_key` would take the last.
    covering.rev().max_by_key(|grant| grant.exactness())
}

/// Where a request goes: a URL, normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: Url,
    https: bool,
    host: Host,
    port: u16,
}

/// Why a text is no URL that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Not what the library reads.
    #[error("is not a URL: {0}")]
    Syntax(#[from] url::ParseError),
    /// Neither http nor https.
    #[error("does not begin with `https://` or `http://`")]
    Scheme,
    /// A user or a password before the host.
    #[error("has a user name or a password in it; send the header `authorization` instead")]
    User,
    /// More than [`URL_MAX`].
    #[error("is longer than 8 KiB")]
    Long,
    /// Control characters, which the library would drop.
    #[error("has a space at an end or a control character in it")]
    Control,
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// See [`BadUrl`].
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        Self::check(text)?;
        Self::of(Url::parse(text)?)
    }

    /// Where a redirect from here leads.
    ///
    /// # Errors
    /// See [`BadUrl`].
    pub fn join(&self, location: &str) -> Result<Self, BadUrl> {
        Self::check(location)?;
        Self::of(self.url.join(location)?)
    }

    fn check(text: &str) -> Result<(), BadUrl> {
        if text.len() > URL_MAX {
            return Err(BadUrl::Long);
        }
        if text != text.trim() || text.chars().any(char::is_control) {
            return Err(BadUrl::Control);
        }
        Ok(())
    }

    fn of(mut url: Url) -> Result<Self, BadUrl> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(BadUrl::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadUrl::User);
        }
        url.set_fragment(None);
        let host = match url.host() {
            // The dot of a name that is complete says nothing that others do not know.
            Some(Host::Domain(name)) => {
                Host::Domain(name.strip_suffix('.').unwrap_or(name).to_owned())
            }
            Some(Host::Ipv4(address)) => Host::Ipv4(address),
            Some(Host::Ipv6(address)) => Host::Ipv6(address),
            None => return Err(BadUrl::Syntax(url::ParseError::EmptyHost)),
        };
        let Host::Domain(name) = &host else {
            return Ok(Self::with(url, https, host));
        };
        if name.is_empty() || name.ends_with('.') {
            return Err(BadUrl::Syntax(url::ParseError::EmptyHost));
        }
        // No host is called so, and no entry could allow it.
        if name.contains('*') {
            return Err(BadUrl::Syntax(url::ParseError::InvalidDomainCharacter));
        }
        if url.host_str() != Some(name) {
            url.set_host(Some(name))?;
        }
        Ok(Self::with(url, https, host))
    }

    fn with(url: Url, https: bool, host: Host) -> Self {
        let port = url.port().unwrap_or(if https { 443 } else { 80 });
        Self {
            url,
            https,
            host,
            port,
        }
    }

    /// The URL, without a fragment.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Over TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host, in lower case, without a dot at its end.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, that of the scheme where none is written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether this is the same scheme, host and port.
    pub fn same_origin(&self, other: &Self) -> bool {
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
    }

    /// Host and port as in the header `host`: no port where it is that of the scheme.
    pub fn authority(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_string(),
        }
    }

    /// The entry that covers all of this host: what to write into the project file.
    pub fn entry(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}/", self.authority())
    }

    /// The same with an address in the place of the host.
    pub fn entry_with(&self, address: IpAddr) -> String {
        let scheme = if self.https { "https" } else { "http" };
        let port = self.url.port().map(|port| format!(":{port}"));
        let port = port.unwrap_or_default();
        match address {
            IpAddr::V4(address) => format!("{scheme}://{address}{port}/"),
            IpAddr::V6(address) => format!("{scheme}://[{address}]{port}/"),
        }
    }
}

fn origin_and_path(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// A path in which an escape is written in one way only (RFC 3986, section 6.2.2): none where a
/// character needs none, upper case elsewhere.
fn comparable(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let Some(byte) = escaped(after) else {
            out.push('%');
            rest = after;
            continue;
        };
        match char::from(byte) {
            c if c.is_ascii_alphanumeric() || "-._~".contains(c) => out.push(c),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        rest = &after[2..];
    }
    out + rest
}

/// The byte of an escape, after its `%`.
fn escaped(after: &str) -> Option<u8> {
    let digits = after.get(..2)?;
    let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Whether a server that decodes a path, once or more often, or takes `\` for `/`, or drops what
/// follows a `;`, would find a way upward in it. A prefix would then promise nothing.
fn hides_dots(path: &str) -> bool {
    /// Nobody writes what has to be decoded so often.
    const ROUNDS: usize = 4;
    let mut path = path.as_bytes().to_vec();
    for _ in 0..ROUNDS {
        let segments = path.split(|byte| matches!(byte, b'/' | b'\\'));
        let mut names = segments.map(|segment| {
            segment
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default()
        });
        if names.any(|name| name == b"." || name == b"..") {
            return true;
        }
        let decoded = decoded(&path);
        if decoded.len() == path.len() {
            return false;
        }
        path = decoded;
    }
    true
}

/// Without its escapes, of which each makes it shorter.
fn decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = path.get(at) {
        let digits = path
            .get(at + 1..at + 3)
            .and_then(|it| str::from_utf8(it).ok());
        match digits.and_then(escaped).filter(|_| *byte == b'%') {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
