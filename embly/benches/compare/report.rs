//! What a run has shown: tables, aims, JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::compare::{CONNECTIONS, Figures, PACE, Run};
use crate::load::Load;

/// The middle value, the lowest and the highest.
pub fn middle(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    (at(last / 2), at(0), at(last))
}

/// The same of one figure over the rounds.
fn over_rounds(loads: &[Load], value: fn(&Load) -> f64) -> (f64, f64, f64) {
    middle(loads.iter().map(value).collect())
}

/// Whether the machine did something else meanwhile.
pub fn disturbed<'a>(loads: impl IntoIterator<Item = &'a Load>) -> String {
    let parts = loads.into_iter().map(Load::disturbed);
    let (middle, _, most) = middle(parts.collect());
    format!(
        "Others had {:.0} % of the processors meanwhile, at most {:.0} %.",
        100.0 * middle,
        100.0 * most
    )
}

pub fn text(run: &Run) -> String {
    let mut text = format!("{}\n", run.machine.text());
    let rounds = run.figures.first().map_or(0, |figures| figures.one.len());
    let all = run.figures.iter();
    let all = all.flat_map(|figures| [&figures.one, &figures.paced, &figures.many]);
    writeln!(
        text,
        "Rounds: {rounds}; shown is the middle one of each figure. {}\n",
        disturbed(all.flatten())
    )
    .unwrap();
    for left in &run.left_out {
        writeln!(text, "Left out: {}: {}\n", left.name, left.why).unwrap();
    }
    loads(&mut text, run);
    starts(&mut text, run);
    floors(&mut text, run);
    writeln!(text, "\n| aim | bound | in this run | |\n|---|--:|--:|---|").unwrap();
    for aim in aims(run) {
        let (value, reached) = match aim.value {
            Some(value) => (
                format!("{value:.2}"),
                if aim.reached() == Some(true) {
                    "reached"
                } else {
                    "**not reached**"
                },
            ),
            None => ("-".to_owned(), "not measured"),
        };
        let sign = if aim.at_least { "≥" } else { "≤" };
        writeln!(
            text,
            "| {} | {sign} {} | {value} | {reached} |",
            aim.what, aim.bound
        )
        .unwrap();
    }
    text
}

fn loads(text: &mut String, run: &Run) {
    writeln!(
        text,
        "| system | paced, {PACE}/s: p50 | p99 | one connection: p50 | p99 | {CONNECTIONS} connections: requests/s (lowest to highest) | p50 | p99 | CPU per request | errors |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    )
    .unwrap();
    for (system, figures) in run.systems.iter().zip(&run.figures) {
        let micros = |loads: &[Load], value: fn(&Load) -> f64| {
            let (middle, ..) = over_rounds(loads, value);
            format!("{middle:.0} µs")
        };
        let (rate, least, most) = over_rounds(&figures.many, Load::rate);
        let all = [&figures.one, &figures.many, &figures.paced];
        let errors: u64 = all.into_iter().flatten().map(|load| load.errors).sum();
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {rate:.0} ({least:.0} to {most:.0}) | {} | {} | {} | {errors} |",
            system.name,
            micros(&figures.paced, Load::p50),
            micros(&figures.paced, Load::p99),
            micros(&figures.one, Load::p50),
            micros(&figures.one, Load::p99),
            micros(&figures.many, Load::p50),
            micros(&figures.many, Load::p99),
            micros(&figures.many, Load::cpu_per_request),
        )
        .unwrap();
    }
}

fn starts(text: &mut String, run: &Run) {
    writeln!(
        text,
        "\n| system | from its start to the first answer (lowest to highest) | first request after scaling to zero: p50 | p99 |\n\
         |---|--:|--:|--:|"
    )
    .unwrap();
    for (system, figures) in run.systems.iter().zip(&run.figures) {
        let (start, least, most) = middle(figures.starts.clone());
        let cold = run.cold.iter().find(|cold| cold.id() == system.id);
        let cold = cold.map_or("- | -".to_owned(), |cold| {
            let (p50, p99) = (cold.percentile(50.0), cold.percentile(99.0));
            let errors = match cold.errors {
                0 => String::new(),
                errors => format!(", {errors} errors"),
            };
            format!("{p50:.1} ms | {p99:.1} ms{errors}")
        });
        writeln!(
            text,
            "| {} | {start:.0} ms ({least:.0} to {most:.0}) | {cold} |",
            system.name
        )
        .unwrap();
    }
}

fn floors(text: &mut String, run: &Run) {
    if run.floors.is_empty() {
        return;
    }
    writeln!(
        text,
        "\n| nothing but the kernel, in C | a second, one parent per core (lowest to highest) | one by one |\n|---|--:|--:|"
    )
    .unwrap();
    for floor in &run.floors {
        let (rate, least, most) = middle(floor.rates.clone());
        let (time, ..) = middle(floor.times.clone());
        writeln!(
            text,
            "| {} | {rate:.0} ({least:.0} to {most:.0}) | {time:.0} µs |",
            floor.name
        )
        .unwrap();
    }
}

/// A ratio that is aimed at, or a time.
struct Aim {
    what: String,
    bound: f64,
    /// The bound is the lowest that is good enough, not the highest.
    at_least: bool,
    /// Nothing where what it is about was left out.
    value: Option<f64>,
}

impl Aim {
    fn reached(&self) -> Option<bool> {
        let value = self.value?;
        Some(if self.at_least {
            value >= self.bound
        } else {
            value <= self.bound
        })
    }

    fn json(&self) -> Value {
        json!({
            "aim": self.what,
            "bound": self.bound,
            "at_least": self.at_least,
            "value": self.value,
            "reached": self.reached(),
        })
    }
}

const INVOCATION: &str = "embly_invocation";
const FUNCTION: &str = "embly_function";
const WASMTIME: &str = "wasmtime";

/// Ratios are those of the middle round: what was measured in one round is divided, and the middle
/// of these values counts, so that a machine that is slower for a while is so for both.
fn aims(run: &Run) -> Vec<Aim> {
    let figures = |id: &str| {
        let at = run.systems.iter().position(|system| system.id == id)?;
        run.figures.get(at)
    };
    type Loads = fn(&Figures) -> &Vec<Load>;
    let values = |id: &str, loads: Loads, value: fn(&Load) -> f64| -> Option<Vec<f64>> {
        Some(loads(figures(id)?).iter().map(value).collect())
    };
    let ratio = |own: Option<Vec<f64>>, other: Option<Vec<f64>>| {
        let ratios = own?.into_iter().zip(other?).map(|(own, other)| own / other);
        Some(middle(ratios.collect()).0)
    };
    let beside = |own: &str, other: &str, loads: Loads, value: fn(&Load) -> f64| {
        ratio(values(own, loads, value), values(other, loads, value))
    };
    let paced: Loads = |figures| &figures.paced;
    let one: Loads = |figures| &figures.one;
    let many: Loads = |figures| &figures.many;
    let forks = run.floors.iter().find(|floor| floor.id == "fork");
    let forks = forks.map(|floor| floor.rates.clone());
    let most = |what: &str, bound, value| Aim {
        what: what.to_owned(),
        bound,
        at_least: false,
        value,
    };
    let least = |what: &str, bound, value| Aim {
        at_least: true,
        ..most(what, bound, value)
    };
    let first = |id: &str| {
        let cold = run.cold.iter().find(|cold| cold.id() == id)?;
        Some(cold.percentile(99.0))
    };
    let start = figures(INVOCATION).map(|figures| middle(figures.starts.clone()).0);
    vec![
        most(
            "a fresh process, paced: p50, of that of `wasmtime serve`",
            1.0,
            beside(INVOCATION, WASMTIME, paced, Load::p50),
        ),
        most(
            "a fresh process, paced: p99, of its own p50",
            3.0,
            ratio(
                values(INVOCATION, paced, Load::p99),
                values(INVOCATION, paced, Load::p50),
            ),
        ),
        most(
            "a fresh process, one connection: p50, of that of `wasmtime serve`",
            1.4,
            beside(INVOCATION, WASMTIME, one, Load::p50),
        ),
        least(
            "a fresh process, 32 connections: requests/s, of those of `wasmtime serve`",
            0.8,
            beside(INVOCATION, WASMTIME, many, Load::rate),
        ),
        least(
            "the same, of those of lighttpd with CGI",
            3.5,
            beside(INVOCATION, "lighttpd", many, Load::rate),
        ),
        least(
            "the same, of bare forks",
            0.5,
            ratio(values(INVOCATION, many, Load::rate), forks),
        ),
        least(
            "`isolation: function`, 32 connections: requests/s, of those of `wasmtime serve`",
            2.5,
            beside(FUNCTION, WASMTIME, many, Load::rate),
        ),
        least(
            "the same, of those of workerd",
            1.0,
            beside(FUNCTION, "workerd", many, Load::rate),
        ),
        most(
            "`isolation: function`, one connection: p50, of that of `wasmtime serve`",
            0.7,
            beside(FUNCTION, WASMTIME, one, Load::p50),
        ),
        most(
            "without a fork server: p99 of the first request, in ms",
            10.0,
            first(INVOCATION),
        ),
        most(
            "from `embly run` to the first answer, compiled before, in ms",
            50.0,
            start,
        ),
    ]
}

pub fn json(run: &Run) -> Value {
    let rounds = |loads: &[Load]| loads.iter().map(Load::json).collect::<Vec<_>>();
    let system = |(system, figures): (&crate::systems::System, &Figures)| {
        let cold = run.cold.iter().find(|cold| cold.id() == system.id);
        json!({
            "id": system.id,
            "name": system.name,
            "version": system.version,
            "paced": rounds(&figures.paced),
            "one_connection": rounds(&figures.one),
            "many_connections": rounds(&figures.many),
            "start_ms": figures.starts,
            "first_request_ms": cold.map(|cold| &cold.times),
            "first_request_errors": cold.map(|cold| cold.errors),
        })
    };
    let left_out = run.left_out.iter();
    json!({
        "machine": run.machine.json(),
        "paced_per_second": PACE,
        "many_connections": CONNECTIONS,
        "systems": run.systems.iter().zip(&run.figures).map(system).collect::<Vec<_>>(),
        "floors": run.floors.iter().map(|floor| (floor.id.to_owned(), floor.json()))
            .collect::<serde_json::Map<_, _>>(),
        "aims": aims(run).iter().map(Aim::json).collect::<Vec<_>>(),
        "left_out": left_out.map(|left| json!({"name": left.name, "why": left.why}))
            .collect::<Vec<_>>(),
    })
}
