//! The jail, from outside and from inside.
//!
//! This program is Embly as well, with an attacker where the guest would be: started with
//! `wrapper …`, `run …` or `doctor` it does what the executable does, but its wrappers try to
//! get out. Started without, it runs the tests.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod attacker;
mod attempts;
mod compiler;
mod contained;
mod effects;
mod escapes;
mod offered;
mod stops;
#[path = "../support/mod.rs"]
mod support;
mod sys;
mod who;

use std::process::ExitCode;

use support::harness;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let first = arguments.peek().and_then(|first| first.to_str());
    match first {
        Some("wrapper") => embly_wrapper::main_as(&attacker::PROGRAM, arguments.skip(1)),
        Some("run" | "doctor") => embly::cli::main(),
        Some(compiler::ROLE) => compiler::attempt(arguments.skip(1)),
        Some(contained::ROLE) => contained::enter(arguments.skip(1)),
        Some(contained::STOPPED) => contained::stop(arguments.skip(1)),
        _ => harness::run(&harness::tests![
            escapes::every_way_out_is_an_errno_or_the_end_of_the_process,
            escapes::every_way_out_is_closed_for_an_ordinary_user,
            escapes::every_way_out_is_closed_in_a_container,
            escapes::every_way_out_is_closed_for_a_wrapper_that_was_not_forked,
            escapes::without_the_filter_the_other_steps_hold,
            escapes::a_panic_or_an_abort_is_no_violation,
            escapes::a_fork_server_that_the_jail_stops_is_told,
            escapes::a_violation_counts_whatever_was_said_before,
            effects::every_step_shows_in_the_kernels_own_account,
            effects::every_step_shows_for_an_ordinary_user,
            effects::every_step_shows_for_a_wrapper_that_was_not_forked,
            effects::a_step_that_is_skipped_in_silence_is_noticed,
            effects::none_outlives_a_killed_master_whoever_runs_it,
            effects::functions_run_as_the_user_that_was_asked_for,
            offered::what_is_missing_in_a_container_is_said_once_and_nothing_else_is_missing,
            offered::an_ordinary_user_in_a_container_has_all_but_the_namespaces,
            offered::with_require_jail_a_missing_step_is_fatal_before_a_gateway_opens,
            offered::with_require_jail_a_complete_jail_serves,
            offered::doctor_names_each_missing_step_and_why,
            offered::doctor_says_what_it_means_when_what_enters_the_jail_is_ended,
            offered::a_user_that_cannot_be_is_refused,
            stops::stop_and_cont_at_any_moment_end_nothing,
            stops::a_wait_that_the_kernel_restarts_goes_on,
            compiler::a_compiler_is_jailed,
            compiler::a_compiler_that_was_taken_over_writes_its_own_file_and_nothing_else,
            compiler::a_module_that_takes_too_long_ends_with_the_limit,
            compiler::a_module_that_takes_too_much_memory_ends_with_the_limit,
            compiler::hostile_modules_end_with_a_clear_error,
        ]),
    }
}
