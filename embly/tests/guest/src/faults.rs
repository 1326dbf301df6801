//! Functions for tests of faults, leaks and life cycles.

use std::io::Write;
use std::time::Duration;

use embly::http::{self, Body, Request, ResponseWriter};
use embly::prelude::*;
use embly::{Conn, Error, spawn_and_send, spawn_function};

/// Their names.
pub const NAMES: &[&str] = &[
    "sleeps",
    "streams",
    "goes-quiet",
    "chain",
    "link",
    "exits",
    "panics-late",
    "slow",
    "killed",
    "holds",
    "sleeps-on",
];

/// Runs the function of this name.
pub fn run(name: &str) -> Result<(), Error> {
    match name {
        "sleeps" | "slow" | "killed" => http::run(sleeps),
        "streams" => http::run(streams),
        "goes-quiet" => http::run(goes_quiet),
        "chain" => http::run_catch_error(chain),
        "holds" => http::run_catch_error(holds),
        "sleeps-on" => embly::run(sleeps_on),
        "link" => embly::run_catch_error(link),
        "panics-late" => embly::run(panics_late),
        _ => embly::run(exits),
    }
}

/// When it has read something; before, it would be a crash at the start.
fn panics_late(parent: Conn) -> Result<(), Error> {
    parent.wait()?;
    panic!("no luck")
}

/// The same.
fn exits(parent: Conn) -> Result<(), Error> {
    parent.wait()?;
    std::process::exit(3)
}

/// Says so when it begins, sleeps the milliseconds in its path, then answers.
fn sleeps(request: Request<Body>, mut w: ResponseWriter) {
    println!("begun");
    let time = request.uri().path().trim_start_matches('/').parse();
    std::thread::sleep(Duration::from_millis(time.unwrap_or(100)));
    w.write_all(b"slept").expect("the client is there");
}

/// Never ends: a line every 20 ms.
fn streams(_: Request<Body>, mut w: ResponseWriter) {
    loop {
        w.write_all(b"tick\n").expect("the client is there");
        w.flush_response().expect("the client is there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Begins its answer and then says nothing for a minute.
fn goes_quiet(_: Request<Body>, mut w: ResponseWriter) {
    w.write_all(b"and").expect("the client is there");
    w.flush_response().expect("the client is there");
    std::thread::sleep(Duration::from_secs(60));
}

/// Starts a chain of as many children as its path says, each the parent of the next.
fn chain(request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let conn = spawn_function("link")?;
    let mut first = conn;
    first.write_all(request.uri().path().trim_start_matches('/').as_bytes())?;
    conn.close()?;
    w.write_all(conn.string()?.as_bytes())?;
    Ok(())
}

fn link(mut parent: Conn) -> Result<(), Error> {
    let left: u32 = parent
        .string()?
        .parse()
        .map_err(|_| Error::msg("a number is missing"))?;
    let answer = match left {
        0 => "the end".to_owned(),
        _ => spawn_and_send("link", (left - 1).to_string().as_bytes())?.string()?,
    };
    parent.write_all(answer.as_bytes())?;
    Ok(())
}

/// Starts three children and waits for the last.
fn holds(_: Request<Body>, _: ResponseWriter) -> Result<(), Error> {
    for _ in 0..2 {
        spawn_function("sleeps-on")?;
    }
    spawn_function("sleeps-on")?.wait()
}

fn sleeps_on(_: Conn) {
    println!("begun");
    std::thread::sleep(Duration::from_secs(60));
}
