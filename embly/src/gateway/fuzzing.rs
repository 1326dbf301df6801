//! What comes over connections.

pub use super::http::fuzzing::{request, response, websocket};
pub use super::transport::fuzzing::proxy;
