//! Embly: functions as WebAssembly, each invocation in a process of its own.
//!
//! The life of a request, in the order in which it meets the modules:
//!
//! 1. [`cli`]: somebody types `embly dev`.
//! 2. [`config`]: the project file becomes a [`config::Project`], or a list of everything that is
//!    wrong with it. [`limits`] and [`allow`] are part of it.
//! 3. [`build`]: each function's source becomes wasm, and the wasm native code: an artefact.
//!    ([`scaffold`] makes new projects, [`hurl`] reads and runs their tests.)
//! 4. [`master`]: opens a gateway for each entry of the project file and lets them serve.
//! 5. [`gateway`]: a client connects; its request (HTTP) or connection (TCP) starts a function.
//!    Functions that the project keeps running are started by the [`supervisor`] instead.
//! 6. [`switchboard`]: gives the invocation an address and a task that drives it, and carries
//!    messages between addresses, as [`router`] decides: who may talk to whom, with how much
//!    credit, in which state.
//!    A name with a slash is a [`service`]: what the host provides, and keeps in the [`state`]
//!    folder.
//! 7. [`pool`]: finds the function's version and asks for a wrapper; [`backoff`] says when, where
//!    it crashes again and again.
//! 8. [`wrapper`]: the version's fork server forks one; it says hello, gets `startup`, runs
//!    (crate `embly_wrapper`), and is reaped.
//! 9. Back through the switchboard to the gateway, which checks the response while it passes.
//!
//! Beside a running master, [`store`] copies what it keeps, and [`admin`] answers whoever wants to
//! know what it does, or to have it do something.
//!
//! [`report`] tells people and programs what happens on the way, without the [`secrets`] that it
//! meets. [`telemetry`] counts what happens.
//!
//! [`bundle`] is a project in one file, as it is taken elsewhere; [`versions`] keeps those that were
//! deployed to a master.
//!
//! [`tls`] has the certificates that gateways show.
//!
//! Modules know those that come after them, never those before: what the wrapper's side has to
//! say travels up through channels that were handed down.

#![forbid(unsafe_code)]

pub mod admin;
pub mod allow;
pub mod backoff;
pub mod build;
pub mod bundle;
pub mod cli;
pub mod config;
#[cfg(test)]
mod exploring;
pub mod file;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod hurl;
pub mod limits;
pub mod master;
pub mod pool;
pub mod report;
pub mod router;
pub mod routes;
pub mod scaffold;
pub mod schedule;
pub mod secrets;
pub mod service;
pub mod state;
pub mod store;
pub mod supervisor;
pub mod switchboard;
pub mod telemetry;
pub mod tls;
pub mod versions;
pub mod wrapper;
