//! How functions speak to each other: one JSON document there, one back.

use embly::{Conn, Error, spawn_function};
use serde::{Serialize, de::DeserializeOwned};

/// Starts a function, asks it, and waits for its answer.
///
/// # Errors
/// When it does not answer.
pub async fn ask<T: DeserializeOwned>(
    function: &str,
    question: &impl Serialize,
) -> Result<T, Error> {
    let mut conn = spawn_function(function)?;
    serde_json::to_writer(&mut conn, question)?;
    conn.close()?;
    read(conn).await
}

/// Answers whoever has started this function.
///
/// # Errors
/// When the question is none, or the answer fails.
pub async fn answer<Q, A, F>(mut conn: Conn, answer: impl FnOnce(Q) -> F) -> Result<(), Error>
where
    Q: DeserializeOwned,
    A: Serialize,
    F: Future<Output = Result<A, Error>>,
{
    let question = read(conn).await?;
    let said = answer(question).await?;
    Ok(serde_json::to_writer(&mut conn, &said)?)
}

async fn read<T: DeserializeOwned>(conn: Conn) -> Result<T, Error> {
    let mut all = Vec::new();
    loop {
        conn.await?;
        match conn.bytes()? {
            more if more.is_empty() => break,
            more => all.extend(more),
        }
    }
    Ok(serde_json::from_slice(&all)?)
}
