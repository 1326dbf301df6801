//! What is said on the board.

use embly::{
    Error,
    sql::{FromRow, Row},
};
use serde::{Deserialize, Serialize};

/// Characters of a post.
pub const LONGEST: usize = 500;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    pub id: i64,
    pub author: String,
    pub text: String,
    /// Seconds since 1970.
    pub at: i64,
}

impl FromRow for Post {
    fn from_row(row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.get("id")?,
            author: row.get("author")?,
            text: row.get("text")?,
            at: row.get("at")?,
        })
    }
}

/// What the function `post` is asked: somebody says something.
#[derive(Debug, Serialize, Deserialize)]
pub struct NewPost {
    pub author: String,
    pub text: String,
}

/// What it answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Posted {
    Post(Post),
    Refused(String),
}

/// Under which key of the store `live` it is told: in their order.
pub fn live_key(id: i64) -> String {
    format!("post/{id:020}")
}
