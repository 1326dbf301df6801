//! Code in the style of the original crate `embly` compiles with unchanged imports, and works.

use embly_sdk as embly;

use embly::{
    Conn, Error,
    http::{Body, Flusher, Request, ResponseWriter},
    mock,
    prelude::*,
    spawn_and_send, spawn_function,
};

async fn by_reference(_req: Request<Body>, w: &mut ResponseWriter) -> Result<(), Error> {
    w.status("200")?;
    w.header("Content-Type", format!("text/{}", "plain"))?;
    w.header("Content-Length", "12")?;
    w.flush_response()?;
    w.write_all("hello world\n".as_bytes())?;
    Ok(())
}

async fn catch_error(req: Request<Body>, mut w: ResponseWriter) {
    if let Err(err) = by_reference(req, &mut w).await {
        w.status(500).ok();
        w.write_all(format!("{err}").as_bytes()).ok();
    }
}

async fn sum(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let body = match req.body_mut().bytes() {
        Ok(body) => body,
        Err(err) => return Ok(write!(w, "{err:?}")?),
    };
    // Errors of all kinds become an `Error`.
    let numbers = std::str::from_utf8(&body)?
        .split('+')
        .map(str::parse::<i32>);
    let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
    write!(w, "{}", numbers.iter().sum::<i32>())?;
    Ok(())
}

fn asks(mut conn: Conn) -> Result<(), Error> {
    let mut buffer = Vec::new();
    spawn_function("hello")?.read_to_end(&mut buffer)?;
    conn.wait()?;
    let question = conn.string()?;
    buffer.extend(spawn_and_send("hello", question.as_bytes())?.bytes()?);
    conn.write_all(&buffer)?;
    conn.flush()?;
    Ok(())
}

async fn waits(conn: Conn) {
    conn.await.expect("a good end");
}

/// The `main`s of such functions.
#[allow(dead_code)]
fn mains() -> Result<(), Error> {
    embly::http::run(catch_error)?;
    embly::http::run_catch_error(sum)?;
    embly::run(asks)?;
    embly::run(waits)
}

#[test]
fn handlers_of_http() {
    let response = mock::http(catch_error, Request::get("/").body("").unwrap());
    assert_eq!(
        (response.text(), response.complete),
        ("hello world\n", true)
    );
    let response = mock::http(sum, Request::post("/").body("1+2").unwrap());
    assert_eq!(response.text(), "3");
    let response = mock::http(sum, Request::post("/").body("1+x").unwrap());
    assert_eq!(response.status, 500);
}

#[test]
fn handlers_of_connections() {
    mock::function("hello", |mut conn: Conn| conn.write_all(b"hello "));
    let mut conn = mock::spawn(asks);
    conn.write_all(b"who?").unwrap();
    assert_eq!(conn.string().unwrap(), "hello hello ");

    let mut conn = mock::spawn(waits);
    conn.write_all(b".").unwrap();
    assert!(conn.status().unwrap().is_ok());
}
