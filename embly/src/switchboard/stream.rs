//! The master's end of a stream with an invocation: where to write, and what comes back. A
//! gateway has one with the function that it starts, a service with the function that calls it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use protos::credit::{self, MAX_WINDOW, MIN_COST, Taken};
use protos::{Address, Body, Ending, Reason};
use tokio::sync::{Semaphore, mpsc};

use super::{Finished, Switchboard};

/// What an invocation says.
#[derive(Debug)]
pub enum StreamEvent {
    /// Bytes, in order.
    Data(Bytes),
    /// No more bytes.
    HalfClose,
    /// It is over; nothing follows.
    Ended(Box<Finished>),
}

/// The two ends of a stream, and what went over it.
#[derive(Debug)]
pub(super) struct Ends {
    /// The master's: a gateway's side, or a service call.
    pub own: Address,
    /// The invocation.
    pub peer: Address,
    pub switchboard: Arc<Switchboard>,
    received: AtomicU64,
    sent: AtomicU64,
    /// How a call ends, once that is decided.
    conclusion: OnceLock<Ending>,
}

impl Ends {
    pub fn new(own: Address, peer: Address, switchboard: Arc<Switchboard>) -> Arc<Self> {
        Arc::new(Self {
            own,
            peer,
            switchboard,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            conclusion: OnceLock::new(),
        })
    }

    pub fn stop(&self, reason: Reason, detail: &str) {
        let ending = Ending::new(reason, detail);
        self.switchboard.stop(self.peer, ending);
    }

    /// How a call ends that was decided already.
    pub fn conclusion(&self) -> Option<&Ending> {
        self.conclusion.get()
    }

    /// Bytes that were received, and sent.
    pub fn bytes(&self) -> (u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (load(&self.received), load(&self.sent))
    }
}

/// Where the switchboard delivers.
#[derive(Debug)]
pub(super) struct Port {
    events: mpsc::UnboundedSender<StreamEvent>,
    credit: Arc<Semaphore>,
}

impl Port {
    pub fn deliver(&self, body: Body) {
        // A gateway that has dropped its side wants no more; it is about to be forgotten.
        let _ = match body {
            Body::Data(data) => self.events.send(StreamEvent::Data(data)),
            Body::HalfClose => self.events.send(StreamEvent::HalfClose),
            Body::Credit(bytes) => {
                self.credit.add_permits(bytes as usize);
                Ok(())
            }
            Body::Error(_) => {
                self.credit.close();
                Ok(())
            }
            Body::Spawn { .. }
            | Body::Kill
            | Body::Exit(_)
            | Body::Startup { .. }
            | Body::Ending(_)
            | Body::Warning(_)
            | Body::Register { .. }
            | Body::Lookup { .. }
            | Body::Monitor
            | Body::Grant { .. }
            | Body::Log { .. } => Ok(()),
        };
    }

    pub fn ended(&self, finished: Finished) {
        self.credit.close();
        let _ = self.events.send(StreamEvent::Ended(Box::new(finished)));
    }
}

/// Both sides of the master's end, with the credit to begin with.
pub(super) fn open(ends: &Arc<Ends>, credit: u32) -> (Port, Sink, Inbox) {
    let (events, inbox) = mpsc::unbounded_channel();
    let credit = Arc::new(Semaphore::new(credit as usize));
    let sink = Sink {
        ends: Arc::clone(ends),
        credit: Arc::clone(&credit),
    };
    let inbox = Inbox {
        ends: Arc::clone(ends),
        events: inbox,
        taken: Taken::default(),
        last: 0,
        half_closed: false,
        credit: Arc::clone(&credit),
    };
    (Port { events, credit }, sink, inbox)
}

/// The invocation has ended: there is nobody to write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the invocation has ended")]
pub struct Ended;

/// Writes to an invocation, as far as its credit goes.
#[derive(Debug)]
pub struct Sink {
    ends: Arc<Ends>,
    credit: Arc<Semaphore>,
}

impl Sink {
    /// Sends `data`, waiting for credit.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn send(&mut self, mut data: Bytes) -> Result<(), Ended> {
        while !data.is_empty() {
            self.ready().await?;
            let available = self.credit.available_permits().min(MAX_WINDOW as usize);
            let room = available.min(data.len());
            // With less than MIN_COST it is not ready.
            let permits = credit::cost(room);
            // Only this sink takes permits, so those that were available still are.
            self.credit
                .try_acquire_many(permits)
                .map_err(|_| Ended)?
                .forget();
            let Ends {
                own,
                peer,
                switchboard,
                sent,
                ..
            } = &*self.ends;
            let chunk = data.split_to(room);
            sent.fetch_add(room as u64, Ordering::Relaxed);
            switchboard
                .with_router(|router, effects| router.data(*own, Some(*peer), chunk, effects));
        }
        Ok(())
    }

    /// Waits until there is credit to write at least something.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn ready(&mut self) -> Result<(), Ended> {
        // Given back at once: this only waits.
        let enough = self.credit.acquire_many(MIN_COST);
        enough.await.map(drop).map_err(|_| Ended)
    }

    /// Waits until the invocation has ended.
    pub async fn ended(&self) {
        // More permits than can ever be given: this only returns when the semaphore closes.
        let _ = self.credit.acquire_many(u32::MAX).await;
    }

    /// Says that no more follows.
    pub fn finish(&mut self) {
        let Ends {
            own,
            peer,
            switchboard,
            ..
        } = &*self.ends;
        switchboard.with_router(|router, effects| {
            router.half_close(*own, Some(*peer), effects);
        });
    }

    /// Says how a call ends, before its last words: whoever reads these may be done with the call, and
    /// end it, before it ends by itself.
    pub fn conclude(&self, ending: &Ending) {
        // What was said first counts.
        let _ = self.ends.conclusion.set(ending.clone());
    }

    /// Has the invocation ended.
    pub fn stop(&self, reason: Reason, detail: &str) {
        self.ends.stop(reason, detail);
    }
}

/// What an invocation says, in order.
#[derive(Debug)]
pub struct Inbox {
    pub(super) ends: Arc<Ends>,
    events: mpsc::UnboundedReceiver<StreamEvent>,
    taken: Taken,
    /// Cost of the last event, which the caller has dealt with when it asks for the next.
    last: u32,
    /// It has said that no more follows.
    half_closed: bool,
    credit: Arc<Semaphore>,
}

impl Inbox {
    /// The next event. Asking for it says that the last one was dealt with, and gives the
    /// function credit to write more. `None` after the end.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<StreamEvent>> {
        if self.last > 0 {
            let bytes = std::mem::take(&mut self.last);
            if let Some(report) = self.taken.take(bytes, self.events.is_empty()) {
                let Ends {
                    own,
                    peer,
                    switchboard,
                    ..
                } = &*self.ends;
                switchboard.with_router(|router, effects| {
                    router.taken(*own, Some(*peer), report, effects);
                });
            }
        }
        let event = ready!(self.events.poll_recv(context));
        if let Some(StreamEvent::Data(data)) = &event {
            self.last = credit::cost(data.len());
            let received = &self.ends.received;
            received.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        self.half_closed |= matches!(event, Some(StreamEvent::HalfClose));
        Poll::Ready(event)
    }

    /// What it has said that was not looked at yet, if its half-close is there as well: it may have
    /// ended since, and needs no more credit.
    pub fn rest(&mut self) -> Option<Vec<Bytes>> {
        let mut rest = Vec::new();
        while !self.half_closed {
            match self.events.try_recv().ok()? {
                StreamEvent::Data(data) => rest.push(data),
                StreamEvent::HalfClose => self.half_closed = true,
                StreamEvent::Ended(_) => return None,
            }
        }
        Some(rest)
    }

    /// Nothing is written to it any more.
    pub fn close(&self) {
        self.credit.close();
    }
}
