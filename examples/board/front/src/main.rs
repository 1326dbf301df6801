//! The board over http: a POST adds lines, and every answer shows all of them.

use embly::{
    Error, Reason,
    http::{Body, Request, ResponseWriter, run_catch_error},
    lookup,
    prelude::*,
};

async fn execute(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let line = req.body_mut().bytes()?;
    w.header("Content-Type", "text/plain")?;
    match ask(&line) {
        Ok(lines) => w.write_all(lines.as_bytes())?,
        // Nobody has the name: the board is being started again.
        Err(error)
            if error
                .exit()
                .is_some_and(|exit| exit.reason == Reason::Refused) =>
        {
            w.status(503)?;
            w.write_all(b"the board is closed, come back in a moment\n")?;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn ask(line: &[u8]) -> Result<String, Error> {
    let mut board = lookup("board")?;
    board.write_all(line)?;
    board.close()?;
    let mut lines = String::new();
    board.read_to_string(&mut lines)?;
    Ok(lines)
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::{Conn, accept, mock, register};

    #[test]
    fn a_closed_board_is_a_503() {
        let response = mock::http(execute, Request::get("/").body("").unwrap());
        assert_eq!(response.status, 503);
    }

    #[test]
    fn what_the_board_says_is_the_answer() {
        mock::spawn(|_: Conn| -> Result<(), Error> {
            register("board")?;
            let mut visitor = accept().wait();
            let mut line = String::new();
            visitor.read_to_string(&mut line)?;
            Ok(write!(visitor, "1: {line}")?)
        });
        embly::sleep(std::time::Duration::from_secs(1)).wait();
        let response = mock::http(execute, Request::post("/").body("hi").unwrap());
        assert_eq!(response.text(), "1: hi");
    }
}
