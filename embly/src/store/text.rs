//! Bytes as text that acts on no terminal, and back. Both ways lose nothing.

use std::fmt::Write as _;

/// Letters, digits and other characters that can be seen stay as they are, `\` is doubled, all else
/// is `\n`, `\r`, `\t` or `\xNN`.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if is_visible(c) => out.push(c),
                c => hex(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut out),
            }
        }
        hex(chunk.invalid(), &mut out);
    }
    out
}

/// Whether a terminal shows it in its place, and does nothing else.
fn is_visible(c: char) -> bool {
    // What `Debug` escapes: controls, format characters, those that turn the direction of text.
    c == '"' || c == '\'' || c.escape_debug().len() == 1
}

fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// What [`escape`] has made a text of. A `\` that begins none of its forms is itself.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, read) = match (first, after) {
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [b'x', high, low, ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let byte = digit(high)
                    .zip(digit(low))
                    .map(|(high, low)| high * 16 + low);
                match byte.and_then(|byte| u8::try_from(byte).ok()) {
                    Some(byte) => (byte, 4),
                    None => (b'\\', 1),
                }
            }
            (byte, _) => (*byte, 1),
        };
        out.push(byte);
        rest = &rest[read..];
    }
    out
}

/// The beginning of a text, for a line of a table.
pub fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_a_terminal_and_nothing_is_lost() {
        for (bytes, text) in [
            (&b"users/1"[..], "users/1"),
            ("größer \u{4f60}".as_bytes(), "größer \u{4f60}"),
            (b"\x1b[2J", "\\x1b[2J"),
            (b"a\nb\tc\\d", "a\\nb\\tc\\\\d"),
            (b"\xff\x00x", "\\xff\\x00x"),
            ("a\u{202e}b\u{85}".as_bytes(), "a\\xe2\\x80\\xaeb\\xc2\\x85"),
            (b"\"'", "\"'"),
        ] {
            assert_eq!(escape(bytes), text);
            assert_eq!(unescape(text), bytes);
        }
        for byte in 0..=255 {
            let text = escape(&[byte]);
            assert!(text.chars().all(|c| !c.is_control()));
            assert_eq!(unescape(&text), [byte]);
        }
        assert_eq!(unescape("\\q\\x1\\"), b"\\q\\x1\\");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(short("äöü", 3), "äöü");
        assert_eq!(short("äöü", 2), "äö…");
    }
}
