//! Who had the processors while a load was kept up.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::load::Load;
use crate::systems::{System, TICK, process_ticks};

/// CPU time up to a moment.
pub struct Meter {
    system: Duration,
    own: Duration,
    all: Duration,
}

impl Meter {
    /// Up to now.
    pub fn read(system: &System) -> Self {
        Self {
            system: system.cpu(),
            own: process_ticks(Path::new("/proc/self")).map_or(Duration::ZERO, ticks),
            all: all(),
        }
    }

    /// Enters what has been used since then.
    pub fn enter(&self, system: &System, load: &mut Load) {
        let now = Self::read(system);
        load.cpu = now.system.saturating_sub(self.system);
        let own = now.own.saturating_sub(self.own);
        let all = now.all.saturating_sub(self.all);
        load.clients = own;
        load.others = all.saturating_sub(load.cpu + own);
    }
}

/// Of the whole machine, and what the machine below it has taken.
fn all() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let line = stat.lines().next().unwrap_or_default();
    let fields = line.split_whitespace().skip(1).flat_map(str::parse::<u64>);
    // Without those that stand for idling, the fourth and the fifth, and without those behind
    // `steal`, which are parts of the first two.
    let busy = fields
        .take(8)
        .enumerate()
        .filter(|(at, _)| !matches!(at, 3 | 4));
    ticks(busy.map(|(_, time)| time).sum())
}

fn ticks(count: u64) -> Duration {
    TICK * u32::try_from(count).unwrap_or(u32::MAX)
}
