//! Names of functions and gateways.

use std::collections::HashMap;
use std::ops::Range;

use super::codes;
use super::fields::Field;
use super::problem::{Problem, Problems, quote};

pub use protos::LONGEST_NAME;

/// Names of one list, with the place where each was used first.
#[derive(Default)]
pub(super) struct Names<'t>(HashMap<&'t str, Range<usize>>);

impl<'t> Names<'t> {
    /// The name, if it can be used and was not before; `what` is "functions" or "gateways".
    pub fn take(
        &mut self,
        field: Field<'t>,
        what: &str,
        problems: &mut Problems,
    ) -> Option<&'t str> {
        let name = field.scalar("text", problems)?;
        if !usable(name) {
            let message = format!("{} cannot be a name", quote(name));
            let help = match near(name) {
                Some(near) => format!("write `name: {near}`"),
                None if name.len() > LONGEST_NAME => {
                    format!("use at most {LONGEST_NAME} characters")
                }
                None => "use lower-case letters, digits and `-`, with a letter first".to_owned(),
            };
            problems.push(Problem::new(&codes::BAD_NAME, field.span(), message).help(help));
        }
        if let Some(first) = self.0.get(name) {
            let message = format!("two {what} are called {}", quote(name));
            let problem = Problem::new(&codes::DUPLICATE_NAME, field.span(), message);
            let problem = problem.related(first.clone(), "the first one");
            problems.push(problem.help("give one of them another `name`"));
            return None;
        }
        self.0.insert(name, field.span());
        usable(name).then_some(name)
    }

    /// All names so far, also those that cannot be used.
    pub fn all(&self) -> Vec<&'t str> {
        let mut all: Vec<_> = self.0.keys().copied().collect();
        all.sort_unstable();
        all
    }
}

/// Whether a project, function, gateway or store may have this name: `[a-z][a-z0-9-]*`.
pub fn usable(name: &str) -> bool {
    protos::is_name(name)
}

/// The name as it could be written.
pub(super) fn near(name: &str) -> Option<String> {
    let dashed = name.to_lowercase().replace(['_', ' ', '.', '/'], "-");
    let near = dashed.trim_matches('-');
    (usable(near) && near != name).then(|| near.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_host_name_labels_with_a_letter_first() {
        for name in ["a", "hello-world", "x2", &"a".repeat(63)] {
            assert!(usable(name), "{name}");
        }
        for name in ["", "Hello", "2x", "-x", "a_b", "a/b", "ä", &"a".repeat(64)] {
            assert!(!usable(name), "{name}");
        }
        assert_eq!(near("Hello_World").as_deref(), Some("hello-world"));
        assert_eq!(near("9lives"), None);
    }
}
