//! What runs now, as whoever asks is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use protos::{Address, Ending, Reason};

use super::{Origin, Receiver, Switchboard};
use crate::router::State;
use crate::wrapper::Wrapper;

/// What others may see of an invocation while it runs. Its driver writes it.
#[derive(Debug)]
pub struct Live {
    parent: Address,
    gateway: Option<Arc<str>>,
    created: Instant,
    /// 0 until it has a process.
    pid: AtomicI32,
    /// CPU time that its process had used before, in microseconds.
    cpu_before: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Live {
    pub(super) fn new(parent: Address, origin: &Origin) -> Arc<Self> {
        Arc::new(Self {
            parent,
            gateway: origin.gateway.clone(),
            created: Instant::now(),
            pid: AtomicI32::new(0),
            cpu_before: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        })
    }

    /// It has a process.
    pub(super) fn begins(&self, wrapper: &Wrapper) {
        let before = u64::try_from(wrapper.cpu.as_micros()).unwrap_or(u64::MAX);
        self.cpu_before.store(before, Ordering::Relaxed);
        self.pid.store(wrapper.pid, Ordering::Relaxed);
    }

    /// Payload to it and from it.
    pub fn bytes(&self) -> (u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (load(&self.bytes_in), load(&self.bytes_out))
    }

    /// Payload so far.
    pub(super) fn moved(&self, bytes_in: u64, bytes_out: u64) {
        self.bytes_in.store(bytes_in, Ordering::Relaxed);
        self.bytes_out.store(bytes_out, Ordering::Relaxed);
    }
}

/// An invocation that runs.
#[derive(Debug)]
pub struct Running {
    /// Its address.
    pub address: Address,
    /// Its function.
    pub function: Arc<str>,
    /// The request that it belongs to.
    pub request_id: Option<Arc<str>>,
    /// Where it is in its life.
    pub state: State,
    live: Arc<Live>,
}

/// What the process of an invocation takes now.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Its number.
    pub pid: i32,
    /// CPU time of this invocation.
    pub cpu: Duration,
    /// Memory that it has resident, in bytes, where the system tells.
    pub memory: Option<u64>,
}

impl Running {
    /// Who has started it.
    pub fn parent(&self) -> Address {
        self.live.parent
    }

    /// The gateway, where it was one.
    pub fn gateway(&self) -> Option<&str> {
        self.live.gateway.as_deref()
    }

    /// How long it has been there.
    pub fn age(&self) -> Duration {
        self.live.created.elapsed()
    }

    /// Payload to it and from it.
    pub fn bytes(&self) -> (u64, u64) {
        self.live.bytes()
    }
}

impl Switchboard {
    /// All invocations, without those of services, the oldest first.
    pub fn list(&self) -> Vec<Running> {
        let core = self.lock();
        let driven = core.receivers.iter();
        let driven = driven.filter_map(|(address, receiver)| match receiver {
            Receiver::Invocation(driven) => Some((*address, driven)),
            Receiver::Gate(_) | Receiver::Service(_) => None,
        });
        let running = driven.filter_map(|(address, driven)| {
            Some(Running {
                address,
                function: Arc::clone(&driven.function.name),
                request_id: driven.request_id.clone(),
                state: core.router.state(address)?,
                live: Arc::clone(&driven.live),
            })
        });
        let mut running: Vec<_> = running.collect();
        drop(core);
        running.sort_by_key(|one| one.live.created);
        running
    }

    /// How many invocations each function has.
    pub fn live(&self) -> HashMap<Arc<str>, usize> {
        let core = self.lock();
        let mut live = HashMap::new();
        for receiver in core.receivers.values() {
            if let Receiver::Invocation(driven) = receiver {
                *live.entry(Arc::clone(&driven.function.name)).or_default() += 1;
            }
        }
        live
    }

    /// What the process of an invocation takes; `None` where it has none, or it has just ended. Asks
    /// the system.
    pub fn usage(&self, of: &Running) -> Option<Usage> {
        let pid = of.live.pid.load(Ordering::Relaxed);
        let (cpu, memory) = self.processes.reaper.usage(pid)?;
        let before = of.live.cpu_before.load(Ordering::Relaxed);
        Some(Usage {
            pid,
            cpu: cpu.saturating_sub(Duration::from_micros(before)),
            memory,
        })
    }

    /// Ends an invocation for whoever runs the master: its function, or `None` where there is no
    /// invocation of this address.
    pub fn kill(self: &Arc<Self>, address: Address) -> Option<Arc<str>> {
        let function = match self.lock().receivers.get(&address) {
            Some(Receiver::Invocation(driven)) => Arc::clone(&driven.function.name),
            Some(Receiver::Gate(_) | Receiver::Service(_)) | None => return None,
        };
        self.stop(address, Ending::new(Reason::Killed, "by `embly kill`"));
        Some(function)
    }
}
