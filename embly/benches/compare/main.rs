//! Embly beside others, in one run and in turns: `cargo xtask bench compare [ROUNDS]`.
//!
//! Each system answers 200 and five bytes to a GET on a connection that is kept. Measured is a
//! closed loop (each connection asks again as soon as it was answered) and a paced load (so many
//! requests a second on one connection; the time of each counts from when it was due, so that one
//! that was held up does not hide those behind it).

#![allow(clippy::unwrap_used, reason = "a benchmark may")]

mod load;
mod systems;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use load::Load;
use systems::System;

/// Rounds, unless asked for otherwise. Each is about 20 s for each system.
const ROUNDS: usize = 5;

/// How long each load is kept up.
const LOAD: Duration = Duration::from_secs(3);

/// Before each: processes that are to be there are there, for everybody.
const WARM_UP: Duration = Duration::from_millis(300);

/// Requests a second of the paced load.
const PACE: u32 = 200;

/// Connections of the closed loop that uses all cores.
const CONNECTIONS: usize = 32;

/// What was measured of one system, a value per round.
#[derive(Default)]
struct Figures {
    one: Vec<Load>,
    paced: Vec<Load>,
    many: Vec<Load>,
}

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

fn measure(rounds: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let systems = systems::start(folder.path());
    let mut figures: Vec<Figures> = systems.iter().map(|_| Figures::default()).collect();
    let mut forks = Vec::new();
    for round in 1..=rounds {
        for (system, figures) in systems.iter().zip(&mut figures) {
            eprintln!("round {round} of {rounds}: {}", system.name);
            let run = |connections| {
                runtime.block_on(load::closed(system.at, connections, WARM_UP));
                let before = system.cpu();
                let mut load = runtime.block_on(load::closed(system.at, connections, LOAD));
                load.cpu = system.cpu().saturating_sub(before);
                load
            };
            let paced = load::paced(system.at, PACE, LOAD);
            figures.paced.push(runtime.block_on(paced));
            figures.one.push(run(1));
            figures.many.push(run(CONNECTIONS));
        }
        forks.extend(systems::forks(folder.path()));
    }
    print!("{}", table(&systems, &figures, &forks));
}

/// The middle value of the rounds, and how far they spread.
fn middle(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    (values[last / 2], values[0], values[last])
}

fn table(systems: &[System], figures: &[Figures], forks: &[f64]) -> String {
    let mut text = String::from(
        "| system | paced, 200/s: p50 | p99 | one connection: p50 | p99 | 32 connections: requests/s (lowest to highest) | p50 | p99 | CPU per request | errors |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let of = |loads: &[Load], value: fn(&Load) -> f64| middle(loads.iter().map(value).collect());
    for (system, figures) in systems.iter().zip(figures) {
        let micros = |loads: &[Load], value: fn(&Load) -> f64| {
            let (middle, ..) = of(loads, value);
            format!("{middle:.0} µs")
        };
        let (rate, least, most) = of(&figures.many, Load::rate);
        let all = || {
            figures
                .one
                .iter()
                .chain(&figures.many)
                .chain(&figures.paced)
        };
        let errors: u64 = all().map(|load| load.errors).sum();
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {rate:.0} ({least:.0} to {most:.0}) | {} | {} | {} | {errors} |",
            system.name,
            micros(&figures.paced, Load::p50),
            micros(&figures.paced, Load::p99),
            micros(&figures.one, Load::p50),
            micros(&figures.one, Load::p99),
            micros(&figures.many, Load::p50),
            micros(&figures.many, Load::p99),
            micros(&figures.many, Load::cpu_per_request),
        )
        .unwrap();
    }
    if let [first, rest @ ..] = systems
        && let Some(peer) = rest
            .iter()
            .position(|system| system.name.contains("wasmtime"))
    {
        let peer = &figures[peer + 1];
        for (system, figures) in [first].into_iter().chain(rest).zip(figures).take(2) {
            let ratio = |loads: &[Load], others: &[Load], value: fn(&Load) -> f64| {
                of(loads, value).0 / of(others, value).0
            };
            writeln!(
                text,
                "\n{}, of `wasmtime serve`: paced p50 {:.2} times, one connection p50 {:.2} times, 32 connections requests/s {:.2} times",
                system.name,
                ratio(&figures.paced, &peer.paced, Load::p50),
                ratio(&figures.one, &peer.one, Load::p50),
                ratio(&figures.many, &peer.many, Load::rate),
            )
            .unwrap();
        }
    }
    if !forks.is_empty() {
        let (forks, least, most) = middle(forks.to_vec());
        let rate = of(&figures[0].many, Load::rate).0;
        writeln!(
            text,
            "\nfork, exit and wait in C, one parent per core: {forks:.0}/s ({least:.0} to {most:.0}); {}: {:.2} times",
            systems[0].name,
            rate / forks
        )
        .unwrap();
    }
    text
}
