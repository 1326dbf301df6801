//! The services `embly/kv/get` and `embly/kv/set`: one frame asks, the stream answers.

use crate::{
    error::Error,
    service,
    stream::Conn,
    sys::{self, Errno},
};
use std::{future::Future, io};

/// The longest key: its length has two bytes, and the host takes no more than 10,000.
const MAX_KEY: usize = u16::MAX as usize;

/// Sets a key of the store `default`: at most 10,000 bytes, to a value of at most 100,000. When the
/// future is ready the value is durable, as the store is.
///
/// It is sent when this is called, so several run at once:
///
/// ```no_run
/// # use embly_sdk as embly;
/// # async fn f() -> Result<(), embly::Error> {
/// let calls = (0..10).map(|n| embly::kv::set(format!("key {n}").as_bytes(), b"ho"));
/// for done in embly::join_all(calls.collect::<Vec<_>>()).await {
///     done?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// When the function may not change the store, and when the store fails.
pub fn set(key: &[u8], value: &[u8]) -> impl Future<Output = Result<(), Error>> + use<> {
    let asked = frame(key, value).and_then(|frame| ask("embly/kv/set", &frame));
    async move { service::rest(asked?).await.map(drop) }
}

/// The value of a key of the store `default`. It is asked for when this is called.
///
/// ```no_run
/// # use embly_sdk as embly;
/// # async fn f() -> Result<(), embly::Error> {
/// let value = embly::kv::get(b"key").await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`std::io::ErrorKind::NotFound`], and an [ending](Error::exit) that is `refused` with 44
/// (ENOENT), when there is no such key; when the function may not read the store, and when the store
/// fails.
pub fn get(key: &[u8]) -> impl Future<Output = Result<Vec<u8>, Error>> + use<> {
    let asked = ask("embly/kv/get", key);
    async move { service::rest(asked?).await }
}

fn frame(key: &[u8], value: &[u8]) -> Result<Vec<u8>, Error> {
    let length = u16::try_from(key.len())
        .map_err(|_| invalid(format!("a key has at most {MAX_KEY} bytes")))?;
    Ok([&length.to_le_bytes(), key, value].concat())
}

/// Calls the service, with all of the request in one frame.
fn ask(name: &str, request: &[u8]) -> Result<Conn, Error> {
    if request.is_empty() {
        return Err(invalid("a key is not empty".to_owned()));
    }
    let conn = service::call(name)?;
    match sys::write(conn.id(), request) {
        Ok(n) if n == request.len() => Ok(conn),
        Ok(_) | Err(Errno::AGAIN) => {
            let bytes = request.len();
            Err(invalid(format!(
                "a request of {bytes} bytes does not fit in the limit `window` of this function"
            )))
        }
        Err(errno) => Err(io::Error::from(errno).into()),
    }
}

fn invalid(text: String) -> Error {
    io::Error::new(io::ErrorKind::InvalidInput, text).into()
}
