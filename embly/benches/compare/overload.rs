//! Embly with more requests than it can answer: what is refused, how soon, and what is still
//! answered.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::load::{self, Exchange, Load, Open};
use crate::machine::Machine;
use crate::meter::Meter;
use crate::report;
use crate::systems::{Function, Isolation, System, embly};

/// How long each load is kept up.
const LOAD: Duration = Duration::from_secs(3);

const WARM_UP: Duration = Duration::from_millis(700);

/// Of the function: the rest is refused.
const KEYS: &str = "limits: {concurrency: 32, queue: {length: 64, wait: 1s}}";

/// Of the closed loop that finds the peak: as many as the function serves at once.
const PEAK: usize = 32;

/// Of the open load: far more than are served and wait.
const CONNECTIONS: u32 = 512;

/// What is offered, as parts of the peak.
const OFFERED: [f64; 7] = [0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0];

struct Step {
    part: f64,
    load: Open,
}

/// Embly with such a function, started.
pub fn limited(folder: &Path, isolation: Isolation) -> System {
    let function = Function {
        keys: KEYS,
        ..Function::hello(isolation)
    };
    let folder = folder.join(isolation.key());
    let mut system = embly(&folder, isolation, &[function]).unwrap();
    system.start().unwrap();
    system
}

pub fn run(runtime: &Runtime, folder: &Path) {
    let mut text = format!("{}\n", Machine::look().text());
    for isolation in Isolation::BOTH {
        let system = limited(folder, isolation);
        let (at, hello) = (system.at[0], Exchange::hello());
        runtime.block_on(async {
            load::answered(at, &hello).await.unwrap();
            load::closed(at, &hello, PEAK, WARM_UP).await;
            let peak = load::closed(at, &hello, PEAK, LOAD).await;
            let mut steps = Vec::new();
            for part in OFFERED {
                let rate = peak.rate() * part;
                load::open(at, &hello, rate, CONNECTIONS, WARM_UP).await;
                let meter = Meter::read(&system);
                let mut load = load::open(at, &hello, rate, CONNECTIONS, LOAD).await;
                meter.enter(&system, &mut load.good);
                steps.push(Step { part, load });
            }
            let loads = steps.iter().map(|step| &step.load.good);
            writeln!(text, "\n{}: {}", system.name, report::disturbed(loads)).unwrap();
            table(&mut text, &system.name, &peak, &steps);
        });
    }
    print!("{text}");
}

fn table(text: &mut String, name: &str, peak: &Load, steps: &[Step]) {
    writeln!(
        text,
        "\n{name}: at most {:.0} requests/s.\n\n\
         | offered | sent a second | answered 200, of the most | p50 | p99 | answered 503 | p50 | p99 | CPU | errors |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        peak.rate()
    )
    .unwrap();
    for Step { part, load } in steps {
        let (good, refused) = (&load.good, &load.refused);
        let sent = good.rate() + refused.rate();
        let millis = |load: &Load, value: fn(&Load) -> f64| match load.count() {
            0 => "-".to_owned(),
            _ => format!("{:.1} ms", value(load) / 1e3),
        };
        writeln!(
            text,
            "| {part} | {sent:.0} | {:.2} | {} | {} | {:.0} % | {} | {} | {:.2} s/s | {} |",
            good.rate() / peak.rate(),
            millis(good, Load::p50),
            millis(good, Load::p99),
            100.0 * refused.rate() / sent,
            millis(refused, Load::p50),
            millis(refused, Load::p99),
            good.processors(),
            refused.errors,
        )
        .unwrap();
    }
}
