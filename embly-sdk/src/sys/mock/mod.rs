//! A host in memory, for tests.
//!
//! Every function is a thread, but only one of them runs at a time: it keeps the turn until
//! it waits in `events`, then the next one that has something to do goes on, in the order in
//! which they got it. When all of them wait, the clock jumps to the next timeout. So a test is
//! deterministic, and an hour of `sleep` takes no time.
//!
//! - [`world`]: who is there, whose turn it is, what time it is.
//! - [`pipe`]: one end of a stream: what has arrived, credit, half-close, the ending.
//! - [`guest`]: the threads, how they start and end.
//! - [`calls`], [`names`]: the host calls.

pub(crate) mod calls;
pub(crate) mod guest;
pub(crate) mod names;
mod pipe;
pub(crate) mod world;
