//! `cargo xtask book`: the documents as a book of mdBook, whose links lead to its own pages.
//!
//! What is written is for readers of the repository: links go to files, also outside of `docs/`. In the
//! book a README is the index of its folder, a page that includes a document of the repository stands
//! for that document, and what has no page is named and not linked.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Where the documents are, in the repository.
const DOCS: &str = "docs";

/// Makes the book in the folder.
pub fn build(root: &Path, to: &Path) -> Result<()> {
    let from = root.join("target/book-source");
    if from.exists() {
        fs::remove_dir_all(&from)?;
    }
    for (page, text) in pages(root)? {
        let file = from.join(page);
        fs::create_dir_all(file.parent().context("a page is in a folder")?)?;
        fs::write(file, text)?;
    }
    let mut mdbook = Command::new("mdbook");
    mdbook.arg("build").arg(&from).arg("--dest-dir").arg(to);
    let run = super::run(&mut mdbook, "mdbook failed");
    run.context("`cargo install mdbook` installs what makes the book")
}

/// Every file of the book by its path in it.
fn pages(root: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let docs = root.join(DOCS);
    let mut files = Vec::new();
    list(&docs, &mut files)?;
    // The document that each page shows, which is itself but for those that include another.
    let mut shown = BTreeMap::new();
    let mut all = BTreeMap::new();
    for file in files {
        let page = file.strip_prefix(&docs)?.to_owned();
        let bytes = fs::read(&file)?;
        if page.extension().is_none_or(|ending| ending != "md") {
            all.insert(page, bytes);
            continue;
        }
        let text = String::from_utf8(bytes)?;
        let (document, text) = match included(&text) {
            Some(other) => {
                let other = normal(&Path::new(DOCS).join(&page).with_file_name(other));
                let text = fs::read_to_string(root.join(&other));
                (other, text.with_context(|| page.display().to_string())?)
            }
            None => (Path::new(DOCS).join(&page), text),
        };
        shown.insert(document, (page, text));
    }
    for (document, (page, text)) in &shown {
        let lead = |link: &str| {
            let (path, heading) = link.split_at(link.find('#').unwrap_or(link.len()));
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                return Some(link.to_owned());
            }
            let target = normal(&document.with_file_name(path));
            let target = match shown.get(&target) {
                Some((page, _)) => page.clone(),
                // A picture.
                None => target
                    .strip_prefix(DOCS)
                    .ok()
                    .filter(|file| all.contains_key(*file))?
                    .to_owned(),
            };
            Some(format!("{}{heading}", relative(page, &target)))
        };
        // The contents are mdBook's own, which knows what a README is.
        let text = match page.ends_with("SUMMARY.md") {
            true => text.clone(),
            false => with_links(text, lead),
        };
        all.insert(page.clone(), text.into_bytes());
    }
    Ok(all)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// What a page includes that has nothing else in it.
fn included(text: &str) -> Option<&str> {
    text.trim().strip_prefix("{{#include ")?.strip_suffix("}}")
}

/// How one page names another.
fn relative(from: &Path, to: &Path) -> String {
    let up = from.components().count() - 1;
    let to = match to.file_name() {
        Some(name) if name == "README.md" => to.with_file_name("index.md"),
        _ => to.to_owned(),
    };
    format!("{}{}", "../".repeat(up), to.display())
}

/// A path without `..` and `.`.
pub fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

/// The text with other targets of its links; those for which there is none are only their words.
fn with_links(text: &str, mut lead: impl FnMut(&str) -> Option<String>) -> String {
    let code = code(text);
    let is_code = |at: usize| code.iter().any(|span| span.contains(&at));
    let mut edits = Vec::new();
    for (at, mark) in text.match_indices("](") {
        let target = at + mark.len();
        let Some(length) = text[target..].find(')').filter(|_| !is_code(at)) else {
            continue;
        };
        match lead(&text[target..target + length]) {
            Some(new) => edits.push((target..target + length, new)),
            None => {
                edits.push((at..target + length + 1, String::new()));
                edits.extend(opening(&text[..at], &is_code).map(|at| (at..at + 1, String::new())));
            }
        }
    }
    edits.sort_by_key(|(span, _)| span.start);
    let (mut changed, mut from) = (String::new(), 0);
    for (span, new) in edits {
        changed.push_str(&text[from..span.start]);
        changed.push_str(&new);
        from = span.end;
    }
    changed + &text[from..]
}

/// Where the bracket stands that is closed at the end.
fn opening(text: &str, is_code: &impl Fn(usize) -> bool) -> Option<usize> {
    let mut depth = 0;
    let brackets = text.rmatch_indices(['[', ']']);
    for (at, bracket) in brackets.filter(|(at, _)| !is_code(*at)) {
        match (bracket, depth) {
            ("[", 0) => return Some(at),
            ("[", _) => depth -= 1,
            _ => depth += 1,
        }
    }
    None
}

/// Blocks and spans of code.
fn code(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let (mut at, mut block, mut open) = (0, None, None);
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            block = match block {
                Some(from) => {
                    spans.push(from..at + line.len());
                    None
                }
                None => Some(at),
            };
            open = None;
        } else if line.trim().is_empty() {
            // A span ends with its paragraph.
            open = None;
        } else if block.is_none() {
            for (place, _) in line.match_indices('`') {
                open = match open {
                    Some(from) => {
                        spans.push(from..at + place);
                        None
                    }
                    None => Some(at + place),
                };
            }
        }
        at += line.len();
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_elsewhere_and_those_without_a_target_are_words() {
        let text = "a [b `](x)` c](in.md#d) [two\nlines [1]](out.rs) `[x](out.rs)`\n```\n[no](out.rs)\n```\n";
        let lead = |link: &str| link.starts_with("in").then(|| format!("../{link}"));
        assert_eq!(
            with_links(text, lead),
            "a [b `](x)` c](../in.md#d) two\nlines [1] `[x](out.rs)`\n```\n[no](out.rs)\n```\n"
        );
    }

    #[test]
    fn every_link_of_the_book_leads_to_a_page_of_it() {
        let pages = pages(crate::root()).unwrap();
        let mut seen = 0;
        for (page, bytes) in &pages {
            let Ok(text) = std::str::from_utf8(bytes) else {
                continue;
            };
            if page.extension().is_none_or(|ending| ending != "md") || page.ends_with("SUMMARY.md")
            {
                continue;
            }
            assert!(!text.contains("{{#include"), "{}", page.display());
            with_links(text, |link| {
                let path = link.split('#').next().unwrap_or_default();
                if !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:") {
                    let target = normal(&page.with_file_name(path));
                    let readme = target.with_file_name("README.md");
                    let is_index = target.ends_with("index.md") && pages.contains_key(&readme);
                    let is_there = pages.contains_key(&target) || is_index;
                    assert!(is_there, "{}: {link}", page.display());
                    seen += 1;
                }
                None
            });
        }
        assert!(seen > 100, "{seen}");
    }
}
