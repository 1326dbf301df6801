//! Keys and values that outlive an invocation.
//!
//! The project file has to list the store, and to let the function use it:
//!
//! ```yml
//! functions:
//!   - name: counter
//!     path: ./counter
//!     language: rust
//!     allow: {kv: [{store: default, access: read-write}]}
//! stores:
//!   - {name: default, type: kv}
//! ```
//!
//! [`get`] and [`set`] use the store `default`, with a call of the host for each. With the feature
//! `kv` of this crate there is `Store`, which does more and keeps its stream.

mod original;
#[cfg(feature = "kv")]
mod session;
#[cfg(feature = "kv")]
mod store;
#[cfg(feature = "kv")]
mod transaction;
#[cfg(feature = "kv")]
mod watch;

pub use original::{get, set};
#[cfg(feature = "kv")]
pub use session::{Answer, Failure};
#[cfg(feature = "kv")]
pub use store::{Entry, Expected, Page, Store, Swapped, Ttl};
#[cfg(feature = "kv")]
pub use transaction::{Batch, Committed, Transaction};
#[cfg(feature = "kv")]
pub use watch::{Change, Changes, Event, Watch};
