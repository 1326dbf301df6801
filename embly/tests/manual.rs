//! `embly completions` and `embly man`, as shells and `man` read them.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{EMBLY, output, skipped};

fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output();
    let found = found.is_ok_and(|found| found.status.success());
    if !found {
        skipped(program);
    }
    found
}

/// Pipes a script into a shell that reads it and nothing else.
fn reads(shell: &str, arguments: &[&str], script: &str) {
    let ran = support::output_for(Command::new(shell).args(arguments), script);
    assert!(ran.status.success(), "{shell}");
    assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{shell}");
}

/// What bash makes of the last of these words.
fn completed(words: &[&str]) -> Vec<String> {
    let folder = Path::new(EMBLY).parent().unwrap();
    let script = r#"
        set -eu
        PATH=$1:$PATH; shift
        eval "$(embly completions bash)"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _embly embly "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let ran = Command::new("bash")
        .args(["--norc", "-c", script, "bash"])
        .arg(folder)
        .args(words)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stderr), "");
    let text = String::from_utf8(ran.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_words() {
    assert_eq!(completed(&["embly", "inv"]), ["invoke"]);
    assert_eq!(completed(&["embly", "secrets", "l"]), ["list"]);
    assert_eq!(completed(&["embly", "invoke", "--ht"]), ["--http"]);
    assert_eq!(completed(&["embly", "completions", "z"]), ["zsh"]);
    assert_eq!(completed(&["embly", "run", "--format", "j"]), ["json"]);
}

#[test]
fn shells_read_their_scripts_and_others_are_a_mistake_of_usage() {
    let script = |shell| {
        let (code, script, stderr) = output(&["completions", shell]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        script
    };
    reads("bash", &["-n"], &script("bash"));
    assert!(script("zsh").starts_with("#compdef embly\n"));
    assert!(script("fish").contains("complete -c embly"));
    for (shell, arguments) in [
        ("zsh", &["-n", "/dev/stdin"][..]),
        ("fish", &["--no-execute"]),
    ] {
        // Not everybody has them, and nothing else needs them.
        if Command::new(shell).arg("--version").output().is_ok() {
            reads(shell, arguments, &script(shell));
        }
    }
    let (code, stdout, stderr) = output(&["completions", "bsah"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("'bash'"), "{stderr}");
}

#[test]
fn pages_are_rendered_without_a_warning_and_each_command_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("man1");
    let (code, stdout, stderr) = output(&["man", place.to_str().unwrap()]);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert!(stderr.starts_with("made `embly.1` and "), "{stderr}");
    let mut pages: Vec<String> = fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    for page in [
        "embly.1",
        "embly-invoke.1",
        "embly-secrets-set.1",
        "embly-explain.1",
    ] {
        assert!(pages.iter().any(|other| other == page), "{page}: {pages:?}");
    }
    let (code, page, stderr) = output(&["man"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(page, fs::read_to_string(place.join("embly.1")).unwrap());
    if !is_there("groff") {
        return;
    }
    for page in pages {
        let ran = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-P-c", "-P-b", "-P-u", "-P-o"])
            .arg(place.join(&page))
            .output()
            .unwrap();
        assert!(ran.status.success(), "{page}");
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{page}");
        let text = String::from_utf8_lossy(&ran.stdout);
        assert!(text.contains("NAME") && text.contains("SYNOPSIS"), "{text}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_a_failure() {
    let (code, stdout, stderr) = output(&["man", "/dev/null/man1"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        stderr.starts_with("error: cannot write to `/dev/null/man1`: "),
        "{stderr}"
    );
}
