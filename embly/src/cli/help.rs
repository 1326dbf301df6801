//! Examples in `--help` that are wider than the terminal: they go on below, further to the right, and
//! with a backslash, so that they can still be copied.

use std::io;

use clap::Command;

use crate::report::columns_of;

/// What `clap` takes as well where nobody says how wide it is.
const COLUMNS: usize = 100;

/// Before what goes on.
const INDENT: &str = "      ";

/// Behind what goes on below.
const GOES_ON: &str = " \\";

/// With the examples of it, and of all commands in it, as wide as the terminal is.
pub fn fitted(command: Command) -> Command {
    let columns = columns();
    within(command, columns)
}

fn within(command: Command, columns: usize) -> Command {
    let command = command.mut_subcommands(|one| within(one, columns));
    match command.get_after_help().map(ToString::to_string) {
        Some(text) => command.after_help(wrapped(&text, columns)),
        None => command,
    }
}

/// As `clap` finds out.
fn columns() -> usize {
    let said = || std::env::var("COLUMNS").ok()?.parse().ok();
    columns_of(io::stdout())
        .or_else(|| columns_of(io::stderr()))
        .or_else(|| columns_of(io::stdin()))
        .or_else(said)
        .unwrap_or(COLUMNS)
}

fn wrapped(text: &str, columns: usize) -> String {
    let mut lines = Vec::new();
    let mut examples = false;
    for line in text.lines() {
        if !line.starts_with(' ') && !line.is_empty() {
            examples = line.starts_with("Example");
        }
        match examples && line.chars().count() > columns {
            true => example(line, columns, &mut lines),
            false => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

/// Breaks a command where a shell reads it the same.
fn example(line: &str, columns: usize, lines: &mut Vec<String>) {
    let start = line.len() - line.trim_start().len();
    let mut now = line[..start].to_owned();
    let mut is_begun = false;
    for word in words(line.trim_start()) {
        let room = columns.saturating_sub(now.chars().count() + GOES_ON.len());
        if is_begun && word.chars().count() + 1 > room {
            let line = std::mem::replace(&mut now, INDENT.to_owned());
            let fits = line.chars().count() + GOES_ON.len() <= columns;
            // A word that is too wide alone would lose a sign that stands apart to the next line.
            lines.push(line + if fits { GOES_ON } else { GOES_ON.trim_start() });
        } else if is_begun {
            now.push(' ');
        }
        now.push_str(word);
        is_begun = true;
    }
    lines.push(now);
}

/// What stands between spaces, where those within quotes count as letters.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut quote = None;
    line.split(move |c: char| {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
        c == ' ' && quote.is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_that_is_too_wide_goes_on_as_a_shell_reads_it() {
        let text = "Examples:\n  embly ps\n  embly ws -H 'Origin: x y' wss://a.test/chat\n\nKeys:\n  r  a long line of something else";
        assert_eq!(wrapped(text, 80), text);
        let narrow = wrapped(text, 30);
        assert_eq!(
            narrow,
            "Examples:\n  embly ps\n  embly ws -H 'Origin: x y' \\\n      wss://a.test/chat\n\nKeys:\n  r  a long line of something else"
        );
        let least = wrapped(text, 1);
        assert!(least.contains("      'Origin: x y'\\\n"), "{least}");
    }
}
