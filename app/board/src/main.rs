//! The board over a WebSocket: everyone sees at once what is said, and who is signed in can say
//! something.

use embly::{
    Error,
    websocket::{Message, Socket, run},
};
use futures_util::future::{Either, select};
use kit::{Live, NewPost, Post, Posted, ask, session};
use serde::{Deserialize, Serialize};
use std::pin::pin;

/// What a client says.
#[derive(Deserialize)]
struct Said {
    text: String,
}

/// What it is told.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Told<'a> {
    /// At first: who one is, and the last posts.
    Hello {
        user: Option<&'a str>,
        posts: Vec<Post>,
    },
    Post(Post),
    /// What one said was not taken.
    Refused(&'a str),
}

async fn execute(socket: Socket) -> Result<(), Error> {
    let user = session::user(socket.head().headers()).await?;
    let user = user.as_deref();
    let (posts, mut live) = Live::begin().await?;
    tell(&socket, Told::Hello { user, posts }).await?;
    loop {
        match select(pin!(socket.receive()), pin!(live.next())).await {
            Either::Left((message, _)) => match message? {
                Some(Message::Text(text)) => say(&socket, user, &text).await?,
                Some(_) => {}
                None => return Ok(()),
            },
            Either::Right((post, _)) => tell(&socket, Told::Post(post?)).await?,
        }
    }
}

/// Those who look on, this one too, are told by the board.
async fn say(socket: &Socket, user: Option<&str>, text: &str) -> Result<(), Error> {
    let Some(author) = user else {
        return tell(socket, Told::Refused("sign in to say something")).await;
    };
    let Ok(Said { text }) = serde_json::from_str(text) else {
        return tell(
            socket,
            Told::Refused("that is not what the board understands"),
        )
        .await;
    };
    let author = author.to_owned();
    match ask("post", &NewPost { author, text }).await? {
        Posted::Post(_) => Ok(()),
        Posted::Refused(why) => tell(socket, Told::Refused(&why)).await,
    }
}

async fn tell(socket: &Socket, what: Told<'_>) -> Result<(), Error> {
    socket.send(serde_json::to_string(&what)?).await
}

fn main() -> Result<(), Error> {
    run(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::{
        Conn,
        http::Request,
        kv::Store,
        mock::{self, Answer, Sql},
        sql::params,
    };

    /// A board with one post, and a stand-in that takes what is said.
    fn open(cookie: Option<String>) -> Socket {
        let sql = Sql::new();
        sql.answer(
            "SELECT id, author, text, at FROM posts ORDER BY id DESC LIMIT ?",
            Answer::rows(
                ["id", "author", "text", "at"],
                [params![1, "bea", "first", 1000]],
            ),
        );
        mock::function("post", |conn: Conn| {
            kit::answer(conn, async |new: NewPost| {
                if new.text.is_empty() {
                    return Ok(Posted::Refused("nothing".into()));
                }
                let (author, text) = (new.author, new.text);
                let post = Post {
                    id: 2,
                    author,
                    text,
                    at: 1001,
                };
                let live = Store::open("live")?;
                live.set(kit::live_key(2).as_bytes(), &serde_json::to_vec(&post)?)
                    .await?;
                Ok(Posted::Post(post))
            })
        });
        let mut request = Request::get("/board");
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        mock::websocket(execute, request.body(()).unwrap())
    }

    fn next(socket: &Socket) -> String {
        match socket.receive().wait().unwrap() {
            Some(Message::Text(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_is_signed_in_is_seen_at_once() {
        let cookie = embly::block_on(session::begin("ann", false)).unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let socket = open(Some(cookie));
        assert_eq!(
            next(&socket),
            r#"{"hello":{"user":"ann","posts":[{"id":1,"author":"bea","text":"first","at":1000}]}}"#
        );
        socket.send(r#"{"text":"second"}"#).wait().unwrap();
        assert_eq!(
            next(&socket),
            r#"{"post":{"id":2,"author":"ann","text":"second","at":1001}}"#
        );
        socket.send(r#"{"text":""}"#).wait().unwrap();
        assert_eq!(next(&socket), r#"{"refused":"nothing"}"#);
        socket.send("no JSON").wait().unwrap();
        assert!(next(&socket).starts_with(r#"{"refused""#));
    }

    #[test]
    fn who_is_not_signed_in_looks_on() {
        let socket = open(None);
        assert!(next(&socket).starts_with(r#"{"hello":{"user":null,"#));
        socket.send(r#"{"text":"me too"}"#).wait().unwrap();
        assert_eq!(next(&socket), r#"{"refused":"sign in to say something"}"#);
    }
}
