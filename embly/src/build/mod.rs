//! From source to wasm: the toolchain, the cargo calls, and the watching of what went into them.
//!
//! Everything here is synchronous and runs on the thread that calls it; what takes long takes a [`Cancel`].

mod event;
mod folder;
mod process;
pub mod project;
pub mod rust;
pub mod toolchain;
pub mod watch;

pub use event::{BuildEvent, Cancel, Observer};
pub use folder::FOLDER;
pub use project::{Build, Built};
