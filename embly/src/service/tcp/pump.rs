//! Bytes both ways between a caller and a connection, each as fast as the other takes them.

use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use protos::{Ending, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until, timeout};

use super::Counted;
use super::wire::{Settled, Wire};
use crate::service::Sink;
use crate::service::frames::Reader;

/// How much is read from the other side at once, in bytes.
const READ_BYTES: usize = 32 * 1024;

/// What a caller has written and closed is delivered for so long after its end.
const LINGER: Duration = Duration::from_secs(10);

/// When a byte went over a connection for the last time.
#[derive(Debug)]
pub struct Activity(Mutex<Instant>);

impl Activity {
    /// Now.
    pub fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// A byte has passed.
    pub fn seen(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when nothing has passed for so long.
    async fn ended(&self, idle: Option<Duration>) -> Ending {
        let Some(idle) = idle else {
            return std::future::pending().await;
        };
        loop {
            let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + idle;
            if Instant::now() >= until {
                let detail = format!(
                    "no byte went over the connection for {idle:?}, its limit `tcp: {{idle: …}}`"
                );
                return Ending::new(Reason::Idle, detail);
            }
            sleep_until(until).await;
        }
    }

    /// Does something that `idle` ends.
    pub async fn guard<T>(
        &self,
        idle: Option<Duration>,
        work: impl Future<Output = Result<T, Ending>>,
    ) -> Result<T, Ending> {
        tokio::select! {
            biased;
            done = work => done,
            ending = self.ended(idle) => Err(ending),
        }
    }
}

/// Until both directions have ended.
///
/// # Errors
/// How it ended otherwise: cut by the other side, or idle.
pub async fn pump(
    wire: Wire,
    counted: Counted,
    reader: Reader,
    sink: Sink,
    idle: Option<Duration>,
) -> Result<(), Ending> {
    let settled = wire.settled();
    let (from, to) = tokio::io::split(wire);
    let mut up = Up {
        reader,
        rest: Some(Rest {
            bytes: Bytes::new(),
            to,
            settled,
            _counted: counted,
        }),
    };
    let activity = Activity::new();
    let both = both(&mut up, from, sink, &activity);
    activity.guard(idle, both).await
}

async fn both(
    up: &mut Up,
    from: ReadHalf<Wire>,
    sink: Sink,
    activity: &Activity,
) -> Result<(), Ending> {
    let mut up = pin!(up.run(activity));
    let mut down = pin!(down(from, sink, activity));
    let (mut sent, mut received) = (None, false);
    loop {
        tokio::select! {
            result = &mut up, if sent.is_none() => sent = Some(result),
            result = &mut down, if !received => {
                result.map_err(|error| broken(&error))?;
                received = true;
            }
        }
        // Where writing fails there may be an answer all the same.
        if let Some(result) = &sent
            && received
        {
            return result.as_ref().copied().map_err(broken);
        }
    }
}

/// The caller's bytes to the other side, and their end.
struct Up {
    reader: Reader,
    /// `None` when that is done, or has failed.
    rest: Option<Rest>,
}

/// What is on its way to the other side.
struct Rest {
    /// Taken from the caller and not written yet.
    bytes: Bytes,
    to: WriteHalf<Wire>,
    settled: Settled,
    _counted: Counted,
}

impl Up {
    async fn run(&mut self, activity: &Activity) -> io::Result<()> {
        let Some(rest) = &mut self.rest else {
            return Ok(());
        };
        let result = async {
            while let Some(bytes) = self.reader.bytes().await {
                activity.seen();
                rest.bytes = bytes;
                rest.write(activity).await?;
            }
            rest.end().await
        };
        let result = result.await;
        self.rest = None;
        result
    }
}

impl Rest {
    /// Writes what is there; each piece counts as a sign of life.
    async fn write(&mut self, activity: &Activity) -> io::Result<()> {
        while !self.bytes.is_empty() {
            let written = self.to.write(&self.bytes).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            activity.seen();
            self.bytes.advance(written);
        }
        self.to.flush().await
    }

    async fn end(&mut self) -> io::Result<()> {
        self.to.shutdown().await?;
        self.settled.set();
        Ok(())
    }
}

impl Drop for Up {
    /// A caller that has said all, and has ended: the other side still gets it, as from a process
    /// that closes a socket.
    fn drop(&mut self) {
        let Some(mut rest) = self.rest.take() else {
            return;
        };
        let (Some(unread), Ok(runtime)) = (self.reader.rest(), Handle::try_current()) else {
            return;
        };
        let finish = async move {
            let activity = Activity::new();
            rest.write(&activity).await?;
            for bytes in unread {
                rest.bytes = bytes;
                rest.write(&activity).await?;
            }
            rest.end().await
        };
        runtime.spawn(async {
            // Where that fails the connection is reset, and there is nobody to tell.
            let _ = timeout(LINGER, finish).await;
        });
    }
}

/// Writes all of this; each piece counts as a sign of life.
pub async fn write<W>(to: &mut W, mut bytes: &[u8], activity: &Activity) -> io::Result<()>
where
    W: AsyncWriteExt + Unpin,
{
    while !bytes.is_empty() {
        let written = to.write(bytes).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        activity.seen();
        bytes = &bytes[written..];
    }
    to.flush().await
}

/// The other side's bytes to the caller, and their end.
async fn down(mut from: ReadHalf<Wire>, mut sink: Sink, activity: &Activity) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    // Nothing is read that the caller has no room for: the other side is held back by TCP. A caller
    // that has gone wants no more.
    while sink.ready().await.is_ok() {
        match read(&mut from, &mut buffer).await? {
            Some(bytes) => {
                activity.seen();
                if sink.send(bytes).await.is_err() {
                    break;
                }
            }
            None => {
                sink.finish();
                break;
            }
        }
    }
    Ok(())
}

/// The next bytes; `None` at the end.
pub async fn read<R>(from: &mut R, buffer: &mut BytesMut) -> io::Result<Option<Bytes>>
where
    R: AsyncReadExt + Unpin,
{
    buffer.reserve(READ_BYTES);
    let count = from.read_buf(buffer).await?;
    if count == 0 {
        return Ok(None);
    }
    // A small piece does not hold a whole buffer while it waits.
    if count <= READ_BYTES / 4 {
        let bytes = Bytes::copy_from_slice(buffer);
        buffer.clear();
        return Ok(Some(bytes));
    }
    Ok(Some(buffer.split().freeze()))
}

/// The ending of a connection that was cut.
pub fn broken(error: &io::Error) -> Ending {
    let detail = match error.kind() {
        io::ErrorKind::ConnectionReset => "the other side has reset the connection".to_owned(),
        io::ErrorKind::BrokenPipe => {
            "the other side has closed the connection and takes no more".to_owned()
        }
        io::ErrorKind::TimedOut => "the other side does not answer any more".to_owned(),
        io::ErrorKind::UnexpectedEof => {
            "the other side has ended the connection without the end that TLS has for it".to_owned()
        }
        _ => format!("the connection broke: {error}"),
    };
    Ending::new(Reason::Exit, detail)
}
