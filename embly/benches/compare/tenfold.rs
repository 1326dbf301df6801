//! Embly with ten times the requests that it can answer: how many it answers all the same, and how
//! soon everything is as before.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::load::{self, Exchange, Load, Open};
use crate::machine::Machine;
use crate::meter::Meter;
use crate::overload::limited;
use crate::systems::{Isolation, System};

/// Closed loops, of which the best is kept up for longer, before and after each overload: that is the
/// peak. The best of short ones alone is the luckiest.
const PEAKS: [usize; 5] = [8, 16, 32, 64, 96];

/// How long each of those is kept up.
const LOAD: Duration = Duration::from_secs(3);
const PEAK: Duration = Duration::from_secs(10);

/// A machine is not equally fast at all times, so it is overloaded so often.
const ROUNDS: usize = 3;

const WARM_UP: Duration = Duration::from_millis(700);

const TIMES: f64 = 10.0;

/// The normal load: this part of the peak, over so many connections, so long before and after.
const NORMAL: f64 = 0.5;
const CONNECTIONS: u32 = 64;
const BEFORE: Duration = Duration::from_secs(5);

/// All is as before where of the requests of so long, beginning at each so many, 99 of 100 take no more
/// than this much of what they took before.
const WINDOW: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(100);
const NO_MORE: f64 = 1.25;

/// What is aimed at: of the peak, and after the end.
const GOODPUT: f64 = 0.9;
const RECOVERY: Duration = Duration::from_secs(1);

struct Figures {
    isolation: Isolation,
    peak: Load,
    /// That it was found with.
    at_once: usize,
    before: Open,
    overload: Open,
    /// How long it took at most until all was as before; nothing where that did not come.
    recovered: Option<Duration>,
}

pub fn run(
    runtime: &Runtime,
    folder: &Path,
    time: Duration,
    connections: u32,
    json: Option<&Path>,
) {
    let machine = Machine::look();
    let all = Isolation::BOTH.map(|isolation| {
        let system = limited(folder, isolation);
        let figures = runtime.block_on(measure(isolation, &system, time, connections));
        eprint!("{}", figures.text());
        figures
    });
    let rows: String = all.iter().map(Figures::row).collect();
    let texts: String = all.iter().map(Figures::text).collect();
    print!("{}\n\n{HEAD}{rows}\n{texts}", machine.text(),);
    if let Some(file) = json {
        let all: Vec<_> = all.iter().map(Figures::json).collect();
        let all = json!({"machine": machine.json(), "seconds": time.as_secs_f64(), "connections": connections, "systems": all});
        fs::write(file, format!("{all:#}\n")).unwrap();
    }
}

async fn measure(
    isolation: Isolation,
    system: &System,
    time: Duration,
    connections: u32,
) -> Figures {
    let (at, hello) = (system.at[0], Exchange::hello());
    load::answered(at, &hello).await.unwrap();
    let (mut best, mut at_once) = (0.0, PEAKS[0]);
    for connections in PEAKS {
        load::closed(at, &hello, connections, WARM_UP).await;
        let load = load::closed(at, &hello, connections, LOAD).await;
        if load.rate() > best {
            (best, at_once) = (load.rate(), connections);
        }
    }
    let mut peak = steady(system, at, &hello, at_once).await;
    let rate = peak.rate() * NORMAL;
    load::open(at, &hello, rate, CONNECTIONS, WARM_UP).await;
    let before = normal(system, at, &hello, rate).await;
    let (mut overload, mut slowest) = (Open::default(), Some(Duration::ZERO));
    for _ in 0..ROUNDS {
        let meter = Meter::read(system);
        let mut round = load::open(at, &hello, peak.rate() * TIMES, connections, time).await;
        meter.enter(system, &mut round.good);
        let after = normal(system, at, &hello, rate).await;
        slowest = slowest
            .zip(recovered(&before, &after))
            .map(|(a, b)| a.max(b));
        overload = overload.and(round);
        peak = peak.and(steady(system, at, &hello, at_once).await);
    }
    Figures {
        isolation,
        recovered: slowest,
        peak,
        at_once,
        before,
        overload,
    }
}

async fn steady(
    system: &System,
    at: SocketAddr,
    hello: &Arc<Exchange>,
    connections: usize,
) -> Load {
    let meter = Meter::read(system);
    let mut load = load::closed(at, hello, connections, PEAK).await;
    meter.enter(system, &mut load);
    load
}

async fn normal(system: &System, at: SocketAddr, hello: &Arc<Exchange>, rate: f64) -> Open {
    let meter = Meter::read(system);
    let mut load = load::open(at, hello, rate, CONNECTIONS, BEFORE).await;
    meter.enter(system, &mut load.good);
    load
}

/// 99 of 100 of these took no longer.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let at = times.len() * 99 / 100;
    let last = times.len().saturating_sub(1);
    // None is no answer at all.
    times.get(at.min(last)).copied().unwrap_or(Duration::MAX)
}

fn recovered(before: &Open, after: &Open) -> Option<Duration> {
    let usual = p99(before.moments.iter().map(|(_, took)| *took).collect());
    let mut from = Duration::ZERO;
    while from + WINDOW <= BEFORE {
        let within = after.moments.iter();
        let within = within.filter(|(due, _)| (from..from + WINDOW).contains(due));
        let now = p99(within.map(|(_, took)| *took).collect());
        if now <= usual.mul_f64(NO_MORE) {
            return Some(from);
        }
        from += STEP;
    }
    None
}

const HEAD: &str = "| isolation | peak | with | sent, of the peak | answered 200, of the peak | p50 | p99 | answered 503 | p50 | p99 | errors | the clients' part of the machine, at the peak | in the overload | normal p99 before | as before after |\n\
    |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";

impl Figures {
    fn goodput(&self) -> f64 {
        self.overload.good.rate() / self.peak.rate()
    }

    fn sent(&self) -> f64 {
        self.overload.good.rate() + self.overload.refused.rate()
    }

    fn row(&self) -> String {
        let Self {
            peak,
            overload: Open { good, refused, .. },
            ..
        } = self;
        let millis = |micros: f64| format!("{:.1} ms", micros / 1e3);
        let recovered = self.recovered.map_or("never".to_owned(), |time| {
            format!("{} ms", time.as_millis())
        });
        format!(
            "| `{}` | {:.0}/s | {} | {:.1} | {:.2} | {} | {} | {:.0}/s | {} | {} | {} | {:.0} % | {:.0} % | {} | {recovered} |\n",
            self.isolation.key(),
            peak.rate(),
            self.at_once,
            self.sent() / peak.rate(),
            self.goodput(),
            millis(good.p50()),
            millis(good.p99()),
            refused.rate(),
            millis(refused.p50()),
            millis(refused.p99()),
            refused.errors,
            100.0 * peak.clients(),
            100.0 * good.clients(),
            millis(self.before.good.p99()),
        )
    }

    /// Whether it is as it should be.
    fn text(&self) -> String {
        let mut text = String::new();
        let said = |good| if good { "reached" } else { "MISSED" };
        let in_time = self.recovered.is_some_and(|time| time <= RECOVERY);
        writeln!(
            text,
            "`isolation: {}`: goodput {:.2} of the peak (aim {GOODPUT}: {}); as before within a second: {}; \
             others had {:.0} % of the machine at the peak and {:.0} % in the overload",
            self.isolation.key(),
            self.goodput(),
            said(self.goodput() >= GOODPUT),
            said(in_time),
            100.0 * self.peak.disturbed(),
            100.0 * self.overload.good.disturbed(),
        )
        .unwrap();
        text
    }

    fn json(&self) -> Value {
        json!({
            "isolation": self.isolation.key(),
            "peak": self.peak.json(),
            "peak_connections": self.at_once,
            "before": self.before.good.json(),
            "good": self.overload.good.json(),
            "refused": self.overload.refused.json(),
            "goodput_of_the_peak": self.goodput(),
            "sent_per_second": self.sent(),
            "recovered_after_ms": self.recovered.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        })
    }
}
