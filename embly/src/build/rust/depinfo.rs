//! cargo's dep-info: the files that went into an output, written as a make rule beside it.

use std::path::PathBuf;

/// The files on the right side of the rule `output: file file …`; a backslash keeps a space in a name.
pub(super) fn parse(text: &str) -> Vec<PathBuf> {
    let line = text.lines().next().unwrap_or_default();
    let mut files = Vec::new();
    let mut name = String::new();
    let mut past_output = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.peek() == Some(&' ') => name.extend(letters.next()),
            ' ' if past_output => {
                if !name.is_empty() {
                    files.push(PathBuf::from(std::mem::take(&mut name)));
                }
            }
            ':' if !past_output && matches!(letters.peek(), None | Some(' ')) => {
                past_output = true;
                name.clear();
            }
            other => name.push(other),
        }
    }
    if past_output && !name.is_empty() {
        files.push(PathBuf::from(name));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text)
            .iter()
            .map(|path| path.display().to_string())
            .collect()
    }

    #[test]
    fn escaped_spaces_belong_to_the_name() {
        let text = "/t\\ t/release/x.wasm: /w/b\\ c/src/main.rs /w/out\\ dep/src/t.txt\n";
        assert_eq!(names(text), ["/w/b c/src/main.rs", "/w/out dep/src/t.txt"]);
    }

    #[test]
    fn colons_and_backslashes_inside_names_stay() {
        assert_eq!(
            names("/a:b/x.wasm: /a:b/m.rs /c\\d/m.rs"),
            ["/a:b/m.rs", "/c\\d/m.rs"]
        );
    }

    #[test]
    fn nothing_is_a_valid_list() {
        assert!(names("/t/x.wasm:\n").is_empty());
        assert!(names("").is_empty());
    }
}
