//! Clients that mean harm, or do not know better, over HTTP/1.1: whatever they send, gateway and
//! function understand the same requests, and what stands behind a refused one is no request.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use support::client::{self, connect};
use support::process::peak_memory;
use support::{Embly, Project, get};

/// Bytes of a client, and what must come of them.
struct Case {
    /// What is sent. `/~` begins the paths of this case.
    sent: String,
    /// The statuses of the answers, in their order, up to the end of the connection.
    answers: Vec<u16>,
    /// What the function got: the path without what marks the case.
    arrived: Vec<&'static str>,
}

/// What stands behind a message, and must be a request only where that has ended.
const BEHIND: &str = "GET /~behind HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn case(sent: String, answers: &[u16], arrived: &[&'static str]) -> Case {
    Case {
        sent,
        answers: answers.to_vec(),
        arrived: arrived.to_vec(),
    }
}

/// A message that is refused with this status: nobody gets it, nor what is behind it.
fn refused(status: u16, sent: impl Into<String>) -> Case {
    case(sent.into() + BEHIND, &[status], &[])
}

/// One that breaks in its body: the connection ends, and nobody gets it whole.
fn broken(sent: impl Into<String>) -> Case {
    case(sent.into() + BEHIND, &[], &[])
}

/// One that is served, and the next one as well.
fn served(sent: impl Into<String>) -> Case {
    case(sent.into() + BEHIND, &[200, 200], &["first", "behind"])
}

/// One that is served, and ends the connection.
fn last(sent: impl Into<String>) -> Case {
    case(sent.into() + BEHIND, &[200], &["first"])
}

/// A request with these headers and this body.
fn post(headers: &str, body: &str) -> String {
    format!("POST /~first HTTP/1.1\r\nHost: a.test\r\n{headers}\r\n{body}")
}

/// The same in chunks.
fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// A request with these headers and no body.
fn with(headers: &str) -> String {
    post(headers, "")
}

/// A request with this target.
fn target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")
}

/// A request with this request line.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: a.test\r\n\r\n")
}

/// The statuses of all that came back.
fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut headers);
        let length = parsed.parse(bytes).unwrap().unwrap();
        found.push(parsed.code.unwrap());
        let content = parsed.headers.iter().find(|header| {
            assert!(
                !header.name.eq_ignore_ascii_case("transfer-encoding"),
                "all answers here have a length"
            );
            header.name.eq_ignore_ascii_case("content-length")
        });
        let content = content.map_or(0, |header| {
            let text = std::str::from_utf8(header.value).unwrap();
            text.parse::<usize>().unwrap()
        });
        bytes = &bytes[length + content..];
    }
    found
}

/// All that comes back for these bytes, when the client says no more.
fn talk(at: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(at);
    // Who refuses may close before all is written.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Undoes `escape_ascii`.
fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().unwrap() {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            },
            other => other,
        });
    }
    bytes
}

/// The path of a request that a function got, which is one that any server reads in the same way:
/// lines that end in CRLF, one host, at most one length or coding, and a body that is as they say.
fn path_of(request: &[u8]) -> String {
    let shown = String::from_utf8_lossy(request);
    let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.expect("a head");
    let (head, body) = (&request[..end], &request[end + 4..]);
    let lines: Vec<_> = head.split(|byte| *byte == b'\n').collect();
    let (last, others) = lines.split_last().unwrap();
    assert!(!last.contains(&b'\r'), "{shown}");
    for line in others {
        let inner = line.strip_suffix(b"\r").expect("CRLF");
        assert!(!inner.contains(&b'\r') && !inner.contains(&0), "{shown}");
    }
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut headers);
    assert!(parsed.parse(request).unwrap().is_complete(), "{shown}");
    let values = |name: &str| -> Vec<String> {
        let found = parsed.headers.iter().filter(|header| header.name == name);
        found
            .map(|header| String::from_utf8_lossy(header.value).into_owned())
            .collect()
    };
    // HTTP/1.0 has none.
    assert!(values("host").len() <= 1, "{shown}");
    assert_eq!(values("x-request-id").len(), 1, "{shown}");
    assert_eq!(values("embly-client"), ["127.0.0.1"], "{shown}");
    match (
        &values("content-length")[..],
        &values("transfer-encoding")[..],
    ) {
        ([], []) => assert!(body.is_empty(), "{shown}"),
        ([length], []) => assert_eq!(length.parse(), Ok(body.len()), "{shown}"),
        ([], [coding]) => {
            assert_eq!(coding, "chunked");
            assert!(body.ends_with(b"0\r\n\r\n") || body.ends_with(b"\r\n\r\n"));
        }
        both => panic!("{both:?} in {shown}"),
    }
    parsed.path.unwrap().to_owned()
}

/// Sends all cases, one after the other, and stops; then all that arrived is known.
fn check(cases: Vec<Case>) {
    let mut embly = Embly::run(&Project::new().guest("reports").http("reports"));
    let at = embly.at("reports");
    let (mut wrong, mut expected) = (Vec::new(), Vec::new());
    for (n, case) in cases.iter().enumerate() {
        let answer = talk(at, case.sent.replace("/~", &format!("/{n}/")).as_bytes());
        let got = statuses(&answer);
        if got != case.answers {
            wrong.push(format!(
                "{:?}: answers {got:?}, not {:?}",
                &case.sent[..case.sent.len().min(300)],
                case.answers
            ));
        }
        expected.extend(case.arrived.iter().map(|path| format!("/{n}/{path}")));
    }
    embly.stops_with_nothing_left();
    let mut arrived = Vec::new();
    for event in embly.events() {
        if event["event"] == "log" {
            arrived.push(path_of(&unescape(event["line"].as_str().unwrap())));
        }
    }
    // What stands around the mark is the case's own.
    let marked = |path: &String| {
        let mut parts = path.split(['/', '?']);
        let number = parts.find(|part| part.parse::<usize>().is_ok());
        format!(
            "/{}/{}",
            number.unwrap_or_default(),
            parts.next().unwrap_or_default()
        )
    };
    let mut arrived: Vec<_> = arrived.iter().map(marked).collect();
    arrived.sort();
    expected.sort();
    let number = |path: &String| path.split('/').nth(1).and_then(|n| n.parse::<usize>().ok());
    for path in arrived.iter().filter(|path| !expected.contains(path)) {
        let sent = number(path).map(|n| &cases[n].sent);
        wrong.push(format!("{path} arrived, of {sent:?}"));
    }
    for path in expected.iter().filter(|path| !arrived.contains(path)) {
        let sent = number(path).map(|n| &cases[n].sent);
        wrong.push(format!("{path} did not arrive, of {sent:?}"));
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(arrived, expected);
}

#[test]
fn a_length_is_one_number_or_the_request_is_refused() {
    let mut cases = vec![
        served(post("Content-Length: 5\r\n", "hello")),
        served(post("Content-Length: 005\r\n", "hello")),
        // Both say the same, and the function gets one.
        served(post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
        refused(
            400,
            post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
        ),
        refused(
            400,
            post("Content-Length: 0\r\nContent-Length: 5\r\n", "hello"),
        ),
        // Over the limit of the function, which is looked at before the body.
        case(
            post("Content-Length: 9000000000000000000\r\n", "hello") + BEHIND,
            &[413],
            &[],
        ),
    ];
    for length in [
        "5, 5",
        "5,5",
        " 5 x",
        "5 5",
        "-5",
        "-0",
        "0x5",
        "5.0",
        "5e0",
        "1_0",
        "5;x",
        "",
        "\"5\"",
        "\u{665}",
        "18446744073709551616",
        "99999999999999999999999999999999999999",
    ] {
        let sent = post(&format!("Content-Length: {length}\r\n"), "hello");
        cases.push(refused(400, sent));
    }
    check(cases);
}

#[test]
fn a_coding_is_chunked_alone_or_the_request_is_refused() {
    let body = "5\r\nhello\r\n0\r\n\r\n";
    let mut cases = Vec::new();
    for coding in ["chunked", "Chunked", "CHUNKED", "\tchunked \t"] {
        let sent = post(&format!("Transfer-Encoding:{coding}\r\n"), body);
        cases.push(served(sent));
    }
    for coding in [
        "xchunked",
        "chunkedx",
        "chunked, identity",
        "chunked;q=1",
        "\"chunked\"",
        "chunked,",
        "gzip",
        "",
        "\u{b}chunked",
        "chunked\u{0}",
        // Twice is not allowed, and the function would get one that is not decoded.
        "chunked, chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
        ", chunked",
    ] {
        let sent = post(&format!("Transfer-Encoding: {coding}\r\n"), body);
        cases.push(refused(400, sent));
    }
    // The function would take what is packed for the body.
    for coding in [
        "gzip, chunked",
        "identity, chunked",
        "identity\r\nTransfer-Encoding: chunked",
        "x chunked, chunked",
    ] {
        let sent = post(&format!("Transfer-Encoding: {coding}\r\n"), body);
        cases.push(refused(501, sent));
    }
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        // A line that ends in LF alone is a line of its own.
        "Content-Length: 5\r\nX: a\nTransfer-Encoding: chunked\r\n",
    ] {
        cases.push(last(post(headers, body)));
    }
    cases.push(refused(
        400,
        format!("POST /~first HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{body}"),
    ));
    check(cases);
}

#[test]
fn chunks_are_read_to_the_letter_or_the_connection_ends() {
    let mut cases = vec![
        served(chunked("5\r\nhello\r\n0\r\n\r\n")),
        served(chunked("05\r\nhello\r\n000\r\n\r\n")),
        served(chunked("5 \r\nhello\r\n0\t\r\n\r\n")),
        served(chunked("5;a=b;c=\"d\"\r\nhello\r\n0;last\r\n\r\n")),
        served(chunked("A\r\n0123456789\r\n0\r\n\r\n")),
        served(chunked(&format!(
            "{}5\r\nhello\r\n0\r\n\r\n",
            "0".repeat(5000)
        ))),
    ];
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\n",
        "5\r\nhello\r\n0\r\n\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "x\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a\r\nhello\r\n0\r\n\r\n",
        "5\u{0}\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffe\r\nhello\r\n0\r\n\r\n",
        // The end is missing: what follows are no trailers.
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello\r\n",
        // Trailers are headers: no folded lines, no CR or NUL in them, and nothing but CRLF ends them.
        "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\u{0}b\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : a\r\n\r\n",
        "5\r\nhello\r\n0\r\n: a\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n",
    ] {
        cases.push(broken(chunked(body)));
    }
    // The library takes LF for the end of trailers, and passes over all up to an empty line in CRLF:
    // that is lost, but no request.
    cases.push(last(chunked("5\r\nhello\r\n0\r\nX: a\n\n")));
    check(cases);
}

#[test]
fn what_stands_beside_the_chunks_is_bounded_over_the_whole_body() {
    let small = "1;0123456789\r\nx\r\n";
    let large = "1;".to_owned() + &"e".repeat(17_000) + "\r\nx\r\n";
    let trailer = |n: usize| format!("x-{n}: 1\r\n");
    let trailers = |count: usize| (0..count).map(trailer).collect::<String>();
    check(vec![
        served(chunked(&(small.repeat(200) + "0\r\n\r\n"))),
        broken(chunked(&(small.repeat(3000) + "0\r\n\r\n"))),
        broken(chunked(&(large + "0\r\n\r\n"))),
        served(chunked(&format!("0\r\n{}\r\n", trailers(20)))),
        broken(chunked(&format!("0\r\n{}\r\n", trailers(200)))),
        broken(chunked(&format!("0\r\nx: {}\r\n\r\n", "t".repeat(40_000)))),
    ]);
}

#[test]
fn lines_end_in_crlf_or_lf_and_nothing_else_divides_them() {
    let mut cases = vec![
        // RFC 9112, section 2.2, lets a server take LF for the end of a line of the head, and empty
        // lines in front. The function gets CRLF.
        served("GET /~first HTTP/1.1\nHost: a.test\nX: 1\n\n"),
        served("\r\n\r\n\nGET /~first HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        // A form feed has no place anywhere.
        refused(400, with("X: a\u{c}b\r\n")),
        served(with("X: a\tb\r\n")),
        served(with("X: \u{e9}\r\n")),
        served(with("X:\r\n")),
    ];
    for headers in [
        "X: a\r\n b\r\n",
        "X: a\r\n\tb\r\n",
        " X: a\r\n",
        "X: a\rb\r\n",
        "X: a\r\r\n",
        "X: a\rContent-Length: 5\r\n",
        "X\r: a\r\n",
        "X: a\u{0}b\r\n",
        "X: a\u{7f}b\r\n",
        "X: a\u{1b}[2J\r\n",
        "X\u{0}: a\r\n",
        "X : a\r\n",
        "X\t: a\r\n",
        ": a\r\n",
        "X\r\n",
        "X\u{e9}: a\r\n",
        "X(: a\r\n",
        "X@: a\r\n",
        "\"X\": a\r\n",
    ] {
        cases.push(refused(400, with(headers)));
    }
    for (status, first) in [
        (400, "GET /~first\r HTTP/1.1"),
        (400, "GET\r /~first HTTP/1.1"),
        (400, "GET /~first HTTP/1.1\r"),
        (400, "GET  /~first HTTP/1.1"),
        (400, "GET /~first  HTTP/1.1"),
        (400, "GET\t/~first\tHTTP/1.1"),
        (400, "GET\u{b}/~first HTTP/1.1"),
        (400, " GET /~first HTTP/1.1"),
        (400, "GET /~fi\u{0}rst HTTP/1.1"),
        (400, "GET /~first\u{7f} HTTP/1.1"),
        (400, "GET /~first HTTP/1.1 "),
        (400, "GET /~first http/1.1"),
        (400, "GET /~first HTTP/1.2"),
        (400, "GET /~first HTTP/2.0"),
        (400, "GET /~first HTTP/0.9"),
        (400, "GET /~first HTTP/11"),
        (400, "GET /~first HTTPS/1.1"),
        (400, "GET /~first"),
        (400, "GET"),
        (400, "G\u{0}T /~first HTTP/1.1"),
        (400, "G(T /~first HTTP/1.1"),
        (400, "\u{16}\u{3}\u{1}\u{2}"),
    ] {
        cases.push(refused(status, line(first)));
    }
    check(cases);
}

#[test]
fn a_target_has_one_meaning() {
    let mut cases = vec![
        served(target("/~first")),
        served(target("//b.test/~first")),
        served(target("http://b.test/~first")),
        served(target("http://u:p@b.test:81/~first")),
        served(target("HTTP://B.test/~first")),
        served(target("/~first?a=b&c")),
        served(target("http://b.test?/~first")),
    ];
    // A tunnel, also where the bytes for it come along.
    for first in [
        "CONNECT b.test:80 HTTP/1.1",
        "CONNECT /~first HTTP/1.1",
        "CONNECT http://b.test/ HTTP/1.1",
    ] {
        cases.push(refused(501, line(first)));
    }
    for other in [
        // An authority is what CONNECT has, and `*` what OPTIONS has.
        "b.test:80",
        "b.test",
        "u@b.test:80",
        "*",
        "~first",
        "?a",
        "#a",
        "http:",
        "http://",
        "http:///~first",
        "http://u@/~first",
        "http://b.test:port/~first",
        "http://b.test:99999/~first",
        "http://[::1/~first",
        "http://b.test\\@c.test/~first",
        "/~fir st",
        "/~first<",
    ] {
        cases.push(refused(400, target(other)));
    }
    check(cases);
}

#[test]
fn the_host_that_a_function_sees_is_the_one_that_counts() {
    let embly = Embly::run(&Project::new().guest("shows").http("shows"));
    let seen = |first: &str| {
        let head = format!("{first}\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        let text = client::request(embly.at("shows"), head).text();
        let (first, rest) = text.split_once("\r\n").unwrap();
        let hosts = rest.split("\r\n").filter(|line| line.starts_with("host:"));
        let hosts: Vec<_> = hosts.map(str::to_owned).collect();
        assert_eq!(hosts.len(), 1, "{text}");
        (first.to_owned(), hosts[0].clone())
    };
    for (first, line, host) in [
        (
            "GET //b.test/x HTTP/1.1",
            "GET //b.test/x HTTP/1.1",
            "a.test",
        ),
        ("GET http://b.test/x HTTP/1.1", "GET /x HTTP/1.1", "b.test"),
        (
            "GET http://u:p@b.test:81/ HTTP/1.1",
            "GET / HTTP/1.1",
            "b.test:81",
        ),
        ("GET http://b.test HTTP/1.1", "GET / HTTP/1.1", "b.test"),
        ("GET http://b.test?x HTTP/1.1", "GET /?x HTTP/1.1", "b.test"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * HTTP/1.1", "a.test"),
    ] {
        let expected = (line.to_owned(), format!("host: {host}"));
        assert_eq!(seen(first), expected, "{first}");
    }
}

#[test]
fn a_request_names_one_host_that_can_be_one() {
    let host = |lines: &str| format!("GET /~first HTTP/1.1\r\n{lines}\r\n");
    let mut cases = Vec::new();
    for value in [
        "a.test",
        "a.test:80",
        "a.test:",
        "a_b",
        "[::1]:80",
        "1.2.3.4",
        "",
    ] {
        cases.push(served(host(&format!("Host: {value}\r\n"))));
    }
    for value in [
        "a b", "a, b", "a,b", "u@a", "a/b", "a?b", "a#b", "a\tb", "[::1", "::1", "a:b", "a:80:80",
        "a:99999", "http://a", "\u{e9}", "a\\b", "\"a\"",
    ] {
        cases.push(refused(400, host(&format!("Host: {value}\r\n"))));
    }
    for lines in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nHost:\r\n",
        "Host: a\r\n b\r\n",
        "Host : a\r\n",
        "X-Host: a\r\n",
    ] {
        cases.push(refused(400, host(lines)));
    }
    // Also where the target has it.
    let absolute =
        |value: &str| format!("GET http://b.test/~first HTTP/1.1\r\nHost: {value}\r\n\r\n");
    cases.push(refused(400, absolute("a b")));
    cases.push(served(absolute("other.test")));
    check(cases);
}

#[test]
fn what_asks_for_another_protocol_is_an_ordinary_request() {
    let upgrade =
        |to: &str, more: &str| with(&format!("Connection: Upgrade\r\nUpgrade: {to}\r\n{more}"));
    let settings = "Connection: HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    check(vec![
        served(upgrade("h2c", settings)),
        served(upgrade("websocket", key)),
        served(upgrade("TLS/1.0, HTTP/1.1", "")),
        served(with("Upgrade: h2c\r\n")),
        // In the middle of a connection it begins no other.
        case(
            with("") + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + BEHIND,
            &[200],
            &["first"],
        ),
    ]);
}

#[test]
fn bodies_and_expectations_are_read_whatever_the_method() {
    let ask =
        |method: &str, rest: &str| format!("{method} /~first HTTP/1.1\r\nHost: a.test\r\n{rest}");
    let body = "Content-Length: 5\r\n\r\nhello";
    check(vec![
        served(ask("GET", body)),
        served(ask("HEAD", body)),
        served(ask("DELETE", body)),
        served(ask("OPTIONS", body)),
        served(ask("TRACE", body)),
        served(ask("get", body)),
        served(ask("X-Y_Z!", body)),
        served(ask(
            "GET",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )),
        // What is not known is no reason to refuse, and the function does not get it.
        served(ask("POST", &format!("Expect: 200-ok\r\n{body}"))),
        served(ask("POST", &format!("Expect: \r\n{body}"))),
        // An old client does not know what 100 is.
        case(
            format!("POST /~first HTTP/1.0\r\nExpect: 100-continue\r\n{body}"),
            &[200],
            &["first"],
        ),
        last(ask("GET", "Connection: close\r\n\r\n")),
        last(ask(
            "GET",
            "Connection: close\r\nConnection: keep-alive\r\n\r\n",
        )),
        last(ask("GET", "Connection: keep-alive, close\r\n\r\n")),
        case(
            "GET /~first HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned() + BEHIND,
            &[200, 200],
            &["first", "behind"],
        ),
        last("GET /~first HTTP/1.0\r\n\r\n"),
        // What names no method of HTTP is not served as one.
        refused(400, "hello\r\n\r\n"),
    ]);
}

#[test]
fn headers_have_an_end() {
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("x-{n}: 1\r\n"))
            .collect::<String>()
    };
    check(vec![
        served(with(&many(90))),
        refused(431, with(&many(200))),
        refused(431, with(&format!("x: {}\r\n", "a".repeat(200_000)))),
        refused(431, with(&format!("{}: 1\r\n", "a".repeat(200_000)))),
        refused(414, target(&format!("/~{}", "a".repeat(70_000)))),
        refused(
            400,
            format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(70_000) + "("),
        ),
    ]);
}

#[test]
fn trailers_say_nothing_that_frames_routes_or_proves() {
    let embly = Embly::run(&Project::new().guest("shows").http("shows"));
    let names = [
        "Content-Length: 50",
        "Transfer-Encoding: gzip",
        "Trailer: x",
        "Host: b.test",
        "Connection: x",
        "Keep-Alive: x",
        "Upgrade: h2c",
        "TE: trailers",
        "Expect: 100-continue",
        "Proxy-Authorization: x",
        "Embly-Client: 1.2.3.4",
        "embly-user: root",
        "X-Request-Id: forged",
        "X-Forwarded-For: 1.2.3.4",
        "Authorization: Basic eDp5",
        "Cookie: a=b",
        "Content-Type: text/html",
        "Content-Encoding: gzip",
        "Content-Range: bytes 0-1/2",
        "Range: bytes=0-1",
        "Cache-Control: no-store",
        "Max-Forwards: 1",
    ];
    let trailers = names.map(|line| format!("{line}\r\n")).concat();
    let sent = format!(
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n{trailers}X-Sum: 42\r\n\r\n"
    );
    let text = client::request(embly.at("shows"), sent).text();
    assert!(
        text.ends_with("\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n"),
        "{text}"
    );
}

#[test]
fn a_chunk_size_without_end_takes_no_memory_and_ends_with_the_invocation() {
    let keys = "    limits: {wall: 1s}";
    let project = Project::new()
        .guest_with("reports", keys)
        .guest("hello")
        .http("reports")
        .http("hello");
    let embly = Embly::run(&project);
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    let before = peak_memory(embly.pid());
    let mut stream = connect(embly.at("reports"));
    stream.write_all(chunked("").as_bytes()).unwrap();
    let zeros = [b'0'; 16 * 1024];
    // Until nobody reads them any more.
    while stream.write_all(&zeros).is_ok() {}
    assert_eq!(embly.ending("reports")["reason"], "wall");
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < 8 << 20, "{more} bytes more");
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
}
