//! Rules of the repository that no compiler checks. Each is a test, and its failure names the
//! file, the line and what to do.

mod imports;
mod links;
mod reference;
mod sizes;
mod specification;
mod tree;
mod unsafety;
mod words;

use tree::File;

/// Fails with everything that was found.
#[track_caller]
fn none(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// What `look` finds in the lines of these files, each as `path:line: text`.
fn in_lines<'f>(
    files: impl IntoIterator<Item = &'f File>,
    look: impl Fn(&File, &str) -> Option<String>,
) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.text.lines()) {
            if let Some(text) = look(file, line) {
                found.push(format!("{}:{number}: {text}", file.path));
            }
        }
    }
    found
}

/// The line without a comment at its end. A `//` inside of a string cuts it as well, which
/// hides nothing that these rules look for.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// Whether `word` stands in the text as a word of its own.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}
