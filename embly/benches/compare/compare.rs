//! Embly beside others: the rounds.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::cold::Cold;
use crate::floors::{self, Floor};
use crate::load::{self, Exchange, Load};
use crate::machine::Machine;
use crate::meter::Meter;
use crate::report;
use crate::systems::{self, Isolation, LeftOut, System};

/// How long each load is kept up.
const LOAD: Duration = Duration::from_secs(3);

/// The same load before it, which is not counted: processes that are to be there are there, code
/// that is compiled when it is hot is hot, for everybody.
const WARM_UP: Duration = Duration::from_millis(700);

/// Requests a second of the paced load.
pub const PACE: u32 = 200;

/// Connections of the closed loop that uses all cores.
pub const CONNECTIONS: usize = 32;

/// Starts of each system in a round; the last one stays.
const STARTS: usize = 3;

/// What was measured of one system, a value per round.
#[derive(Default)]
pub struct Figures {
    pub one: Vec<Load>,
    pub paced: Vec<Load>,
    pub many: Vec<Load>,
    /// From the start of the process to the first answer, in milliseconds: several in a round.
    pub starts: Vec<f64>,
}

/// What all rounds have shown.
pub struct Run {
    pub machine: Machine,
    pub systems: Vec<System>,
    /// In the order of the systems.
    pub figures: Vec<Figures>,
    pub cold: Vec<Cold>,
    pub floors: Vec<Floor>,
    pub left_out: Vec<LeftOut>,
}

pub fn run(runtime: &Runtime, folder: &Path, rounds: usize, json: Option<&Path>) {
    let machine = Machine::look();
    let (mut systems, mut left_out) = systems::all(folder);
    let (mut floors, floor) = match floors::all(folder) {
        Ok((floors, program)) => (floors, Some(program)),
        Err(why) => {
            eprintln!("left out: the floors: {why}");
            let name = "the floors";
            left_out.push(LeftOut { name, why });
            (Vec::new(), None)
        }
    };
    let mut cold = Isolation::BOTH.map(|isolation| Cold::new(folder, isolation));
    let mut figures: Vec<Figures> = systems.iter().map(|_| Figures::default()).collect();
    compile(runtime, &mut systems);
    for round in 0..rounds {
        for turn in 0..systems.len() {
            // Each is first, and last, in some round.
            let number = (round + turn) % systems.len();
            let system = &mut systems[number];
            eprintln!("round {} of {rounds}: {}", round + 1, system.name);
            measure(runtime, system, &mut figures[number]);
        }
        for cold in &mut cold {
            cold.measure(runtime);
        }
        for one in &mut floors {
            one.measure(floor.as_ref().unwrap()).unwrap();
        }
    }
    let run = Run {
        machine,
        systems,
        figures,
        cold: cold.into(),
        floors,
        left_out,
    };
    print!("{}", report::text(&run));
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&report::json(&run)).unwrap();
        fs::write(file, text + "\n").unwrap();
    }
}

/// Once, so that what a system keeps for its next start is there at every start that counts.
fn compile(runtime: &Runtime, systems: &mut [System]) {
    for system in systems {
        start(runtime, system);
    }
}

/// Until it answers.
fn start(runtime: &Runtime, system: &mut System) {
    system.start().unwrap();
    let hello = Exchange::hello();
    let answered = load::answered(system.at[0], &hello);
    if let Err(error) = runtime.block_on(answered) {
        panic!("{}: {error}", system.name);
    }
}

fn measure(runtime: &Runtime, system: &mut System, figures: &mut Figures) {
    for _ in 0..STARTS {
        let began = Instant::now();
        start(runtime, system);
        figures.starts.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let (at, hello) = (system.at[0], Exchange::hello());
    let counted = |load: &dyn Fn(Duration) -> Load| {
        load(WARM_UP);
        let meter = Meter::read(system);
        let mut load = load(LOAD);
        meter.enter(system, &mut load);
        load
    };
    let closed = |connections| {
        counted(&|time| runtime.block_on(load::closed(at, &hello, connections, time)))
    };
    let paced = counted(&|time| runtime.block_on(load::paced(at, &hello, PACE, time)));
    figures.paced.push(paced);
    figures.one.push(closed(1));
    figures.many.push(closed(CONNECTIONS));
}
