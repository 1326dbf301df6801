//! A response as the client gets it, whatever the function says.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use serde_json::Value;
use support::client::{self, Connection, Response, script, write};
use support::{Embly, Project};

/// A master with the guest that writes what it is told.
fn writes() -> Embly {
    Embly::run(&Project::new().guest("script").http("script"))
}

/// What a client that closes gets when a function writes this.
fn sent(embly: &Embly, response: &str) -> Response {
    client::request(embly.at("script"), script(&write(response)))
}

/// The same where the answer is the gateway's 502.
fn refused(embly: &Embly, response: &str) {
    let got = sent(embly, response);
    let expected = (502, "bad_response");
    assert_eq!((got.status, got.reason()), expected, "{response:?}");
}

/// Names of the headers without those that the gateway always adds.
fn names(response: &Response) -> Vec<&str> {
    let always = [
        "date",
        "connection",
        "x-request-id",
        "content-length",
        "transfer-encoding",
    ];
    let names = response.headers.iter().map(|(name, _)| name.as_str());
    names.filter(|name| !always.contains(name)).collect()
}

#[test]
fn headers_and_body_are_the_functions_own() {
    let embly = writes();
    let response = sent(
        &embly,
        "HTTP/1.1 404 Nowhere\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Request-Id: forged\r\n\
         Content-Length: 4\r\n\r\nnope",
    );
    assert_eq!((response.status, response.text().as_str()), (404, "nope"));
    assert_eq!(names(&response), ["set-cookie", "set-cookie"]);
    assert_ne!(response.header("x-request-id"), Some("forged"));
    assert_eq!(response.header("content-length"), Some("4"));
}

#[test]
fn a_body_without_length_ends_with_the_function() {
    let embly = writes();
    for steps in ["", "; close; sleep 50"] {
        let steps = write("HTTP/1.1 200 OK\r\n\r\nuntil the end") + steps;
        let mut connection = Connection::new(embly.at("script"));
        connection.send(script(&steps).replace("connection: close\r\n", ""));
        let response = connection.response();
        assert_eq!(response.text(), "until the end");
        assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    }
}

#[test]
fn a_chunked_response_is_decoded_and_framed_anew() {
    let embly = writes();
    let response = sent(
        &embly,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n\
         1;ext\r\na\r\n002\r\nbc\r\n0\r\nx-trailer: 1\r\n\r\n",
    );
    assert_eq!((response.text().as_str(), response.complete), ("abc", true));
    let old = client::request(
        embly.at("script"),
        format!(
            "GET / HTTP/1.0\r\nx-do: {}\r\n\r\n",
            write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        ),
    );
    assert_eq!(
        (old.text().as_str(), old.header("transfer-encoding")),
        ("abc", None)
    );
}

#[test]
fn broken_chunks_cut_the_connection() {
    let embly = writes();
    for chunks in [
        "3\r\nabcX",
        "zz\r\n",
        "3\r\nabc\r\n-1\r\n",
        "3\r\nabc\r\nffffffffffffffffff\r\n",
    ] {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let response = sent(&embly, &format!("{head}{chunks}"));
        assert_eq!(
            (response.status, response.complete),
            (200, false),
            "{chunks:?}"
        );
    }
}

#[test]
fn headers_for_the_next_hop_stay_here() {
    let embly = writes();
    let response = sent(
        &embly,
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
         Proxy-Authenticate: x\r\nUpgrade: h2c\r\nTrailer: x\r\nTE: x\r\nX-Kept: 1\r\n\
         Content-Length: 0\r\n\r\n",
    );
    assert_eq!(names(&response), ["x-kept"]);
    assert_eq!(response.header("connection"), Some("close"));
}

#[test]
fn a_function_cannot_smuggle_a_second_response() {
    let embly = writes();
    let second = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    for first in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let mut connection = Connection::new(embly.at("script"));
        let keep = |steps: &str| script(steps).replace("connection: close\r\n", "");
        connection.send(keep(&write(format!("{first}{second}"))));
        assert_eq!(connection.response().text(), "ok");
        // The next request on the same connection is answered by an invocation of its own.
        connection.send(keep(&write(
            "HTTP/1.1 202 Own\r\ncontent-length: 3\r\n\r\nown",
        )));
        let own = connection.response();
        assert_eq!((own.status, own.text().as_str()), (202, "own"));
    }
    let told = |event: &Value| {
        let text = event["text"].as_str().unwrap_or_default();
        text.starts_with("script ") && text.ends_with("after the end of the response were dropped")
    };
    embly.nth_event("message", 1, told);
    // Without a length everything is its body, and stays in one.
    let open = sent(&embly, &format!("HTTP/1.1 200 OK\r\n\r\nok{second}"));
    assert_eq!(open.text(), format!("ok{second}"));
}

#[test]
fn headers_that_could_split_a_response_are_refused() {
    let embly = writes();
    for header in [
        "x: a\rset-cookie: b\r\n",
        "x: a\0b\r\n",
        "x y: 1\r\n",
        "x: 1\r\n folded: 2\r\n",
        ": 1\r\n",
        "x\u{e9}: 1\r\n",
    ] {
        refused(
            &embly,
            &format!("HTTP/1.1 200 OK\r\n{header}content-length: 0\r\n\r\n"),
        );
    }
}

#[test]
fn conflicting_lengths_are_refused() {
    let embly = writes();
    for headers in [
        "content-length: 1\r\ncontent-length: 2\r\n",
        "content-length: 1\r\ncontent-length: 1\r\n",
        "content-length: 1, 1\r\n",
        "content-length: +1\r\n",
        "content-length: -1\r\n",
        "content-length: 0x1\r\n",
        "content-length: 1 1\r\n",
        "content-length:\r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length: 1\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: identity\r\n",
    ] {
        refused(&embly, &format!("HTTP/1.1 200 OK\r\n{headers}\r\na"));
    }
}

#[test]
fn statuses_that_are_not_a_functions_to_give_are_refused() {
    let embly = writes();
    for line in [
        "101 Switching Protocols",
        "099 Low",
        "000 Zero",
        "20 Short",
        "1000 Long",
    ] {
        refused(
            &embly,
            &format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n"),
        );
    }
    let endings: Vec<Value> = (0..5)
        .map(|n| embly.nth_event("invocation_ended", n, |_| true))
        .collect();
    assert!(
        endings
            .iter()
            .all(|ending| ending["reason"] == "bad_response")
    );
}

#[test]
fn interim_responses_are_dropped() {
    let embly = writes();
    let response = sent(
        &embly,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert_eq!(response.header("link"), None);
    // Nothing after them is no response.
    let response = sent(&embly, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!((response.status, response.reason()), (502, "no_response"));
}

#[test]
fn a_head_without_end_is_refused_at_64_kib() {
    let embly = writes();
    let head = write("HTTP/1.1 200 OK\r\nx: ");
    let steps = format!("{head}; fill 100000; sleep 60000");
    let got = client::request(embly.at("script"), script(&steps));
    assert_eq!((got.status, got.reason()), (502, "bad_response"));
}

#[test]
fn responses_without_a_body_have_none_and_the_connection_goes_on() {
    let embly = writes();
    let mut connection = Connection::new(embly.at("script"));
    let mut ask = |method: &str, response: &str| {
        let request = script(&write(response)).replace("connection: close\r\n", "");
        connection.send(request.replacen("GET", method, 1));
        connection.head()
    };
    for status in ["204 No Content", "304 Not Modified"] {
        let got = ask(
            "GET",
            &format!("HTTP/1.1 {status}\r\netag: x\r\n\r\nforged"),
        );
        assert_eq!(
            (got.status.to_string().as_str(), got.header("etag")),
            (&status[..3], Some("x"))
        );
        assert_eq!(got.header("transfer-encoding"), None);
        assert_eq!(got.header("content-length"), None, "{status}");
    }
    for status in ["204 No Content", "304 Not Modified"] {
        let got = ask(
            "GET",
            &format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\n\r\nhello"),
        );
        assert_eq!(got.header("content-length"), None, "{status}");
    }
    let got = ask("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    assert_eq!(got.header("content-length"), Some("5"));
    // A HEAD must not promise another length than a GET.
    for unknown in [
        "\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let got = ask("HEAD", &format!("HTTP/1.1 200 OK\r\n{unknown}"));
        assert_eq!(
            (got.status, got.header("content-length")),
            (200, None),
            "{unknown:?}"
        );
    }
    let got = ask("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(got.header("content-length"), Some("0"));
}
