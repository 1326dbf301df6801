//! Tests in the format of Hurl.

use crate::hurl::parse;

/// A file of tests: what is wrong with it has a place in it.
pub fn hurl(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Err(wrong) = parse(text) else { return };
    assert!(!wrong.message.is_empty());
    assert!(wrong.at <= text.len(), "{wrong} at {}", wrong.at);
    assert!(text.is_char_boundary(wrong.at), "{wrong} at {}", wrong.at);
    let (line, column, shown) = wrong.place(text);
    let there = text.split('\n').nth(line - 1).expect("a line of the text");
    assert!(there.starts_with(shown), "{shown:?} of {there:?}");
    assert!(column <= there.chars().count() + 1, "column {column}");
}
