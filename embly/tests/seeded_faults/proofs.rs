//! That the schedule is what the seed says, that the checks see what they are for, and the short form
//! of it all.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use crate::checks::{Kept, record};
use crate::command::{Options, many};
use crate::kinds::{KINDS, Kind};
use crate::load::wire::Wire;
use crate::load::{Entry, Load, Loads, Outcome};
use crate::plan::Plan;
use crate::support::outbound::server;

fn all() -> Vec<&'static Kind> {
    KINDS.iter().collect()
}

pub fn the_same_seed_is_the_same_schedule() {
    for seed in 0..200 {
        let (one, two) = (Plan::new(seed, &all()), Plan::new(seed, &all()));
        assert_eq!(one.to_string(), two.to_string());
        assert_ne!(one.to_string(), Plan::new(seed + 1, &all()).to_string());
    }
    // Nor does it depend on the machine, or on the day.
    let known = Plan::new(7, &all()).to_string();
    assert!(known.contains("stop-parked"), "{known}");
}

pub fn seeds_in_a_row_begin_with_every_kind() {
    let mut seen = BTreeMap::<&str, usize>::new();
    for seed in 1..=2 * KINDS.len() as u64 {
        let plan = Plan::new(seed, &all());
        assert!(plan.faults.len() >= 3, "{plan}");
        for fault in &plan.faults {
            assert!(fault.kind.needs.fits(plan.mode), "{plan}");
            *seen.entry(fault.kind.name).or_default() += 1;
        }
    }
    assert!(KINDS.len() >= 20);
    for kind in KINDS {
        assert!(seen[kind.name] >= 2, "{}", kind.name);
    }
}

fn entry(key: &str, outcome: Outcome) -> Entry {
    Entry {
        load: Load::Kv,
        key: key.to_owned(),
        took: Duration::from_millis(1),
        outcome,
    }
}

fn kept(keys: &[(&str, u64)]) -> Kept {
    let keys = keys.iter();
    keys.map(|(key, times)| ((*key).to_owned(), *times))
        .collect()
}

/// The only thing that is wrong with these.
fn found(entries: &[Entry], keys: &[(&str, u64)], may_fail: Loads) -> String {
    let mut found = record(entries, &kept(keys), may_fail);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn failed() -> Outcome {
    Outcome::Failed("500 killed".to_owned())
}

pub fn a_write_that_was_lost_is_noticed() {
    let entries = [
        entry("k1", Outcome::Acknowledged),
        entry("k2", Outcome::Acknowledged),
        entry("k3", failed()),
    ];
    let all = Loads::ALL;
    assert!(record(&entries, &kept(&[("k1", 1), ("k2", 1)]), all).is_empty());
    // What was not acknowledged may have been done.
    assert!(record(&entries, &kept(&[("k1", 1), ("k2", 1), ("k3", 1)]), all).is_empty());
    let lost = found(&entries, &[("k1", 1)], all);
    assert!(
        lost.contains("k2") && lost.contains("is not there"),
        "{lost}"
    );
    let foreign = found(&entries, &[("k1", 1), ("k2", 1), ("k9", 1)], all);
    assert!(foreign.contains("nobody has asked for it"), "{foreign}");
}

pub fn a_write_that_was_done_twice_is_noticed() {
    for outcome in [Outcome::Acknowledged, failed()] {
        let twice = found(&[entry("k1", outcome)], &[("k1", 2)], Loads::ALL);
        assert!(twice.contains("was done 2 times"), "{twice}");
    }
}

pub fn a_second_response_is_noticed() {
    let at = server(|mut stream| {
        let one = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let _ = stream.write_all(format!("{one}{one}").as_bytes());
    });
    let mut wire = Wire::to(Some(at)).unwrap();
    let second = match wire.response() {
        // Both at once, or one after the other.
        Ok(_) => wire.end().unwrap_err(),
        Err(outcome) => outcome,
    };
    assert!(matches!(second, Outcome::Wrong(_)), "{second:?}");
    let told = found(&[entry("k1", second)], &[], Loads::ALL);
    assert!(told.contains("response"), "{told}");
}

pub fn a_request_without_an_end_is_noticed() {
    let late = found(&[entry("k1", Outcome::Late)], &[], Loads::ALL);
    assert!(late.contains("no end within its limits"), "{late}");
}

pub fn a_failure_that_no_fault_explains_is_noticed() {
    let told = found(&[entry("k1", failed())], &[], Loads::of(&[Load::Sql]));
    assert!(told.contains("no fault concerns it"), "{told}");
}

/// Every kind comes first twice, and beside others as the seeds have it.
pub fn faults_of_every_kind_break_no_promise() {
    let runs = 2 * KINDS.len() as u64;
    let options = Options {
        runs,
        ..Options::default()
    };
    let report = many(&options).unwrap();
    let text = report.text();
    eprintln!("{text}");
    assert!(report.is_good(), "{text}");
}
