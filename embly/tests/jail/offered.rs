//! What a system does not offer is said: once, in words, and never passed over.

use std::path::Path;

use super::contained::STOPPED;
use super::effects::only_what_is_not_offered_is_missing;
use super::support::project::WAITS;
use super::support::project::answering;
use super::support::{EMBLY, Project, get};
use super::who::{NAMESPACES, Who, me, not_here};

fn two_functions() -> Project {
    Project::unparked()
        .wat("one", &answering("one"))
        .wat("two", &answering("two"))
        .http("one")
        .http("two")
}

/// What a master says of its jail, after both functions have run.
fn said(who: &Who) -> Vec<String> {
    let project = two_functions();
    let embly = who.run(Path::new(EMBLY), &project, &[]);
    for function in ["one", "two", "one"] {
        assert_eq!(get(embly.at(function), "/").text(), function);
    }
    let messages = embly.events().into_iter().filter_map(|event| {
        let text = event["text"].as_str()?.to_owned();
        text.starts_with("jail").then_some(text)
    });
    messages.collect()
}

/// The steps that one line names.
fn named(line: &str) -> Vec<String> {
    let rest = line.strip_prefix("jail: not available here: ").unwrap();
    let (names, _) = rest.split_once("; see `embly doctor`").unwrap();
    let mut names: Vec<_> = names.split(", ").map(str::to_owned).collect();
    names.sort();
    names
}

#[track_caller]
fn only_the_namespaces_are_missing(who: &Who) {
    let said = said(who);
    assert_eq!(said.len(), 1, "{said:?}");
    let named = named(&said[0]);
    for namespace in NAMESPACES {
        assert!(named.iter().any(|name| name == namespace), "{named:?}");
    }
    only_what_is_not_offered_is_missing(who, &named);
}

pub fn what_is_missing_in_a_container_is_said_once_and_nothing_else_is_missing() {
    if let Some(who) = Who::root() {
        only_the_namespaces_are_missing(&who.contained());
    }
}

pub fn an_ordinary_user_in_a_container_has_all_but_the_namespaces() {
    if let Some(who) = Who::ordinary() {
        only_the_namespaces_are_missing(&who.contained());
    }
}

pub fn with_require_jail_a_missing_step_is_fatal_before_a_gateway_opens() {
    let project = two_functions();
    let project = project.path().to_str().unwrap();
    let who = Who::me().contained();
    let arguments = ["run", project, "--require-jail", "--format", "json"];
    let (code, said) = who.output(Path::new(EMBLY), &arguments);
    assert_eq!(code, Some(1), "{said}");
    assert!(!said.contains("\"listening\""), "{said}");
    assert!(
        said.contains("error: the jail is not complete: ") && said.contains("see `embly doctor`"),
        "{said}"
    );
}

pub fn with_require_jail_a_complete_jail_serves() {
    let project = two_functions();
    let who = Who::me();
    if !who.not_offered().is_empty() {
        return not_here("namespaces");
    }
    let embly = who.run(Path::new(EMBLY), &project, &["--require-jail"]);
    assert_eq!(get(embly.at("two"), "/").text(), "two");
}

pub fn doctor_names_each_missing_step_and_why() {
    let (_, said) = Who::me().output(Path::new(EMBLY), &["doctor"]);
    let complete = Who::me().not_offered().is_empty();
    assert_eq!(said.contains("✓ jail: complete"), complete, "{said}");
    let (_, said) = Who::me().contained().output(Path::new(EMBLY), &["doctor"]);
    for namespace in NAMESPACES {
        let line = format!("! jail: without {namespace}: Operation not permitted");
        assert!(said.contains(&line), "{said}");
    }
    assert!(said.contains("→ "), "{said}");
}

pub fn doctor_says_what_it_means_when_what_enters_the_jail_is_ended() {
    let (code, said) = Who::me().output(&me(), &[STOPPED, EMBLY, "doctor"]);
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "✗ jail: a filter for system calls ends what enters it (SIGSYS), so no function can run\n  → ",
        "`type=1326`",
        "`cargo build --release`",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

pub fn a_user_that_cannot_be_is_refused() {
    let project = Project::unparked().wat("waits", WAITS).http("waits");
    let path = project.path().to_str().unwrap();
    for wrong in ["0", "nobody", "7:0"] {
        let arguments = ["run", path, "--jail-user", wrong];
        let (code, said) = Who::me().output(Path::new(EMBLY), &arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("a user is expected by number"), "{said}");
    }
    let Some(who) = Who::ordinary() else { return };
    let (code, said) = who.output(Path::new(EMBLY), &["run", path, "--jail-user", "7"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("only root"), "{said}");
}
