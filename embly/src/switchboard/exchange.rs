//! A gateway's side of one invocation, as two values: where to write, and what comes back.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use protos::credit::{self, MAX_WINDOW, MIN_COST, Taken};
use protos::{Address, Body, Ending, Reason};
use tokio::sync::{Semaphore, mpsc};

use super::{Finished, Switchboard};

/// The two halves of an exchange with one invocation.
#[derive(Debug)]
pub struct Exchange {
    /// Towards the function.
    pub sink: Sink,
    /// From the function. Dropping it ends the invocation.
    pub source: Source,
}

/// What a function says to its gateway.
#[derive(Debug)]
pub enum ExchangeEvent {
    /// Bytes, in order.
    Data(Bytes),
    /// No more bytes.
    HalfClose,
    /// It is over; nothing follows.
    Ended(Box<Finished>),
}

/// The addresses of both sides.
#[derive(Debug)]
pub(super) struct Gate {
    gate: Address,
    invocation: Address,
    switchboard: Arc<Switchboard>,
}

impl Gate {
    pub fn new(gate: Address, invocation: Address, switchboard: Arc<Switchboard>) -> Self {
        Self {
            gate,
            invocation,
            switchboard,
        }
    }

    fn stop(&self, reason: Reason, detail: &str) {
        let ending = Ending::new(reason, detail);
        self.switchboard.stop(self.invocation, ending);
    }
}

/// Where the switchboard delivers.
#[derive(Debug)]
pub(super) struct Port {
    events: mpsc::UnboundedSender<ExchangeEvent>,
    credit: Arc<Semaphore>,
}

impl Port {
    pub fn deliver(&self, body: Body) {
        // A gateway that has dropped its side wants no more; it is about to be forgotten.
        let _ = match body {
            Body::Data(data) => self.events.send(ExchangeEvent::Data(data)),
            Body::HalfClose => self.events.send(ExchangeEvent::HalfClose),
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
        let _ = self.events.send(ExchangeEvent::Ended(Box::new(finished)));
    }
}

/// Both sides, with the credit to begin with.
pub(super) fn pair(gate: Gate, credit: u32) -> (Port, Exchange) {
    let (events, inbox) = mpsc::unbounded_channel();
    let credit = Arc::new(Semaphore::new(credit as usize));
    let gate = Arc::new(gate);
    let sink = Sink {
        gate: Arc::clone(&gate),
        credit: Arc::clone(&credit),
    };
    let source = Source {
        gate,
        events: inbox,
        taken: Taken::default(),
        last: 0,
        credit: Arc::clone(&credit),
    };
    (Port { events, credit }, Exchange { sink, source })
}

/// The invocation has ended: there is nobody to write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the invocation has ended")]
pub struct Ended;

/// Writes to an invocation, as far as its credit goes.
#[derive(Debug)]
pub struct Sink {
    gate: Arc<Gate>,
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
            let Gate {
                gate,
                invocation,
                switchboard,
            } = &*self.gate;
            let chunk = data.split_to(room);
            switchboard.with_router(|router, effects| {
                router.data(*gate, Some(*invocation), chunk, effects)
            });
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
        let Gate {
            gate,
            invocation,
            switchboard,
        } = &*self.gate;
        switchboard.with_router(|router, effects| {
            router.half_close(*gate, Some(*invocation), effects);
        });
    }

    /// Has the invocation ended.
    pub fn stop(&self, reason: Reason, detail: &str) {
        self.gate.stop(reason, detail);
    }
}

/// What comes from an invocation.
#[derive(Debug)]
pub struct Source {
    gate: Arc<Gate>,
    events: mpsc::UnboundedReceiver<ExchangeEvent>,
    taken: Taken,
    /// Cost of the last event, which the caller has dealt with when it asks for the next.
    last: u32,
    credit: Arc<Semaphore>,
}

impl Source {
    /// The invocation.
    pub fn address(&self) -> Address {
        self.gate.invocation
    }

    /// The next event. Asking for it says that the last one was dealt with, and gives the
    /// function credit to write more. `None` after the end.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<ExchangeEvent>> {
        if self.last > 0 {
            let bytes = std::mem::take(&mut self.last);
            if let Some(report) = self.taken.take(bytes, self.events.is_empty()) {
                let Gate {
                    gate,
                    invocation,
                    switchboard,
                } = &*self.gate;
                switchboard.with_router(|router, effects| {
                    router.taken(*gate, Some(*invocation), report, effects);
                });
            }
        }
        let event = ready!(self.events.poll_recv(context));
        if let Some(ExchangeEvent::Data(data)) = &event {
            self.last = credit::cost(data.len());
        }
        Poll::Ready(event)
    }

    /// The next event; see [`Source::poll_next`].
    pub async fn next(&mut self) -> Option<ExchangeEvent> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The head of the response was received: the limit `wall` is met, `idle` begins.
    pub fn head_received(&self) {
        self.gate.switchboard.head_received(self.gate.invocation);
    }

    /// Has the invocation ended.
    pub fn stop(&self, reason: Reason, detail: &str) {
        self.gate.stop(reason, detail);
    }

    /// The response is complete: the limit `background` begins.
    pub fn response_complete(&self) {
        let Gate {
            invocation,
            switchboard,
            ..
        } = &*self.gate;
        switchboard.response_complete(*invocation);
    }

    /// Has the invocation ended, because what it said is not what its gateway needs. Its
    /// report says so, also when it exits with 0 at the same time.
    pub fn condemn(mut self, ending: Ending) {
        self.stop(ending.reason, &ending.detail);
        tokio::spawn(async move {
            while let Some(event) = self.next().await {
                if let ExchangeEvent::Ended(mut finished) = event {
                    finished.amend(ending.reason, &ending.detail);
                    return;
                }
            }
        });
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.credit.close();
        let ending = Ending::new(Reason::ClientGone, "the client is gone");
        self.gate.switchboard.close_gate(self.gate.gate, ending);
    }
}
