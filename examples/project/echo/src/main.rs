//! Answers every line; one process per connection.

use embly::{Conn, Error, prelude::*};
use std::{
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader},
    time::SystemTime,
};

fn execute(mut conn: Conn) -> Result<(), Error> {
    let mut lines = BufReader::new(conn);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let time = SystemTime::UNIX_EPOCH.elapsed()?;
        println!("time {:.3}, random {}", time.as_secs_f64(), random());

        let end: &[u8] = if line.ends_with(b"\n") { b"" } else { b"\n" };
        conn.write_all(&[b"from embly: ", &line[..], end].concat())?;
        line.clear();
    }
    Ok(())
}

/// A random number without a crate for it: the standard library has random keys for its hashes.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

fn main() -> Result<(), Error> {
    embly::run(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::mock;

    #[test]
    fn answers_line_after_line() {
        let mut conn = mock::spawn(execute);
        for _ in 0..3 {
            conn.write_all(b"hi\n").unwrap();
            assert_eq!(conn.string().unwrap(), "from embly: hi\n");
        }
        conn.close().unwrap();
        assert!(conn.status().unwrap().is_ok());
    }

    #[test]
    fn lines_count_not_pieces() {
        let mut conn = mock::spawn(execute);
        conn.write_all(b"one\ntw").unwrap();
        assert_eq!(conn.string().unwrap(), "from embly: one\n");
        conn.write_all(b"o\nthree").unwrap();
        conn.close().unwrap();
        let mut rest = String::new();
        conn.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "from embly: two\nfrom embly: three\n");
    }

    #[test]
    fn two_random_numbers_differ() {
        assert_ne!(random(), random());
    }
}
