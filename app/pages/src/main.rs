//! Pages that need no script: `/u/{name}` with what somebody has said, and `/digest`.

mod page;

use embly::{
    Error,
    http::{Body, Request, ResponseWriter, run_catch_error},
    prelude::*,
    sql::{self, params},
};
use kit::Post;

const OF: &str =
    "SELECT id, author, text, at FROM posts WHERE author = ? ORDER BY id DESC LIMIT 100";
const DIGEST: &str = "SELECT text, at FROM digests ORDER BY id DESC LIMIT 24";

async fn execute(req: Request<Body>, w: ResponseWriter) -> Result<(), Error> {
    let name = req.headers().get("embly-param-name");
    match name.and_then(|name| name.to_str().ok()) {
        Some(name) => person(name, w).await,
        None => digests(w).await,
    }
}

async fn person(name: &str, w: ResponseWriter) -> Result<(), Error> {
    let mut db = sql::open_read("board")?;
    let posts: Vec<Post> = db.query_all(OF, params![name]).await?;
    let status = if posts.is_empty() { 404 } else { 200 };
    send(w, status, &page::person(name, &posts))
}

async fn digests(w: ResponseWriter) -> Result<(), Error> {
    let mut db = sql::open_read("board")?;
    let digests: Vec<(String, i64)> = db.query_all(DIGEST, ()).await?;
    send(w, 200, &page::digests(&digests))
}

fn send(mut w: ResponseWriter, status: u16, page: &str) -> Result<(), Error> {
    w.status(status)?;
    w.header("Content-Type", "text/html; charset=utf-8")?;
    w.header("Cache-Control", "no-cache")?;
    Ok(w.write_all(page.as_bytes())?)
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::mock::{self, Answer, Sql};

    fn person(name: &str, rows: Vec<sql::Params>) -> mock::Response {
        let columns = ["id", "author", "text", "at"];
        Sql::new().answer(OF, Answer::rows(columns, rows));
        let request = Request::get("/").header("embly-param-name", name);
        mock::http(execute, request.body("").unwrap())
    }

    #[test]
    fn what_somebody_has_said_is_shown_as_text() {
        let row = params![1, "ann", "<b>hi</b>", 1000];
        let answer = person("ann", vec![row]);
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("&lt;b&gt;hi&lt;/b&gt;"));
        assert!(answer.text().contains("1970-01-01 00:16"));
        let answer = person("<nobody>", Vec::new());
        assert_eq!(answer.status, 404);
        assert!(answer.text().contains("&lt;nobody&gt;"));
    }

    #[test]
    fn digests_are_shown() {
        let row = params!["3 posts of ann", 0];
        Sql::new().answer(DIGEST, Answer::rows(["text", "at"], [row]));
        let answer = mock::http(execute, Request::get("/digest").body("").unwrap());
        assert!(answer.text().contains("3 posts of ann"));
    }
}
