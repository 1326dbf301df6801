//! `embly explain`: what a code of the project file, the reason of an ending, or an errno means, and
//! what to do.

mod words;

pub use words::of_reason;

use std::io::{self, Write};

use protos::{Errno, Reason};
use serde::Serialize;

use super::Exit;
use super::output;
use crate::config::{self, CODES};
use crate::report::{Format, Reporter, columns_of, wrap};

/// Lines are no longer than this, in columns: longer ones are hard to read.
const WIDEST: usize = 80;

/// Something that can be explained.
#[derive(Debug, Clone, Serialize)]
struct Word {
    event: &'static str,
    code: &'static str,
    kind: Kind,
    /// Of a reason or an errno.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    /// Of a reason: what a client gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    title: &'static str,
    text: &'static str,
}

/// A group of them, in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Error,
    Warning,
    Reason,
    Errno,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Error, Self::Warning, Self::Reason, Self::Errno];

    fn heading(self) -> &'static str {
        match self {
            Self::Error => "Errors in the project file",
            Self::Warning => "Warnings about the project file",
            Self::Reason => "Reasons why an invocation ended",
            Self::Errno => "Errnos that a function is answered with",
        }
    }
}

/// Explains one, or lists all.
pub fn run(code: Option<&str>, reporter: &Reporter) -> Exit {
    let done = match code {
        Some(code) => one(code, reporter),
        None => list(reporter),
    };
    done.err().unwrap_or(Exit::Done)
}

fn one(code: &str, reporter: &Reporter) -> Result<(), Exit> {
    let words = words();
    let Some(word) = words
        .iter()
        .find(|word| word.code.eq_ignore_ascii_case(code))
    else {
        let help = match config::nearest(code, words.iter().map(|word| word.code)) {
            Some(near) => format!("did you mean `embly explain {near}`?"),
            None => "`embly explain` lists all".to_owned(),
        };
        let code: String = code.escape_debug().collect();
        reporter.error(format!("there is no code `{code}`: {help}"));
        return Err(Exit::Usage);
    };
    if reporter.options().format == Format::Json {
        return output::json([word].into_iter(), reporter);
    }
    let mut text = String::new();
    let title = format!("{}: {}", word.code, lower(word.title));
    wrap(&title, width(), 0, &mut text);
    text.push_str("\n\n");
    wrap(word.text, width(), 0, &mut text);
    text.push('\n');
    let number = match (word.kind, word.number, word.http_status) {
        (Kind::Errno, Some(number), _) => Some(format!("It is number {number} of WASI.")),
        (Kind::Reason, Some(number), Some(status)) => Some(format!(
            "It is number {number} in `_status`; a client that waits for a response gets {status}."
        )),
        (Kind::Reason, Some(number), None) => Some(format!("It is number {number} in `_status`.")),
        _ => None,
    };
    if let Some(number) = number {
        text.push('\n');
        wrap(&number, width(), 0, &mut text);
        text.push('\n');
    }
    print(&text, reporter)
}

fn list(reporter: &Reporter) -> Result<(), Exit> {
    let words = words();
    if reporter.options().format == Format::Json {
        return output::json(words.iter(), reporter);
    }
    let longest = words.iter().map(|word| word.code.len()).max().unwrap_or(0);
    let mut text = String::new();
    for kind in Kind::ALL {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{}:\n", kind.heading()));
        for word in words.iter().filter(|word| word.kind == kind) {
            let code = format!("  {:longest$}  ", word.code);
            text.push_str(&code);
            wrap(&lower(word.title), width(), code.len(), &mut text);
            text.push('\n');
        }
    }
    print(&text, reporter)
}

/// All that can be explained, by kind.
fn words() -> Vec<Word> {
    let codes = CODES.iter().map(|code| Word {
        event: "code",
        code: code.id,
        kind: match code.is_warning() {
            true => Kind::Warning,
            false => Kind::Error,
        },
        number: None,
        http_status: None,
        title: code.title,
        text: code.explanation,
    });
    let reasons = Reason::ALL.iter().map(|reason| Word {
        event: "code",
        code: reason.name(),
        kind: Kind::Reason,
        number: Some(reason.number()),
        http_status: reason.http_status(),
        title: reason.meaning().trim_end_matches('.'),
        text: words::of_reason(*reason),
    });
    let errnos = Errno::ALL.iter().filter_map(|errno| {
        Some(Word {
            event: "code",
            code: errno.name()?,
            kind: Kind::Errno,
            number: Some(errno.0.into()),
            http_status: None,
            title: errno.meaning()?.trim_end_matches('.'),
            text: words::of_errno(*errno)?,
        })
    });
    codes.chain(reasons).chain(errnos).collect()
}

/// As it stands after a code.
fn lower(title: &str) -> String {
    if title.starts_with("Embly") {
        return title.to_owned();
    }
    let mut letters = title.chars();
    let first = letters.next().map(char::to_lowercase);
    first.into_iter().flatten().chain(letters).collect()
}

/// Columns of the terminal, as far as lines of text go.
fn width() -> usize {
    columns_of(io::stdout()).map_or(WIDEST, |columns| columns.min(WIDEST))
}

fn print(text: &str, reporter: &Reporter) -> Result<(), Exit> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    output::done(written, reporter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_differ_also_where_their_case_does_not_count() {
        let mut codes: Vec<String> = words()
            .iter()
            .map(|word| word.code.to_lowercase())
            .collect();
        let count = codes.len();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }
}
