//! How functions speak to each other: one JSON document there, one back.

use embly::{Conn, Error, SpawnOptions, prelude::*, spawn_function, spawn_with};
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
    conn.write_all(&serde_json::to_vec(question)?)?;
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
    Ok(conn.write_all(&serde_json::to_vec(&said)?)?)
}

/// Tells the webhook in JSON what has happened. It goes on by itself: whoever tells it does not wait for
/// another server.
///
/// # Errors
/// When it cannot be started.
pub fn tell(event: &[u8]) -> Result<(), Error> {
    let mut hook = spawn_with(&SpawnOptions::new("webhook").detached())?;
    hook.write_all(event)?;
    hook.close()
}

async fn read<T: DeserializeOwned>(conn: Conn) -> Result<T, Error> {
    Ok(serde_json::from_slice(&all(conn).await?)?)
}

/// All bytes of a stream, to its end.
///
/// # Errors
/// When it ends in another way.
pub async fn all(conn: Conn) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    loop {
        conn.await?;
        match conn.bytes()? {
            more if more.is_empty() => break,
            more => all.extend(more),
        }
    }
    Ok(all)
}
