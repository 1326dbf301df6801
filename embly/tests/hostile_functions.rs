//! Functions that answer with what is no answer, or with more than one: a client gets one whole
//! message, a 502, or a cut, and the next answer on its connection is that to its next request.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2::SendRequest;
use support::client::{self, Connection, Response, try_parse};
use support::{Embly, PATIENCE, Project, http2};

/// What must come of the bytes of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Comes {
    /// The gateway's 502.
    Refused,
    /// This status, and this body.
    Whole(u16, &'static str),
    /// 200, and the beginning of a body that shows that it is cut.
    Cut,
}

use Comes::{Cut, Refused, Whole};

/// Bytes of a function, and what must come of them.
struct Case {
    /// Of the request.
    method: &'static str,
    bytes: Vec<u8>,
    comes: Comes,
}

fn case(bytes: impl Into<Vec<u8>>, comes: Comes) -> Case {
    Case {
        method: "POST",
        bytes: bytes.into(),
        comes,
    }
}

/// With these headers and this body.
fn ok(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}")
}

/// In chunks.
fn chunked(body: &str) -> String {
    ok("Transfer-Encoding: chunked\r\n", body)
}

/// What a second request on the same connection is answered with.
const NEXT: &str = "HTTP/1.1 202 Next\r\nContent-Length: 4\r\n\r\nnext";

fn shown(case: &Case) -> String {
    let shown = &case.bytes[..case.bytes.len().min(200)];
    format!("{} {}", case.method, shown.escape_ascii())
}

/// Over HTTP/1.1: all that comes on a connection on which another request follows.
fn over_http1(embly: &Embly, case: &Case) -> Result<(), String> {
    let request = |method: &str, body: &[u8]| {
        let length = body.len();
        let head =
            format!("{method} / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let mut connection = Connection::new(embly.at("says"));
    connection.send(request(case.method, &case.bytes));
    connection.send(request("POST", NEXT.as_bytes()));
    connection
        .stream
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    let (bytes, _) = connection.rest();
    let Some(first) = try_parse(&bytes) else {
        return Err("nothing came".to_owned());
    };
    // The parser takes what follows a head for a body.
    let head = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let head = head.unwrap() + 4;
    let without = case.method == "HEAD" || [204, 304].contains(&first.status);
    let (body, length, complete) = if without {
        (Vec::new(), head, true)
    } else {
        let length = match first.header("content-length") {
            Some(length) => head + length.parse::<usize>().unwrap(),
            None => {
                let end = bytes.windows(5).position(|bytes| bytes == b"0\r\n\r\n");
                end.map_or(bytes.len(), |end| end + 5)
            }
        };
        let whole = try_parse(&bytes[..length.min(bytes.len())]).unwrap();
        (whole.body, length.min(bytes.len()), whole.complete)
    };
    let got = match (first.status, first.reason(), complete) {
        (502, "bad_response", true) => Refused,
        (200, _, false) => Cut,
        (status, _, true) => match &case.comes {
            Whole(expected, text) if *expected == status && text.as_bytes() == body => {
                Whole(status, text)
            }
            _ => {
                return Err(format!(
                    "{status} {:?} came",
                    String::from_utf8_lossy(&body)
                ));
            }
        },
        _ => return Err(format!("{first:?} came")),
    };
    if got != case.comes {
        return Err(format!("{got:?} came"));
    }
    let rest = &bytes[length..];
    if got == Cut {
        return if rest.is_empty() {
            Ok(())
        } else {
            Err("more came after a cut".to_owned())
        };
    }
    let next = try_parse(rest).map(|next| (next.status, next.text()));
    if next != Some((202, "next".to_owned())) {
        return Err(format!("then {:?} came", String::from_utf8_lossy(rest)));
    }
    Ok(())
}

type Http2 = SendRequest<Full<Bytes>>;

/// Over HTTP/2: what comes on a stream, and then on another one.
async fn over_http2(client: &mut Http2, case: &Case) -> Result<(), String> {
    let got = ask(client, case.method, &case.bytes).await?;
    let got = match got {
        Ok((502, _)) => Refused,
        Ok((status, body)) => match &case.comes {
            Whole(expected, text) if *expected == status && text.as_bytes() == &body[..] => {
                Whole(status, text)
            }
            _ => return Err(format!("{status} {body:?} came over HTTP/2")),
        },
        Err(200) => Cut,
        Err(status) => return Err(format!("{status} was cut over HTTP/2")),
    };
    if got != case.comes {
        return Err(format!("{got:?} came over HTTP/2"));
    }
    let next = ask(client, "POST", NEXT.as_bytes()).await?;
    if next != Ok((202, Bytes::from_static(b"next"))) {
        return Err(format!("then {next:?} came over HTTP/2"));
    }
    Ok(())
}

/// Status and body; or the status of an answer that was cut.
async fn ask(
    client: &mut Http2,
    method: &str,
    bytes: &[u8],
) -> Result<Result<(u16, Bytes), u16>, String> {
    let request = Request::builder()
        .method(method)
        .uri("http://a.test/")
        .body(Full::new(Bytes::copy_from_slice(bytes)))
        .unwrap();
    let answer = tokio::time::timeout(PATIENCE, client.send_request(request)).await;
    let answer = answer.unwrap().map_err(|error| error.to_string())?;
    let (parts, body) = answer.into_parts();
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ] {
        if parts.headers.contains_key(name) {
            return Err(format!("`{name}` came over HTTP/2"));
        }
    }
    let status = parts.status.as_u16();
    let body = tokio::time::timeout(PATIENCE, body.collect())
        .await
        .unwrap();
    Ok(body.map_or(Err(status), |body| Ok((status, body.to_bytes()))))
}

/// All of them, over both.
fn check(cases: Vec<Case>) {
    let project = Project::new().guest_with("says", "    limits: {request_body: none}");
    let mut embly = Embly::run(&project.http("says"));
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(what) = over_http1(&embly, case) {
            wrong.push(format!("{}: {what}", shown(case)));
        }
    }
    let runtime = http2::runtime();
    runtime.block_on(async {
        let mut client = http2::connect(embly.at("says")).await;
        for case in &cases {
            if let Err(what) = over_http2(&mut client, case).await {
                wrong.push(format!("{}: {what}", shown(case)));
            }
        }
    });
    drop(runtime);
    assert_eq!(wrong, Vec::<String>::new());
    embly.stops_with_nothing_left();
}

#[test]
fn a_status_line_is_one_of_http_1_or_refused() {
    let mut cases = Vec::new();
    for line in [
        "HTTP/2.0 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/1.1 ",
        "HTTP/1.1",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 2e2 OK",
        "HTTP/1.1 99 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 000 OK",
        "HTTP/1.1 1000 OK",
        "HTTP/1.1 2000",
        "HTTP/1.1 200OK",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 O\0K",
        "http/1.1 200 OK",
        "ICY 200 OK",
        "SSH-2.0-x",
        "GET / HTTP/1.1",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x",
    ] {
        cases.push(case(
            format!("{line}\r\nContent-Length: 2\r\n\r\nok"),
            Refused,
        ));
    }
    for (line, status) in [
        ("HTTP/1.1 200 OK", 200),
        ("HTTP/1.0 200 OK", 200),
        ("HTTP/1.1 200", 200),
        ("HTTP/1.1 200 \u{e9} <b>", 200),
        ("HTTP/1.1 299 x", 299),
        ("HTTP/1.1 700 x", 700),
        ("HTTP/1.1 999 x", 999),
    ] {
        let bytes = format!("{line}\r\nContent-Length: 2\r\n\r\nok");
        cases.push(case(bytes, Whole(status, "ok")));
    }
    check(cases);
}

#[test]
fn a_head_that_others_could_read_otherwise_is_refused() {
    let mut cases = Vec::new();
    for headers in [
        "x: a\r\n b\r\n",
        "x: a\r\n\tb\r\n",
        " x: a\r\n",
        "x: a\rb\r\n",
        "x: a\r\r\n",
        "x: a\rset-cookie: b\r\n",
        "x: a\0b\r\n",
        "x: a\x0bb\r\n",
        "x: a\x7fb\r\n",
        "x: a\x1b[2J\r\n",
        "x : a\r\n",
        ": a\r\n",
        "x\r\n",
        "x y: a\r\n",
        "x(: a\r\n",
        "x\0: a\r\n",
        "x\u{e9}: a\r\n",
        "content-length: 2\r\ncontent-length: 2\r\n",
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: 2, 2\r\n",
        "content-length: +2\r\n",
        "content-length: 2 x\r\n",
        "content-length: \u{662}\r\n",
        "content-length: 18446744073709551616\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 2\r\n",
        "content-length: 2\r\ntransfer-encoding: chunked\r\n",
        "content-length: x\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked;q=1\r\n",
        "transfer-encoding: , chunked\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding:\r\n",
    ] {
        cases.push(case(ok(headers, "2\r\nok\r\n0\r\n\r\n"), Refused));
    }
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("x-{n}: 1\r\n"))
            .collect::<String>()
    };
    cases.push(case(
        ok(&(many(100) + "content-length: 2\r\n"), "ok"),
        Whole(200, "ok"),
    ));
    cases.push(case(
        ok(&(many(200) + "content-length: 2\r\n"), "ok"),
        Refused,
    ));
    let long = format!("x: {}\r\n", "a".repeat(100_000));
    cases.push(case(ok(&long, "ok"), Refused));
    // A line may end in LF alone, and each is a header of its own.
    cases.push(case(
        "HTTP/1.1 200 OK\nx: 1\ncontent-length: 2\n\nok",
        Whole(200, "ok"),
    ));
    cases.push(case(
        ok("x: \u{e9}\r\ncontent-length: 2\r\n", "ok"),
        Whole(200, "ok"),
    ));
    check(cases);
}

#[test]
fn interim_responses_are_dropped_and_are_bounded() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
    let last = ok("content-length: 2\r\n", "ok");
    check(vec![
        case(interim.repeat(3) + &last, Whole(200, "ok")),
        case(
            "HTTP/1.1 199 x\r\n\r\n".to_owned() + &last,
            Whole(200, "ok"),
        ),
        case(interim.repeat(5000) + &last, Refused),
        case(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 x\r\n\r\n".to_owned() + &last,
            Refused,
        ),
        // It has no body, so what follows is a head.
        case(
            "HTTP/1.1 100 Continue\r\ncontent-length: 2\r\n\r\nok".to_owned() + &last,
            Refused,
        ),
    ]);
}

/// Says that it goes on, for ever.
const HESITATES: &str = r#"(module
  (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "HTTP/1.1 100 Continue\0d\0a\0d\0a")
  (func (export "_start")
    (loop $on
      (drop (call $write (i32.const 1) (i32.const 16) (i32.const 25) (i32.const 0)))
      (br $on))))"#;

#[test]
fn interim_responses_without_end_are_ended() {
    // No other limit ends it.
    let limits = "    limits: {wall: none, cpu: none, idle: none}";
    let project = Project::new().wat_with("hesitates", HESITATES, limits);
    let embly = Embly::run(&project.http("hesitates"));
    let got = support::get(embly.at("hesitates"), "/");
    assert_eq!((got.status, got.reason()), (502, "bad_response"));
    assert_eq!(embly.ending("hesitates")["reason"], "bad_response");
}

#[test]
fn a_second_response_never_reaches_a_client() {
    let forged = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    let head = |bytes: String, comes: Comes| Case {
        method: "HEAD",
        ..case(bytes, comes)
    };
    check(vec![
        case(ok("content-length: 2\r\n", "ok") + forged, Whole(200, "ok")),
        case(ok("content-length: 0\r\n", "") + forged, Whole(200, "")),
        case(chunked("2\r\nok\r\n0\r\n\r\n") + forged, Whole(200, "ok")),
        case(chunked("0\r\nx: 1\r\n\r\n") + forged, Whole(200, "")),
        case(
            format!("HTTP/1.1 204 No Content\r\n\r\n{forged}"),
            Whole(204, ""),
        ),
        case(
            format!("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello{forged}"),
            Whole(204, ""),
        ),
        case(
            format!(
                "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{forged}"
            ),
            Whole(204, ""),
        ),
        case(
            format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\nhello{forged}"),
            Whole(304, ""),
        ),
        // Some clients take it for one without a body.
        case(
            format!("HTTP/1.1 205 Reset Content\r\ncontent-length: 5\r\n\r\nhello{forged}"),
            Whole(205, ""),
        ),
        case(
            format!("HTTP/1.1 205 Reset Content\r\n\r\n{forged}"),
            Whole(205, ""),
        ),
        head(
            ok("content-length: 5\r\n", "hello") + forged,
            Whole(200, ""),
        ),
        head(chunked("2\r\nok\r\n0\r\n\r\n") + forged, Whole(200, "")),
        head(ok("", forged), Whole(200, "")),
        head(
            ok("content-length: 5\r\ncontent-length: 6\r\n", forged),
            Refused,
        ),
        head(ok("content-length: x\r\n", forged), Refused),
    ]);
}

#[test]
fn chunks_that_are_not_right_cut_the_answer() {
    let mut cases = Vec::new();
    for body in [
        "2\r\nok",
        "2\r\nok\r\n",
        "2\r\nok\r\n0\r\n",
        "2\r\nok\r\n0\r\nx: 1\r\n",
        "2\r\nokX\r\n0\r\n\r\n",
        "2\r\nok\n0\r\n\r\n",
        "2\nok\r\n0\r\n\r\n",
        "2;a\nb\r\nok\r\n0\r\n\r\n",
        "2;a\rb\r\nok\r\n0\r\n\r\n",
        // No number is not 0.
        "2\r\nok\r\n\r\n\r\n",
        "2\r\nok\r\n;x\r\n\r\n",
        "\r\n\r\n",
        " \r\n\r\n",
        "2 2\r\nok\r\n0\r\n\r\n",
        " 2\r\nok\r\n0\r\n\r\n",
        "+2\r\nok\r\n0\r\n\r\n",
        "-2\r\nok\r\n0\r\n\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        "2_0\r\nok\r\n0\r\n\r\n",
        "10000000000000002\r\nok\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nok",
        "00000000000000000000002\r\nok\r\n0\r\n\r\n",
    ] {
        cases.push(case(chunked(body), Cut));
    }
    let small = "1;0123456789\r\nx\r\n";
    for bomb in [
        format!("2;{}\r\nok\r\n0\r\n\r\n", "e".repeat(9000)),
        small.repeat(3000) + "0\r\n\r\n",
        format!("2\r\nok\r\n0\r\nx: {}\r\n\r\n", "t".repeat(9000)),
        format!("2\r\nok\r\n0\r\n{}\r\n", "x: 1234567890\r\n".repeat(3000)),
    ] {
        cases.push(case(chunked(&bomb), Cut));
    }
    for body in [
        "2\r\nok\r\n0\r\n\r\n",
        "02\r\nok\r\n000\r\n\r\n",
        "2;a=b\r\nok\r\n0;c\r\n\r\n",
        "1\r\no\r\n1\r\nk\r\n0\r\nx: 1\r\n\r\n",
    ] {
        cases.push(case(chunked(body), Whole(200, "ok")));
    }
    cases.push(case(ok("content-length: 3\r\n", "ok"), Cut));
    check(cases);
}

/// The answer to both kinds of client, with the names of its headers.
fn headers_of(answer: &str) -> [Vec<(String, String)>; 2] {
    let embly = Embly::run(&Project::new().guest("says").http("says"));
    let http1: Response = client::post(embly.at("says"), "/", answer.as_bytes());
    let url = format!("http://{}/", embly.at("says"));
    let output = std::process::Command::new("curl")
        .args([
            "-sS",
            "--http2-prior-knowledge",
            "-D",
            "-",
            "-o",
            "/dev/null",
        ])
        .args(["--max-time", "30", "--data-binary", answer, &url])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    let http2 = lines.map(|(name, value)| (name.to_owned(), value.to_owned()));
    [http1.headers, http2.collect()]
}

#[test]
fn what_the_gateway_says_in_headers_no_function_can_say() {
    let answer = ok(
        "Connection: keep-alive, X-Listed, Set-Cookie2\r\nX-Listed: 1\r\nKeep-Alive: 5\r\n\
         Proxy-Connection: x\r\nProxy-Authenticate: x\r\nProxy-Authorization: x\r\nTE: x\r\n\
         Trailer: x\r\nUpgrade: h2c\r\nX-Request-Id: forged\r\nEmbly-Error: trap\r\n\
         embly-other: x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2, c\r\nServer: its-own\r\n\
         Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Kept: 1\r\nContent-Length: 2\r\n",
        "ok",
    );
    for headers in headers_of(&answer) {
        let mut names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        names.retain(|name| *name != "connection");
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "content-length",
                "date",
                "server",
                "set-cookie",
                "set-cookie",
                "x-kept",
                "x-request-id",
            ],
            "{headers:?}"
        );
        let value = |name: &str| {
            let found = headers.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| value.as_str()).unwrap()
        };
        assert_ne!(value("x-request-id"), "forged");
        assert_eq!(value("server"), "its-own");
        let cookies = headers.iter().filter(|(name, _)| name == "set-cookie");
        let cookies: Vec<_> = cookies.map(|(_, value)| value.as_str()).collect();
        assert_eq!(cookies, ["a=1", "b=2, c"]);
    }
}

#[test]
fn a_client_of_http2_gets_pieces_as_they_come() {
    let embly = Embly::run(&Project::new().guest("script").http("script"));
    let runtime = http2::runtime();
    let piece = client::write("2\r\nok\r\n");
    let head = client::write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    let steps = format!("{head}; {piece}; sleep 60000");
    runtime.block_on(async {
        let mut client = http2::connect(embly.at("script")).await;
        let request = Request::get("http://a.test/").header("x-do", steps);
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let answer = client.send_request(request).await.unwrap();
        let mut body = answer.into_body();
        // The last byte of a piece is a frame of its own.
        let mut piece = Vec::new();
        while piece.len() < 2 {
            let frame = tokio::time::timeout(Duration::from_secs(20), body.frame()).await;
            let frame = frame.unwrap().unwrap().unwrap();
            piece.extend_from_slice(&frame.into_data().unwrap());
        }
        assert_eq!(piece, b"ok");
    });
}
