//! embly-sdk
