//! The streams of one invocation as its guest sees them: small ids instead of addresses,
//! bytes without boundaries, and an event for each change. No I/O.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, Bytes};
use protos::credit::{self, INITIAL_WINDOW, MAX_WINDOW, Taken};
use protos::{Address, Body, Ending, Errno, Message, Reason};

/// Warnings that may wait for the guest; each limit warns once, or now and then.
const WARNINGS_KEPT: usize = 16;

use crate::names::Names;

/// The id of the parent's stream.
pub const PARENT: u32 = 1;

/// So many streams that have ended and are fully read stay readable (`_status`); older
/// ones answer EBADF, so that a long-lived function does not fill its memory with them.
pub const ENDED_KEPT: usize = 1024;

/// The id of what happens to the invocation itself: a warning, an answer about a name.
pub const ITSELF: u32 = 0;

/// So many streams by name may be open at once; the master counts them as well.
pub const MAX_CALLS: usize = 64;

/// What was read of streams that then ended is reported when there is this much of it: often
/// enough to stay far below the number that the master bears, and no frame for each of them.
pub const OWED_AT: usize = 64;

const _: () = assert!(OWED_AT < ENDED_KEPT);

/// Frames with fewer bytes are copied out of the buffer of 64 KiB that they came in.
const COPIED: usize = 16 * 1024;

/// All streams of one invocation.
#[derive(Debug)]
pub struct Streams {
    streams: BTreeMap<u32, Stream>,
    ids: BTreeMap<Address, u32>,
    next_id: u32,
    events: VecDeque<u32>,
    ended_and_read: VecDeque<u32>,
    live_children: u32,
    live_calls: usize,
    owed: Vec<(Address, u32)>,
    left: Vec<Address>,
    /// [`ITSELF`] stands in `events`.
    itself_reported: bool,
    /// The names that were asked for.
    pub names: Names,
    /// The guest has looked for something, or written: what became of it may depend on others.
    pub touched: bool,
    /// The credit that each stream begins with.
    first_credit: u32,
    /// The credit that a stream to a service begins with: all that it can have.
    service_credit: u32,
    /// Limits that are nearly reached, and what they would end with.
    warnings: VecDeque<(Reason, String)>,
}

/// Who is at the other end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Parent,
    Child,
    /// Somebody who was looked up.
    Host,
    /// Somebody who has looked us up.
    Visitor,
}

#[derive(Debug)]
struct Stream {
    address: Address,
    peer: Peer,
    arrived: VecDeque<Piece>,
    /// Bytes in `arrived`.
    unread: usize,
    taken: Taken,
    /// The other side sends no more.
    read_closed: bool,
    /// Bytes that we may send.
    credit: u32,
    /// We said that we send no more.
    write_closed: bool,
    /// Writing answered EAGAIN: new credit is an event.
    wants_credit: bool,
    ending: Option<Ending>,
    /// Stands in `events`.
    reported: bool,
}

/// What is left of one frame.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Taken with its last byte.
    surcharge: u32,
}

impl Piece {
    fn new(data: Bytes) -> Self {
        let surcharge = credit::surcharge(data.len());
        // A small one must not keep the whole buffer that it came in.
        let bytes = if data.len() < COPIED {
            Bytes::copy_from_slice(&data)
        } else {
            data
        };
        Self { bytes, surcharge }
    }
}

impl Stream {
    fn new(address: Address, peer: Peer, credit: u32) -> Self {
        Self {
            address,
            peer,
            arrived: VecDeque::new(),
            unread: 0,
            taken: Taken::default(),
            read_closed: false,
            credit,
            write_closed: false,
            wants_credit: false,
            ending: None,
            reported: false,
        }
    }
}

/// What [`Streams::read`] got.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    /// Bytes copied; 0 only at the end of the stream.
    pub bytes: usize,
    /// Credit to give back to this address now.
    pub report: Option<(Address, u32)>,
}

impl Streams {
    /// The streams of an invocation that begins: one, to its parent. `window` is its limit of
    /// that name; 0 for none of its own.
    pub fn new(parent: Address, window: u32) -> Self {
        let (first_credit, service_credit) = match window {
            0 => (INITIAL_WINDOW, MAX_WINDOW),
            window => (window.min(INITIAL_WINDOW), window),
        };
        Self {
            first_credit,
            service_credit,
            streams: BTreeMap::from([(PARENT, Stream::new(parent, Peer::Parent, first_credit))]),
            ids: BTreeMap::from([(parent, PARENT)]),
            next_id: PARENT + 1,
            events: VecDeque::new(),
            ended_and_read: VecDeque::new(),
            live_children: 0,
            live_calls: 0,
            owed: Vec::new(),
            left: Vec::new(),
            itself_reported: false,
            names: Names::default(),
            touched: false,
            warnings: VecDeque::new(),
        }
    }

    /// What was read of children that then ended, and was too little to be reported before: the
    /// master counts it as unread, so it is told before it is asked for another child.
    pub fn take_owed(&mut self) -> Vec<(Address, u32)> {
        std::mem::take(&mut self.owed)
    }

    /// Visitors that have ended before we had closed our side: the master is told that it is.
    pub fn take_left(&mut self) -> Vec<Address> {
        std::mem::take(&mut self.left)
    }

    /// Whether so much is owed that it should not wait for the next child.
    pub fn owes_much(&self) -> bool {
        self.owed.len() >= OWED_AT
    }

    /// Children that have not ended, as far as is known here.
    pub fn live_children(&self) -> u32 {
        self.live_children
    }

    /// Adds the stream to a child that is being started.
    ///
    /// # Errors
    /// EEXIST when the address is one that is known already; EAGAIN when no ids are left.
    pub fn open(&mut self, address: Address) -> Result<u32, Errno> {
        let id = self.add(address, Peer::Child)?;
        self.live_children += 1;
        Ok(id)
    }

    /// Adds the stream to a service that is being called: a whole request fits from the beginning.
    ///
    /// # Errors
    /// As [`Streams::open`].
    pub fn open_to_service(&mut self, address: Address) -> Result<u32, Errno> {
        let id = self.open(address)?;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.credit = self.service_credit;
        }
        Ok(id)
    }

    /// Adds the stream to somebody who is being looked up.
    ///
    /// # Errors
    /// As [`Streams::open`]; EAGAIN also with [`MAX_CALLS`] streams by name.
    pub fn call(&mut self, address: Address) -> Result<u32, Errno> {
        if self.live_calls >= MAX_CALLS {
            return Err(Errno::AGAIN);
        }
        let id = self.add(address, Peer::Host)?;
        self.live_calls += 1;
        Ok(id)
    }

    fn add(&mut self, address: Address, peer: Peer) -> Result<u32, Errno> {
        if self.ids.contains_key(&address) {
            return Err(Errno::EXIST);
        }
        let id = self.next_id;
        // Ids are i32 for the guest.
        if id > i32::MAX as u32 {
            return Err(Errno::AGAIN);
        }
        self.next_id += 1;
        let stream = Stream::new(address, peer, self.first_credit);
        self.streams.insert(id, stream);
        self.ids.insert(address, id);
        Ok(id)
    }

    /// Takes in what the master said. What is for an address that is not known here (any
    /// more), or is not for a running invocation, is dropped.
    pub fn receive(&mut self, message: Message) {
        if let Body::Grant { name, error } = message.body {
            match message.from {
                // A newcomer: what it says follows. The master has counted it.
                Some(from) => {
                    self.release(from);
                    if let Ok(id) = self.add(from, Peer::Visitor) {
                        self.live_calls += 1;
                        self.report(id);
                    }
                }
                None => {
                    self.names.answered(name, error);
                    self.report_itself();
                }
            }
            return;
        }
        if let Body::Warning(warning) = message.body {
            // All limits that the master watches are limits of time.
            return self.warn(Reason::Wall, &warning.limit);
        }
        let Some(id) = message.from.and_then(|from| self.ids.get(&from)).copied() else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        match message.body {
            Body::Data(data) => {
                stream.unread += data.len();
                stream.arrived.push_back(Piece::new(data));
            }
            Body::HalfClose => stream.read_closed = true,
            Body::Credit(bytes) => {
                stream.credit = stream.credit.saturating_add(bytes);
                let enough = credit::room(stream.credit) > 0;
                if !enough || !std::mem::take(&mut stream.wants_credit) {
                    return;
                }
            }
            Body::Ending(ending) => self.end(id, ending),
            // The frame that was refused named somebody who is not there (any more). Its ending
            // is on its way or has come; if there is none to come, this is all there is.
            Body::Error(errno) => {
                let detail = format!("the master refused a frame: {errno}");
                self.end(id, Ending::refused(errno, detail));
            }
            Body::Spawn { .. }
            | Body::Kill
            | Body::Exit(_)
            | Body::Startup { .. }
            | Body::Warning(_)
            | Body::Register { .. }
            | Body::Lookup { .. }
            | Body::Monitor
            | Body::Grant { .. }
            | Body::Log { .. } => return,
        }
        self.report(id);
    }

    fn end(&mut self, id: u32, ending: Ending) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.ending.is_some() {
            return;
        }
        stream.ending = Some(ending);
        stream.read_closed = true;
        match stream.peer {
            Peer::Parent => {}
            Peer::Child => self.live_children = self.live_children.saturating_sub(1),
            Peer::Host | Peer::Visitor => self.live_calls = self.live_calls.saturating_sub(1),
        }
        // The master frees its place when it has heard that we know.
        if stream.peer == Peer::Visitor && !std::mem::replace(&mut stream.write_closed, true) {
            self.left.push(stream.address);
        }
        if id != PARENT
            && stream.unread == 0
            && let Some(bytes) = stream.taken.flush()
        {
            self.owed.push((stream.address, bytes));
        }
        self.forget_if_done(id);
    }

    /// A limit is nearly reached; `reason` is what it ends with.
    pub fn warn(&mut self, reason: Reason, limit: &str) {
        if self.warnings.len() >= WARNINGS_KEPT {
            return;
        }
        self.warnings.push_back((reason, limit.to_owned()));
        self.report_itself();
    }

    /// The oldest warning that was not taken yet.
    pub fn take_warning(&mut self) -> Option<Ending> {
        let (reason, limit) = self.warnings.pop_front()?;
        Some(Ending::new(reason, limit))
    }

    /// Puts `id` among the events, once.
    fn report(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut stream.reported, true)
        {
            self.events.push_back(id);
        }
    }

    /// Puts [`ITSELF`] among the events, once.
    fn report_itself(&mut self) {
        if !std::mem::replace(&mut self.itself_reported, true) {
            self.events.push_back(ITSELF);
        }
    }

    /// Moves the oldest events into `ids`; how many there were.
    pub fn take_events(&mut self, mut take: impl FnMut(u32), room: usize) -> usize {
        let count = room.min(self.events.len());
        for id in self.events.drain(..count) {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.reported = false;
            }
            self.itself_reported &= id != ITSELF;
            take(id);
        }
        count
    }

    /// Whether there is anything for [`Streams::take_events`].
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    fn get(&mut self, id: u32) -> Result<&mut Stream, Errno> {
        self.streams.get_mut(&id).ok_or(Errno::BADF)
    }

    /// Copies what has arrived.
    ///
    /// # Errors
    /// EAGAIN when there is nothing yet, EBADF.
    pub fn read(&mut self, id: u32, buffer: &mut [u8]) -> Result<Read, Errno> {
        let stream = self.get(id)?;
        if stream.unread == 0 {
            return if stream.read_closed {
                Ok(Read {
                    bytes: 0,
                    report: None,
                })
            } else {
                Err(Errno::AGAIN)
            };
        }
        let (mut copied, mut surcharge) = (0, 0);
        while let Some(first) = stream.arrived.front_mut() {
            let bytes = first.bytes.len().min(buffer.len() - copied);
            buffer[copied..copied + bytes].copy_from_slice(&first.bytes[..bytes]);
            copied += bytes;
            first.bytes.advance(bytes);
            if !first.bytes.is_empty() {
                break;
            }
            surcharge += first.surcharge;
            stream.arrived.pop_front();
        }
        stream.unread -= copied;
        let empty = stream.unread == 0;
        // Both together are at most what the window held.
        let cost = u32::try_from(copied).unwrap_or(u32::MAX) + surcharge;
        let mut report = stream.taken.take(cost, empty);
        if empty && stream.ending.is_some() {
            report = Some(report.unwrap_or(0) + stream.taken.flush().unwrap_or(0));
        }
        let report = report
            .filter(|bytes| *bytes > 0)
            .map(|bytes| (stream.address, bytes));
        self.forget_if_done(id);
        Ok(Read {
            bytes: copied,
            report,
        })
    }

    /// How much of `length` may be written now, as one frame, and to whom. The credit is taken.
    ///
    /// # Errors
    /// EAGAIN without enough credit, EPIPE when the other side has ended or this side was closed,
    /// EBADF.
    pub fn write(&mut self, id: u32, length: usize) -> Result<(Address, usize), Errno> {
        let stream = self.get(id)?;
        if stream.ending.is_some() || stream.write_closed {
            return Err(Errno::PIPE);
        }
        if length == 0 {
            return Ok((stream.address, 0));
        }
        let bytes = length.min(credit::room(stream.credit) as usize);
        if bytes == 0 {
            stream.wants_credit = true;
            return Err(Errno::AGAIN);
        }
        // `room` leaves enough for what it allows.
        stream.credit = stream.credit.saturating_sub(credit::cost(bytes));
        Ok((stream.address, bytes))
    }

    /// Says that no more is written. The result is whom to tell, if that is still of use.
    ///
    /// # Errors
    /// EBADF.
    pub fn close(&mut self, id: u32) -> Result<Option<Address>, Errno> {
        let stream = self.get(id)?;
        let first = !std::mem::replace(&mut stream.write_closed, true);
        Ok((first && stream.ending.is_none()).then_some(stream.address))
    }

    /// How the other side ended.
    ///
    /// # Errors
    /// EAGAIN before it has, EBADF.
    pub fn status(&mut self, id: u32) -> Result<&Ending, Errno> {
        self.get(id)?.ending.as_ref().ok_or(Errno::AGAIN)
    }

    /// The child behind an id, if it has not ended.
    ///
    /// # Errors
    /// EPERM for one that is no child, EBADF.
    pub fn child(&self, id: u32) -> Result<Option<Address>, Errno> {
        let stream = self.streams.get(&id).ok_or(Errno::BADF)?;
        match stream.peer {
            Peer::Child => Ok(stream.ending.is_none().then_some(stream.address)),
            Peer::Parent | Peer::Host | Peer::Visitor => Err(Errno::PERM),
        }
    }

    /// Whom to ask for the ending of the invocation behind an id, if it is not told in any case.
    ///
    /// # Errors
    /// EPIPE for a stream by name that is over, EBADF.
    pub fn monitored(&self, id: u32) -> Result<Option<Address>, Errno> {
        let stream = self.streams.get(&id).ok_or(Errno::BADF)?;
        match (stream.peer, &stream.ending) {
            (Peer::Parent | Peer::Child, _) => Ok(None),
            (Peer::Host | Peer::Visitor, Some(_)) => Err(Errno::PIPE),
            (Peer::Host | Peer::Visitor, None) => Ok(Some(stream.address)),
        }
    }

    /// Whether a read would answer without waiting for the master.
    pub fn readable(&self, id: u32) -> bool {
        self.streams
            .get(&id)
            .is_none_or(|stream| stream.unread > 0 || stream.read_closed)
    }

    fn forget_if_done(&mut self, id: u32) {
        let done = |stream: &Stream| stream.ending.is_some() && stream.unread == 0;
        if id == PARENT || !self.streams.get(&id).is_some_and(done) {
            return;
        }
        if self.ended_and_read.contains(&id) {
            return;
        }
        self.ended_and_read.push_back(id);
        if self.ended_and_read.len() > ENDED_KEPT
            && let Some(oldest) = self.ended_and_read.pop_front()
            && let Some(stream) = self.streams.remove(&oldest)
            && self.ids.get(&stream.address) == Some(&oldest)
        {
            self.ids.remove(&stream.address);
        }
    }

    /// The address of a stream that has ended may be a newcomer's; what is left of the old one is
    /// read by its id.
    fn release(&mut self, address: Address) {
        let id = self.ids.get(&address);
        let stream = id.and_then(|id| self.streams.get(id));
        if stream.is_some_and(|stream| stream.ending.is_some()) {
            self.ids.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests;
