//! `cargo xtask soak`: a million requests with faults among them, and an hour of mixed load.
//!
//! Its third part, ten times more requests than can be answered, is in `benches/compare/overload.rs`.

pub mod hour;
pub mod million;
mod picture;
pub mod proofs;
pub mod sample;
pub mod steady;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::World;

const USAGE: &str = "usage: cargo xtask soak million [--requests N] [--seconds N] [--seed N] [--clients N] [--json FILE]
       cargo xtask soak hour [--minutes N] [--seconds N] [--seed N] [--json FILE] [--svg FILE]
  --requests N  so many requests (default: 1000000)
  --minutes N   so long (default: 60)
  --seconds N   the same in seconds; of `million` at most so long
  --seed N      what clients and faults are drawn from (default: 1)
  --clients N   so many at once (default: 24)
  --json FILE   all figures and findings as JSON
  --svg FILE    the picture (default: docs/soak.svg)";

/// Functions that nobody calls have no process after some seconds.
const QUIET: Duration = Duration::from_secs(60);

/// Where the picture belongs.
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/soak.svg");

pub struct Options {
    pub requests: u64,
    pub seed: u64,
    pub clients: usize,
    /// How long; of `million` at most.
    pub time: Option<Duration>,
    pub json: Option<PathBuf>,
    pub svg: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            requests: 1_000_000,
            seed: 1,
            clients: 24,
            time: None,
            json: None,
            svg: PICTURE.into(),
        }
    }
}

impl Options {
    fn read(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value\n{USAGE}"));
            let number = |text: &String| {
                text.parse::<u64>()
                    .map_err(|_| format!("{text} is no number"))
            };
            let seconds = |count| Some(Duration::from_secs(count));
            match word.as_str() {
                "--requests" => options.requests = number(value?)?,
                "--seed" => options.seed = number(value?)?,
                "--clients" => options.clients = usize::try_from(number(value?)?).unwrap_or(1),
                "--seconds" => options.time = seconds(number(value?)?),
                "--minutes" => options.time = seconds(number(value?)? * 60),
                "--json" => options.json = Some(value?.into()),
                "--svg" => options.svg = value?.into(),
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(options)
    }
}

/// What came of one of them.
pub struct Report {
    pub text: String,
    pub json: Value,
    pub findings: Vec<String>,
}

impl Report {
    fn show(&self) -> String {
        let mut text = self.text.clone();
        for finding in &self.findings {
            text += &format!("  - {finding}\n");
        }
        text += match self.findings.len() {
            0 => "good\n",
            _ => "NOT GOOD\n",
        };
        text
    }
}

pub fn main(arguments: &[String]) -> ExitCode {
    let part = match arguments.first().map(String::as_str) {
        Some("million") => million::run,
        Some("hour") => hour::run,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let options = match Options::read(&arguments[1..]) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    };
    let report = part(&options);
    print!("{}", report.show());
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", report.json)).unwrap();
    }
    match report.findings.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What nobody calls any more has no process.
fn becomes_quiet(world: &World) {
    let since = Instant::now();
    let left = || world.servers().len() + world.wrappers().len();
    while left() > 0 {
        if since.elapsed() > QUIET {
            let names: Vec<_> = world.processes().into_iter().map(|one| one.name).collect();
            return world.finding(format!("processes are left: {}", names.join(" ")));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The value below which this part of them lies; 0 of nothing. They are sorted for it.
fn percentile(values: &mut [u32], part: f64) -> u32 {
    values.sort_unstable();
    let at = (values.len() as f64 * part) as usize;
    let last = values.len().saturating_sub(1);
    values.get(at.min(last)).copied().unwrap_or(0)
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
