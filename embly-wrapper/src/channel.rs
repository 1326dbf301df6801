//! The wrapper's end of its slot: frames over a socket, never stuck.
//!
//! A write that has to wait takes in what arrives meanwhile; there is room for that, because
//! it was granted. A socket that is closed ends the process: without the master there is
//! nobody left to run for.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use protos::frame::{self, FrameError};
use protos::{Message, PROTOCOL_VERSION, Slot};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, send};

use crate::streams::Streams;
use crate::sys::buffer;

/// How much to read at once, in bytes: little at first, since most requests are small and memory
/// that was never touched costs a fresh process most; more as long as more is there.
const READ_AT_FIRST: usize = 4 * 1024;
const READ_AT_MOST: usize = 64 * 1024;

/// Why there is nothing more to say to the master.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The socket was closed: the invocation is over or the master has gone.
    #[error("the master closed the connection")]
    Closed,
    /// The master speaks another language.
    #[error("the master sent what is no frame: {0}")]
    Frame(#[from] FrameError),
    /// The master is of another version.
    #[error(
        "the master speaks version {0} of the protocol, this wrapper version {PROTOCOL_VERSION}"
    )]
    Version(u32),
    /// The socket failed.
    #[error("the connection to the master failed")]
    Io(#[from] io::Error),
}

/// The connection to the master.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// How much to read next.
    read: usize,
}

impl Channel {
    /// Says hello on a connected socket.
    ///
    /// # Errors
    /// When the master is not there.
    pub fn new(socket: OwnedFd, slot: Slot) -> Result<Self, ChannelError> {
        let mut channel = Self {
            socket,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            read: READ_AT_FIRST,
        };
        channel.outgoing.extend_from_slice(&slot.to_bytes());
        channel.flush(|_| ())?;
        Ok(channel)
    }

    /// Waits for one message.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn receive(&mut self) -> Result<Message, ChannelError> {
        loop {
            if let Some(message) = frame::decode(&mut self.incoming)? {
                return Ok(message);
            }
            self.read(RecvFlags::empty())?;
        }
    }

    /// Sends one message; while it waits, takes what arrives into `streams`.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn send(&mut self, message: Message, streams: &mut Streams) -> Result<(), ChannelError> {
        frame::encode(message, &mut self.outgoing)?;
        self.flush(|message| streams.receive(message))
    }

    /// Takes in what has arrived, without waiting.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn take_in(&mut self, streams: &mut Streams) -> Result<(), ChannelError> {
        self.take_in_with(&mut |message| streams.receive(message))
    }

    /// Waits until something has arrived, at most `timeout`, and takes it in.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        streams: &mut Streams,
    ) -> Result<(), ChannelError> {
        // What came in one piece with `startup` is here already.
        let mut arrived = false;
        self.decode(&mut |message| {
            arrived = true;
            streams.receive(message);
        })?;
        if arrived {
            return Ok(());
        }
        // Not a read that waits: whoever waits in one is also woken when the master has read.
        self.poll(PollFlags::IN, timeout)?;
        self.take_in(streams)
    }

    fn flush(&mut self, mut receive: impl FnMut(Message)) -> Result<(), ChannelError> {
        while !self.outgoing.is_empty() {
            match send(
                &self.socket,
                &self.outgoing,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Ok(bytes) => self.outgoing.advance(bytes),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let ready = self.poll(PollFlags::IN | PollFlags::OUT, None)?;
                    if ready.contains(PollFlags::IN) {
                        self.take_in_with(&mut receive)?;
                    }
                }
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(ChannelError::Closed),
                Err(error) => return Err(ChannelError::Io(error.into())),
            }
        }
        Ok(())
    }

    fn take_in_with(&mut self, receive: &mut impl FnMut(Message)) -> Result<(), ChannelError> {
        // What came in one piece with an earlier message is here already.
        self.decode(receive)?;
        loop {
            let more = self.read(RecvFlags::DONTWAIT)?;
            self.decode(receive)?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Takes the messages that were read.
    fn decode(&mut self, receive: &mut impl FnMut(Message)) -> Result<(), ChannelError> {
        while let Some(message) = frame::decode(&mut self.incoming)? {
            receive(message);
        }
        Ok(())
    }

    /// Reads once; false when nothing more is there without waiting: there was nothing, or less than
    /// there was room for.
    fn read(&mut self, flags: RecvFlags) -> Result<bool, ChannelError> {
        let room = self.read;
        match buffer::receive(&self.socket, &mut self.incoming, room, flags) {
            Ok(0) => Err(ChannelError::Closed),
            Ok(bytes) => {
                if bytes == room {
                    self.read = (2 * bytes).min(READ_AT_MOST);
                }
                Ok(bytes == room)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(Errno::INTR) => Ok(true),
            Err(Errno::CONNRESET) => Err(ChannelError::Closed),
            Err(error) => Err(ChannelError::Io(error.into())),
        }
    }

    fn poll(&self, flags: PollFlags, timeout: Option<Duration>) -> Result<PollFlags, ChannelError> {
        let mut fds = [PollFd::new(&self.socket, flags)];
        let timeout = timeout.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => Ok(fds[0].revents()),
            // The CPU timer, or the master asks it to stop: whoever waits looks again.
            Err(Errno::INTR) => Ok(PollFlags::empty()),
            Err(error) => Err(ChannelError::Io(error.into())),
        }
    }
}
