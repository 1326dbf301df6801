//! `/api/search?q=`: posts that have all these words, the best first.

use embly::{
    Error,
    http::{Body, Request, ResponseWriter, run_catch_error},
    prelude::*,
    sql::{self, params},
};
use kit::Post;
use serde::Serialize;

const SEARCH: &str = "SELECT posts.id, author, posts.text, at FROM words JOIN posts ON posts.id = words.rowid \
                      WHERE words MATCH ? ORDER BY rank LIMIT 50";

/// Words of a question.
const WORDS: usize = 16;

#[derive(Serialize)]
struct Found {
    posts: Vec<Post>,
}

async fn execute(req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let question = words(&asked(req.uri().query().unwrap_or_default()));
    let mut posts = Vec::new();
    if !question.is_empty() {
        let mut db = sql::open_read("board")?;
        posts = db.query_all(SEARCH, params![question]).await?;
    }
    w.header("Content-Type", "application/json")?;
    Ok(w.write_all(&serde_json::to_vec(&Found { posts })?)?)
}

/// What stands behind `q` in a query.
fn asked(query: &str) -> String {
    let mut pairs = query.split('&');
    let value = pairs.find_map(|pair| pair.strip_prefix("q="));
    let value = value.unwrap_or_default().replace('+', " ");
    let mut rest = value.as_bytes();
    let mut text = Vec::new();
    while let [byte, after @ ..] = rest {
        let code = after.get(..2).filter(|_| *byte == b'%');
        let code = code.and_then(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok());
        text.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Each word, or one that begins so. In quotes nothing has a meaning of its own to FTS5.
fn words(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric());
    let words = words.filter(|word| !word.is_empty()).take(WORDS);
    let words: Vec<_> = words.map(|word| format!("\"{word}\"*")).collect();
    words.join(" ")
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::mock::{self, Answer, Sql};

    #[test]
    fn words_are_asked_for_and_nothing_else() {
        for (query, question) in [
            ("q=hello", "\"hello\"*"),
            ("a=1&q=caf%C3%A9+au%20lait", "\"café\"* \"au\"* \"lait\"*"),
            ("q=a%22+OR+b*", "\"a\"* \"OR\"* \"b\"*"),
            ("q=100%", "\"100\"*"),
            ("q=%%%", ""),
            ("", ""),
        ] {
            assert_eq!(words(&asked(query)), question, "{query}");
        }
        assert_eq!(words(&"w ".repeat(99)).split(' ').count(), WORDS);
    }

    #[test]
    fn what_is_found_is_the_answer() {
        let row = params![1, "ann", "hello", 1000];
        Sql::new().answer(SEARCH, Answer::rows(["id", "author", "text", "at"], [row]));
        let answer = mock::http(execute, Request::get("/?q=hel").body("").unwrap());
        assert_eq!(
            answer.text(),
            r#"{"posts":[{"id":1,"author":"ann","text":"hello","at":1000}]}"#
        );
        let answer = mock::http(execute, Request::get("/?q=").body("").unwrap());
        assert_eq!(answer.text(), r#"{"posts":[]}"#);
    }
}
