//! Answers each line that a client sends; one process for each connection.

use embly::{Conn, Error, prelude::*};
use std::io::{BufRead, BufReader};

fn execute(mut conn: Conn) -> Result<(), Error> {
    for line in BufReader::new(conn).lines() {
        writeln!(conn, "You said {}", line?)?;
    }
    Ok(())
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
        for word in ["one", "two"] {
            writeln!(conn, "{word}").unwrap();
            assert_eq!(conn.string().unwrap(), format!("You said {word}\n"));
        }
        conn.close().unwrap();
        assert!(conn.status().unwrap().is_ok());
    }
}
