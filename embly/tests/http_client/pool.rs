//! Connections that are kept, as servers see them.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::servers::{Authority, Plain, Site, Speaks, answer, head};
use super::support::Embly;
use super::{Ask, get, keys, project};

#[test]
fn one_connection_serves_requests_one_after_the_other() {
    for (speaks, version) in [(Speaks::One, "1"), (Speaks::Two, "2")] {
        let site = Site::new(speaks, |_| async { answer(200, "ok") });
        let embly = Embly::run(&project(&format!("\"{}\"", site.url("/")), ""));
        for _ in 0..10 {
            let response = Ask::new(&embly, "GET", &site.url("/"))
                .header("x-version", version)
                .send();
            assert_eq!(response.text(), "ok");
        }
        assert_eq!(
            (site.seen.requests(), site.seen.connections()),
            (10, 1),
            "{speaks:?}"
        );
    }
}

#[test]
fn one_connection_of_http_2_serves_several_requests_at_once() {
    let authority = Authority::new();
    let certificate = authority.sign(&["127.0.0.1"], 1);
    let site = Site::tls(&[Speaks::Two, Speaks::One], &certificate, |_| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer(200, "ok")
    });
    let url = format!("https://{}/", site.at);
    let project = super::project_of("repeats", &format!("{{url: \"{url}\", ca: ca.pem}}"), "");
    project.write("ca.pem", authority.pem());
    let embly = Embly::run(&project);
    let repeat = |count: usize, at_once: usize| {
        let head = format!(
            "GET /?{count} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-url: {url}\r\nx-at-once: {at_once}\r\n\r\n"
        );
        assert_eq!(
            super::support::client::request(embly.at("repeats"), head).text(),
            count.to_string()
        );
    };
    repeat(1, 1);
    repeat(32, 8);
    assert_eq!((site.seen.requests(), site.seen.connections()), (33, 1));
}

#[test]
fn no_function_rides_on_a_connection_that_another_has_opened() {
    let site = Site::new(Speaks::One, |_| async { answer(200, "ok") });
    let allow = format!("\"{}\"", site.url("/"));
    let project = project(&allow, "")
        .guest_with("asks-too", &keys(&allow, ""))
        .http("asks-too");
    let embly = Embly::run(&project);
    for _ in 0..3 {
        assert_eq!(get(&embly, &site.url("/")).text(), "ok");
        let other = Ask::by(embly.at("asks-too"), "GET", &site.url("/")).send();
        assert_eq!(other.text(), "ok");
    }
    let peers = site.seen.peers.lock().unwrap().clone();
    assert_eq!(site.seen.used(), 2);
    assert!(peers.chunks(2).all(|pair| pair == &peers[..2]), "{peers:?}");
}

#[test]
fn a_connection_of_an_exact_host_is_not_used_for_a_redirect() {
    let (from, to) = (
        Site::new(Speaks::One, |request| async move {
            let mut answer = answer(302, "");
            let location = request.uri().query().unwrap().parse().unwrap();
            answer.headers_mut().insert("location", location);
            answer
        }),
        Site::new(Speaks::One, |_| async { answer(200, "ok") }),
    );
    let allow = format!("\"{}\", \"{}\"", from.url("/"), to.url("/"));
    let embly = Embly::run(&project(&allow, ""));
    assert_eq!(get(&embly, &to.url("/")).text(), "ok");
    // It waits in the pool, and leads to where the redirect wants to go.
    let led = Ask::new(&embly, "GET", &from.url(&format!("/?{}", to.url("/"))));
    super::assert_fails(led, "NotAllowed", "private: true");
    assert_eq!(to.seen.requests(), 1);
}

/// Answers one request on each connection, then closes it while it waits, with or without a sign.
fn closes_when_idle(requests: Arc<AtomicUsize>) -> Plain {
    Plain::new(move |mut stream, number| {
        if head(&mut stream).is_none() {
            return;
        }
        requests.fetch_add(1, Ordering::SeqCst);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .unwrap();
        if number == 0 {
            // Takes the next request, and closes without an answer: a race that is lost.
            if head(&mut stream).is_some() {
                requests.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
}

#[test]
fn a_connection_that_its_server_has_closed_is_replaced_only_where_that_is_safe() {
    for (method, streamed, again) in [
        ("GET", false, true),
        ("POST", false, false),
        ("GET", true, false),
    ] {
        let requests = Arc::new(AtomicUsize::new(0));
        let server = closes_when_idle(Arc::clone(&requests));
        let embly = Embly::run(&project(&format!("\"{}\"", server.url("/")), ""));
        assert_eq!(get(&embly, &server.url("/")).text(), "ok");
        let second = Ask::new(&embly, method, &server.url("/"));
        let second = if streamed {
            second.streamed(b"body")
        } else {
            second
        };
        let response = second.send();
        if again {
            assert_eq!(
                (response.text().as_str(), requests.load(Ordering::SeqCst)),
                ("ok", 3)
            );
        } else {
            assert_eq!(response.header("x-kind"), Some("Protocol"), "{method}");
            assert_eq!(requests.load(Ordering::SeqCst), 2);
        }
    }
}

#[test]
fn a_connection_that_is_closed_while_it_waits_harms_nobody() {
    let server = Plain::new(|mut stream, _| {
        if head(&mut stream).is_some() {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .unwrap();
        }
    });
    let embly = Embly::run(&project(&format!("\"{}\"", server.url("/")), ""));
    for n in 0..30 {
        // Also those that cannot be sent again.
        let method = if n % 2 == 0 { "GET" } else { "POST" };
        let response = Ask::new(&embly, method, &server.url("/"))
            .whole(b"x")
            .send();
        // The close may be under way just when a POST is sent: it is an error then, and never sent twice.
        let raced = method == "POST" && response.header("x-kind") == Some("Protocol");
        assert!(raced || response.text() == "ok", "{n} {}", response.text());
    }
}
