//! What an invocation and all that it has started did: who started whom, which messages went between
//! them, and how each ended. Kept in bounds while it runs and for a while after it.
//!
//! A message costs a look at the clock and an entry in a queue, so this is always on: what went wrong
//! can be looked at when it has. Payload is never kept.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use protos::{Address, Body, Ending};

use super::live::Live;
use super::{Origin, Receiver, Switchboard};
use crate::report::Used;

/// So many invocations of a trace are kept: those that run, and of the others the last.
const INVOCATIONS: usize = 512;

/// So many messages of its beginning.
const FIRST_MESSAGES: usize = 64;

/// And so many of its end.
const LAST_MESSAGES: usize = 192;

/// So many refusals of its beginning.
const REFUSALS: usize = 32;

/// The longest text of a refusal, an ending or a path, in bytes.
const TEXT: usize = 512;

/// So many traces are kept of what has ended.
const ENDED: usize = 1_000;

/// So many invocations, messages and refusals in all, also of what runs: some 8 MiB.
const ENTRIES: usize = 100_000;

/// All traces that are over, the last of them last, and how much room the others take.
#[derive(Debug, Default)]
pub struct Traces {
    ended: Mutex<VecDeque<Arc<Trace>>>,
    entries: AtomicUsize,
}

/// What was started by one gateway, or by the project itself, and all below it.
#[derive(Debug)]
pub struct Trace {
    traces: Arc<Traces>,
    began: Instant,
    /// The same, as others tell the time.
    pub time: Timestamp,
    /// What was asked for, where a request has begun it.
    pub requested: Option<Arc<Requested>>,
    log: Mutex<Log>,
}

/// A request that is answered by what a trace is of.
#[derive(Debug)]
pub struct Requested {
    /// Its method.
    pub method: Box<str>,
    /// Its path and query, cut where they are long.
    pub path: Box<str>,
    /// 0 until there is one.
    status: AtomicU16,
    /// Whether a handler has returned an error, in whose place its SDK has answered.
    failed: AtomicBool,
}

impl Requested {
    /// One that has no answer yet; the path has no secrets.
    pub fn new(method: &str, path: &str) -> Arc<Self> {
        Arc::new(Self {
            method: method.into(),
            path: path[..path.floor_char_boundary(TEXT)].into(),
            status: AtomicU16::new(0),
            failed: AtomicBool::new(false),
        })
    }

    /// It is answered with this status.
    pub fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// What answers it, does so in place of a handler that has failed.
    pub fn failed(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Whether that is so.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The status of its answer, as soon as there is one.
    pub fn status(&self) -> Option<u16> {
        let status = self.status.load(Ordering::Relaxed);
        (status > 0).then_some(status)
    }
}

/// What is kept of one trace.
#[derive(Debug, Default)]
pub struct Log {
    /// In the order in which they began.
    pub invocations: Vec<Traced>,
    first: Vec<Moved>,
    last: VecDeque<Moved>,
    /// What was asked for and refused.
    pub refusals: Vec<Refusal>,
    /// How many there was no room for.
    pub left_out: LeftOut,
    running: usize,
}

/// What a trace had no room for.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeftOut {
    /// Invocations.
    pub invocations: u64,
    /// Messages, between the first and the last.
    pub messages: u64,
    /// Refusals.
    pub refusals: u64,
}

/// An invocation, or a call of a service.
#[derive(Debug, Clone)]
pub struct Traced {
    /// Its address.
    pub address: Address,
    /// Who has started it.
    pub parent: Address,
    /// What it runs.
    pub function: Arc<str>,
    /// The gateway that has started it.
    pub gateway: Option<Arc<str>>,
    /// The request that it belongs to.
    pub request_id: Option<Arc<str>>,
    /// When it was started, in microseconds of the trace.
    pub at: u64,
    /// What it is doing, or how it has ended.
    pub life: Life,
}

/// Where an invocation stands.
#[derive(Debug, Clone)]
pub enum Life {
    /// It runs; a service has nothing that can be looked at meanwhile.
    Runs(Option<Arc<Live>>),
    /// It is over.
    Over(Box<Over>),
}

/// How an invocation has ended.
#[derive(Debug, Clone)]
pub struct Over {
    /// When, in microseconds of the trace.
    pub at: u64,
    /// How.
    pub ending: Ending,
    /// What it has used.
    pub used: Used,
    /// Payload to it and from it.
    pub bytes: (u64, u64),
}

/// What went from one to another.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    /// When, in microseconds of the trace.
    pub at: u64,
    /// Who sent it.
    pub from: Address,
    /// Who got it.
    pub to: Address,
    /// What.
    pub what: What,
}

/// What was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// So many bytes.
    Data(u32),
    /// The end of what one writes to the other.
    Close,
}

/// What was asked for and not given.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// When, in microseconds of the trace.
    pub at: u64,
    /// To whom.
    pub to: Address,
    /// What, and why not.
    pub what: Box<str>,
}

impl Traced {
    /// One that begins.
    pub(super) fn new(
        address: Address,
        parent: Address,
        function: Arc<str>,
        origin: &Origin,
        live: Option<Arc<Live>>,
    ) -> Self {
        Self {
            address,
            parent,
            function,
            gateway: origin.gateway.clone(),
            request_id: origin.request_id.clone(),
            at: 0,
            life: Life::Runs(live),
        }
    }
}

impl Traces {
    /// A trace that begins now.
    pub fn begin(self: &Arc<Self>, requested: Option<Arc<Requested>>) -> Arc<Trace> {
        Arc::new(Trace {
            traces: Arc::clone(self),
            began: Instant::now(),
            time: Timestamp::now(),
            requested,
            log: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Trace>>> {
        // Nothing in here panics between two changes that belong together.
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for an entry, that of the oldest trace where there is none.
    fn take(&self) -> bool {
        if self.entries.fetch_add(1, Ordering::Relaxed) < ENTRIES {
            return true;
        }
        // Its entries are given back with the last who holds it.
        let oldest = self.lock().pop_front();
        if oldest.is_none() {
            self.entries.fetch_sub(1, Ordering::Relaxed);
        }
        oldest.is_some()
    }

    fn give(&self, entries: usize) {
        self.entries.fetch_sub(entries, Ordering::Relaxed);
    }

    fn keep(&self, trace: &Arc<Trace>) {
        let mut ended = self.lock();
        let oldest = (ended.len() >= ENDED).then(|| ended.pop_front());
        ended.push_back(Arc::clone(trace));
        drop(ended);
        // Not under the lock: it gives back its room.
        drop(oldest);
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let log = self.log.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.traces.give(log.entries());
    }
}

impl Log {
    fn entries(&self) -> usize {
        self.invocations.len() + self.first.len() + self.last.len() + self.refusals.len()
    }

    /// Messages, in their order.
    pub fn messages(&self) -> impl Iterator<Item = Moved> {
        self.first.iter().chain(&self.last).copied()
    }

    /// Makes room where those that have ended take all of it: half of them go, the oldest first, but
    /// not the one with which it began.
    fn forget_invocations(&mut self, traces: &Traces) {
        let over = self.invocations.len() - self.running.min(self.invocations.len());
        if self.invocations.len() < INVOCATIONS || over < 2 {
            return;
        }
        let mut left = over / 2;
        let mut first = true;
        let before = self.invocations.len();
        self.invocations.retain(|one| {
            let goes = !std::mem::take(&mut first) && left > 0 && matches!(one.life, Life::Over(_));
            left -= usize::from(goes);
            !goes
        });
        let gone = before - self.invocations.len();
        traces.give(gone);
        self.left_out.invocations += gone as u64;
    }
}

impl Trace {
    fn lock(&self) -> MutexGuard<'_, Log> {
        // Nothing in here panics between two changes that belong together.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Looks at what is kept, which waits meanwhile.
    pub fn look<T>(&self, at: impl FnOnce(&Log) -> T) -> T {
        at(&self.lock())
    }

    /// How long ago it began, in microseconds.
    pub fn age(&self) -> u64 {
        self.now()
    }

    /// Somebody begins; `at` and `life` are filled in here.
    pub(super) fn started(&self, mut one: Traced) {
        one.at = self.now();
        let mut log = self.lock();
        log.forget_invocations(&self.traces);
        log.running += 1;
        if log.invocations.len() < INVOCATIONS && self.traces.take() {
            log.invocations.push(one);
        } else {
            log.left_out.invocations += 1;
        }
    }

    /// Somebody is over; the last one ends the trace.
    pub(super) fn ended(
        self: &Arc<Self>,
        address: Address,
        mut ending: Ending,
        used: Used,
        bytes: (u64, u64),
    ) {
        let at = self.now();
        let mut log = self.lock();
        // Addresses may come again, those that run are unique.
        let runs = |one: &&mut Traced| one.address == address && matches!(one.life, Life::Runs(_));
        if let Some(one) = log.invocations.iter_mut().rev().find(runs) {
            ending
                .detail
                .truncate(ending.detail.floor_char_boundary(TEXT));
            ending.detail.shrink_to_fit();
            one.life = Life::Over(Box::new(Over {
                at,
                ending,
                used,
                bytes,
            }));
        }
        log.running = log.running.saturating_sub(1);
        if log.running > 0 {
            return;
        }
        log.invocations.shrink_to_fit();
        log.first.shrink_to_fit();
        drop(log);
        self.traces.keep(self);
    }

    fn moved(&self, from: Address, to: Address, what: What) {
        let at = self.now();
        let mut log = self.lock();
        let full = log.last.len() >= LAST_MESSAGES;
        if full {
            // Its room is taken again.
            log.last.pop_front();
            log.left_out.messages += 1;
        } else if !self.traces.take() {
            log.left_out.messages += 1;
            return;
        }
        let message = Moved { at, from, to, what };
        if log.first.len() < FIRST_MESSAGES {
            log.first.push(message);
        } else {
            log.last.push_back(message);
        }
    }

    /// Something was refused; the text has no secrets.
    pub(super) fn refused(&self, to: Address, what: &str) {
        let at = self.now();
        let mut log = self.lock();
        if log.refusals.len() < REFUSALS && self.traces.take() {
            let what = what[..what.floor_char_boundary(TEXT)].into();
            log.refusals.push(Refusal { at, to, what });
        } else {
            log.left_out.refusals += 1;
        }
    }
}

/// What is kept of a message, if anything is.
pub(super) fn what(body: &Body) -> Option<What> {
    match body {
        Body::Data(data) => Some(What::Data(u32::try_from(data.len()).unwrap_or(u32::MAX))),
        Body::HalfClose => Some(What::Close),
        Body::Credit(_)
        | Body::Spawn { .. }
        | Body::Kill
        | Body::Exit(_)
        | Body::Startup { .. }
        | Body::Ending(_)
        | Body::Error(_)
        | Body::Warning(_)
        | Body::Register { .. }
        | Body::Lookup { .. }
        | Body::Monitor
        | Body::Grant { .. }
        | Body::Log { .. } => None,
    }
}

impl super::Core {
    /// Keeps that a message is delivered to whoever is behind an address.
    pub(super) fn trace(&self, from: Option<Address>, to: Address, body: &Body) {
        let (Some(what), Some(from)) = (what(body), from) else {
            return;
        };
        match self.receivers.get(&to) {
            Some(Receiver::Invocation(driven)) => {
                // By name it may be somebody of another trace, who knows it under this address.
                let (from, called) = match self.router.caller_behind(from, to) {
                    Some(sender) => (sender, true),
                    None => (from, false),
                };
                driven.trace.moved(from, to, what);
                if called
                    && let Some(Receiver::Invocation(sender)) = self.receivers.get(&from)
                    && !Arc::ptr_eq(&sender.trace, &driven.trace)
                {
                    sender.trace.moved(from, to, what);
                }
            }
            Some(Receiver::Gate(_) | Receiver::Service(_)) => {
                if let Some(Receiver::Invocation(sender)) = self.receivers.get(&from) {
                    sender.trace.moved(from, to, what);
                }
            }
            None => {}
        }
    }
}

impl Switchboard {
    /// The traces that are kept, of what has ended and of what runs, in the order in which they began.
    pub fn traces(&self) -> Vec<Arc<Trace>> {
        let mut running: Vec<Arc<Trace>> = Vec::new();
        let core = self.lock();
        for receiver in core.receivers.values() {
            if let Receiver::Invocation(driven) = receiver {
                running.push(Arc::clone(&driven.trace));
            }
        }
        drop(core);
        let mut traces: Vec<_> = self.traces.lock().iter().cloned().collect();
        // Each invocation leads to its trace, which may just have ended.
        let mut seen: HashSet<_> = traces.iter().map(Arc::as_ptr).collect();
        running.retain(|trace| seen.insert(Arc::as_ptr(trace)));
        traces.append(&mut running);
        traces.sort_by_key(|trace| trace.began);
        traces
    }
}

#[cfg(test)]
mod tests {
    use protos::Reason;

    use super::*;

    fn address(number: u64) -> Address {
        Address::new(number).unwrap()
    }

    fn start(trace: &Trace, number: u64) {
        let origin = Origin::default();
        let one = Traced::new(address(number), address(1), "f".into(), &origin, None);
        trace.started(one);
    }

    fn end(trace: &Arc<Trace>, number: u64) {
        let used = Used {
            queue_us: 0,
            start_us: 0,
            run_us: 0,
            cpu_us: 0,
            memory_bytes: 0,
        };
        let ending = Ending::new(Reason::Trap, "x".repeat(10 * TEXT));
        trace.ended(address(number), ending, used, (0, 0));
    }

    fn entries(traces: &Traces) -> usize {
        traces.entries.load(Ordering::Relaxed)
    }

    #[test]
    fn of_many_messages_the_first_and_the_last_are_kept_and_the_others_counted() {
        let traces = Arc::new(Traces::default());
        let trace = traces.begin(None);
        start(&trace, 2);
        let many = (FIRST_MESSAGES + LAST_MESSAGES) as u32 + 10;
        for bytes in 0..many {
            trace.moved(address(1), address(2), What::Data(bytes));
        }
        let kept: Vec<_> = trace.look(|log| log.messages().map(|it| it.what).collect());
        let expected = (0..many).filter(|n| !(64..74).contains(n)).map(What::Data);
        assert_eq!(kept, expected.collect::<Vec<_>>());
        assert_eq!(trace.look(|log| log.left_out.messages), 10);
        for _ in 0..REFUSALS + 3 {
            trace.refused(address(2), &"x".repeat(10 * TEXT));
        }
        trace.look(|log| {
            assert_eq!(log.left_out.refusals, 3);
            assert!(log.refusals.iter().all(|one| one.what.len() == TEXT));
        });
        assert_eq!(
            entries(&traces),
            1 + FIRST_MESSAGES + LAST_MESSAGES + REFUSALS
        );
        drop(trace);
        assert_eq!(entries(&traces), 0);
    }

    #[test]
    fn of_a_trace_that_goes_on_what_has_ended_gives_way_and_what_runs_stays() {
        let traces = Arc::new(Traces::default());
        let trace = traces.begin(None);
        start(&trace, 2);
        start(&trace, 3);
        for number in 4..10_000 {
            start(&trace, number);
            end(&trace, number);
        }
        trace.look(|log| {
            assert!(log.invocations.len() <= INVOCATIONS);
            assert_eq!(log.invocations[0].address, address(2));
            assert_eq!(log.invocations[1].address, address(3));
            assert_eq!(log.invocations.last().unwrap().address, address(9_999));
            let all = log.left_out.invocations + log.invocations.len() as u64;
            assert_eq!(all, 9_998);
        });
        // Where all of them run, no more fit.
        let full = traces.begin(None);
        for number in 2..1_000 {
            start(&full, number);
        }
        full.look(|log| {
            assert_eq!(log.invocations.len(), INVOCATIONS);
            assert_eq!(log.left_out.invocations, 998 - INVOCATIONS as u64);
        });
        (2..1_000).for_each(|number| end(&full, number));
        assert_eq!(traces.lock().len(), 1);
    }

    #[test]
    fn all_traces_together_have_bounds_and_the_oldest_goes_first() {
        let traces = Arc::new(Traces::default());
        for number in 2..ENDED as u64 + 12 {
            let trace = traces.begin(None);
            start(&trace, number);
            end(&trace, number);
        }
        assert_eq!((traces.lock().len(), entries(&traces)), (ENDED, ENDED));
        let oldest = |traces: &Traces| {
            let first = traces.lock().front().cloned();
            first.map(|it| it.look(|log| log.invocations[0].address))
        };
        assert_eq!(oldest(&traces), Some(address(12)));
        // What runs takes the room of what has ended.
        let running: Vec<_> = (0..ENTRIES / 256 + 10)
            .map(|_| traces.begin(None))
            .collect();
        for trace in &running {
            for _ in 0..FIRST_MESSAGES + LAST_MESSAGES {
                trace.moved(address(1), address(2), What::Close);
            }
        }
        assert_eq!((traces.lock().len(), entries(&traces)), (0, ENTRIES));
        let left_out: u64 = running
            .iter()
            .map(|it| it.look(|log| log.left_out.messages))
            .sum();
        assert!(left_out > 0);
        drop(running);
        assert_eq!(entries(&traces), 0);
    }
}
