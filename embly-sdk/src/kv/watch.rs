//! Being told of changes.

use super::{
    session::{Answer, Shared},
    store::Entry,
};
use crate::{error::Error, proto::kv as proto, task};
use proto::{event::What as Told, response::What as Response};
use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Tells of changes, until it is dropped.
pub struct Watch {
    session: Shared,
    id: u64,
    sequence: u64,
}

/// Something that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Of the change; they rise. A watch that begins after it goes on from here.
    pub sequence: u64,
    /// What has changed.
    pub change: Change,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key has this value now, or this time to live.
    Set(Entry),
    /// This key was removed.
    Deleted(Vec<u8>),
    /// The time of this key has passed. It may be told twice.
    Expired(Vec<u8>),
    /// Changes were missed, because they were not read in time: read again what matters.
    FellBehind,
}

pub(super) fn began(answer: Response) -> Option<u64> {
    match answer {
        Response::Watching(it) => Some(it.sequence),
        _ => None,
    }
}

/// A [`Watch`] that is about to begin: `.await` it, or [`wait`](Self::wait).
#[must_use = "it is no watch until it was awaited"]
pub struct Changes {
    session: Shared,
    answer: Option<Answer<u64>>,
}

impl Changes {
    /// Waits until it has begun.
    ///
    /// # Errors
    /// When the store refuses it: for want of permission, or as there are too many.
    pub fn wait(self) -> Result<Watch, Error> {
        task::block_on(self)
    }
}

impl Future for Changes {
    type Output = Result<Watch, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answer) = &mut self.answer else {
            let text = "a watch that has begun was awaited again";
            return Poll::Ready(Err(io::Error::other(text).into()));
        };
        let id = answer.id();
        let sequence = ready!(Pin::new(answer).poll(cx));
        self.answer = None;
        let session = self.session.clone();
        Poll::Ready(sequence.map(|sequence| Watch {
            session,
            id,
            sequence,
        }))
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        // Nobody has it: it would be told for nothing.
        if let Some(answer) = self.answer.take() {
            self.session.borrow_mut().unwatch(answer.id());
        }
    }
}

impl Watch {
    pub(super) fn begin(session: Shared, answer: Answer<u64>) -> Changes {
        let answer = Some(answer);
        Changes { session, answer }
    }

    /// The number of the last change before those that it tells.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The next change.
    ///
    /// # Errors
    /// When the store has ended the stream.
    pub async fn next(&mut self) -> Result<Event, Error> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next) in a plain function.
    ///
    /// # Errors
    /// As `next`.
    pub fn wait_next(&mut self) -> Result<Event, Error> {
        task::block_on_poll(|cx| self.poll_next(cx))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        let event = ready!(self.session.borrow_mut().poll_event(self.id, cx))?;
        let change = match event.what {
            Some(Told::Set(entry)) => Change::Set(Entry::of(entry)),
            Some(Told::Deleted(key)) => Change::Deleted(key),
            Some(Told::Expired(key)) => Change::Expired(key),
            Some(Told::FellBehind(_)) => Change::FellBehind,
            None => {
                let text = "the store tells of a change of a kind that is not known";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text).into()));
            }
        };
        let sequence = event.sequence;
        Poll::Ready(Ok(Event { sequence, change }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.session.borrow_mut().unwatch(self.id);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("id", &self.id)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}
