//! Limits: of time, of sizes, of numbers.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::servers::{Plain, Site, Speaks, answer, head};
use super::support::client::{connect, read_response, reset};
use super::support::{Embly, eventually};
use super::{Ask, assert_fails, get, project};

/// Reads a request and then says nothing.
fn silent() -> Plain {
    Plain::new(|mut stream, _| {
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

fn embly(url: &str, limits: &str) -> Embly {
    Embly::run(&project(&format!("\"{url}\""), limits))
}

#[test]
fn a_connection_that_does_not_stand_ends_at_the_limit_connect() {
    // TLS is part of it, and this one never answers.
    let server = silent();
    let url = format!("https://{}/", server.at);
    let embly = embly(&url, "connect: 200ms");
    let began = Instant::now();
    assert_fails(Ask::new(&embly, "GET", &url), "Timeout", "connect");
    assert!(began.elapsed() < Duration::from_secs(10));
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}/");
    let nobody = super::Embly::run(&project(&format!("\"{url}\""), ""));
    assert_fails(Ask::new(&nobody, "GET", &url), "Connect", "127.0.0.1");
}

#[test]
fn a_server_that_does_not_answer_ends_at_the_limit_head() {
    let server = silent();
    let embly = embly(&server.url("/"), "head: 200ms");
    assert_fails(
        Ask::new(&embly, "GET", &server.url("/")),
        "Timeout",
        "`http: {head: …}`",
    );
    let streamed = Ask::new(&embly, "POST", &server.url("/")).streamed(b"body");
    assert_fails(streamed, "Timeout", "`http: {head: …}`");
    let slowly = Plain::new(|mut stream, _| {
        for byte in b"HTTP/1.1 200 OK\r\nx: ".iter().chain([b'y'; 1000].iter()) {
            std::thread::sleep(Duration::from_millis(20));
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    let embly = self::embly(&slowly.url("/"), "head: 200ms");
    assert_fails(
        Ask::new(&embly, "GET", &slowly.url("/")),
        "Timeout",
        "`http: {head: …}`",
    );
}

#[test]
fn the_wait_for_a_connection_does_not_count_for_the_limit_head() {
    let site = Site::new(Speaks::One, |_| async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        answer(200, "ok")
    });
    let limits = "connections: 1, connect: 30s, head: 5s";
    let embly = self::embly(&site.url("/"), limits);
    std::thread::scope(|scope| {
        let ask = || get(&embly, &site.url("/")).text();
        // The other one waits for the connection for 3 s, and then for its answer.
        let both = [scope.spawn(ask), scope.spawn(ask)];
        for one in both {
            assert_eq!(one.join().unwrap(), "ok");
        }
    });
}

#[test]
fn a_body_that_stands_still_ends_at_the_limit_idle_either_way() {
    let server = Plain::new(|mut stream, _| {
        if head(&mut stream).is_some() {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
                .unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let embly = embly(&server.url("/"), "idle: 200ms");
    let response = get(&embly, &server.url("/"));
    assert_eq!(
        (response.text().as_str(), response.complete),
        ("12345", false)
    );
    embly.event("log", |event| {
        event["line"].as_str().unwrap().contains("Some(Timeout)")
    });

    // It never answers before the end of the request, which never comes.
    let server = silent();
    let embly = self::embly(&server.url("/"), "idle: 200ms");
    let mut client = connect(embly.at("asks"));
    let url = server.url("/");
    write!(
        client,
        "POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-url: {url}\r\nx-method: PUT\r\n\
         x-mode: stream\r\ncontent-length: 1000\r\n\r\nthe beginning"
    )
    .unwrap();
    // The call ends, though the function still waits for its own client.
    let call = embly.ending("embly/http");
    assert_eq!(call["reason"], "exit");
    assert!(
        call["detail"]
            .as_str()
            .unwrap()
            .contains("`http: {idle: …}`"),
        "{call}"
    );
    client.write_all(&[b'x'; 1000]).unwrap();
    let response = read_response(client);
    assert_eq!(
        (response.status, response.header("x-kind")),
        (599, Some("Timeout"))
    );
}

#[test]
fn a_slow_body_that_moves_is_not_idle_and_ends_at_the_limit_time() {
    let server = Plain::new(|mut stream, _| {
        if head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            for _ in 0..20 {
                std::thread::sleep(Duration::from_millis(50));
                if stream.write_all(b"x").is_err() {
                    return;
                }
            }
        }
    });
    let embly = embly(&server.url("/"), "idle: 500ms");
    let response = get(&embly, &server.url("/"));
    assert_eq!((response.body.len(), response.complete), (20, true));
    let response = Ask::new(&embly, "GET", &server.url("/"))
        .header("x-time", "300")
        .send();
    assert!(!response.complete);
    embly.event("log", |event| {
        event["line"]
            .as_str()
            .unwrap()
            .contains("`http: {time: …}`")
    });
    let silent = silent();
    let embly = self::embly(&silent.url("/"), "time: 300ms");
    assert_fails(
        Ask::new(&embly, "GET", &silent.url("/")),
        "Timeout",
        "`http: {time: …}`",
    );
}

#[test]
fn heads_that_are_too_long_or_never_end_are_refused() {
    let header = |length: usize| format!("x: {}\r\n", "y".repeat(length));
    let big = header(20_000);
    let many = header(1).repeat(300);
    let endless = header(100).repeat(100_000);
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n".repeat(100_000);
    for (head, kind) in [
        (&big, "TooLarge"),
        (&endless, "TooLarge"),
        (&many, "TooLarge"),
    ] {
        let server = Plain::answering(format!("HTTP/1.1 200 OK\r\n{head}\r\n"));
        let embly = embly(&server.url("/"), "response_head: 16KiB");
        let (said, text) = Ask::new(&embly, "GET", &server.url("/")).fails();
        assert_eq!(said, kind, "{text}");
    }
    let server = Plain::answering(format!("{interim}HTTP/1.1 200 OK\r\n\r\n"));
    let embly = embly(&server.url("/"), "response_head: 16KiB");
    assert_fails(
        Ask::new(&embly, "GET", &server.url("/")),
        "TooLarge",
        "response_head",
    );
    let fits = Plain::answering(format!("HTTP/1.1 200 OK\r\n{}\r\n", header(15_000)));
    let embly = self::embly(&fits.url("/"), "response_head: 16KiB");
    assert_eq!(get(&embly, &fits.url("/")).status, 200);
}

#[test]
fn a_head_of_http_2_that_is_too_long_is_refused() {
    let site = Site::new(Speaks::Two, |_| async {
        let mut answer = answer(200, "");
        let value = "y".repeat(8 * 1024).parse::<http::HeaderValue>().unwrap();
        for _ in 0..16 {
            answer.headers_mut().append("x", value.clone());
        }
        answer
    });
    let embly = embly(&site.url("/"), "response_head: 16KiB, head: 2s");
    let (kind, text) = Ask::new(&embly, "GET", &site.url("/"))
        .header("x-version", "2")
        .fails();
    assert!(["TooLarge", "Protocol"].contains(&&*kind), "{kind}: {text}");
}

#[test]
fn bodies_over_their_limit_are_refused_with_or_without_a_length() {
    let site = Site::new(Speaks::One, |request| async move {
        use http_body_util::BodyExt;
        match request.into_body().collect().await {
            Ok(body) => answer(200, body.to_bytes()),
            Err(_) => answer(400, ""),
        }
    });
    let embly = embly(&site.url("/"), "request_body: 1000, response_body: 2000");
    let ask = || Ask::new(&embly, "POST", &site.url("/"));
    assert_eq!(ask().whole(&[7; 1000]).send().body.len(), 1000);
    assert_eq!(ask().streamed(&[7; 1000]).send().body.len(), 1000);
    assert_fails(ask().whole(&[7; 1001]), "TooLarge", "request_body");
    assert_fails(ask().streamed(&[7; 1001]), "TooLarge", "request_body");
    let known = Plain::answering("HTTP/1.1 200 OK\r\ncontent-length: 2001\r\n\r\n");
    let unknown = Plain::answering(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(2001)));
    for (server, known) in [(known, true), (unknown, false)] {
        let embly = self::embly(&server.url("/"), "response_body: 2000");
        if known {
            assert_fails(
                Ask::new(&embly, "GET", &server.url("/")),
                "TooLarge",
                "response_body",
            );
        } else {
            assert!(!get(&embly, &server.url("/")).complete);
            embly.event("log", |event| {
                event["line"].as_str().unwrap().contains("Some(TooLarge)")
            });
        }
    }
}

#[test]
fn connections_are_bounded_and_who_waits_for_one_gets_it_or_is_told() {
    let site = Site::new(Speaks::One, |request| async move {
        if request.uri().path() == "/slow" {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        answer(200, "ok")
    });
    let most = 3;
    let embly = Embly::run(&super::project_of(
        "repeats",
        &format!("\"{}\"", site.url("/")),
        &format!("connections: {most}, connect: 20s"),
    ));
    let repeat = |count: usize, path: &str| {
        let url = site.url(path);
        super::support::client::request(
            embly.at("repeats"),
            format!(
                "GET /?{count} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-url: {url}\r\nx-at-once: 9\r\n\r\n"
            ),
        )
    };
    assert_eq!(repeat(9, "/slow").text(), "9");
    assert!(site.seen.used() <= most, "{}", site.seen.used());

    let stuck = silent();
    let embly = self::embly(&stuck.url("/"), "connections: 1, connect: 300ms, head: 20s");
    let mut first = connect(embly.at("asks"));
    let url = stuck.url("/");
    write!(
        first,
        "POST / HTTP/1.1\r\nhost: test\r\nx-url: {url}\r\ncontent-length: 0\r\n\r\n"
    )
    .unwrap();
    let connections = || stuck.connections.load(std::sync::atomic::Ordering::SeqCst);
    eventually("a connection", || connections() == 1);
    assert_fails(
        Ask::new(&embly, "GET", &url),
        "Busy",
        "`http: {connections: …}`",
    );
    // Its place is free when its function has gone.
    reset(first);
    eventually("another connection", || {
        let _ = Ask::new(&embly, "GET", &url)
            .header("x-time", "100")
            .fails();
        connections() >= 2
    });
}

#[test]
fn a_call_that_has_failed_ends_so_although_its_caller_hears_of_it_first_and_goes() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    let embly = embly(&url, "");
    for call in 0..50 {
        assert_eq!(get(&embly, &url).header("x-kind"), Some("Connect"));
        let ended = embly.nth_event("invocation_ended", call, |event| {
            event["function"] == "embly/http"
        });
        assert_eq!(ended["reason"], "exit", "{ended}");
    }
}
