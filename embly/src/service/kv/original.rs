//! `embly/kv/get` and `embly/kv/set`: the request is one frame of the stream, on the store
//! `default`.
//!
//! - get: the key. Answered by the value and the end of the stream, or by the ending `refused` with
//!   ENOENT.
//! - set: u16 little-endian length of the key, the key, the value. Answered by the end.
//!
//! What follows the first frame is not read: nothing says where a value ends, but its frame.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use protos::{Ending, Errno, Reason};

use super::engine::types::{Error, Write};
use super::engine::{Client, answer};
use super::{DEFAULT, Stores, check_key, check_value, errno, permitted, store};
use crate::service::frames::{Reader, malformed};
use crate::service::{Caller, Serving, Session, Stream};

/// One call.
pub struct Original {
    pub caller: Caller,
    pub stores: Arc<Stores>,
    pub sets: bool,
}

impl Session for Original {
    fn serve(self: Box<Self>, stream: Stream) -> Serving {
        Box::pin(async move {
            match self.answer(stream).await {
                Ok(()) => Ending::new(Reason::Ok, ""),
                Err(ending) => ending,
            }
        })
    }
}

impl Original {
    async fn answer(&self, stream: Stream) -> Result<(), Ending> {
        let Stream { inbox, mut sink } = stream;
        let function = &self.caller.function;
        let engine = store(&self.stores, DEFAULT, &function.allow, &function.name)?;
        let client = engine.client(&function.name);
        let request = Reader::new(inbox).bytes().await;
        let request =
            request.ok_or_else(|| malformed("the stream ended before a request".into()))?;
        if self.sets {
            let (key, value) = split(request)?;
            self.permitted(&key)?;
            set(&client, key, value)
                .await
                .map_err(|error| failed(&error))
        } else {
            check_key(&request).map_err(refused)?;
            self.permitted(&request)?;
            let entry = client.get(&request).await.map_err(|error| failed(&error))?;
            let entry =
                entry.ok_or_else(|| Ending::refused(Errno::NOENT, "there is no such key"))?;
            // A caller that has gone wants no answer.
            let _ = sink.send(entry.value).await;
            Ok(())
        }
    }

    fn permitted(&self, key: &[u8]) -> Result<(), Ending> {
        let function = &self.caller.function;
        permitted(
            &function.allow,
            &function.name,
            DEFAULT,
            Some(key),
            self.sets,
        )
    }
}

async fn set(client: &Client, key: Bytes, value: Bytes) -> Result<(), Error> {
    let ttl = None;
    let pending = client.write(Write::Set { key, value, ttl }).await?;
    answer(pending).await.map(drop)
}

fn refused((errno, detail): (Errno, String)) -> Ending {
    Ending::refused(errno, detail)
}

fn failed(error: &Error) -> Ending {
    match errno(error) {
        Errno::IO => Ending::new(Reason::Exit, error.to_string()),
        errno => Ending::refused(errno, error.to_string()),
    }
}

/// Key and value of a request to set.
fn split(mut request: Bytes) -> Result<(Bytes, Bytes), Ending> {
    let short = || {
        malformed(
            "a request is one write: the length of the key in two bytes, the key, the value"
                .to_owned(),
        )
    };
    let length = usize::from(request.try_get_u16_le().map_err(|_| short())?);
    if request.len() < length {
        return Err(short());
    }
    let key = request.split_to(length);
    check_key(&key).map_err(refused)?;
    check_value(&request).map_err(refused)?;
    Ok((key, request))
}
