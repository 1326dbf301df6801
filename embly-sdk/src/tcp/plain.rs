//! A connection that begins without TLS and changes to it later.

use super::{ConnectError, ErrorKind, Stream, Tls, call::Call};
use crate::proto::tcp::{Opened, Step, step::Step as Is};
use std::fmt;

/// Bytes of data in one step; the service takes 64 KiB with what is around them.
const DATA: usize = 32 * 1024;

/// A connection without TLS that can still begin it.
///
/// ```no_run
/// # use embly_sdk as embly;
/// use embly::{Error, tcp::{self, Stream, Tls}};
///
/// /// PostgreSQL: a request of eight bytes, answered by `S` or `N`.
/// async fn connect(address: &str) -> Result<Stream, Error> {
///     let mut plain = tcp::connect_starttls(address).await?;
///     plain.send(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
///     match plain.receive().await?.as_slice() {
///         b"S" => Ok(plain.start_tls(&Tls::new()).await?),
///         _ => Err(Error::msg("the server has no TLS")),
///     }
/// }
/// ```
pub struct Plain {
    call: Call,
    peer: String,
}

impl Plain {
    pub(super) fn new(call: Call, opened: Opened) -> Self {
        let peer = opened.peer;
        Self { call, peer }
    }

    /// The IP address and port that it leads to.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Sends bytes without TLS.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectError> {
        for piece in bytes.chunks(DATA) {
            self.step(Is::Data(piece.to_vec())).await?;
        }
        Ok(())
    }

    /// The next bytes that the other side has sent without TLS; waits for them.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn receive(&mut self) -> Result<Vec<u8>, ConnectError> {
        let step: Step = self.call.message().await?;
        match step.step {
            Some(Is::Data(bytes)) => Ok(bytes),
            _ => Err(self
                .call
                .error(ErrorKind::Other, "the service says something strange")),
        }
    }

    /// Begins TLS.
    ///
    /// # Errors
    /// When that fails; and when the other side has sent bytes that were not received yet: what came
    /// before TLS must not be taken for what comes after.
    pub async fn start_tls(mut self, tls: &Tls) -> Result<Stream, ConnectError> {
        self.step(Is::StartTls(tls.message())).await?;
        let step: Step = self.call.message().await?;
        match step.step {
            Some(Is::Answer(answer)) => {
                let opened = self.call.opened(answer)?;
                Ok(Stream::new(self.call, opened))
            }
            _ => Err(self.call.error(
                ErrorKind::Tls,
                "the other side has sent more before TLS than it should",
            )),
        }
    }

    /// Goes on without TLS.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn stay_plain(mut self) -> Result<Stream, ConnectError> {
        self.step(Is::StayPlain(true)).await?;
        let mut early = Vec::new();
        loop {
            let step: Step = self.call.message().await?;
            match step.step {
                Some(Is::Data(bytes)) => early.extend(bytes),
                Some(Is::Answer(answer)) => {
                    let opened = self.call.opened(answer)?;
                    crate::stream::input::unread(self.call.conn.id(), &early);
                    return Ok(Stream::new(self.call, opened));
                }
                _ => {
                    let text = "the service says something strange";
                    return Err(self.call.error(ErrorKind::Other, text));
                }
            }
        }
    }

    async fn step(&mut self, step: Is) -> Result<(), ConnectError> {
        self.call.step(&Step { step: Some(step) }).await
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("Plain");
        it.field("peer", &self.peer).finish_non_exhaustive()
    }
}
