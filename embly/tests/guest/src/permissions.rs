//! The least that each service can be asked for: what may be done at all is looked at, not how well.

use embly::{
    Error,
    http::{self, Body, Request, ResponseWriter},
    kv,
    prelude::*,
    sql, tcp,
};

/// How long a key stays.
const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

/// WASI's ENOENT: whoever is told that something is not there was allowed to look.
const NOENT: i32 = 44;

/// `/SERVICE?WHAT`: asks it for something with WHAT. A refusal is a 403 with its text.
pub async fn permits(req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let service = req.uri().path()[1..].to_owned();
    let what = req.uri().query().unwrap_or_default().to_owned();
    match ask(&service, &what).await {
        Ok(()) => w.write_all(b"done")?,
        Err(error) if error.exit().is_some_and(|exit| exit.code == NOENT) => {
            w.write_all(b"not there")?;
        }
        Err(error) => {
            w.status(403);
            let exit = error.exit().map(|exit| exit.detail.clone());
            write!(w, "{}", exit.unwrap_or_else(|| error.to_string()))?;
        }
    }
    Ok(())
}

/// One line for each service, or more.
async fn ask(service: &str, what: &str) -> Result<(), Error> {
    match service {
        "embly/kv/get" => kv::get(what.as_bytes()).await.map(drop),
        "embly/kv/set" => kv::set(what.as_bytes(), b"value").await,
        "embly/kv" => keys(what).await,
        "embly/sql" => tables(what).await,
        "embly/http" => Ok(http::client::get(what).await.map(drop)?),
        "embly/tcp" => Ok(tcp::connect(what).await.map(drop)?),
        other => Err(Error::msg(format!(
            "`{other}` is not asked for anything here"
        ))),
    }
}

/// `STORE:WHAT:KEY`.
async fn keys(what: &str) -> Result<(), Error> {
    let parts: Vec<&str> = what.split(':').collect();
    let &[store, what, key] = parts.as_slice() else {
        return Err(Error::msg(format!("`{what}` is not STORE:WHAT:KEY")));
    };
    let (store, key) = (kv::Store::open(store)?, key.as_bytes());
    match what {
        "get" => store.get(key).await.map(drop),
        "set" => store.set(key, b"value").await.map(drop),
        "delete" => store.delete(key).await.map(drop),
        "list" => store.list(key, b"", 10).await.map(drop),
        "swap" => {
            let swapped = store.swap(key, kv::Expected::Absent, Some(b"value"));
            swapped.await.map(drop)
        }
        "increment" => store.increment(key, 1).await.map(drop),
        "expire" => store.expire(key, Some(MINUTE)).await.map(drop),
        "batch" => store.batch().set(key, b"1").commit().await.map(drop),
        "check" => {
            let batch = store.batch().check(key, 99_999).set(b"a1", b"1");
            batch.commit().await.map(drop)
        }
        "watch" => store.watch_prefix(key, None).await.map(drop),
        other => Err(Error::msg(format!("there is nothing called {other}"))),
    }
}

/// `STORE:WHAT`.
async fn tables(what: &str) -> Result<(), Error> {
    let (store, what) = what.split_once(':').unwrap_or_default();
    match what {
        "read" => sql::open_read(store)?
            .query_all::<(i64,)>("SELECT 1", ())
            .await
            .map(drop),
        "write" => sql::open(store)?
            .execute("CREATE TABLE IF NOT EXISTS t (a)", ())
            .await
            .map(drop),
        other => Err(Error::msg(format!("there is no {other}"))),
    }
}
