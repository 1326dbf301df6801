//! `embly explain`: what a code means.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::process::Stdio;

use serde_json::Value;
use support::project::answering;
use support::{Project, command, output};

/// The objects on stdout.
fn objects(arguments: &[&str]) -> Vec<Value> {
    let (code, stdout, stderr) = output(arguments);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let lines = stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_code_reason_and_errno_is_explained_and_listed() {
    let (code, list, stderr) = output(&["explain"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let all = objects(&["explain", "--format", "json"]);
    let codes: Vec<&str> = all.iter().filter_map(|all| all["code"].as_str()).collect();
    let problems = embly::config::CODES.iter().map(|code| code.id);
    let reasons = protos::Reason::ALL.iter().map(|reason| reason.name());
    let errnos = protos::Errno::ALL.iter().filter_map(|errno| errno.name());
    let expected: Vec<&str> = problems.chain(reasons).chain(errnos).collect();
    assert_eq!(codes, expected);
    for code in codes {
        assert!(list.contains(&format!("\n  {code} ")), "{code}: {list}");
        let (exit, text, stderr) = output(&["explain", code]);
        assert_eq!((exit, stderr.as_str()), (0, ""), "{code}");
        assert!(text.starts_with(&format!("{code}: ")), "{text}");
        assert!(text.lines().count() >= 3, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }
}

#[test]
fn a_code_is_found_in_any_case_and_what_is_none_gets_the_nearest() {
    let (code, stdout, _) = output(&["explain", "e122"]);
    assert_eq!(code, 0);
    assert!(
        stdout.starts_with("E122: a function that does not exist\n\n"),
        "{stdout}"
    );
    let eagain = objects(&["explain", "eagain", "--format", "json"]);
    assert_eq!(
        (&eagain[0]["kind"], &eagain[0]["number"]),
        (&"errno".into(), &6.into())
    );
    let memory = objects(&["explain", "memory", "--format", "json"]);
    assert_eq!(
        (&memory[0]["kind"], &memory[0]["http_status"]),
        (&"reason".into(), &500.into())
    );
    for (wrong, help) in [
        ("bad_respones", "did you mean `embly explain bad_response`?"),
        ("EAGIAN", "did you mean `embly explain EAGAIN`?"),
        ("nothing-of-the-kind", "`embly explain` lists all"),
    ] {
        let (code, stdout, stderr) = output(&["explain", wrong]);
        assert_eq!((code, stdout.as_str()), (2, ""));
        assert_eq!(
            stderr,
            format!("error: there is no code `{wrong}`: {help}\n")
        );
    }
}

#[test]
fn a_list_of_problems_says_once_how_to_learn_more() {
    let project = Project::new()
        .wat("hello", &answering("hello"))
        .http("hello");
    project.edit("function: hello", "function: helo");
    project.edit("type: http", "type: htpp");
    let path = project.path().to_str().unwrap();
    let (code, _, stderr) = output(&["check", path]);
    assert_eq!(code, 2);
    assert!(
        stderr.ends_with("\n`embly explain E131` says more\n"),
        "{stderr}"
    );
    assert_eq!(stderr.matches("embly explain").count(), 1, "{stderr}");
    for quiet in [
        &["check", "-q", path][..],
        &["check", path, "--format", "json"],
    ] {
        let (_, stdout, stderr) = output(quiet);
        assert!(!stdout.contains("explain") && !stderr.contains("explain"));
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let runtime = tempfile::tempdir().unwrap();
    let mut explain = command(&["explain"], runtime.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = explain
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ran.stderr), "");
}
