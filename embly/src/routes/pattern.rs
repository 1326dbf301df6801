//! The paths of a route, as the project file writes them: `/users/{id}`, `/assets/{rest...}`.

use std::fmt;

use super::path;

/// A path with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As it was written.
    text: String,
    /// All but the rest.
    pub(super) segments: Vec<Segment>,
    /// The name of what follows them, if anything may.
    pub(super) rest: Option<String>,
}

/// What a pattern says of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// It is this, in its normal form.
    Literal(String),
    /// It is anything but empty, and has this name.
    Parameter(String),
}

/// Why a text is no pattern, and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPattern {
    /// What is wrong, after the text itself: "does not begin with `/`".
    pub why: &'static str,
    /// What to write instead.
    pub help: String,
}

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    /// See [`BadPattern`].
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let bad = |why, help: &str| {
            Err(BadPattern {
                why,
                help: help.to_owned(),
            })
        };
        let Some(parts) = text.strip_prefix('/') else {
            return bad("does not begin with `/`", &format!("write `/{text}`"));
        };
        if text.contains(['?', '#']) {
            return bad("has more than a path", "leave out what follows `?` or `#`");
        }
        let mut pattern = Self {
            text: text.to_owned(),
            segments: Vec::new(),
            rest: None,
        };
        let mut parts = parts.split('/').peekable();
        while let Some(part) = parts.next() {
            // As others write them.
            if let Some(name) = part.strip_prefix(':') {
                let name = if is_name(name) { name } else { "name" };
                return bad(
                    "has a segment that begins with `:`",
                    &format!("write `{{{name}}}` for a parameter, or the character as `%3A`"),
                );
            }
            if part == "*" || part == "**" {
                return bad(
                    "has a `*` for a segment",
                    "write `{name}` for one segment, `{name...}` for all that follow, or the character as `%2A`",
                );
            }
            if !part.contains(['{', '}']) {
                let Ok(literal) = path::segment(part) else {
                    return bad("has a `%` that encodes nothing", "write `%25` for it");
                };
                if literal == "." || literal == ".." {
                    return bad("has a segment of dots", "write the path that it leads to");
                }
                pattern.segments.push(Segment::Literal(literal));
                continue;
            }
            let inner = part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'))
                .filter(|inner| !inner.contains(['{', '}']));
            let Some(inner) = inner else {
                return bad(
                    "has a parameter that is not a whole segment",
                    "write `/{name}/`, or the two characters as `%7B` and `%7D`",
                );
            };
            let (name, rest) = match inner.strip_suffix("...") {
                Some(name) => (name, true),
                None => (inner, false),
            };
            if !is_name(name) {
                return bad(
                    "has a parameter without a name that it can have",
                    "use lower-case letters, digits, `-` and `_`, with a letter first",
                );
            }
            if pattern.names().any(|other| other == name) {
                return bad("has two parameters of one name", "give each its own");
            }
            if rest && parts.peek().is_some() {
                return bad("goes on after the rest", "let `{name...}` be the end");
            }
            if rest {
                pattern.rest = Some(name.to_owned());
            } else {
                pattern.segments.push(Segment::Parameter(name.to_owned()));
            }
        }
        Ok(pattern)
    }

    /// The names of its parameters, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        });
        names.chain(self.rest.as_deref())
    }

    /// Whether it ends with `{name...}`.
    pub fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether it is `/{name...}`, which every path matches.
    pub fn is_everything(&self) -> bool {
        self.segments.is_empty() && self.rest.is_some()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A parameter's name becomes a part of a header's name.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 64
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_literals_parameters_and_at_its_end_the_rest() {
        let pattern = Pattern::parse("/users/{id}/files/{path...}").unwrap();
        assert_eq!(pattern.names().collect::<Vec<_>>(), ["id", "path"]);
        assert!(!pattern.is_everything());
        assert!(Pattern::parse("/{all...}").unwrap().is_everything());
        assert!(!Pattern::parse("/{all}").unwrap().is_everything());
    }

    #[test]
    fn what_is_no_pattern_says_what_to_write() {
        for (text, why) in [
            ("users", "begin"),
            ("/a?b", "more than a path"),
            ("/a%", "encodes nothing"),
            ("/a/../b", "dots"),
            ("/a/%2e%2e/b", "dots"),
            ("/x{id}", "whole segment"),
            ("/{id", "whole segment"),
            ("/{a}{b}", "whole segment"),
            ("/{}", "name"),
            ("/{ID}", "name"),
            ("/{...}", "name"),
            ("/{a}/{a}", "one name"),
            ("/{a...}/b", "after the rest"),
        ] {
            let bad = Pattern::parse(text).unwrap_err();
            assert!(bad.why.contains(why), "{text}: {}", bad.why);
            assert!(!bad.help.is_empty());
        }
    }
}
