//! What the master and its wrappers say to each other.
//!
//! Everything here is plain data: no I/O, no async, no clock. In the order a
//! reader needs it:
//!
//! - [`id`]: addresses and slot numbers, the two ways to name somebody;
//! - [`message`]: the closed set of things that can be said ([`Message`], [`Body`]);
//! - [`frame`]: messages to bytes and back;
//! - [`credit`]: how many bytes may be under way, and the constants behind it;
//! - [`reason`]: why an invocation ended, one table for logs, HTTP and events;
//! - [`errno`]: the WASI error numbers that both sides use;
//! - [`comms`]: the types made from `proto/comms.proto`;
//! - [`services`]: what functions and services say to each other.

#![forbid(unsafe_code)]

#[expect(
    missing_docs,
    reason = "generated from proto/comms.proto, which documents each field"
)]
#[rustfmt::skip]
pub mod comms;
pub mod credit;
pub mod errno;
pub mod frame;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod id;
pub mod message;
pub mod meter;
pub mod reason;
pub mod severity;
#[expect(
    missing_docs,
    reason = "generated from proto/services, which documents each field"
)]
#[rustfmt::skip]
pub mod services {
    pub mod http;
    pub mod kv;
    pub mod sql;
    pub mod tcp;
}
pub mod warning;

pub use comms::{Limits, SpawnOptions, Startup, Warning};
pub use errno::Errno;
pub use id::{Address, LONGEST_NAME, NotAnAddress, Slot, is_name, is_service};
pub use message::{Body, Ending, Malformed, Message};
pub use reason::Reason;
pub use severity::Severity;

/// Version of the protocol, carried by `startup`. Raised when an old wrapper
/// would misread a new master or the other way round.
pub const PROTOCOL_VERSION: u32 = 1;
