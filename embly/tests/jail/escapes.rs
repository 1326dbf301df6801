//! A wrapper that is in an attacker's hands does not get out.

use super::attacker::UNFILTERED;
use super::attempts::{ATTEMPTS, Outcome};
use super::support::project::answering;
use super::support::{Embly, Project, get};
use super::who::{Who, me};

fn hostile(function: &str) -> Project {
    // Of the module nothing is used: the attacker takes its place.
    Project::unparked()
        .wat(function, &answering("nothing"))
        .http(function)
}

/// Tries all ways out, one request each. The result is what came of those that came out otherwise
/// than they must.
fn try_all(embly: &Embly) -> Vec<String> {
    let at = embly.at("hostile");
    assert_eq!(get(at, "/nothing").text(), "nothing was tried");
    let mut wrong = Vec::new();
    for attempt in ATTEMPTS.iter() {
        let response = get(at, &format!("/{}", attempt.name));
        let came = match (response.status, response.reason()) {
            (500, "violation") => "killed".to_owned(),
            (200, _) => response.text(),
            (status, reason) => format!("{status} {reason}"),
        };
        let expected = match attempt.outcome {
            Outcome::Killed => "killed".to_owned(),
            Outcome::Errno(errno) => format!("errno {errno}"),
        };
        if came != expected {
            wrong.push(format!("{}: {came}, expected: {expected}", attempt.name));
        }
    }
    // The master is there, and so is the fork server.
    assert_eq!(get(at, "/nothing").text(), "nothing was tried");
    let killed = ATTEMPTS.iter().filter(|one| one.outcome == Outcome::Killed);
    let last = embly.nth_event("invocation_ended", killed.count() - 1, |event| {
        event["reason"] == "violation"
    });
    assert_eq!(
        last["detail"],
        "the jail stopped a system call that no function needs; \
         the kernel's log (`dmesg`) may name it"
    );
    wrong
}

#[track_caller]
fn none_gets_out(who: &Who, more: &[&str]) {
    let embly = who.run(&me(), &hostile("hostile"), more);
    let wrong = try_all(&embly);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

pub fn every_way_out_is_an_errno_or_the_end_of_the_process() {
    none_gets_out(&Who::me(), &[]);
}

pub fn every_way_out_is_closed_for_an_ordinary_user() {
    if let Some(who) = Who::ordinary() {
        none_gets_out(&who, &[]);
    }
}

pub fn every_way_out_is_closed_in_a_container() {
    none_gets_out(&Who::me().contained(), &[]);
}

pub fn every_way_out_is_closed_for_a_wrapper_that_was_not_forked() {
    none_gets_out(&Who::me(), &["--wrappers", "exec"]);
}

pub fn without_the_filter_the_other_steps_hold() {
    let Some(who) = Who::root() else { return };
    let embly = who.run(&me(), &hostile(UNFILTERED), &[]);
    let at = embly.at(UNFILTERED);
    assert_eq!(get(at, "/nothing").text(), "nothing was tried");
    let mut wrong = Vec::new();
    let known = ATTEMPTS.iter().filter(|one| !one.unfiltered.is_empty());
    for attempt in known {
        let came = get(at, &format!("/{}", attempt.name)).text();
        let expected = attempt.unfiltered;
        if !expected
            .iter()
            .any(|errno| came == format!("errno {errno}"))
        {
            wrong.push(format!("{}: {came}, expected: {expected:?}", attempt.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

pub fn a_panic_or_an_abort_is_no_violation() {
    let who = Who::me();
    let embly = who.run(&me(), &hostile("hostile"), &[]);
    for (path, reason) in [("/abort", "killed"), ("/panic", "lost")] {
        let response = get(embly.at("hostile"), path);
        assert_eq!(
            (response.status, response.reason()),
            (500, reason),
            "{path}"
        );
    }
}

pub fn a_fork_server_that_the_jail_stops_is_told() {
    let who = Who::me();
    let embly = who.run(&me(), &hostile("hostile"), &[]);
    assert_eq!(get(embly.at("hostile"), "/nothing").status, 200);
    embly
        .fork_server("hostile")
        .signal(rustix::process::Signal::SYS);
    embly.event("message", |event| {
        let text = event["text"].as_str().unwrap();
        text.contains("a system call of the fork server of `hostile`")
    });
    assert_eq!(get(embly.at("hostile"), "/nothing").status, 200);
}

pub fn a_violation_counts_whatever_was_said_before() {
    let who = Who::me();
    let embly = who.run(&me(), &hostile("hostile"), &[]);
    let response = get(embly.at("hostile"), "/exits-and-escapes");
    assert_eq!((response.status, response.reason()), (500, "violation"));
    assert_eq!(embly.ending("hostile")["reason"], "violation");
}
