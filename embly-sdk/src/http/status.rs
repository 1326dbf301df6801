//! What can be a status.

use crate::error::Error;
use http::StatusCode;

/// What [`ResponseWriter::status`](super::ResponseWriter::status) takes: `200`, `"200"`, or a
/// [`StatusCode`].
pub trait IntoStatus {
    /// The status.
    ///
    /// # Errors
    /// When it is none.
    fn into_status(self) -> Result<StatusCode, Error>;
}

impl IntoStatus for StatusCode {
    fn into_status(self) -> Result<StatusCode, Error> {
        Ok(self)
    }
}

impl IntoStatus for u16 {
    fn into_status(self) -> Result<StatusCode, Error> {
        StatusCode::from_u16(self).map_err(|_| bad(self))
    }
}

impl IntoStatus for &str {
    fn into_status(self) -> Result<StatusCode, Error> {
        self.parse().map_err(|_| bad(self))
    }
}

fn bad(status: impl std::fmt::Display) -> Error {
    Error::msg(format!(
        "`{status}` is no HTTP status: use a number from 200 to 599"
    ))
}
