//! Cron gateways: what is started by the clock.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan};
use rustix::process::Signal;
use serde_json::Value;

use support::client::pause;
use support::{Embly, Project};

const EACH_SECOND: &str = "    schedule: \"* * * * * *\"\n    function: beats";

/// A project whose function `beats` does as `code` says, started each second.
fn each_second(code: &str, keys: &str) -> Project {
    let env = format!("    env: {{CODE: {code:?}}}");
    Project::unparked()
        .guest_with("beats", &env)
        .cron("tick", &format!("{EACH_SECOND}{keys}"))
}

fn said(embly: &Embly, words: &str) -> String {
    let event = embly.event("message", |event| {
        event["text"].as_str().unwrap().contains(words)
    });
    event["text"].as_str().unwrap().to_owned()
}

fn count(embly: &Embly, kind: &str) -> usize {
    let events = embly.events();
    events.iter().filter(|event| event["event"] == kind).count()
}

#[test]
fn a_function_is_started_at_each_time_and_told_that_nothing_comes() {
    let project = each_second("0", "");
    let embly = Embly::run(&project);
    let text = said(&embly, "next at");
    assert!(
        text.starts_with("gateway `tick`: starts `beats` at `* * * * * *`, next at 2"),
        "{text}"
    );
    let began = Instant::now();
    for n in 0..3 {
        let started = embly.nth_event("invocation_started", n, |_| true);
        assert_eq!(started["gateway"], "tick");
        assert_eq!(started["function"], "beats");
        assert_eq!(started["request_id"], Value::Null);
    }
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(1900) && took < Duration::from_secs(10),
        "{took:?}"
    );
    let text = said(&embly, "has ended");
    assert!(
        text.starts_with("gateway `tick`: `beats` has ended (ok) after "),
        "{text}"
    );
}

#[test]
fn its_stream_is_empty() {
    let project = each_second("stay", "");
    let embly = Embly::run(&project);
    embly.event("log", |event| event["line"] == "parent said 0");
}

#[test]
fn a_run_that_fails_is_a_warning_with_its_reason() {
    for (code, how) in [("trap", "trap: "), ("3", "exit 3")] {
        let project = each_second(code, "");
        let embly = Embly::run(&project);
        let event = embly.event("message", |event| {
            event["text"].as_str().unwrap().contains("has ended")
        });
        let text = event["text"].as_str().unwrap();
        assert!(
            text.contains(&format!("`beats` has ended ({how}")),
            "{text}"
        );
        assert_eq!(event["level"], "warn");
    }
}

#[test]
fn a_run_ends_at_its_limit_wall() {
    let project = Project::unparked()
        .guest_with("beats", "    env: {CODE: stay}\n    limits: {wall: 300ms}")
        .cron("tick", EACH_SECOND);
    let embly = Embly::run(&project);
    assert_eq!(embly.ending("beats")["reason"], "wall");
}

#[test]
fn a_time_that_comes_while_a_run_goes_on_is_left_out_waits_or_begins_as_overlap_says() {
    // Each run takes 2.5 s.
    let project = each_second("nap", "");
    let embly = Embly::run(&project);
    let text = said(&embly, "left out");
    assert!(text.contains("(`overlap: skip`)"), "{text}");
    embly.event("invocation_ended", |_| true);
    assert_eq!(count(&embly, "invocation_started"), 1);
    drop(embly);

    let project = each_second("nap", "\n    overlap: queue");
    let embly = Embly::run(&project);
    embly.nth_event("invocation_ended", 1, |_| true);
    // The second began when the first had ended: never two at once.
    let kinds = embly.events();
    let kinds = kinds.iter().filter_map(|event| event["event"].as_str());
    let kinds: Vec<_> = kinds
        .filter(|kind| kind.starts_with("invocation"))
        .take(4)
        .collect();
    let (start, end) = ("invocation_started", "invocation_ended");
    assert_eq!(kinds, [start, end, start, end]);
    drop(embly);

    let project = each_second("nap", "\n    overlap: allow");
    let embly = Embly::run(&project);
    embly.event("invocation_ended", |_| true);
    assert!(count(&embly, "invocation_started") >= 2);
}

#[test]
fn a_reload_changes_adds_and_removes_them_and_what_runs_goes_on() {
    let project = each_second("nap", "");
    let embly = Embly::run(&project);
    let run = embly.event("invocation_started", |_| true)["address"].clone();
    project.edit("\"* * * * * *\"", "\"0 0 1 1 *\"");
    embly.signal(Signal::HUP);
    let text = said(&embly, "at `0 0 1 1 *`");
    assert!(text.contains("-01-01 00:00:00 UTC"), "{text}");
    let ended = embly.event("invocation_ended", |_| true);
    assert_eq!((&ended["address"], &ended["reason"]), (&run, &"ok".into()));
    let before = count(&embly, "invocation_started");
    pause(1500, "another time would come by now");
    assert_eq!(count(&embly, "invocation_started"), before);
}

#[test]
fn a_master_that_stops_lets_a_run_finish_and_begins_none() {
    let project = each_second("nap", "\n    overlap: allow");
    let mut embly = Embly::run(&project);
    embly.event("invocation_started", |_| true);
    let since = embly.events().len();
    embly.signal(Signal::TERM);
    assert!(embly.wait().success());
    let events = embly.events();
    let ended = |event: &&Value| event["event"] == "invocation_ended";
    assert!(
        events[since..]
            .iter()
            .filter(ended)
            .all(|event| event["reason"] == "ok")
    );
    let ended = events.iter().filter(ended).count();
    assert_eq!(ended, count(&embly, "invocation_started"));
}

/// A project that was last up to date a day ago, at a time of its own: half a year from now.
fn a_day_behind(missed: &str) -> (Project, Timestamp) {
    let month = (Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).month() + 5) % 12 + 1;
    let keys =
        format!("    schedule: \"0 0 1 {month} *\"\n    function: beats\n    missed: {missed}");
    let project = Project::unparked()
        .guest_with("beats", "    env: {CODE: \"0\"}")
        .cron("yearly", &keys);
    let record = Timestamp::now().checked_sub((400 * 24).hours()).unwrap();
    let folder = project.folder().join("data/cron");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("yearly"), format!("{record}\n")).unwrap();
    (project, record)
}

#[test]
fn what_was_missed_while_no_master_ran_is_run_once_where_the_project_says_so() {
    let (project, record) = a_day_behind("run-once");
    let embly = Embly::run(&project);
    let text = said(&embly, "for what was missed");
    assert!(text.contains("(`missed: run-once`)"), "{text}");
    assert_eq!(embly.ending("beats")["reason"], "ok");
    let kept: Timestamp = project.read("data/cron/yearly").trim().parse().unwrap();
    assert!(kept > record);
    drop(embly);
    // It is done with.
    let embly = Embly::run(&project);
    said(&embly, "next at");
    pause(300, "a run would have begun by now");
    assert_eq!(count(&embly, "invocation_started"), 0);

    let (project, _) = a_day_behind("skip");
    let embly = Embly::run(&project);
    said(&embly, "next at");
    pause(300, "a run would have begun by now");
    assert_eq!(count(&embly, "invocation_started"), 0);
}
