//! embly

pub mod build;
pub mod scaffold;
