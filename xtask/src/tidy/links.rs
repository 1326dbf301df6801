//! Links in the documents lead somewhere.

use std::path::{Path, PathBuf};

use super::{none, tree};
use crate::book::normal;

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let mut found = Vec::new();
    for file in tree::ending(".md") {
        for link in links(&file.text) {
            if let Some(problem) = problem(&file.path, &link) {
                found.push(format!("{}: `{link}` {problem}", file.path));
            }
        }
    }
    none("links that lead nowhere", found);
}

fn problem(from: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, heading) = link
        .split_once('#')
        .map_or((link, None), |(path, heading)| (path, Some(heading)));
    let target = if path.is_empty() {
        PathBuf::from(from)
    } else {
        normal(&Path::new(from).parent()?.join(path))
    };
    let on_disk = crate::root().join(&target);
    if !on_disk.exists() {
        return Some(format!("is not there: {}", target.display()));
    }
    let heading = heading?;
    let text = std::fs::read_to_string(on_disk).ok()?;
    let known = without_code(&text)
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line) == heading);
    (!known).then(|| format!("names no heading of {}", target.display()))
}

/// Targets of `[text](target)` and `[label]: target`.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in without_code(text) {
        // Brackets in a code span are no link.
        let line: String = line.split('`').step_by(2).collect();
        for (at, mark) in line.match_indices("](") {
            let rest = &line[at + mark.len()..];
            found.extend(rest.split_once(')').map(|(target, _)| target.to_owned()));
        }
        if let Some((_, target)) = line
            .strip_prefix('[')
            .and_then(|line| line.split_once("]: "))
        {
            found.push(target.trim().to_owned());
        }
    }
    found
}

fn without_code(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

/// A heading's anchor, as the usual renderers make it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_and_anchors_are_found() {
    let text = "a [b](c.md#d) `[x](y)`\n```\n[no](link)\n```\n[e]: ../f\n";
    assert_eq!(links(text), ["c.md#d", "../f"]);
    assert_eq!(
        anchor("## 3. What a function can't do, `_read`"),
        "3-what-a-function-cant-do-_read"
    );
}

/// `router/link.rs` in a document is the end of some file's path.
#[test]
fn every_source_file_that_a_document_names_is_there() {
    let files = tree::files();
    let there = |name: &str| {
        files.iter().any(|file| {
            let rest = file.path.strip_suffix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        })
    };
    let mut found = Vec::new();
    for document in files.iter().filter(|file| file.is(".md")) {
        for line in without_code(&document.text) {
            let spans = line.split('`').skip(1).step_by(2);
            let named = spans.filter(|span| span.ends_with(".rs") && !span.contains(' '));
            let missing = named.filter(|name| !there(name));
            found.extend(missing.map(|name| format!("{}: `{name}`", document.path)));
        }
    }
    none("documents name source files that are not there", found);
}

/// The book of `docs/` leaves out no document.
#[test]
fn every_document_is_in_the_contents_of_the_book() {
    let files = tree::ending(".md");
    let contents = files.iter().find(|file| file.path == "docs/SUMMARY.md");
    let contents = links(&contents.expect("docs/SUMMARY.md").text);
    let documents = files.iter().filter_map(|file| {
        let path = file.path.strip_prefix("docs/")?;
        (path != "SUMMARY.md" && !contents.iter().any(|link| link == path)).then(|| path.to_owned())
    });
    none("not in docs/SUMMARY.md", documents.collect());
}
