//! Connections: several requests on one, streams both ways, and what they cost the master.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use support::client::{Connection, connect, pause, script, write};
use support::process::peak_memory;
use support::{Embly, Project, eventually};

/// What may come on top of the memory that the master had before, whatever passes through it.
const PASSING_MEMORY: u64 = 8 << 20;

#[test]
fn many_requests_on_one_connection_are_each_a_process_of_their_own() {
    let embly = Embly::run(&Project::unparked().guest("counts").http("counts"));
    let mut connection = Connection::new(embly.at("counts"));
    for _ in 0..20 {
        assert_eq!(connection.get("/").text(), "1");
    }
    let addresses: HashSet<String> = (0..20)
        .map(|n| embly.nth_event("invocation_ended", n, |_| true))
        .map(|ending| ending["address"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(addresses.len(), 20);
    let clients: HashSet<String> = (0..20)
        .map(|n| embly.nth_event("access", n, |_| true))
        .map(|access| access["client"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(clients.len(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let embly = Embly::run(&Project::unparked().guest("script").http("script"));
    let mut connection = Connection::new(embly.at("script"));
    let answer = |text: &str| {
        let length = text.len();
        write(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}"
        ))
    };
    let keep = |steps: &str| script(steps).replace("connection: close\r\n", "");
    let slow = format!("sleep 1000; {}", answer("second"));
    connection.send(keep(&answer("first")) + &keep(&slow) + &keep(&answer("third")));
    // The first does not wait for the second.
    connection
        .stream
        .set_read_timeout(Some(Duration::from_millis(900)))
        .unwrap();
    assert_eq!(connection.response().text(), "first");
    connection
        .stream
        .set_read_timeout(Some(support::PATIENCE))
        .unwrap();
    assert_eq!(connection.response().text(), "second");
    assert_eq!(connection.response().text(), "third");
}

#[test]
fn a_failed_request_leaves_the_connection_usable() {
    let embly = Embly::run(&Project::unparked().guest("script").http("script"));
    let mut connection = Connection::new(embly.at("script"));
    for (steps, status) in [("trap", 500), ("exit 0", 502), ("exit 1", 500)] {
        connection.send(script(steps).replace("connection: close\r\n", ""));
        assert_eq!(connection.response().status, status);
    }
}

#[test]
fn a_piece_is_seen_before_the_next_one_is_sent_both_ways() {
    let embly = Embly::run(&Project::unparked().guest("mirrors").http("mirrors"));
    let mut connection = Connection::new(embly.at("mirrors"));
    connection.send("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(connection.head().status, 200);
    for n in 0..50 {
        let piece = format!("piece {n}");
        connection.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
        assert_eq!(connection.chunk().unwrap(), piece.as_bytes());
    }
    connection.send("0\r\n\r\n");
    assert_eq!(connection.chunk(), None);
    assert_eq!(embly.ending("mirrors")["reason"], "ok");
}

#[test]
fn a_download_of_100_mb_passes_in_bounded_memory() {
    const BYTES: u64 = 100 << 20;
    let embly = Embly::run(&Project::unparked().guest("pours").http("pours"));
    let mut connection = Connection::new(embly.at("pours"));
    assert_eq!(connection.get("/?1000").body.len(), 1000);
    let before = peak_memory(embly.pid());
    connection.send(format!("GET /?{BYTES} HTTP/1.1\r\nhost: x\r\n\r\n"));
    connection.head();
    let mut received = 0;
    while let Some(chunk) = connection.chunk() {
        received += chunk.len() as u64;
    }
    assert_eq!(received, BYTES);
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < PASSING_MEMORY, "{more} bytes more");
}

#[test]
fn an_upload_of_100_mb_passes_in_bounded_memory() {
    const BYTES: usize = 100 << 20;
    let project = Project::unparked()
        .guest_with("measures", "    limits: {request_body: none}")
        .http("measures");
    let embly = Embly::run(&project);
    let mut connection = Connection::new(embly.at("measures"));
    connection.get("/");
    let before = peak_memory(embly.pid());
    connection.send(format!(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {BYTES}\r\n\r\n"
    ));
    let block = vec![1; 1 << 20];
    for _ in 0..BYTES / block.len() {
        connection.send(&block);
    }
    assert_eq!(connection.response().text(), BYTES.to_string());
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < PASSING_MEMORY, "{more} bytes more");
    let ending = embly.nth_event("invocation_ended", 1, |_| true);
    assert!(
        ending["bytes_in"].as_u64().unwrap() >= BYTES as u64,
        "{ending}"
    );
}

#[test]
fn a_client_that_does_not_read_holds_the_function_back() {
    let embly = Embly::run(&Project::unparked().guest("pours").http("pours"));
    let mut stream = connect(embly.at("pours"));
    let before = peak_memory(embly.pid());
    stream
        .write_all(b"GET /?1000000000 HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    pause(500, "for a function that is not held back to go far");
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < PASSING_MEMORY, "{more} bytes more");
    let mut first = [0; 4096];
    stream.read_exact(&mut first).unwrap();
    drop(stream);
    let ending = embly.ending("pours");
    assert_eq!(ending["reason"], "client_gone");
    // What the kernel holds for both sockets, and the windows.
    let sent = ending["bytes_out"].as_u64().unwrap();
    assert!(sent < 20 << 20, "{sent} bytes were sent");
}

#[test]
fn a_function_that_does_not_read_holds_the_client_back() {
    let project = Project::unparked()
        .guest_with("script", "    limits: {request_body: none}")
        .http("script");
    let embly = Embly::run(&project);
    let mut stream = connect(embly.at("script"));
    let before = peak_memory(embly.pid());
    let head =
        "POST / HTTP/1.1\r\nhost: x\r\nx-do: sleep 60000\r\ncontent-length: 1000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let block = vec![1; 1 << 20];
    let mut sent = 0u64;
    while let Ok(bytes) = stream.write(&block) {
        sent += bytes as u64;
        assert!(sent < 100 << 20, "nothing holds the client back");
    }
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < PASSING_MEMORY, "{more} bytes more");
}

#[test]
fn connections_are_served_side_by_side() {
    let embly = Embly::run(&Project::unparked().guest("hello").http("hello"));
    let at = embly.at("hello");
    let clients: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                let mut connection = Connection::new(at);
                for _ in 0..25 {
                    assert_eq!(connection.get("/").text(), "hello");
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    eventually("no process but the fork server is left", || {
        embly.processes().len() == 1
    });
}
