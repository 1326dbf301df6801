//! What functions and services say to each other.

#![allow(
    missing_docs,
    clippy::doc_lazy_continuation,
    reason = "generated from protos/proto/services, which documents each field"
)]
#![allow(dead_code, reason = "the mock speaks the other half")]

#[cfg(feature = "http-client")]
#[rustfmt::skip]
pub mod http;
#[cfg(feature = "kv")]
#[rustfmt::skip]
pub mod kv;
#[cfg(feature = "sql")]
#[rustfmt::skip]
pub mod sql;
#[cfg(feature = "tcp")]
#[rustfmt::skip]
pub mod tcp;
