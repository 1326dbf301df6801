//! Tests of HTTP in the format of Hurl (<https://hurl.dev>): requests, and what is expected of the
//! answers. A part of the format; what is not in that part is an error, never passed over.
//!
//! `parse` makes a [`Script`] of a text, with `cursor` and `check` (queries, filters and predicates);
//! [`run`] sends its requests, with `client`, and looks at the answers, with `look`.

mod check;
mod client;
mod cursor;
mod json_path;
mod look;
mod parse;
mod run;
mod script;
mod template;

use std::fmt;

pub use parse::parse;
pub use run::{Ran, run};
pub use script::Script;

/// What is wrong, and where in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// A byte of the text.
    pub at: usize,
    /// What, in one line or a few.
    pub message: String,
}

impl Wrong {
    /// Something that is wrong there.
    pub fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }

    /// Line and column in characters, from 1, and the line.
    pub fn place<'t>(&self, text: &'t str) -> (usize, usize, &'t str) {
        let at = text.floor_char_boundary(self.at.min(text.len()));
        let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
        let line = text[..at].matches('\n').count() + 1;
        let column = text[start..at].chars().count() + 1;
        let shown = text[start..].lines().next().unwrap_or_default();
        (line, column, shown)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
