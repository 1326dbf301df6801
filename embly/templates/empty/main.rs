//! Reads what it is given, and answers.

use embly::{Conn, Error, prelude::*, run};

fn execute(mut conn: Conn) -> Result<(), Error> {
    let mut name = String::new();
    conn.read_to_string(&mut name)?;
    writeln!(conn, "Hello {}", name.trim())?;
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
    fn says_hello_to_whom_it_is_told() {
        let mut conn = mock::spawn(execute);
        conn.write_all(b"you\n").unwrap();
        conn.close().unwrap();
        assert_eq!(conn.string().unwrap(), "Hello you\n");
    }
}
