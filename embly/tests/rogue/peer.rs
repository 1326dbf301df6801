//! One end of a wrapper's socket, in the hands of somebody who does what it likes.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use protos::{Address, Body, Message, frame};

/// What the master told this wrapper on its command line.
pub struct Task {
    /// Which behaviour.
    pub function: String,
    /// Where the master listens.
    pub socket: PathBuf,
    /// The reserved number.
    pub slot: u64,
}

impl Task {
    /// From `--NAME VALUE` pairs.
    pub fn read(arguments: &[String]) -> Self {
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name);
            arguments[at.unwrap() + 1].clone()
        };
        Self {
            function: value("--function"),
            socket: value("--socket").into(),
            slot: value("--slot").parse().unwrap(),
        }
    }
}

/// A wrapper that has its `startup`.
pub struct Peer {
    /// The connection, to do with it what is not a frame.
    pub socket: UnixStream,
    /// Its own address.
    pub address: Address,
    /// Its parent's.
    pub parent: Address,
    incoming: BytesMut,
}

/// Connects and says these eight bytes.
pub fn connect(socket: &Path, slot: u64) -> UnixStream {
    let mut socket = UnixStream::connect(socket).unwrap();
    // The master may close it at once.
    let _ = socket.write_all(&slot.to_le_bytes());
    socket
}

impl Peer {
    /// As an honest wrapper begins.
    pub fn begin(task: &Task) -> Self {
        let mut peer = Self {
            socket: connect(&task.socket, task.slot),
            address: Address::new(1).unwrap(),
            parent: Address::new(1).unwrap(),
            incoming: BytesMut::new(),
        };
        loop {
            match peer.hear() {
                Some(Message {
                    body:
                        Body::Startup {
                            address, parent, ..
                        },
                    ..
                }) => {
                    (peer.address, peer.parent) = (address, parent);
                    return peer;
                }
                Some(_) => {}
                None => std::process::exit(0),
            }
        }
    }

    /// The next message; `None` at the end.
    pub fn hear(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = frame::decode(&mut self.incoming).unwrap() {
                return Some(message);
            }
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(bytes) => self.incoming.extend_from_slice(&buffer[..bytes]),
            }
        }
    }

    /// Says something in its own name; false when nobody listens any more.
    pub fn say(&mut self, to: Option<Address>, body: Body) -> bool {
        let from = Some(self.address);
        self.say_as(from, to, body)
    }

    /// Says something in any name.
    pub fn say_as(&mut self, from: Option<Address>, to: Option<Address>, body: Body) -> bool {
        let mut bytes = BytesMut::new();
        frame::encode(Message { to, from, body }, &mut bytes).unwrap();
        self.write(&bytes)
    }

    /// Writes bytes that need be no frame.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// Sends a whole response to the parent.
    pub fn answer(&mut self) {
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
        self.say(Some(self.parent), Body::Data(response[..].into()));
    }

    /// Closes the socket, and does not exit.
    pub fn hang_up(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Does nothing, for longer than anybody waits.
pub fn stay() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// Does this for ever, unless it says that it cannot; then stays.
pub fn without_end(mut what: impl FnMut() -> bool) -> ! {
    while what() {}
    stay()
}

/// Does this for so long, as often as it can.
pub fn for_a_while(time: Duration, mut what: impl FnMut() -> bool) {
    let since = Instant::now();
    while since.elapsed() < time && what() {}
}
