//! The limits of time of one call.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use protos::services::http::Kind;
use tokio::time::{Instant, sleep_until};

use super::body::Progress;
use super::failure::Failure;
use crate::limits::{HttpLimits, TIME_MAX};

/// Knows when it is too late.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    limits: HttpLimits,
    /// When all of the call has to be over, and how long that is.
    end: Option<(Instant, Duration)>,
}

/// What has come to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    Head(Duration),
    Idle(Duration),
    Time(Duration),
}

impl Late {
    fn failure(self, host: &str) -> Failure {
        let (what, limit, time) = match self {
            Self::Head(time) => ("has not answered", "head", time),
            Self::Idle(time) => ("and the caller have moved no byte of a body", "idle", time),
            Self::Time(time) => ("was not done with the call", "time", time),
        };
        Failure::new(
            Kind::Timeout,
            format!("`{host}` {what} within {time:?}, the limit `http: {{{limit}: …}}`"),
        )
    }
}

impl Clock {
    /// Begins now; `time` is the most for all of it.
    pub fn new(limits: &HttpLimits, time: Option<Duration>) -> Self {
        let time = time.map(|time| time.min(TIME_MAX));
        Self {
            limits: *limits,
            end: time.map(|time| (Instant::now() + time, time)),
        }
    }

    /// When a connection has to stand that is begun now, and how long that is.
    pub fn connect(&self) -> Option<(Instant, Duration)> {
        let connect = self.limits.connect;
        let own = connect.map(|time| (Instant::now() + time, time));
        own.into_iter().chain(self.end).min()
    }

    /// Waits for the head of a response. While the body of the request moves, that is no wait.
    ///
    /// # Errors
    /// [`Kind::Timeout`].
    pub async fn head<T>(
        &self,
        host: &str,
        progress: &Progress,
        answer: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let due = || {
            let (at, done) = progress.last();
            if done {
                self.limits.head.map(|time| (at + time, Late::Head(time)))
            } else {
                self.limits.idle.map(|time| (at + time, Late::Idle(time)))
            }
        };
        self.until(host, progress, due, answer).await
    }

    /// Waits for a piece of a body to come, or to go.
    ///
    /// # Errors
    /// [`Kind::Timeout`].
    pub async fn piece<T>(
        &self,
        host: &str,
        progress: &Progress,
        piece: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let due = || {
            let at = began.max(progress.last().0);
            self.limits.idle.map(|time| (at + time, Late::Idle(time)))
        };
        self.until(host, progress, due, piece).await
    }

    async fn until<T>(
        &self,
        host: &str,
        progress: &Progress,
        due: impl Fn() -> Option<(Instant, Late)>,
        future: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let end = self.end.map(|(at, time)| (at, Late::Time(time)));
        let due = || due().into_iter().chain(end).min_by_key(|(at, _)| *at);
        let mut future = pin!(future);
        loop {
            let next = due();
            let at = next.map_or_else(Instant::now, |(at, _)| at);
            tokio::select! {
                biased;
                done = &mut future => return Ok(done),
                // What counts from now on is another limit.
                () = progress.finished() => {}
                () = sleep_until(at), if next.is_some() => {
                    if let Some((at, late)) = due() && at <= Instant::now() {
                        return Err(late.failure(host));
                    }
                }
            }
        }
    }
}
