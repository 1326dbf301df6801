//! Functions that use key-value stores.

use std::future::Future;
use std::time::Duration;

use embly::{
    Conn, Error,
    http::{Body, Request, ResponseWriter},
    kv,
    prelude::*,
};

/// `GET /KEY` is answered by the value, `PUT /KEY` sets it to the body. What goes wrong is the body
/// of a 500.
pub async fn keeps(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let key = req.uri().path()[1..].as_bytes().to_vec();
    let done = if req.method() == "PUT" {
        let value = req.body_mut().bytes()?;
        kv::set(&key, &value).await.map(|()| b"set".to_vec())
    } else {
        kv::get(&key).await
    };
    match done {
        Ok(bytes) => w.write_all(&bytes)?,
        Err(error) => {
            w.status(500);
            write!(w, "{error}")?;
        }
    }
    Ok(())
}

/// Does what the lines of the body say with the store that the path names, and answers each by a
/// line.
pub async fn stores(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let name = req.uri().path()[1..].to_owned();
    let body = String::from_utf8(req.body_mut().bytes()?)?;
    let store = kv::Store::open(&name)?;
    for line in body.lines() {
        match step(&store, &line.split(' ').collect::<Vec<_>>()).await {
            Ok(said) => writeln!(w, "{said}")?,
            Err(error) => writeln!(w, "error: {error}")?,
        }
    }
    Ok(())
}

async fn step(store: &kv::Store, words: &[&str]) -> Result<String, Error> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let millis = |text: &str| Ok::<_, Error>(Duration::from_millis(text.parse()?));
    Ok(match words {
        ["get", key] => store
            .get(key.as_bytes())
            .await?
            .map_or("-".to_owned(), text),
        ["set", key, value] => {
            store.set(key.as_bytes(), value.as_bytes()).await?;
            "set".to_owned()
        }
        ["set", key, value, ttl] => {
            let ttl = millis(ttl)?;
            store.set_for(key.as_bytes(), value.as_bytes(), ttl).await?;
            "set".to_owned()
        }
        ["delete", key] => store.delete(key.as_bytes()).await?.to_string(),
        ["swap", key, expected, new] => {
            let expected = match *expected {
                "-" => kv::Expected::Absent,
                value => kv::Expected::Value(value.as_bytes()),
            };
            let new = Some(new.as_bytes()).filter(|new| *new != b"-");
            match store.swap(key.as_bytes(), expected, new).await? {
                kv::Swapped::Done(_) => "done".to_owned(),
                kv::Swapped::Not(None) => "not: -".to_owned(),
                kv::Swapped::Not(Some(entry)) => format!("not: {}", text(entry.value)),
            }
        }
        ["increment", key, by] => {
            let sum = store.increment(key.as_bytes(), by.parse()?).await?;
            sum.to_string()
        }
        ["expire", key, "never"] => store.expire(key.as_bytes(), None).await?.to_string(),
        ["expire", key, ttl] => {
            let ttl = Some(millis(ttl)?);
            store.expire(key.as_bytes(), ttl).await?.to_string()
        }
        ["ttl", key] => match store.ttl(key.as_bytes()).await? {
            kv::Ttl::For(left) if left > Duration::from_secs(60) => "long".to_owned(),
            kv::Ttl::For(_) => "short".to_owned(),
            other => format!("{other:?}"),
        },
        ["list", prefix, limit] => {
            let (mut said, mut after) = (Vec::new(), Vec::new());
            loop {
                let page = store
                    .list(prefix.as_bytes(), &after, limit.parse()?)
                    .await?;
                let entries = page.entries.into_iter();
                let entries = entries.map(|it| format!("{}={}", text(it.key), text(it.value)));
                said.push(entries.collect::<Vec<_>>().join(" "));
                match page.next {
                    Some(next) => after = next,
                    None => break said.join(" | "),
                }
            }
        }
        ["batch", puts @ ..] => {
            let batch = puts
                .iter()
                .fold(store.batch(), |batch, put| match put.split_once('=') {
                    Some((key, value)) => batch.set(key.as_bytes(), value.as_bytes()),
                    None => batch.delete(put.as_bytes()),
                });
            batch.commit().await?.applied.to_string()
        }
        // Moves a value, with somebody in between.
        ["move", from, to, between @ ..] => {
            let mut transaction = store.transaction();
            let value = transaction.get(from.as_bytes()).await?.unwrap_or_default();
            transaction.set(to.as_bytes(), &value);
            transaction.delete(from.as_bytes());
            if let [key, value] = between {
                store.set(key.as_bytes(), value.as_bytes()).await?;
            }
            transaction.commit().await?.applied.to_string()
        }
        // What is told while others do something.
        ["watch", prefix, key, value] => {
            let mut watch = store.watch_prefix(prefix.as_bytes(), None).await?;
            kv::Store::open("default")?
                .set(key.as_bytes(), value.as_bytes())
                .await?;
            match watch.next().await?.change {
                kv::Change::Set(entry) => format!("{}={}", text(entry.key), text(entry.value)),
                other => format!("{other:?}"),
            }
        }
        ["at-once", count] => {
            let sets = (0..count.parse::<u32>()?)
                .map(|n| store.set(format!("at-once/{n:05}").as_bytes(), b"x"));
            let mut done = 0;
            for set in embly::join_all(sets.collect::<Vec<_>>()).await {
                set?;
                done += 1;
            }
            done.to_string()
        }
        other => format!("not known: {other:?}"),
    })
}

/// Lets its client speak to a service. From the client: the name of the service in a line, then
/// frames (u32 length), each of which is written at once; its half-close is passed on. To the
/// client: frames of what the service says, then one with the highest bit set: how it ended.
pub async fn relays(conn: Conn) -> Result<(), Error> {
    let mut input = Input {
        conn,
        bytes: Vec::new(),
    };
    let name = input.until(b'\n').await?;
    let service = embly::spawn_function(std::str::from_utf8(&name)?)?;
    let up = async {
        while let Some(frame) = input.frame().await? {
            service.send(&frame).await?;
        }
        service.close()
    };
    let down = async {
        while service.await.is_ok() {
            let bytes = service.bytes()?;
            if bytes.is_empty() {
                break;
            }
            conn.send(&(bytes.len() as u32).to_le_bytes()).await?;
            conn.send(&bytes).await?;
        }
        let exit = service.status()?;
        let said = format!("{} {} {}", exit.reason, exit.code, exit.detail);
        let length = said.len() as u32 | 1 << 31;
        conn.send(&length.to_le_bytes()).await?;
        conn.send(said.as_bytes()).await
    };
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    let mut rising = true;
    std::future::poll_fn(|cx| {
        // What cannot be said to the service shows in how it ended.
        rising = rising && up.as_mut().poll(cx).is_pending();
        down.as_mut().poll(cx)
    })
    .await
}

struct Input {
    conn: Conn,
    bytes: Vec<u8>,
}

impl Input {
    /// Whether more came.
    async fn more(&mut self) -> Result<bool, Error> {
        self.conn.await?;
        let bytes = self.conn.bytes()?;
        self.bytes.extend(&bytes);
        Ok(!bytes.is_empty())
    }

    async fn until(&mut self, end: u8) -> Result<Vec<u8>, Error> {
        loop {
            if let Some(at) = self.bytes.iter().position(|byte| *byte == end) {
                let line = self.bytes[..at].to_vec();
                self.bytes.drain(..=at);
                return Ok(line);
            }
            if !self.more().await? {
                return Err(Error::msg("no line"));
            }
        }
    }

    async fn frame(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            if let Some(length) = self.bytes.first_chunk() {
                let end = 4 + u32::from_le_bytes(*length) as usize;
                if self.bytes.len() >= end {
                    let frame = self.bytes[4..end].to_vec();
                    self.bytes.drain(..end);
                    return Ok(Some(frame));
                }
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }
}
