//! What an hour looks like.

use std::time::Duration;

use super::hour::{Look, MIX, Times, mebibytes};
use super::sample::Sample;
use crate::chart::{self, Axis, Layout, Line, Panel, Scale};

/// Colours that can be told apart on white and on black.
const BLUE: &str = "#2f81f7";
const ORANGE: &str = "#d9822b";

/// Points of a line: each is the highest of its time.
const POINTS: usize = 120;

/// Names of times below each panel: about so many.
const TICKS: f64 = 6.0;

const TITLES: [&str; MIX.len()] = [
    "http, small: milliseconds",
    "http, 1 MB streamed: milliseconds",
    "tcp: milliseconds",
    "websocket: milliseconds",
    "chain of four functions: milliseconds",
    "key-value store: milliseconds",
];

/// As SVG: memory, processes, descriptors, and how long requests took.
pub fn draw(looks: &[Look]) -> String {
    let end = looks.last().map_or(Duration::from_secs(1), |look| look.at);
    let minutes = end > Duration::from_secs(300);
    let unit = if minutes { 60.0 } else { 1.0 };
    let axis = || axis(end.as_secs_f64() / unit, minutes);
    let line = |color, value: &dyn Fn(&Look) -> f64| {
        let size = looks.len().div_ceil(POINTS).max(1);
        let highest = looks.chunks(size).map(|looks| {
            let at = looks.last().map_or(0.0, |look| look.at.as_secs_f64());
            (at / unit, looks.iter().map(value).fold(0.0, f64::max))
        });
        Line {
            color,
            dashed: false,
            points: highest.collect(),
        }
    };
    let used = |color, value: fn(&Sample) -> f64| line(color, &|look| value(&look.used));
    let mut panels = vec![
        Panel {
            title: "memory: MiB",
            x: axis(),
            y: Scale::Linear,
            lines: vec![
                used(BLUE, |used| mebibytes(used.share)),
                used(ORANGE, |used| mebibytes(used.all)),
            ],
        },
        Panel {
            title: "processes",
            x: axis(),
            y: Scale::Linear,
            lines: vec![used(ORANGE, |used| used.processes as f64)],
        },
        Panel {
            title: "descriptors of the master",
            x: axis(),
            y: Scale::Linear,
            lines: vec![used(BLUE, |used| used.descriptors as f64)],
        },
    ];
    for (kind, title) in TITLES.into_iter().enumerate() {
        let times = |color, value: fn(&Times) -> u32| {
            line(color, &|look| f64::from(value(&look.times[kind])) / 1e3)
        };
        panels.push(Panel {
            title,
            x: axis(),
            y: Scale::Logarithmic,
            lines: vec![
                times(BLUE, |times| times.p50),
                times(ORANGE, |times| times.p99),
            ],
        });
    }
    let layout = Layout {
        width: 320.0,
        height: 210.0,
        panels: 3,
    };
    let legend = [
        (BLUE, "the master; half of the requests (p50)".to_owned()),
        (ORANGE, "all processes; 99 of 100 requests (p99)".to_owned()),
    ];
    chart::draw(&layout, &legend, &panels)
}

fn axis(end: f64, minutes: bool) -> Axis {
    let power = 10_f64.powf((end / TICKS).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| end / step <= TICKS);
    let step = step.unwrap_or(end);
    let count = (end / step).ceil() as i32;
    let ticks = (0..=count).map(|n| {
        let value = step * f64::from(n);
        (value, format!("{}", (value * 100.0).round() / 100.0))
    });
    Axis {
        name: if minutes { "minutes" } else { "seconds" },
        scale: Scale::Linear,
        ticks: ticks.collect(),
    }
}
