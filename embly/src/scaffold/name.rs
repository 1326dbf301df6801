//! Names of projects, made from names of folders.

use crate::config::LONGEST_NAME;
pub use crate::config::is_usable_name as check;

/// A valid name that resembles this one.
pub fn suggest(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars().map(|letter| letter.to_ascii_lowercase()) {
        match letter {
            'a'..='z' => text.push(letter),
            '0'..='9' if !text.is_empty() => text.push(letter),
            _ if !text.is_empty() && !text.ends_with('-') => text.push('-'),
            _ => {}
        }
        if text.len() == LONGEST_NAME {
            break;
        }
    }
    let text = text.trim_end_matches('-');
    if text.is_empty() {
        "project".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_and_dashes() {
        for name in ["a", "my-project", "x2-", &"n".repeat(63)] {
            assert!(check(name), "{name}");
        }
        for name in ["", "2x", "-x", "My", "a_b", "a/b", "ä", &"n".repeat(64)] {
            assert!(!check(name), "{name}");
        }
    }

    #[test]
    fn suggestions_are_valid_names() {
        let cases = [
            ("My Project", "my-project"),
            ("2nd_try!", "nd-try"),
            ("été", "t"),
            ("...", "project"),
        ];
        for (name, suggestion) in cases {
            assert_eq!(suggest(name), suggestion);
            assert!(check(suggestion));
        }
        assert!(check(&suggest(&"Long ".repeat(40))));
    }
}
