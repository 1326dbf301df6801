//! How long a gateway waits for its clients: `timeouts`.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::client::{Connection, connect, pause, script, write};
use support::tls::Authority;
use support::{Embly, PATIENCE, Project, get};
use tokio::task::JoinHandle;

/// A limit of the tests.
const SECOND: Duration = Duration::from_secs(1);

/// The guest behind a gateway of the same name with these `timeouts`.
fn serving(guest: &str, timeouts: &str) -> Embly {
    let keys = format!("    port: 0\n    function: {guest}\n    timeouts: {timeouts}");
    Embly::run(&Project::new().guest(guest).gateway_with(guest, &keys))
}

/// Sees that the gateway ends the connection, and after which time.
fn ends(stream: &mut TcpStream, since: Instant) -> Duration {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return since.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("it stays open"),
            Err(_) => return since.elapsed(),
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A connection in HTTP/2; the second value is ready at its end.
async fn http2<B>(at: SocketAddr, window: Option<u32>) -> (SendRequest<B>, JoinHandle<()>)
where
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let (client, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    (client, tokio::spawn(async move { drop(connection.await) }))
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap()
}

fn asked(at: SocketAddr, path: &str, steps: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(format!("http://{at}{path}")).header("x-do", steps);
    request.body(Empty::new()).unwrap()
}

#[test]
fn a_head_that_does_not_become_whole_ends_its_connection_and_a_silent_one_is_left_alone() {
    let embly = serving("hello", "{head: 1s, keep_alive: none}");
    let at = embly.at("hello");
    let mut silent = Connection::new(at);
    let since = Instant::now();
    let mut begun = connect(at);
    begun.write_all(b"GET / HTTP/1.1\r\nhost").unwrap();
    assert!(ends(&mut begun, since) >= SECOND);
    // Nor does it help to send a byte now and then.
    let mut slow = connect(at);
    slow.set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let since = Instant::now();
    let open = |slow: &mut TcpStream| match slow.read(&mut [0; 8]) {
        Ok(0) => false,
        Ok(_) => panic!("there is no answer"),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    };
    while slow.write_all(b"x").is_ok() && open(&mut slow) {
        assert!(since.elapsed() < PATIENCE);
    }
    assert!(since.elapsed() >= SECOND);
    assert_eq!(silent.get("/").text(), "hello");
    // It is the same for the next request of a connection.
    silent.send("GET / HT");
    ends(&mut silent.stream, Instant::now());
}

#[test]
fn a_head_that_began_with_the_request_before_it_is_not_waited_for_without_end() {
    let embly = serving("measures", "{head: 1s, keep_alive: none}");
    let request = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc";
    let mut client = Connection::new(embly.at("measures"));
    client.send(format!("{request}{request}GET / HT"));
    for _ in 0..2 {
        assert_eq!(client.response().text(), "3");
    }
    ends(&mut client.stream, Instant::now());
}

#[test]
fn a_connection_without_a_request_ends_and_a_slow_head_or_answer_is_none() {
    let embly = serving("script", "{head: none, keep_alive: 1s}");
    let at = embly.at("script");
    let since = Instant::now();
    let mut silent = connect(at);
    let mut slow = Connection::new(at);
    slow.send("GET / HTTP/1.1\r\nx-do: sleep 2500; ");
    assert!(ends(&mut silent, since) >= SECOND);
    pause(1000, "so that the head has taken longer than the limit");
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    slow.send(format!("{}\r\nhost: x\r\n\r\n", write(answer)));
    assert_eq!(slow.response().text(), "ok");
    let since = Instant::now();
    assert!(ends(&mut slow.stream, since) >= SECOND - Duration::from_millis(200));
}

#[test]
fn in_http_2_a_head_that_does_not_become_whole_ends_its_connection() {
    let embly = serving("hello", "{head: 1s, keep_alive: none}");
    let at = embly.at("hello");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // More of it is to follow.
    let headers = [0, 0, 1, 1, 1, 0, 0, 0, 1, 0x82];
    let whole = [&preface[..], &settings].concat();
    let mut silent = connect(at);
    silent.write_all(&whole).unwrap();
    for begun in [&preface[..16], &[&whole[..], &headers].concat()] {
        let since = Instant::now();
        let mut client = connect(at);
        client.write_all(begun).unwrap();
        assert!(ends(&mut client, since) >= SECOND);
    }
    silent
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut said = Vec::new();
    let error = silent.read_to_end(&mut said).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn in_http_2_a_connection_without_a_request_ends_after_what_is_under_way() {
    let embly = serving("script", "{head: none, keep_alive: 1s}");
    let at = embly.at("script");
    runtime().block_on(async {
        let since = Instant::now();
        let (_client, connection) = http2::<Empty<Bytes>>(at, None).await;
        in_time(connection).await.unwrap();
        assert!(since.elapsed() >= SECOND);
        let (mut client, connection) = http2(at, None).await;
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let steps = format!("sleep 2500; {}", write(answer));
        let answer = in_time(client.send_request(asked(at, "/", &steps))).await;
        let answer = answer.unwrap().into_body().collect().await.unwrap();
        assert_eq!(answer.to_bytes(), "ok");
        let since = Instant::now();
        in_time(connection).await.unwrap();
        assert!(since.elapsed() >= SECOND - Duration::from_millis(200));
    });
}

#[test]
fn a_client_that_sends_nothing_of_its_body_is_answered_408_and_its_function_ended() {
    let embly = serving("measures", "{body: 1s}");
    let mut client = Connection::new(embly.at("measures"));
    let since = Instant::now();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n0123456789");
    let answer = client.response();
    assert!(since.elapsed() >= SECOND);
    assert_eq!((answer.status, answer.reason()), (408, "client_gone"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.rest(), (Vec::new(), true));
    let ending = embly.ending("measures");
    assert_eq!(ending["reason"], "client_gone", "{ending}");
    let detail = ending["detail"].as_str().unwrap();
    assert!(detail.contains("`body`"), "{detail}");
    let access = embly.event("access", |_| true);
    assert_eq!(access["status"], 408, "{access}");
    assert_eq!(access["reason"], "client_gone");
}

#[test]
fn a_body_that_stands_still_after_the_head_of_the_answer_cuts_it() {
    let embly = serving("mirrors", "{body: 1s}");
    let mut client = Connection::new(embly.at("mirrors"));
    client.send("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk().unwrap(), b"ab");
    let (rest, _) = client.rest();
    assert_eq!(rest, b"");
    assert_eq!(embly.ending("mirrors")["reason"], "client_gone");
}

#[test]
fn a_body_that_moves_slowly_or_waits_for_the_function_is_not_late() {
    let project = Project::new().guest("measures").guest("script");
    let keys =
        |guest: &str| format!("    port: 0\n    function: {guest}\n    timeouts: {{body: 1s}}");
    let project = project
        .gateway_with("measures", &keys("measures"))
        .gateway_with("script", &keys("script"));
    let embly = Embly::run(&project);
    let mut slow = Connection::new(embly.at("measures"));
    slow.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n");
    for _ in 0..10 {
        pause(250, "so that the body takes longer than the limit");
        slow.send("x");
    }
    assert_eq!(slow.response().text(), "10");
    // More than there is room for, and the function reads none of it for longer than the limit.
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let steps = format!("sleep 2500; {}", write(answer));
    let head =
        format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\nx-do: {steps}\r\n\r\n");
    let mut held = Connection::new(embly.at("script"));
    held.send([head.as_bytes(), &[b'x'; 200_000]].concat());
    assert_eq!(held.head().status, 200);
}

/// A body of which nothing ever comes.
struct Silent;

impl Body for Silent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

#[test]
fn in_http_2_a_body_of_which_nothing_comes_is_answered_408_and_the_connection_goes_on() {
    let embly = serving("measures", "{body: 1s}");
    let at = embly.at("measures");
    runtime().block_on(async {
        let (mut client, _connection) = http2(at, None).await;
        for _ in 0..2 {
            let request = Request::post(format!("http://{at}/")).body(Silent);
            let answer = in_time(client.send_request(request.unwrap()))
                .await
                .unwrap();
            assert_eq!(answer.status(), 408);
            assert_eq!(answer.headers()["embly-error"], "client_gone");
        }
    });
    assert_eq!(embly.ending("measures")["reason"], "client_gone");
}

#[test]
fn a_function_that_is_silent_after_its_head_ends_at_the_response_of_its_gateway() {
    let embly = serving("script", "{response: 1s}");
    let head = write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no");
    let steps = script(&format!("{head}; sleep 60000"));
    let answer = support::client::request(embly.at("script"), steps);
    assert_eq!((answer.status, answer.complete), (200, false));
    let ending = embly.ending("script");
    assert_eq!(ending["reason"], "idle", "{ending}");
    let detail = ending["detail"].as_str().unwrap();
    assert!(detail.contains("`response`"), "{detail}");
}

#[test]
fn a_function_that_is_silent_after_its_head_ends_there_also_while_its_client_sends() {
    let keys = "    port: 0\n    function: script\n    timeouts: {response: 1s}";
    let project = Project::new().guest_with("script", "    limits: {idle: 20s}");
    let embly = Embly::run(&project.gateway_with("script", keys));
    let head = write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no");
    let mut client = Connection::new(embly.at("script"));
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\nx-do: {head}; sleep 60000\r\n\r\n"
    ));
    assert_eq!(client.head().status, 200);
    let since = Instant::now();
    while client.stream.write_all(b"x").is_ok() {
        assert!(since.elapsed() < 15 * SECOND, "it goes on");
        pause(100, "so that there is always something of the request");
    }
    let ending = embly.ending("script");
    assert_eq!(ending["reason"], "idle", "{ending}");
    let detail = ending["detail"].as_str().unwrap();
    assert!(detail.contains("`response`"), "{detail}");
}

#[test]
fn a_client_that_takes_nothing_is_given_up_at_the_response_of_its_gateway() {
    let keys = "    port: 0\n    function: pours\n    timeouts: {response: 1s}\n    routes:\n      \
                - {path: '/s/{file...}', files: {root: ./public}}";
    let idle = "    limits: {idle: none}";
    let project = Project::new()
        .guest_with("pours", idle)
        .gateway_with("web", keys);
    project.write("public/some", "");
    let file = File::create(project.folder().join("public/some")).unwrap();
    file.set_len(50_000_000).unwrap();
    let embly = Embly::run(&project);
    for path in ["/?50000000", "/s/some"] {
        let mut client = connect(embly.at("web"));
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        let access = embly.event("access", |access| access["path"] == path);
        assert!(
            access["total_us"].as_u64().unwrap() >= 1_000_000,
            "{access}"
        );
        assert!(!access["reason"].is_null(), "{access}");
    }
}

#[test]
fn in_http_2_files_that_stand_still_are_reset_and_a_function_beside_them_is_answered() {
    let keys = "    port: 0\n    function: script\n    timeouts: {response: 1s}\n    routes:\n      \
                - {path: '/s/{file...}', files: {root: ./public}}";
    let project = Project::new().guest("script").gateway_with("web", keys);
    project.write("public/some", &"some text ".repeat(100_000));
    let embly = Embly::run(&project);
    let at = embly.at("web");
    runtime().block_on(async {
        let (mut client, connection) = http2(at, Some(0)).await;
        let slow = write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let slow = asked(at, "/", &format!("sleep 6000; {slow}"));
        let slow = tokio::spawn(client.send_request(slow));
        for _ in 0..2 {
            let answer = client.send_request(asked(at, "/s/some", "")).await.unwrap();
            assert_eq!(answer.status(), 200);
            let since = Instant::now();
            let frame = in_time(answer.into_body().frame()).await;
            assert!(frame.unwrap().is_err());
            assert!(since.elapsed() >= SECOND);
        }
        // The connection has not ended with them.
        assert!(!slow.is_finished());
        assert_eq!(in_time(slow).await.unwrap().unwrap().status(), 200);
        assert!(!connection.is_finished());
    });
    let access = embly.event("access", |access| access["path"] == "/s/some");
    assert_eq!(access["reason"], "client_gone");
}

#[test]
fn gateways_at_one_port_have_each_their_own_time_for_files() {
    let keys = |host: &str, more: &str| {
        format!(
            "    port: 8080\n    hosts: [{host}.test]\n    function: hello\n    routes:\n      \
             - {{path: '/s/{{file...}}', files: {{root: ./public}}}}\n{more}"
        )
    };
    let project = Project::new()
        .guest_with("hello", "    limits: {idle: 1s}")
        .gateway_with("short", &keys("short", ""))
        .gateway_with("long", &keys("long", "    timeouts: {response: none}"));
    project.write("public/some", "");
    let file = File::create(project.folder().join("public/some")).unwrap();
    file.set_len(50_000_000).unwrap();
    let embly = Embly::run(&project);
    let ask = |path: &str, host: &str| {
        let mut client = connect(embly.at("short"));
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}.test\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        client
    };
    let _long = ask("/s/some?long", "long");
    let _short = ask("/s/some?short", "short");
    // Another gateway lifts its own limit only.
    let access = embly.event("access", |_| true);
    assert_eq!(access["path"], "/s/some?short", "{access}");
    assert!(!access["reason"].is_null(), "{access}");
}

#[test]
fn in_http_2_the_last_piece_of_an_answer_is_waited_for_no_longer_than_the_others() {
    const SIZE: usize = 50_000;
    let keys = "    port: 0\n    function: script\n    timeouts: {response: 1s}\n    routes:\n      \
                - {path: '/s/{file...}', files: {root: ./public}}\n      \
                - {path: '/packed/{file...}', files: {root: ./public}, compress: true}\n      \
                - {path: '/pours', function: pours}";
    let project = Project::new().guest("script").guest("pours");
    let project = project.gateway_with("web", keys);
    project.write("public/some.txt", &"some text ".repeat(SIZE / 10));
    let embly = Embly::run(&project);
    let at = embly.at("web");
    let pours = format!("/pours?{SIZE}");
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let paths = ["/s/some.txt", "/packed/some.txt", &pours, "/chunked"];
    runtime().block_on(async {
        // There is room for a byte of each.
        let (mut client, connection) = http2(at, Some(1)).await;
        let slow = write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let slow = asked(at, "/", &format!("sleep 8000; {slow}"));
        let slow = tokio::spawn(client.send_request(slow));
        let mut answers = Vec::new();
        for path in paths {
            let mut request = asked(at, path, &write(chunked));
            let gzip = http::HeaderValue::from_static("gzip");
            request.headers_mut().insert("accept-encoding", gzip);
            let answer = in_time(client.send_request(request)).await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            answers.push(answer);
        }
        for path in paths {
            let access = embly.event("access", |access| access["path"] == path);
            assert_eq!(access["reason"], "client_gone", "{access}");
        }
        for answer in answers {
            assert!(in_time(answer.into_body().collect()).await.is_err());
        }
        assert_eq!(in_time(slow).await.unwrap().unwrap().status(), 200);
        assert!(!connection.is_finished());
    });
}

#[test]
fn in_http_2_an_answer_needs_no_more_room_than_it_has_bytes() {
    let keys = "    port: 0\n    routes:\n      \
                - {path: '/s/{file...}', files: {root: ./public}}\n      \
                - {path: '/pours', function: pours}";
    let project = Project::new().guest("pours").gateway_with("web", keys);
    project.write("public/some", &"some text ".repeat(1000));
    let embly = Embly::run(&project);
    let at = embly.at("web");
    runtime().block_on(async {
        let (mut client, _connection) = http2(at, Some(10_000)).await;
        for path in ["/s/some", "/pours?10000"] {
            let answer = client.send_request(asked(at, path, "")).await.unwrap();
            // Nothing was read of it, so no more room was given.
            embly.event("access", |access| access["path"] == path);
            let body = in_time(answer.into_body().collect()).await.unwrap();
            assert_eq!(body.to_bytes().len(), 10_000);
        }
    });
}

#[test]
fn a_reload_changes_them() {
    let keys =
        "    port: 8080\n    function: measures\n    timeouts: {keep_alive: none, body: none}";
    let project = Project::new().guest("measures").gateway_with("web", keys);
    let embly = Embly::run(&project);
    let at = embly.at("web");
    assert_eq!(get(at, "/").status, 200);
    let mut before = Connection::new(at);
    assert_eq!(before.get("/").text(), "0");
    project.edit(
        "{keep_alive: none, body: none}",
        "{keep_alive: 1s, body: 1s}",
    );
    embly.signal(rustix::process::Signal::HUP);
    support::eventually("the reload", || embly.messages("reloaded") == 1);
    let since = Instant::now();
    assert!(ends(&mut connect(at), since) >= SECOND);
    before.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n");
    assert_eq!(before.response().status, 408);
}

#[test]
fn a_client_that_does_not_begin_tls_has_no_longer_than_for_a_head() {
    let project = Project::new().guest("hello");
    let authority = Authority::new();
    authority.write(&project, "web", &["a.test"]);
    let keys = "    port: 0\n    function: hello\n    timeouts: {head: 1s}\n    \
                tls: {cert: ./web.pem, key: ./web.key}";
    let embly = Embly::run(&project.gateway_with("web", keys));
    let since = Instant::now();
    let took = ends(&mut connect(embly.at("web")), since);
    // It would be 10 s.
    assert!((SECOND..9 * SECOND).contains(&took), "{took:?}");
}
