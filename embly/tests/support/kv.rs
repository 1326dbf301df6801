//! A client of services, by way of the guest `relays`: each frame is one write of the guest.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use prost::Message;
use protos::services::kv as proto;
use protos::services::kv::{request::What as Ask, response::What as Answer};

use super::client::connect;

/// A call of a service.
pub struct Call {
    stream: TcpStream,
    /// What it has said, and was not looked at.
    said: Vec<u8>,
    /// How it has ended.
    ending: Option<String>,
    id: u64,
}

impl Call {
    /// Calls a service.
    pub fn of(at: SocketAddr, service: &str) -> Self {
        let mut stream = connect(at);
        writeln!(stream, "{service}").unwrap();
        Self {
            stream,
            said: Vec::new(),
            ending: None,
            id: 0,
        }
    }

    /// A stream of `embly/kv`.
    pub fn store(at: SocketAddr, store: &str) -> Self {
        let mut call = Self::of(at, "embly/kv");
        let store = store.to_owned();
        call.message(&proto::Open { store }).unwrap();
        call
    }

    /// Has the function write this at once.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        self.stream.write_all(&[&length, bytes].concat())
    }

    /// Writes a message of the service's protocol.
    pub fn message(&mut self, message: &impl Message) -> io::Result<()> {
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_le_bytes();
        self.write(&[&length[..], &message].concat())
    }

    /// No more is written.
    pub fn close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads something more; whether there was more.
    fn more(&mut self) -> io::Result<bool> {
        if self.ending.is_some() {
            return Ok(false);
        }
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        let ends = length >> 31 == 1;
        let mut bytes = vec![0; (length & !(1 << 31)) as usize];
        self.stream.read_exact(&mut bytes)?;
        match ends {
            true => self.ending = Some(String::from_utf8(bytes).unwrap()),
            false => self.said.extend(bytes),
        }
        Ok(!ends)
    }

    /// All that it says until its end, and how that was: reason, code, detail.
    pub fn end(&mut self) -> (Vec<u8>, String) {
        while self.more().unwrap() {}
        let said = std::mem::take(&mut self.said);
        (said, self.ending.clone().unwrap())
    }

    /// The id of the last request.
    pub fn last_id(&self) -> u64 {
        self.id
    }

    /// Sends a request, without waiting for its answer; its id.
    pub fn ask(&mut self, what: Ask) -> u64 {
        self.try_ask(what).unwrap()
    }

    /// The same where the connection may be gone.
    pub fn try_ask(&mut self, what: Ask) -> io::Result<u64> {
        self.id += 1;
        let (id, what) = (self.id, Some(what));
        self.message(&proto::Request { id, what })?;
        Ok(id)
    }

    /// The next response, or how the stream has ended.
    pub fn response(&mut self) -> Result<proto::Response, String> {
        match self.try_response().unwrap() {
            Some(response) => Ok(response),
            None => Err(self.ending.clone().unwrap()),
        }
    }

    /// The same where the connection may be gone; `None`: it has ended.
    pub fn try_response(&mut self) -> io::Result<Option<proto::Response>> {
        loop {
            if let Some(length) = self.said.first_chunk() {
                let end = 4 + u32::from_le_bytes(*length) as usize;
                if let Some(message) = self.said.get(4..end) {
                    let response = proto::Response::decode(message).unwrap();
                    self.said.drain(..end);
                    return Ok(Some(response));
                }
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// A request and its answer.
    pub fn answer(&mut self, what: Ask) -> Answer {
        let id = self.ask(what);
        let response = self.response().unwrap();
        assert_eq!(response.id, id, "{response:?}");
        response.what.unwrap()
    }

    /// The errno and the detail of a request that is refused.
    pub fn refused(&mut self, what: Ask) -> (u32, String) {
        match self.answer(what) {
            Answer::Error(proto::Error { errno, detail }) => (errno, detail),
            other => panic!("{other:?}"),
        }
    }
}

/// `set`.
pub fn set(key: &[u8], value: &[u8]) -> Ask {
    Ask::Set(proto::Set {
        key: key.to_vec().into(),
        value: value.to_vec().into(),
        ttl_ms: None,
    })
}

/// `get`.
pub fn get(key: &[u8]) -> Ask {
    Ask::Get(proto::Get {
        key: key.to_vec().into(),
        without_value: false,
    })
}

/// `list` of a page of this size.
pub fn list(prefix: &[u8], after: &[u8], limit: u32) -> Ask {
    Ask::List(proto::List {
        prefix: prefix.to_vec().into(),
        after: after.to_vec().into(),
        limit,
        without_values: false,
    })
}

/// All keys of a store.
pub fn keys(call: &mut Call) -> Vec<Vec<u8>> {
    let (mut keys, mut after) = (Vec::new(), Vec::new());
    loop {
        let Answer::Page(page) = call.answer(list(b"", &after, 1000)) else {
            panic!()
        };
        keys.extend(page.entries.iter().map(|entry| entry.key.to_vec()));
        if page.next.is_empty() {
            return keys;
        }
        after = page.next.to_vec();
    }
}
