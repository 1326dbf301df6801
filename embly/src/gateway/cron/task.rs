//! One cron gateway at work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use protos::{Ending, Reason};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::plan::{Plan, Step};
use super::{Clock, Records};
use crate::config::{Cron, Missed, Overlap};
use crate::limits::WALL_CRON;
use crate::report::describe;
use crate::switchboard::{Exchange, Origin, Source, StreamEvent, Switchboard, Times};

/// The clock on the wall is looked at so often: it may have been set, or the machine slept.
const LOOK: Duration = Duration::from_secs(20);

/// Runs that wait for the one before them, at most: whoever is further behind never catches up.
const WAITING: usize = 100;

/// The clock of the machine.
pub struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, time: Timestamp) {
        let left = time.duration_since(self.now());
        sleep(Duration::try_from(left).unwrap_or_default().min(LOOK)).await;
    }
}

/// What a task needs.
pub struct Task {
    config: Cron,
    switchboard: Arc<Switchboard>,
    records: Option<Arc<Records>>,
    stopped: watch::Receiver<bool>,
    runs: JoinSet<()>,
    waiting: usize,
}

impl Task {
    pub fn new(
        config: Cron,
        switchboard: Arc<Switchboard>,
        records: Option<Arc<Records>>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self {
            // Only who makes up for what was missed needs to know it afterwards.
            records: records.filter(|_| config.missed == Missed::RunOnce),
            config,
            switchboard,
            stopped,
            runs: JoinSet::new(),
            waiting: 0,
        }
    }

    /// Starts runs until it is stopped, and waits for those that go on.
    pub async fn run(mut self, clock: impl Clock) {
        let done = self.records.as_ref();
        let done = done.and_then(|records| records.done(&self.config.name));
        let now = clock.now();
        let mut plan = Plan::new(
            self.config.schedule.clone(),
            self.config.missed,
            self.config.jitter,
            done.filter(|done| *done <= now).unwrap_or(now),
        );
        if done.is_none() {
            self.record(plan.done());
        }
        self.introduce(now);
        while let Some(()) = self.next(&mut plan, &clock).await {}
        while self.runs.join_next().await.is_some() {}
    }

    /// Does what is to be done now, or waits; `None` when it is over.
    async fn next(&mut self, plan: &mut Plan, clock: &impl Clock) -> Option<()> {
        if *self.stopped.borrow() {
            return None;
        }
        match plan.step(clock.now()) {
            Step::Wait(time) => {
                let ended = tokio::select! {
                    () = clock.sleep_until(time) => false,
                    Some(_) = self.runs.join_next() => true,
                    // Whoever could say so has gone, which is a yes.
                    _ = self.stopped.wait_for(|stopped| *stopped) => return None,
                };
                if ended {
                    self.go_on();
                }
            }
            Step::Run(time) => {
                self.record(plan.done());
                self.due(time);
            }
            Step::RunMissed(since) => {
                self.record(plan.done());
                let since = self.config.schedule.shown(since);
                self.say(&format!(
                    "runs once for what was missed since {since} (`missed: run-once`)"
                ));
                self.due(plan.done());
            }
            Step::Skip(since) => {
                let since = self.config.schedule.shown(since);
                self.say(&format!("missed since {since}, left out (`missed: skip`)"));
            }
            Step::Never => {
                self.say("has no time that comes any more");
                return None;
            }
        }
        Some(())
    }

    fn introduce(&self, now: Timestamp) {
        let Cron {
            schedule, function, ..
        } = &self.config;
        let next = schedule.after(now).map(|next| schedule.shown(next));
        self.say(&format!(
            "starts `{function}` at `{}`, next at {}",
            schedule.text(),
            next.as_deref().unwrap_or("no time")
        ));
    }

    /// The time of a run has come.
    fn due(&mut self, time: Timestamp) {
        let goes_on = !self.runs.is_empty();
        match self.config.overlap {
            Overlap::Skip if goes_on => {
                let time = self.config.schedule.shown(time);
                self.say(&format!(
                    "the run of {time} is left out, the one before it goes on (`overlap: skip`)"
                ));
            }
            Overlap::Queue if goes_on && self.waiting < WAITING => self.waiting += 1,
            Overlap::Queue if goes_on => {
                self.say(&format!("a run is left out: {WAITING} wait already"));
            }
            Overlap::Skip | Overlap::Queue | Overlap::Allow => self.begin(),
        }
    }

    /// A run has ended.
    fn go_on(&mut self) {
        if self.waiting > 0 && self.runs.is_empty() {
            self.waiting -= 1;
            self.begin();
        }
    }

    fn begin(&mut self) {
        let switchboard = Arc::clone(&self.switchboard);
        let (name, function) = (self.config.name.clone(), self.config.function.clone());
        let mut stopped = self.stopped.clone();
        self.runs.spawn(async move {
            let began = Instant::now();
            let ending = once(&switchboard, &name, &function, &mut stopped).await;
            let Some(ending) = ending else { return };
            let text = format!(
                "gateway `{name}`: `{function}` has ended ({}) after {:.1?}",
                describe(&ending),
                began.elapsed()
            );
            match ending.reason {
                Reason::Ok | Reason::Shutdown => switchboard.reporter().info(text),
                _ => switchboard.reporter().warn(text),
            }
        });
    }

    fn record(&self, done: Timestamp) {
        let Some(records) = &self.records else { return };
        if let Err(error) = records.keep(&self.config.name, done) {
            self.switchboard.reporter().warn(error.to_string());
        }
    }

    fn say(&self, what: &str) {
        let text = format!("gateway `{}`: {what}", self.config.name);
        self.switchboard.reporter().info(text);
    }
}

/// One run; `None` when it was stopped before there was room for it.
async fn once(
    switchboard: &Arc<Switchboard>,
    gateway: &str,
    name: &str,
    stopped: &mut watch::Receiver<bool>,
) -> Option<Ending> {
    let Some(function) = switchboard.functions().get(name) else {
        let detail = switchboard.functions().why_not(name);
        return Some(Ending::refused(protos::Errno::NOENT, detail));
    };
    let since = Instant::now();
    let permit = tokio::select! {
        // The semaphore is never closed.
        permit = function.permit() => permit?,
        _ = stopped.wait_for(|stopped| *stopped) => return None,
    };
    let limits = &function.limits;
    let times = Times {
        wall: limits.wall.or(Some(WALL_CRON)),
        idle: limits.idle.or(None),
        response: None,
        head: false,
        total: limits.total,
        background: None,
    };
    let origin = Origin {
        gateway: Some(gateway.into()),
        queued: since.elapsed(),
        ..Origin::default()
    };
    match switchboard.start(Arc::clone(&function), permit, origin, times) {
        Ok(Exchange { mut sink, source }) => {
            sink.finish();
            Some(attend(source).await)
        }
        Err(ending) => Some(ending),
    }
}

/// Takes what it writes, until it has ended.
async fn attend(mut source: Source) -> Ending {
    loop {
        match source.next().await {
            Some(StreamEvent::Data(_) | StreamEvent::HalfClose) => {}
            Some(StreamEvent::Ended(finished)) => return finished.ending.clone(),
            None => return Ending::new(Reason::Lost, "the exchange broke off"),
        }
    }
}
