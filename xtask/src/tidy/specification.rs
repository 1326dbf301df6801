//! The promises in `docs/specification.md` name tests, and those tests exist.
//!
//! A test is named by the end of the command that runs it: `-p embly --test http NAME`, or
//! `-p embly-protos --lib NAME`.

use super::none;
use super::tree::{self, File};

const DOCUMENT: &str = "docs/specification.md";

/// Packages and their folders.
const PACKAGES: [(&str, &str); 5] = [
    ("embly", "embly"),
    ("embly-wrapper", "embly-wrapper"),
    ("embly-sdk", "embly-sdk"),
    ("embly-protos", "protos"),
    ("xtask", "xtask"),
];

#[test]
fn every_test_of_the_specification_exists() {
    let text = tree::file(DOCUMENT);
    let sources = tree::ending(".rs");
    let named = named(&text);
    assert!(!named.is_empty(), "{DOCUMENT} names no test");
    let missing = named.into_iter().filter(|test| !exists(test, &sources));
    none(
        "docs/specification.md names tests that are not there",
        missing.map(str::to_owned).collect(),
    );
}

#[test]
fn every_promise_has_a_number_of_its_own() {
    let text = tree::file(DOCUMENT);
    let numbers: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| P")?.split(' ').next())
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    let twice = numbers.iter().filter(|number| !seen.insert(**number));
    none(
        "promises with the same number",
        twice.map(|number| format!("P{number}")).collect(),
    );
    assert!(!numbers.is_empty(), "{DOCUMENT} makes no promise");
}

/// Code spans that are the end of a command.
fn named(text: &str) -> Vec<&str> {
    let spans = text
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    spans.filter(|span| span.starts_with("-p ")).collect()
}

fn exists(test: &str, sources: &[File]) -> bool {
    let words: Vec<&str> = test.split(' ').collect();
    let (package, place, name) = match words[..] {
        ["-p", package, "--test", file, name]
        | ["-p", package, "--features", _, "--test", file, name] => {
            (package, Place::File(file), name)
        }
        ["-p", package, "--lib", name] => (package, Place::Source, name),
        // A program has no `--lib`.
        ["-p", package, name] => (package, Place::Source, name),
        _ => return false,
    };
    let Some((_, folder)) = PACKAGES.iter().find(|(known, _)| *known == package) else {
        return false;
    };
    let declared = format!("fn {name}(");
    sources
        .iter()
        .any(|file| place.holds(folder, &file.path) && is_test(&file.text, &declared))
}

enum Place<'a> {
    /// A file of integration tests.
    File(&'a str),
    /// Beside the code.
    Source,
}

impl Place<'_> {
    fn holds(&self, folder: &str, path: &str) -> bool {
        match self {
            Self::File(name) => {
                path == format!("{folder}/tests/{name}.rs")
                    || path.starts_with(&format!("{folder}/tests/{name}/"))
            }
            Self::Source => path.starts_with(&format!("{folder}/src/")),
        }
    }
}

/// Whether a function declared so is a test: an attribute that ends in `test]` stands above it,
/// or a program with a `main` of its own has it in its list.
fn is_test(text: &str, declared: &str) -> bool {
    if let Some((_, list)) = text.split_once("harness::tests![") {
        let name = declared.trim_start_matches("fn ").trim_end_matches('(');
        let listed = list.split(']').next().unwrap_or_default();
        let mut tests = listed.split(',').map(str::trim);
        if tests.any(|test| test.rsplit("::").next() == Some(name)) {
            return true;
        }
    }
    let mut attribute = false;
    for line in text.lines().map(str::trim) {
        if line.contains(declared) && attribute {
            return true;
        }
        let above = line.starts_with("#[") || line.starts_with("///") || line.starts_with(")]");
        attribute =
            (attribute && above) || line.starts_with("#[test") || line.starts_with("#[tokio::test");
    }
    false
}

#[test]
fn a_test_is_told_from_another_function() {
    let text = "#[test]\n/// Says why.\nfn one() {}\n\nfn two() {}\n";
    assert!(is_test(text, "fn one("));
    assert!(!is_test(text, "fn two("));
    let text = "run(&harness::tests![\n    a::one,\n    b::two_more,\n]); fn three() {}";
    assert!(is_test(text, "fn one(") && is_test(text, "fn two_more("));
    assert!(!is_test(text, "fn two(") && !is_test(text, "fn three("));
    assert_eq!(
        named("`-p a b` and `c` and `-p d --lib e`"),
        ["-p a b", "-p d --lib e"]
    );
}
