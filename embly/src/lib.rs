//! embly

pub mod build;
