//! Functions that are warned before they reach a limit.

use std::io::{Read, Write};

use embly::http::{Body, Request, ResponseWriter};
use embly::{Conn, Error, block_on, on_warning, warned, warning};

/// Waits until it is warned, and then answers.
pub fn says_goodbye(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let limit = block_on(warning());
    write!(w, "goodbye at {limit}")?;
    Ok(())
}

/// Reads to the end, and waves when it is warned.
pub fn waves(mut conn: Conn) -> Result<(), Error> {
    on_warning(move |limit| writeln!(conn, "goodbye at {limit}").expect("the client is there"));
    conn.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Computes until it is warned, and then answers.
pub fn computes(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let mut steps = 0_u64;
    let limit = loop {
        for _ in 0..10_000 {
            steps = std::hint::black_box(steps + 1);
        }
        if let Some(limit) = warned() {
            break limit;
        }
    };
    write!(w, "goodbye at {limit}")?;
    Ok(())
}
