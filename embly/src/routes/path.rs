//! Paths as routes see them: percent-encoding and dots in one form.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// What a segment never has as it is. All else of RFC 3986 (`pchar`: unreserved, sub-delims, `:` and
/// `@`) is not encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// It is not a path: a `%` without two hex digits behind it, or no `/` in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a path")]
pub struct BadPath;

/// The path with each byte encoded where it must be and nowhere else, once, and without `.` and `..`
/// (RFC 3986, section 5.2.4), which may be encoded too. A `/` that was encoded stays so: it does not
/// separate. Two `/` in a row enclose an empty segment.
///
/// # Errors
/// [`BadPath`].
pub fn normal(path: &str) -> Result<String, BadPath> {
    let rest = path.strip_prefix('/').ok_or(BadPath)?;
    let mut segments: Vec<String> = Vec::new();
    let mut parts = rest.split('/').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let segment = segment(part)?;
        match segment.as_str() {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                // The path of a folder ends with a slash.
                if last {
                    segments.push(String::new());
                }
            }
            _ => segments.push(segment),
        }
    }
    Ok(format!("/{}", segments.join("/")))
}

/// One segment, encoded anew.
pub(super) fn segment(text: &str) -> Result<String, BadPath> {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let digits = rest.as_bytes().get(at + 1..at + 3).ok_or(BadPath)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(BadPath);
        }
        rest = &rest[at + 3..];
    }
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    Ok(percent_encode(&bytes, ENCODED).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_has_one_form_whatever_of_it_is_encoded() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/%61/%62", "/a/b"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2Fb", "/a%2Fb"),
            ("/%7euser", "/~user"),
            ("/a b", "/a%20b"),
            ("/ä", "/%C3%A4"),
            ("/%c3%a4", "/%C3%A4"),
            ("/%252e%252e/x", "/%252e%252e/x"),
            ("/a//b", "/a//b"),
            ("/a/", "/a/"),
            ("/x{y}", "/x%7By%7D"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn dots_are_resolved_and_never_leave_the_root() {
        for (path, expected) in [
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("/%2e%2e/%2e%2e/etc", "/etc"),
            ("/a/..%2f..%2fetc", "/a/..%2F..%2Fetc"),
            ("/...", "/..."),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["", "a", "*", "/%", "/%1", "/%zz", "/a/%é"] {
            assert_eq!(normal(path), Err(BadPath), "{path}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(path in "/([a-z./%{} ä\\\\]|%2[eEfF]|%25){0,30}") {
            if let Ok(once) = normal(&path) {
                prop_assert_eq!(normal(&once), Ok(once.clone()));
                prop_assert!(!once.split('/').any(|part| part == "." || part == ".."));
                prop_assert!(once.is_ascii());
            }
        }
    }
}
