//! Bodies: long ones, packed ones, broken ones.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use http_body_util::BodyExt;

use super::servers::{Plain, Site, Speaks, answer, echo, head};
use super::support::client::{connect, read_response};
use super::support::process::peak_memory;
use super::support::{Embly, Project};
use super::{Ask, get, keys, project, project_of};

const MIB: usize = 1 << 20;

#[test]
fn long_bodies_stream_both_ways_at_once_in_constant_memory() {
    const BYTES: usize = 96 * MIB;
    for speaks in [Speaks::One, Speaks::Two] {
        let authority = super::servers::Authority::new();
        let certificate = authority.sign(&["127.0.0.1"], 1);
        // HTTP/2 by ALPN, so with TLS; the other without.
        let site = match speaks {
            Speaks::One => Site::new(speaks, |request| async { echo(request) }),
            Speaks::Two => Site::tls(&[speaks], &certificate, |request| async { echo(request) }),
        };
        let scheme = if speaks == Speaks::Two {
            "https"
        } else {
            "http"
        };
        let url = format!("{scheme}://{}/", site.at);
        let allow = match speaks {
            Speaks::One => format!("\"{url}\""),
            Speaks::Two => format!("{{url: \"{url}\", ca: ca.pem}}"),
        };
        let limits = "request_body: none, response_body: none";
        let project = project_of("asks-through", &allow, limits);
        project.write("ca.pem", authority.pem());
        let embly = Embly::run(&project);
        let before = peak_memory(embly.pid());
        let mut client = connect(embly.at("asks-through"));
        let mut body = client.try_clone().unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-url: {url}\r\n\
             content-length: {BYTES}\r\n\r\n"
        );
        client.write_all(head.as_bytes()).unwrap();
        let sender = thread::spawn(move || {
            let piece: Vec<u8> = (0..MIB).map(|n| (n % 251) as u8).collect();
            (0..BYTES / MIB).for_each(|_| body.write_all(&piece).unwrap());
        });
        let answer = read_response(client);
        sender.join().unwrap();
        assert_eq!(
            (answer.status, answer.body.len(), answer.complete),
            (200, BYTES, true)
        );
        assert!(
            answer
                .body
                .chunks(MIB)
                .all(|piece| piece[MIB - 1] == ((MIB - 1) % 251) as u8)
        );
        let more = peak_memory(embly.pid()).saturating_sub(before);
        eprintln!("{speaks:?}: the master took {more} bytes more");
        assert!(more < 24 * MIB as u64, "the master took {more} bytes more");
    }
}

#[test]
fn a_caller_that_does_not_read_holds_up_the_server_and_no_memory() {
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&sent);
    let server = Plain::new(move |mut stream, _| {
        if head(&mut stream).is_none() {
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let piece = vec![7; 64 * 1024];
        while stream.write_all(&piece).is_ok() {
            count.fetch_add(piece.len(), std::sync::atomic::Ordering::SeqCst);
        }
    });
    let embly = Embly::run(&project(
        &format!("\"{}\"", server.url("/")),
        "response_body: none",
    ));
    let before = peak_memory(embly.pid());
    let mut client = connect(embly.at("asks"));
    let url = server.url("/");
    write!(
        client,
        "POST / HTTP/1.1\r\nhost: test\r\nx-url: {url}\r\ncontent-length: 0\r\n\r\n"
    )
    .unwrap();
    let mut begun = [0; 4096];
    client.read_exact(&mut begun).unwrap();
    // The server comes to a halt: whatever is under way is full.
    let load = || sent.load(std::sync::atomic::Ordering::SeqCst);
    let (mut last, mut still) = (0, 0);
    super::support::eventually("a server that waits", || {
        thread::sleep(Duration::from_millis(50));
        still = if load() == last { still + 1 } else { 0 };
        last = load();
        still >= 10 && last > 0
    });
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < 16 * MIB as u64, "the master took {more} bytes more");
}

fn packed(kind: &str, bytes: &[u8]) -> Vec<u8> {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    let best = Compression::best();
    match kind {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), best);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zlib" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), best);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        _ => {
            let mut encoder = DeflateEncoder::new(Vec::new(), best);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
    }
}

/// Answers with bytes that are packed as the path says.
fn packer() -> Site {
    Site::new(Speaks::One, |request| async move {
        let text = b"Lorem ipsum dolor sit amet, ".repeat(10_000);
        let brotli: &[u8] = &[
            0x1b, 0x19, 0x00, 0xf8, 0x8d, 0x94, 0x6e, 0xde, 0x44, 0x09, 0x52, 0x86, 0x96, 0x6c,
            0x2c, 0x6f, 0x31, 0x4f, 0x24, 0xb0, 0xe3, 0x00,
        ];
        let (coding, body) = match request.uri().path() {
            "/gzip" => ("gzip", packed("gzip", &text)),
            "/deflate" => ("deflate", packed("zlib", &text)),
            "/raw" => ("deflate", packed("raw", &text)),
            "/br" => ("br", brotli.to_vec()),
            "/zstd" => ("zstd", text.clone()),
            "/lies" => ("gzip", text.clone()),
            "/half" => ("gzip", packed("gzip", &text)[..100].to_vec()),
            "/bomb" => ("gzip", packed("gzip", &vec![0; 64 * MIB])),
            "/long" => ("gzip", packed("gzip", &text)),
            _ => ("identity", text.clone()),
        };
        let mut answer = answer(200, body);
        answer
            .headers_mut()
            .insert("content-encoding", coding.parse().unwrap());
        let accepts = request.headers().get("accept-encoding").cloned();
        if let Some(accepts) = accepts {
            answer.headers_mut().insert("x-accepts", accepts);
        }
        answer
    })
}

#[test]
fn packed_bodies_are_unpacked_unless_the_caller_wants_them_as_they_are() {
    let site = packer();
    let embly = Embly::run(&project(&format!("\"{}\"", site.url("/")), ""));
    let text = b"Lorem ipsum dolor sit amet, ".repeat(10_000);
    for path in ["/gzip", "/deflate", "/raw", "/identity"] {
        let response = get(&embly, &site.url(path));
        assert!(response.body == text, "{path}");
        let plain = path == "/identity";
        assert_eq!(response.header("r-content-encoding").is_some(), plain);
        assert_eq!(response.header("r-content-length").is_some(), plain);
        assert_eq!(response.header("r-x-accepts"), Some("gzip, deflate, br"));
    }
    assert_eq!(
        get(&embly, &site.url("/br")).text(),
        "hello, hello, hello, hello"
    );
    for (name, value, accepts) in [
        ("x-compressed", "yes", None),
        ("x-h-accept-encoding", "gzip;q=0.5", Some("gzip;q=0.5")),
        ("x-h-range", "bytes=0-", None),
    ] {
        let response = Ask::new(&embly, "GET", &site.url("/gzip"))
            .header(name, value)
            .send();
        assert!(response.body == packed("gzip", &text), "{name}");
        assert_eq!(response.header("r-content-encoding"), Some("gzip"));
        assert_eq!(response.header("r-x-accepts"), accepts);
    }
}

#[test]
fn a_body_that_cannot_be_unpacked_or_is_a_bomb_never_looks_whole() {
    let site = packer();
    let limits = "response_body: 200MiB";
    let embly = Embly::run(&project(&format!("\"{}\"", site.url("/")), limits));
    super::assert_fails(
        Ask::new(&embly, "GET", &site.url("/zstd")),
        "Protocol",
        "`zstd`",
    );
    let before = peak_memory(embly.pid());
    for (path, says) in [
        ("/lies", "Some(Protocol): "),
        ("/half", "Some(Protocol): "),
        ("/bomb", "Some(TooLarge): "),
    ] {
        let response = get(&embly, &site.url(path));
        assert!(!response.complete, "{path}");
        embly.event("log", |event| {
            let line = event["line"].as_str().unwrap();
            line.starts_with("broken off") && line.contains(says)
        });
    }
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < 8 * MIB as u64, "the master took {more} bytes more");
}

#[test]
fn the_limit_on_bodies_counts_what_comes_out() {
    let site = packer();
    let embly = Embly::run(&project(
        &format!("\"{}\"", site.url("/")),
        "response_body: 100KiB",
    ));
    // 280,000 bytes, of which a few hundred are sent.
    let response = get(&embly, &site.url("/long"));
    assert_eq!(response.status, 200);
    assert!(
        !response.complete && response.body.len() <= 100 * 1024,
        "{}",
        response.body.len()
    );
    // Where the length is known there is no response at all.
    super::assert_fails(
        Ask::new(&embly, "GET", &site.url("/identity")),
        "TooLarge",
        "response_body",
    );
}

#[test]
fn an_upload_that_its_function_breaks_off_never_looks_whole() {
    for speaks in [Speaks::One, Speaks::Two] {
        let (tell, told) = std::sync::mpsc::channel();
        let site = Site::new(speaks, move |request| {
            let tell = tell.clone();
            async move {
                let body = request.into_body().collect().await;
                tell.send(body.is_ok()).unwrap();
                answer(200, "")
            }
        });
        let url = site.url("/");
        let project = project(&format!("\"{url}\""), "idle: none");
        let embly = Embly::run(&project);
        let mut client = connect(embly.at("asks"));
        let version = if speaks == Speaks::Two { "2" } else { "1" };
        write!(
            client,
            "POST / HTTP/1.1\r\nhost: test\r\nx-url: {url}\r\nx-method: PUT\r\nx-mode: stream\r\n\
             x-version: {version}\r\ncontent-length: 1000\r\n\r\nthe beginning"
        )
        .unwrap();
        super::support::eventually("a request", || site.seen.requests() == 1);
        // The gateway ends the function, and with it the call.
        drop(client);
        assert!(
            !told.recv_timeout(super::support::PATIENCE).unwrap(),
            "{speaks:?}"
        );
    }
}

#[test]
fn a_length_that_is_promised_is_kept() {
    let site = Site::new(Speaks::One, |request| async move {
        let length = request.headers().get("content-length").cloned();
        let coding = request.headers().contains_key("transfer-encoding");
        match request.into_body().collect().await {
            Ok(body) => answer(
                200,
                format!("{length:?} {coding} {}", body.to_bytes().len()),
            ),
            Err(_) => answer(400, "cut"),
        }
    });
    let embly = Embly::run(&project(&format!("\"{}\"", site.url("/")), ""));
    let ask = |length: &str| {
        let ask = Ask::new(&embly, "POST", &site.url("/"));
        if length.is_empty() {
            ask
        } else {
            ask.header("x-h-content-length", length)
        }
    };
    assert_eq!(
        ask("").streamed(b"0123456789").send().text(),
        "None true 10"
    );
    assert_eq!(
        ask("10").streamed(b"0123456789").send().text(),
        "Some(\"10\") false 10"
    );
    assert_eq!(
        ask("").whole(b"0123456789").send().text(),
        "Some(\"10\") false 10"
    );
    let long = vec![7; 300_000];
    assert_eq!(
        ask("").whole(&long).send().text(),
        "Some(\"300000\") false 300000"
    );
    super::assert_fails(
        ask("11").streamed(b"0123456789"),
        "Invalid",
        "1 bytes shorter",
    );
    super::assert_fails(ask("9").streamed(b"0123456789"), "Invalid", "longer than");
}

#[test]
fn an_answer_before_the_end_of_the_request_is_an_answer() {
    let server = Plain::new(|mut stream, _| {
        if head(&mut stream).is_some() {
            let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
            stream.write_all(answer).unwrap();
            // What is still to come is read, so that no reset takes the answer away.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let limits = keys(&format!("\"{}\"", server.url("/")), "");
    let embly = Embly::run(&Project::new().guest_with("asks", &limits).http("asks"));
    let long = vec![7; 4 * MIB];
    let response = Ask::new(&embly, "POST", &server.url("/"))
        .whole(&long)
        .send();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
    let response = Ask::new(&embly, "POST", &server.url("/"))
        .streamed(&long)
        .send();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
}
