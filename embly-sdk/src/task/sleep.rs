//! Waiting for time to pass.

use super::{
    block_on,
    reactor::{self, Timer},
};
use crate::sys;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// Waits that long, while other futures go on.
///
/// `sleep(duration).wait()` does it in a plain function. In a test, the clock of the
/// [mock](crate::mock) jumps: no real time passes (unlike with `std::thread::sleep`, which works
/// in functions too, but lets nothing else go on).
///
/// ```
/// # use embly_sdk as embly;
/// # use std::time::Duration;
/// embly::block_on(async {
///     embly::sleep(Duration::from_secs(3600)).await;
/// });
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    Sleep {
        timer: reactor::timer(sys::now().saturating_add(duration)),
    }
}

/// The future of [`sleep`].
#[derive(Debug)]
#[must_use = "nothing sleeps until it is awaited (or `wait` is called)"]
pub struct Sleep {
    timer: Timer,
}

impl Sleep {
    /// Sleeps now.
    pub fn wait(self) {
        block_on(self);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.timer.0 <= sys::now() {
            return Poll::Ready(());
        }
        reactor::at(self.timer, cx.waker());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        reactor::cancel(self.timer);
    }
}
