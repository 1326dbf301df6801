//! What a connection is at: nothing is asked on it, a head is on its way, or requests are answered;
//! and whether it has been so for too long.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use super::super::Stream;
use super::messages::Messages;
use crate::config::Timeouts;

/// What a client of HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Writes of fewer bytes are pings and the like, and move no answer.
const A_PIECE: usize = 64;

/// The requests of one connection.
#[derive(Debug)]
pub struct Requests(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Whose answers, or own bodies, are not complete.
    under_way: usize,
    begun: bool,
    /// When the last one was over, or the connection began.
    since: Instant,
    /// When the head began that is not whole yet.
    head: Option<Instant>,
    /// When a piece of an answer was sent last.
    sent: Instant,
    speaks: Speaks,
}

/// What a client speaks, as far as it has said.
#[derive(Debug)]
enum Speaks {
    /// So many bytes of [`PREFACE`], and nothing else.
    Unknown(usize),
    Http1(Messages),
    Http2(Frames),
}

/// Why a connection is not waited for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// A head has not become whole.
    Head,
    /// Nothing was asked.
    Quiet,
}

impl Default for Requests {
    fn default() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State {
            under_way: 0,
            begun: false,
            since: now,
            head: None,
            sent: now,
            speaks: Speaks::Unknown(0),
        }))
    }
}

impl Requests {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        // Nothing panics in here.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts one as long as the result lives.
    pub fn one(self: &Arc<Self>) -> UnderWay {
        self.with(|state| {
            state.under_way += 1;
            state.begun = true;
            state.no_head();
        });
        UnderWay(Arc::clone(self))
    }

    /// Whether there was one.
    pub fn have_begun(&self) -> bool {
        self.with(|state| state.begun)
    }

    /// Returns when the client is late.
    pub async fn late(&self, times: &Timeouts) -> Late {
        let Some(least) = times.head.into_iter().chain(times.keep_alive).min() else {
            return std::future::pending().await;
        };
        loop {
            let now = Instant::now();
            let due = self.with(|state| state.due(times));
            // Whatever begins while this sleeps takes at least as long, so nobody has to wake it.
            let look = now + least;
            sleep_until(match due {
                Some((at, late)) if at <= now => return late,
                Some((at, _)) => at.min(look),
                None => look,
            })
            .await;
        }
    }

    /// Returns when no request is under way, and nothing was sent for so long.
    pub async fn over(&self, time: Option<Duration>) {
        let Some(time) = time else {
            return std::future::pending().await;
        };
        let began = Instant::now();
        loop {
            let now = Instant::now();
            let (under_way, moved) =
                self.with(|state| (state.under_way, state.since.max(state.sent)));
            let end = match under_way {
                0 => moved.max(began) + time,
                _ => now + time,
            };
            if end <= now {
                return;
            }
            sleep_until(end).await;
        }
    }
}

impl State {
    /// In HTTP/1.1 a request begins where its head ends; of HTTP/2 the frames say so.
    fn no_head(&mut self) {
        if !matches!(self.speaks, Speaks::Http2(_)) {
            self.head = None;
        }
    }

    fn due(&self, times: &Timeouts) -> Option<(Instant, Late)> {
        let (since, time, late) = match self.head {
            Some(since) => (since, times.head?, Late::Head),
            None if self.under_way > 0 => return None,
            None => (self.since, times.keep_alive?, Late::Quiet),
        };
        Some((since + time, late))
    }

    fn heard(&mut self, bytes: &[u8], now: Instant) {
        let mut rest = bytes;
        if let Speaks::Unknown(said) = self.speaks {
            let wanted = &PREFACE[said..];
            let most = wanted.len().min(bytes.len());
            if wanted[..most] != bytes[..most] {
                let mut messages = Messages::default();
                messages.take(&PREFACE[..said]);
                self.speaks = Speaks::Http1(messages);
            } else if most < wanted.len() {
                self.speaks = Speaks::Unknown(said + most);
            } else {
                self.speaks = Speaks::Http2(Frames::default());
                (self.head, self.since) = (None, now);
                rest = &bytes[most..];
            }
        }
        match &mut self.speaks {
            Speaks::Http2(frames) => {
                let began = frames.take(rest);
                match frames.in_head {
                    false => self.head = None,
                    true if began => self.head = Some(now),
                    true => drop(self.head.get_or_insert(now)),
                }
            }
            Speaks::Http1(messages) => {
                messages.take(rest);
                self.begins(now);
            }
            Speaks::Unknown(_) => self.begins(now),
        }
    }

    /// What comes while a request is answered is its body, or the next head, which is not waited for yet.
    fn begins(&mut self, now: Instant) {
        if self.under_way == 0 {
            self.head.get_or_insert(now);
        }
    }

    /// Nothing is under way any more: the next head is waited for, if it has begun.
    fn over(&mut self, now: Instant) {
        self.since = now;
        if let Speaks::Http1(messages) = &self.speaks {
            self.head = messages.in_head().then_some(now);
        } else {
            self.no_head();
        }
    }
}

/// A request that is being answered, or whose body comes.
#[derive(Debug)]
pub struct UnderWay(Arc<Requests>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.under_way -= 1;
            if state.under_way == 0 {
                state.over(Instant::now());
            }
        });
    }
}

/// Where in the frames of HTTP/2 a client is (RFC 9113, section 4.1).
#[derive(Debug, Default)]
struct Frames {
    header: [u8; 9],
    /// Bytes of `header` that are there.
    have: usize,
    /// Bytes of the frame that follow.
    left: usize,
    /// A head has begun, and its last frame has not ended.
    in_head: bool,
    /// The frame is the last one of a head.
    last: bool,
}

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

impl Frames {
    /// Takes what comes; whether a head has begun in it.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        let mut began = false;
        while !bytes.is_empty() {
            if self.left > 0 {
                let some = self.left.min(bytes.len());
                self.left -= some;
                bytes = &bytes[some..];
            } else {
                let some = (self.header.len() - self.have).min(bytes.len());
                self.header[self.have..self.have + some].copy_from_slice(&bytes[..some]);
                self.have += some;
                bytes = &bytes[some..];
                if self.have < self.header.len() {
                    break;
                }
                self.have = 0;
                let [a, b, c, kind, flags, ..] = self.header;
                self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.last = [HEADERS, CONTINUATION].contains(&kind) && flags & END_HEADERS != 0;
                if kind == HEADERS {
                    (self.in_head, began) = (true, true);
                }
            }
            if self.left == 0 && self.last {
                (self.in_head, self.last) = (false, false);
            }
        }
        began
    }
}

/// A stream whose requests are watched.
#[derive(Debug)]
pub struct Watched {
    stream: Stream,
    requests: Arc<Requests>,
}

impl Watched {
    /// This one.
    pub fn new(stream: Stream, requests: Arc<Requests>) -> Self {
        Self { stream, requests }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(A_PIECE..)) = written {
            self.requests.with(|state| state.sent = Instant::now());
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let bytes = &buffer.filled()[before..];
        if !bytes.is_empty() {
            self.requests
                .with(|state| state.heard(bytes, Instant::now()));
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn times() -> Timeouts {
        Timeouts {
            head: Some(SECOND),
            keep_alive: Some(10 * SECOND),
            ..Timeouts::default()
        }
    }

    fn heard(requests: &Requests, bytes: &[u8]) -> Option<Late> {
        requests.with(|state| {
            state.heard(bytes, Instant::now());
            state.due(&times()).map(|(_, late)| late)
        })
    }

    fn frame(length: u8, kind: u8, flags: u8) -> Vec<u8> {
        let header = [0, 0, length, kind, flags, 0, 0, 0, 1];
        [&header[..], &vec![0; length.into()]].concat()
    }

    #[test]
    fn a_head_begins_with_its_first_byte_and_ends_where_its_request_begins() {
        let requests = Arc::new(Requests::default());
        let quiet = requests.with(|state| state.due(&times())).unwrap().1;
        assert_eq!(quiet, Late::Quiet);
        assert_eq!(heard(&requests, b"P"), Some(Late::Head));
        assert_eq!(
            heard(&requests, b"OST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n"),
            Some(Late::Head)
        );
        let one = requests.one();
        assert_eq!(heard(&requests, b"body"), None);
        drop(one);
        let quiet = requests.with(|state| state.due(&times())).unwrap().1;
        assert_eq!(quiet, Late::Quiet);
        assert_eq!(heard(&requests, b"G"), Some(Late::Head));
    }

    #[test]
    fn a_head_that_begins_behind_a_request_counts_from_the_end_of_that() {
        let late =
            |requests: &Requests| requests.with(|state| state.due(&times())).map(|due| due.1);
        for (together, after, ends) in [
            ("GET / HTTP/1.1\r\n\r\nGET / HT", "", Late::Head),
            ("GET / HTTP/1.1\r\n\r\n", "GET / HT", Late::Head),
            (
                "POST / HTTP/1.1\r\ncontent-length: 8\r\n\r\n",
                "GET / HT",
                Late::Quiet,
            ),
        ] {
            let requests = Arc::new(Requests::default());
            heard(&requests, together.as_bytes());
            let one = requests.one();
            assert_eq!(late(&requests), None);
            heard(&requests, after.as_bytes());
            assert_eq!(late(&requests), None);
            drop(one);
            assert_eq!(late(&requests), Some(ends), "{together:?} {after:?}");
        }
    }

    #[test]
    fn of_http_2_only_frames_of_a_head_are_one_however_they_are_cut() {
        let (settings, ping) = (frame(6, 4, 0), frame(8, 6, 1));
        let (first, more) = (frame(20, HEADERS, 1), frame(5, CONTINUATION, 0));
        let last = frame(5, CONTINUATION, END_HEADERS);
        for cut in 1..=60 {
            let requests = Arc::new(Requests::default());
            let all = |bytes: &[u8]| {
                let pieces = bytes.chunks(cut);
                pieces.fold(None, |_, piece| heard(&requests, piece))
            };
            assert_eq!(all(&PREFACE[..20]), Some(Late::Head), "{cut}");
            assert_eq!(all(&PREFACE[20..]), Some(Late::Quiet), "{cut}");
            assert_eq!(all(&[&*settings, &*ping].concat()), Some(Late::Quiet));
            assert_eq!(all(&first[..15]), Some(Late::Head));
            assert_eq!(all(&first[15..]), Some(Late::Head));
            assert_eq!(all(&more), Some(Late::Head));
            assert_eq!(all(&last), Some(Late::Quiet));
            let _one = requests.one();
            let all = |bytes: &[u8]| {
                let pieces = bytes.chunks(cut);
                pieces.fold(None, |_, piece| heard(&requests, piece))
            };
            assert_eq!(all(&frame(200, 0, 1)), None, "{cut}");
            assert_eq!(all(&first), Some(Late::Head));
            assert_eq!(all(&last), None);
            // Whole in one frame, also an empty one.
            assert_eq!(all(&frame(0, HEADERS, END_HEADERS)), None);
        }
    }
}
