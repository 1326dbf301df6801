//! Clients that mean harm over HTTP/2, frame by frame: what is no request reaches no function, and
//! what costs the server more than the client is held back, while neighbours are served.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use support::client::{connect, pause};
use support::process::peak_memory;
use support::{Embly, Project, get};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The error codes that are looked for (RFC 9113, section 7).
const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What may come on top of the memory that the master had before.
const MEMORY: u64 = 16 << 20;

/// One frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A number in HPACK (RFC 7541, section 5.1).
fn number(first: u8, bits: u32, mut value: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if value < most {
        return vec![first | u8::try_from(value).unwrap()];
    }
    let mut bytes = vec![first | u8::try_from(most).unwrap()];
    value -= most;
    while value >= 128 {
        bytes.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// A header as it is, not to be indexed.
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.extend(number(0, 7, text.len()));
        bytes.extend_from_slice(text);
    }
    bytes
}

/// All of these.
fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let headers = headers.iter();
    headers
        .flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes()))
        .collect()
}

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "a.test"),
    (":path", "/first"),
];

/// What came in a frame.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

struct Http2 {
    stream: TcpStream,
    /// Bytes of bodies that came.
    data: usize,
}

impl Http2 {
    /// A connection with these settings.
    fn with(at: SocketAddr, settings: &[u8]) -> Self {
        let mut stream = connect(at);
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, settings)).unwrap();
        Self { stream, data: 0 }
    }

    fn new(at: SocketAddr) -> Self {
        Self::with(at, &[])
    }

    /// Sends bytes as long as somebody takes them; whether all were taken.
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next frame; none at the end, whether in order or not.
    fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).ok()?;
        if head[3] == DATA {
            self.data += payload.len();
        }
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// What becomes of a stream.
    fn fate(&mut self, stream: u32) -> Fate {
        let mut status = None;
        loop {
            let Some(frame) = self.frame() else {
                return Fate::Closed;
            };
            let code = |at: usize| {
                let code = frame.payload[at..at + 4].try_into().unwrap();
                u32::from_be_bytes(code)
            };
            match frame.kind {
                GOAWAY if code(4) != 0 => return Fate::GoAway(code(4)),
                RST_STREAM if frame.stream == stream => {
                    return status.map_or(Fate::Reset(code(0)), Fate::Answer);
                }
                HEADERS if frame.stream == stream => {
                    status = Some(status_of(&frame.payload));
                    if frame.flags & END_STREAM != 0 {
                        return Fate::Answer(status.unwrap());
                    }
                }
                DATA if frame.stream == stream && frame.flags & END_STREAM != 0 => {
                    return Fate::Answer(status.unwrap_or_default());
                }
                _ => {}
            }
        }
    }

    /// Waits until the other side has closed the connection, or said that it is too much.
    fn end(&mut self) -> Option<u32> {
        let mut said = None;
        while let Some(frame) = self.frame() {
            if frame.kind == GOAWAY {
                let code = frame.payload[4..8].try_into().unwrap();
                said = Some(u32::from_be_bytes(code));
            }
        }
        said
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Answer(u16),
    Reset(u32),
    GoAway(u32),
    Closed,
}

/// The status that a block of headers begins with: indexed, or written out.
fn status_of(block: &[u8]) -> u16 {
    match block[0] {
        0x88 => 200,
        0x89 => 204,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        // `:status` is known by its number, and its value is text of three digits, often packed.
        first if first & 0x3f == 8 => {
            let packed = block[1] & 0x80 != 0;
            let value = &block[2..2 + usize::from(block[1] & 0x7f)];
            if packed {
                unpack(value)
            } else {
                std::str::from_utf8(value).unwrap().parse().unwrap()
            }
        }
        other => panic!("a block that begins with {other:x}"),
    }
}

/// Three digits in the code of HPACK: 0 to 2 have five bits, the others six (RFC 7541, appendix B).
fn unpack(bytes: &[u8]) -> u16 {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut at, mut value) = (0, 0);
    for _ in 0..3 {
        let five = u16::from_str_radix(&bits[at..at + 5], 2).unwrap();
        let digit = if five < 3 {
            at += 5;
            five
        } else {
            let six = u16::from_str_radix(&bits[at..at + 6], 2).unwrap();
            at += 6;
            six - 0b01_1001 + 3
        };
        value = value * 10 + digit;
    }
    value
}

fn reports() -> Embly {
    let project = Project::new().guest("reports").guest("hello");
    let embly = Embly::run(&project.http("reports").http("hello"));
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    embly
}

/// How many requests reached `reports`, after it has stopped.
fn arrived(mut embly: Embly) -> usize {
    embly.stops_with_nothing_left();
    let events = embly.events();
    let logged = events.iter().filter(|event| event["event"] == "log");
    logged.count()
}

/// The pseudo-headers with one of them as given, or left away.
fn but(name: &str, value: Option<&'static str>) -> Vec<(&'static str, &'static str)> {
    let mut headers = Vec::new();
    for (other, usual) in GET {
        if other != name {
            headers.push((other, usual));
        } else if let Some(value) = value {
            headers.push((other, value));
        }
    }
    headers
}

/// The usual ones, and these.
fn and(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&GET, more].concat()
}

#[test]
fn forged_heads_are_no_requests() {
    let embly = reports();
    let heads = [
        but(":path", None),
        but(":path", Some("")),
        but(":path", Some("first")),
        but(":path", Some("?first")),
        but(":path", Some("*")),
        but(":path", Some("http://b.test/first")),
        but(":path", Some("/fi rst")),
        but(":path", Some("/first HTTP/1.1\r\nx: y")),
        but(":path", Some("/fi\0rst")),
        but(":method", None),
        but(":method", Some("")),
        but(":method", Some("GET / HTTP/1.1\r\nx:")),
        but(":method", Some("G T")),
        but(":scheme", None),
        but(":scheme", Some("ht tp")),
        but(":authority", None),
        but(":authority", Some("")),
        but(":authority", Some("a b")),
        but(":authority", Some("u@a.test")),
        but(":authority", Some("a.test/x")),
        but(":authority", Some("a.test\r\nx: y")),
        and(&[(":path", "/other")]),
        and(&[(":method", "POST")]),
        and(&[(":authority", "b.test")]),
        and(&[(":unknown", "x")]),
        and(&[(":status", "200")]),
        and(&[(":protocol", "websocket")]),
        and(&[("host", "b.test")]),
        and(&[("host", "a.test"), ("host", "a.test")]),
        and(&[("host", "a b")]),
        and(&[("X-Upper", "x")]),
        and(&[("", "x")]),
        and(&[("x y", "x")]),
        and(&[("x:y", "x")]),
        and(&[("x\r\ny", "x")]),
        and(&[("x", "a\r\ny: b")]),
        and(&[("x", "a\rb")]),
        and(&[("x", "a\0b")]),
        and(&[("connection", "x")]),
        and(&[("connection", "close")]),
        and(&[("keep-alive", "x")]),
        and(&[("proxy-connection", "x")]),
        and(&[("transfer-encoding", "chunked")]),
        and(&[("upgrade", "h2c")]),
        and(&[("te", "gzip")]),
        and(&[("content-length", "5")]),
        and(&[("content-length", "x")]),
        and(&[("content-length", "+0")]),
        and(&[("content-length", "0"), ("content-length", "5")]),
        // A pseudo-header behind a header.
        [&[("x", "1")], &GET[..]].concat(),
    ];
    let mut wrong = Vec::new();
    for head in &heads {
        let mut http = Http2::new(embly.at("reports"));
        let flags = END_HEADERS | END_STREAM;
        http.send(&frame(HEADERS, flags, 1, &block(head)));
        match http.fate(1) {
            Fate::Answer(400) | Fate::Reset(PROTOCOL_ERROR) | Fate::GoAway(PROTOCOL_ERROR) => {}
            other => wrong.push(format!("{head:?}: {other:?}")),
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(arrived(embly), 0);
}

#[test]
fn what_is_unusual_and_right_is_served() {
    let embly = reports();
    let heads = [
        and(&[]),
        and(&[("host", "a.test")]),
        and(&[("host", "A.test")]),
        and(&[("te", "trailers")]),
        and(&[("content-length", "0")]),
        and(&[("x", "a\tb")]),
        and(&[("cookie", "a=1"), ("cookie", "b=2")]),
        [&but(":authority", None)[..], &[("host", "a.test")]].concat(),
        but(":path", Some("//b.test/first")),
    ];
    for head in &heads {
        let mut http = Http2::new(embly.at("reports"));
        let flags = END_HEADERS | END_STREAM;
        http.send(&frame(HEADERS, flags, 1, &block(head)));
        assert_eq!(http.fate(1), Fate::Answer(200), "{head:?}");
    }
    let count = heads.len();
    embly.nth_event("log", count - 1, |_| true);
    for event in embly.events() {
        if event["event"] != "log" {
            continue;
        }
        let line = event["line"].as_str().unwrap();
        assert_eq!(line.matches("host: ").count(), 1, "{line}");
        // One header for all of them, as HTTP/1.1 has it (RFC 9113, section 8.2.3).
        assert!(line.matches("cookie: ").count() <= 1, "{line}");
    }
    assert_eq!(arrived(embly), count);
}

#[test]
fn a_body_is_as_long_as_was_said_or_the_stream_is_reset() {
    let embly = reports();
    let head = |length: &str| {
        let post = but(":method", Some("POST"));
        let length = [("content-length", length)];
        frame(
            HEADERS,
            END_HEADERS,
            1,
            &block(&[&post[..], &length].concat()),
        )
    };
    for (length, data) in [("5", "hell"), ("5", "hello!"), ("0", "hello"), ("5", "")] {
        let mut http = Http2::new(embly.at("reports"));
        http.send(&head(length));
        http.send(&frame(DATA, END_STREAM, 1, data.as_bytes()));
        assert_eq!(
            http.fate(1),
            Fate::Reset(PROTOCOL_ERROR),
            "{length}, {data}"
        );
    }
    let mut http = Http2::new(embly.at("reports"));
    http.send(&head("5"));
    http.send(&frame(DATA, END_STREAM, 1, b"hello"));
    assert_eq!(http.fate(1), Fate::Answer(200));
    assert_eq!(arrived(embly), 1);
}

#[test]
fn an_answer_before_the_end_of_the_upload_reaches_the_client_over_http2() {
    let embly = reports();
    let post = but(":method", Some("POST"));
    let length = [("content-length", "50000")];
    let head = block(&[&post[..], &length].concat());
    let mut http = Http2::new(embly.at("hello"));
    http.send(&frame(HEADERS, END_HEADERS, 1, &head));
    assert_eq!(http.fate(1), Fate::Answer(200));
    // And the connection goes on.
    http.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &block(&GET)));
    assert_eq!(http.fate(3), Fate::Answer(200));
}

#[test]
fn a_tunnel_is_not_offered_over_http2() {
    let embly = reports();
    let connect = [(":method", "CONNECT"), (":authority", "b.test:80")];
    let mut http = Http2::new(embly.at("reports"));
    http.send(&frame(HEADERS, END_HEADERS, 1, &block(&connect)));
    assert_eq!(http.fate(1), Fate::Answer(501));
    // Neither one for WebSockets (RFC 8441), which nobody has said to be there.
    let extended = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", "/"),
    ];
    let mut http = Http2::new(embly.at("reports"));
    http.send(&frame(HEADERS, END_HEADERS, 1, &block(&extended)));
    let fate = http.fate(1);
    assert!(
        matches!(fate, Fate::Reset(_) | Fate::GoAway(_) | Fate::Answer(501)),
        "{fate:?}"
    );
    assert_eq!(arrived(embly), 0);
}

#[test]
fn requests_that_are_reset_at_once_end_the_connection() {
    let embly = reports();
    let before = peak_memory(embly.pid());
    let head = block(&GET);
    let mut http = Http2::new(embly.at("reports"));
    for n in 0..10_000u32 {
        let stream = 2 * n + 1;
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        if !http.send(&bytes) {
            break;
        }
        if n % 1000 == 0 {
            assert_eq!(get(embly.at("hello"), "/").text(), "hello");
        }
    }
    assert!(matches!(http.end(), Some(ENHANCE_YOUR_CALM) | None));
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < MEMORY, "{more} bytes more");
    let started = embly.events();
    let started = started
        .iter()
        .filter(|event| event["event"] == "invocation_started" && event["function"] == "reports");
    let started = started.count();
    assert!(started < 1000, "{started} invocations for nothing");
}

#[test]
fn a_head_without_end_is_not_gathered_over_http2() {
    let embly = reports();
    let before = peak_memory(embly.pid());
    let mut http = Http2::new(embly.at("reports"));
    http.send(&frame(HEADERS, END_STREAM, 1, &block(&GET)));
    let more = literal(b"x-more", &[b'x'; 8000]);
    let mut sent = 0;
    while sent < 20_000 && http.send(&frame(CONTINUATION, 0, 1, &more)) {
        sent += 1;
    }
    assert!(sent < 20_000, "nobody has stopped it");
    // The same without a byte in them.
    let mut http = Http2::new(embly.at("reports"));
    http.send(&frame(HEADERS, END_STREAM, 1, &block(&GET)));
    let empty = frame(CONTINUATION, 0, 1, &[]).repeat(1000);
    let mut sent = 0;
    while sent < 2000 && http.send(&empty) {
        sent += 1;
    }
    assert!(sent < 2000, "nobody has stopped it");
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < MEMORY, "{more} bytes more");
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    assert_eq!(arrived(embly), 0);
}

#[test]
fn a_small_head_that_unpacks_to_a_large_one_is_refused() {
    let embly = reports();
    let before = peak_memory(embly.pid());
    let mut http = Http2::new(embly.at("reports"));
    // Kept in the table by the first mention; each other mention is one byte.
    let mut bomb = block(&GET);
    bomb.push(0x40);
    bomb.extend(number(0, 7, 1));
    bomb.push(b'x');
    bomb.extend(number(0, 7, 3900));
    bomb.extend([b'b'; 3900]);
    bomb.resize(bomb.len() + 10_000, 0x80 | 62);
    http.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb));
    let fate = http.fate(1);
    assert!(
        matches!(fate, Fate::Answer(431) | Fate::Reset(_) | Fate::GoAway(_)),
        "{fate:?}"
    );
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < MEMORY, "{more} bytes more");
    assert_eq!(arrived(embly), 0);
}

#[test]
fn a_head_over_the_limit_answers_431_over_http2() {
    let embly = reports();
    let mut http = Http2::new(embly.at("reports"));
    // Over `request_head`, and under what is read at all.
    let pieces: Vec<u8> = (0..5)
        .flat_map(|_| literal(b"x-large", &[b'x'; 16_000]))
        .collect();
    let head = [block(&GET), pieces].concat();
    let (first, rest) = head.split_at(16_000);
    http.send(&frame(HEADERS, END_STREAM, 1, first));
    let mut rest = rest.chunks(16_000).peekable();
    while let Some(piece) = rest.next() {
        let flags = if rest.peek().is_none() {
            END_HEADERS
        } else {
            0
        };
        http.send(&frame(CONTINUATION, flags, 1, piece));
    }
    assert_eq!(http.fate(1), Fate::Answer(431));
    assert_eq!(arrived(embly), 0);
}

#[test]
fn answers_that_nobody_takes_are_not_gathered() {
    let embly = reports();
    let before = peak_memory(embly.pid());
    for flood in [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]),
        // Nobody has asked for these.
        frame(SETTINGS, ACK, 0, &[]),
        frame(PING, ACK, 0, &[0; 8]),
    ] {
        let mut http = Http2::new(embly.at("reports"));
        // A server that waits until its answers are taken does not read on.
        let time = Some(Duration::from_millis(500));
        http.stream.set_write_timeout(time).unwrap();
        let many = flood.repeat(1000);
        let mut sent = 0;
        while sent < 500 && http.send(&many) {
            sent += 1;
        }
        assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    }
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < MEMORY, "{more} bytes more");
}

#[test]
fn a_window_of_nothing_holds_the_function_back_and_not_its_neighbours() {
    let project = Project::new().guest("pours").guest("hello");
    let embly = Embly::run(&project.http("pours").http("hello"));
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    let before = peak_memory(embly.pid());
    // SETTINGS_INITIAL_WINDOW_SIZE.
    let mut http = Http2::with(embly.at("pours"), &[0, 4, 0, 0, 0, 0]);
    let pours = block(&but(":path", Some("/?1000000000")));
    for n in 0..5 {
        let flags = END_HEADERS | END_STREAM;
        http.send(&frame(HEADERS, flags, 2 * n + 1, &pours));
    }
    pause(300, "for functions that are not held back to go far");
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    drop(http);
    let pours = |event: &serde_json::Value| event["function"] == "pours";
    for n in 0..5 {
        let ending = embly.nth_event("invocation_ended", n, pours);
        // What the windows of its own streams hold, and no more.
        assert!(ending["bytes_out"].as_u64().unwrap() < 4 << 20, "{ending}");
    }
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < MEMORY, "{more} bytes more");
}

#[test]
fn answers_to_head_have_no_body_over_http2_whoever_gives_them() {
    let keys = "    port: 0\n    compress: true\n    routes:\n\
                \x20     - {path: /hello, function: hello}\n\
                \x20     - {path: '/files/{file...}', files: {root: ./public}}\n\
                \x20     - {path: /moved, redirect: {to: /hello}}\n\
                \x20     - {path: /fails, function: fails}\n";
    let project = Project::new().guest("hello").guest("fails");
    let project = project.gateway_with("web", keys);
    project.write("public/some", &"some text ".repeat(1000));
    let embly = Embly::run(&project);
    for (path, status) in [
        ("/hello", 200),
        ("/files/some", 200),
        ("/files/none", 404),
        ("/moved", 308),
        ("/fails", 500),
        ("/none", 404),
    ] {
        let mut head = but(":path", Some(path));
        head[0].1 = "HEAD";
        head.push(("accept-encoding", "gzip"));
        let mut http = Http2::new(embly.at("web"));
        http.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&head)));
        assert_eq!(http.fate(1), Fate::Answer(status), "{path}");
        assert_eq!(http.data, 0, "{path}");
    }
}
