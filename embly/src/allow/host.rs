//! Hosts, as the project file lists them and functions ask for them: a name, or an IP address.
//!
//! What programs take for the same address in other spellings (`2130706433`, `0x7f.1`, `0177.0.0.1`,
//! `127.1`) is neither: whoever checks such a text and whoever connects to it would have to read it
//! in the same way.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The longest name, in bytes (RFC 1035, section 2.3.4, as text without the last dot).
const NAME_MAX: usize = 253;

/// The longest part of a name between two dots.
const LABEL_MAX: usize = 63;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name, in lower case, without a dot at its end.
    Name(String),
    /// An IP address. IPv4 addresses that are written as IPv6 ones are IPv4 addresses.
    Address(IpAddr),
}

/// Why a text is not a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a host: {why}")]
pub struct HostError {
    /// The text, not longer than a name can be.
    pub text: String,
    why: &'static str,
}

impl HostError {
    pub(super) fn new(text: &str, why: &'static str) -> Self {
        let short: String = text.chars().take(NAME_MAX).collect();
        let text = short.escape_debug().to_string();
        Self { text, why }
    }

    /// What is wrong, and what to write, without the text.
    pub fn why(&self) -> &'static str {
        self.why
    }
}

impl FromStr for Host {
    type Err = HostError;

    /// A name, an IPv4 address, or an IPv6 address with or without brackets.
    fn from_str(text: &str) -> Result<Self, HostError> {
        let wrong = |why| Err(HostError::new(text, why));
        if text.is_empty() {
            return wrong("it is empty");
        }
        let bracketed = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let bare = bracketed.unwrap_or(text);
        if bare.contains('%') {
            return wrong(
                "zones of addresses are not supported, write it without `%` and the zone",
            );
        }
        if bracketed.is_some() || bare.contains(':') {
            return match bare.parse() {
                Ok(address) => Ok(Self::Address(IpAddr::V6(address).to_canonical())),
                Err(_) => wrong("it is not an IPv6 address, such as `2001:db8::1`"),
            };
        }
        if let Ok(address) = bare.parse() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        let name = bare.strip_suffix('.').unwrap_or(bare);
        match unusable(name) {
            Some(why) => wrong(why),
            None => Ok(Self::Name(name.to_ascii_lowercase())),
        }
    }
}

/// Why this is no name.
fn unusable(name: &str) -> Option<&'static str> {
    if !name.is_ascii() {
        return Some("a name has ASCII letters only, write its `xn--` form");
    }
    if name.len() > NAME_MAX {
        return Some("a name has at most 253 characters");
    }
    let labels = name.split('.');
    // As URLs are read (WHATWG, "ends in a number"): it was meant to be an IPv4 address.
    if labels.clone().next_back().is_some_and(is_number) {
        return Some(
            "an IPv4 address has four decimal numbers without zeros in front, such as \
             `192.0.2.1`",
        );
    }
    for label in labels {
        let usable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if label.is_empty() {
            return Some("a name has no two dots in a row, and none in front");
        }
        if label.len() > LABEL_MAX {
            return Some("a part of a name has at most 63 characters");
        }
        if !label.bytes().all(usable) || label.starts_with('-') || label.ends_with('-') {
            return Some("a name has letters, digits, `-` and `.`, such as `db.example.com`");
        }
    }
    None
}

/// Whether some program would read this as a number: decimal, octal, hexadecimal.
fn is_number(label: &str) -> bool {
    let hex = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

impl fmt::Display for Host {
    /// As in a URL: IPv6 addresses in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// A host and a port: `db.example.com:5432`, `192.0.2.1:80`, `[2001:db8::1]:443`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// The host.
    pub host: Host,
    /// Not 0.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let wrong = |why| Err(HostError::new(text, why));
        let Some((host, port)) = text.rsplit_once(':') else {
            return wrong("the port is missing, write `HOST:PORT`, such as `db.example.com:5432`");
        };
        if host.contains(':') && !host.starts_with('[') {
            return wrong("an IPv6 address stands in brackets here, such as `[2001:db8::1]:443`");
        }
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = digits.then(|| port.parse().ok()).flatten();
        match port {
            None | Some(0) => wrong("a port is a number from 1 to 65535, such as `:5432`"),
            Some(port) => Ok(Self {
                host: host.parse()?,
                port,
            }),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn host(text: &str) -> Result<Host, HostError> {
        text.parse()
    }

    #[test]
    fn names_and_addresses_are_hosts() {
        let name = |name: &str| Ok(Host::Name(name.to_owned()));
        assert_eq!(host("DB.Example.com."), name("db.example.com"));
        assert_eq!(host("my_db-1"), name("my_db-1"));
        assert_eq!(host("1and1.com"), name("1and1.com"));
        assert_eq!(host("0xg"), name("0xg"));
        let v4 = Ok(Host::Address(Ipv4Addr::new(127, 0, 0, 1).into()));
        for text in [
            "127.0.0.1",
            "::ffff:127.0.0.1",
            "[::ffff:7f00:1]",
            "0:0:0:0:0:ffff:7f00:0001",
        ] {
            assert_eq!(host(text), v4, "{text}");
        }
        let v6 = Ok(Host::Address(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(host("::1"), v6);
        assert_eq!(host("[0::1]"), v6);
        assert_eq!(host("[::1]").unwrap().to_string(), "[::1]");
    }

    #[test]
    fn other_spellings_of_addresses_are_refused() {
        for text in [
            "2130706433",
            "0x7f000001",
            "0X7F.0.0.1",
            "0177.0.0.1",
            "017700000001",
            "127.1",
            "127.0.1",
            "127.0.0.01",
            "127.0.0.0x1",
            "127.0.0.1.",
            "127.0.0.256",
            "1.2.3.4.5",
            "example.0x",
            "0x",
        ] {
            let why = host(text).unwrap_err();
            assert!(why.to_string().contains("four decimal numbers"), "{why}");
        }
        for text in ["fe80::1%eth0", "[fe80::1%25eth0]", "127.0.0.1%lo"] {
            let why = host(text).unwrap_err();
            assert!(why.to_string().contains("zone"), "{why}");
        }
        for text in ["[127.0.0.1]", "[::1", "::1]", "1::2::3", "[]", "[::1]x"] {
            assert!(host(text).is_err(), "{text}");
        }
        for text in ["１２７.0.0.1", "bücher.example", "127。0。0。1"] {
            let why = host(text).unwrap_err();
            assert!(why.to_string().contains("ASCII"), "{why}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = format!("{}.com", "a.".repeat(130));
        let label = "a".repeat(64);
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "-a.b",
            "a-.b",
            "a b",
            "a/b",
            "user@host",
            "a\0b",
            "*.a",
            &long,
            &label,
        ] {
            assert!(host(text).is_err(), "{text}");
        }
        assert!(host(&"x".repeat(100_000)).unwrap_err().to_string().len() < 400);
        assert_eq!(
            host("a\u{1b}[31m").unwrap_err().text,
            "a\\u{1b}[31m",
            "what functions send is no command to a terminal"
        );
    }

    #[test]
    fn an_address_has_a_port() {
        let parse = |text: &str| text.parse::<HostPort>();
        for text in ["db:5432", "192.0.2.1:80", "[2001:db8::1]:443"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for (text, why) in [
            ("db", "port is missing"),
            ("db:", "1 to 65535"),
            ("db:0", "1 to 65535"),
            ("db:65536", "1 to 65535"),
            ("db:+80", "1 to 65535"),
            ("db:http", "1 to 65535"),
            ("::1:80", "brackets"),
            (":80", "empty"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    proptest! {
        /// What is accepted is a plain IP address, or nothing that any program reads as one.
        #[test]
        fn a_name_is_never_an_address(text in "[0-9a-fA-FxX.:%\\[\\]]{1,24}|\\PC{0,12}") {
            if let Ok(Host::Name(name)) = host(&text) {
                prop_assert!(name.parse::<IpAddr>().is_err());
                let last = name.rsplit('.').next().unwrap();
                prop_assert!(!is_number(last), "{}", name);
                prop_assert_eq!(host(&name), Ok(Host::Name(name.clone())));
            }
        }

        #[test]
        fn what_is_shown_is_read_as_the_same(bits: u128, port in 1u16..) {
            for address in [
                IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical(),
                IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
            ] {
                let one = HostPort { host: Host::Address(address), port };
                prop_assert_eq!(one.to_string().parse(), Ok(one));
            }
        }
    }
}
