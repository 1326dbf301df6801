//! Puts what somebody says on the board, and tells all who look on.

use embly::{
    Conn, Error,
    kv::Store,
    run,
    sql::{self, params},
};
use kit::{LONGEST, NewPost, Post, Posted, live_key};
use std::time::Duration;

const ADD: &str = "INSERT INTO posts (author, text) VALUES (?, ?)";
const GET: &str = "SELECT id, author, text, at FROM posts WHERE id = ?";
const LATELY: &str = "SELECT count(*) FROM posts WHERE author = ? AND at > unixepoch() - 60";

/// Posts of one author in a minute.
const OFTEN: i64 = 30;

/// Who looks on has seen it by then, or reads the table.
const KEPT: Duration = Duration::from_secs(60);

async fn execute(conn: Conn) -> Result<(), Error> {
    kit::answer(conn, post).await
}

async fn post(new: NewPost) -> Result<Posted, Error> {
    let text = new.text.trim();
    if text.is_empty() {
        return refused("there is nothing to say");
    }
    if text.chars().count() > LONGEST {
        return refused(&format!("that has more than {LONGEST} characters"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return refused("that has characters which nobody can see");
    }
    let mut db = sql::open("board")?;
    let (lately,): (i64,) = db.query_one(LATELY, params![&*new.author]).await?;
    if lately >= OFTEN {
        return refused("that is a lot in a minute: wait a little");
    }
    let done = db.execute(ADD, params![new.author, text]).await?;
    let post: Post = db.query_one(GET, params![done.last_insert_id]).await?;
    tell(&post).await?;
    Ok(Posted::Post(post))
}

fn refused(why: &str) -> Result<Posted, Error> {
    Ok(Posted::Refused(why.to_owned()))
}

async fn tell(post: &Post) -> Result<(), Error> {
    let json = serde_json::to_vec(post)?;
    let live = Store::open("live")?;
    live.set_for(live_key(post.id).as_bytes(), &json, KEPT)
        .await?;
    kit::tell(&json)
}

fn main() -> Result<(), Error> {
    run(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::mock::{self, Answer, Sql};

    fn say(text: &str, lately: i64) -> Posted {
        let sql = Sql::new();
        sql.answer(LATELY, Answer::rows(["count(*)"], [params![lately]]));
        sql.answer(ADD, Answer::changed(1).last_insert_id(7));
        let row = params![7, "ann", text.trim(), 1000];
        sql.answer(GET, Answer::rows(["id", "author", "text", "at"], [row]));
        mock::function("webhook", |conn: Conn| conn.string().map(drop));
        mock::function("post", execute);
        let (author, text) = ("ann".to_owned(), text.to_owned());
        let new = NewPost { author, text };
        embly::block_on(async move { kit::ask("post", &new).await.unwrap() })
    }

    #[test]
    fn what_is_said_is_told_to_those_who_look_on() {
        let Posted::Post(post) = say(" hello ", 0) else {
            panic!("refused");
        };
        assert_eq!((post.id, &*post.text), (7, "hello"));
        let told = Store::open("live")
            .unwrap()
            .get(live_key(7).as_bytes())
            .wait();
        let told: Post = serde_json::from_slice(&told.unwrap().unwrap()).unwrap();
        assert_eq!(told, post);
    }

    #[test]
    fn what_is_too_much_is_refused() {
        for (text, lately) in [
            (" \n ", 0),
            (&*"x".repeat(LONGEST + 1), 0),
            ("bell \u{7}", 0),
            ("hello", OFTEN),
        ] {
            assert!(matches!(say(text, lately), Posted::Refused(_)), "{text}");
        }
    }
}
