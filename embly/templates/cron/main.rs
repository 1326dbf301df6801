//! What is done again and again. What it prints is its log; an error, or a panic, is a warning there.

use embly::{Conn, Error, run};
use std::time::SystemTime;

fn execute(_: Conn) -> Result<(), Error> {
    let seconds = SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
    println!("{seconds} seconds since 1970");
    Ok(())
}

fn main() -> Result<(), Error> {
    run(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::mock;

    #[test]
    fn a_run_ends_well() {
        assert!(mock::spawn(execute).status().unwrap().is_ok());
    }
}
