//! HTTP/2 without TLS, by prior knowledge.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::client::{connect, get};
use support::{Embly, Project, http2};

/// What curl says: the body, and the version and status behind it.
fn curl(at: SocketAddr, path: &str, arguments: &[&str]) -> (String, String) {
    let output = Command::new("curl")
        .args(["-sS", "--http2-prior-knowledge", "--max-time", "30"])
        .args(["-w", "\n%{http_version} %{http_code}"])
        .args(arguments)
        .arg(format!("http://{at}{path}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, end) = text.rsplit_once('\n').unwrap();
    (body.to_owned(), end.to_owned())
}

#[test]
fn a_function_gets_the_same_bytes_whatever_the_client_speaks() {
    let project = Project::new().guest("shows").http("shows");
    let embly = Embly::run(&project);
    let at = embly.at("shows");
    let (body, end) = curl(at, "/a?b=c", &["-H", "x-own: 1", "-d", "some body"]);
    assert_eq!(end, "2 200");
    assert!(body.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{body}");
    assert!(body.contains(&format!("host: {at}\r\n")), "{body}");
    assert!(body.contains("content-length: 9\r\n"), "{body}");
    assert!(
        body.contains("x-own: 1\r\n") && body.ends_with("\r\n\r\nsome body"),
        "{body}"
    );
    let access = embly.event("access", |event| event["path"] == "/a?b=c");
    assert_eq!(
        (&access["version"], &access["status"]),
        (&"HTTP/2.0".into(), &200.into())
    );
    // And HTTP/1.1 at the same port.
    assert!(get(at, "/a").text().starts_with("GET /a HTTP/1.1\r\n"));
}

#[test]
fn many_requests_of_one_connection_are_each_an_invocation_of_their_own() {
    let project = Project::new().guest("counts").http("counts");
    let embly = Embly::run(&project);
    let at = embly.at("counts");
    let runtime = http2::runtime();
    let answers: Vec<u16> = runtime.block_on(async {
        let client = http2::connect(at).await;
        let asked = (0..40).map(|_| {
            let mut client = client.clone();
            let request = Request::get(format!("http://{at}/")).body(Empty::<Bytes>::new());
            tokio::spawn(async move {
                let answer = client.send_request(request.unwrap()).await.unwrap();
                let status = answer.status().as_u16();
                answer.into_body().collect().await.unwrap();
                status
            })
        });
        let mut answers = Vec::new();
        for answer in asked.collect::<Vec<_>>() {
            answers.push(answer.await.unwrap());
        }
        answers
    });
    assert_eq!(answers, [200; 40]);
    embly.nth_event("invocation_ended", 39, |_| true);
    let started = embly.events();
    let started = started
        .iter()
        .filter(|event| event["event"] == "invocation_started");
    assert_eq!(started.count(), 40);
}

#[test]
fn files_that_a_client_asks_for_and_does_not_take_are_not_held_for_ever() {
    let gateway = "    port: 0\n    routes:\n      - {path: '/s/{file...}', files: {root: ./public}}\n      \
                   - {path: /, function: hello}";
    let project = Project::new()
        .guest_with("hello", "    limits: {idle: 500ms}")
        .gateway_with("web", gateway);
    // More than is handed out before anybody takes something.
    project.write("public/some", &"some text ".repeat(100_000));
    let embly = Embly::run(&project);
    let at = embly.at("web");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(0)
                .handshake(TokioIo::new(stream))
                .await
                .unwrap();
        // It answers pings.
        tokio::spawn(connection);
        let mut bodies = Vec::new();
        for _ in 0..5 {
            let request = Request::get(format!("http://{at}/s/some")).body(Empty::<Bytes>::new());
            let answer = client.send_request(request.unwrap()).await.unwrap();
            assert_eq!(answer.status(), 200);
            bodies.push(answer.into_body());
        }
        for mut body in bodies {
            let frame = tokio::time::timeout(Duration::from_secs(20), body.frame()).await;
            assert!(frame.unwrap().unwrap().is_err());
        }
    });
    let access = embly.nth_event("access", 4, |event| event["path"] == "/s/some");
    assert_eq!(access["reason"], "client_gone");
}

#[test]
fn an_answer_that_is_cut_is_a_reset_stream_and_the_connection_goes_on() {
    let project = Project::new().guest("fails-late").http("fails-late");
    let embly = Embly::run(&project);
    let at = embly.at("fails-late");
    let output = Command::new("curl")
        .args(["-sS", "--http2-prior-knowledge", &format!("http://{at}/")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("INTERNAL_ERROR") || said.contains("(92)"),
        "{said}"
    );
}

#[test]
fn the_beginning_of_a_preface_and_then_nothing_is_not_an_open_connection_for_ever() {
    let project = Project::new().guest("hello").http("hello");
    let mut embly = Embly::run(&project);
    let mut client = connect(embly.at("hello"));
    client.write_all(b"PRI * HTTP/2.0\r\n").unwrap();
    assert_eq!(get(embly.at("hello"), "/").status, 200);
    // The master does not wait for it.
    embly.stops_with_nothing_left();
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
}
