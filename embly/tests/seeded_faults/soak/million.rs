//! A million requests; with each hundredth a fault strikes.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::hour::mebibytes;
use super::{Options, Report, micros, percentile, steady};
use crate::kinds::{self, Kind, Strike};
use crate::load::{Client, Entry, Load, Loads, Outcome};
use crate::plan::Plan;
use crate::report;
use crate::run;
use crate::support::Done;
use crate::support::process::resident;
use crate::world::World;

/// One fault for so many requests.
const EACH: u64 = 100;

/// Faults under way at once; while more are due clients wait.
const AT_ONCE: usize = 8;

/// A connection is kept for so many requests.
const KEPT: u64 = 25;

/// How often what has happened so far is said.
const SAY: Duration = Duration::from_secs(10);

const MEMORY: &str = "memory of the master (resident)";

/// What may be added to it in the second half, in MiB, beside a tenth.
const MARGIN: f64 = 8.0;

/// What requests are, of a hundred.
const MIX: [(Load, u32); 9] = [
    (Load::Hello, 26),
    (Load::Kv, 20),
    (Load::Echo, 12),
    (Load::Socket, 12),
    (Load::Code, 12),
    (Load::Mirror, 10),
    (Load::Chain, 3),
    (Load::Sql, 3),
    (Load::Asks, 2),
];

/// Kinds of faults, and for how many milliseconds they stay.
const FAULTS: [(&str, u64); 19] = [
    ("kill-wrapper", 0),
    ("kill-parked", 0),
    ("kill-fork-server", 0),
    ("kill-sql", 0),
    ("kill-client", 10),
    ("deadly-signals", 0),
    ("stop-wrapper", 20),
    ("stop-parked", 20),
    ("stop-fork-server", 20),
    ("stop-sql", 20),
    ("half-open", 5),
    ("resets", 0),
    ("nonsense", 0),
    ("slow-readers", 30),
    ("slow-writers", 30),
    ("slowloris", 30),
    ("backend-stalls", 0),
    ("backend-resets", 0),
    ("backend-lies", 0),
];

/// Kinds that end processes or answers, each of which one request waits for at most: those of a load of
/// their own, and those that strike everybody.
const OF: [(Load, &[&str]); 3] = [
    (Load::Hello, &["kill-parked"]),
    (Load::Sql, &["kill-sql"]),
    (
        Load::Asks,
        &["backend-stalls", "backend-resets", "backend-lies"],
    ),
];
const OF_ALL: [&str; 2] = ["kill-wrapper", "deadly-signals"];

/// So many ways to fail are shown.
const WAYS: usize = 12;

/// What came of the requests of one kind.
#[derive(Default)]
struct Count {
    requests: u64,
    acknowledged: u64,
    /// In microseconds.
    times: Vec<u32>,
}

/// What has happened so far.
#[derive(Default)]
struct Tally {
    next: AtomicU64,
    counts: Mutex<BTreeMap<Load, Count>>,
    failed: Mutex<BTreeMap<String, u64>>,
    faults: AtomicU64,
}

/// What a request of each number meets.
struct Due {
    kind: &'static Kind,
    lasts: Duration,
    pick: u64,
}

fn faults() -> Vec<(&'static Kind, Duration)> {
    let all = FAULTS.iter().map(|(name, lasts)| {
        let kind = kinds::named(name).expect("a kind of the table");
        (kind, Duration::from_millis(*lasts))
    });
    all.collect()
}

/// The fault that the request of this number brings, the same for a seed on every machine.
fn due(seed: u64, number: u64) -> Option<Due> {
    if number % EACH != EACH - 1 {
        return None;
    }
    let mut dice = StdRng::seed_from_u64(seed.wrapping_mul(1 << 32).wrapping_add(number / EACH));
    let all = faults();
    let (kind, lasts) = all[dice.random_range(0..all.len())];
    let pick = dice.random();
    Some(Due { kind, lasts, pick })
}

/// Does it.
pub fn run(options: &Options) -> Report {
    let plan = Plan::soak(options.seed, Loads::ALL, &faults());
    let (tally, since) = (Tally::default(), Instant::now());
    let (mut took, mut memory) = (Duration::ZERO, Vec::new());
    let outcome = run::with(&plan, |world| {
        let since = Instant::now();
        memory = storm(world, options, &tally);
        took = since.elapsed();
        super::becomes_quiet(world);
    });
    let counts = std::mem::take(&mut *lock(&tally.counts));
    let failures = counts
        .iter()
        .map(|(load, count)| (*load, count.requests - count.acknowledged));
    let mut findings = outcome.findings.clone();
    findings.extend(unexplained(&failures.collect(), &outcome.struck));
    let second_half = second_half(&memory);
    findings.extend(steady::grown(MEMORY, " MiB", second_half, MARGIN));
    let mut sum = report::Report::default();
    sum.add(&outcome);
    for name in sum.never_struck() {
        findings.push(format!("{name} has never struck"));
    }
    let failed = std::mem::take(&mut *lock(&tally.failed));
    let figures = Figures {
        counts,
        failed,
        faults: tally.faults.load(Ordering::Relaxed),
        memory,
        took,
        all: since.elapsed(),
    };
    if !findings.is_empty() {
        eprintln!("the master has said:\n{}", outcome.said);
    }
    figures.report(sum.table(), &outcome.struck, findings)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Clients, and those who bring the faults. The memory of the master meanwhile, in MiB.
fn storm(world: &World, options: &Options, tally: &Tally) -> Vec<f64> {
    let (done, since) = (Done::default(), Instant::now());
    let (bring, take) = sync_channel(AT_ONCE);
    let (done, take) = (&done, &Mutex::new(take));
    std::thread::scope(|scope| {
        let at_end = done.at_end();
        for _ in 0..AT_ONCE {
            scope.spawn(move || strikes(world, take, tally));
        }
        let clients: Vec<_> = (0..options.clients)
            .map(|number| {
                let bring = bring.clone();
                scope.spawn(move || {
                    world.watched("a client", || {
                        asks(world, options, number, since, &bring, tally);
                    });
                })
            })
            .collect();
        // The last one of them to end closes the channel.
        drop(bring);
        let said = scope.spawn(move || says(world, options, since, done, tally));
        for client in clients {
            // What it had to say is in the findings.
            let _ = client.join();
        }
        drop(at_end);
        let memory = said.join().unwrap_or_default();
        world.reload();
        memory
    })
}

fn strikes(world: &World, take: &Mutex<Receiver<Due>>, tally: &Tally) {
    loop {
        // Whoever waits holds the lock: one after the other gets one.
        let due = lock(take).recv();
        let Ok(Due { kind, lasts, pick }) = due else {
            return;
        };
        let strike = Strike {
            world,
            kind,
            lasts,
            pick,
        };
        world.watched(kind.name, || (kind.strike)(&strike));
        tally.faults.fetch_add(1, Ordering::Relaxed);
    }
}

/// One client: it draws what it asks for next, and has a connection for each kind.
fn asks(
    world: &World,
    options: &Options,
    number: usize,
    since: Instant,
    bring: &SyncSender<Due>,
    tally: &Tally,
) {
    let mut dice = StdRng::seed_from_u64(options.seed.wrapping_mul(1000) + number as u64);
    let mut all: HashMap<Load, (Client<'_>, u64)> = HashMap::new();
    loop {
        let next = tally.next.fetch_add(1, Ordering::Relaxed);
        let late = options.time.is_some_and(|time| since.elapsed() > time);
        if next >= options.requests || late {
            return;
        }
        if let Some(due) = due(options.seed, next) {
            // Only where all who bring faults are gone, which is told.
            let _ = bring.send(due);
        }
        let load = draw(&mut dice);
        let (client, asked) = all
            .entry(load)
            .or_insert_with(|| (Client::new(world, load, true), number as u64));
        let entry = client.asks();
        *asked += 1;
        if *asked % KEPT == 0 {
            client.leave();
        }
        tally.add(world, entry);
    }
}

fn draw(dice: &mut StdRng) -> Load {
    let mut left = dice.random_range(0..MIX.iter().map(|(_, part)| part).sum());
    for (load, part) in MIX {
        if left < part {
            return load;
        }
        left -= part;
    }
    Load::Hello
}

impl Tally {
    fn add(&self, world: &World, entry: Entry) {
        let acknowledged = entry.outcome == Outcome::Acknowledged;
        {
            let mut counts = lock(&self.counts);
            let count = counts.entry(entry.load).or_default();
            count.requests += 1;
            count.acknowledged += u64::from(acknowledged);
            count.times.push(micros(entry.took));
        }
        if let Outcome::Failed(how) = &entry.outcome {
            let short: String = how.chars().take(60).collect();
            let way = format!("{}: {short}", entry.load.name());
            *lock(&self.failed).entry(way).or_default() += 1;
        }
        // What was answered, and leaves nothing behind, is done with.
        if !acknowledged || entry.load.keeps() {
            world.record.add(entry);
        }
    }
}

fn says(world: &World, options: &Options, since: Instant, done: &Done, tally: &Tally) -> Vec<f64> {
    let (mut next, mut memory) = (SAY, Vec::new());
    while !done.is_set() {
        std::thread::sleep(Duration::from_millis(100));
        if since.elapsed() > next {
            next += SAY;
            let asked = tally.next.load(Ordering::Relaxed).min(options.requests);
            let resident = mebibytes(world.pid().map_or(0, resident));
            memory.push(resident);
            eprintln!(
                "{:.0} s: {asked} requests, {} faults, {} failed, {resident:.1} MiB",
                since.elapsed().as_secs_f64(),
                tally.faults.load(Ordering::Relaxed),
                lock(&tally.failed).values().sum::<u64>(),
            );
        }
    }
    memory
}

/// What is kept once it was used, such as values of the stores, is full by then.
fn second_half(memory: &[f64]) -> &[f64] {
    &memory[memory.len() / 2..]
}

/// A process that is killed costs one request at most, and so does an answer that was spoilt: all
/// failures beyond that have no reason.
pub fn unexplained(
    failures: &BTreeMap<Load, u64>,
    struck: &HashMap<&'static str, usize>,
) -> Vec<String> {
    let times = |name: &&str| struck.get(name).copied().unwrap_or(0) as u64;
    let mut left: u64 = OF_ALL.iter().map(times).sum();
    let mut found = Vec::new();
    for (load, failed) in failures {
        let own = OF.iter().find(|(of, _)| of == load);
        let own = own.map_or(0, |(_, names)| names.iter().map(times).sum());
        let more = failed.saturating_sub(own);
        if more > left {
            let name = load.name();
            found.push(format!(
                "{name}: {failed} failed, and faults explain {} of them",
                own + left
            ));
        }
        left = left.saturating_sub(more);
    }
    found
}

struct Figures {
    counts: BTreeMap<Load, Count>,
    failed: BTreeMap<String, u64>,
    faults: u64,
    /// Of the master, in MiB, every few seconds.
    memory: Vec<f64>,
    /// The requests.
    took: Duration,
    /// With the start, and with all that is checked afterwards.
    all: Duration,
}

impl Figures {
    fn report(
        mut self,
        table: String,
        struck: &HashMap<&'static str, usize>,
        findings: Vec<String>,
    ) -> Report {
        let seconds = self.took.as_secs_f64();
        let sum = |of: fn(&Count) -> u64| self.counts.values().map(of).sum::<u64>();
        let requests = sum(|count| count.requests);
        let acknowledged = sum(|count| count.acknowledged);
        let mut text = format!(
            "{table}\n| requests | asked | acknowledged | p50 | p99 |\n|---|--:|--:|--:|--:|\n"
        );
        let mut loads = serde_json::Map::new();
        for (load, count) in &mut self.counts {
            let (p50, p99) = (
                percentile(&mut count.times, 0.5),
                percentile(&mut count.times, 0.99),
            );
            let name = load.name();
            writeln!(
                text,
                "| `{name}` | {} | {} | {:.1} ms | {:.1} ms |",
                count.requests,
                count.acknowledged,
                f64::from(p50) / 1e3,
                f64::from(p99) / 1e3
            )
            .unwrap();
            loads.insert(
                name.to_owned(),
                json!({"requests": count.requests, "acknowledged": count.acknowledged,
                       "p50_us": p50, "p99_us": p99}),
            );
        }
        text.push('\n');
        let mut ways: Vec<_> = self.failed.iter().collect();
        ways.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        for (how, times) in ways.into_iter().take(WAYS) {
            writeln!(text, "{times:>7} × {how}").unwrap();
        }
        let Self {
            faults,
            all,
            memory,
            ..
        } = &self;
        let (middle, last) = steady::ends(second_half(memory));
        writeln!(
            text,
            "\n{MEMORY}: {middle:.1} MiB after the first half, {last:.1} MiB in the end"
        )
        .unwrap();
        writeln!(
            text,
            "\n{requests} requests in {seconds:.0} s, {:.0} a second, {acknowledged} acknowledged; \
             {faults} faults; with all checks {:.0} s",
            requests as f64 / seconds,
            all.as_secs_f64()
        )
        .unwrap();
        let json = json!({
            "requests": requests,
            "acknowledged": acknowledged,
            "faults": faults,
            "struck": struck.iter().map(|(name, times)| ((*name).to_owned(), *times))
                .collect::<BTreeMap<_, _>>(),
            "seconds": seconds,
            "memory_mib": memory,
            "loads": loads,
            "failed": self.failed,
            "findings": findings,
        });
        Report {
            text,
            json,
            findings,
        }
    }
}
