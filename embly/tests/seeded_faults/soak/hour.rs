//! An hour of mixed load, which is far from all that the machine can do, and what it costs over time.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::sample::{Sample, own, used};
use super::{Options, Report, micros, percentile, picture, steady};
use crate::load::{Client, Load, Loads, Outcome};
use crate::plan::Plan;
use crate::run;
use crate::support::Done;
use crate::world::World;

/// How long it is where nobody says otherwise.
const HOUR: Duration = Duration::from_secs(3600);

/// It is looked at so often, and in less time more often.
const OFTEN: u32 = 360;
const EVERY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// What may come to the tenth that may be added to what there was after the beginning: memory in MiB,
/// of the master and of all, and numbers. The allocator keeps what the busiest moment took, and how many
/// processes wait for requests depends on what came at once.
const MASTER: f64 = 4.0;
const ALL: f64 = 48.0;
const COUNT: f64 = 24.0;

/// One part of the load.
pub struct Pace {
    pub load: Load,
    /// What it is called.
    pub what: &'static str,
    clients: u32,
    /// Between two requests of a client.
    each: Duration,
    /// A connection is kept for so many requests.
    kept: u32,
}

const fn pace(load: Load, what: &'static str, clients: u32, milliseconds: u64, kept: u32) -> Pace {
    let each = Duration::from_millis(milliseconds);
    Pace {
        load,
        what,
        clients,
        each,
        kept,
    }
}

/// About a third of a core.
pub const MIX: [Pace; 6] = [
    pace(Load::Hello, "http, small", 4, 100, 50),
    pace(Load::Stream, "http, 1 MB streamed", 1, 500, 10),
    pace(Load::Echo, "tcp", 4, 100, 50),
    pace(Load::Socket, "websocket", 4, 100, 50),
    pace(Load::Chain, "four functions in a chain", 1, 500, 10),
    pace(Load::Count, "key-value store", 5, 100, 50),
];

/// What requests of one kind took between two looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    pub count: usize,
    /// In microseconds.
    pub p50: u32,
    pub p99: u32,
}

/// What there was at a moment.
pub struct Look {
    /// Since the beginning.
    pub at: Duration,
    pub used: Sample,
    /// In the order of [`MIX`].
    pub times: [Times; MIX.len()],
    failed: u64,
}

/// What has come since the last look.
#[derive(Default)]
struct Since {
    times: [Vec<u32>; MIX.len()],
    failed: u64,
}

/// Does it.
pub fn run(options: &Options) -> Report {
    let time = options.time.unwrap_or(HOUR);
    let loads = MIX.iter().map(|pace| Loads::of(&[pace.load]));
    let plan = Plan::soak(options.seed, loads.fold(Loads::NONE, Loads::and), &[]);
    let mut looks = Vec::new();
    let mut cpu = (Duration::ZERO, Duration::ZERO);
    let outcome = run::with(&plan, |world| {
        let before = world.pid().map_or(Duration::ZERO, used);
        let own_before = own(std::process::id().try_into().expect("a process number"));
        looks = mixed(world, time, &|looks| draw(options, looks));
        cpu.0 = world
            .pid()
            .map_or(Duration::ZERO, used)
            .saturating_sub(before);
        let own_now = own(std::process::id().try_into().expect("a process number"));
        cpu.1 = own_now.saturating_sub(own_before);
        super::becomes_quiet(world);
    });
    let mut findings = outcome.findings.clone();
    findings.extend(verdict(&looks));
    findings.extend(missing(&looks, time));
    if !findings.is_empty() {
        eprintln!("the master has said:\n{}", outcome.said);
    }
    draw(options, &looks);
    let text = text(&looks, time, cpu);
    let json = json!({
        "seconds": time.as_secs_f64(),
        "cpu_seconds": cpu.0.as_secs_f64(),
        "cpu_seconds_of_clients": cpu.1.as_secs_f64(),
        "looks": looks.iter().map(Look::json).collect::<Vec<_>>(),
        "findings": findings,
    });
    Report {
        text,
        json,
        findings,
    }
}

fn draw(options: &Options, looks: &[Look]) {
    std::fs::write(&options.svg, picture::draw(looks)).unwrap();
}

/// The load for so long. Now and then what there is so far is shown: whoever ends it early has that.
fn mixed(world: &World, time: Duration, show: &dyn Fn(&[Look])) -> Vec<Look> {
    let (done, since) = (Done::default(), Mutex::new(Since::default()));
    let (done, since) = (&done, &since);
    let began = Instant::now();
    let every = (time / OFTEN).clamp(EVERY.0, EVERY.1);
    let mut looks: Vec<Look> = Vec::new();
    std::thread::scope(|scope| {
        let at_end = done.at_end();
        for (kind, pace) in MIX.iter().enumerate() {
            for client in 0..pace.clients {
                let first = began + pace.each * client / pace.clients;
                // Not all connections of a kind end at once.
                let asked = pace.kept * client / pace.clients;
                scope.spawn(move || {
                    let begins = (client, first, asked);
                    world.watched(pace.what, || asks(world, kind, begins, done, since));
                });
            }
        }
        let mut next = every;
        while next <= time {
            std::thread::sleep(next.saturating_sub(began.elapsed()));
            let Some(pid) = world.pid() else {
                break;
            };
            let came = std::mem::take(&mut *since.lock().unwrap_or_else(PoisonError::into_inner));
            let look = Look::of(began.elapsed(), Sample::take(pid), came);
            if looks.len().is_multiple_of(30) {
                eprintln!("{}", look.line());
                show(&looks);
            }
            looks.push(look);
            next += every;
        }
        drop(at_end);
    });
    looks
}

/// One client, whose requests are due at their times; each counts from when it was due.
fn asks(
    world: &World,
    kind: usize,
    (number, first, asked): (u32, Instant, u32),
    done: &Done,
    since: &Mutex<Since>,
) {
    let pace = &MIX[kind];
    let mut client = Client::new(world, pace.load, true).numbered(number);
    let (mut due, mut asked) = (first, asked);
    while !done.is_set() {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let entry = client.asks_once();
        let took = micros(due.elapsed());
        asked += 1;
        if asked % pace.kept == 0 {
            client.leave();
        }
        due += pace.each;
        let acknowledged = entry.outcome == Outcome::Acknowledged;
        {
            let mut since = since.lock().unwrap_or_else(PoisonError::into_inner);
            match acknowledged {
                true => since.times[kind].push(took),
                false => since.failed += 1,
            }
        }
        if !acknowledged {
            world.record.add(entry);
        }
    }
}

impl Look {
    fn of(at: Duration, used: Sample, mut came: Since) -> Self {
        let times = std::array::from_fn(|kind| {
            let times = &mut came.times[kind];
            Times {
                count: times.len(),
                p50: percentile(times, 0.5),
                p99: percentile(times, 0.99),
            }
        });
        let failed = came.failed;
        Self {
            at,
            used,
            times,
            failed,
        }
    }

    fn line(&self) -> String {
        let Sample {
            share,
            all,
            descriptors,
            processes,
            ..
        } = self.used;
        format!(
            "{:.0} s: {:.1} MiB, {:.0} MiB in all, {descriptors} descriptors, {processes} processes, {} failed",
            self.at.as_secs_f64(),
            mebibytes(share),
            mebibytes(all),
            self.failed
        )
    }

    fn json(&self) -> Value {
        let kinds = MIX.iter().zip(&self.times).map(|(pace, times)| {
            let Times { count, p50, p99 } = times;
            let of = json!({"count": count, "p50_us": p50, "p99_us": p99});
            (pace.load.name().to_owned(), of)
        });
        json!({
            "seconds": self.at.as_secs_f64(),
            "resident_bytes": self.used.resident,
            "pss_bytes": self.used.share,
            "pss_bytes_of_all": self.used.all,
            "descriptors": self.used.descriptors,
            "processes": self.used.processes,
            "failed": self.failed,
            "times": Value::Object(kinds.collect()),
        })
    }
}

pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What is looked at over the whole time, in its unit, and what it may grow by beside its tenth.
fn series(looks: &[Look]) -> [(&'static str, &'static str, Vec<f64>, f64); 5] {
    let of = |value: fn(&Sample) -> f64| looks.iter().map(|look| value(&look.used)).collect();
    [
        (
            "memory of the master (PSS)",
            " MiB",
            of(|used| mebibytes(used.share)),
            MASTER,
        ),
        (
            "memory of the master (resident)",
            " MiB",
            of(|used| mebibytes(used.resident)),
            MASTER,
        ),
        (
            "memory of all processes (PSS)",
            " MiB",
            of(|used| mebibytes(used.all)),
            ALL,
        ),
        (
            "descriptors of the master",
            "",
            of(|used| used.descriptors as f64),
            COUNT,
        ),
        ("processes", "", of(|used| used.processes as f64), COUNT),
    ]
}

/// All that has grown and should not.
pub fn verdict(looks: &[Look]) -> Vec<String> {
    let grown = series(looks)
        .into_iter()
        .filter_map(|(what, unit, values, margin)| steady::grown(what, unit, &values, margin));
    grown.collect()
}

/// Kinds of which fewer than half were answered that were due.
fn missing(looks: &[Look], time: Duration) -> Vec<String> {
    let all = MIX.iter().enumerate().filter_map(|(kind, pace)| {
        let answered: usize = looks.iter().map(|look| look.times[kind].count).sum();
        let due = f64::from(pace.clients) * time.div_duration_f64(pace.each);
        let what = pace.what;
        (answered as f64 * 2.0 < due)
            .then(|| format!("{what}: {answered} were answered, of {due:.0} that were due"))
    });
    all.collect()
}

fn text(looks: &[Look], time: Duration, cpu: (Duration, Duration)) -> String {
    let mut text =
        String::from("| | after the first tenth | in the last | at most |\n|---|--:|--:|--:|\n");
    for (what, unit, values, _) in series(looks) {
        let (first, last) = steady::ends(&values);
        let most = values.iter().copied().fold(0.0, f64::max);
        writeln!(
            text,
            "| {what} | {first:.1}{unit} | {last:.1}{unit} | {most:.1}{unit} |"
        )
        .unwrap();
    }
    text += "\n| requests | asked | p50, first tenth | in the last | p99, first tenth | in the last |\n|---|--:|--:|--:|--:|--:|\n";
    let mut sum = 0;
    for (kind, pace) in MIX.iter().enumerate() {
        let asked: usize = looks.iter().map(|look| look.times[kind].count).sum();
        sum += asked;
        let ends = |value: fn(&Times) -> u32| {
            let values = looks
                .iter()
                .map(|look| f64::from(value(&look.times[kind])) / 1e3);
            steady::ends(&values.collect::<Vec<_>>())
        };
        let (p50, p99) = (ends(|times| times.p50), ends(|times| times.p99));
        writeln!(
            text,
            "| {} | {asked} | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms |",
            pace.what, p50.0, p50.1, p99.0, p99.1
        )
        .unwrap();
    }
    let failed: u64 = looks.iter().map(|look| look.failed).sum();
    let seconds = time.as_secs_f64();
    let part = |cpu: Duration| 100.0 * cpu.as_secs_f64() / seconds;
    writeln!(
        text,
        "\n{sum} requests in {seconds:.0} s, {failed} failed; CPU: {:.0} % of a core, and {:.0} % for the clients",
        part(cpu.0),
        part(cpu.1)
    )
    .unwrap();
    text
}

/// Looks that are made up, for tests: so much memory of the master, in bytes, and so many descriptors.
pub fn made_up(values: &[(u64, usize)]) -> Vec<Look> {
    let looks = values
        .iter()
        .zip(1_u64..)
        .map(|((bytes, descriptors), at)| Look {
            at: Duration::from_secs(10 * at),
            used: Sample {
                resident: *bytes,
                share: *bytes,
                all: *bytes,
                descriptors: *descriptors,
                processes: 10,
            },
            times: [Times {
                count: 100,
                p50: 500,
                p99: 5000,
            }; MIX.len()],
            failed: 0,
        });
    looks.collect()
}
