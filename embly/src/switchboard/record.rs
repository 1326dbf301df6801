//! What is known of one invocation, and its report at the end.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protos::{Address, Ending, Reason};

use super::Switchboard;
use super::drain::Untold;
use super::trace::{Requested, Trace};
use crate::pool::Functions;
use crate::report::{Event, Reporter, Used};
use crate::secrets::Handed;

/// Is told what an invocation has used, when it is over.
pub struct Told(pub Box<dyn FnOnce(Used) + Send + Sync>);

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

/// What started an invocation.
#[derive(Debug, Default)]
pub struct Origin {
    /// The gateway, where it was one.
    pub gateway: Option<Arc<str>>,
    /// The request that it belongs to.
    pub request_id: Option<Arc<str>>,
    /// What that asks for.
    pub requested: Option<Arc<Requested>>,
    /// How long that has waited in the queue.
    pub queued: Duration,
    /// Variables of its route, on top of the function's own: `KEY=value`.
    pub env: Option<Arc<[String]>>,
    /// Who wants to know what it has used.
    pub told: Option<Told>,
    /// Arguments after the function's name.
    pub args: Option<Arc<[String]>>,
    /// Where functions are looked for by its whole tree, if not among those that are served.
    pub trial: Option<Arc<Functions>>,
}

/// Times and amounts of one invocation.
#[derive(Debug)]
pub struct Record {
    pub address: Address,
    pub function: Arc<str>,
    pub origin: Origin,
    pub created: Instant,
    /// When `startup` was sent.
    pub started: Option<Instant>,
    pub cpu: Duration,
    pub memory: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// What it was given; masked in all output as long as somebody holds it.
    pub secrets: Option<Arc<Handed>>,
    /// Where it is kept what it did.
    pub trace: Arc<Trace>,
}

impl Record {
    pub fn new(address: Address, function: Arc<str>, origin: Origin, trace: Arc<Trace>) -> Self {
        Self {
            address,
            function,
            origin,
            created: Instant::now(),
            started: None,
            cpu: Duration::ZERO,
            memory: 0,
            bytes_in: 0,
            bytes_out: 0,
            secrets: None,
            trace,
        }
    }
}

/// An invocation that is over. Reports itself when it is dropped, so that whoever started it
/// can still say what its output was worth.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub ending: Ending,
    record: Record,
    finished: Instant,
    reporter: Reporter,
    _untold: Untold,
}

impl Finished {
    pub(super) fn new(ending: Ending, record: Record, switchboard: &Switchboard) -> Self {
        Self {
            ending,
            record,
            finished: Instant::now(),
            reporter: switchboard.reporter.clone(),
            _untold: switchboard.drain.untold(),
        }
    }

    /// Whose end it is.
    pub fn address(&self) -> Address {
        self.record.address
    }

    /// Exit 0 is not enough: its output was not what its gateway needs.
    pub fn amend(&mut self, reason: Reason, detail: &str) {
        if self.ending.reason == Reason::Ok {
            self.ending = Ending::new(reason, detail);
        }
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        let Record {
            address,
            function,
            origin,
            created,
            started,
            cpu,
            memory,
            bytes_in,
            bytes_out,
            secrets: _,
            trace,
        } = &mut self.record;
        let started = started.unwrap_or(self.finished);
        let used = Used {
            queue_us: micros(origin.queued),
            start_us: micros(started.duration_since(*created)),
            run_us: micros(self.finished.duration_since(started)),
            cpu_us: micros(*cpu),
            memory_bytes: *memory,
        };
        let mut ending = self.ending.clone();
        self.reporter.masks().mask_in(&mut ending.detail);
        trace.ended(*address, ending, used, (*bytes_in, *bytes_out));
        self.reporter.event(&Event::InvocationEnded {
            address: *address,
            function,
            reason: self.ending.reason,
            code: self.ending.code,
            detail: &self.ending.detail,
            queue_us: used.queue_us,
            start_us: used.start_us,
            run_us: used.run_us,
            cpu_us: used.cpu_us,
            memory_bytes: used.memory_bytes,
            bytes_in: *bytes_in,
            bytes_out: *bytes_out,
            request_id: origin.request_id.as_deref(),
        });
        if let Some(Told(told)) = origin.told.take() {
            told(used);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
