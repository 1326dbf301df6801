//! Calls of services: what the host provides is spawned by a name like a function, and runs in the
//! master as a task. It has an address, a parent, a stream and an ending, and nothing else of what
//! an invocation has.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use protos::{Address, Ending, Errno, Reason, SpawnOptions};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::clock::{Clock, Due, Times};
use super::stream::{Ends, Inbox, Port, Sink};
use super::{Finished, Record, Switchboard};
use crate::pool::Function;

/// All services there are, as the switchboard sees them.
pub trait Host: fmt::Debug + Send + Sync {
    /// Begins a call of the service of this name, if its caller may.
    ///
    /// # Errors
    /// The refusal, which the caller gets as the ending of its stream.
    fn open(&self, name: &str, caller: Caller) -> Result<Box<dyn Session>, Ending>;

    /// Connections that services have opened to others; each takes a descriptor.
    fn connections(&self) -> usize;
}

/// Who calls a service.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The version of the function: what it is called, what it may do, and how much.
    pub function: Arc<Function>,
    /// The invocation.
    pub invocation: Address,
    /// The request that it belongs to.
    pub request_id: Option<Arc<str>>,
}

/// One call of a service, permitted and not begun.
pub trait Session: Send {
    /// Serves it to its end. Dropping the future ends it early: the caller wants no more of it.
    fn serve(self: Box<Self>, stream: Stream) -> Serving;
}

/// A call that is being served, which results in its ending.
pub type Serving = Pin<Box<dyn Future<Output = Ending> + Send>>;

/// The stream between a service and its caller.
#[derive(Debug)]
pub struct Stream {
    /// What the caller writes.
    pub inbox: Inbox,
    /// What it reads.
    pub sink: Sink,
}

/// A call, as others see it.
#[derive(Debug)]
pub(super) struct Called {
    pub port: Port,
    stops: mpsc::UnboundedSender<Ending>,
}

impl Called {
    pub fn stop(&self, ending: Ending) {
        // One that has ended needs no stopping.
        let _ = self.stops.send(ending);
    }
}

/// What a call takes of a spawner's options: limits of time. It has no arguments and no
/// environment, and nothing of it is left when its caller ends.
pub(super) fn times(options: Option<&SpawnOptions>) -> Result<Times, Ending> {
    let Some(options) = options else {
        return Ok(Times::default());
    };
    let what = if options.detached {
        "cannot be detached: it ends with its caller"
    } else if !options.args.is_empty() || !options.env.is_empty() {
        "takes no arguments and no environment: write to its stream"
    } else {
        return Ok(Times::default().lowered(options.limits.as_ref()));
    };
    let detail = format!("a service {what}");
    Err(Ending::refused(Errno::INVAL, detail))
}

/// Serves one call.
pub(super) struct Serves {
    switchboard: Arc<Switchboard>,
    session: Box<dyn Session>,
    stream: Stream,
    ends: Arc<Ends>,
    stops: mpsc::UnboundedReceiver<Ending>,
    clock: Clock,
    record: Record,
}

impl Serves {
    /// A call that is about to be served, and where others reach it.
    pub fn new(
        ends: Arc<Ends>,
        (port, sink, inbox): (Port, Sink, Inbox),
        session: Box<dyn Session>,
        times: Times,
        mut record: Record,
    ) -> (Called, Self) {
        let (sender, stops) = mpsc::unbounded_channel();
        let mut clock = Clock::new(times, record.created.into());
        clock.started();
        record.started = Some(Instant::now());
        let serves = Self {
            switchboard: Arc::clone(&ends.switchboard),
            session,
            stream: Stream { inbox, sink },
            ends,
            stops,
            clock,
            record,
        };
        let stops = sender;
        (Called { port, stops }, serves)
    }

    /// Runs to the end.
    pub async fn run(self) {
        let Self {
            switchboard,
            session,
            stream,
            ends,
            mut stops,
            mut clock,
            mut record,
        } = self;
        let mut serving = session.serve(stream);
        let mut seen = ends.bytes();
        let ending = loop {
            let deadline = clock.next();
            tokio::select! {
                biased;
                Some(ending) = stops.recv() => break ends.conclusion().cloned().unwrap_or(ending),
                ending = caught(&mut serving) => break ending,
                () = sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)), if deadline.is_some() => {
                    let now = ends.bytes();
                    if std::mem::replace(&mut seen, now) != now {
                        clock.byte();
                    } else if let Some(Due::End(ending)) = clock.due(tokio::time::Instant::now()) {
                        break ending;
                    }
                }
            }
        };
        // What it holds is free before anybody hears of the end.
        drop(serving);
        (record.bytes_in, record.bytes_out) = ends.bytes();
        let finished = Finished::new(ending, record, &switchboard);
        switchboard.ended(finished);
    }
}

/// A panic of a service is an ending of the call, not more.
async fn caught(serving: &mut Serving) -> Ending {
    let poll = std::future::poll_fn(|context| {
        // The future is not polled again after a panic.
        match catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(payload) => Poll::Ready(panicked(payload.as_ref())),
        }
    });
    poll.await
}

fn panicked(payload: &(dyn Any + Send)) -> Ending {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    let detail = format!(
        "the service failed, which is a defect of Embly: {}",
        text.unwrap_or("no message")
    );
    Ending::new(Reason::Trap, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_a_service_is_the_ending_of_its_call() {
        let mut serving: Serving = Box::pin(async { panic!("no luck") });
        let ending = caught(&mut serving).await;
        assert_eq!(ending.reason, Reason::Trap);
        assert!(ending.detail.contains("no luck"), "{}", ending.detail);
    }

    #[test]
    fn a_call_takes_limits_of_time_and_no_arguments_environment_or_life_of_its_own() {
        let limits = protos::Limits {
            wall: 5_000_000,
            ..protos::Limits::default()
        };
        let options = SpawnOptions {
            limits: Some(limits),
            ..SpawnOptions::default()
        };
        let wall = times(Some(&options)).unwrap().wall;
        assert_eq!(wall, Some(std::time::Duration::from_secs(5)));
        for wrong in [
            SpawnOptions {
                args: vec!["x".to_owned()],
                ..options.clone()
            },
            SpawnOptions {
                env: vec!["A=1".to_owned()],
                ..options.clone()
            },
            SpawnOptions {
                detached: true,
                ..options
            },
        ] {
            let ending = times(Some(&wrong)).unwrap_err();
            assert_eq!(ending.code, i32::from(Errno::INVAL.0));
        }
    }
}
