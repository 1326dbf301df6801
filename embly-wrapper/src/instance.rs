//! One run of guest code: store, limits, instance, entry, ending.

use std::time::{Duration, Instant};

use protos::{Body, Ending};
use wasmtime::{Engine, InstancePre, Module, Store, UpdateDeadline};

use crate::exit::{self, Clues};
use crate::host::Invocation;
use crate::{link, sys};

/// A function that is ready to be instantiated: loaded, linked, its entry known to exist.
pub struct Prepared {
    engine: Engine,
    pre: InstancePre<Invocation>,
    entry: String,
}

impl Prepared {
    /// Links a module.
    ///
    /// # Errors
    /// When it imports what is not offered.
    pub fn new(engine: Engine, module: &Module, entry: &str) -> wasmtime::Result<Self> {
        let pre = link::linker(&engine)?.instantiate_pre(module)?;
        sys::signal::advance_epoch_on_cpu_timer(&engine)?;
        Ok(Self {
            engine,
            pre,
            entry: entry.to_owned(),
        })
    }

    /// Runs one invocation to its end and says how it ended; `None` when the master has gone.
    pub fn run(&self, invocation: Invocation) -> Option<(Ending, Invocation)> {
        let mut store = Store::new(&self.engine, invocation);
        let result = self.call(&mut store);
        let mut invocation = store.into_data();
        let mut log = std::mem::take(&mut invocation.log);
        log.flush(|stream, line| invocation.send(None, Body::Log { stream, line }))
            .ok()?;
        let clues = Clues {
            memory_refused: invocation.memory_limit.refused.take(),
            panic: log.panic(),
        };
        Some((exit::ending(result, clues)?, invocation))
    }

    fn call(&self, store: &mut Store<Invocation>) -> wasmtime::Result<()> {
        store.limiter(|invocation| &mut invocation.memory_limit);
        // Each tick of the CPU timer advances the epoch by one.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            if let Some(limit) = &mut store.data_mut().cpu_limit {
                limit.on_tick(Instant::now())?;
            }
            Ok(UpdateDeadline::Continue(1))
        });
        if let Some(tick) = store.data().cpu_limit.as_ref().map(|limit| limit.tick()) {
            sys::signal::start_cpu_timer(tick)?;
        }
        let result = self.pre.instantiate(&mut *store).and_then(|instance| {
            let entry = instance.get_typed_func::<(), ()>(&mut *store, &self.entry)?;
            entry.call(&mut *store, ())
        });
        sys::signal::start_cpu_timer(Duration::ZERO)?;
        result
    }
}
