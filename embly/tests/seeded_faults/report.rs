//! What many runs came to: for people, for machines, and for the documents.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kinds::{self, KINDS, Kind};
use crate::load::{self, Load};
use crate::plan::Plan;
use crate::run::Outcome;

/// So many findings of one run are shown; all of them are in the JSON.
const FINDINGS: usize = 12;

/// What is shown of a line of the master, in characters.
const LINE: usize = 500;

/// The text of a panic.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without a text".to_owned())
}

#[derive(Default)]
struct Count {
    runs: usize,
    /// Runs in which it had an effect.
    hit: usize,
    struck: usize,
}

/// The sum of runs.
#[derive(Default)]
pub struct Report {
    kinds: BTreeMap<&'static str, Count>,
    loads: BTreeMap<&'static str, (usize, usize)>,
    /// How requests failed, and how often.
    failed: BTreeMap<String, usize>,
    runs: usize,
    requests: usize,
    acknowledged: usize,
    slowest: Duration,
    busy: Duration,
    findings: Vec<(u64, Vec<String>)>,
}

impl Report {
    pub fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.busy += outcome.took;
        let mut names: Vec<_> = outcome
            .plan
            .faults
            .iter()
            .map(|fault| fault.kind.name)
            .collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let count = self.kinds.entry(name).or_default();
            let struck = outcome.struck.get(name).copied().unwrap_or(0);
            count.runs += 1;
            count.hit += usize::from(struck > 0);
            count.struck += struck;
        }
        for entry in &outcome.entries {
            self.requests += 1;
            self.slowest = self.slowest.max(entry.took);
            let of = self.loads.entry(entry.load.name()).or_default();
            of.0 += 1;
            match &entry.outcome {
                load::Outcome::Acknowledged => {
                    of.1 += 1;
                    self.acknowledged += 1;
                }
                load::Outcome::Failed(how) => {
                    let short: String = how.chars().take(60).collect();
                    *self.failed.entry(short).or_default() += 1;
                }
                load::Outcome::Late | load::Outcome::Wrong(_) => {}
            }
        }
        if !outcome.findings.is_empty() {
            self.findings
                .push((outcome.plan.seed, outcome.findings.clone()));
        }
    }

    /// Kinds that were in the plan of some run and have never had an effect, though they could.
    pub fn never_struck(&self) -> Vec<&'static str> {
        let none = self.kinds.iter().filter(|(_, count)| count.struck == 0);
        none.map(|(name, _)| *name)
            .filter(|name| kinds::named(name).is_some_and(Kind::possible))
            .collect()
    }

    pub fn is_good(&self) -> bool {
        self.findings.is_empty() && self.never_struck().is_empty()
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let kinds = self.kinds.iter().map(|(name, count)| {
            let Count { runs, hit, struck } = count;
            (
                (*name).to_owned(),
                json!({"runs": runs, "hit": hit, "struck": struck}),
            )
        });
        let loads = self.loads.iter().map(|(name, (requests, acknowledged))| {
            let of = json!({"requests": requests, "acknowledged": acknowledged});
            ((*name).to_owned(), of)
        });
        let findings: Vec<_> = self
            .findings
            .iter()
            .map(|(seed, what)| json!({"seed": seed, "findings": what}))
            .collect();
        json!({
            "runs": self.runs,
            "requests": self.requests,
            "acknowledged": self.acknowledged,
            "slowest_ms": u64::try_from(self.slowest.as_millis()).unwrap_or(u64::MAX),
            "seconds_of_runs": self.busy.as_secs(),
            "kinds": Value::Object(kinds.collect()),
            "loads": Value::Object(loads.collect()),
            "failed": self.failed,
            "never_struck": self.never_struck(),
            "findings": findings,
        })
    }

    /// The table of the documents.
    pub fn table(&self) -> String {
        let mut text =
            String::from("| fault | what it does | runs | struck |\n|---|---|--:|--:|\n");
        for kind in KINDS {
            if let Some(Count { runs, struck, .. }) = self.kinds.get(kind.name) {
                let line = format!("| `{}` | {} | {runs} | {struck} |\n", kind.name, kind.what);
                text.push_str(&line);
            }
        }
        text
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = self.table();
        text.push('\n');
        for load in Load::ALL {
            if let Some((requests, acknowledged)) = self.loads.get(load.name()) {
                let name = load.name();
                writeln!(
                    text,
                    "{name}: {requests} requests, {acknowledged} acknowledged"
                )
                .unwrap();
            }
        }
        let mut failed: Vec<_> = self.failed.iter().collect();
        failed.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        for (how, times) in failed.into_iter().take(20) {
            writeln!(text, "{times:>7} × {how}").unwrap();
        }
        let Self {
            runs,
            requests,
            acknowledged,
            ..
        } = self;
        writeln!(
            text,
            "\n{runs} runs, {requests} requests, {acknowledged} acknowledged, the slowest took {} ms; \
             {} runs with findings",
            self.slowest.as_millis(),
            self.findings.len()
        )
        .unwrap();
        for name in self.never_struck() {
            writeln!(text, "{name} has never struck").unwrap();
        }
        text
    }
}

/// What a run has found, with the command that repeats it.
pub fn finding(outcome: &Outcome, kinds: Option<&str>) -> String {
    let seed = outcome.plan.seed;
    let kinds = kinds
        .map(|kinds| format!(" --kinds {kinds}"))
        .unwrap_or_default();
    let mut text = format!("seed {seed}: `cargo xtask faults --seed {seed} --runs 1{kinds}`\n");
    for found in outcome.findings.iter().take(FINDINGS) {
        writeln!(text, "  - {found}").unwrap();
    }
    let Outcome { plan, said, .. } = outcome;
    writeln!(text, "the schedule: {plan}the master has said:").unwrap();
    for line in said.lines() {
        let short: String = line.chars().take(LINE).collect();
        writeln!(text, "{short}").unwrap();
    }
    text
}

/// One line for each run.
pub fn line(plan: &Plan, outcome: &Outcome) -> String {
    let names: Vec<_> = plan.faults.iter().map(|fault| fault.kind.name).collect();
    let requests = outcome.entries.len();
    let good = outcome.entries.iter();
    let good = good
        .filter(|entry| entry.outcome == load::Outcome::Acknowledged)
        .count();
    format!(
        "seed {}: {} ms, {good} of {requests} acknowledged, {}: {}",
        plan.seed,
        outcome.took.as_millis(),
        match outcome.findings.len() {
            0 => "good".to_owned(),
            n => format!("{n} FINDINGS"),
        },
        names.join(" ")
    )
}
