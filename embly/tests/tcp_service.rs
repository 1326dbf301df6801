//! Connections of functions to other servers: bytes, ends, limits.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use support::client::{connect, get, pause, reset};
use support::outbound::{Full, echo, server};
use support::process::{descriptors, resident};
use support::{Embly, Project, eventually};

/// A function behind a tcp gateway that connects to these, with more limits of `tcp`.
fn project(to: &[SocketAddr], limits: &str) -> Project {
    let addresses: Vec<_> = to.iter().map(|at| format!("\"{at}\"")).collect();
    let keys = format!(
        "    allow: {{tcp: [{}]}}\n    limits: {{tcp: {{{limits}}}}}",
        addresses.join(", ")
    );
    Project::new()
        .guest_with("tunnels", &keys)
        .tcp("tunnels")
        .guest_with("dials", &keys)
        .http("dials")
}

/// A client whose bytes go to `to` and back.
fn tunnel(embly: &Embly, way: &str, to: SocketAddr) -> TcpStream {
    let mut client = connect(embly.at("tunnels"));
    client
        .write_all(format!("{way} {to}\n").as_bytes())
        .unwrap();
    client
}

fn line(client: &mut TcpStream) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while client.read(&mut byte).unwrap() > 0 && byte != *b"\n" {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// The same, when it is there.
fn opened(embly: &Embly, to: SocketAddr) -> TcpStream {
    let mut client = tunnel(embly, "plain", to);
    assert_eq!(line(&mut client), format!("opened {to} "));
    client
}

#[test]
fn bytes_go_there_and_back_and_each_direction_ends_by_itself() {
    let at = server(echo);
    let embly = Embly::run(&project(&[at], ""));
    let mut client = opened(&embly, at);
    client.write_all(b"hello").unwrap();
    let mut bytes = [0; 5];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    client.write_all(b" and goodbye").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, " and goodbye");
    assert_eq!(embly.ending("embly/tcp")["reason"], "ok");
}

#[test]
fn a_server_that_ends_its_direction_still_reads() {
    let (heard, hears) = mpsc::channel();
    let at = server(move |mut stream| {
        stream.write_all(b"ready").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        heard.send(all).unwrap();
    });
    let embly = Embly::run(&project(&[at], ""));
    let mut client = opened(&embly, at);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "ready");
    client.write_all(b"late").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(hears.recv_timeout(support::PATIENCE).unwrap(), "late");
}

#[test]
fn large_streams_pass_both_ways_at_once_in_constant_memory() {
    const BYTES: usize = 256 << 20;
    let at = server(echo);
    let embly = Embly::run(&project(&[at], ""));
    // What the first one needs stays.
    drop(opened(&embly, at));
    let before = resident(embly.pid());
    let mut client = opened(&embly, at);
    let mut writer = client.try_clone().unwrap();
    let block: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    let theirs = block.clone();
    let wrote = thread::spawn(move || {
        for _ in 0..BYTES / theirs.len() {
            writer.write_all(&theirs).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let (mut piece, mut most) = (vec![0; block.len()], 0);
    for n in 0..BYTES / block.len() {
        client.read_exact(&mut piece).unwrap();
        assert!(piece == block, "block {n}");
        most = most.max(resident(embly.pid()));
    }
    wrote.join().unwrap();
    assert_eq!(client.read(&mut piece).unwrap(), 0);
    let grown = most.saturating_sub(before);
    assert!(grown < 16 << 20, "the master has grown by {grown} bytes");
}

#[test]
fn a_reader_that_is_slow_holds_the_other_side_back() {
    // The server counts what it could write in a second.
    let (counted, counts) = mpsc::channel();
    let at = server(move |mut stream| {
        stream
            .set_write_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let block = vec![7; 1 << 20];
        let mut count = 0;
        while let Ok(written) = stream.write(&block) {
            count += written;
        }
        counted.send(count).unwrap();
    });
    let embly = Embly::run(&project(&[at], ""));
    let before = resident(embly.pid());
    // It reads nothing.
    let client = opened(&embly, at);
    let count = counts.recv_timeout(support::PATIENCE).unwrap();
    // What the sockets of the system and the windows of the streams hold.
    assert!(count < 64 << 20, "{count} bytes were taken");
    let grown = resident(embly.pid()).saturating_sub(before);
    assert!(grown < 16 << 20, "the master has grown by {grown} bytes");
    drop(client);
}

#[test]
fn a_server_that_is_slow_holds_the_function_back() {
    let (finish, finished) = mpsc::channel::<()>();
    let finished = std::sync::Mutex::new(finished);
    let at = server(move |stream| {
        // It reads nothing until the test has ended.
        let _ = finished.lock().unwrap().recv();
        drop(stream);
    });
    let embly = Embly::run(&project(&[at], ""));
    let before = resident(embly.pid());
    let mut client = opened(&embly, at);
    client
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let block = vec![7; 1 << 20];
    let mut count = 0;
    while let Ok(written) = client.write(&block) {
        count += written;
    }
    assert!(count < 64 << 20, "{count} bytes were taken");
    let grown = resident(embly.pid()).saturating_sub(before);
    assert!(grown < 16 << 20, "the master has grown by {grown} bytes");
    drop(finish);
}

#[test]
fn a_connection_that_is_reset_never_looks_whole() {
    let at = server(|mut stream| {
        stream.write_all(b"half of").unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        reset(stream);
    });
    let embly = Embly::run(&project(&[at], ""));
    let mut client = opened(&embly, at);
    let mut bytes = [0; 7];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"half of");
    client.write_all(b"!").unwrap();
    // The function ends with an error, so its client sees a reset.
    client.read(&mut bytes).unwrap_err();
    let ending = embly.ending("embly/tcp");
    assert_eq!(ending["reason"], "exit", "{ending}");
    let detail = ending["detail"].as_str().unwrap();
    assert!(detail.contains("has reset the connection"), "{ending}");
    let said = embly.event("log", |event| event["function"] == "tunnels");
    let line = said["line"].as_str().unwrap();
    assert!(line.contains("has reset the connection"), "{said}");
}

/// A server that says how its connection ended.
fn watches() -> (SocketAddr, mpsc::Receiver<std::io::Result<usize>>) {
    let (told, tells) = mpsc::channel();
    let at = server(move |mut stream| {
        let read = stream.read_to_end(&mut Vec::new());
        told.send(read).unwrap();
    });
    (at, tells)
}

#[test]
fn a_function_that_is_ended_resets_its_connections_at_once() {
    let (at, tells) = watches();
    let embly = Embly::run(&project(&[at], ""));
    let mut client = opened(&embly, at);
    client.write_all(b"not all of it").unwrap();
    reset(client);
    let ended = tells.recv_timeout(support::PATIENCE).unwrap();
    let error = ended.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    assert_eq!(embly.ending("tunnels")["reason"], "client_gone");
}

#[test]
fn a_function_resets_a_connection_that_it_aborts() {
    let (at, tells) = watches();
    let embly = Embly::run(&project(&[at], ""));
    assert_eq!(get(embly.at("dials"), &format!("/?abort,{at}")).status, 200);
    assert!(tells.recv_timeout(support::PATIENCE).unwrap().is_err());
    assert_eq!(embly.ending("embly/tcp")["reason"], "killed");
}

#[test]
fn a_function_that_has_closed_its_direction_may_end_and_nothing_is_lost() {
    let (at, tells) = watches();
    let embly = Embly::run(&project(&[at], ""));
    let mut client = opened(&embly, at);
    client.write_all(b"all of it").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(tells.recv_timeout(support::PATIENCE).unwrap().unwrap(), 9);
    for _ in 0..50 {
        // It ends without an answer of its own.
        assert_eq!(
            get(embly.at("dials"), &format!("/?leaves,{at}")).status,
            502
        );
        let all = tells.recv_timeout(support::PATIENCE).unwrap();
        assert_eq!(all.unwrap(), 200_000);
    }
}

#[test]
fn a_server_that_does_not_answer_is_given_up_in_time() {
    let full = Full::new();
    let embly = Embly::run(&project(&[full.at], "connect: 500ms"));
    let since = Instant::now();
    let answer = get(embly.at("dials"), &format!("/?plain,{}", full.at)).text();
    let took = since.elapsed();
    assert!(answer.starts_with("Timeout: "), "{answer}");
    assert!(
        answer.contains("within 500ms, the limit `tcp: {connect: …}`"),
        "{answer}"
    );
    let range = Duration::from_millis(500)..Duration::from_secs(5);
    assert!(range.contains(&took), "{took:?}");
}

#[test]
fn a_connection_without_a_byte_is_ended_after_idle() {
    let (at, tells) = watches();
    let embly = Embly::run(&project(&[at], "idle: 300ms"));
    let mut client = opened(&embly, at);
    for _ in 0..4 {
        client.write_all(b".").unwrap();
        pause(150, "it has to live longer than its limit");
    }
    client.read(&mut [0; 8]).unwrap_err();
    assert!(tells.recv_timeout(support::PATIENCE).unwrap().is_err());
    let ending = embly.ending("embly/tcp");
    assert_eq!(ending["reason"], "idle", "{ending}");
    assert!(
        ending["detail"]
            .as_str()
            .unwrap()
            .contains("tcp: {idle: …}")
    );
}

#[test]
fn where_nobody_listens_the_error_says_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let embly = Embly::run(&project(&[at], ""));
    let answer = get(embly.at("dials"), &format!("/?plain,{at}")).text();
    assert!(answer.starts_with("Refused: "), "{answer}");
    assert!(answer.contains(&at.to_string()), "{answer}");
    assert_eq!(embly.ending("embly/tcp")["reason"], "exit");
}

#[test]
fn two_hundred_connections_live_at_once_and_leave_nothing() {
    let at = server(echo);
    let mut embly = Embly::run(&project(&[at], ""));
    drop(opened(&embly, at));
    eventually("the first one has ended", || {
        !embly
            .events()
            .iter()
            .all(|event| event["event"] != "invocation_ended" || event["function"] != "tunnels")
    });
    let before = descriptors(embly.pid());
    let mut clients: Vec<_> = (0..200).map(|_| tunnel(&embly, "plain", at)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(line(client), format!("opened {at} "), "client {n}");
        client.write_all(&[n as u8; 100]).unwrap();
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let mut bytes = [0; 100];
        client.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [n as u8; 100]);
    }
    assert!(descriptors(embly.pid()) >= before + 400);
    drop(clients);
    eventually("their descriptors are closed", || {
        // Parked wrappers come and go.
        descriptors(embly.pid()) < before + 100
    });
    embly.stops_with_nothing_left();
}

#[test]
fn one_connection_too_many_is_refused_with_the_limit_to_raise() {
    let at = server(echo);
    let embly = Embly::run(&project(&[at], "connections: 2"));
    let one = opened(&embly, at);
    let two = opened(&embly, at);
    let mut three = tunnel(&embly, "plain", at);
    let answer = line(&mut three);
    assert!(answer.starts_with("NoRoom: "), "{answer}");
    assert!(
        answer.contains("limits: {tcp: {connections: 2}}"),
        "{answer}"
    );
    // Those of other functions are their own.
    assert!(
        get(embly.at("dials"), &format!("/?plain,{at}"))
            .text()
            .starts_with("opened")
    );
    drop(one);
    eventually("there is room again", || {
        line(&mut tunnel(&embly, "plain", at)).starts_with("opened")
    });
    drop(two);
}

#[test]
fn who_does_not_speak_the_protocol_is_refused() {
    let at = server(echo);
    let embly = Embly::run(&project(&[at], "idle: 500ms"));
    let frame = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
    let open = |host: &str, port: u16| {
        let mut bytes = vec![0x0a, host.len() as u8];
        bytes.extend(host.as_bytes());
        bytes.push(0x10);
        bytes.extend([
            (port & 0x7f) as u8 | 0x80,
            (port >> 7 & 0x7f) as u8 | 0x80,
            (port >> 14) as u8,
        ]);
        bytes
    };
    let good = open("127.0.0.1", at.port());
    let both = [good.clone(), vec![0x1a, 0, 0x20, 1]].concat();
    let steps = [frame(&[good.clone(), vec![0x20, 1]].concat()), frame(&[])].concat();
    for (n, (bytes, why)) in [
        (vec![0xff; 4], "is too long"),
        (frame(&[0xff; 9]), "cannot be read"),
        (frame(&good)[..9].to_vec(), "ends within a message"),
        (Vec::new(), "before `Open`"),
        (frame(&open("127.1", at.port())), "is not a host"),
        (frame(&[0x0a, 1, b'a']), "0 is not a port"),
        (frame(&both), "exclude each other"),
        (steps, "is not a step"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = tunnel(&embly, "raw", at);
        client.write_all(&bytes).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        // All that comes, up to a reset.
        let _ = client.read_to_end(&mut Vec::new());
        let ending = embly.nth_event("invocation_ended", n, |event| {
            event["function"] == "embly/tcp"
        });
        assert_eq!(ending["reason"], "refused", "{ending}");
        assert_eq!(ending["code"], 28, "{ending}");
        assert!(ending["detail"].as_str().unwrap().contains(why), "{ending}");
    }
    // Who says nothing does not stay for ever.
    let client = tunnel(&embly, "raw", at);
    let ending = embly.nth_event("invocation_ended", 8, |event| {
        event["function"] == "embly/tcp"
    });
    assert_eq!(ending["reason"], "idle", "{ending}");
    drop(client);
    // Bytes that follow `Open` at once are for the other side.
    let mut client = tunnel(&embly, "raw", at);
    client
        .write_all(&[frame(&good), b"early".to_vec()].concat())
        .unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert!(all.ends_with(b"early"), "{all:?}");
}
