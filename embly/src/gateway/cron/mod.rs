//! The cron gateway: no socket, an invocation whenever the schedule says so.
//!
//! [`Crons`] holds a task for each. A task asks its `plan` what is to be done, with the time of a
//! [`Clock`], and keeps the runs that go on. What a run writes is dropped; how it ended is said.

mod plan;
mod records;
mod task;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config;
use crate::switchboard::Switchboard;
pub use records::{RecordError, Records};
use task::Task;

/// What time it is. Tests bring one of their own.
pub trait Clock: Send + Sync + 'static {
    /// The time on the wall.
    fn now(&self) -> Timestamp;

    /// Returns at this time, or somewhat earlier: the caller looks again.
    fn sleep_until(&self, time: Timestamp) -> impl Future<Output = ()> + Send;
}

/// Every cron gateway of a project.
#[derive(Debug)]
pub struct Crons {
    switchboard: Arc<Switchboard>,
    tasks: Mutex<BTreeMap<String, Running>>,
}

#[derive(Debug)]
struct Running {
    config: config::Cron,
    /// True: no more runs begin.
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Crons {
    /// None yet.
    pub fn new(switchboard: Arc<Switchboard>) -> Self {
        Self {
            switchboard,
            tasks: Mutex::default(),
        }
    }

    /// From now on these, and no others. One that has not changed goes on. Runs of those that are
    /// gone go on to their end.
    pub fn keep(&self, wanted: &[config::Cron], records: Option<&Arc<Records>>) {
        let mut tasks = self.lock();
        let mut before = std::mem::take(&mut *tasks);
        for config in wanted {
            let same = before
                .remove(&config.name)
                .filter(|running| running.config == *config);
            let running = same.unwrap_or_else(|| self.start(config, records));
            tasks.insert(config.name.clone(), running);
        }
        // Before a new task of the same name has looked at its clock.
        for running in before.into_values() {
            running.stop.send_replace(true);
        }
    }

    fn start(&self, config: &config::Cron, records: Option<&Arc<Records>>) -> Running {
        let (stop, stopped) = watch::channel(false);
        let task = Task::new(
            config.clone(),
            Arc::clone(&self.switchboard),
            records.cloned(),
            stopped,
        );
        Running {
            config: config.clone(),
            stop,
            task: tokio::spawn(task.run(task::Wall)),
        }
    }

    /// No more runs begin. The result is ready when those that go on have ended.
    pub fn stop(&self) -> impl Future<Output = ()> + use<> {
        let tasks = std::mem::take(&mut *self.lock());
        let tasks = tasks.into_values().map(|running| {
            running.stop.send_replace(true);
            running.task
        });
        let tasks: Vec<_> = tasks.collect();
        async move {
            for task in tasks {
                // One that panicked has said so.
                let _ = task.await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        // Nothing in here panics between two changes that belong together.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
