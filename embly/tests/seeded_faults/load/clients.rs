//! What each client asks for, and when that is acknowledged.

use std::time::Duration;

use super::wire::{Wire, timed};
use super::{Entry, Load, Outcome};
use crate::support::Done;
use crate::support::client::Response;
use crate::support::websocket::{TEXT, handshake, whole};
use crate::world::World;

/// Between two requests of a client: the machine is for others, too.
const PAUSE: Duration = Duration::from_millis(8);

/// A function may ask another server for so long, in milliseconds.
const ASKS: u64 = 1500;

/// What one of `Load::Stream` takes, in bytes.
const STREAM: u64 = 1_000_000;

/// So many keys has one of `Load::Count`.
const KEYS: u64 = 50;

/// A client, and its connection where it keeps one.
pub struct Client<'w> {
    world: &'w World,
    load: Load,
    keeps: bool,
    wire: Option<Wire>,
    /// Which one it is, and how often it has counted.
    number: u32,
    counted: u64,
}

/// Asks until it is time to end.
pub fn run(world: &World, load: Load, client: usize, done: &Done) {
    let mut client = Client::new(world, load, client == 0);
    while !done.is_set() {
        world.record.add(client.asks());
        std::thread::sleep(PAUSE);
    }
}

/// One request of this kind, into the record.
pub fn once(world: &World, load: Load) -> Outcome {
    let entry = Client::new(world, load, false).asks();
    let outcome = entry.outcome.clone();
    world.record.add(entry);
    outcome
}

impl<'w> Client<'w> {
    /// One that has not asked for anything yet.
    pub fn new(world: &'w World, load: Load, keeps: bool) -> Self {
        Self {
            world,
            load,
            keeps,
            wire: None,
            number: 0,
            counted: 0,
        }
    }

    /// The same, of several that each have keys of their own.
    pub fn numbered(self, number: u32) -> Self {
        Self { number, ..self }
    }

    /// Closes the connection, where it keeps one: the next request has another.
    pub fn leave(&mut self) {
        self.wire = None;
    }

    /// One request.
    pub fn asks_once(&mut self) -> Entry {
        let key = self.world.record.key();
        let (took, outcome) = timed(|| self.ask(&key));
        Entry {
            load: self.load,
            key,
            took,
            outcome,
        }
    }

    /// One request, as a client does it that asks again where its connection was not there any more.
    pub fn asks(&mut self) -> Entry {
        let key = self.world.record.key();
        let kept = self.wire.is_some();
        let (mut took, mut outcome) = timed(|| self.ask(&key));
        // A server may close a connection that is idle: a client that has not got a byte asks again on
        // another, with another key where the first request could have been done.
        if let Outcome::Failed(how) = &outcome
            && kept
            && ["cut", "write", "read"]
                .iter()
                .any(|word| how.starts_with(word))
            && !self.load.keeps()
        {
            (took, outcome) = timed(|| self.ask(&key));
        }
        Entry {
            load: self.load,
            key,
            took,
            outcome,
        }
    }

    fn ask(&mut self, key: &str) -> Outcome {
        let done = match self.load {
            Load::Kv => self.http("/default", &format!("increment {key} 1"), "1\n"),
            Load::Mirror => {
                // From one frame to many.
                let times = [1, 50, 1000, 9000][key.len().wrapping_add(digit(key)) % 4];
                let body = key.repeat(times);
                self.http("/", &body, &body)
            }
            Load::Chain => self.http("/2", "", "the end"),
            Load::Hello => self.http("/", "", "hello"),
            Load::Code => self.http("/", "", "code "),
            Load::Asks => self.through(key),
            Load::Echo => self.lines("", key, |said| said == key),
            Load::Sql => {
                let line = format!("e INSERT INTO t VALUES ('{key}')");
                self.lines("open main\n", &line, |said| said.starts_with("1 "))
            }
            Load::Socket => self.message(key),
            Load::Stream => self.pours(),
            Load::Count => self.counts(),
        };
        match done {
            Ok(()) => Outcome::Acknowledged,
            Err(outcome) => {
                self.wire = None;
                outcome
            }
        }
    }

    fn wire(&mut self) -> Result<Wire, Outcome> {
        match self.wire.take() {
            Some(wire) => Ok(wire),
            None => Wire::to(self.world.at(self.load.name())),
        }
    }

    fn keep(&mut self, wire: Wire, stays: bool) -> Result<(), Outcome> {
        match self.keeps && stays {
            true => self.wire = Some(wire),
            // It asked for the end of the connection.
            false if !stays => return wire.end(),
            false => {}
        }
        Ok(())
    }

    fn http(&mut self, path: &str, body: &str, expected: &str) -> Result<(), Outcome> {
        let response = self.request(path, "", body)?;
        let text = response.text();
        let fits = match self.load {
            Load::Code => text.starts_with(expected),
            _ => text == expected,
        };
        match (response.status, fits) {
            (200, true) => Ok(()),
            // What the store says itself.
            (200, false) if text.starts_with("error: ") => Err(Outcome::Failed(text)),
            (200, false) => Err(Outcome::Wrong(format!("got {}", shown(&text)))),
            (500.., _) => Err(Outcome::Failed(reason(&response))),
            (status, _) => Err(Outcome::Wrong(format!("status {status}: {}", shown(&text)))),
        }
    }

    /// Adds 1 to each of its keys in turn: how often that was done is known.
    fn counts(&mut self) -> Result<(), Outcome> {
        let (round, key) = (self.counted / KEYS + 1, self.counted % KEYS);
        self.counted += 1;
        let line = format!("increment count/{}/{key} 1", self.number);
        self.http("/default", &line, &format!("{round}\n"))
    }

    /// A large answer, as it comes.
    fn pours(&mut self) -> Result<(), Outcome> {
        let mut wire = self.wire()?;
        wire.say(format!("GET /?{STREAM} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes())?;
        let taken = wire.takes()?;
        if taken != STREAM {
            return Err(Outcome::Wrong(format!("got {taken} bytes")));
        }
        self.keep(wire, true)
    }

    fn request(&mut self, path: &str, headers: &str, body: &str) -> Result<Response, Outcome> {
        let mut wire = self.wire()?;
        let length = body.len();
        let close = if self.keeps {
            ""
        } else {
            "connection: close\r\n"
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\n{close}{headers}content-length: {length}\r\n\r\n"
        );
        wire.say(&[head.as_bytes(), body.as_bytes()].concat())?;
        let (response, stays) = wire.response()?;
        self.keep(wire, stays)?;
        Ok(response)
    }

    /// By way of a function that asks another server, which sends the key back.
    fn through(&mut self, key: &str) -> Result<(), Outcome> {
        let url = self.world.backend.url(key);
        let headers = format!("x-url: {url}\r\nx-time: {ASKS}\r\n");
        let response = self.request("/", &headers, "")?;
        let text = response.text();
        match response.status {
            200 if text == key => Ok(()),
            200 => Err(Outcome::Wrong(format!("got {}", shown(&text)))),
            599 => {
                let kind = response.header("x-kind").unwrap_or_default();
                Err(Outcome::Failed(format!("599 {kind}")))
            }
            500.. => Err(Outcome::Failed(reason(&response))),
            status => Err(Outcome::Wrong(format!("status {status}: {}", shown(&text)))),
        }
    }

    /// A line by TCP, and one that answers it.
    fn lines(
        &mut self,
        first: &str,
        line: &str,
        fits: impl Fn(&str) -> bool,
    ) -> Result<(), Outcome> {
        let first = if self.wire.is_some() { "" } else { first };
        let mut wire = self.wire()?;
        wire.say(format!("{first}{line}\n").as_bytes())?;
        let said = wire.line()?;
        if fits(&said) {
            self.wire = self.keeps.then_some(wire);
            return Ok(());
        }
        // What the store says begins with what kind of error it is.
        match self.load {
            Load::Sql => Err(Outcome::Failed(said)),
            _ => Err(Outcome::Wrong(format!("got {}", shown(&said)))),
        }
    }

    /// A message over a WebSocket, and the one that answers it.
    fn message(&mut self, key: &str) -> Result<(), Outcome> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => {
                let mut wire = Wire::to(self.world.at(self.load.name()))?;
                wire.say(handshake("/", "").as_bytes())?;
                let head = wire.head()?;
                if !head.starts_with("HTTP/1.1 101 ") {
                    let first = head.lines().next().unwrap_or_default();
                    return Err(Outcome::Failed(first.to_owned()));
                }
                wire
            }
        };
        wire.say(&whole(TEXT, key).masked())?;
        let head = wire.exactly(2)?;
        let length = usize::from(head[1]);
        // A longer one is no answer to this.
        let payload = wire.exactly(length.min(125))?;
        match (head[0], payload == key.as_bytes()) {
            (0x81, true) => {
                self.wire = Some(wire);
                Ok(())
            }
            (0x88, _) => Err(Outcome::Failed("closed".to_owned())),
            _ => Err(Outcome::Wrong(format!(
                "got {}",
                shown(&String::from_utf8_lossy(&payload))
            ))),
        }
    }
}

fn digit(key: &str) -> usize {
    key.bytes().last().map_or(0, usize::from)
}

fn reason(response: &Response) -> String {
    format!("{} {}", response.status, response.reason())
}

fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    format!("{short:?}, {} bytes", text.len())
}
