//! Every function that the end-to-end tests run: one crate, and a function does what its name
//! says (the name is the first argument).

mod faults;

use std::io::{Read, Write};

use embly::http::{self, Body, Request, ResponseWriter};
use embly::prelude::*;
use embly::{Conn, Error};

fn main() -> Result<(), Error> {
    let name = std::env::args().next().unwrap_or_default();
    match name.as_str() {
        "hello" => http::run(|_: Request<Body>, mut w: ResponseWriter| {
            w.write_all(b"hello").expect("the client is there");
        }),
        "echo" => embly::run(echo),
        "panics" => panic!("no luck"),
        other if faults::NAMES.contains(&other) => faults::run(other),
        other => {
            eprintln!("there is no guest {other}");
            std::process::exit(70)
        }
    }
}

fn echo(mut conn: Conn) {
    loop {
        let bytes = conn.bytes().expect("the parent is there");
        if bytes.is_empty() {
            return;
        }
        conn.write_all(&bytes).expect("the parent is there");
    }
}
