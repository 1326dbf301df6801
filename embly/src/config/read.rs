//! The text of a file, or why there is none.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::codes;
use super::problem::{Problem, Problems};

/// Bytes of a file that are read. A thousand functions with all their keys fit in half.
const MAX: u64 = 1024 * 1024;

/// The text without its byte order mark, with no problems yet; or the one problem.
pub(super) fn text(file: &Path) -> Result<Problems, Problems> {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let bytes = match bytes(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            let mut problems = Problems::new(absolute, String::new());
            let message = format!("the file cannot be read: {error}");
            problems.push(Problem::of_file(&codes::UNREADABLE, message));
            return Err(problems);
        }
    };
    if bytes.len() as u64 > MAX {
        let mut problems = Problems::new(absolute, String::new());
        let message = "the file is bigger than 1 MiB";
        problems.push(Problem::of_file(&codes::TOO_BIG, message).help("is this the right file?"));
        return Err(problems);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    match str::from_utf8(bytes) {
        Ok(text) => Ok(Problems::new(absolute, text.to_owned())),
        Err(error) => {
            let at = error.valid_up_to();
            // Before `at` the replaced text has the same bytes, and there stands a `�`.
            let text = String::from_utf8_lossy(bytes).into_owned();
            let mut problems = Problems::new(absolute, text);
            let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
            let message = match utf16 {
                true => "the file is UTF-16, not UTF-8".to_owned(),
                false => format!("the byte 0x{:02x} here is not UTF-8", bytes[at]),
            };
            let end = at + char::REPLACEMENT_CHARACTER.len_utf8();
            let problem = Problem::new(&codes::NOT_UTF8, at..end, message);
            problems.push(problem.help("save the file as UTF-8"));
            Err(problems)
        }
    }
}

fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
