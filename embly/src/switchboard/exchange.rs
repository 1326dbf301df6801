//! A gateway's exchange with the invocation that it has started.

use std::task::{Context, Poll};

use protos::{Address, Ending, Reason};

use super::stream::{Inbox, Sink, StreamEvent};

/// The two halves of an exchange with one invocation.
#[derive(Debug)]
pub struct Exchange {
    /// Towards the function.
    pub sink: Sink,
    /// From the function. Dropping it ends the invocation.
    pub source: Source,
}

/// What comes from an invocation.
#[derive(Debug)]
pub struct Source(pub(super) Inbox);

impl Source {
    /// The invocation.
    pub fn address(&self) -> Address {
        self.0.ends.peer
    }

    /// The next event. Asking for it says that the last one was dealt with, and gives the
    /// function credit to write more. `None` after the end.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<StreamEvent>> {
        self.0.poll_next(context)
    }

    /// The next event; see [`Source::poll_next`].
    pub async fn next(&mut self) -> Option<StreamEvent> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The head of the response was received: the limit `wall` is met, `idle` begins.
    pub fn head_received(&self) {
        let ends = &self.0.ends;
        ends.switchboard.head_received(ends.peer);
    }

    /// Has the invocation ended.
    pub fn stop(&self, reason: Reason, detail: &str) {
        self.0.ends.stop(reason, detail);
    }

    /// The response is complete: the limit `background` begins.
    pub fn response_complete(&self) {
        let ends = &self.0.ends;
        ends.switchboard.response_complete(ends.peer);
    }

    /// Has the invocation ended, because what it said is not what its gateway needs. Its
    /// report says so, also when it exits with 0 at the same time.
    pub fn condemn(mut self, ending: Ending) {
        self.stop(ending.reason, &ending.detail);
        tokio::spawn(async move {
            while let Some(event) = self.next().await {
                if let StreamEvent::Ended(mut finished) = event {
                    finished.amend(ending.reason, &ending.detail);
                    return;
                }
            }
        });
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.0.close();
        let ending = Ending::new(Reason::ClientGone, "the client is gone");
        let ends = &self.0.ends;
        ends.switchboard.close_gate(ends.own, ending);
    }
}
