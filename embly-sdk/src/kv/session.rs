//! The stream to `embly/kv`: requests go out as they are made, answers are handed to whoever waits.

use crate::{error::Error, proto::kv as proto, reason::Exit, service, stream::Conn, sys, task};
use futures_io::AsyncRead;
use prost::Message;
use proto::{request, response};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    error::Error as StdError,
    fmt,
    future::Future,
    io,
    marker::PhantomData,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Bytes of the length of a message.
const HEADER: usize = 4;

/// Bytes read at once: a stream's first window.
const CHUNK: usize = 16 * 1024;

/// A request that the store refused, or could not carry out. Found with
/// [`Error::downcast_ref`](crate::Error::downcast_ref).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// WASI errno: 2 (not allowed), 28 (makes no sense), 1 (too big), 51 (the store is full), 6 (too
    /// many), 29 (the store has failed).
    pub errno: u32,
    /// What happened, and what to do.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl StdError for Failure {}

impl From<proto::Error> for Failure {
    fn from(error: proto::Error) -> Self {
        let proto::Error { errno, detail } = error;
        Self { errno, detail }
    }
}

impl Failure {
    fn into_error(self) -> Error {
        let kind = match self.errno {
            1 => io::ErrorKind::InvalidInput,
            2 => io::ErrorKind::PermissionDenied,
            6 => io::ErrorKind::ResourceBusy,
            28 => io::ErrorKind::InvalidInput,
            51 => io::ErrorKind::StorageFull,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self).into()
    }
}

/// One stream.
pub(super) struct Session {
    conn: Conn,
    /// Not sent yet.
    out: Vec<u8>,
    /// The beginning of a message.
    input: Vec<u8>,
    last_id: u64,
    waiting: BTreeMap<u64, Slot>,
    watches: BTreeMap<u64, Told>,
    over: Option<Over>,
}

/// Who waits for an answer.
#[derive(Default)]
struct Slot {
    answer: Option<response::What>,
    waker: Option<Waker>,
}

/// What a watch was told.
#[derive(Default)]
struct Told {
    events: VecDeque<proto::Event>,
    waker: Option<Waker>,
}

/// How the stream has ended.
struct Over {
    kind: io::ErrorKind,
    exit: Option<Exit>,
    text: String,
}

impl Over {
    fn error(&self) -> Error {
        match &self.exit {
            Some(exit) => io::Error::new(self.kind, exit.clone()).into(),
            None => io::Error::new(self.kind, self.text.clone()).into(),
        }
    }
}

pub(super) type Shared = Rc<RefCell<Session>>;

impl Session {
    pub fn open(store: &str) -> Result<Shared, Error> {
        let conn = service::call("embly/kv")?;
        let mut session = Self {
            conn,
            out: Vec::new(),
            input: Vec::new(),
            last_id: 0,
            waiting: BTreeMap::new(),
            watches: BTreeMap::new(),
            over: None,
        };
        let store = store.to_owned();
        session.push(&proto::Open { store });
        session.send();
        Ok(Rc::new(RefCell::new(session)))
    }

    fn push(&mut self, message: &impl Message) {
        let length = message.encoded_len();
        // What does not fit in 32 bits does not fit in the memory of a function either.
        let header = u32::try_from(length).unwrap_or(u32::MAX);
        self.out.extend(header.to_le_bytes());
        message
            .encode(&mut self.out)
            .expect("a vector grows as it is needed");
    }

    /// Sends what there is room for. What goes wrong shows when the answer is read.
    fn send(&mut self) {
        while !self.out.is_empty() {
            match sys::write(self.conn.id(), &self.out) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(_) => return,
            }
        }
    }

    /// Sends a request; the id of its answer.
    pub fn ask(&mut self, what: request::What) -> u64 {
        let id = self.tell(what);
        self.waiting.insert(id, Slot::default());
        id
    }

    /// Sends a request whose answer nobody wants.
    fn tell(&mut self, what: request::What) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let what = Some(what);
        self.push(&proto::Request { id, what });
        self.send();
        id
    }

    /// Sends and reads as far as that goes now.
    fn drive(&mut self, cx: &mut Context<'_>) {
        while !self.out.is_empty() && self.over.is_none() {
            match self.conn.poll_write_some(cx, &self.out) {
                Poll::Ready(Ok(n)) => drop(self.out.drain(..n)),
                // Why, it says when it is read.
                Poll::Ready(Err(_)) => self.out.clear(),
                Poll::Pending => break,
            }
        }
        let mut chunk = [0; CHUNK];
        while self.over.is_none() {
            let read = Pin::new(&mut self.conn).poll_read(cx, &mut chunk);
            let over = match read {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => Over {
                    kind: io::ErrorKind::UnexpectedEof,
                    exit: None,
                    text: "the store has ended the stream".to_owned(),
                },
                Poll::Ready(Ok(n)) => {
                    self.input.extend_from_slice(&chunk[..n]);
                    match self.take_in() {
                        Ok(()) => continue,
                        Err(text) => Over {
                            kind: io::ErrorKind::InvalidData,
                            exit: None,
                            text,
                        },
                    }
                }
                Poll::Ready(Err(error)) => Over {
                    kind: error.kind(),
                    text: error.to_string(),
                    exit: Error::from(error).exit().cloned(),
                },
            };
            self.over = Some(over);
            self.wake_all();
        }
    }

    fn wake_all(&mut self) {
        let slots = self.waiting.values_mut().map(|slot| &mut slot.waker);
        let watches = self.watches.values_mut().map(|told| &mut told.waker);
        for waker in slots.chain(watches).filter_map(Option::take) {
            waker.wake();
        }
    }

    /// Takes the whole messages of what was read.
    fn take_in(&mut self) -> Result<(), String> {
        let mut at = 0;
        while let Some(header) = self.input[at..].first_chunk::<HEADER>() {
            let length = u32::from_le_bytes(*header) as usize;
            let Some(message) = self.input[at + HEADER..].get(..length) else {
                break;
            };
            let response = proto::Response::decode(message)
                .map_err(|error| format!("an answer cannot be read: {error}"))?;
            at += HEADER + length;
            match response.what {
                Some(response::What::Event(event)) => {
                    if let Some(told) = self.watches.get_mut(&response.id) {
                        told.events.push_back(event);
                        told.waker.take().into_iter().for_each(Waker::wake);
                    }
                }
                Some(what) => {
                    if let response::What::Watching(_) = what {
                        self.watches.entry(response.id).or_default();
                    }
                    if let Some(slot) = self.waiting.get_mut(&response.id) {
                        slot.answer = Some(what);
                        slot.waker.take().into_iter().for_each(Waker::wake);
                    }
                }
                None => return Err("an answer of a kind that is not known".to_owned()),
            }
        }
        self.input.drain(..at);
        Ok(())
    }

    fn poll_answer(
        &mut self,
        id: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Result<response::What, Error>> {
        if self
            .waiting
            .get(&id)
            .is_some_and(|slot| slot.answer.is_none())
        {
            self.drive(cx);
        }
        let answer = self.waiting.get_mut(&id).and_then(|slot| {
            if slot.answer.is_none() {
                slot.waker = Some(cx.waker().clone());
            }
            slot.answer.take()
        });
        match (answer, &self.over) {
            (Some(response::What::Error(error)), _) => {
                Poll::Ready(Err(Failure::from(error).into_error()))
            }
            (Some(what), _) => Poll::Ready(Ok(what)),
            (None, Some(over)) => Poll::Ready(Err(over.error())),
            (None, None) => Poll::Pending,
        }
    }

    /// The next event of a watch.
    pub fn poll_event(
        &mut self,
        id: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Result<proto::Event, Error>> {
        if self.watches.entry(id).or_default().events.is_empty() {
            self.drive(cx);
        }
        let told = self.watches.entry(id).or_default();
        match (told.events.pop_front(), &self.over) {
            (Some(event), _) => Poll::Ready(Ok(event)),
            (None, Some(over)) => Poll::Ready(Err(over.error())),
            (None, None) => {
                told.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, watch: u64) {
        self.watches.remove(&watch);
        self.tell(request::What::Unwatch(proto::Unwatch { watch }));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The service then ends; where it has, nothing is left to say.
        let _ = self.conn.close();
    }
}

/// The answer to a request, which was sent when this was made: several can be under way at once.
///
/// An async function `.await`s it, a plain one calls [`wait`](Self::wait).
#[must_use = "it was asked for, and says whether it went well"]
pub struct Answer<T> {
    session: Shared,
    id: u64,
    read: fn(response::What) -> Option<T>,
    of: PhantomData<fn() -> T>,
}

impl<T> Answer<T> {
    pub(super) fn new(
        session: &Shared,
        what: request::What,
        read: fn(response::What) -> Option<T>,
    ) -> Self {
        let id = session.borrow_mut().ask(what);
        Self {
            session: Rc::clone(session),
            id,
            read,
            of: PhantomData,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Waits for it.
    ///
    /// # Errors
    /// When the store refuses it, or fails.
    pub fn wait(self) -> Result<T, Error> {
        task::block_on(self)
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.session.borrow_mut().poll_answer(self.id, cx);
        answer.map(|answer| {
            (self.read)(answer?).ok_or_else(|| {
                let text = "the store has answered something else than it was asked";
                io::Error::new(io::ErrorKind::InvalidData, text).into()
            })
        })
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        if let Ok(mut session) = self.session.try_borrow_mut() {
            session.waiting.remove(&self.id);
        }
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
