//! The only place in this crate where `unsafe` stands: a safe function for each
//! thing that the kernel or the engine offers without one.

pub mod buffer;
pub mod cputime;
pub mod environment;
pub mod fd;
pub mod heap;
pub mod module;
pub mod process;
pub mod signal;
