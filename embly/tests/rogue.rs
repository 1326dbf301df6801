//! Wrappers that have been taken over: they hold a socket to the master and ignore the rules.
//!
//! This executable is three things: the test, the master (`run …`, the real one), and the
//! wrappers that this master starts (`wrapper connect …`), which do what the name of their
//! function says.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "rogue/attacks.rs"]
mod attacks;
#[path = "rogue/peer.rs"]
mod peer;
mod support;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use attacks::ATTACKS;
use support::process::{peak_memory, resident};
use support::{Embly, Project, eventually, get, harness};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["wrapper", "connect", ..] => attacks::wrapper(&arguments),
        ["wrapper", ..] => embly_wrapper::main(std::env::args_os().skip(2)),
        ["run", ..] => embly::cli::main(),
        _ => harness::run(&harness::tests![
            a_wrapper_that_breaks_the_protocol_is_ended_alone,
            frames_in_any_order_end_in_an_answer_and_leave_nothing,
        ]),
    }
}

/// A master whose wrappers are this executable, and functions of these names.
fn master<'a>(functions: impl IntoIterator<Item = &'a str>) -> Embly {
    let hello = support::project::answering("hello");
    let mut project = Project::unparked().wat("hello", &hello).http("hello");
    for name in functions {
        project = project
            .wat_with(name, &hello, "    limits: {wall: 1s}")
            .http(name);
    }
    let runtime = tempfile::tempdir().unwrap();
    let mut command = support::environment(
        Command::new(std::env::current_exe().unwrap()),
        runtime.path(),
    );
    command
        .args(support::arguments("run", project.path()))
        .args(["--wrappers", "exec"]);
    Embly::spawn(command, runtime, project.gateways())
}

/// Nothing of what happened stays, and the master has seen no mistake of its own.
fn assert_unharmed(mut embly: Embly, before: u64) {
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    eventually("no wrapper is left", || embly.processes().is_empty());
    let grown = resident(embly.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "the master has grown by {grown} bytes");
    let most = peak_memory(embly.pid());
    assert!(most < 256 << 20, "the master has had {most} bytes");
    embly.stops_with_nothing_left();
    let stderr = embly.stderr();
    assert!(!stderr.contains("panicked"), "{stderr}");
}

fn a_wrapper_that_breaks_the_protocol_is_ended_alone() {
    let embly = master(ATTACKS.iter().map(|attack| attack.name));
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    let before = resident(embly.pid());
    let mut wrong = Vec::new();
    for attack in ATTACKS {
        let since = Instant::now();
        let answer = std::thread::scope(|scope| {
            let attacked = scope.spawn(|| get(embly.at(attack.name), "/"));
            // Whoever asks for something else meanwhile gets it.
            assert_eq!(
                get(embly.at("hello"), "/").text(),
                "hello",
                "{}",
                attack.name
            );
            attacked.join().unwrap()
        });
        let took = since.elapsed();
        let seen = (answer.status, answer.reason().to_owned());
        let wall = attack.slow && seen == (504, "wall".to_owned());
        let expected = wall || seen == (attack.status, attack.reason.to_owned());
        if !expected || took > Duration::from_secs(5) {
            wrong.push(format!("{}: {seen:?} after {took:?}", attack.name));
        }
        eventually(attack.name, || embly.processes().is_empty());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_unharmed(embly, before);
}

fn frames_in_any_order_end_in_an_answer_and_leave_nothing() {
    const SEEDS: usize = 200;
    let names: Vec<String> = (0..SEEDS).map(|seed| format!("seed-{seed}")).collect();
    let embly = master(names.iter().map(String::as_str));
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    let before = resident(embly.pid());
    for pair in names.chunks(2) {
        std::thread::scope(|scope| {
            for name in pair {
                let embly = &embly;
                scope.spawn(move || {
                    let since = Instant::now();
                    let answer = get(embly.at(name), "/");
                    let known = [200, 500, 502, 503, 504].contains(&answer.status);
                    assert!(known, "{name}: {answer:?}");
                    assert!(since.elapsed() < Duration::from_secs(5), "{name}");
                });
            }
        });
    }
    assert_unharmed(embly, before);
}
