//! The traits that functions need, without their names: `use embly::prelude::*`.

pub use crate::http::Flusher as _;
pub use std::io::{Read as _, Write as _};
