//! What proxies say about a request that they pass on: who asked them, how, and for which host. It
//! is believed from proxies that the project trusts. Functions see what was believed, and nothing of
//! the rest.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::Peer;
use super::head::REQUEST_ID;
use crate::config::Proxies;

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const FOR_HOST: &str = "x-forwarded-host";

/// The longest id of a request that is taken over, in bytes.
const ID_MAX: usize = 128;

/// What is believed of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Believed {
    /// Who asks, with a port where that was said.
    pub client: Option<(IpAddr, Option<u16>)>,
    /// `http` or `https`.
    pub scheme: Option<&'static str>,
    /// The host that was asked for.
    pub host: Option<String>,
    /// Its id.
    pub id: Option<HeaderValue>,
}

/// Whether only a proxy says this, so that a function never gets it from anybody else.
pub fn is_of_proxies(name: &HeaderName) -> bool {
    *name == FORWARDED || name == "x-real-ip" || name.as_str().starts_with("x-forwarded-")
}

/// Takes out of the headers what proxies say, and puts back what is to be believed from `peer`.
pub fn settle(headers: &mut HeaderMap, peer: Peer, proxies: &Proxies) -> Believed {
    let mut believed = Believed::default();
    if peer.is_one_of(proxies) {
        believed = believe(headers, proxies);
        believed.id = id(headers);
    }
    let names = headers.keys().filter(|name| is_of_proxies(name)).cloned();
    for name in names.collect::<Vec<_>>() {
        headers.remove(name);
    }
    let mut put = |name: &'static str, value: Option<String>| {
        let value = value.and_then(|value| HeaderValue::try_from(value).ok());
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put(FOR, believed.client.map(|(ip, _)| ip.to_string()));
    put(PROTO, believed.scheme.map(str::to_owned));
    put(FOR_HOST, believed.host.clone());
    // Two hosts are refused later, and stay two.
    if headers.get_all(HOST).iter().count() <= 1
        && let Some(host) = &believed.host
        && let Ok(host) = HeaderValue::try_from(host)
    {
        headers.insert(HOST, host);
    }
    believed
}

fn id(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut ids = headers.get_all(REQUEST_ID).iter();
    let (Some(id), None) = (ids.next(), ids.next()) else {
        return None;
    };
    let fits = (1..=ID_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    fits.then(|| id.clone())
}

/// What one proxy has said of who asked it.
#[derive(Debug, Default)]
struct Hop {
    client: Option<(IpAddr, Option<u16>)>,
    scheme: Option<&'static str>,
    host: Option<String>,
}

/// From the nearest proxy to the one that is not trusted: each that is trusted has told of the one
/// before it.
fn believe(headers: &HeaderMap, proxies: &Proxies) -> Believed {
    let hops = match headers.contains_key(FORWARDED) {
        true => forwarded(headers).unwrap_or_default(),
        false => x_forwarded(headers),
    };
    let mut believed = Believed::default();
    for hop in hops.into_iter().rev() {
        // Who is nearer to the client knows better.
        believed.scheme = hop.scheme.or(believed.scheme);
        believed.host = hop.host.or(believed.host);
        let Some((ip, port)) = hop.client else { break };
        believed.client = Some((ip, port));
        if !proxies.trust(ip) {
            break;
        }
    }
    believed
}

/// `Forwarded` (RFC 7239), the nearest proxy last; `None` if it is not right.
fn forwarded(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    for value in headers.get_all(FORWARDED) {
        for element in split(value.to_str().ok()?, ',')? {
            if !element.trim().is_empty() {
                hops.push(hop(element)?);
            }
        }
    }
    Some(hops)
}

fn hop(element: &str) -> Option<Hop> {
    let mut hop = Hop::default();
    let mut seen = Vec::new();
    for pair in split(element, ';')? {
        if pair.trim().is_empty() {
            continue;
        }
        let (name, value) = pair.trim().split_once('=')?;
        let (name, value) = (name.to_ascii_lowercase(), unquoted(value)?);
        if seen.contains(&name) {
            return None;
        }
        match &*name {
            "for" => hop.client = node(&value),
            "proto" => hop.scheme = scheme(&value),
            "host" => hop.host = host(&value),
            // `by`, and what else they say, does not matter here.
            _ => {}
        }
        seen.push(name);
    }
    Some(hop)
}

/// Pieces between separators that do not stand in quotes; `None` if quotes are not closed.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut pieces, mut begin) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if quoted && letter == '\\' {
            escaped = true;
        } else if letter == '"' {
            quoted = !quoted;
        } else if letter == separator && !quoted {
            pieces.push(&text[begin..at]);
            begin = at + 1;
        }
    }
    pieces.push(&text[begin..]);
    (!quoted).then_some(pieces)
}

fn unquoted(value: &str) -> Option<String> {
    let Some(inner) = value.strip_prefix('"') else {
        return (!value.contains('"')).then(|| value.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let (mut text, mut letters) = (String::new(), inner.chars());
    while let Some(letter) = letters.next() {
        text.push(match letter {
            '\\' => letters.next()?,
            '"' => return None,
            other => other,
        });
    }
    Some(text)
}

/// The older headers, the nearest proxy last. Their lists are as long as each other where all
/// proxies add to all of them.
fn x_forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let list = |name: &str| -> Vec<&str> {
        let values = headers.get_all(name).iter();
        let values = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
        values.map(str::trim).collect()
    };
    let (clients, schemes, hosts) = (list(FOR), list(PROTO), list(FOR_HOST));
    let from_the_end = |list: &[&str], n: usize| -> Option<String> {
        let item = list.len().checked_sub(n + 1)?;
        Some(list[item].to_owned())
    };
    let longest = clients.len().max(schemes.len()).max(hosts.len());
    let hops = (0..longest).rev().map(|n| Hop {
        client: from_the_end(&clients, n).and_then(|text| node(&text)),
        scheme: from_the_end(&schemes, n).and_then(|text| scheme(&text)),
        host: from_the_end(&hosts, n).and_then(|text| host(&text)),
    });
    hops.collect()
}

/// An address, perhaps with a port; IPv6 with a port, and in `Forwarded`, has brackets.
fn node(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let (ip, port) = match bare.unwrap_or(text).parse::<IpAddr>() {
        Ok(ip) => (ip, None),
        Err(_) => {
            let at: SocketAddr = text.parse().ok()?;
            (at.ip(), Some(at.port()))
        }
    };
    Some((ip.to_canonical(), port))
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"]
        .into_iter()
        .find(|scheme| text.eq_ignore_ascii_case(scheme))
}

fn host(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    (!text.contains('@') && !authority.host().is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> Proxies {
        Proxies {
            networks: ["10.0.0.0/8", "fd00::/8"]
                .map(|net| net.parse().unwrap())
                .into(),
            unix: false,
        }
    }

    /// Whom a proxy is believed to speak for: address, scheme, host.
    fn told(headers: &[(&str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::try_from(*value).unwrap(),
            );
        }
        let peer = Peer::Ip("10.0.0.1:5".parse().unwrap());
        let believed = settle(&mut map, peer, &proxies());
        let (ip, port) = believed.client.unzip();
        let port = port.flatten().map(|port| format!(":{port}"));
        let ip = ip.map(|ip| ip.to_string());
        format!(
            "{}{} {} {}",
            ip.as_deref().unwrap_or("-"),
            port.unwrap_or_default(),
            believed.scheme.unwrap_or("-"),
            believed.host.as_deref().unwrap_or("-")
        )
    }

    #[test]
    fn the_last_address_that_is_no_proxy_counts() {
        for (value, expected) in [
            ("192.0.2.1", "192.0.2.1 - -"),
            ("1.1.1.1, 192.0.2.1, 10.0.0.2,10.0.0.3", "192.0.2.1 - -"),
            ("10.0.0.4, 10.0.0.2", "10.0.0.4 - -"),
            ("1.1.1.1, nobody, 10.0.0.2", "10.0.0.2 - -"),
            ("1.1.1.1, nobody", "- - -"),
            ("", "- - -"),
            ("192.0.2.1:80", "192.0.2.1:80 - -"),
            ("2001:db8::1", "2001:db8::1 - -"),
            ("[2001:db8::1]:80, fd00::1", "2001:db8::1:80 - -"),
            ("::ffff:192.0.2.1", "192.0.2.1 - -"),
        ] {
            assert_eq!(told(&[(FOR, value)]), expected, "{value}");
        }
        // Several lines are one list.
        let lines = [(FOR, "1.1.1.1"), (FOR, "192.0.2.1"), (FOR, "10.0.0.2")];
        assert_eq!(told(&lines), "192.0.2.1 - -");
    }

    #[test]
    fn the_proxy_nearest_to_the_client_says_scheme_and_host() {
        let clients = (FOR, "192.0.2.1, 10.0.0.2");
        for (scheme, host, expected) in [
            ("https", "a.test", "192.0.2.1 https a.test"),
            ("https, http", "a.test, b.test", "192.0.2.1 https a.test"),
            (
                "http, https, http",
                "spoof, a.test:8, b.test",
                "192.0.2.1 https a.test:8",
            ),
            ("ftp", "user@a.test", "192.0.2.1 - -"),
            ("HTTPS", "a b", "192.0.2.1 https -"),
        ] {
            let headers = [clients, (PROTO, scheme), (FOR_HOST, host)];
            assert_eq!(told(&headers), expected, "{scheme} {host}");
        }
        assert_eq!(told(&[(PROTO, "https")]), "- https -");
    }

    #[test]
    fn forwarded_wins_and_one_that_is_wrong_says_nothing() {
        for (value, expected) in [
            (
                "for=192.0.2.1;proto=https;host=a.test",
                "192.0.2.1 https a.test",
            ),
            (
                "For=\"[2001:db8::1]:80\" ; PROTO=http",
                "2001:db8::1:80 http -",
            ),
            (
                "for=1.1.1.1;proto=http, for=192.0.2.1;proto=https, for=10.0.0.2;proto=http;by=\"a,b;c\"",
                "192.0.2.1 https -",
            ),
            (
                "for=1.1.1.1, for=_hidden;proto=https, for=10.0.0.2",
                "10.0.0.2 https -",
            ),
            ("for=192.0.2.1, for=unknown", "- - -"),
            ("for=\"192.0.2.1", "- - -"),
            ("for=192.0.2.1;for=192.0.2.2", "- - -"),
            ("192.0.2.1", "- - -"),
            ("for=\"192.0.2.\\1\"", "192.0.2.1 - -"),
        ] {
            let headers = [("forwarded", value), (FOR, "1.2.3.4"), (PROTO, "https")];
            assert_eq!(told(&headers), expected, "{value}");
        }
    }
}
