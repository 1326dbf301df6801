//! A request that is handed to another function.

use embly_sdk as embly;

use embly::{
    Conn, Error, Reason, SpawnOptions,
    http::{Body, Flusher, Request, ResponseWriter, StatusCode, forward},
    mock,
    prelude::*,
};

/// Hands everything to `users`.
async fn route(mut req: Request<Body>, w: ResponseWriter) -> Result<(), Error> {
    req.headers_mut().insert("x-route", "yes".parse()?);
    forward(&SpawnOptions::new("users"), req, w).await
}

/// Says what it got.
fn users(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let body = req.body_mut().bytes()?;
    w.status(201)?;
    w.header("x-users", "1")?;
    let header = |name: &str| {
        let value = req.headers().get(name);
        value.map_or("-", |value| value.to_str().unwrap_or("?"))
    };
    write!(
        w,
        "{} {} {} {} {} {}",
        req.method(),
        req.uri(),
        header("x-route"),
        header("content-length"),
        header("transfer-encoding"),
        body.len(),
    )?;
    if let Some(trailers) = req.body().trailers() {
        write!(w, " {trailers:?}")?;
    }
    Ok(())
}

#[test]
fn the_other_function_gets_the_request_and_its_response_is_ours() {
    mock::http_function("users", users);
    let response = mock::http(route, Request::get("/users/7?x=1").body("").unwrap());
    assert_eq!(response.status, 201);
    assert_eq!(response.header("x-users"), Some("1"));
    assert_eq!(response.text(), "GET /users/7?x=1 yes - - 0");
    let body = vec![b'x'; 300_000];
    let response = mock::http(route, Request::post("/").body(body).unwrap());
    assert_eq!(response.text(), "POST / yes 300000 - 300000");
    assert!(response.exit.is_ok());
}

#[test]
fn a_chunked_body_stays_one_with_its_trailers() {
    mock::http_function("users", users);
    let request = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
                    5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n";
    let (bytes, exit) = mock::exchange(route, request);
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.ends_with("POST / yes - chunked 5 {\"x-sum\": \"7\"}"),
        "{text}"
    );
    assert!(exit.is_ok());
}

#[test]
fn what_was_read_of_a_body_is_not_handed_on() {
    async fn peeks(mut req: Request<Body>, w: ResponseWriter) -> Result<(), Error> {
        let mut two = [0; 2];
        req.body_mut().read_exact(&mut two)?;
        assert_eq!(&two, b"ab");
        forward(&SpawnOptions::new("users"), req, w).await
    }
    mock::http_function("users", users);
    let response = mock::http(peeks, Request::post("/").body("abcde").unwrap());
    assert_eq!(response.text(), "POST / - 3 - 3");
    let response = mock::http(peeks, Request::post("/").body("ab").unwrap());
    assert_eq!(response.text(), "POST / - - - 0");
}

#[test]
fn who_answers_early_needs_no_more_of_the_request() {
    mock::http_function("users", |_: Request<Body>, mut w: ResponseWriter| {
        w.write_all(b"enough")
    });
    let body = vec![b'x'; 1 << 20];
    let response = mock::http(route, Request::post("/").body(body).unwrap());
    assert_eq!(response.text(), "enough");
    assert!(response.exit.is_ok());
}

#[test]
fn pieces_go_out_as_they_are_written() {
    mock::http_function(
        "users",
        |_: Request<Body>, mut w: ResponseWriter| -> Result<(), Error> {
            w.write_all(b"first")?;
            w.flush_response()?;
            embly::block_on(embly::sleep(std::time::Duration::from_secs(3600)));
            Ok(w.write_all(b"second")?)
        },
    );
    let began = mock::now();
    let conn = mock::spawn_http(route);
    embly::block_on(conn.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
    let first = String::from_utf8(conn.bytes().unwrap()).unwrap();
    assert!(
        first.contains("first") && !first.contains("second"),
        "{first}"
    );
    assert!(mock::now() - began < std::time::Duration::from_secs(3600));
    let rest = String::from_utf8(conn.bytes().unwrap()).unwrap();
    assert!(rest.contains("second"), "{rest}");
}

#[test]
fn one_that_cannot_be_started_or_says_nothing_leaves_the_answer_to_us() {
    let response = mock::http(route, Request::get("/").body("").unwrap());
    assert_eq!(response.status, StatusCode::INTERNAL_SERVER_ERROR);
    mock::function("users", |_: Conn| {});
    async fn instead(req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        let result = forward(&SpawnOptions::new("users"), req, w.clone()).await;
        w.status(503)?;
        Ok(write!(w, "sorry: {}", result.unwrap_err())?)
    }
    let response = mock::http(instead, Request::get("/").body("").unwrap());
    assert_eq!(response.status, 503);
    assert_eq!(
        response.text(),
        "sorry: the function has ended without a response"
    );
}

#[test]
fn a_response_that_breaks_off_stays_cut() {
    mock::http_function("users", |_: Request<Body>, mut w: ResponseWriter| {
        w.header("content-length", "100").unwrap();
        w.write_all(b"half").unwrap();
        w.flush_response().unwrap();
        mock::end(Reason::Trap, 0, "no luck")
    });
    let response = mock::http(route, Request::get("/").body("").unwrap());
    assert!(!response.complete);
    assert!(!response.exit.is_ok());
}

#[test]
fn a_response_of_our_own_that_has_begun_is_not_mixed_with_anothers() {
    mock::http_function("users", users);
    async fn both(req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        w.write_all(b"mine")?;
        w.flush_response()?;
        let error = forward(&SpawnOptions::new("users"), req, w.clone()).await;
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("before the first flush")
        );
        Ok(())
    }
    let response = mock::http(both, Request::get("/").body("").unwrap());
    assert_eq!(response.text(), "mine");
}
