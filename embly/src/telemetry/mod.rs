//! What has happened so far, as numbers: by function, by gateway, by service.
//!
//! To count takes a look-up by name and a few atomic operations. A name is entered when it is first
//! met, and forgotten when the project does not have it any more.

mod histogram;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use protos::Reason;

pub use histogram::{BOUNDS, Histogram, Reading};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One counter for each reason.
#[derive(Debug)]
pub struct Reasons(Box<[Counter]>);

impl Default for Reasons {
    fn default() -> Self {
        Self(Reason::ALL.iter().map(|_| Counter::default()).collect())
    }
}

impl Reasons {
    /// One more.
    pub fn add(&self, reason: Reason) {
        if let Some(counter) = self.0.get(reason.number() as usize) {
            counter.add(1);
        }
    }

    /// Those that have happened, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = Reason::ALL.iter().zip(&self.0);
        counts
            .map(|(reason, count)| (*reason, count.get()))
            .filter(|(_, count)| *count > 0)
    }
}

/// An invocation, or a call of a service, that has ended. Times in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// How.
    pub reason: Reason,
    /// In the queue.
    pub queue: u64,
    /// Until it was started.
    pub start: u64,
    /// From there to the end.
    pub run: u64,
    /// Of processors.
    pub cpu: u64,
    /// Payload to it.
    pub bytes_in: u64,
    /// Payload from it.
    pub bytes_out: u64,
}

/// What the invocations of one function have done, all versions of it together.
#[derive(Debug, Default)]
pub struct Function {
    /// Invocations that have ended.
    pub ended: Reasons,
    /// Requests that came to no invocation.
    pub turned_away: Reasons,
    /// What its invocations asked for and did not get: to start others, to reach them.
    pub refused: Counter,
    /// Time in the queue.
    pub queue: Histogram,
    /// Time until the start.
    pub start: Histogram,
    /// Time from the start to the end.
    pub run: Histogram,
    /// CPU time in microseconds.
    pub cpu: Counter,
    /// Payload to its invocations.
    pub bytes_in: Counter,
    /// Payload from its invocations.
    pub bytes_out: Counter,
    /// Wrappers that were forked.
    pub forks: Counter,
    /// Lines of its log that were dropped.
    pub log_dropped: Counter,
}

impl Function {
    fn ended(&self, ended: &Ended) {
        self.ended.add(ended.reason);
        self.queue.observe(ended.queue);
        self.start.observe(ended.start);
        self.run.observe(ended.run);
        self.cpu.add(ended.cpu);
        self.bytes_in.add(ended.bytes_in);
        self.bytes_out.add(ended.bytes_out);
    }

    /// Requests and spawns that were refused for want of room, or because they are not allowed.
    pub fn refusals(&self) -> u64 {
        self.turned_away.iter().map(|(_, count)| count).sum()
    }
}

/// The requests of one gateway.
#[derive(Debug, Default)]
pub struct Gateway {
    /// By the first digit of the status, from 1 to 5.
    classes: [Counter; 5],
    /// From the head of the request to the end of the response.
    pub total: Histogram,
    /// Bytes of bodies of responses.
    pub bytes: Counter,
}

/// What classes of statuses are called.
pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Gateway {
    fn answered(&self, status: u16, total_us: u64, bytes: u64) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.classes[class].add(1);
        self.total.observe(total_us);
        self.bytes.add(bytes);
    }

    /// Each class, and how many answers there were of it.
    pub fn classes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.classes.iter().map(Counter::get);
        CLASSES.into_iter().zip(counts)
    }
}

/// Calls of one service.
#[derive(Debug, Default)]
pub struct Service {
    /// Those that have ended.
    pub ended: Reasons,
    /// From the call to its end.
    pub run: Histogram,
}

/// By name.
#[derive(Debug)]
struct Named<T>(RwLock<BTreeMap<Arc<str>, Arc<T>>>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T: Default> Named<T> {
    fn get(&self, name: &str) -> Arc<T> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = known.get(name) {
            return Arc::clone(one);
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(name.into()).or_default())
    }

    fn all(&self) -> Vec<(Arc<str>, Arc<T>)> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let all = known.iter();
        all.map(|(name, one)| (Arc::clone(name), Arc::clone(one)))
            .collect()
    }

    fn keep(&self, names: &HashSet<&str>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|name, _| names.contains(&**name));
    }
}

/// All counters of a master.
#[derive(Debug, Default)]
pub struct Telemetry {
    functions: Named<Function>,
    gateways: Named<Gateway>,
    services: Named<Service>,
    /// Lines that a log of the project had no room for.
    logs: Named<Counter>,
    /// Lines of the report that nobody took in time.
    pub lines_dropped: Counter,
}

impl Telemetry {
    /// The counters of a function.
    pub fn function(&self, name: &str) -> Arc<Function> {
        self.functions.get(name)
    }

    /// The counters of a gateway.
    pub fn gateway(&self, name: &str) -> Arc<Gateway> {
        self.gateways.get(name)
    }

    /// The counter of lines that a log of the project had no room for.
    pub fn log(&self, name: &str) -> Arc<Counter> {
        self.logs.get(name)
    }

    /// An invocation has ended.
    pub fn ended(&self, function: &str, ended: &Ended) {
        self.functions.get(function).ended(ended);
    }

    /// A call of a service has ended.
    pub fn called(&self, service: &str, reason: Reason, run_us: u64) {
        let service = self.services.get(service);
        service.ended.add(reason);
        service.run.observe(run_us);
    }

    /// A request was answered.
    pub fn answered(&self, gateway: &str, status: u16, total_us: u64, bytes: u64) {
        self.gateways.get(gateway).answered(status, total_us, bytes);
    }

    /// All functions, by name.
    pub fn functions(&self) -> Vec<(Arc<str>, Arc<Function>)> {
        self.functions.all()
    }

    /// All gateways, by name.
    pub fn gateways(&self) -> Vec<(Arc<str>, Arc<Gateway>)> {
        self.gateways.all()
    }

    /// All services that were called, by name.
    pub fn services(&self) -> Vec<(Arc<str>, Arc<Service>)> {
        self.services.all()
    }

    /// All logs of the project, by name.
    pub fn logs(&self) -> Vec<(Arc<str>, Arc<Counter>)> {
        self.logs.all()
    }

    /// Forgets the logs that the project does not have any more.
    pub fn keep_only_logs(&self, names: &HashSet<&str>) {
        self.logs.keep(names);
    }

    /// Forgets what the project does not have any more.
    pub fn keep_only(&self, functions: &HashSet<&str>, gateways: &HashSet<&str>) {
        self.functions.keep(functions);
        self.gateways.keep(gateways);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_project_does_not_have_any_more_is_forgotten() {
        let telemetry = Telemetry::default();
        telemetry.function("a").refused.add(1);
        telemetry.function("b").refused.add(2);
        telemetry.answered("g", 204, 5, 0);
        telemetry.keep_only(&HashSet::from(["b"]), &HashSet::new());
        let functions = telemetry.functions();
        let names: Vec<_> = functions.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["b"]);
        assert_eq!(functions[0].1.refused.get(), 2);
        assert!(telemetry.gateways().is_empty());
    }

    #[test]
    fn every_reason_and_every_class_has_a_counter_of_its_own() {
        let reasons = Reasons::default();
        for reason in Reason::ALL {
            reasons.add(*reason);
        }
        assert!(reasons.iter().all(|(_, count)| count == 1));
        assert_eq!(reasons.iter().count(), Reason::ALL.len());
        let gateway = Gateway::default();
        for status in [101, 200, 204, 304, 404, 499, 500, 599] {
            gateway.answered(status, 1, 1);
        }
        let counts: Vec<u64> = gateway.classes().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 2, 1, 2, 2]);
    }
}
