//! From function to function: `cargo xtask bench spawn [ROUNDS]`.
//!
//! A function starts others and talks to them, and times that itself (`functions.wat`). Beside it, in
//! the same rounds, a C program does the same with nothing but the kernel (`floor.c`): with a fork at
//! the other end of a socket pair, and with a third process between the two, as the master is.

#![allow(clippy::unwrap_used, reason = "a benchmark may")]

mod floor;
mod master;
#[path = "../own/mod.rs"]
mod own;

use std::process::ExitCode;
use std::time::Duration;

use floor::Floor;
use master::{Master, Order, What};

/// Rounds, unless asked for otherwise. Each takes about 20 s.
const ROUNDS: usize = 5;

/// Children that are started one at a time: how many, and the pause after each. Whoever parks
/// wrappers has time for it.
const ONE_BY_ONE: (u32, u32, Duration) = (300, 1, Duration::from_millis(5));

/// Children that are started one after the other, eight in a row: the processors stay awake.
const IN_A_ROW: (u32, u32, Duration) = (400, 8, Duration::from_millis(20));

/// Round trips in a round, and the bytes of their messages.
const TRIPS: (u32, u32) = (20_000, 16);

/// Bytes of one stream, and the sizes of the writes.
const STREAM: u64 = 1 << 30;
const WRITES: [u32; 3] = [64 << 10, 256 << 10, 1 << 20];

/// What is aimed at: microseconds, times the bare fork, GB/s.
const PARKED_AIM: f64 = 60.0;
const COLD_AIM: f64 = 2.0;
const TRIP_AIM: f64 = 30.0;
const STREAM_AIM: f64 = 1.0;

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

/// One line of the table: what was measured in each round, of Embly and of the floor below it.
struct Row {
    name: String,
    what: Measured,
    embly: Vec<Round>,
    floor: Vec<Round>,
}

/// What the numbers of a row mean, and what is aimed at.
enum Measured {
    /// Times of one thing; at most so many µs.
    Micros(f64),
    /// The same; at most so many times the floor.
    TimesFloor(f64),
    /// Times of so many bytes; at least so many GB/s.
    Throughput(u64, f64),
}

/// What one round came to, in µs, or GB/s.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Round {
    p50: f64,
    p99: f64,
}

impl Row {
    fn new(name: impl Into<String>, what: Measured) -> Self {
        Self {
            name: name.into(),
            what,
            embly: Vec::new(),
            floor: Vec::new(),
        }
    }

    /// Adds a round: nanoseconds.
    fn add(&mut self, embly: Vec<u64>, floor: Option<Vec<u64>>) {
        self.embly.push(self.round(embly));
        if let Some(floor) = floor {
            self.floor.push(self.round(floor));
        }
    }

    fn round(&self, mut nanos: Vec<u64>) -> Round {
        nanos.sort_unstable();
        let at = |part: f64| nanos[((nanos.len() - 1) as f64 * part) as usize] as f64;
        match self.what {
            Measured::Micros(_) | Measured::TimesFloor(_) => Round {
                p50: at(0.5) / 1e3,
                p99: at(0.99) / 1e3,
            },
            Measured::Throughput(bytes, _) => {
                let rate = bytes as f64 / at(0.5);
                Round {
                    p50: rate,
                    p99: rate,
                }
            }
        }
    }

    fn line(&self) -> String {
        let embly = (
            middle(&self.embly, |it| it.p50),
            middle(&self.embly, |it| it.p99),
        );
        let floor = (!self.floor.is_empty()).then(|| {
            (
                middle(&self.floor, |it| it.p50),
                middle(&self.floor, |it| it.p99),
            )
        });
        let reached = |is: bool| if is { "reached" } else { "not reached" };
        let ratio = floor.map(|floor| embly.0 / floor.0);
        let micros = |(p50, p99): (f64, f64)| format!("{p50:.0} µs | {p99:.0} µs");
        let none = || "- | -".to_owned();
        let (figures, below, aim) = match self.what {
            Measured::Micros(aim) => (
                micros(embly),
                floor.map_or_else(none, micros),
                format!("{aim:.0} µs: {}", reached(embly.0 <= aim)),
            ),
            Measured::TimesFloor(aim) => (
                micros(embly),
                floor.map_or_else(none, micros),
                match ratio {
                    Some(ratio) => format!("{aim:.1} times: {}", reached(ratio <= aim)),
                    None => format!("{aim:.1} times: not known"),
                },
            ),
            Measured::Throughput(_, aim) => (
                format!("{:.2} GB/s | -", embly.0),
                floor.map_or_else(none, |(rate, _)| format!("{rate:.2} GB/s | -")),
                format!("{aim:.1} GB/s: {}", reached(embly.0 >= aim)),
            ),
        };
        let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        format!("| {} | {figures} | {below} | {ratio} | {aim} |", self.name)
    }
}

/// The middle one of the rounds.
fn middle(rounds: &[Round], value: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

fn measure(rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let floor = Floor::build(folder.path());
    let master = Master::start(folder.path()).unwrap();
    let mut rows = Vec::new();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let mut row = 0;
        let mut add = |name: String, what, embly, floor| {
            if round == 1 {
                rows.push(Row::new(name, what));
            }
            rows[row].add(embly, floor);
            row += 1;
        };
        for (how, (count, in_a_row, pause)) in
            [("one every 5 ms", ONE_BY_ONE), ("8 in a row", IN_A_ROW)]
        {
            let below = floor.as_ref().map(|it| it.fork(count, in_a_row, pause));
            for (child, what) in [
                ("parked", Measured::Micros(PARKED_AIM)),
                ("cold", Measured::TimesFloor(COLD_AIM)),
            ] {
                let order = Order {
                    count,
                    in_a_row,
                    pause,
                    ..Order::of(What::Spawn, child)
                };
                // So that as many are parked as a row takes.
                master.ask(&Order {
                    count: 4 * in_a_row,
                    ..order
                });
                let name = format!("spawn to first byte, {child}, {how}");
                add(name, what, master.ask(&order), below.clone());
            }
        }
        let (count, size) = TRIPS;
        let order = Order {
            count,
            size,
            ..Order::of(What::Trip, "echo")
        };
        let below = floor.as_ref().map(|it| it.trips(count, size));
        let name = format!("round trip, {size} bytes");
        add(name, Measured::Micros(TRIP_AIM), master.ask(&order), below);
        for size in WRITES {
            let below = floor.as_ref().map(|it| it.stream(size, STREAM));
            for (what, child, way) in [
                (What::Send, "sink", "to the child"),
                (What::Receive, "source", "from the child"),
            ] {
                let order = Order {
                    size,
                    bytes: STREAM,
                    ..Order::of(what, child)
                };
                let name = format!("stream {way}, writes of {} KiB", size >> 10);
                let what = Measured::Throughput(STREAM, STREAM_AIM);
                add(name, what, master.ask(&order), below.clone());
            }
        }
    }
    println!("| what | p50 | p99 | floor: p50 | p99 | times the floor | aim |");
    println!("|---|--:|--:|--:|--:|--:|---|");
    for row in &rows {
        println!("{}", row.line());
    }
}
