//! What was promised, against what clients have recorded and what is there afterwards.

use std::collections::{BTreeMap, BTreeSet};

use crate::load::{Entry, Loads, Outcome};

/// What is kept, by the key that a client has chosen: how often it was done.
pub type Kept = BTreeMap<String, u64>;

/// Compares the record with what the stores have; all that is wrong.
///
/// - what was acknowledged was done, and nothing was done twice
/// - nothing is there that nobody has asked for
/// - every request ended in time, and none with the answer to another
/// - whom no fault may touch has all its answers
pub fn record(entries: &[Entry], kept: &Kept, may_fail: Loads) -> Vec<String> {
    let mut found = Vec::new();
    let mut asked = BTreeSet::new();
    for entry in entries {
        let took = entry.took.as_millis();
        let who = format!("{} {} ({took} ms)", entry.load.name(), entry.key);
        match &entry.outcome {
            Outcome::Wrong(what) => found.push(format!("{who}: {what}")),
            Outcome::Late => found.push(format!("{who}: has no end within its limits")),
            Outcome::Failed(how) if !may_fail.has(entry.load) => {
                found.push(format!("{who}: failed, and no fault concerns it: {how}"));
            }
            Outcome::Failed(_) | Outcome::Acknowledged => {}
        }
        if !entry.load.keeps() {
            continue;
        }
        if !asked.insert(entry.key.as_str()) {
            found.push(format!("{who}: two requests have this key"));
        }
        let acknowledged = entry.outcome == Outcome::Acknowledged;
        match (acknowledged, kept.get(&entry.key).copied().unwrap_or(0)) {
            (true, 0) => found.push(format!("{who}: was acknowledged and is not there")),
            (_, 0 | 1) => {}
            (_, times) => found.push(format!("{who}: was done {times} times")),
        }
    }
    for key in kept.keys().filter(|key| !asked.contains(key.as_str())) {
        found.push(format!("{key} is there, and nobody has asked for it"));
    }
    found
}
