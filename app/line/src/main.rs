//! The board in a terminal: `nc HOST 8083`.

use embly::{Conn, Error, prelude::*, run};
use futures_util::future::{Either, select};
use kit::{Credentials, Live, NewPost, Post, Posted, Verdict, ask};
use std::pin::pin;

const HELLO: &str = "You see what is said on the board. To say something: `in NAME PASSWORD`, \
                     and then one line at a time. `out` to leave.\n";

/// A line of more bytes is nobody's.
const LONGEST: usize = 4 * kit::LONGEST + 64;

async fn execute(mut conn: Conn) -> Result<(), Error> {
    conn.write_all(HELLO.as_bytes())?;
    let (posts, mut live) = Live::begin().await?;
    for post in &posts {
        show(&mut conn, post)?;
    }
    let mut visitor = Visitor::default();
    loop {
        while let Some(line) = visitor.line() {
            if line == "out" {
                return Ok(());
            }
            let answer = visitor.says(&line).await?;
            conn.write_all(answer.as_bytes())?;
        }
        if visitor.text.len() > LONGEST {
            return Ok(conn.write_all(b"! that line has no end\n")?);
        }
        match select(pin!(async { conn.await }), pin!(live.next())).await {
            Either::Left((ready, _)) => {
                ready?;
                match conn.bytes()? {
                    more if more.is_empty() => return Ok(()),
                    more => visitor.text.extend(more),
                }
            }
            Either::Right((post, _)) => show(&mut conn, &post?)?,
        }
    }
}

fn show(conn: &mut Conn, post: &Post) -> Result<(), Error> {
    let text = post.text.replace('\n', "\n    ");
    Ok(writeln!(conn, "{}: {text}", post.author)?)
}

#[derive(Default)]
struct Visitor {
    user: Option<String>,
    /// What has come and was not read yet.
    text: Vec<u8>,
}

impl Visitor {
    /// The next whole line.
    fn line(&mut self) -> Option<String> {
        let end = self.text.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.text.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim().to_owned())
    }

    /// What is answered to a line; what was posted is shown with all else.
    async fn says(&mut self, line: &str) -> Result<String, Error> {
        if let Some(rest) = line.strip_prefix("in ") {
            return self.signs_in(rest).await;
        }
        let Some(author) = self.user.clone() else {
            return Ok("! first: in NAME PASSWORD\n".to_owned());
        };
        if line.is_empty() {
            return Ok(String::new());
        }
        let text = line.to_owned();
        Ok(match ask("post", &NewPost { author, text }).await? {
            Posted::Post(_) => String::new(),
            Posted::Refused(why) => format!("! {why}\n"),
        })
    }

    async fn signs_in(&mut self, rest: &str) -> Result<String, Error> {
        let Some((name, password)) = rest.split_once(' ') else {
            return Ok("! in NAME PASSWORD\n".to_owned());
        };
        let (name, password) = (name.to_owned(), password.to_owned());
        Ok(
            match ask("credentials", &Credentials::Check { name, password }).await? {
                Verdict::Yes { name, .. } => {
                    let hello = format!("* you are {name}\n");
                    self.user = Some(name);
                    hello
                }
                _ => "! not allowed\n".to_owned(),
            },
        )
    }
}

fn main() -> Result<(), Error> {
    run(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::{
        mock::{self, Answer, Sql},
        sql::params,
    };

    #[test]
    fn a_visitor_signs_in_speaks_and_leaves() {
        Sql::new().answer(
            "SELECT id, author, text, at FROM posts ORDER BY id DESC LIMIT ?",
            Answer::rows(
                ["id", "author", "text", "at"],
                [params![1, "bea", "first\nof two", 1000]],
            ),
        );
        mock::function("credentials", |conn: Conn| {
            kit::answer(conn, async |question| match question {
                Credentials::Check { name, password } if password == "right one" => {
                    let email = String::new();
                    Ok(Verdict::Yes { name, email })
                }
                _ => Ok(Verdict::No),
            })
        });
        mock::function("post", |conn: Conn| {
            kit::answer(conn, async |new: NewPost| {
                Ok(Posted::Refused(format!("{} said {}", new.author, new.text)))
            })
        });
        let mut client = mock::spawn(execute);
        let lines = "hello\nin ann wrong\nin ann right one\nhello \r\nout\n";
        client.write_all(lines.as_bytes()).unwrap();
        let mut told = String::new();
        client.read_to_string(&mut told).unwrap();
        let told = told.strip_prefix(HELLO).unwrap();
        assert_eq!(
            told,
            "bea: first\n    of two\n! first: in NAME PASSWORD\n! not allowed\n\
             * you are ann\n! ann said hello\n"
        );
    }

    #[test]
    fn a_line_without_an_end_is_not_waited_for() {
        Sql::new().answer(
            "SELECT id, author, text, at FROM posts ORDER BY id DESC LIMIT ?",
            Answer::rows(["id", "author", "text", "at"], []),
        );
        let mut client = mock::spawn(execute);
        client.write_all(&vec![b'x'; LONGEST + 1]).unwrap();
        let mut told = String::new();
        client.read_to_string(&mut told).unwrap();
        assert!(told.ends_with("! that line has no end\n"), "{told}");
    }
}
