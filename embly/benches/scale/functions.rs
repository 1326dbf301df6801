//! A thousand functions, of which few are called: what they cost who has them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::clients;
use super::embly::{Embly, HELLO};
use super::machine::mib;

/// How many functions.
const MANY: usize = 1000;

/// How many of them are called.
const CALLED: usize = 10;

/// How long nobody calls any.
const IDLE: Duration = Duration::from_secs(5);

pub fn measure() {
    println!(
        "| functions | ready after | master's memory (PSS) | of it private | CPU time in {IDLE:?} |\n\
         |--:|--:|--:|--:|--:|"
    );
    for count in [1, MANY] {
        row(count);
    }
}

fn row(count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path(), count);
    // Compiled once, so that what is measured finds them in the cache.
    let embly = Embly::start(folder.path(), &project);
    embly.at("last");
    embly.stop();
    let since = Instant::now();
    let embly = Embly::start(folder.path(), &project);
    embly.at("last");
    let ready = since.elapsed();
    for number in 0..CALLED.min(count) {
        clients::ask(embly.at(&format!("g{number}"))).unwrap();
    }
    embly.at("last");
    // Those that were called are put away.
    std::thread::sleep(Duration::from_secs(3));
    let before = embly.cpu();
    std::thread::sleep(IDLE);
    let cpu = embly.cpu() - before;
    let memory = |line| mib(embly.memory("smaps_rollup", line));
    println!(
        "| {count} | {:.0} ms | {} MiB | {} MiB | {} ms |",
        ready.as_secs_f64() * 1e3,
        memory("Pss:"),
        memory("Private_Dirty:"),
        cpu.as_millis(),
    );
    assert_eq!(
        embly.outside().processes,
        1,
        "functions that nobody calls have no processes"
    );
    embly.stop();
}

/// Functions that differ, each with its own module; gateways for those that are called.
fn project(folder: &Path, count: usize) -> String {
    let mut text = "functions:\n".to_owned();
    for number in 0..count {
        let module = HELLO.replace(
            "(memory",
            &format!("(global i32 (i32.const {number}))\n  (memory"),
        );
        std::fs::write(folder.join(format!("f{number}.wat")), module).unwrap();
        writeln!(
            text,
            "  - {{name: f{number}, path: ./f{number}.wat, language: wasm, parked: {{after: 1s}}}}"
        )
        .unwrap();
    }
    text.push_str("gateways:\n");
    for number in 0..CALLED.min(count) {
        writeln!(
            text,
            "  - {{name: g{number}, type: http, port: 0, function: f{number}}}"
        )
        .unwrap();
    }
    let last = count - 1;
    writeln!(
        text,
        "  - {{name: last, type: http, port: 0, function: f{last}}}"
    )
    .unwrap();
    text
}
