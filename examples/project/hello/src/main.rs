//! Started by `listener`: says who it is.

use embly::{Conn, Error, prelude::*};

fn execute(mut conn: Conn) -> Result<(), Error> {
    conn.write_all(b"Embly\n")?;
    Ok(())
}

fn main() -> Result<(), Error> {
    embly::run(execute)
}

#[test]
fn says_who_it_is() {
    assert_eq!(embly::mock::spawn(execute).string().unwrap(), "Embly\n");
}
