//! Asking others over HTTP, against handlers of the mock.

#![cfg(feature = "http-client")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use embly::{
    Error,
    http::{
        Body, Request, Response, ResponseWriter,
        client::{self, Kind},
    },
    mock,
    prelude::*,
};
use embly_sdk as embly;

fn echo(request: Request<Vec<u8>>) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    for (name, value) in request.headers() {
        response.headers_mut().append(name, value.clone());
    }
    *response.status_mut() = http::StatusCode::ACCEPTED;
    let head = format!("{} {}\n", request.method(), request.uri());
    *response.body_mut() = [head.into_bytes(), request.into_body()].concat();
    response
}

fn text(response: &mut Response<Body>) -> String {
    String::from_utf8(response.body_mut().bytes().unwrap()).unwrap()
}

#[test]
fn requests_are_sent_when_they_are_made_and_answered_in_both_styles() {
    mock::http_client::host("a.example", echo);
    let plain = client::get("https://a.example/x?y").wait();
    let mut plain = plain.unwrap();
    assert_eq!(
        (plain.status().as_u16(), &*text(&mut plain)),
        (202, "GET https://a.example/x?y\n")
    );
    let url = plain.extensions().get::<client::FinalUrl>().unwrap();
    assert_eq!(url.0, "https://a.example/x?y");

    // Several at once.
    let calls: Vec<_> = (0..5)
        .map(|n| client::get(format!("http://A.example:81/{n}")))
        .collect();
    let responses = embly::block_on(embly::join_all(calls));
    for (n, response) in responses.into_iter().enumerate() {
        assert_eq!(
            text(&mut response.unwrap()),
            format!("GET http://A.example:81/{n}\n")
        );
    }
}

#[test]
fn bodies_of_any_length_go_there_and_come_back() {
    mock::http_client::any(echo);
    for length in [0, 1, 64 * 1024, 64 * 1024 + 1, 3_000_000] {
        let body: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let request = Request::post("http://a.example/")
            .header("x-own", "v")
            .body(&body)
            .unwrap();
        let mut response = client::send(request).wait().unwrap();
        assert_eq!(response.headers()["x-own"], "v");
        let answer = response.body_mut().bytes().unwrap();
        assert!(answer.ends_with(&body), "{length}");
        assert_eq!(answer.len(), "POST http://a.example/\n".len() + body.len());
    }
}

#[test]
fn a_body_is_written_piece_by_piece_in_both_styles() {
    mock::http_client::any(echo);
    let request = || Request::put("http://a.example/").body(()).unwrap();
    let (mut upload, call) = client::start(request()).unwrap();
    for n in 0..3 {
        write!(upload, "{n}").unwrap();
    }
    upload.finish().unwrap();
    assert!(text(&mut call.wait().unwrap()).ends_with("\n012"));

    let (upload, call) = client::start(request()).unwrap();
    let long = vec![b'x'; 1_000_000];
    let (written, response) = embly::block_on(async {
        let writes = async {
            upload.send(&long).await?;
            upload.finish()
        };
        embly::join!(writes, call)
    });
    written.unwrap();
    assert_eq!(
        text(&mut response.unwrap()).len(),
        "PUT http://a.example/\n".len() + long.len()
    );
}

#[test]
fn an_upload_that_is_dropped_takes_the_request_back() {
    mock::http_client::any(|_| panic!("half a body must not arrive"));
    let (mut upload, call) =
        client::start(Request::put("http://a.example/").body(()).unwrap()).unwrap();
    upload.write_all(b"half").unwrap();
    drop(upload);
    assert_eq!(call.wait().unwrap_err().kind(), Kind::Other);
}

#[test]
fn errors_have_a_kind_wherever_they_show() {
    for kind in [
        Kind::NotAllowed,
        Kind::Dns,
        Kind::Tls,
        Kind::Timeout,
        Kind::TooLarge,
        Kind::Busy,
    ] {
        mock::http_client::any(move |_| mock::http_client::fail(kind, "why"));
        let error = client::get("http://a.example/").wait().unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, "why"));
        let error = Error::from(error);
        assert_eq!(error.downcast_ref::<client::Error>().unwrap().kind(), kind);
        let error = std::io::Error::from(error.downcast_ref::<client::Error>().unwrap().clone());
        assert_eq!(
            Error::from(error)
                .downcast_ref::<client::Error>()
                .unwrap()
                .kind(),
            kind
        );
    }
}

#[test]
fn who_is_not_registered_is_named_with_what_to_write() {
    mock::http_client::host("a.example", echo);
    let error = client::get("https://b.example/x").wait().unwrap_err();
    assert_eq!(error.kind(), Kind::NotAllowed);
    let text = error.to_string();
    assert!(
        text.contains("https://b.example/x") && text.contains("host(\"b.example\""),
        "{text}"
    );
    mock::reset();
    assert!(client::get("https://a.example/").wait().is_err());
}

#[test]
fn a_service_that_ends_or_answers_nonsense_is_an_error() {
    use embly::{Conn, Reason};
    mock::function("embly/http", |_: Conn| {
        mock::end(Reason::Exit, 6, "after 30 s")
    });
    let error = client::get("http://a.example/").wait().unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::Timeout, "after 30 s")
    );
    mock::function("embly/http", |_: Conn| {
        mock::end(Reason::Refused, 2, "add `http: [...]`")
    });
    assert_eq!(
        client::get("http://a.example/").wait().unwrap_err().kind(),
        Kind::NotAllowed
    );
    for bytes in [
        &b""[..],
        b"\x01",
        b"\xff\xff\xff\xff",
        b"\x01\0\0\0\xff",
        b"\0\0\0\0",
        b"\x04\0\0\0\x0a\x02\x08\x00",
    ] {
        mock::function("embly/http", move |mut conn: Conn| conn.write_all(bytes));
        let error = client::get("http://a.example/").wait().unwrap_err();
        assert_eq!(error.kind(), Kind::Other, "{bytes:?}: {error}");
    }
    // A head, then a bad end: half a body is none.
    mock::function("embly/http", |mut conn: Conn| {
        conn.write_all(b"\x05\0\0\0\x0a\x03\x08\xc8\x01half")
            .unwrap();
        mock::end(Reason::Exit, 9, "has broken off")
    });
    let mut response = client::get("http://a.example/").wait().unwrap();
    let error = response.body_mut().bytes().unwrap_err();
    assert_eq!(
        error.downcast_ref::<client::Error>().unwrap().kind(),
        Kind::Protocol
    );
}

#[test]
fn a_response_that_is_dropped_ends_its_call() {
    mock::http_client::any(|_| Response::new(vec![7; 1_000_000]));
    for _ in 0..200 {
        // More than the children that there can be at once.
        let response = client::get("http://a.example/").wait().unwrap();
        drop(response);
    }
}

#[test]
fn a_handler_is_tested_with_another_server() {
    async fn execute(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        let mut response = client::get("https://api.example.com/today").await?;
        w.status(response.status())?;
        w.write_all(&response.body_mut().bytes()?)?;
        Ok(())
    }
    mock::http_client::host("api.example.com", |_| Response::new(b"sunny".to_vec()));
    let response = mock::http(execute, Request::get("/").body("").unwrap());
    assert_eq!(response.text(), "sunny");
}
