//! Embly: functions as WebAssembly, each invocation in a process of its own.

#![forbid(unsafe_code)]

pub mod build;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod limits;
pub mod master;
pub mod pool;
pub mod report;
pub mod router;
pub mod scaffold;
pub mod switchboard;
pub mod wrapper;
