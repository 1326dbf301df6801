//! embly

pub mod config;
pub mod limits;
