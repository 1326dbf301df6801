//! Signals to the processes of Embly.

use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rustix::process::Signal;

use super::Strike;
use crate::load::wire::Wire;
use crate::support::process::Process;
use crate::world::signal;

/// Has an invocation of `sleeps` for as long as the connection lives, whatever becomes of it.
fn with_sleeper(strike: &Strike<'_>, what: impl FnOnce()) {
    let head = b"POST /400 HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n";
    let mut wire = Wire::to(strike.world.at("sleeps"));
    if let Ok(wire) = &mut wire {
        // The master may just have been killed.
        let _ = wire.say(head);
    }
    what();
}

fn sleeper(strike: &Strike<'_>) -> Option<Process> {
    strike.find(|| {
        let found = strike.world.wrappers();
        found.into_iter().find(|process| process.name == "sleeps")
    })
}

/// Sends it, and sees that there was somebody to get it.
fn strikes(strike: &Strike<'_>, process: &Process, what: Signal) {
    if !process.is_gone() {
        process.signal(what);
        strike.struck();
    }
}

pub fn kill_wrapper(strike: &Strike<'_>) {
    with_sleeper(strike, || {
        if let Some(process) = sleeper(strike) {
            strikes(strike, &process, Signal::KILL);
        }
        // Whoever else is there.
        if let Some(process) = strike.world.wrappers().choose(&mut strike.dice()) {
            strikes(strike, process, Signal::KILL);
        }
    });
}

pub fn deadly_signals(strike: &Strike<'_>) {
    let all = [
        Signal::SEGV,
        Signal::ABORT,
        Signal::BUS,
        Signal::SYS,
        Signal::TERM,
        Signal::QUIT,
    ];
    let mut dice = strike.dice();
    with_sleeper(strike, || {
        if let Some(process) = sleeper(strike) {
            strikes(strike, &process, all[dice.random_range(0..all.len())]);
        }
        strike.again(Duration::from_millis(40), || {
            if let Some(process) = strike.world.wrappers().choose(&mut dice) {
                strikes(strike, process, all[dice.random_range(0..all.len())]);
            }
        });
    });
}

/// Wrappers of a function that is called rarely: most of the time they wait.
fn parked(strike: &Strike<'_>) -> Vec<Process> {
    let found = strike.find(|| {
        let mut found = strike.world.wrappers();
        found.retain(|process| process.name == "hello");
        Some(found).filter(|found| !found.is_empty())
    });
    found.unwrap_or_default()
}

pub fn kill_parked(strike: &Strike<'_>) {
    strike.again(Duration::from_millis(60), || {
        for process in parked(strike) {
            strikes(strike, &process, Signal::KILL);
        }
    });
}

pub fn kill_fork_server(strike: &Strike<'_>) {
    let mut dice = strike.dice();
    strike.again(Duration::from_millis(70), || {
        if let Some(process) = strike.world.servers().choose(&mut dice) {
            strikes(strike, process, Signal::KILL);
        }
    });
}

pub fn kill_sql(strike: &Strike<'_>) {
    strike.again(Duration::from_millis(70), || {
        let found = strike.find(|| strike.world.sql().pop());
        if let Some(process) = found {
            strikes(strike, &process, Signal::KILL);
        }
    });
}

pub fn kill_master(strike: &Strike<'_>) {
    if strike.world.pid().is_some() {
        strike.struck();
        let pause = strike.lasts.min(Duration::from_millis(200));
        strike.world.kill_and_restart(pause);
    }
}

/// Stops these, for a while.
fn stops(strike: &Strike<'_>, processes: &[Process]) {
    for process in processes {
        strikes(strike, process, Signal::STOP);
    }
    strike.stay();
    for process in processes {
        process.signal(Signal::CONT);
    }
}

pub fn stop_wrapper(strike: &Strike<'_>) {
    with_sleeper(strike, || {
        let mut found: Vec<_> = sleeper(strike).into_iter().collect();
        found.extend(strike.world.wrappers());
        stops(strike, &found);
    });
}

pub fn stop_parked(strike: &Strike<'_>) {
    stops(strike, &parked(strike));
}

pub fn stop_fork_server(strike: &Strike<'_>) {
    stops(strike, &strike.world.servers());
}

pub fn stop_sql(strike: &Strike<'_>) {
    let found = strike.find(|| strike.world.sql().pop());
    stops(strike, &found.into_iter().collect::<Vec<_>>());
}

pub fn stop_master(strike: &Strike<'_>) {
    if let Some(master) = strike.world.pid().and_then(Process::find) {
        stops(strike, &[master]);
    }
}

pub fn signal_storm(strike: &Strike<'_>) {
    let harmless = [
        Signal::HUP,
        Signal::CHILD,
        Signal::CONT,
        Signal::URG,
        Signal::WINCH,
        Signal::PIPE,
    ];
    let mut dice = strike.dice();
    strike.again(Duration::from_millis(1), || {
        if let Some(pid) = strike.world.pid() {
            signal(pid, harmless[dice.random_range(0..harmless.len())]);
            strike.struck();
        }
    });
}
