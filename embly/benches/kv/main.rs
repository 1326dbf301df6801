//! Keys and values: `cargo xtask bench kv [ROUNDS]`.
//!
//! A function asks the services and times that itself (`functions.wat`). Beside it, in the same
//! rounds, SQLite is used directly, by a thread of this program with nothing in between.

#![allow(clippy::unwrap_used, reason = "a benchmark may")]

mod direct;
mod master;
#[path = "../own/mod.rs"]
mod own;

use std::process::ExitCode;
use std::time::Instant;

use direct::Direct;
use master::{Master, Order};

/// Rounds, unless asked for otherwise. Each takes about 10 s.
const ROUNDS: usize = 5;

/// Calls that are timed in a round.
const CALLS: u32 = 5_000;

/// Durable changes in a round, of each row.
const SETS: u32 = 20_000;

/// Invocations with a stream each, and the requests that each has under way.
const WRITERS: [(u32, u32); 4] = [(1, 1), (64, 1), (16, 16), (32, 64)];

/// What is aimed at: microseconds, microseconds, changes in a second.
const SPAWN_AIM: f64 = 100.0;
const STREAM_AIM: f64 = 30.0;
const SETS_AIM: f64 = 10_000.0;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_ref().and_then(|first| first.to_str()) {
        // The executable that is measured is this one: its own processes start it again.
        Some("wrapper") => embly_wrapper::main(arguments),
        Some("run") => embly::cli::main(),
        rounds => {
            let rounds = rounds.and_then(|rounds| rounds.parse().ok());
            measure(rounds.unwrap_or(ROUNDS));
            ExitCode::SUCCESS
        }
    }
}

/// The figures of one row, one of each round.
#[derive(Default)]
struct Row {
    name: String,
    aim: Option<f64>,
    /// Higher is better: changes in a second.
    rate: bool,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Row {
    fn line(&self) -> String {
        let (p50, p99) = (middle(&self.p50), middle(&self.p99));
        let aim = |reached| if reached { "reached" } else { "not reached" };
        let Self { name, .. } = self;
        match (self.rate, self.aim) {
            (true, Some(least)) => {
                format!(
                    "| {name} | {p50:.0}/s | - | {least:.0}/s: {} |",
                    aim(p50 >= least)
                )
            }
            (true, None) => format!("| {name} | {p50:.0}/s | - | |"),
            (false, Some(most)) => format!(
                "| {name} | {p50:.1} µs | {p99:.1} µs | {most:.0} µs: {} |",
                aim(p50 <= most)
            ),
            (false, None) => format!("| {name} | {p50:.1} µs | {p99:.1} µs | |"),
        }
    }
}

/// The middle one of the rounds.
fn middle(rounds: &[f64]) -> f64 {
    let mut rounds = rounds.to_vec();
    rounds.sort_by(f64::total_cmp);
    rounds[(rounds.len() - 1) / 2]
}

/// All rows, in the order in which they are first measured.
#[derive(Default)]
struct Table(Vec<Row>);

impl Table {
    fn row(&mut self, name: &str, rate: bool, aim: Option<f64>) -> &mut Row {
        let at = self.0.iter().position(|row| row.name == name);
        let at = at.unwrap_or_else(|| {
            let name = name.to_owned();
            self.0.push(Row {
                name,
                rate,
                aim,
                ..Row::default()
            });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    fn times(&mut self, name: &str, aim: Option<f64>, mut nanos: Vec<u64>) {
        nanos.sort_unstable();
        let at = |part: f64| nanos[((nanos.len() - 1) as f64 * part) as usize] as f64 / 1e3;
        let row = self.row(name, false, aim);
        row.p50.push(at(0.5));
        row.p99.push(at(0.99));
    }

    fn rate(&mut self, name: &str, aim: Option<f64>, count: u32, began: Instant) {
        let rate = f64::from(count) / began.elapsed().as_secs_f64();
        let row = self.row(name, true, aim);
        row.p50.push(rate);
        row.p99.push(rate);
    }
}

fn measure(rounds: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let master = Master::start(folder.path()).unwrap();
    let mut direct = Direct::open(&folder.path().join("direct.db"));
    master.ask(&Order::set(0, 1, 1));
    let mut table = Table::default();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        table.times(
            "get, a call for each",
            Some(SPAWN_AIM),
            master.ask(&Order::get_by_call(CALLS)),
        );
        table.times(
            "get, over a stream",
            Some(STREAM_AIM),
            master.ask(&Order::get(CALLS)),
        );
        let unknown = master.ask(&Order::get_unknown(CALLS));
        table.times("get, over a stream, from the file", None, unknown);
        table.times("get, SQLite directly", None, direct.gets(CALLS));
        for (streams, depth) in WRITERS {
            let each = (SETS / streams / depth).clamp(1, 2000);
            let began = Instant::now();
            std::thread::scope(|scope| {
                for stream in 0..streams {
                    let (master, order) = (&master, Order::set(stream, each, depth));
                    scope.spawn(move || master.ask(&order));
                }
            });
            let name = format!("durable sets, {streams} functions, {depth} at once each");
            let aim = (streams > 1).then_some(SETS_AIM);
            table.rate(&name, aim, each * depth * streams, began);
        }
        for together in [1, 64, 512] {
            let (commits, began) = ((SETS / together).min(2000), Instant::now());
            direct.sets(commits, together);
            let name = format!("durable sets, SQLite directly, {together} in a commit");
            table.rate(&name, None, commits * together, began);
        }
    }
    println!("| what | p50 | p99 | aim |");
    println!("|---|--:|--:|---|");
    for row in &table.0 {
        println!("{}", row.line());
    }
}
