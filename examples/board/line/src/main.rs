//! The board over tcp: what the client sends goes to the board, what that says comes back.

use embly::{Conn, Error, join, lookup, run};

async fn execute(client: Conn) -> Result<(), Error> {
    let board = lookup("board")?;
    // Both ways at once: neither side has to be done before the other one speaks.
    let (there, back) = join!(pass(client, board), pass(board, client));
    there.and(back)
}

async fn pass(from: Conn, to: Conn) -> Result<(), Error> {
    loop {
        from.await?;
        let bytes = from.bytes()?;
        if bytes.is_empty() {
            return to.close();
        }
        to.send(&bytes).await?;
    }
}

fn main() -> Result<(), Error> {
    run(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::{accept, mock, prelude::*, register};

    #[test]
    fn bytes_go_both_ways() {
        mock::spawn(|_: Conn| -> Result<(), Error> {
            register("board")?;
            let mut visitor = accept().wait();
            let mut text = String::new();
            visitor.read_to_string(&mut text)?;
            Ok(visitor.write_all(text.to_uppercase().as_bytes())?)
        });
        embly::sleep(std::time::Duration::from_secs(1)).wait();
        let mut client = mock::spawn(execute);
        client.write_all(b"hello").unwrap();
        client.close().unwrap();
        assert_eq!(client.string().unwrap(), "HELLO");
    }
}
