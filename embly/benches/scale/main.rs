//! How far one machine goes: `cargo xtask bench scale [PART]`.
//!
//! - `live`: ten thousand invocations that wait, as connections and as children.
//! - `limits`: more than the machine has room for, and what is said then.
//! - `functions`: a thousand functions, of which few are called.
//! - `start`: from `embly run` to the first response; the first request of a function that had no
//!   process.
//! - `websockets`: ten thousand that are idle, each with its invocation.
//!
//! Prints tables. Whatever does not come back to where it was is a panic.

#![allow(clippy::unwrap_used, reason = "a benchmark may")]

mod clients;
mod embly;
mod functions;
mod limits;
mod live;
#[path = "../compare/load.rs"]
#[allow(dead_code, reason = "other benchmarks use other parts of it")]
mod load;
mod machine;
mod start;
mod websockets;

use std::process::ExitCode;

/// Parts and their names, in the order in which they run.
const PARTS: [(&str, fn()); 5] = [
    ("live", live::measure),
    ("limits", limits::measure),
    ("functions", functions::measure),
    ("start", start::measure),
    ("websockets", websockets::measure),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    match first.as_ref().and_then(|first| first.to_str()) {
        // The executable that is measured is this one: its own processes start it again.
        Some("wrapper") => return embly_wrapper::main(arguments),
        Some("run") => return ::embly::cli::main(),
        // Cargo says that this is a benchmark.
        Some("--bench") | None => PARTS.iter().for_each(|(_, measure)| measure()),
        Some(name) => match PARTS.iter().find(|(part, _)| *part == name) {
            Some((_, measure)) => measure(),
            None => {
                let names = PARTS.map(|(name, _)| name).join("`, `");
                eprintln!("there is no part `{name}`: `{names}`");
                return ExitCode::FAILURE;
            }
        },
    }
    ExitCode::SUCCESS
}

/// The middle one, and the one that one in a hundred is above, in milliseconds.
fn percentiles(mut times: Vec<std::time::Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |of: f64| {
        let at = (times.len() as f64 * of) as usize;
        times[at.min(times.len() - 1)].as_secs_f64() * 1e3
    };
    (at(0.5), at(0.99))
}
