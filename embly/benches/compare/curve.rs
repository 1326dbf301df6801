//! Embly with few and many connections, and with small and large bodies.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::chart::{self, Axis, Layout, Line, Panel, Scale};
use crate::load::{self, Exchange, Load};
use crate::machine::Machine;
use crate::meter::Meter;
use crate::report;
use crate::systems::{Function, Isolation, System, embly};

/// How long each load is kept up.
const LOAD: Duration = Duration::from_millis(1500);

const WARM_UP: Duration = Duration::from_millis(300);

/// Of the closed loop with the small body.
const CONNECTIONS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Bytes of a body.
const BODIES: [usize; 6] = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Of the closed loop with bodies.
const BESIDE: [usize; 2] = [1, 8];

/// Where the picture belongs.
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.svg");

/// One function under closed loops.
struct Curve {
    isolation: Isolation,
    loads: Vec<Load>,
}

/// Bodies in one direction or in both, with so many connections.
struct Bodies {
    curve: Curve,
    is_echo: bool,
    connections: usize,
}

pub fn run(runtime: &Runtime, folder: &Path) {
    let machine = Machine::look();
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for isolation in Isolation::BOTH {
        let folder = folder.join(isolation.key());
        let mut functions = vec![Function::hello(isolation)];
        for is_echo in [false, true] {
            functions.extend(BODIES.map(|size| Function {
                module: module(size, is_echo),
                ..Function::hello(isolation)
            }));
        }
        let mut system = embly(&folder, isolation, &functions).unwrap();
        system.start().unwrap();
        let hello = Exchange::hello();
        let ready = load::answered(system.at[0], &hello);
        runtime.block_on(ready).unwrap();
        let measure = |function: usize, exchange: &Arc<Exchange>, connections| {
            measure(runtime, &system, function, exchange, connections)
        };
        small.push(Curve {
            isolation,
            loads: CONNECTIONS.map(|count| measure(0, &hello, count)).into(),
        });
        for (direction, is_echo) in [false, true].into_iter().enumerate() {
            for connections in BESIDE {
                let loads = BODIES.iter().enumerate().map(|(number, size)| {
                    let body = vec![b'x'; *size];
                    let exchange = if is_echo {
                        Exchange::echo(body)
                    } else {
                        Exchange::get(body)
                    };
                    measure(
                        1 + direction * BODIES.len() + number,
                        &exchange,
                        connections,
                    )
                });
                let loads = loads.collect();
                large.push(Bodies {
                    curve: Curve { isolation, loads },
                    is_echo,
                    connections,
                });
            }
        }
    }
    print!("{}", text(&machine, &small, &large));
    fs::write(PICTURE, picture(&small, &large)).unwrap();
}

fn module(size: usize, is_echo: bool) -> String {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
    include_str!("body.wat")
        .replace("SIZE", &size.to_string())
        .replace("LENGTH", &head.len().to_string())
        .replace("ECHO", if is_echo { "1" } else { "0" })
}

fn measure(
    runtime: &Runtime,
    system: &System,
    function: usize,
    exchange: &Arc<Exchange>,
    connections: usize,
) -> Load {
    let at = system.at[function];
    runtime.block_on(load::closed(at, exchange, connections, WARM_UP));
    let meter = Meter::read(system);
    let mut load = runtime.block_on(load::closed(at, exchange, connections, LOAD));
    meter.enter(system, &mut load);
    load
}

/// Megabytes a second, of bodies in one direction.
fn megabytes(load: &Load, size: usize) -> f64 {
    load.rate() * size as f64 / 1e6
}

fn text(machine: &Machine, small: &[Curve], large: &[Bodies]) -> String {
    let loads = small.iter().chain(large.iter().map(|bodies| &bodies.curve));
    let loads = loads.flat_map(|curve| &curve.loads);
    let mut text = format!("{}\n{}\n\n", machine.text(), report::disturbed(loads));
    text.push_str(
        "| connections | isolation | requests/s | p50 | p99 | CPU per request | errors |\n\
         |--:|---|--:|--:|--:|--:|--:|\n",
    );
    for curve in small {
        for (connections, load) in CONNECTIONS.iter().zip(&curve.loads) {
            row(&mut text, connections, curve.isolation, load, "");
        }
    }
    text.push_str(
        "\n| body | isolation | requests/s | p50 | p99 | CPU per request | errors | MB/s |\n\
         |---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for bodies in large {
        let direction = if bodies.is_echo {
            "sent and returned"
        } else {
            "returned"
        };
        for (size, load) in BODIES.iter().zip(&bodies.curve.loads) {
            let label = format!(
                "{}, {direction}, {} at once",
                name(*size),
                bodies.connections
            );
            let rate = format!(" {:.1} |", megabytes(load, *size));
            row(&mut text, &label, bodies.curve.isolation, load, &rate);
        }
    }
    text
}

fn row(
    text: &mut String,
    label: &dyn std::fmt::Display,
    isolation: Isolation,
    load: &Load,
    rest: &str,
) {
    writeln!(
        text,
        "| {label} | `{}` | {:.0} | {:.0} µs | {:.0} µs | {:.0} µs | {} |{rest}",
        isolation.key(),
        load.rate(),
        load.p50(),
        load.p99(),
        load.cpu_per_request(),
        load.errors,
    )
    .unwrap();
}

/// Of a number of bytes.
fn name(size: usize) -> String {
    match size {
        0..1_000 => format!("{size} B"),
        1_000..1_000_000 => format!("{} KB", size / 1_000),
        _ => format!("{} MB", size / 1_000_000),
    }
}

fn picture(small: &[Curve], large: &[Bodies]) -> String {
    let connections = || Axis {
        name: "connections",
        scale: Scale::Logarithmic,
        ticks: CONNECTIONS
            .map(|count| (count as f64, count.to_string()))
            .into(),
    };
    let sizes = || Axis {
        name: "body",
        scale: Scale::Logarithmic,
        ticks: BODIES.map(|size| (size as f64, name(size))).into(),
    };
    let small = |value: fn(&Load) -> f64, dashed| {
        small.iter().map(move |curve| Line {
            color: color(curve.isolation),
            dashed,
            points: CONNECTIONS
                .iter()
                .zip(&curve.loads)
                .map(|(count, load)| (*count as f64, value(load)))
                .collect(),
        })
    };
    let large = |connections: usize| {
        let those = large
            .iter()
            .filter(move |bodies| bodies.connections == connections);
        let lines = those.map(|bodies| Line {
            color: color(bodies.curve.isolation),
            dashed: bodies.is_echo,
            points: BODIES
                .iter()
                .zip(&bodies.curve.loads)
                .map(|(size, load)| (*size as f64, megabytes(load, *size)))
                .collect(),
        });
        lines.collect()
    };
    let legend = Isolation::BOTH
        .map(|isolation| (color(isolation), format!("isolation: {}", isolation.key())));
    let y = Scale::Logarithmic;
    let layout = Layout {
        width: 450.0,
        height: 270.0,
        panels: 2,
    };
    chart::draw(
        &layout,
        &legend,
        &[
            Panel {
                title: "requests/s",
                x: connections(),
                y,
                lines: small(Load::rate, false).collect(),
            },
            Panel {
                title: "milliseconds: p50, dashed p99",
                x: connections(),
                y,
                lines: small(|load| load.p50() / 1e3, false)
                    .chain(small(|load| load.p99() / 1e3, true))
                    .collect(),
            },
            Panel {
                title: "MB/s, 1 connection: returned, dashed sent and returned",
                x: sizes(),
                y,
                lines: large(BESIDE[0]),
            },
            Panel {
                title: "MB/s, 8 connections",
                x: sizes(),
                y,
                lines: large(BESIDE[1]),
            },
        ],
    )
}

/// Colours that can be told apart on white and on black.
fn color(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Invocation => "#2f81f7",
        Isolation::Function => "#d9822b",
    }
}
