//! One end of a stream.

use crate::reason::Exit;
use std::collections::VecDeque;

/// The credit that a stream starts with, in bytes, as on the real host.
pub(super) const INITIAL_WINDOW: usize = 16 * 1024;
/// What it grows to as it is used.
pub(super) const MAX_WINDOW: usize = 256 * 1024;

/// Where the other end of a stream is.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    pub guest: usize,
    pub id: i32,
}

/// What one guest sees of a stream. `None` for the peer: the name was refused.
pub(super) struct End {
    pub peer: Option<Peer>,
    /// Who was looked up, and gets an end of its own with our first word.
    pub host: Option<usize>,
    /// Opened by name, by us or by the other side.
    pub by_name: bool,
    /// How the other side's invocation ends is asked for, beyond the stream.
    pub monitors: bool,
    /// Arrived and not read yet.
    inbox: VecDeque<u8>,
    /// How many bytes the other side may have under way to us.
    window: usize,
    /// The other side found no credit, and wants to know when there is some.
    starved: bool,
    /// The other side sends no more.
    half_closed: bool,
    /// We send no more.
    pub closed: bool,
    /// How the other side ended.
    pub exit: Option<Exit>,
}

impl End {
    pub fn new(peer: Option<Peer>) -> Self {
        Self {
            peer,
            host: None,
            by_name: false,
            monitors: false,
            inbox: VecDeque::new(),
            window: INITIAL_WINDOW,
            starved: false,
            half_closed: false,
            closed: false,
            exit: None,
        }
    }

    /// We are a service: a whole request fits from the beginning.
    pub fn widen(&mut self) {
        self.window = MAX_WINDOW;
    }

    /// Takes what has arrived. `None`: nothing yet; 0: the end.
    pub fn take(&mut self, buf: &mut [u8]) -> Option<usize> {
        let n = buf.len().min(self.inbox.len());
        if n == 0 {
            return (self.at_end() || (buf.is_empty() && !self.inbox.is_empty())).then_some(0);
        }
        for (to, from) in buf.iter_mut().zip(self.inbox.drain(..n)) {
            *to = from;
        }
        self.window = (self.window + n).min(MAX_WINDOW);
        Some(n)
    }

    fn at_end(&self) -> bool {
        self.inbox.is_empty() && (self.half_closed || self.exit.is_some())
    }

    /// Lets the other side write: how many of these bytes fit. 0 is remembered.
    pub fn offer(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.window - self.inbox.len());
        self.inbox.extend(&bytes[..n]);
        self.starved = n == 0 && !bytes.is_empty();
        n
    }

    /// Whether the other side should hear that there is credit again. Once.
    pub fn relieved(&mut self) -> bool {
        self.window > self.inbox.len() && std::mem::take(&mut self.starved)
    }

    /// The other side sends no more.
    pub fn half_close(&mut self) {
        self.half_closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_runs_out_and_comes_back_once() {
        let mut end = End::new(None);
        assert_eq!(end.offer(&[1; INITIAL_WINDOW + 1]), INITIAL_WINDOW);
        assert_eq!(end.offer(&[1]), 0);
        assert!(!end.relieved());
        assert_eq!(end.take(&mut [0; 100]), Some(100));
        assert!(end.relieved());
        assert!(!end.relieved());
    }

    #[test]
    fn the_window_grows_as_it_is_used() {
        let mut end = End::new(None);
        for _ in 0..100 {
            end.offer(&[1; INITIAL_WINDOW]);
            end.take(&mut [0; INITIAL_WINDOW]);
        }
        assert_eq!(end.offer(&[1; 2 * MAX_WINDOW]), MAX_WINDOW);
    }

    #[test]
    fn nothing_yet_is_told_from_the_end() {
        let mut end = End::new(None);
        assert_eq!(end.take(&mut [0; 8]), None);
        end.offer(b"x");
        end.half_close();
        assert_eq!(end.take(&mut [0; 8]), Some(1));
        assert_eq!(end.take(&mut [0; 8]), Some(0));
    }
}
