//! A master with the functions of `functions.wat`, and what is asked of them.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::own::Own;

const MODULE: &str = include_str!("functions.wat");

/// No limit ends what is measured. `cold` has no wrapper that waits, but its fork server.
const PROJECT: &str = "
defaults: {limits: {cpu: none, idle: none, wall: none}}
functions:
  - {name: parent, path: ./functions.wat, language: wasm}
  - {name: parked, path: ./functions.wat, language: wasm, entry: answers}
  - {name: cold, path: ./functions.wat, language: wasm, entry: answers, parked: {max: 0, min: 0}}
  - {name: echo, path: ./functions.wat, language: wasm, entry: echoes}
  - {name: sink, path: ./functions.wat, language: wasm, entry: takes}
  - {name: source, path: ./functions.wat, language: wasm, entry: gives}
gateways:
  - {name: parent, type: tcp, port: 0, function: parent}
";

/// What the parent does, by its numbers in `functions.wat`.
#[derive(Clone, Copy)]
pub enum What {
    /// Starts a child and reads its first byte.
    Spawn = 0,
    /// Sends a message and reads it back.
    Trip = 1,
    /// Sends a stream.
    Send = 2,
    /// Receives one.
    Receive = 3,
}

/// What the parent is told.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    pub what: What,
    pub child: &'a str,
    /// How often.
    pub count: u32,
    /// How often in a row, with a pause after it.
    pub in_a_row: u32,
    pub pause: Duration,
    /// Bytes of a write.
    pub size: u32,
    /// Bytes in all.
    pub bytes: u64,
}

impl<'a> Order<'a> {
    /// Once, and nothing sent.
    pub fn of(what: What, child: &'a str) -> Self {
        Self {
            what,
            child,
            count: 1,
            in_a_row: 1,
            pause: Duration::ZERO,
            size: 0,
            bytes: 0,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [self.what as u32, self.count, self.in_a_row, self.size] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.bytes.to_le_bytes());
        let pause = u32::try_from(self.pause.as_nanos()).unwrap();
        bytes.extend(pause.to_le_bytes());
        bytes.extend(u32::try_from(self.child.len()).unwrap().to_le_bytes());
        bytes.extend(self.child.bytes());
        bytes
    }
}

/// A master that runs.
pub struct Master(Own);

impl Master {
    pub fn start(folder: &Path) -> io::Result<Self> {
        fs::write(folder.join("functions.wat"), MODULE)?;
        fs::write(folder.join("embly-project.yml"), PROJECT)?;
        Own::start(folder, 1).map(Self)
    }

    /// What each took, in nanoseconds.
    pub fn ask(&self, order: &Order) -> Vec<u64> {
        let mut stream = TcpStream::connect(self.0.at[0]).unwrap();
        stream.write_all(&order.encode()).unwrap();
        let mut times = Vec::new();
        stream.read_to_end(&mut times).unwrap();
        let times: Vec<u64> = times
            .as_chunks()
            .0
            .iter()
            .map(|nanos| u64::from_le_bytes(*nanos))
            .collect();
        assert_eq!(times.len(), order.count as usize, "the parent has failed");
        times
    }
}
