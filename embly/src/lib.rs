//! embly
