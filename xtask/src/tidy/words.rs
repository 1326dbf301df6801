//! Words that do not belong in the repository. They stand here in pieces, so that this file
//! passes its own test.

use super::{has_word, in_lines, none, tree};

/// Work that was left undone.
const UNDONE: [&str; 5] = [
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("TO", "DO"),
];

/// Places on somebody's machine.
const PLACES: [&str; 3] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// Lock files name this registry and no other.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[test]
fn nothing_is_left_undone() {
    let files = tree::files();
    none(
        "unfinished work: finish it, or describe it in words",
        in_lines(&files, |_, line| {
            let word = UNDONE
                .into_iter()
                .find(|word| match word.strip_suffix('!') {
                    Some(name) => line.contains(word) && has_word(line, name),
                    None => has_word(line, word),
                })?;
            Some(word.to_owned())
        }),
    );
}

#[test]
fn no_path_of_somebodys_machine_is_named() {
    let files = tree::files();
    none(
        "a path that exists on one machine only",
        in_lines(&files, |_, line| {
            // A folder of that name below another one is fine: `the/work/folder`.
            let begins =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '.');
            let named = |place: &&str| line.match_indices(*place).any(|(at, _)| begins(at));
            PLACES
                .into_iter()
                .find(|place| named(place))
                .map(str::to_owned)
        }),
    );
}

/// A number of a ticket says nothing to whoever reads the code; the reason does.
#[test]
fn no_ticket_is_named() {
    let files = tree::files();
    let written = files.iter().filter(|file| !file.is("Cargo.lock"));
    none(
        "the number of a ticket: write the reason instead",
        in_lines(written, |_, line| {
            let lower = line.to_lowercase();
            let numbered = |word: &str| {
                lower.match_indices(word).any(|(at, _)| {
                    let rest = lower[at + word.len()..].trim_start_matches([' ', '#']);
                    rest.len() < lower.len() - at - word.len()
                        && rest.starts_with(|c: char| c.is_ascii_digit())
                })
            };
            (numbered("issue") || numbered("issues")).then(|| line.trim().to_owned())
        }),
    );
}

#[test]
fn crates_come_from_the_public_registry() {
    let files = tree::ending("Cargo.lock");
    none(
        "a lock file names another source of crates",
        in_lines(&files, |_, line| {
            let source = line.strip_prefix("source = ")?.trim_matches('"');
            (source != REGISTRY).then(|| source.to_owned())
        }),
    );
}
