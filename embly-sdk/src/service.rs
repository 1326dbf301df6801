//! What the modules for services share: a service is called by spawning it.

use crate::{error::Error, stream::Conn, sys};
use std::io;

/// Calls a service.
pub(crate) fn call(name: &str) -> Result<Conn, Error> {
    let id = sys::spawn(name).map_err(|errno| match errno {
        sys::Errno::AGAIN => io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!(
                "cannot call `{name}`: too many children are alive: wait for some of them, or raise \
                 `limits: {{children: …}}`"
            ),
        ),
        errno => errno.into(),
    })?;
    crate::task::newcomers::expect(id);
    Ok(Conn::new(id))
}

/// All that a service still says, to its good end.
pub(crate) async fn rest(conn: Conn) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    loop {
        conn.await?;
        match conn.now() {
            bytes if bytes.is_empty() => return Ok(all),
            bytes if all.is_empty() => all = bytes,
            bytes => all.extend(bytes),
        }
    }
}
