//! Compiles functions to native code and runs each invocation in a process of its own.
//!
//! In the order in which a function meets them:
//!
//! - [`engine`]: the one configuration of the WebAssembly engine;
//! - [`preflight`], [`compile`], [`artefact`]: from wasm to a file of native code that can be
//!   trusted, made in a process of its own;
//! - [`process`]: the master's side: socket pairs, fork servers, reaping;
//! - [`control`]: what the master and a fork server say to each other;
//! - [`server`], [`jail`]: the fork server, one per function version, and what it gives up;
//! - [`child`], [`channel`]: a wrapper, from hello to the report of its end;
//! - [`instance`], [`link`], [`host`]: the guest, and what it can call;
//! - [`streams`], [`limits`], [`exit`]: what it has, what it may use, how it ended;
//! - [`sql`]: a process of another kind, which runs the SQL of functions on one database.
//!
//! This crate is the only one that knows the engine, and `unsafe` stands in its `sys` modules
//! only. The executable calls [`main`] for `embly wrapper …` before it has any thread.

// With them std looks at each descriptor before it closes it: a call that the jail does not allow, so that no
// function would start.
#[cfg(all(debug_assertions, not(any(doc, feature = "fuzzing"))))]
compile_error!("Embly needs a profile with `debug-assertions = false`");

pub mod activation;
pub mod artefact;
pub mod backtrace;
pub mod channel;
pub mod child;
pub mod compile;
pub mod control;
pub mod cpus;
pub mod engine;
pub mod exit;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod host;
pub mod instance;
pub mod jail;
pub mod limits;
pub mod link;
pub mod names;
pub mod preflight;
pub mod process;
mod roles;
pub mod server;
pub mod sql;
pub mod streams;
#[expect(unsafe_code, reason = "the one place for it")]
mod sys;

pub use roles::{main, main_as};
