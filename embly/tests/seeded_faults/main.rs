//! Faults on the real system, drawn from a seed: under load from several clients, who keep their own
//! record of what was acknowledged, and against what is promised whatever happens.
//!
//! `cargo xtask faults` runs many; docs/faults.md says what there is. `cargo xtask soak` is the same for
//! a million requests, and an hour. This executable is five things: the tests, the commands
//! (`many-faults …`, `soak …`), a master whose wrappers it is itself (`run …`), and those wrappers
//! (`wrapper …`), of which some have been taken over.

#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(missing_docs, reason = "a program of tests")]

#[path = "../rogue/attacks.rs"]
#[allow(
    dead_code,
    reason = "what the client of an attack sees alone is for `rogue`"
)]
mod attacks;
mod backend;
#[path = "../../benches/compare/chart.rs"]
#[allow(dead_code, reason = "its other user draws dashed lines as well")]
mod chart;
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
mod soak;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::process::ExitCode;

use support::harness;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["wrapper", "connect", ..] => attacks::wrapper(&arguments),
        ["wrapper", ..] => embly_wrapper::main(std::env::args_os().skip(2)),
        ["run", ..] => embly::cli::main(),
        ["many-faults", ..] => command::main(&arguments[1..]),
        ["soak", ..] => soak::main(&arguments[1..]),
        _ => harness::run(&harness::tests![
            proofs::the_same_seed_is_the_same_schedule,
            proofs::seeds_in_a_row_begin_with_every_kind,
            proofs::a_write_that_was_lost_is_noticed,
            proofs::a_write_that_was_done_twice_is_noticed,
            proofs::a_second_response_is_noticed,
            proofs::a_request_without_an_end_is_noticed,
            proofs::a_failure_that_no_fault_explains_is_noticed,
            proofs::faults_of_every_kind_break_no_promise,
            soak::proofs::what_grows_for_an_hour_is_noticed_and_what_goes_up_and_down_is_not,
            soak::proofs::more_failures_than_faults_explain_are_noticed,
            soak::proofs::a_picture_has_all_that_was_looked_at_and_is_small,
            soak::proofs::thousands_of_requests_with_faults_among_them_break_no_promise,
            soak::proofs::a_short_mixed_load_is_answered_and_leaves_everything_as_it_was,
        ]),
    }
}
