//! Each hour: who has said how much since the last digest.

use embly::{
    Conn, Error, log, run,
    sql::{self, params},
};

const LAST: &str = "SELECT until FROM digests ORDER BY id DESC LIMIT 1";
const COUNT: &str = "SELECT author, count(*), max(id) FROM posts WHERE id > ? \
                     GROUP BY author ORDER BY count(*) DESC, author";
const ADD: &str = "INSERT INTO digests (until, posts, text) VALUES (?, ?, ?)";

/// Authors that are named.
const NAMED: usize = 5;

async fn execute(_: Conn) -> Result<(), Error> {
    let mut db = sql::open("board")?;
    let last: Option<(i64,)> = db.query_optional(LAST, ()).await?;
    let last = last.map_or(0, |(until,)| until);
    let counts: Vec<(String, i64, i64)> = db.query_all(COUNT, params![last]).await?;
    let Some(until) = counts.iter().map(|(_, _, id)| *id).max() else {
        log::debug!("nothing was said");
        return Ok(());
    };
    let posts = counts.iter().map(|(_, posts, _)| posts).sum();
    let text = text(posts, &counts);
    db.execute(ADD, params![until, posts, &*text]).await?;
    log::info!("{text}");
    let event = serde_json::json!({ "digest": text });
    kit::tell(&serde_json::to_vec(&event)?)
}

fn text(posts: i64, counts: &[(String, i64, i64)]) -> String {
    let names = counts.iter().take(NAMED);
    let names: Vec<_> = names
        .map(|(author, posts, _)| format!("{author} ({posts})"))
        .collect();
    let more = match counts.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let posts = if posts == 1 {
        "1 post".to_owned()
    } else {
        format!("{posts} posts")
    };
    format!("{posts}: {}{more}", names.join(", "))
}

fn main() -> Result<(), Error> {
    run(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::mock::{self, Answer, Sql};

    fn run(rows: Vec<sql::Params>) -> (Sql, String) {
        let sql = Sql::new();
        sql.answer(LAST, Answer::rows(["until"], [params![10]]));
        sql.answer(COUNT, Answer::rows(["author", "count(*)", "max(id)"], rows));
        sql.answer(ADD, Answer::changed(1));
        mock::function("webhook", |conn: Conn| conn.string().map(drop));
        let end = mock::spawn(execute).status().unwrap();
        (sql, end.reason.to_string())
    }

    #[test]
    fn an_hour_is_summed_up() {
        let rows = vec![params!["bea", 2, 12], params!["ann", 1, 13]];
        let (sql, reason) = run(rows);
        assert_eq!(reason, "ok");
        let asked = format!("{:?}", sql.asked());
        assert!(asked.contains("3 posts: bea (2), ann (1)"), "{asked}");
    }

    #[test]
    fn a_quiet_hour_has_no_digest() {
        let (sql, reason) = run(Vec::new());
        assert_eq!(reason, "ok");
        assert!(!format!("{:?}", sql.asked()).contains("INSERT"));
    }

    #[test]
    fn many_authors_are_not_all_named() {
        let counts: Vec<_> = (0..7).map(|n| (format!("u{n}"), 1, n)).collect();
        assert!(text(7, &counts).ends_with("u4 (1) and 2 more"));
        assert!(text(1, &counts[..1]).starts_with("1 post: u0 (1)"));
    }
}
