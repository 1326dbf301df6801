//! How soon the first response comes: of an Embly that is started, and of a function that has no
//! process.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::clients;
use super::embly::{Embly, HELLO};
use super::percentiles;

/// How often Embly is started.
const STARTS: usize = 30;

/// Functions without a process, which are asked one after the other, so often.
const FUNCTIONS: usize = 60;
const ROUNDS: usize = 2;

/// Between two of them: what the first one has left to be done is done.
const PAUSE: Duration = Duration::from_millis(20);

const OK: &str = "HTTP/1.1 200 OK";

pub fn measure() {
    println!("| | p50 | p99 |\n|---|--:|--:|");
    let row = |name: &str, times| {
        let (p50, p99) = percentiles(times);
        println!("| {name} | {p50:.1} ms | {p99:.1} ms |");
    };
    row("from `embly run` to the first response", starts());
    row("first request of a function without a process", firsts());
}

fn starts() -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hello.wat"), HELLO).unwrap();
    let project = "functions:\n  - {name: hello, path: ./hello.wat, language: wasm}\n\
                   gateways:\n  - {name: hello, type: http, port: 0, function: hello}\n";
    let start = || {
        let since = Instant::now();
        let embly = Embly::start(folder.path(), project);
        let answer = clients::ask(embly.at("hello")).unwrap();
        let time = since.elapsed();
        assert_eq!(answer, OK);
        embly.stop();
        time
    };
    // The first one compiles.
    start();
    (0..STARTS).map(|_| start()).collect()
}

fn firsts() -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hello.wat"), HELLO).unwrap();
    let (mut functions, mut gateways) = (String::new(), String::new());
    for number in 0..FUNCTIONS {
        writeln!(
            functions,
            "  - {{name: f{number}, path: ./hello.wat, language: wasm, parked: {{after: 1s}}}}"
        )
        .unwrap();
        writeln!(
            gateways,
            "  - {{name: g{number}, type: http, port: 0, function: f{number}}}"
        )
        .unwrap();
    }
    let project = format!("functions:\n{functions}gateways:\n{gateways}");
    let embly = Embly::start(folder.path(), &project);
    let addresses: Vec<_> = (0..FUNCTIONS)
        .map(|number| embly.at(&format!("g{number}")))
        .collect();
    let outside = embly.outside();
    let ask = |at| {
        std::thread::sleep(PAUSE);
        let since = Instant::now();
        assert_eq!(clients::ask(at).unwrap(), OK);
        since.elapsed()
    };
    let round = || {
        let times: Vec<_> = addresses.iter().copied().map(ask).collect();
        embly.wait_until(outside);
        times
    };
    // Each has had processes, and has none any more.
    round();
    let times = (0..ROUNDS).flat_map(|_| round()).collect();
    embly.stop();
    times
}
