//! Functions behind an HTTP gateway.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use embly::http::{Body, Request, ResponseWriter, forward};
use embly::prelude::*;
use embly::{Conn, Error, SpawnOptions};

use crate::script;

pub fn hello(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    w.write_all(b"hello")?;
    Ok(())
}

/// 1 in a process that has run nothing before.
pub fn counts(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    write!(w, "{}", CALLS.fetch_add(1, Ordering::Relaxed) + 1)?;
    Ok(())
}

pub fn fails(_: Request<Body>, _: ResponseWriter) -> Result<(), Error> {
    Err(Error::msg("the dog ate it"))
}

pub fn fails_late(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    w.write_all(b"so far, so ")?;
    w.flush_response()?;
    Err(Error::msg("the dog ate it"))
}

/// Hands the request to the function that its path names, which may take 500 ms.
pub async fn forwards(request: Request<Body>, w: ResponseWriter) -> Result<(), Error> {
    let name = request.uri().path().trim_start_matches('/').to_owned();
    let function = SpawnOptions::new(name).wall(Duration::from_millis(500));
    forward(&function, request, w).await
}

/// How long the body is.
pub fn measures(mut request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let mut bytes = 0;
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match request.body_mut().read(&mut chunk)? {
            0 => break,
            n => bytes += n,
        }
    }
    write!(w, "{bytes}")?;
    Ok(())
}

/// Each piece of the body as soon as it comes.
pub async fn mirrors(mut request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    w.flush_response()?;
    let mut chunks = request.body_mut().chunks();
    while let Some(chunk) = chunks.next().await {
        w.write_all(&chunk?)?;
        w.flush_response()?;
    }
    Ok(())
}

/// As many bytes as the query says.
pub fn pours(request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let bytes: u64 = request.uri().query().unwrap_or("0").parse()?;
    script::fill(&mut w, bytes)
}

/// The body and what follows it.
pub fn trailers(mut request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let body = request.body_mut().bytes()?;
    w.write_all(&body)?;
    for (name, value) in request.body().trailers().into_iter().flatten() {
        write!(w, " {name}={}", value.to_str()?)?;
    }
    Ok(())
}

/// The bytes of the whole request, as its own answer.
pub fn shows(mut conn: Conn) -> Result<(), Error> {
    let mut request = Vec::new();
    conn.read_to_end(&mut request)?;
    let length = request.len();
    write!(conn, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
    conn.write_all(&request)?;
    Ok(())
}

/// Tells the log the bytes of the whole request, escaped; it has no more to say.
pub fn reports(mut conn: Conn) -> Result<(), Error> {
    let mut request = Vec::new();
    conn.read_to_end(&mut request)?;
    println!("{}", request.escape_ascii());
    conn.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    Ok(())
}

/// The body of the request, byte for byte, as the whole answer.
pub fn says(mut conn: Conn) -> Result<(), Error> {
    let mut request = Vec::new();
    conn.read_to_end(&mut request)?;
    let head = request.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let head = head.ok_or_else(|| Error::msg("a request without an end"))?;
    conn.write_all(&request[head + 4..])?;
    Ok(())
}

/// Three events, each sent as it happens.
pub async fn events(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    w.header("content-type", "text/event-stream")?;
    for n in 1..=3 {
        write!(w, "data: {n}\n\n")?;
        w.flush_response()?;
        embly::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
