//! `--help` of every command, as it is printed: exit code, stdout, stderr, at three widths, with and
//! without a terminal. `EMBLY_UPDATE=1` writes the expectations in `help/` anew.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use support::{EMBLY, command, skipped};

/// Columns of a usual terminal, and of narrow ones.
const WIDTHS: [usize; 3] = [80, 60, 40];

/// Help without a terminal: exit code, stdout, stderr.
fn help(words: &[&str], flag: &str, columns: usize) -> (i32, String, String) {
    let runtime = tempfile::tempdir().unwrap();
    let mut command = command(words, runtime.path());
    command.arg(flag).env("COLUMNS", columns.to_string());
    let ran = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        ran.status.code().unwrap(),
        text(ran.stdout),
        text(ran.stderr),
    )
}

/// The same on a terminal of that width, where both go to one place.
fn in_terminal(words: &[&str], columns: usize, color: bool) -> String {
    let inner = format!(
        "stty cols {columns} rows 50; exec {EMBLY} {} --help",
        words.join(" ")
    );
    let mut script = Command::new("script");
    script
        .args(["-qec", &inner, "/dev/null"])
        .env_remove("COLUMNS")
        .env("TERM", "xterm");
    match color {
        true => script.env_remove("NO_COLOR"),
        false => script.env("NO_COLOR", "1"),
    };
    let ran = script.output().unwrap();
    assert!(ran.status.success());
    String::from_utf8(ran.stdout).unwrap().replace("\r\n", "\n")
}

/// The names under `Commands:`.
fn below(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    // Lines that go on stand deeper.
    let named = lines.filter_map(|line| {
        line.strip_prefix("  ")
            .filter(|rest| !rest.starts_with(' '))
    });
    named
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect()
}

/// All commands, as words.
fn commands() -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut at = 0;
    while at < all.len() {
        let words: Vec<&str> = all[at].iter().map(String::as_str).collect();
        let (_, text, _) = help(&words, "--help", WIDTHS[0]);
        let more = below(&text).into_iter().map(|name| {
            let mut command = all[at].clone();
            command.push(name);
            command
        });
        let more: Vec<_> = more.collect();
        all.extend(more);
        at += 1;
    }
    assert!(all.len() > 20, "{all:?}");
    all.sort();
    all
}

#[test]
fn the_help_of_every_command_is_as_expected_at_all_widths() {
    let commands = commands();
    for columns in WIDTHS {
        let mut text = String::new();
        for words in &commands {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let (code, stdout, stderr) = help(&words, "--help", columns);
            let line = ["embly"]
                .iter()
                .chain(&words)
                .copied()
                .collect::<Vec<_>>()
                .join(" ");
            writeln!(
                text,
                "$ {line} --help\n[exit code {code}]\n{stdout}[stderr]\n{stderr}"
            )
            .unwrap();
        }
        let file = format!("tests/help/{columns}.txt");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        if std::env::var_os("EMBLY_UPDATE").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &text).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        for (number, (is, was)) in text.lines().zip(expected.lines()).enumerate() {
            assert_eq!(is, was, "{}:{}", file.display(), number + 1);
        }
        assert!(
            text == expected,
            "{}: EMBLY_UPDATE=1 writes it anew",
            file.display()
        );
    }
}

#[test]
fn every_command_has_help_with_an_example_that_fits_the_terminal() {
    for words in commands() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (code, short, stderr) = help(&words, "-h", WIDTHS[0]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{words:?}");
        assert!(short.contains("\nExample"), "{words:?} {short}");
        for columns in WIDTHS {
            let (_, text, _) = help(&words, "--help", columns);
            // Usage lines, which are copied, are not broken.
            let lines = text.lines().filter(|line| !line.starts_with("Usage: "));
            for line in lines {
                let fits = line.chars().count() <= columns;
                let is_one_word = !line.trim().contains(' ');
                assert!(fits || is_one_word, "{words:?}: {line}");
            }
            assert_eq!(examples(&text), examples(&help(&words, "--help", 200).1));
        }
    }
}

/// The examples as a shell reads them.
fn examples(help: &str) -> String {
    let (_, examples) = help.split_once("\nExample").unwrap();
    examples.replace("\\\n      ", " ").replace("  ", " ")
}

#[test]
fn a_terminal_shows_the_same_and_color_where_that_is_wanted() {
    if Command::new("script").arg("--version").output().is_err() {
        return skipped("script");
    }
    for words in [&[][..], &["invoke"], &["secrets", "set"]] {
        for columns in WIDTHS {
            let (_, plain, _) = help(words, "--help", columns);
            assert_eq!(
                in_terminal(words, columns, false),
                plain,
                "{words:?} {columns}"
            );
            let colored = in_terminal(words, columns, true);
            assert!(colored.contains("\x1b["), "{colored}");
            assert_eq!(without_color(&colored), plain, "{words:?} {columns}");
        }
    }
}

fn without_color(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain + rest
}
