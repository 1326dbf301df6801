//! What is done each hour. What it prints is its log.

use embly::{Conn, Error, run};

fn execute(_: Conn) -> Result<(), Error> {
    println!("an hour has passed");
    Ok(())
}

fn main() -> Result<(), Error> {
    run(execute)
}
