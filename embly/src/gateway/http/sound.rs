//! Whether a request means the same to everybody who reads it: to a proxy in front, to the gateway,
//! and to the function. What hyper lets pass and is not so is refused here.

use std::net::Ipv6Addr;

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};

use super::head;

/// Why a request is not for a function, if it is not: without one host nobody knows whom it is
/// for (RFC 9112, section 3.2), what does not say where it ends has no end, and a tunnel is not
/// what a function offers.
pub fn unacceptable<T>(request: &Request<T>) -> Option<StatusCode> {
    if !names_one_host(request) {
        return Some(StatusCode::BAD_REQUEST);
    }
    if head::lists_too_much(request.headers()) {
        return Some(StatusCode::BAD_REQUEST);
    }
    if request.method() == Method::CONNECT {
        return Some(StatusCode::NOT_IMPLEMENTED);
    }
    if !has_target(request) {
        return Some(StatusCode::BAD_REQUEST);
    }
    coding(request.headers())
}

fn names_one_host<T>(request: &Request<T>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, other) = (hosts.next(), hosts.next());
    let authority = request.uri().authority();
    let wanting = match request.version() {
        Version::HTTP_09 | Version::HTTP_10 => false,
        Version::HTTP_11 => host.is_none(),
        // HTTP/2 says it in the target (RFC 9113, section 8.3.1).
        _ => host.is_none() && authority.is_none(),
    };
    let right = host.is_none_or(is_host)
        && authority.is_none_or(|authority| is_authority(without_user(authority)));
    let agreed = request.version() < Version::HTTP_2 || agree(request.uri(), host);
    other.is_none() && !wanting && right && agreed
}

/// Without one in the target it may be empty.
fn is_host(value: &HeaderValue) -> bool {
    value.is_empty() || value.to_str().is_ok_and(is_authority)
}

/// A name or an address, and a port if there is one. Of what names may be made of in URLs (RFC 3986,
/// section 3.2.2) only what hosts have: a comma, say, is what two headers become that are joined.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let is_address = address.parse::<Ipv6Addr>().is_ok();
            (
                is_address,
                rest.strip_prefix(':')
                    .or((!rest.is_empty()).then_some("none")),
            )
        }
        None => {
            let (name, port) = text
                .split_once(':')
                .map_or((text, None), |(name, port)| (name, Some(port)));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            (!name.is_empty() && name.bytes().all(plain), port)
        }
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && (port.is_empty() || port.parse::<u16>().is_ok())
    };
    host && port.is_none_or(is_port)
}

fn without_user(authority: &Authority) -> &str {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}

/// Over HTTP/2 the header is a second word for the same host, and the target names no user
/// (RFC 9113, section 8.3.1).
fn agree(uri: &Uri, host: Option<&HeaderValue>) -> bool {
    let Some(authority) = uri.authority() else {
        return true;
    };
    let default = match uri.scheme_str() {
        Some("https") => ":443",
        _ => ":80",
    };
    let bare = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.strip_suffix(default)
            .map(str::to_owned)
            .unwrap_or(text)
    };
    let same = |host: &HeaderValue| {
        host.to_str()
            .is_ok_and(|host| bare(host) == bare(authority.as_str()))
    };
    !authority.as_str().contains('@') && host.is_none_or(same)
}

/// A path, or a whole URL; `*` is for OPTIONS, and a host alone for CONNECT (RFC 9112, section 3.2).
fn has_target<T>(request: &Request<T>) -> bool {
    match request.uri().path_and_query().map(PathAndQuery::as_str) {
        None => false,
        Some("*") => request.method() == Method::OPTIONS,
        // Only that of a whole URL may be empty.
        Some(path) => path.starts_with('/') || request.version() < Version::HTTP_2,
    }
}

/// hyper reads a body as chunks where `chunked` comes last, also where that stands twice or behind
/// a coding that it does not undo.
fn coding(headers: &HeaderMap) -> Option<StatusCode> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let first = codings.next()?;
    let is_chunked = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"chunked");
    if is_chunked(first.as_bytes()) && codings.next().is_none() {
        return None;
    }
    let codings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut codings = codings.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let known = |coding: &[u8]| coding.trim_ascii().is_empty() || is_chunked(coding);
    Some(if codings.all(known) {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::NOT_IMPLEMENTED
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_name_or_an_address_with_or_without_a_port() {
        for right in ["a", "a.test:80", "a:", "[::1]", "[::1]:80", "1.2.3.4:65535"] {
            assert!(is_authority(right), "{right}");
        }
        for wrong in [
            "", ":80", "a:b", "a:+8", "a:65536", "::1", "[::1]x", "[::1]:x", "[a]", "u@a", "a,b",
            "a b", "a/b", "\u{e9}",
        ] {
            assert!(!is_authority(wrong), "{wrong}");
        }
    }
}
