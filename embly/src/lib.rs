//! embly

pub mod limits;
