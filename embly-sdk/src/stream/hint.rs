//! A word to those who wait for the end of a stream that does not end.

use super::conn::Conn;
use crate::task::{self, Sleep, sleep};
use std::{
    cell::Cell,
    future::Future,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

/// How long nothing new may arrive before the hint is worth a line of log.
const PATIENCE: Duration = Duration::from_secs(10);

thread_local! {
    static SAID: Cell<bool> = const { Cell::new(false) };
}

/// Waits for news of a stream that has said something already, on behalf of `read_to_end`.
pub(super) fn wait(conn: Conn) {
    if SAID.get() {
        return;
    }
    let mut late: Pin<&mut Sleep> = pin!(sleep(PATIENCE));
    let in_time = task::block_on_poll(|cx| {
        if conn.poll_news(cx).is_ready() {
            return Poll::Ready(true);
        }
        late.as_mut().poll(cx).map(|()| false)
    });
    if !in_time {
        SAID.set(true);
        eprintln!(
            "hint: `read_to_end` and `read_to_string` wait until the other side ends or closes its \
             direction; for what has arrived so far use `conn.bytes()` or `conn.string()`"
        );
    }
}
