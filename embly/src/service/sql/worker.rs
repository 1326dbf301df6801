//! A process that runs SQL, seen from the master: started on a thread that lives as long as the
//! service, spoken to over its socket, killed and reaped when it is dropped.

use std::io;
use std::process::Child;
use std::sync::mpsc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use embly_wrapper::sql::wire::{self, FromWorker, ToWorker};
use embly_wrapper::sql::{self, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::wrapper::Nursery;

/// A process starts and opens its database in milliseconds; after a crash it takes over the log of
/// changes first, and a machine under heavy load gets this.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Starts processes, and reaps them.
#[derive(Debug, Clone)]
pub struct Starter {
    nursery: Nursery,
    reaper: mpsc::Sender<Ended>,
}

/// A process that is to be killed and reaped, and what is given up afterwards.
struct Ended {
    child: Child,
    held: Vec<Held>,
}

/// What a process holds as long as it lives: the right to write, places.
pub type Held = Box<dyn Send + Sync>;

impl Starter {
    /// Starts its threads.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn new() -> io::Result<Self> {
        let (reaper, inbox) = mpsc::channel::<Ended>();
        std::thread::Builder::new()
            .name("sql reaper".to_owned())
            .spawn(move || inbox.into_iter().for_each(Ended::reap))?;
        Ok(Self {
            nursery: Nursery::new()?,
            reaper,
        })
    }

    /// Starts a process that holds `place`, and waits until it has opened its database.
    ///
    /// # Errors
    /// What it said, or that of starting a process.
    pub async fn start(&self, options: Options, place: Held) -> io::Result<Worker> {
        let reaper = self.reaper.clone();
        let start = move || {
            let (child, socket) = sql::start(&options)?;
            let process = Process {
                child: Some(child),
                held: vec![place],
                reaper,
            };
            socket.set_nonblocking(true)?;
            Ok((process, socket))
        };
        let (process, socket) = self.nursery.run(start).await?;
        let mut worker = Worker {
            socket: UnixStream::from_std(socket)?,
            buffer: BytesMut::new(),
            writing: false,
            process,
        };
        match timeout(READY_WITHIN, worker.receive()).await {
            Ok(Ok((FromWorker::Ready, _))) => Ok(worker),
            Ok(Ok((FromWorker::Failed, why))) => {
                Err(io::Error::other(String::from_utf8_lossy(&why).into_owned()))
            }
            Ok(Ok(_)) => Err(io::ErrorKind::InvalidData.into()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Ended {
    fn reap(mut self) {
        // One that has ended already is only waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.held);
    }
}

/// Killed and reaped when it is dropped.
struct Process {
    child: Option<Child>,
    held: Vec<Held>,
    reaper: mpsc::Sender<Ended>,
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            let held = std::mem::take(&mut self.held);
            // The thread lives as long as there is a sender.
            let _ = self.reaper.send(Ended { child, held });
        }
    }
}

/// A process that runs.
pub struct Worker {
    socket: UnixStream,
    buffer: BytesMut,
    /// A message to it was begun.
    writing: bool,
    process: Process,
}

impl Worker {
    /// Says something.
    ///
    /// # Errors
    /// It has gone.
    pub async fn send(&mut self, what: ToWorker, content: &[u8]) -> io::Result<()> {
        let head = wire::head(what as u8, content.len())?;
        self.writing = true;
        if content.len() < 16 * 1024 {
            self.socket.write_all(&[&head, content].concat()).await?;
        } else {
            self.socket.write_all(&head).await?;
            self.socket.write_all(content).await?;
        }
        self.writing = false;
        Ok(())
    }

    /// The next thing that it says. Whoever stops waiting loses nothing.
    ///
    /// # Errors
    /// It has gone, or talks nonsense.
    pub async fn receive(&mut self) -> io::Result<(FromWorker, Bytes)> {
        loop {
            if let Some(head) = self.buffer.first_chunk::<{ wire::HEAD }>() {
                let (kind, length) = wire::parse(*head)?;
                let kind = FromWorker::from_byte(kind).ok_or(io::ErrorKind::InvalidData)?;
                if self.buffer.len() >= wire::HEAD + length {
                    self.buffer.advance(wire::HEAD);
                    let content = self.buffer.split_to(length).freeze();
                    return Ok((kind, content));
                }
                self.buffer.reserve(wire::HEAD + length - self.buffer.len());
            }
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Whether it waits for something to do: it has not gone, and nothing is half said.
    pub fn is_of_use(&self) -> bool {
        let silent = self.socket.try_read(&mut [0]);
        let silent = silent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        silent && !self.writing && self.buffer.is_empty()
    }

    /// Whether a message to it was begun and not ended.
    pub fn is_cut(&self) -> bool {
        self.writing
    }

    /// Kills it; what is held is given up when it has ended.
    pub fn end(mut self, held: impl IntoIterator<Item = Held>) {
        self.process.held.extend(held);
    }
}
