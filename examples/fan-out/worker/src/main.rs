//! Counts the words and bytes of what it is given, and answers `WORDS BYTES`.

use embly::{Conn, Error, prelude::*};

fn execute(mut conn: Conn) -> Result<(), Error> {
    let mut part = Vec::new();
    conn.read_to_end(&mut part)?;
    let words = part
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .count();
    write!(conn, "{words} {}", part.len())?;
    Ok(())
}

fn main() -> Result<(), Error> {
    embly::run(execute)
}

#[test]
fn counts() {
    let mut conn = embly::mock::spawn(execute);
    conn.write_all(b" a few\nwords ").unwrap();
    conn.close().unwrap();
    assert_eq!(conn.string().unwrap(), "3 13");
}
