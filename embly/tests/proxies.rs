//! Gateways behind proxies: what these say is believed, and what others say never reaches a function.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;

use support::client::{Connection, connect, request};
use support::tls::{Authority, client};
use support::{Embly, Project};

/// A gateway `web` with these keys, which shows requests.
fn serve(keys: &str) -> Embly {
    let keys = format!("    port: 0\n    function: shows\n{keys}");
    Embly::run(&Project::new().guest("shows").gateway_with("web", &keys))
}

/// The request as the function got it.
fn shown(at: SocketAddr, headers: &str) -> String {
    let head = format!("GET / HTTP/1.1\r\nhost: own.test\r\nconnection: close\r\n{headers}\r\n");
    request(at, head).text()
}

fn value<'a>(shown: &'a str, header: &str) -> Option<&'a str> {
    shown
        .lines()
        .find_map(|line| line.strip_prefix(header)?.strip_prefix(": "))
}

const SAID: &str = "x-forwarded-for: 1.1.1.1, 192.0.2.7\r\nx-forwarded-proto: https\r\n\
                    x-forwarded-host: said.test\r\nx-forwarded-port: 1\r\nx-real-ip: 1.1.1.1\r\n\
                    x-request-id: own-id\r\n";

#[test]
fn a_trusted_proxy_says_who_asks_and_how_and_for_which_host() {
    let embly = serve("    proxies: [10.0.0.0/8, 127.0.0.1]\n");
    let at = embly.at("web");
    let text = shown(at, SAID);
    for (header, expected) in [
        ("embly-client", Some("192.0.2.7")),
        ("embly-scheme", Some("https")),
        ("host", Some("said.test")),
        ("x-request-id", Some("own-id")),
        // Only what was believed.
        ("x-forwarded-for", Some("192.0.2.7")),
        ("x-forwarded-proto", Some("https")),
        ("x-forwarded-host", Some("said.test")),
        ("x-forwarded-port", None),
        ("x-real-ip", None),
    ] {
        assert_eq!(value(&text, header), expected, "{header} in {text}");
    }
    // A client behind it does not have that taken away.
    let listed = format!("{SAID}connection: x-forwarded-for, x-forwarded-proto, host\r\n");
    let text = shown(at, &listed);
    for (header, expected) in [
        ("embly-client", "192.0.2.7"),
        ("host", "said.test"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
    ] {
        assert_eq!(value(&text, header), Some(expected), "{header} in {text}");
    }
    let access = embly.event("access", |_| true);
    assert_eq!(
        (&access["client"], &access["request_id"]),
        (&"192.0.2.7".into(), &"own-id".into())
    );
    // The newer header counts more.
    let forwarded =
        format!("{SAID}forwarded: for=\"192.0.2.8:99\";proto=http;host=\"new.test:8\"\r\n");
    let text = shown(at, &forwarded);
    assert_eq!(value(&text, "embly-client"), Some("192.0.2.8"));
    assert_eq!(value(&text, "embly-scheme"), Some("http"));
    assert_eq!(value(&text, "host"), Some("new.test:8"));
    assert_eq!(value(&text, "forwarded"), None);
    // Lines of requests on other connections come in any order.
    embly.event("access", |access| access["client"] == "192.0.2.8:99");
}

#[test]
fn what_others_say_about_clients_never_reaches_a_function() {
    for keys in ["", "    proxies: [10.0.0.0/8, unix]\n"] {
        let embly = serve(keys);
        let forwarded = format!("{SAID}forwarded: for=192.0.2.8;proto=https;host=new.test\r\n");
        let text = shown(embly.at("web"), &forwarded);
        for (header, expected) in [
            ("embly-client", Some("127.0.0.1")),
            ("embly-scheme", Some("http")),
            ("host", Some("own.test")),
        ] {
            assert_eq!(value(&text, header), expected, "{header} in {text}");
        }
        for lie in ["forwarded", "x-real-ip", "own-id", "192.0.2", "said.test"] {
            assert!(!text.to_lowercase().contains(lie), "{lie} in {text}");
        }
        let access = embly.event("access", |_| true);
        let client = access["client"].as_str().unwrap();
        assert!(client.starts_with("127.0.0.1:"), "{access}");
    }
}

#[test]
fn trailers_say_nothing_that_headers_may_not() {
    let embly = serve("");
    let mut connection = Connection::new(embly.at("web"));
    connection.send(
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
         1\r\na\r\n0\r\nx-own: kept\r\nembly-client: 1.1.1.1\r\nx-forwarded-for: 1.1.1.1\r\n\r\n",
    );
    let text = String::from_utf8(connection.rest().0).unwrap();
    assert!(text.contains("x-own: kept"), "{text}");
    assert!(!text.contains("1.1.1.1"), "{text}");
}

#[test]
fn only_an_id_that_is_one_is_taken_over() {
    let embly = serve("    proxies: [127.0.0.1]\n");
    let long = "x".repeat(129);
    for bad in ["a b", "", &long, "caf\u{e9}", "one\r\nx-request-id: two"] {
        let text = shown(embly.at("web"), &format!("x-request-id: {bad}\r\n"));
        let id = value(&text, "x-request-id").unwrap();
        assert_eq!(id.len(), 36, "{bad:?}: {id}");
        assert_eq!(text.matches("x-request-id").count(), 1, "{text}");
    }
    let most = "x".repeat(128);
    let text = shown(embly.at("web"), &format!("x-request-id: {most}\r\n"));
    assert_eq!(value(&text, "x-request-id"), Some(&*most));
}

#[test]
fn a_host_that_a_proxy_passes_on_chooses_the_gateway() {
    let keys = |host: &str, function: &str| {
        format!(
            "    port: 8099\n    bind: 127.0.0.1\n    hosts: [{host}]\n    function: {function}\n    \
             proxies: [127.0.0.1]\n"
        )
    };
    let project = Project::new()
        .guest("shows")
        .guest("hello")
        .gateway_with("one", &keys("own.test", "hello"))
        .gateway_with("two", &keys("said.test", "shows"));
    let embly = Embly::run(&project);
    let text = shown(embly.at("one"), SAID);
    assert_eq!(value(&text, "host"), Some("said.test"), "{text}");
}

/// A header of version 2 for 192.0.2.9:4000, with something of the cloud behind.
fn version_2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10".to_vec();
    header.extend([192, 0, 2, 9, 10, 0, 0, 1, 15, 160, 1, 187, 0xea, 0, 1, 1]);
    header
}

#[test]
fn a_proxy_says_in_front_whose_connection_it_passes_on() {
    let embly = serve("    proxies: [127.0.0.1]\n    proxy_protocol: true\n");
    let at = embly.at("web");
    let head = b"GET / HTTP/1.1\r\nhost: own.test\r\nconnection: close\r\n\r\n";
    for (header, client) in [
        (
            b"PROXY TCP4 192.0.2.9 10.0.0.1 4000 443\r\n".to_vec(),
            "192.0.2.9",
        ),
        (
            b"PROXY TCP6 2001:db8::9 ::1 4000 443\r\n".to_vec(),
            "2001:db8::9",
        ),
        (version_2(), "192.0.2.9"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ] {
        let text = request(at, [&header[..], head].concat()).text();
        assert_eq!(value(&text, "embly-client"), Some(client), "{text}");
    }
    let access = embly.event("access", |_| true);
    assert_eq!(access["client"], "192.0.2.9:4000");
    // Whom it passes on is not trusted as it is itself.
    let mut lie = b"PROXY TCP4 192.0.2.9 10.0.0.1 4000 443\r\n".to_vec();
    lie.extend(b"GET / HTTP/1.1\r\nhost: own.test\r\nconnection: close\r\n");
    lie.extend(SAID.as_bytes());
    lie.extend(b"\r\n");
    let text = request(at, lie).text();
    assert_eq!(value(&text, "embly-client"), Some("192.0.2.9"), "{text}");
    assert_eq!(value(&text, "x-forwarded-for"), None, "{text}");
}

/// What a gateway sends before it closes.
fn answered(at: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(at);
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn who_is_no_proxy_or_does_not_say_for_whom_is_refused() {
    let protocol = "    proxy_protocol: true\n";
    let from_us = serve(&format!("    proxies: [127.0.0.1]\n{protocol}"));
    let from_others = serve(&format!("    proxies: [10.0.0.0/8]\n{protocol}"));
    let head = &b"GET / HTTP/1.1\r\nhost: own.test\r\n\r\n"[..];
    let whole = [b"PROXY TCP4 1.1.1.1 10.0.0.1 1 2\r\n", head].concat();
    assert!(answered(from_us.at("web"), head).is_empty());
    assert!(answered(from_us.at("web"), &[b"PROXY TCP4 x\r\n", head].concat()).is_empty());
    assert!(answered(from_others.at("web"), &whole).is_empty());
    // Nor does one that begins and does not go on keep its place; others are served meanwhile.
    let mut slow = connect(from_us.at("web"));
    slow.write_all(b"PROXY TCP4 ").unwrap();
    let close = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let whole = [&b"PROXY TCP4 1.1.1.1 10.0.0.1 1 2\r\n"[..], close].concat();
    assert!(answered(from_us.at("web"), &whole).starts_with(b"HTTP/1.1 200"));
    let mut end = Vec::new();
    let _ = slow.read_to_end(&mut end);
    assert!(end.is_empty());
    from_us.event("message", |event| {
        let text = event["text"].as_str().unwrap_or_default();
        text.contains("does not begin with a PROXY header")
    });
}

#[test]
fn a_proxy_speaks_before_tls_begins() {
    let keys = "    port: 0\n    function: shows\n    tls: {cert: ./web.pem, key: ./web.key}\n    \
                proxies: [127.0.0.1]\n    proxy_protocol: true\n";
    let project = Project::new().guest("shows").gateway_with("web", keys);
    let authority = Authority::new();
    authority.write(&project, "web", &["web.test"]);
    let embly = Embly::run(&project);
    let mut stream = connect(embly.at("web"));
    stream.write_all(&version_2()).unwrap();
    let name = "web.test".to_owned().try_into().unwrap();
    let config = client(&authority.pem, &[]);
    let connection = tokio_rustls::rustls::ClientConnection::new(config, name).unwrap();
    let mut tls = tokio_rustls::rustls::StreamOwned::new(connection, stream);
    tls.write_all(b"GET / HTTP/1.1\r\nhost: web.test\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    tls.read_to_string(&mut text).unwrap();
    assert_eq!(value(&text, "embly-client"), Some("192.0.2.9"), "{text}");
    assert_eq!(value(&text, "embly-scheme"), Some("https"), "{text}");
}

#[test]
fn a_tcp_function_gets_what_follows_the_header_of_a_proxy() {
    let project = Project::new().guest("echo").tcp("echo");
    project.path();
    let keys = "    port: 0\n    proxies: [127.0.0.1]\n    proxy_protocol: true\n";
    project.edit("    port: 0\n", keys);
    let embly = Embly::run(&project);
    let mut connection = Connection::new(embly.at("echo"));
    connection.send([&version_2()[..], b"bytes"].concat());
    assert_eq!(connection.exactly(5), b"bytes");
}
