//! That the checks of `cargo xtask soak` see what they are for, and short forms of two of its parts.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::{Options, hour, million, picture, steady};
use crate::load::Load;

/// Of an hour.
const LOOKS: u64 = 360;

const MASTER: u64 = 40 << 20;

/// What is said of an hour in which the master has this, by the number of the look.
fn said(of: impl Fn(u64) -> (u64, usize)) -> Vec<String> {
    let values: Vec<_> = (0..LOOKS).map(of).collect();
    hour::verdict(&hour::made_up(&values))
}

/// 2 MiB up and down, the same on each machine.
fn noise(look: u64) -> u64 {
    MASTER + (look * 7919 % 200) * (20 << 10)
}

pub fn what_grows_for_an_hour_is_noticed_and_what_goes_up_and_down_is_not() {
    assert!(said(|look| (noise(look), 50)).is_empty());
    // 50 MiB more at the beginning, and one peak later.
    let begins = |look: u64| {
        noise(look)
            + if look < 30 {
                look * (2 << 20)
            } else {
                60 << 20
            }
    };
    assert!(said(|look| (begins(look), 50)).is_empty());
    assert!(said(|look| (noise(look) + if look == 200 { 1 << 30 } else { 0 }, 50)).is_empty());
    // Some 40 bytes for each request of an hour.
    let leak = said(|look| (noise(look) + look * (60 << 10), 50));
    assert!(
        leak.iter()
            .any(|line| line.contains("memory of the master (PSS)")),
        "{leak:?}"
    );
    // One that begins when half of the time is over.
    let late = said(|look| (noise(look) + look.saturating_sub(180) * (120 << 10), 50));
    assert!(!late.is_empty());
    // A descriptor in two minutes.
    let descriptors = said(|look| (noise(look), 50 + look as usize / 8));
    assert_eq!(descriptors.len(), 1, "{descriptors:?}");
    assert!(descriptors[0].starts_with("descriptors"), "{descriptors:?}");
    // Of a few looks as well, and of none.
    assert!(steady::grown("it", "", &[], 0.0).is_none());
    assert!(steady::grown("it", "", &[1.0, 1.0, 9.0], 1.0).is_some());
}

pub fn more_failures_than_faults_explain_are_noticed() {
    let failures = |all: &[(Load, u64)]| all.iter().copied().collect::<BTreeMap<_, _>>();
    let struck = HashMap::from([
        ("kill-wrapper", 3),
        ("kill-parked", 5),
        ("backend-lies", 2),
        ("slow-readers", 1000),
    ]);
    let good = failures(&[(Load::Hello, 6), (Load::Asks, 2), (Load::Kv, 2)]);
    assert!(million::unexplained(&good, &struck).is_empty());
    let more = failures(&[(Load::Hello, 6), (Load::Asks, 2), (Load::Kv, 3)]);
    let found = million::unexplained(&more, &struck);
    assert_eq!(found.len(), 1, "{found:?}");
    // Nobody's fault is a reason of nothing.
    let none = million::unexplained(
        &failures(&[(Load::Echo, 1)]),
        &HashMap::from([("resets", 9)]),
    );
    assert_eq!(none, ["echo: 1 failed, and faults explain 0 of them"]);
}

pub fn a_picture_has_all_that_was_looked_at_and_is_small() {
    let values: Vec<_> = (0..LOOKS).map(|look| (noise(look), 50)).collect();
    let svg = picture::draw(&hour::made_up(&values));
    for words in ["memory", "processes", "descriptors", "websocket", "minutes"] {
        assert!(svg.contains(words), "{words}");
    }
    assert!(svg.len() < 60_000, "{} bytes", svg.len());
}

pub fn thousands_of_requests_with_faults_among_them_break_no_promise() {
    let options = Options {
        requests: 1500,
        time: Some(Duration::from_secs(10)),
        ..Options::default()
    };
    let report = million::run(&options);
    // With so few faults not every kind has its turn.
    let mut findings = report.findings;
    findings.retain(|finding| !finding.ends_with("has never struck"));
    assert!(findings.is_empty(), "{}\n{findings:#?}", report.text);
}

pub fn a_short_mixed_load_is_answered_and_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        time: Some(Duration::from_secs(4)),
        svg: folder.path().join("soak.svg"),
        ..Options::default()
    };
    let report = hour::run(&options);
    let findings = &report.findings;
    assert!(findings.is_empty(), "{}\n{findings:#?}", report.text);
    let looks = report.json["looks"].as_array().unwrap();
    assert!(looks.len() >= 6, "{}", report.text);
    assert!(
        looks
            .iter()
            .all(|look| look["processes"].as_u64() > Some(0))
    );
    assert!(options.svg.exists());
}
