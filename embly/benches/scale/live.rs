//! Ten thousand invocations that wait: what they take, and what a new request notices.

use std::path::Path;
use std::time::{Duration, Instant};

use super::clients::{self, Tree};
use super::embly::{Embly, HELLO};
use super::load::{self, Load};
use super::machine::{Memory, mib, raise_open_files};

/// How many live at once.
const LIVE: usize = 10_000;

/// Of the open files that are allowed, so many in a hundred are used: nearer to the limit no process
/// waits for requests any more.
const OPEN_FILES: usize = 75;

/// Requests a second beside them, and for how long.
const PACE: u32 = 200;
const LOAD: Duration = Duration::from_secs(4);

/// What is freed is freed a moment later.
const SETTLE: Duration = Duration::from_millis(500);

/// A function that waits, one that starts others, and one that answers at once.
const PROJECT: &str = "\
defaults:
  limits: {concurrency: none, children: none, tree: none, idle: none}
functions:
  - {name: waits, path: ./waits.wat, language: wasm, parked: {after: 1s}}
  - {name: spawns, path: ./spawns.wat, language: wasm, parked: {after: 1s}}
  - {name: hello, path: ./hello.wat, language: wasm, parked: {min: 2, max: 2, after: none}}
gateways:
  - {name: waits, type: tcp, port: 0, function: waits}
  - {name: spawns, type: tcp, port: 0, function: spawns}
  - {name: hello, type: http, port: 0, function: hello}
";

/// Embly with these functions, `hello` called once; and where it stands then.
pub fn start(folder: &Path, limit: Option<&str>) -> (Embly, super::embly::Outside) {
    for (name, text) in [
        ("waits.wat", include_str!("waits.wat")),
        ("spawns.wat", include_str!("spawns.wat")),
        ("hello.wat", HELLO),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let embly = match limit {
        Some(limit) => Embly::limited(folder, PROJECT, limit),
        None => Embly::start(folder, PROJECT),
    };
    clients::ask(embly.at("hello")).unwrap();
    std::thread::sleep(SETTLE);
    let outside = embly.outside();
    (embly, outside)
}

pub fn measure() {
    // A connection takes two in the master.
    let allowed = raise_open_files(3 * LIVE as u64);
    println!(
        "| what waits | started in | memory in all | of processes | slab | page tables | kernel stacks | master | request before: p50 | p99 | meanwhile: p50 | p99 | ended in |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    let connections = LIVE.min(allowed as usize * OPEN_FILES / 100 / 2);
    row("connections", connections, |embly| {
        let opened = clients::runtime().block_on(clients::open(embly.at("waits"), connections));
        assert_eq!(opened.there.len(), connections);
        opened
    });
    row("children of one function", LIVE, |embly| {
        let tree = clients::runtime().block_on(Tree::grow(embly.at("spawns"), LIVE));
        assert_eq!(tree.there, LIVE);
        tree
    });
}

fn row<T>(name: &str, count: usize, begin: impl FnOnce(&Embly) -> T) {
    let folder = tempfile::tempdir().unwrap();
    let (embly, outside) = start(folder.path(), None);
    let load = || {
        let load = clients::runtime().block_on(load::paced(
            embly.at("hello"),
            &load::Exchange::hello(),
            PACE,
            LOAD,
        ));
        assert_eq!(load.errors, 0);
        load
    };
    let before = load();
    std::thread::sleep(SETTLE);
    let (memory, master) = (Memory::now(), embly.memory("smaps_rollup", "Pss:"));
    let since = Instant::now();
    let live = begin(&embly);
    let started = since.elapsed();
    std::thread::sleep(SETTLE);
    let memory = Memory::now() - memory;
    let master = embly.memory("smaps_rollup", "Pss:").saturating_sub(master);
    let meanwhile = load();
    let already = embly.ended();
    let since = Instant::now();
    drop(live);
    embly.wait_until_ended(already + count);
    let ended = since.elapsed();
    embly.wait_until(outside);
    let micros = |load: &Load| format!("{:.0} µs | {:.0} µs", load.p50(), load.p99());
    println!(
        "| {count} {name} | {:.1} s | {} MiB | {} MiB | {} MiB | {} MiB | {} MiB | {} MiB | {} | {} | {:.1} s |",
        started.as_secs_f64(),
        mib(memory.used),
        mib(memory.anonymous),
        mib(memory.slab),
        mib(memory.page_tables),
        mib(memory.kernel_stacks),
        mib(master),
        micros(&before),
        micros(&meanwhile),
        ended.as_secs_f64(),
    );
    embly.stop();
}
