//! Faults on the real system, drawn from a seed: under load from several clients, who keep their own
//! record of what was acknowledged, and against what is promised whatever happens.
//!
//! `cargo xtask faults` runs many; docs/faults.md says what there is. This executable is four things:
//! the tests, the command (`many-faults …`), a master whose wrappers it is itself (`run …`), and those
//! wrappers (`wrapper …`), of which some have been taken over.

#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(missing_docs, reason = "a program of tests")]

#[path = "../rogue/attacks.rs"]
#[allow(
    dead_code,
    reason = "what the client of an attack sees alone is for `rogue`"
)]
mod attacks;
mod backend;
mod checks;
mod clock;
mod command;
mod kinds;
mod load;
#[path = "../rogue/peer.rs"]
mod peer;
mod plan;
mod proofs;
mod report;
mod run;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::process::ExitCode;

use attacks::ATTACKS;
use support::harness;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["wrapper", "connect", ..] => {
            let task = peer::Task::read(&arguments);
            if ATTACKS.iter().any(|attack| attack.name == task.function) {
                attacks::run(&task);
                return ExitCode::SUCCESS;
            }
            embly_wrapper::main(std::env::args_os().skip(2))
        }
        ["wrapper", ..] => embly_wrapper::main(std::env::args_os().skip(2)),
        ["run", ..] => embly::cli::main(),
        ["many-faults", ..] => command::main(&arguments[1..]),
        _ => harness::run(&harness::tests![
            proofs::the_same_seed_is_the_same_schedule,
            proofs::seeds_in_a_row_begin_with_every_kind,
            proofs::a_write_that_was_lost_is_noticed,
            proofs::a_write_that_was_done_twice_is_noticed,
            proofs::a_second_response_is_noticed,
            proofs::a_request_without_an_end_is_noticed,
            proofs::a_failure_that_no_fault_explains_is_noticed,
            proofs::faults_of_every_kind_break_no_promise,
        ]),
    }
}
