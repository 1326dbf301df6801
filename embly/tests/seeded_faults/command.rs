//! `cargo xtask faults`: many runs, some at a time.

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::kinds::{self, KINDS, Kind};
use crate::plan::Plan;
use crate::report::{self, Report};
use crate::run::{self, Outcome};

const USAGE: &str = "usage: cargo xtask faults [--seed N] [--runs N] [--seconds N] [--kinds a,b] \
                     [--at-once N] [--json FILE]
  --seed N      the first seed; the others follow it (default: 1)
  --runs N      how many (default: 1000)
  --seconds N   begin no run after so long
  --kinds a,b   faults of these kinds alone
  --at-once N   so many runs at a time (default: 3)
  --json FILE   all figures and findings as JSON
  --list        the kinds
  --plan        only say what the seed's schedule is";

/// Runs at a time, where nobody says otherwise: most of a run is waiting.
const AT_ONCE: usize = 3;

pub struct Options {
    pub seed: u64,
    pub runs: u64,
    pub seconds: Option<u64>,
    pub kinds: Option<String>,
    pub at_once: usize,
    pub json: Option<String>,
    pub plan: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            runs: 1000,
            seconds: None,
            kinds: None,
            at_once: AT_ONCE,
            json: None,
            plan: false,
        }
    }
}

impl Options {
    fn read(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value\n{USAGE}"));
            let number = |text: &String| {
                text.parse::<u64>()
                    .map_err(|_| format!("{text} is no number"))
            };
            match word.as_str() {
                "--seed" => options.seed = number(value()?)?,
                "--runs" => options.runs = number(value()?)?,
                "--seconds" => options.seconds = Some(number(value()?)?),
                "--kinds" => options.kinds = Some(value()?.clone()),
                "--at-once" => options.at_once = usize::try_from(number(value()?)?).unwrap_or(1),
                "--json" => options.json = Some(value()?.clone()),
                "--plan" => options.plan = true,
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(options)
    }

    fn kinds(&self) -> Result<Vec<&'static Kind>, String> {
        let Some(names) = &self.kinds else {
            return Ok(KINDS.iter().collect());
        };
        let found = names.split(',').map(|name| {
            kinds::named(name).ok_or_else(|| format!("there is no kind {name}; --list has all"))
        });
        let found: Vec<_> = found.collect::<Result<_, _>>()?;
        Ok(found)
    }
}

pub fn main(arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|word| word == "--list") {
        for kind in KINDS {
            println!("{:<20} {}", kind.name, kind.what);
        }
        return ExitCode::SUCCESS;
    }
    let options = Options::read(arguments);
    if let Ok(options) = &options
        && options.plan
        && let Ok(kinds) = options.kinds()
    {
        print!("{}", Plan::new(options.seed, &kinds));
        return ExitCode::SUCCESS;
    }
    match options.and_then(|options| many(&options)) {
        Ok(report) => {
            println!("{}", report.text());
            if report.is_good() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// Does all runs, and says what came of each.
pub fn many(options: &Options) -> Result<Report, String> {
    let kinds = options.kinds()?;
    quiet_panics();
    let (next, since) = (AtomicU64::new(0), Instant::now());
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..options.at_once {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let late = |seconds| since.elapsed() > Duration::from_secs(seconds);
                    if n >= options.runs || options.seconds.is_some_and(late) {
                        return;
                    }
                    let plan = Plan::new(options.seed + n, &kinds);
                    let outcome = in_a_thread(&plan);
                    eprintln!("{}", report::line(&plan, &outcome));
                    if !outcome.findings.is_empty() {
                        eprintln!("{}", report::finding(&outcome, options.kinds.as_deref()));
                    }
                    let mut report = report.lock().unwrap();
                    report.add(&outcome);
                    if let Some(file) = &options.json {
                        // Each time: whoever ends this early has what there is.
                        let text = format!("{:#}\n", report.json());
                        std::fs::write(file, text).unwrap();
                    }
                }
            });
        }
    });
    Ok(report.into_inner().unwrap())
}

/// Each run has a thread of its own: its disks are those of the thread, and of what that starts.
fn in_a_thread(plan: &Plan) -> Outcome {
    let since = Instant::now();
    let done = std::thread::scope(|scope| scope.spawn(|| run::run(plan)).join());
    done.unwrap_or_else(|panic| Outcome {
        plan: plan.clone(),
        entries: Vec::new(),
        struck: Default::default(),
        findings: vec![format!(
            "the run broke off: {}",
            report::panic_text(&*panic)
        )],
        said: String::new(),
        took: since.elapsed(),
    })
}

/// A panic of a run is a finding, and told as one; where it was comes with it.
fn quiet_panics() {
    static SEEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let mut seen = SEEN.lock().unwrap();
        if seen.get_or_insert_default().insert(place.clone()) {
            eprintln!("a panic, told once: {place}");
        }
    }));
}
