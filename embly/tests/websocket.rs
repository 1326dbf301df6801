//! WebSockets: the handshake, messages both ways, and how they end.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use support::client::{Response, request, reset};
use support::terminal::{Running, shown};
use support::websocket::{
    BINARY, CLOSE, CONTINUE, Frame, PING, PONG, Raw, TEXT, close, handshake, part, whole,
};
use support::{EMBLY, Embly, PATIENCE, Project, command, eventually, output_for, skipped};
use tokio_rustls::rustls::ServerConfig;
use tokio_tungstenite::tungstenite::{self, Message};

/// A gateway `web` with a route `/socket` for the guest `socket`, and these settings of its
/// `websocket`, and limits of its function.
fn serve_with(settings: &str, limits: &str) -> Embly {
    let route = |path: &str, function: &str, settings: &str| {
        format!("      - {{path: {path}, function: {function}, websocket: {settings}}}\n")
    };
    let routes = [
        route("/socket", "socket", settings),
        route("/deaf", "deaf", settings),
        "      - {path: /socket, methods: [POST], function: shows}\n".to_owned(),
    ];
    let project = Project::new()
        .guest_with("socket", limits)
        .guest_with("deaf", limits)
        .guest("shows")
        .gateway_with(
            "web",
            &format!("    port: 0\n    routes:\n{}", routes.concat()),
        );
    Embly::run(&project)
}

fn serve(settings: &str) -> Embly {
    serve_with(settings, "")
}

fn ask(at: SocketAddr, text: &str) -> Response {
    request(
        at,
        text.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"),
    )
}

/// How the function `socket` ended, and the access line of the connection.
fn end(embly: &Embly) -> (Value, Value) {
    let ended = embly.ending("socket");
    let access = embly.event("access", |event| event["status"] == 101);
    (ended["reason"].clone(), access["reason"].clone())
}

#[test]
fn messages_keep_their_kind_and_their_boundaries() {
    let embly = serve("true");
    let mut raw = Raw::open(embly.at("web"), "/socket");
    let frames = [
        whole(TEXT, "hello"),
        whole(BINARY, [0, 255]),
        whole(TEXT, ""),
        whole(BINARY, [7; 70_000]),
        whole(TEXT, "é".repeat(100)),
    ];
    raw.send(&frames);
    for frame in frames {
        assert_eq!(raw.frame(), frame);
    }
    raw.send(&[close(1000, "bye")]);
    assert_eq!(raw.closed(), (1000, "bye".to_owned()));
    let access = embly.event("access", |_| true);
    assert_eq!(access["status"], 101);
    assert_eq!(
        (&access["method"], &access["function"]),
        (&"GET".into(), &"socket".into())
    );
    assert_eq!(access["bytes"], 5 + 2 + 70_000 + 200);
    assert_eq!(end(&embly), ("ok".into(), Value::Null));
}

#[test]
fn a_gateway_of_type_websocket_takes_them_on_every_path_and_the_function_sees_the_request() {
    let project = Project::new()
        .guest("socket")
        .gateway("chat", "websocket", "socket");
    let embly = Embly::run(&project);
    let listening = embly.event("listening", |_| true);
    assert!(
        listening["url"]
            .as_str()
            .unwrap()
            .starts_with("ws://127.0.0.1:")
    );
    let more = "x-name: you\r\nembly-client: 1.1.1.1\r\n";
    let mut raw = Raw::open_with(embly.at("chat"), "/any/path?q=1", more);
    let accept = raw.answer.header("sec-websocket-accept");
    assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(raw.answer.header("sec-websocket-extensions"), None);
    raw.say("!head");
    let head = raw.text();
    for line in [
        "GET /any/path?q=1\n",
        "x-name: you\n",
        "embly-client: 127.0.0.1\n",
        "x-request-id: ",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert!(
        !head.contains("1.1.1.1") && !head.contains("upgrade"),
        "{head}"
    );
    assert_eq!(
        ask(embly.at("chat"), "GET / HTTP/1.1\r\nhost: test\r\n\r\n").status,
        426
    );
    let post = "POST / HTTP/1.1\r\nhost: test\r\n\r\n";
    let post = ask(embly.at("chat"), post);
    assert_eq!((post.status, post.header("allow")), (405, Some("GET")));
}

#[test]
fn a_request_that_is_no_handshake_is_told_what_is_missing_and_starts_nothing() {
    let embly = serve("{protocols: [b, a], origins: ['https://example.test']}");
    let at = embly.at("web");
    let good = "origin: https://example.test\r\n";
    let plain = ask(at, "GET /socket HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(
        (plain.status, plain.header("upgrade")),
        (426, Some("websocket"))
    );
    let version = handshake("/socket", good).replace("13\r\n", "12\r\n");
    let version = ask(at, &version);
    assert_eq!(version.status, 426);
    assert_eq!(version.header("sec-websocket-version"), Some("13"));
    let key = handshake("/socket", good).replace("ZQ==", "Z===");
    assert_eq!(ask(at, &key).status, 400);
    let body = handshake(
        "/socket",
        "origin: https://example.test\r\ncontent-length: 2\r\n",
    ) + "xx";
    assert_eq!(ask(at, &body).status, 400);
    let foreign = handshake("/socket", "origin: https://evil.test\r\n");
    assert_eq!(ask(at, &foreign).status, 403);
    assert_eq!(ask(at, &handshake("/socket", "")).status, 403);
    let old = handshake("/socket", good).replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(ask(at, &old).status, 426);
    // Other methods have a route of their own.
    let post = ask(at, "POST /socket HTTP/1.1\r\nhost: test\r\n\r\n");
    assert!(post.text().starts_with("POST /socket"));
    let delete = ask(at, "DELETE /socket HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(delete.status, 405);
    let mut raw = Raw::open_with(
        at,
        "/socket",
        &format!("{good}sec-websocket-protocol: a, b\r\n"),
    );
    assert_eq!(raw.answer.header("sec-websocket-protocol"), Some("b"));
    raw.say("!head");
    assert!(raw.text().contains("embly-websocket-protocol: b\n"));
    raw.say("!return");
    assert_eq!(raw.closed().0, 1000);
    embly.ending("socket");
    let events = embly.events();
    let started = events
        .iter()
        .filter(|e| e["event"] == "invocation_ended" && e["function"] == "socket");
    assert_eq!(started.count(), 1);
}

#[test]
fn http_2_has_no_websockets_here() {
    use http_body_util::Empty;
    let embly = serve("true");
    let at = embly.at("web");
    let runtime = support::http2::runtime();
    let status = runtime.block_on(async {
        let mut sender = support::http2::connect(at).await;
        let request = http::Request::get(format!("http://{at}/socket"));
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        sender.send_request(request).await.unwrap().status()
    });
    assert_eq!(status, 426);
}

#[test]
fn fragments_are_put_together_with_pings_between_them() {
    let embly = serve("true");
    let mut raw = Raw::open(embly.at("web"), "/socket");
    raw.send(&[
        part(TEXT, "a\u{20ac}".as_bytes().split_at(2).0),
        whole(PING, "one"),
        part(CONTINUE, &"a\u{20ac}".as_bytes()[2..]),
        whole(PING, [0; 125]),
        part(CONTINUE, ""),
        whole(CONTINUE, "b"),
    ]);
    assert_eq!(raw.frame(), whole(PONG, "one"));
    assert_eq!(raw.frame(), whole(PONG, [0; 125]));
    assert_eq!(raw.text(), "a\u{20ac}b");
    raw.send(&[part(BINARY, [1]), whole(CONTINUE, [2])]);
    assert_eq!(raw.frame(), whole(BINARY, [1, 2]));
    // Byte by byte.
    for byte in whole(TEXT, "slow").masked() {
        raw.connection.send([byte]);
    }
    assert_eq!(raw.text(), "slow");
}

#[test]
fn a_client_that_breaks_the_rules_is_told_with_the_right_code() {
    let embly = serve("{message: 1000}");
    let at = embly.at("web");
    let bytes = |frames: &[Frame]| frames.iter().flat_map(Frame::masked).collect::<Vec<u8>>();
    let mut reserved = whole(TEXT, "x").masked();
    reserved[0] |= 0x40;
    for (what, bytes, code) in [
        (
            "text that is not UTF-8",
            bytes(&[whole(TEXT, b"a\xff")]),
            1007,
        ),
        ("a surrogate", bytes(&[whole(TEXT, b"\xed\xa0\x80")]), 1007),
        (
            "text that ends in a character",
            bytes(&[whole(TEXT, b"a\xe2\x82")]),
            1007,
        ),
        (
            "the same in fragments",
            bytes(&[part(TEXT, b"\xe2"), part(CONTINUE, b"\xff")]),
            1007,
        ),
        (
            "a reason that is not UTF-8",
            bytes(&[whole(CLOSE, b"\x03\xe8\xff")]),
            1007,
        ),
        ("a long ping", bytes(&[whole(PING, [0; 126])]), 1002),
        ("a fragmented ping", bytes(&[part(PING, "x")]), 1002),
        ("a reserved bit", reserved, 1002),
        ("a reserved opcode", bytes(&[whole(3, "x")]), 1002),
        ("a reserved control opcode", bytes(&[whole(11, "")]), 1002),
        ("no mask", whole(TEXT, "x").unmasked(), 1002),
        ("nothing to continue", bytes(&[whole(CONTINUE, "x")]), 1002),
        (
            "a message within another",
            bytes(&[part(TEXT, "x"), whole(TEXT, "y")]),
            1002,
        ),
        ("half a close code", bytes(&[whole(CLOSE, [3])]), 1002),
        ("a close code that is none", bytes(&[close(999, "")]), 1002),
        ("a close code for no wire", bytes(&[close(1006, "")]), 1002),
        ("a close code of nobody", bytes(&[close(2000, "")]), 1002),
        ("a large message", bytes(&[whole(BINARY, [0; 1001])]), 1009),
        (
            "large fragments",
            bytes(&[part(TEXT, [b'x'; 600]), whole(CONTINUE, [b'x'; 600])]),
            1009,
        ),
    ] {
        let mut raw = Raw::open(at, "/socket");
        raw.connection.send(bytes);
        assert_eq!(raw.closed().0, code, "{what}");
    }
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999,
    ] {
        let mut raw = Raw::open(at, "/socket");
        raw.send(&[close(code, "why")]);
        assert_eq!(raw.closed(), (code, "why".to_owned()));
    }
    let mut raw = Raw::open(at, "/socket");
    raw.send(&[whole(CLOSE, "")]);
    assert_eq!(raw.closed().0, 1005);
}

#[test]
fn what_a_client_did_wrong_is_how_its_invocation_ends() {
    let embly = serve("{message: 1000}");
    let mut raw = Raw::open(embly.at("web"), "/socket");
    raw.send(&[whole(BINARY, [0; 1001])]);
    assert_eq!(raw.closed().0, 1009);
    assert_eq!(end(&embly), ("too_large".into(), "too_large".into()));
}

#[test]
fn a_close_of_the_client_reaches_the_function_with_code_and_reason() {
    let embly = serve("true");
    let mut raw = Raw::open(embly.at("web"), "/socket");
    raw.send(&[close(4000, "my own")]);
    assert_eq!(raw.closed(), (4000, "my own".to_owned()));
    let said = |line: &str| embly.event("log", |event| event["line"] == line);
    said("closed Some((4000, \"my own\"))");
    said("at the end");
    assert_eq!(end(&embly), ("ok".into(), Value::Null));
}

#[test]
fn how_a_function_ends_is_the_code_of_the_close() {
    let embly = serve("true");
    let at = embly.at("web");
    for (order, code, reason) in [
        ("!return", 1000, ""),
        ("!half-close", 1000, ""),
        ("!close 4321 own words", 4321, "own words"),
        ("!close-empty", 1005, ""),
        ("!fail", 1011, "exit"),
        ("!panic", 1011, "trap"),
    ] {
        let mut raw = Raw::open(at, "/socket");
        raw.say("before");
        assert_eq!(raw.text(), "before");
        raw.say(order);
        assert_eq!(raw.closed(), (code, reason.to_owned()), "{order}");
    }
}

#[test]
fn what_a_function_may_not_send_ends_it_with_bad_response() {
    let embly = serve("{message: 1000}");
    let at = embly.at("web");
    let long_ping = format!("097e000000{}", "00".repeat(126));
    for bytes in [
        // A kind that is the gateway's, one that nobody knows, what is not UTF-8, more than
        // `message`, half a code, a code for no wire, a long ping.
        "0000000000",
        "0300000000",
        "0101000000ff",
        "02e9030000",
        "080100000003",
        "080200000003ed",
        &long_ping,
    ] {
        let mut raw = Raw::open(at, "/socket");
        raw.say(&format!("!raw {bytes}"));
        assert_eq!(raw.closed(), (1011, "bad_response".to_owned()), "{bytes}");
    }
    let ended = embly.ending("socket");
    assert_eq!(ended["reason"], "bad_response");
    // A message that breaks off as well, whatever the exit.
    let mut raw = Raw::open(at, "/socket");
    raw.say("!raw 010500000061");
    raw.say("!return");
    assert_eq!(raw.closed(), (1011, "bad_response".to_owned()));
}

#[test]
fn pings_of_the_client_are_answered_and_those_of_the_function_bring_a_pong() {
    let embly = serve("true");
    let mut raw = Raw::open(embly.at("web"), "/socket");
    raw.send(&[whole(PING, "are you there")]);
    assert_eq!(raw.frame(), whole(PONG, "are you there"));
    raw.say("!ping mine");
    assert_eq!(raw.frame(), whole(PING, "mine"));
    raw.send(&[whole(PONG, "mine")]);
    assert_eq!(raw.text(), "pong mine");
    raw.say("!return");
    raw.closed();
    embly.ending("socket");
    let shown = embly
        .events()
        .iter()
        .any(|event| event["line"] == "a ping is shown");
    assert!(!shown);
}

#[test]
fn a_silent_client_is_pinged_and_given_up_when_it_does_not_answer() {
    let embly = serve("{ping: 200ms}");
    let mut raw = Raw::open(embly.at("web"), "/socket");
    for _ in 0..3 {
        let ping = raw.frame();
        assert_eq!(ping.opcode, PING);
        raw.send(&[whole(PONG, ping.payload)]);
    }
    // They are the gateway's own: the function has not seen them.
    raw.say("after");
    assert_eq!(raw.text(), "after");
    // Nothing more is answered.
    assert_eq!(raw.frame().opcode, PING);
    assert_eq!(end(&embly), ("client_gone".into(), "client_gone".into()));
}

#[test]
fn messages_larger_than_the_window_pass_both_ways() {
    let embly = serve("{message: 8MiB}");
    let mut raw = Raw::open(embly.at("web"), "/socket");
    let big = whole(BINARY, vec![9; 8 << 20]);
    let mut stream = raw.connection.stream.try_clone().unwrap();
    let bytes = big.masked();
    // The function sends it back while the rest is under way.
    let sends = std::thread::spawn(move || stream.write_all(&bytes).unwrap());
    assert_eq!(raw.frame(), big);
    sends.join().unwrap();
    raw.say("!big 8388608");
    assert_eq!(raw.frame().payload.len(), 8 << 20);
    raw.say("!big 8388609");
    assert_eq!(raw.closed().0, 1011);
}

#[test]
fn a_client_that_reads_slowly_gets_everything_and_the_function_waits() {
    let embly = serve("true");
    let mut raw = Raw::open(embly.at("web"), "/socket");
    for _ in 0..64 {
        raw.say("!big 1000000");
    }
    support::client::pause(500, "the function writes as far as it can meanwhile");
    let peak = support::process::peak_memory(embly.pid());
    for _ in 0..64 {
        assert_eq!(raw.frame().payload.len(), 1_000_000);
    }
    raw.say("!return");
    assert_eq!(raw.closed().0, 1000);
    let more = support::process::peak_memory(embly.pid()).saturating_sub(peak);
    assert!(more < 16 << 20, "{more} bytes more");
}

#[test]
fn a_function_that_does_not_read_holds_its_client_back_and_still_ends_with_it() {
    let embly = serve_with("{message: 8MiB, ping: 700ms}", "    limits: {idle: none}");
    let big = whole(BINARY, vec![9; 8 << 20]).masked().repeat(4);
    let mut raw = Raw::open(embly.at("web"), "/deaf");
    let stream = &mut raw.connection.stream;
    // Longer than a client may be silent that is listened to.
    let timeout = Some(Duration::from_secs(3));
    stream.set_write_timeout(timeout).unwrap();
    assert!(stream.write_all(&big).is_err(), "nobody has room for it");
    // It is not taken for one that is gone while nobody listens to it.
    let ended = embly
        .events()
        .iter()
        .any(|event| event["event"] == "invocation_ended");
    assert!(!ended);
    reset(raw.connection.stream);
    assert_eq!(embly.ending("deaf")["reason"], "client_gone");
}

#[test]
fn a_client_that_is_gone_without_a_close_ends_the_invocation() {
    let embly = serve("true");
    let mut raw = Raw::open(embly.at("web"), "/socket");
    raw.say("hello");
    assert_eq!(raw.text(), "hello");
    drop(raw);
    assert_eq!(end(&embly), ("client_gone".into(), "client_gone".into()));
}

#[test]
fn a_process_that_is_killed_closes_its_websocket_with_1011() {
    let embly = serve("true");
    let at = embly.at("web");
    let mut raw = Raw::open(at, "/socket");
    let mut other = Raw::open(at, "/socket");
    raw.say("hello");
    assert_eq!(raw.text(), "hello");
    other.say("hello");
    assert_eq!(other.text(), "hello");
    let address = embly.nth_event("invocation_started", 0, |e| e["function"] == "socket");
    let running = embly.wrappers("socket");
    // Of those that are parked none has used any time for a message.
    assert!(running.len() >= 2, "{address} {running:?}");
    for process in running {
        process.signal(Signal::KILL);
    }
    assert_eq!(raw.closed(), (1011, "killed".to_owned()));
    assert_eq!(other.closed(), (1011, "killed".to_owned()));
}

#[test]
fn the_limits_of_the_function_hold() {
    let embly = serve_with(
        "true",
        "    limits: {idle: 300ms, concurrency: 1, queue: {length: 1, wait: 50ms}}",
    );
    let at = embly.at("web");
    let mut raw = Raw::open(at, "/socket");
    raw.say("hello");
    assert_eq!(raw.text(), "hello");
    let busy = ask(at, &handshake("/socket", ""));
    assert_eq!((busy.status, busy.reason()), (503, "overloaded"));
    assert_eq!(raw.closed(), (1011, "idle".to_owned()));
    let mut again = Raw::open(at, "/socket");
    again.say("!return");
    assert_eq!(again.closed().0, 1000);
}

#[test]
fn a_master_that_stops_closes_with_1001_and_functions_finish() {
    let mut embly = serve("true");
    let mut raw = Raw::open(embly.at("web"), "/socket");
    raw.say("hello");
    assert_eq!(raw.text(), "hello");
    embly.signal(Signal::TERM);
    assert_eq!(raw.closed(), (1001, String::new()));
    assert_eq!(embly.wait().code(), Some(0));
    embly.event("log", |event| event["line"] == "closed Some((1001, \"\"))");
    assert_eq!(end(&embly), ("ok".into(), Value::Null));
    let stopped = embly.event("stopped", |_| true);
    assert_eq!(
        (&stopped["wrappers"], &stopped["links"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn a_reload_leaves_websockets_alone_but_for_those_of_a_gateway_that_is_gone() {
    let project = Project::new()
        .guest("socket")
        .gateway("stays", "websocket", "socket")
        .gateway("goes", "websocket", "socket");
    let embly = Embly::start_detached("run", &project);
    let mut stays = Raw::open(embly.at("stays"), "/");
    let mut goes = Raw::open(embly.at("goes"), "/");
    for raw in [&mut stays, &mut goes] {
        raw.say("hello");
        assert_eq!(raw.text(), "hello");
    }
    project.edit("name: goes", "name: new");
    embly.signal(Signal::HUP);
    assert_eq!(goes.closed(), (1001, String::new()));
    stays.say("still here");
    assert_eq!(stays.text(), "still here");
}

/// Node before 22 has it behind a flag.
const NODE: &str = r#"
const socket = new WebSocket(process.argv[1], ["b"]);
socket.binaryType = "arraybuffer";
const got = [];
socket.onopen = () => { socket.send("é"); socket.send(new Uint8Array([0, 255])); };
socket.onmessage = ({data}) => {
    got.push(typeof data === "string" ? data : [...new Uint8Array(data)]);
    if (got.length === 2) socket.send("!close 4001 own");
};
socket.onclose = ({code, reason, wasClean}) =>
    console.log(JSON.stringify([socket.protocol, ...got, code, reason, wasClean]));
"#;

#[test]
fn node_talks_with_it() {
    let embly = serve("{protocols: [a, b]}");
    let url = format!("ws://{}/socket", embly.at("web"));
    let arguments = [
        "--no-warnings",
        "--experimental-websocket",
        "-e",
        NODE,
        &url,
    ];
    let Ok(output) = std::process::Command::new("node").args(arguments).output() else {
        return support::skipped("node");
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        text.trim(),
        r#"["b","é",[0,255],4001,"own",true]"#,
        "{errors}"
    );
}

#[test]
fn many_websockets_are_each_an_invocation_of_their_own() {
    let mut embly = serve("true");
    let at = embly.at("web");
    let mut all: Vec<Raw> = (0..60).map(|_| Raw::open(at, "/socket")).collect();
    for (n, raw) in all.iter_mut().enumerate() {
        raw.say(&format!("number {n}"));
    }
    for (n, raw) in all.iter_mut().enumerate() {
        assert_eq!(raw.text(), format!("number {n}"));
    }
    assert!(embly.wrappers("socket").len() >= 60);
    for raw in &mut all {
        raw.send(&[close(1000, "")]);
    }
    for raw in all {
        assert_eq!(raw.closed().0, 1000);
    }
    eventually("all end", || {
        let events = embly.events();
        events
            .iter()
            .filter(|e| e["event"] == "invocation_ended")
            .count()
            == 60
    });
    embly.stops_with_nothing_left();
}

#[test]
fn a_client_of_a_library_talks_with_it() {
    let embly = serve("true");
    let at = embly.at("web");
    let stream = std::net::TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut socket, answer) = tungstenite::client(format!("ws://{at}/socket"), stream).unwrap();
    assert_eq!(answer.status(), 101);
    for message in [Message::text("hello"), Message::binary(vec![1, 2, 3])] {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    socket.close(None).unwrap();
    let end = loop {
        match socket.read() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(end, tungstenite::Error::ConnectionClosed), "{end}");
    assert_eq!(end_of(&embly), "ok");
}

fn end_of(embly: &Embly) -> Value {
    embly.ending("socket")["reason"].clone()
}

/// `embly ws` with this input: exit code, stdout, stderr.
fn ws(arguments: &[&str], input: impl AsRef<[u8]>) -> (i32, String, String) {
    let runtime = tempfile::tempdir().unwrap();
    let mut command = command(&["ws"], runtime.path());
    let output = output_for(command.args(arguments), input);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn embly_ws_sends_lines_prints_messages_and_says_how_it_was_closed() {
    let embly = serve("true");
    let url = format!("ws://{}/socket", embly.at("web"));
    let (code, out, err) = ws(&[&url], "one\ntwo\n");
    assert_eq!((code, &*out), (0, "one\ntwo\n"), "{err}");
    assert!(err.contains("closed with 1000"), "{err}");
    let (code, out, _) = ws(&[&url, "-H", "X-Name: me"], "!head\n!raw 0202000000beef\n");
    assert!(
        out.contains("x-name: me\n") && out.ends_with("beef\n"),
        "{out}"
    );
    assert_eq!(code, 0);
    let (code, out, err) = ws(&[&url, "--format", "json"], "one\n!close 4000 own\n");
    assert_eq!(code, 1, "{err}");
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines
        .filter(|line: &Value| line["event"] != "message")
        .collect();
    let one = serde_json::json!({"event": "received", "kind": "text", "text": "one"});
    let closed = serde_json::json!({"event": "closed", "code": 4000, "reason": "own"});
    assert_eq!(lines, [one, closed]);
    let (code, _, err) = ws(&[&url], "!panic\n");
    assert_eq!(code, 1);
    assert!(err.contains("closed with 1011: trap"), "{err}");
    let (code, _, err) = ws(&[&url.replace("/socket", "/none")], "");
    assert_eq!(code, 1);
    assert!(err.contains("404"), "{err}");
    assert_eq!(ws(&["http://127.0.0.1:1/"], "").0, 2);
    // What cannot be sent is not passed over.
    let (code, out, err) = ws(&[&url], b"one\n\xff\ntwo\n");
    assert_eq!((code, &*out), (1, "one\n"), "{err}");
    assert!(err.contains("line 2 of the input is not UTF-8"), "{err}");
}

#[test]
fn embly_ws_marks_what_came_and_what_was_sent_in_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        return skipped("script (util-linux)");
    }
    let embly = serve("true");
    let terminal = |line: &str| {
        let script = support::environment(Command::new("script"), embly.runtime.path());
        Running::in_terminal(script, line, 80)
    };
    let line = format!("{EMBLY} ws ws://{}/socket", embly.at("web"));
    let piped = terminal(&format!("printf 'one\\nt\\033wo\\n' | {line}"));
    let (code, seen, _) = piped.ends();
    assert_eq!(code, 0, "{seen}");
    let lines: Vec<&str> = seen
        .lines()
        .filter(|line| line.contains(['<', '>']))
        .collect();
    for (sent, came) in [("> one", "< one"), ("> t\\u{1b}wo", "< t\\u{1b}wo")] {
        let at = |line: &str| lines.iter().position(|it| *it == line);
        assert!(at(sent).is_some() && at(sent) < at(came), "{lines:?}");
    }
    // What is typed stands behind a prompt.
    let mut typed = terminal(&line);
    typed.sees("connected");
    typed.sees("> ");
    typed.types("one\n");
    typed.sees("< one");
    typed.types("\u{4}");
    let (code, seen, _) = typed.ends();
    assert_eq!(code, 0, "{seen}");
    assert!(shown(&seen).contains("\n< one\n"), "{seen:?}");
}

#[test]
fn embly_ws_checks_the_certificate_of_wss() {
    let authority = support::outbound::Authority::new();
    let mut config = ServerConfig::clone(&authority.server(&["localhost"], 4000));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let at = support::outbound::server(move |stream| {
        let tls = support::outbound::tls(&config, stream);
        let Ok(mut socket) = tungstenite::accept(tls) else {
            return;
        };
        while let Ok(message) = socket.read() {
            if message.is_text() {
                socket.send(message).unwrap();
            }
        }
    });
    let url = format!("wss://localhost:{}/", at.port());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &authority.pem).unwrap();
    let (code, out, err) = ws(&[&url, "--ca", file.to_str().unwrap()], "hello\n");
    assert_eq!((code, &*out), (0, "hello\n"), "{err}");
    let (code, _, err) = ws(&[&url], "hello\n");
    assert_eq!(code, 1);
    assert!(err.contains("--ca"), "{err}");
}
