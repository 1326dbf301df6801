//! One run of guest code: store, instance, limits, entry, ending.
//!
//! The instance is made in the fork server, before there is an invocation, so that a fork has it
//! ready: no guest code has run, and the memory is shared until it is written. A module with a
//! start section is instantiated when its invocation has begun, since that is guest code.

use std::time::{Duration, Instant};

use protos::{Body, Ending, Reason, Severity};
use wasmtime::{Engine, InstancePre, Module, Store, TypedFunc, UpdateDeadline};

use crate::exit::{self, Clues};
use crate::host::clock::cpu_time;
use crate::host::log::Panic;
use crate::host::{Host, Invocation};
use crate::limits::Tick;
use crate::{backtrace, link, sys};

/// A function that is ready to run once in this process and in each fork of it.
pub struct Prepared {
    engine: Engine,
    pre: InstancePre<Host>,
    entry: String,
    has_start: bool,
    instance: Option<Instance>,
    /// What the CPU timer is set to. It goes on between two invocations: a tick that comes early
    /// finds nothing used up.
    tick: Option<Duration>,
}

/// An instance whose guest has not run.
struct Instance {
    store: Store<Host>,
    entry: TypedFunc<(), ()>,
}

impl Prepared {
    /// Links a module, and instantiates it unless it `has_start`.
    ///
    /// # Errors
    /// When it imports what is not offered.
    pub fn new(
        engine: Engine,
        module: &Module,
        entry: &str,
        has_start: bool,
    ) -> wasmtime::Result<Self> {
        let pre = link::linker(&engine)?.instantiate_pre(module)?;
        sys::signal::advance_epoch_on_signals(&engine)?;
        // The signal stack and what belongs to a thread: once here, instead of in each fork.
        Engine::tls_eager_initialize();
        let mut prepared = Self {
            engine,
            pre,
            entry: entry.to_owned(),
            has_start,
            instance: None,
            tick: None,
        };
        prepared.renew();
        Ok(prepared)
    }

    /// Makes an instance for the next run: its memory, tables and globals are as the module says.
    pub fn renew(&mut self) {
        if self.has_start {
            return;
        }
        let mut store = self.store();
        // What fails here (data outside of the memory, say) fails again for each invocation,
        // which reports it.
        if let Ok(entry) = self.instantiate(&mut store) {
            self.instance = Some(Instance { store, entry });
        }
    }

    fn store(&self) -> Store<Host> {
        let mut store = Store::new(&self.engine, Host::default());
        store.limiter(|host| &mut host.memory_limit);
        // Each tick of the CPU timer advances the epoch by one, and so does the master's signal.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            let invocation = store.data_mut().invocation()?;
            exit::go_on()?;
            if let Some(limit) = &mut invocation.cpu_limit
                && limit.on_tick(Instant::now(), cpu_time())? == Tick::Near
            {
                invocation.streams.warn(Reason::Cpu, "cpu");
            }
            Ok(UpdateDeadline::Continue(1))
        });
        store
    }

    fn instantiate(&self, store: &mut Store<Host>) -> wasmtime::Result<TypedFunc<(), ()>> {
        let instance = self.pre.instantiate(&mut *store)?;
        store.data_mut().memory = instance.get_memory(&mut *store, "memory");
        instance.get_typed_func(store, &self.entry)
    }

    /// Runs one invocation to its end and says how it ended; `None` when the master has gone.
    pub fn run(&mut self, invocation: Box<Invocation>) -> Option<(Ending, Box<Invocation>)> {
        let (mut store, entry) = match self.instance.take() {
            Some(Instance { store, entry }) => (store, Some(entry)),
            None => (self.store(), None),
        };
        let memory = invocation.limits.memory;
        store.data_mut().begin(invocation);
        let result = self.call(&mut store, entry, memory);
        let host = store.data_mut();
        let memory_refused = host.memory_limit.refused.take();
        let mut invocation = host.end()?;
        if invocation.startup.reuse {
            drop(store);
        } else {
            // The process is about to end, which gives everything back at once.
            std::mem::forget(store);
        }
        let mut log = std::mem::take(&mut invocation.log);
        log.end(|stream, line| invocation.last_words(stream, line))
            .ok()?;
        let panic = log.panic();
        let clues = Clues {
            memory_refused,
            panic: panic.as_ref().map(Panic::brief),
        };
        let error = result.err();
        let mut ending = exit::ending(error.as_ref(), clues)?;
        // Nothing is said twice: the backtrace begins with it, or with the limit that it comes from.
        let is_told = panic.as_ref().is_some_and(|panic| match ending.reason {
            Reason::Trap => true,
            reason => reason == Reason::Memory && panic.is_of_memory(),
        });
        let panic = panic.filter(|_| ending.reason == Reason::Trap);
        let lines = error.map(|error| backtrace::lines(&error, &ending, panic.as_ref()));
        let lines = lines.unwrap_or_default();
        if !is_told {
            log.release(|stream, line| invocation.last_words(stream, line))
                .ok()?;
        }
        invocation.say_dropped().ok()?;
        for line in lines {
            let body = Body::Log {
                stream: 2,
                severity: Some(Severity::Error),
                line,
            };
            invocation.send(None, body).ok()?;
        }
        ending.early = ending.reason != Reason::Ok && !invocation.streams.touched;
        Some((ending, invocation))
    }

    fn call(
        &mut self,
        store: &mut Store<Host>,
        entry: Option<TypedFunc<(), ()>>,
        memory: u64,
    ) -> wasmtime::Result<()> {
        let host = store.data_mut();
        host.memory_limit.set(memory)?;
        let tick = host
            .invocation()?
            .cpu_limit
            .as_ref()
            .map(|limit| limit.tick());
        if tick != self.tick {
            sys::signal::start_cpu_timer(tick.unwrap_or_default())?;
            self.tick = tick;
        }
        match entry {
            Some(entry) => entry.call(&mut *store, ()),
            None => self
                .instantiate(store)
                .and_then(|entry| entry.call(&mut *store, ())),
        }
    }
}
