//! What is replaced while it is used, what time it is, and servers that functions ask.

use std::time::Duration;

use rand::RngExt;
use rustix::process::Signal;

use super::Strike;
use crate::backend::Manner;
use crate::support::process::Process;
use crate::world::Edit;

/// One that goes on for some time, so that it can be killed in the middle.
const MIGRATION: &str = "CREATE TABLE mNUMBER (a INTEGER) STRICT;
INSERT INTO mNUMBER VALUES (1);
INSERT INTO mNUMBER WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1500000)
SELECT i FROM n WHERE i = 1500000;
";

/// How many rows a migration leaves that was applied once, whole.
pub const ROWS: &str = "2";

const SWAP: Duration = Duration::from_millis(120);

pub fn code(strike: &Strike<'_>) {
    strike.again(SWAP, || {
        strike.world.edit(Edit::Code);
        strike.struck();
    });
}

pub fn routes(strike: &Strike<'_>) {
    strike.again(SWAP, || {
        strike.world.edit(Edit::Header);
        strike.struck();
    });
}

pub fn broken(strike: &Strike<'_>) {
    strike.world.edit(Edit::Break);
    strike.struck();
    strike.stay();
    strike.world.edit(Edit::Mend);
}

pub fn clock(strike: &Strike<'_>) {
    const STEPS: [i64; 8] = [1, -1, 3600, -3600, 86_400, -86_400, 31_536_000, -31_536_000];
    let Some(clock) = strike.world.clock() else {
        return;
    };
    let mut dice = strike.dice();
    strike.again(Duration::from_millis(50), || {
        clock.set(STEPS[dice.random_range(0..STEPS.len())]);
        strike.struck();
    });
    clock.set(0);
}

pub fn migration(strike: &Strike<'_>) {
    let before: Vec<_> = strike
        .world
        .sql()
        .iter()
        .map(|process| process.pid)
        .collect();
    strike.world.edit(Edit::Migration(MIGRATION));
    let busy = strike.find(|| {
        let all = strike.world.sql().into_iter();
        let mut new = all.filter(|process| !before.contains(&process.pid));
        new.find(|process| worked(process) > Duration::from_millis(20))
    });
    if let Some(process) = busy {
        process.signal(Signal::KILL);
        strike.struck();
    }
    strike.stay();
    strike.world.reload();
}

/// CPU time of what may be gone.
fn worked(process: &Process) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid));
    let stat = stat.unwrap_or_default();
    let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks = fields.nth(11).and_then(|ticks| ticks.parse().ok());
    Duration::from_millis(ticks.unwrap_or(0) * 10)
}

fn is(strike: &Strike<'_>, manner: Manner) {
    let backend = &strike.world.backend;
    let before = backend.wronged();
    backend.is(manner);
    strike.stay();
    strike.find(|| (backend.wronged() > before).then_some(()));
    backend.is(Manner::Honest);
    strike
        .world
        .strikes(strike.kind.name, backend.wronged() - before);
}

pub fn stalls(strike: &Strike<'_>) {
    is(strike, Manner::Stalls);
}

pub fn resets(strike: &Strike<'_>) {
    let manner = [Manner::Resets, Manner::Leaves][strike.dice().random_range(0..2)];
    is(strike, manner);
}

pub fn lies(strike: &Strike<'_>) {
    let manner = [Manner::Lies, Manner::Garbles][strike.dice().random_range(0..2)];
    is(strike, manner);
}
