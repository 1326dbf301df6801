//! Handlers behind an http gateway.

use embly_sdk as embly;

use embly::{
    Conn, Error, Reason,
    http::{Body, Flusher, Method, Request, ResponseWriter, StatusCode},
    mock,
    prelude::*,
};

fn get(path: &str) -> Request<&'static str> {
    Request::get(path).body("").expect("a good path")
}

fn post(body: Vec<u8>) -> Request<Vec<u8>> {
    Request::post("/").body(body).expect("a good path")
}

async fn hello(_req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    w.write_all(b"Hello World")?;
    Ok(())
}

#[test]
fn a_response_goes_out_in_one_piece_with_its_length() {
    let (bytes, exit) = mock::exchange(hello, b"GET / HTTP/1.1\r\n\r\n");
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(
        text,
        "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nHello World"
    );
    assert!(exit.is_ok());
}

#[test]
fn handlers_are_plain_or_async_and_return_nothing_or_a_result() {
    fn plain(_: Request<Body>, mut w: ResponseWriter) {
        w.write_all(b"x").unwrap();
    }
    fn plain_result(_: Request<Body>, mut w: ResponseWriter) -> std::io::Result<()> {
        w.write_all(b"x")
    }
    fn boxed(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Box<dyn std::error::Error>> {
        Ok(w.write_all(b"x")?)
    }
    async fn future(_: Request<Body>, mut w: ResponseWriter) {
        w.write_all(b"x").unwrap();
    }
    async fn future_result(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        Ok(w.write_all(b"x")?)
    }
    assert_eq!(mock::http(plain, get("/")).text(), "x");
    assert_eq!(mock::http(plain_result, get("/")).text(), "x");
    assert_eq!(mock::http(boxed, get("/")).text(), "x");
    assert_eq!(mock::http(future, get("/")).text(), "x");
    assert_eq!(mock::http(future_result, get("/")).text(), "x");
    // As a `main` has them.
    let _: fn() -> Result<(), Error> = || embly::http::run(plain);
    let _: fn() -> Result<(), Error> = || embly::http::run_catch_error(future_result);
    let _: fn() -> Result<(), Error> = || embly::run(|_: Conn| ());
    let _: fn() -> Result<(), Error> = || embly::run(|_: Conn| async { Ok::<(), Error>(()) });
    let _: fn() -> Result<(), Error> = || embly::run_catch_error(|_: Conn| Ok::<(), Error>(()));
}

#[test]
fn status_and_headers_are_sent() {
    fn handler(req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        write!(w, "{} {}", req.method(), req.uri())?;
        w.status("201")?;
        w.status(202)?;
        w.status(StatusCode::CREATED)?;
        w.header("Content-Type", "text/plain")?;
        w.header("X-Number", 7)?;
        w.header("x-number", String::from("8"))?;
        w.append_header("Set-Cookie", "a=1")?;
        w.append_header("Set-Cookie", "b=2")
    }
    let response = mock::http(handler, get("/a?b=c"));
    assert_eq!(response.status, 201);
    assert_eq!(response.header("content-type"), Some("text/plain"));
    assert_eq!(response.header("x-number"), Some("8"));
    let cookies: Vec<_> = response.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(response.text(), "GET /a?b=c");
}

#[test]
fn what_cannot_be_a_head_is_an_error() {
    fn handler(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        assert!(w.header("a", "b\r\nSet-Cookie: evil").is_err());
        assert!(w.header("a b", "c").is_err());
        assert!(w.status("abc").is_err());
        assert!(w.status(99).is_err());
        assert!(w.status(100).is_err());
        assert!(w.status(600).is_err());
        Ok(())
    }
    assert_eq!(mock::http(handler, get("/")).status, 200);

    let chunked = |_: Request<Body>, mut w: ResponseWriter| w.header("Transfer-Encoding", "x");
    assert_eq!(mock::http(chunked, get("/")).status, 500);
}

#[test]
fn a_header_after_the_flush_is_an_error() {
    fn handler(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        w.write_all(b"first ")?;
        w.flush_response()?;
        let error = w.header("a", "b").unwrap_err();
        assert!(
            error.to_string().contains("before the first flush"),
            "{error}"
        );
        assert!(w.status(404).is_err());
        w.write_all(b"second")?;
        Ok(())
    }
    let response = mock::http(handler, get("/"));
    assert_eq!((response.text(), response.complete), ("first second", true));
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
}

#[test]
fn what_is_flushed_arrives_before_the_end() {
    fn handler(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        loop {
            w.write_all(b"tick")?;
            w.flush_response()?;
            embly::sleep(std::time::Duration::from_secs(1)).wait();
        }
    }
    let mut conn = mock::spawn_http(handler);
    conn.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(conn.string().unwrap().ends_with("\r\n\r\n4\r\ntick\r\n"));
    assert_eq!(conn.string().unwrap(), "4\r\ntick\r\n");
}

#[test]
fn an_error_before_the_flush_is_a_500_that_does_not_tell() {
    async fn handler(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        w.header("X-Secret", "1")?;
        w.write_all(b"half an answ")?;
        "x".parse::<u8>()?;
        Ok(())
    }
    let response = mock::http(handler, get("/"));
    assert_eq!(response.status, 500);
    assert_eq!(response.text(), "Internal Server Error\n");
    assert_eq!(response.header("x-secret"), None);
    assert_eq!(response.header("embly-handler"), None);
    assert!(response.exit.is_ok());
}

#[test]
fn an_error_after_the_flush_is_exit_1_and_a_cut_response() {
    async fn handler(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        w.write_all(b"part")?;
        w.flush_response()?;
        Err(Error::msg("no more"))
    }
    let response = mock::http(handler, get("/"));
    assert_eq!((response.status.as_u16(), response.complete), (200, false));
    assert_eq!(
        (response.exit.reason, response.exit.code),
        (Reason::Exit, 1)
    );
}

#[test]
fn a_panic_is_a_trap() {
    let panics = |_: Request<Body>, _: ResponseWriter| panic!("on purpose");

    let response = mock::http(panics, get("/"));
    assert_eq!(response.status, 500);
    assert_eq!(response.exit.reason, Reason::Trap);
    assert_eq!(response.exit.detail, "on purpose");
}

#[test]
fn the_length_that_a_handler_sets_is_kept_and_checked() {
    fn promise(length: u64, flush: bool) -> mock::Response {
        let handler = move |_: Request<Body>, mut w: ResponseWriter| -> Result<(), Error> {
            w.header("Content-Length", length)?;
            if flush {
                w.flush_response()?;
            }
            w.write_all(b"123456")?;
            Ok(())
        };
        mock::http(handler, get("/"))
    }
    for flush in [false, true] {
        let right = promise(6, flush);
        assert_eq!((right.text(), right.complete), ("123456", true));
        assert_eq!(right.header("transfer-encoding"), None);
    }
    assert_eq!(promise(5, false).status, 500);
    assert_eq!(promise(7, false).status, 500);
    assert_eq!(promise(5, true).exit.code, 1);
    assert!(!promise(7, true).complete);
}

#[test]
fn a_first_flush_beyond_the_promised_length_can_still_be_a_500() {
    fn handler(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        w.header("Content-Length", 5)?;
        w.write_all(b"123456")?;
        w.flush_response()
    }
    assert_eq!(
        mock::http(handler, get("/")).text(),
        "Internal Server Error\n"
    );
}

#[test]
fn a_large_response_is_streamed() {
    fn handler(_: Request<Body>, mut w: ResponseWriter) -> std::io::Result<()> {
        (0..1000).try_for_each(|_| w.write_all(&[b'x'; 1000]))
    }
    let response = mock::http(handler, get("/"));
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert_eq!((response.body.len(), response.complete), (1_000_000, true));
}

#[test]
fn head_204_and_304_have_no_body() {
    let request = Request::builder()
        .method(Method::HEAD)
        .uri("/")
        .body("")
        .unwrap();
    let response = mock::http(hello, request);
    assert_eq!(response.header("content-length"), Some("11"));
    for status in [204_u16, 304] {
        let handler = move |_: Request<Body>, mut w: ResponseWriter| -> Result<(), Error> {
            w.status(status)?;
            w.write_all(b"ignored")?;
            Ok(())
        };
        let (bytes, _) = mock::exchange(handler, b"GET / HTTP/1.1\r\n\r\n");
        assert!(bytes.ends_with(b"\r\n\r\n"), "{}", bytes.escape_ascii());
        assert!(!bytes.escape_ascii().to_string().contains("content-length"));
    }
}

fn count(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let body = req.body_mut().bytes()?;
    write!(w, "{} bytes", body.len())?;
    if let Some(trailers) = req.body().trailers() {
        write!(w, ", trailers {trailers:?}")?;
    }
    Ok(())
}

#[test]
fn a_body_with_a_length_is_read_to_it_and_not_further() {
    assert_eq!(
        mock::http(count, post(vec![1; 3_000_000])).text(),
        "3000000 bytes"
    );
    assert_eq!(mock::http(count, get("/")).text(), "0 bytes");
    let (bytes, _) = mock::exchange(count, b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcdef");
    assert!(bytes.ends_with(b"3 bytes"));
}

#[test]
fn a_chunked_body_is_decoded() {
    let request = Request::post("/").header("Transfer-Encoding", "chunked");
    let request = request
        .body("5\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 7\r\n\r\n")
        .unwrap();
    assert_eq!(
        mock::http(count, request).text(),
        "6 bytes, trailers {\"x-sum\": \"7\"}"
    );
}

#[test]
fn a_body_comes_piece_by_piece() {
    async fn handler(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        let mut sum = 0;
        let mut chunks = req.body_mut().chunks();
        while let Some(chunk) = chunks.next().await {
            sum += chunk?.len();
        }
        Ok(write!(w, "{sum}")?)
    }
    assert_eq!(
        mock::http(handler, post(vec![1; 1_000_000])).text(),
        "1000000"
    );
}

#[test]
fn a_body_that_breaks_off_never_looks_complete() {
    for (head, part) in [
        ("Content-Length: 10", "abc"),
        ("Transfer-Encoding: chunked", "3\r\nabc\r\n"),
        ("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n"),
        ("Transfer-Encoding: chunked", "3\r\nabc\r\nzz\r\n"),
    ] {
        let request = format!("POST / HTTP/1.1\r\n{head}\r\n\r\n{part}");
        let (bytes, exit) = mock::exchange(count, request.as_bytes());
        assert!(
            bytes.starts_with(b"HTTP/1.1 500 "),
            "{part:?}: {}",
            bytes.escape_ascii()
        );
        assert!(exit.is_ok());
    }
}

#[test]
fn what_is_not_http_is_a_400() {
    for bad in [
        "hello\r\n\r\n",
        "GET / HTTP/1.1\r\nHos",
        "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let (bytes, exit) = mock::exchange(hello, bad.as_bytes());
        assert!(
            bytes.starts_with(b"HTTP/1.1 400 "),
            "{bad}: {}",
            bytes.escape_ascii()
        );
        assert!(exit.is_ok());
    }
    let (bytes, exit) = mock::exchange(hello, b"");
    assert_eq!((bytes.len(), exit.code), (0, 1));
}

#[test]
fn ignoring_the_body_neither_spins_nor_fails() {
    mock::reset();
    async fn ignores(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        for _ in 0..10 {
            embly::sleep(std::time::Duration::from_secs(1)).await;
            w.write_all(b".")?;
        }
        Ok(())
    }
    let response = mock::http(ignores, post(vec![1; 1_000_000]));
    assert_eq!((response.text(), response.complete), ("..........", true));
    let calls = mock::calls();
    assert!(calls.events < 30 && calls.read < 20, "{calls:?}");
}

#[test]
fn a_clone_writes_the_same_response() {
    async fn handler(_: Request<Body>, w: ResponseWriter) {
        let (mut a, mut b) = (w.clone(), w);
        embly::join!(async { a.write_all(b"a").unwrap() }, async {
            b.write_all(b"b").unwrap()
        });
    }
    assert_eq!(mock::http(handler, get("/")).text(), "ab");
}
