//! Functions that call services, whichever the test names.

use embly::{
    Conn, Error, Reason, SpawnOptions,
    http::{Body, Request, ResponseWriter},
    prelude::*,
    spawn_function, spawn_with,
};
use std::time::Duration;

/// `POST /SERVICE?OPTION` calls the service, writes the body of the request and closes; the answer is
/// how the call ended, and what it said.
pub fn calls(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let name = req.uri().path()[1..].to_owned();
    let options = SpawnOptions::new(name);
    let options = match req.uri().query() {
        Some("args") => options.arg("x"),
        Some("env") => options.env("A", "1"),
        Some("detached") => options.detached(),
        Some("wall") => options.wall(Duration::from_millis(100)),
        Some("idle") => options.idle(Duration::from_millis(100)),
        _ => options,
    };
    let body = req.body_mut().bytes()?;
    let mut call = spawn_with(&options)?;
    // One that was refused takes nothing.
    let _ = call.write_all(&body);
    match req.uri().query() {
        Some("kill") => embly::kill(call)?,
        Some("wall" | "idle") => {}
        _ => drop(call.close()),
    }
    let exit = call.status()?;
    let said = match call.bytes() {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    };
    write!(w, "{} {} {}: {said}", exit.reason, exit.code, exit.detail)?;
    Ok(())
}

/// Starts itself as deep as it may; the deepest reads a key.
pub fn digs(mut parent: Conn) -> Result<(), Error> {
    let deeper = match spawn_function("digs") {
        Ok(child) => child.string(),
        Err(_) => embly::block_on(embly::kv::get(b"deep"))
            .map(|value| String::from_utf8_lossy(&value).into_owned()),
    };
    parent.write_all(deeper?.as_bytes())?;
    Ok(())
}

/// Opens as many calls as it may, and says how many that were.
pub fn opens(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let mut calls = Vec::new();
    let refused = loop {
        match spawn_function("embly/kv/get") {
            Ok(call) => calls.push(call),
            Err(error) => break error,
        }
    };
    write!(w, "{} {refused}", calls.len())?;
    for call in calls {
        embly::kill(call)?;
        assert_eq!(call.status()?.reason, Reason::Killed);
    }
    Ok(())
}
