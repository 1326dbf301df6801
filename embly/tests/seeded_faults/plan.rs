//! From a seed to a schedule: the same seed is the same schedule, on every machine.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::kinds::{Kind, Needs};
use crate::load::{Load, Loads};

/// Faults begin in this part of a run, in milliseconds after the load.
const BEGIN: std::ops::Range<u64> = 100..900;

/// How long one lasts, in milliseconds.
const LAST: std::ops::Range<u64> = 100..600;

/// How many there are beside the first one, which the seed names.
const OTHERS: std::ops::RangeInclusive<usize> = 2..=5;

/// How the master of a run works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it does where nobody says otherwise.
    Forks,
    /// Each wrapper is a program of its own, so that some of them can be others.
    Exec,
    /// Under a user of its own, whose processes can be limited.
    User,
}

/// One fault of a run.
#[derive(Debug, Clone)]
pub struct Fault {
    /// After the beginning of the load.
    pub at: Duration,
    pub lasts: Duration,
    pub kind: &'static Kind,
    /// Whatever else it chooses is drawn from this.
    pub pick: u64,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub mode: Mode,
    /// Whether wrappers wait for requests.
    pub parked: bool,
    /// Whether some functions have `isolation: function`.
    pub reused: bool,
    pub loads: Loads,
    pub faults: Vec<Fault>,
    /// Whether it is one for `cargo xtask soak`: limits are such that a million requests are nothing
    /// special, and what is said of each of them is not kept.
    pub soak: bool,
}

impl Plan {
    /// The run of a seed, with faults of these kinds. Seeds that follow each other begin with each kind
    /// in turn.
    pub fn new(seed: u64, kinds: &[&'static Kind]) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let turn = usize::try_from(seed % kinds.len() as u64).expect("less than their number");
        let first = kinds[turn];
        let mode = match first.needs {
            Needs::Exec => Mode::Exec,
            Needs::User => Mode::User,
            _ => Mode::Forks,
        };
        let fit = kinds.iter().copied();
        let fit: Vec<_> = fit.filter(|kind| kind.needs.fits(mode)).collect();
        let mut faults = Vec::new();
        for n in 0..=dice.random_range(OTHERS) {
            let other = fit[dice.random_range(0..fit.len())];
            faults.push(Fault {
                at: Duration::from_millis(dice.random_range(BEGIN)),
                lasts: Duration::from_millis(dice.random_range(LAST)),
                kind: if n == 0 { first } else { other },
                pick: dice.random(),
            });
        }
        faults.sort_by_key(|fault| fault.at);
        let mut loads = Loads::of(&[Load::Kv, Load::Mirror]);
        for load in Load::ALL {
            if dice.random_bool(0.5) {
                loads = loads.and(Loads::of(&[load]));
            }
        }
        for fault in &faults {
            loads = loads.and(fault.kind.loads);
        }
        Self {
            seed,
            mode,
            parked: dice.random_bool(0.5),
            reused: dice.random_bool(0.3) && mode != Mode::Exec,
            loads,
            faults,
            soak: false,
        }
    }

    /// One without a schedule: who has it brings load of these kinds, and faults of those, when they like.
    pub fn soak(seed: u64, loads: Loads, kinds: &[(&'static Kind, Duration)]) -> Self {
        let fault = |(kind, lasts): &(&'static Kind, Duration)| Fault {
            at: Duration::ZERO,
            lasts: *lasts,
            kind,
            pick: 0,
        };
        Self {
            seed,
            mode: Mode::Forks,
            parked: true,
            reused: false,
            loads,
            faults: kinds.iter().map(fault).collect(),
            soak: true,
        }
    }

    /// Whether it has a fault of this kind.
    pub fn has(&self, name: &str) -> bool {
        self.faults.iter().any(|fault| fault.kind.name == name)
    }

    /// Whose requests may fail in it: all others are answered, whatever happens.
    pub fn may_fail(&self) -> Loads {
        let all = self.faults.iter().map(|fault| fault.kind.may_fail);
        all.fold(Loads::NONE, Loads::and)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            mode,
            parked,
            reused,
            loads,
            ..
        } = self;
        writeln!(
            f,
            "mode {mode:?}, parked {parked}, reused {reused}, load {loads}"
        )?;
        for fault in &self.faults {
            let (at, lasts) = (fault.at.as_millis(), fault.lasts.as_millis());
            let name = fault.kind.name;
            writeln!(
                f,
                "{at:>6} ms {name} for {lasts} ms, pick {:016x}",
                fault.pick
            )?;
        }
        Ok(())
    }
}
