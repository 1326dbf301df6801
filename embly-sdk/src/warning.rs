//! Limits that are nearly reached: a word before the end.

use crate::{sys, task::reactor};
use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// A limit that is nearly reached: nine tenths are used up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Limit {
    /// CPU time.
    Cpu,
    /// Time to the head of the response, or to the end.
    Wall,
    /// Time to the end, whatever started the function.
    Total,
    /// Time after the response is complete.
    Background,
}

impl Limit {
    const ALL: [Self; 4] = [Self::Cpu, Self::Wall, Self::Total, Self::Background];

    /// The name, as in the project file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wall => "wall",
            Self::Total => "total",
            Self::Background => "background",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The host's number for "there is a warning" among the streams.
pub(crate) const ID: i32 = 0;

/// Warnings that nobody asks for are kept up to this many.
const KEPT: usize = 16;

type Callback = Box<dyn FnMut(Limit)>;

#[derive(Default)]
struct Warnings {
    callback: Option<Callback>,
    /// For [`warning`] and [`warned`].
    seen: VecDeque<Limit>,
}

thread_local! {
    static WARNINGS: RefCell<Warnings> = RefCell::default();
}

/// Calls this when a limit is nearly reached, each time: the moment to say goodbye.
///
/// The call comes while the function waits (for a stream, in `sleep`, in `block_on`) or looks
/// ([`warned`]), never in the middle of something else. A new callback takes the place of the
/// old one.
///
/// ```no_run
/// # use embly_sdk as embly;
/// use embly::{Conn, Error, prelude::*};
///
/// fn chat(mut conn: Conn) -> Result<(), Error> {
///     embly::on_warning(move |limit| {
///         let _ = writeln!(conn, "I have to go soon: {limit}");
///     });
///     while !conn.bytes()?.is_empty() {}
///     Ok(())
/// }
/// ```
pub fn on_warning(callback: impl FnMut(Limit) + 'static) {
    WARNINGS.with_borrow_mut(|warnings| warnings.callback = Some(Box::new(callback)));
}

/// The next warning, as a future: for `join!` and other handlers that are `async`.
///
/// ```no_run
/// # use embly_sdk as embly;
/// # async fn f() {
/// let limit = embly::warning().await;
/// println!("nearly at the limit {limit}");
/// # }
/// ```
pub fn warning() -> Warned {
    Warned(())
}

/// Whether a limit is nearly reached, without waiting: for loops that compute. Each warning is told
/// once.
///
/// ```no_run
/// # use embly_sdk as embly;
/// # fn step() -> bool { true }
/// while step() {
///     if embly::warned() == Some(embly::Limit::Cpu) {
///         break; // what is there so far has to do
///     }
/// }
/// ```
pub fn warned() -> Option<Limit> {
    fetch();
    next()
}

/// The future of [`warning`].
#[derive(Debug)]
#[must_use = "nothing is waited for until it is awaited"]
pub struct Warned(());

impl Future for Warned {
    type Output = Limit;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Limit> {
        fetch();
        match next() {
            Some(limit) => Poll::Ready(limit),
            None => {
                reactor::on_change(ID, cx.waker());
                Poll::Pending
            }
        }
    }
}

fn next() -> Option<Limit> {
    WARNINGS.with_borrow_mut(|warnings| warnings.seen.pop_front())
}

/// Takes the warnings that the host has, and tells them.
pub(crate) fn fetch() {
    let mut name = [0; 16];
    while let Ok(status) = sys::status(ID, &mut name) {
        let name = &name[..status.detail_len];
        let limit = Limit::ALL
            .into_iter()
            .find(|limit| limit.name().as_bytes() == name);
        // One of a newer host.
        let Some(limit) = limit else { continue };
        let callback = WARNINGS.with_borrow_mut(|warnings| {
            if warnings.seen.len() < KEPT {
                warnings.seen.push_back(limit);
            }
            warnings.callback.take()
        });
        let Some(mut callback) = callback else {
            continue;
        };
        // It may wait, and so come by here again.
        callback(limit);
        WARNINGS.with_borrow_mut(|warnings| {
            warnings.callback.get_or_insert(callback);
        });
    }
}

/// Forgets everything.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn reset() {
    WARNINGS.set(Warnings::default());
}
