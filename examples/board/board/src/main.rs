//! Keeps the lines that visitors bring, and shows each of them all.

use embly::{Conn, Error, accept, prelude::*, register, run};

/// Older lines go when there are more.
const LINES: usize = 100;

async fn board(_: Conn) -> Result<(), Error> {
    register("board")?;
    println!("open");
    let mut lines = Vec::new();
    loop {
        let visitor = accept().await;
        // What goes wrong with one visitor is no reason to close for the others.
        if let Err(error) = serve(visitor, &mut lines).await {
            println!("a visitor left: {error}");
        }
    }
}

/// Takes lines until the visitor has no more, and answers with all that there are.
async fn serve(mut visitor: Conn, lines: &mut Vec<String>) -> Result<(), Error> {
    let mut text = String::new();
    loop {
        visitor.await?;
        match visitor.string()? {
            more if more.is_empty() => break,
            more => text += &more,
        }
    }
    lines.extend(text.lines().map(str::to_owned));
    lines.drain(..lines.len().saturating_sub(LINES));
    for (n, line) in lines.iter().enumerate() {
        writeln!(visitor, "{}: {line}", n + 1)?;
    }
    visitor.close()
}

fn main() -> Result<(), Error> {
    run(board)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::{lookup, mock};

    fn visit(text: &str) -> String {
        let mut board = lookup("board").unwrap();
        board.write_all(text.as_bytes()).unwrap();
        board.close().unwrap();
        let mut lines = String::new();
        board.read_to_string(&mut lines).unwrap();
        lines
    }

    #[test]
    fn a_visitor_sees_what_others_have_left() {
        mock::spawn(board);
        embly::sleep(std::time::Duration::from_secs(1)).wait();
        assert_eq!(visit("one\n"), "1: one\n");
        assert_eq!(visit("two\nthree\n"), "1: one\n2: two\n3: three\n");
        assert_eq!(visit(""), "1: one\n2: two\n3: three\n");
    }

    #[test]
    fn old_lines_go() {
        mock::spawn(board);
        embly::sleep(std::time::Duration::from_secs(1)).wait();
        let many: String = (0..LINES + 5).map(|n| format!("{n}\n")).collect();
        let lines = visit(&many);
        assert_eq!(lines.lines().count(), LINES);
        assert!(lines.starts_with("1: 5\n"));
    }
}
