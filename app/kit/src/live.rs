//! What is said on the board, as it is said.

use crate::Post;
use embly::{
    Error,
    kv::{Change, Store, Watch},
    sql::{self, params},
};
use std::collections::{BTreeSet, VecDeque};

/// The last posts, and then each new one.
pub struct Live {
    watch: Watch,
    /// All up to this one were given out, or are older than what is shown.
    all: i64,
    /// Those behind it that were given out: posts that are made at the same time are told in any order.
    given: BTreeSet<i64>,
    waiting: VecDeque<Post>,
    // It ends with the store.
    _store: Store,
}

/// So many come first.
const FIRST: i64 = 50;

/// A post is not told so many after one that was made later.
const REMEMBERED: usize = 1000;

const LAST: &str = "SELECT id, author, text, at FROM posts ORDER BY id DESC LIMIT ?";
const AFTER: &str = "SELECT id, author, text, at FROM posts WHERE id > ? ORDER BY id LIMIT 500";

impl Live {
    /// Begins with the last posts, the oldest of them first.
    ///
    /// # Errors
    /// Of the stores.
    pub async fn begin() -> Result<(Vec<Post>, Self), Error> {
        let store = Store::open("live")?;
        // Before the table is read, so that nothing is missed in between.
        let watch = store.watch_prefix(b"post/", None).await?;
        let mut db = sql::open_read("board")?;
        let mut first: Vec<Post> = db.query_all(LAST, params![FIRST]).await?;
        first.reverse();
        let live = Self {
            watch,
            all: first.last().map_or(0, |post| post.id),
            given: BTreeSet::new(),
            waiting: VecDeque::new(),
            _store: store,
        };
        Ok((first, live))
    }

    /// The next post. What was waited for is not lost when this is dropped.
    ///
    /// # Errors
    /// Of the stores.
    pub async fn next(&mut self) -> Result<Post, Error> {
        loop {
            while let Some(post) = self.waiting.pop_front() {
                if self.give(post.id) {
                    return Ok(post);
                }
            }
            match self.watch.next().await?.change {
                Change::Set(entry) => {
                    self.waiting
                        .push_back(serde_json::from_slice(&entry.value)?);
                }
                Change::FellBehind => {
                    let mut db = sql::open_read("board")?;
                    let missed: Vec<Post> = db.query_all(AFTER, params![self.all]).await?;
                    self.waiting.extend(missed);
                }
                _ => {}
            }
        }
    }

    /// Whether it was not given out before.
    fn give(&mut self, id: i64) -> bool {
        let new = id > self.all && self.given.insert(id);
        if self.given.len() > REMEMBERED {
            self.all = self.given.pop_first().unwrap_or(self.all);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live_key;
    use embly::{
        block_on,
        mock::{Answer, Sql},
    };

    fn post(id: i64) -> Post {
        let (author, text) = ("ann".to_owned(), format!("post {id}"));
        Post {
            id,
            author,
            text,
            at: 1000,
        }
    }

    #[test]
    fn each_post_is_given_out_once_in_whatever_order_they_are_told() {
        let row = params![3, "ann", "post 3", 1000];
        let columns = ["id", "author", "text", "at"];
        Sql::new().answer(LAST, Answer::rows(columns, [row]));
        block_on(async {
            let (first, mut live) = Live::begin().await.unwrap();
            assert_eq!(first, [post(3)]);
            let store = Store::open("live").unwrap();
            for id in [3, 5, 4, 5, 6] {
                let json = serde_json::to_vec(&post(id)).unwrap();
                store.set(live_key(id).as_bytes(), &json).await.unwrap();
            }
            for id in [5, 4, 6] {
                assert_eq!(live.next().await.unwrap(), post(id));
            }
        });
    }
}
