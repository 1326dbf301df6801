//! `docs/reference/` knows every name that users meet: keys, limits, codes, reasons, events.

use super::{none, tree};

#[test]
fn every_key_of_the_project_file_is_documented() {
    let parts = ["schema.rs", "schema/policy.rs"];
    let parts = parts.map(|part| tree::file(&format!("embly/src/config/{part}")));
    let schema = parts.concat();
    let calls = ["required(", "optional("];
    let keys = schema
        .lines()
        .zip(schema.lines().skip(1))
        .filter_map(|(line, next)| {
            let after = calls
                .iter()
                .find_map(|call| line.split_once(call).map(|(_, after)| after))?;
            quoted(if after.is_empty() { next } else { after })
        });
    documented("keys of the project file", keys);
}

#[test]
fn every_code_is_documented() {
    let codes = tree::file("embly/src/config/codes.rs");
    documented(
        "codes",
        codes.lines().filter_map(|line| {
            let id = quoted(line)?;
            let is_code = id.len() == 4 && id[1..].bytes().all(|byte| byte.is_ascii_digit());
            is_code.then_some(id)
        }),
    );
}

#[test]
fn every_reason_is_documented() {
    let reasons = tree::file("protos/src/reason.rs");
    documented(
        "reasons",
        reasons.lines().filter_map(|line| {
            let (_, name) = line.trim().strip_suffix(';')?.split_once(" = ")?;
            quoted(name.split_once(", ")?.1)
        }),
    );
}

#[test]
fn every_event_and_its_fields_are_documented() {
    let event = tree::file("embly/src/report/event.rs");
    let from = event
        .find("pub struct Access")
        .expect("the fields of `access`");
    let to = event.find("impl Event").expect("the end of the events");
    // A field that is flattened does not show: its own fields do.
    let shown = event[from..to].split("#[serde(flatten)]\n");
    let lines = shown
        .enumerate()
        .flat_map(|(n, part)| part.lines().skip(usize::from(n > 0)));
    let names = lines.filter_map(|line| {
        let line = line.trim();
        if line.starts_with(['/', '#'])
            || line.starts_with("pub enum")
            || line.starts_with("pub struct")
        {
            return None;
        }
        let name = line
            .trim_start_matches("pub ")
            .split([':', ' ', '('])
            .next()?;
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic());
        is_name.then(|| snake(name))
    });
    documented("events or their fields", names);
}

#[test]
fn every_host_call_is_documented() {
    let link = tree::file("embly-wrapper/src/link.rs");
    let calls = link.split("EMBLY,").skip(1).filter_map(quoted);
    documented("host calls", calls);
}

/// Each of these names stands in the document as code.
#[track_caller]
fn documented(what: &str, names: impl IntoIterator<Item = impl AsRef<str>>) {
    let pages = tree::ending(".md");
    let pages = pages.iter().filter(|file| file.under("docs/reference"));
    let spans: Vec<&str> = pages
        .flat_map(|page| page.text.lines())
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect();
    let known = |name: &str| spans.iter().any(|span| super::has_word(span, name));
    let names: Vec<String> = names
        .into_iter()
        .map(|name| name.as_ref().to_owned())
        .collect();
    assert!(
        names.len() >= 5,
        "only {} {what} were found: has the file changed its form?",
        names.len()
    );
    let missing = names.into_iter().filter(|name| !known(name)).collect();
    none(
        &format!("{what} that docs/reference/ does not have as code"),
        missing,
    );
}

/// The first text in quotes.
fn quoted(text: &str) -> Option<&str> {
    text.split('"').nth(1)
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
