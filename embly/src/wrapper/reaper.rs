//! The end of processes: reaps them, with what they used.
//!
//! One whose driver knows that it ends is reaped by its number. All others, such as those that
//! ended while they waited for a request, are looked for by process group; there the kernel passes
//! all children each time, so where there are many it is done now and then.
//!
//! A number cannot be used again before its process is reaped, and killing and reaping hold
//! the same lock, so that a kill never meets a stranger.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use embly_wrapper::process::{self, Reaped, Which};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep_until;

/// A process that ended before anybody had asked for it is remembered this long. Its wrapper's
/// hello is then in the socket already, and its driver asks as soon as it has read it.
const UNCLAIMED_KEPT: Duration = Duration::from_secs(2);

/// With so many processes at most, those that ended are looked for at each signal.
const FEW: usize = 128;

/// With more, this long after it …
const SWEEP_WITHIN: Duration = Duration::from_millis(100);

/// … and so many times as long as the last time took: it takes a twentieth of the master at most.
const SWEEP_REST: u32 = 19;

/// In any case after this time: others may wait for the end of a fork server.
const SWEEP_AT_LEAST: Duration = Duration::from_secs(1);

/// Reaps the children of the master.
#[derive(Debug, Default)]
pub struct Reaper {
    inner: Mutex<Inner>,
    /// Told each time that something was reaped.
    reaped: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    groups: HashSet<i32>,
    waiting: HashMap<i32, oneshot::Sender<Reaped>>,
    /// Those of them that are about to end.
    ending: HashSet<i32>,
    unclaimed: HashMap<i32, (Reaped, Instant)>,
}

impl Reaper {
    /// Starts reaping, on each SIGCHLD.
    ///
    /// # Errors
    /// When the signal cannot be taken.
    pub fn start() -> io::Result<Arc<Self>> {
        let reaper = Arc::new(Self::default());
        let mut signals = signal(SignalKind::child())?;
        let task = Arc::clone(&reaper);
        tokio::spawn(async move {
            let mut rest = SWEEP_WITHIN;
            let mut due = None;
            loop {
                tokio::select! {
                    signal = signals.recv() => match signal {
                        Some(()) if task.reap_ending() > FEW => {
                            due.get_or_insert_with(|| Instant::now() + rest);
                            continue;
                        }
                        Some(()) => {}
                        None => return,
                    },
                    () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
                }
                let since = Instant::now();
                task.reap();
                rest = (since.elapsed() * SWEEP_REST).clamp(SWEEP_WITHIN, SWEEP_AT_LEAST);
                due = None;
            }
        });
        Ok(reaper)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics between two changes that belong together.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reaps the process `pid` and the group that it leads, from now on.
    pub fn add_group(&self, pid: i32) {
        let mut inner = self.lock();
        inner.groups.insert(pid);
        // It may have ended before anybody looked for it.
        inner.sweep(pid, Instant::now());
        drop(inner);
        self.reaped.notify_waiters();
    }

    /// How `pid`, a wrapper that has said hello, ends.
    pub fn watch(&self, pid: i32) -> oneshot::Receiver<Reaped> {
        let (send, receive) = oneshot::channel();
        let mut inner = self.lock();
        let unclaimed = inner.unclaimed.remove(&pid);
        if process::is_child(pid) {
            // What is remembered was another process of that number.
            inner.waiting.insert(pid, send);
        } else if let Some((reaped, _)) = unclaimed {
            // Whoever asked may have gone.
            let _ = send.send(reaped);
        }
        receive
    }

    /// A process that is being watched ends by itself, or was killed: it is reaped as soon as it
    /// has ended.
    pub fn ends(&self, pid: i32) {
        let mut inner = self.lock();
        if inner.waiting.contains_key(&pid) && inner.reap(pid) {
            inner.ending.insert(pid);
        }
    }

    /// Reaps those of which it is known that they end; how many processes there may be.
    fn reap_ending(&self) -> usize {
        let mut inner = self.lock();
        let mut ending = std::mem::take(&mut inner.ending);
        ending.retain(|pid| inner.reap(*pid));
        inner.ending = ending;
        inner.groups.len() + inner.waiting.len()
    }

    /// Kills a process that is being watched and was not reaped.
    pub fn kill(&self, pid: i32) {
        let inner = self.lock();
        if inner.waiting.contains_key(&pid) {
            // It is our child and not reaped, so it exists.
            let _ = process::kill(pid);
        }
    }

    /// Asks a process that is being watched and was not reaped to say where it is, and to end.
    pub fn interrupt(&self, pid: i32) {
        let inner = self.lock();
        if inner.waiting.contains_key(&pid) {
            // As above.
            let _ = process::interrupt(pid);
        }
    }

    /// Kills a process that leads a group, unless it was reaped.
    pub fn kill_leader(&self, pid: i32) {
        let inner = self.lock();
        if inner.groups.contains(&pid) {
            // As above.
            let _ = process::kill(pid);
        }
    }

    /// CPU time so far of a process that is being watched and was not reaped.
    pub fn cpu_time(&self, pid: i32) -> Option<Duration> {
        let inner = self.lock();
        let known = inner.waiting.contains_key(&pid);
        known.then(|| process::cpu_time(pid).ok()).flatten()
    }

    /// CPU time so far of a process that is being watched and was not reaped, and what memory it has
    /// resident, in bytes, where the system tells.
    pub fn usage(&self, pid: i32) -> Option<(Duration, Option<u64>)> {
        let inner = self.lock();
        // As long as the lock is held it is not reaped, so its number is its own.
        let known = inner.waiting.contains_key(&pid);
        let cpu = known.then(|| process::cpu_time(pid).ok()).flatten()?;
        Some((cpu, resident(pid)))
    }

    /// Does `what` for each process that was not reaped, with the leader of its group: fork
    /// servers first, then the wrappers that are being watched.
    pub fn for_each(&self, what: impl Fn(i32, i32)) {
        let inner = self.lock();
        inner
            .groups
            .iter()
            .for_each(|leader| what(*leader, *leader));
        for pid in inner.waiting.keys() {
            if let Some(leader) = process::group(*pid) {
                what(leader, *pid);
            }
        }
    }

    /// How many processes are there: fork servers and watched wrappers.
    pub fn processes(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.groups.len(), inner.waiting.len())
    }

    /// Waits until no fork server and no wrapper is left.
    pub async fn none_left(&self) {
        self.until(|inner| inner.groups.is_empty()).await;
    }

    /// Waits until this leader and its group have ended.
    pub async fn gone(&self, leader: i32) {
        self.until(|inner| !inner.groups.contains(&leader)).await;
    }

    async fn until(&self, is: impl Fn(&Inner) -> bool) {
        loop {
            let reaped = self.reaped.notified();
            tokio::pin!(reaped);
            // Counts from here on, so that none is missed.
            reaped.as_mut().enable();
            if is(&self.lock()) {
                return;
            }
            reaped.await;
        }
    }

    /// Reaps all that have ended.
    pub fn reap(&self) {
        let mut inner = self.lock();
        let now = Instant::now();
        inner
            .unclaimed
            .retain(|_, (_, since)| now.duration_since(*since) < UNCLAIMED_KEPT);
        for leader in inner.groups.clone() {
            inner.sweep(leader, now);
        }
        drop(inner);
        self.reaped.notify_waiters();
    }
}

/// Memory that a process has resident, in bytes.
fn resident(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

impl Inner {
    /// Reaps all that have ended of a group, and forgets it where nobody is left.
    fn sweep(&mut self, leader: i32, now: Instant) {
        loop {
            // A fork server that died before it led a group is reaped by its own number.
            let reaped = process::reap(Which::Group(leader))
                .or_else(|_| process::reap(Which::Process(leader)));
            match reaped {
                Ok(Some(reaped)) => self.take(reaped, now),
                Ok(None) => return,
                // Neither the leader nor any of its group is left.
                Err(_) => {
                    self.groups.remove(&leader);
                    return;
                }
            }
        }
    }

    /// Reaps this process if it has ended; whether it has not.
    fn reap(&mut self, pid: i32) -> bool {
        match process::reap(Which::Process(pid)) {
            Ok(Some(reaped)) => {
                let now = Instant::now();
                self.take(reaped, now);
                if self.groups.contains(&pid) {
                    // Its number is free for others now, unless some of its group are left.
                    self.sweep(pid, now);
                }
            }
            Ok(None) => return true,
            // Somebody has looked for all in the meantime.
            Err(_) => {}
        }
        false
    }

    /// Tells whoever waits for it.
    fn take(&mut self, reaped: Reaped, now: Instant) {
        self.ending.remove(&reaped.pid);
        match self.waiting.remove(&reaped.pid) {
            // A driver that has gone does not want to know.
            Some(driver) => drop(driver.send(reaped)),
            None => drop(self.unclaimed.insert(reaped.pid, (reaped, now))),
        }
    }
}
