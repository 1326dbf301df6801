//! embly-wrapper
