//! What functions ask services for, and what servers answer.

use super::{frames, http, sql};

/// The first byte says what the rest is.
pub fn services(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else {
        return;
    };
    match kind % 5 {
        0 => frames::fuzzing::stream(rest),
        1 => http::fuzzing::request(rest),
        2 => http::fuzzing::url(rest),
        3 => http::fuzzing::body(rest),
        _ => sql::fuzzing::asked(rest),
    }
}
