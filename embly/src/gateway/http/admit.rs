//! Room for a request: at once, or after its time in the queue.
//!
//! The queue is that of the permits, first in, first out. A request that waits follows its route
//! to the function's new version, so that nobody waits for the room of code that has gone.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protos::{Ending, Reason};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use super::super::Gateway;
use super::connection::Client;
use super::route::Asked;
use crate::limits::TIME_MAX;
use crate::pool::Function;

/// A request that may be started.
#[derive(Debug)]
pub struct Admitted {
    /// What to start.
    pub function: Arc<Function>,
    /// Room for it.
    pub permit: OwnedSemaphorePermit,
    /// How long it has waited.
    pub queued: Duration,
}

/// Waits for room, as long as the limit `queue` allows.
///
/// # Errors
/// `overloaded` where the queue is full or the wait is over; `client_gone`; `shutdown`.
pub async fn admit(
    gateway: &Gateway,
    asked: &Asked,
    client: &Client,
    mut function: Arc<Function>,
) -> Result<Admitted, Ending> {
    let switchboard = &gateway.switchboard;
    let since = Instant::now();
    let mut waits = false;
    let mut replaced = gateway.functions().subscribe();
    loop {
        if let Some(permit) = function.try_permit() {
            return Ok(Admitted {
                function,
                permit,
                queued: if waits {
                    since.elapsed()
                } else {
                    Duration::ZERO
                },
            });
        }
        waits = true;
        let place = function.queue_up().ok_or_else(|| full(&function))?;
        let wait = function.limits.queue.wait.unwrap_or(TIME_MAX);
        let mut over = pin!(sleep(wait.saturating_sub(since.elapsed())));
        let permit = {
            let mut permit = pin!(function.permit());
            loop {
                tokio::select! {
                    biased;
                    permit = &mut permit => break permit,
                    () = client.reset() => return Err(Ending::new(Reason::ClientGone, "")),
                    () = &mut over => return Err(waited(&function, wait)),
                    // The sender lives as long as the switchboard.
                    _ = replaced.changed() => {}
                }
                if switchboard.is_stopping() {
                    return Err(Ending::new(Reason::Shutdown, "the master is stopping"));
                }
                // A version that stays the same keeps its queue.
                if !Arc::ptr_eq(&asked.current()?, &function) {
                    break None;
                }
            }
        };
        drop(place);
        match permit {
            Some(permit) => {
                return Ok(Admitted {
                    function,
                    permit,
                    queued: since.elapsed(),
                });
            }
            None => function = asked.current()?,
        }
    }
}

fn full(function: &Function) -> Ending {
    let length = function.limits.queue.length.unwrap_or(u32::MAX);
    busy(
        function,
        &format!("{length} wait (`queue: {{length: {length}}}`)"),
    )
}

fn waited(function: &Function, wait: Duration) -> Ending {
    busy(
        function,
        &format!("none has ended within {wait:?} (`queue: {{wait: {wait:?}}}`)"),
    )
}

/// All that may run at a time runs.
fn busy(function: &Function, and: &str) -> Ending {
    let name = &function.name;
    // Only with a limit somebody has to wait.
    let runs = function.limits.concurrency.unwrap_or(u32::MAX);
    let detail =
        format!("function `{name}` is busy: {runs} run (`concurrency: {runs}`), and {and}");
    Ending::new(Reason::Overloaded, detail)
}
