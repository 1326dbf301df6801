//! A master with the function of `functions.wat`, and what is asked of it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use prost::Message;
use protos::services::kv::request::What;
use protos::services::kv::{Get, Open, Request, Set};

use crate::own::Own;

const MODULE: &str = include_str!("functions.wat");

/// No limit ends what is measured.
const PROJECT: &str = "
defaults: {limits: {cpu: none, idle: none, wall: none}}
functions:
  - {name: asks, path: ./functions.wat, language: wasm, allow: {kv: [default]}}
gateways:
  - {name: asks, type: tcp, port: 0, function: asks}
stores:
  - {name: default, type: kv}
";

/// Where the number of a request belongs in its key.
const MARK: [u8; 8] = [0xee; 8];

/// What the function is told.
pub struct Order {
    count: u32,
    /// Requests at once; 0: a call for each.
    depth: u32,
    /// Where in the request its number is written; 0: nowhere.
    patch: u32,
    service: &'static str,
    opening: Vec<u8>,
    request: Vec<u8>,
}

impl Order {
    /// `embly/kv/get` of the first key that was set.
    pub fn get_by_call(count: u32) -> Self {
        Self {
            count,
            depth: 0,
            patch: 0,
            service: "embly/kv/get",
            opening: Vec::new(),
            request: unmarked(key(0)),
        }
    }

    /// The same key over one stream.
    pub fn get(count: u32) -> Self {
        let without_value = false;
        let key = key(0).into();
        Self::over_a_stream(count, 1, false, What::Get(Get { key, without_value }))
    }

    /// Keys that nobody has asked for yet.
    pub fn get_unknown(count: u32) -> Self {
        let key = key(rand::random::<u32>() | 1 << 31).into();
        let without_value = false;
        Self::over_a_stream(count, 1, true, What::Get(Get { key, without_value }))
    }

    /// Keys of one writer.
    pub fn set(writer: u32, count: u32, depth: u32) -> Self {
        let set = Set {
            key: key(writer).into(),
            value: vec![7; 100].into(),
            ttl_ms: None,
        };
        Self::over_a_stream(count, depth, true, What::Set(set))
    }

    fn over_a_stream(count: u32, depth: u32, patch: bool, what: What) -> Self {
        let what = Some(what);
        let request = frame(&Request { id: 1, what });
        let key = request.windows(8).position(|bytes| bytes == MARK);
        Self {
            count,
            depth,
            patch: if patch { key.unwrap() as u32 } else { 0 },
            service: "embly/kv",
            opening: frame(&Open {
                store: "default".to_owned(),
            }),
            request: unmarked(request),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let (service, opening, request) = (self.service.as_bytes(), &self.opening, &self.request);
        let lengths = [length(service), length(opening), length(request)];
        let numbers = [[self.count, self.depth, self.patch], lengths].concat();
        let numbers: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
        [&numbers[..], service, opening, request].concat()
    }
}

/// A key of a writer, with a mark where its number belongs.
fn key(writer: u32) -> Vec<u8> {
    let mut key = u64::from(writer).to_be_bytes().to_vec();
    key.extend(MARK);
    key
}

/// The mark is the number 0 now.
fn unmarked(mut request: Vec<u8>) -> Vec<u8> {
    let at = request.windows(8).position(|bytes| bytes == MARK);
    if let Some(at) = at {
        request[at..at + 8].fill(0);
    }
    request
}

fn frame(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap();
    [&length.to_le_bytes()[..], &message].concat()
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
        assert_eq!(times.len(), order.count as usize, "the function has failed");
        times
    }
}
