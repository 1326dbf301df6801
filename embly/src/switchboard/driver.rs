//! One task per invocation: gets a wrapper, speaks with it until both are done, and says how
//! it ended. The ending is published when the socket is drained and the process is reaped.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use embly_wrapper::process::Status;
use protos::frame;
use protos::meter::{DROPPED_STREAM, Verdict, read_dropped};
use protos::{
    Address, Body, Ending, Message, PROTOCOL_VERSION, Reason, Severity, SpawnOptions, Startup,
    Warning,
};
use tokio::io::Interest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::backstop::Backstop;
use super::clock::{Clock, Due, EXIT_WITHIN, Times};
use super::ending::ending;
use super::live::Live;
use super::options::{add_env, add_secrets, apply};
use super::pace::{BYTES_A_TURN, FRAMES_A_TURN, LogGate, Pace};
use super::{Finished, Record, Switchboard, spawn_limits};
use crate::limits::CPU_WINDOW;
use crate::pool::{Function, backoff};
use crate::secrets::advice;
use crate::wrapper::{Found, StartError, Wrapper};

/// Reads in a row before all others have their turn. The first is for what had woken us; where a
/// second finds something too, somebody writes as fast as we read.
const READS_A_TURN: u32 = 1;

/// How much to read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// Payloads of fewer bytes are copied out of the buffer of [`READ_BYTES`] that they came in.
const COPIED: usize = READ_BYTES / 4;

/// The longest text of an ending, in bytes: it is reported, and sent to the parent.
const DETAIL: usize = 16 * 1024;

/// So many bytes of answers (endings, refusals) may wait for a wrapper that does not read. Data is
/// bounded by credit; an honest wrapper reads while it writes.
const ANSWERS: usize = 1024 * 1024;

/// A process that took too long has so much to say where it is. It takes milliseconds, unless it has
/// many line tables to read, or the machine has no processor for it.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(500);

/// What others want of an invocation.
#[derive(Debug)]
pub enum Order {
    /// A message for it.
    Deliver(Message),
    /// The gateway has the head of the response.
    HeadReceived,
    /// The gateway has all of it: the function goes on without a permit.
    ResponseComplete,
    /// It said that it exits, and how.
    Exiting(Ending),
    /// It is to be ended, and this is to be its ending.
    Stop(Ending),
}

/// Drives one invocation.
#[derive(Debug)]
pub struct Driver {
    pub switchboard: Arc<Switchboard>,
    pub function: Arc<Function>,
    pub address: Address,
    pub parent: Address,
    pub level: u32,
    pub options: Option<Box<SpawnOptions>>,
    pub times: Times,
    pub orders: mpsc::UnboundedReceiver<Order>,
    pub record: Record,
    /// Turns to start a process, which its tree shares.
    pub starts: Arc<Semaphore>,
    /// What it does, for others to see.
    pub live: Arc<Live>,
    /// Its place among the `concurrency` of its function.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// Where a run stands.
struct Run {
    wrapper: Wrapper,
    /// Its process may serve others after it.
    reuse: bool,
    outgoing: BytesMut,
    /// Bytes of answers among `outgoing`, since it was last empty.
    answers: usize,
    incoming: BytesMut,
    /// The other side reads no more.
    deaf: bool,
    stopped: Option<Ending>,
    said: Option<Ending>,
    clock: Clock,
    backstop: Option<Backstop>,
    pace: Pace,
    log: LogGate,
    /// Its turn is over, and frames may wait in `incoming` or in the socket.
    backlog: bool,
    /// Reads in a row that have found something.
    reads: u32,
    /// Credit for its streams, by their other ends, that waits for it to read.
    credit: BTreeMap<Address, u32>,
}

impl Driver {
    /// Runs to the end.
    pub async fn run(mut self) {
        let options = self.options.as_ref();
        let limited = options.is_some_and(|options| options.limits.is_some());
        let altered = limited
            || options.is_some_and(|options| !options.args.is_empty() || !options.env.is_empty());
        let mut ending = match self.secrets() {
            Ok(()) => match self.wrapper().await {
                Ok(wrapper) => self.with(wrapper).await,
                Err(ending) => ending,
            },
            Err(ending) => ending,
        };
        // Parents, clients of `embly dev` and the log all get this text.
        self.switchboard
            .reporter
            .masks()
            .mask_in(&mut ending.detail);
        let after = self.record.started.map(|started| started.elapsed());
        // What its spawner has asked for may be what it ended of.
        if !altered {
            let health = &self.function.health;
            let turn = health.ended(&ending, self.record.bytes_out > 0, after);
            self.report(turn, Some(&ending));
        }
        // Who spawns it could have it ended as soon as it likes.
        if let Some(after) = after.filter(|_| !limited) {
            self.judge(&ending, after);
        }
        // That was for us alone.
        ending.early = false;
        let finished = Finished::new(ending, self.record, &self.switchboard);
        self.switchboard.ended(finished);
    }

    /// Takes what the function lists, as it is now, and keeps it to its end.
    fn secrets(&mut self) -> Result<(), Ending> {
        let handed = self.switchboard.secrets.hand(&self.function.secrets);
        self.record.secrets = handed.map_err(|name| {
            let detail = format!("there is no secret `{name}` any more: {}", advice(name, ""));
            Ending::new(Reason::Starting, detail)
        })?;
        Ok(())
    }

    /// A wrapper, unless the invocation is stopped or runs out of time before there is one.
    async fn wrapper(&mut self) -> Result<(Wrapper, Vec<Order>, Clock), Ending> {
        let function = Arc::clone(&self.function);
        let switchboard = Arc::clone(&self.switchboard);
        let starts = Arc::clone(&self.starts);
        let wrapper = async {
            // Never closed. A turn is over when the process is there.
            let _turn = starts.acquire().await;
            function.wrapper(&switchboard.processes).await
        };
        tokio::pin!(wrapper);
        let mut early = Vec::new();
        let mut clock = Clock::new(self.times, Instant::from_std(self.record.created));
        loop {
            let deadline = clock.next();
            tokio::select! {
                wrapper = &mut wrapper => {
                    return wrapper.map(|wrapper| (wrapper, early, clock)).map_err(not_started);
                }
                order = self.orders.recv() => match order {
                    Some(Order::Stop(ending)) => return Err(ending),
                    Some(order) => early.push(order),
                    None => return Err(Ending::new(Reason::Lost, "the switchboard has gone")),
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    // Nobody is there yet to be warned.
                    if let Some(Due::End(ending)) = clock.due(Instant::now()) {
                        return Err(ending);
                    }
                }
            }
        }
    }

    async fn with(&mut self, (wrapper, early, mut clock): (Wrapper, Vec<Order>, Clock)) -> Ending {
        let switchboard = &self.switchboard;
        self.function
            .refill(switchboard.processes(), switchboard.room_to_park());
        self.live.begins(&wrapper);
        let now = Instant::now();
        let startup = self.startup();
        // They may be long, and the invocation too.
        self.options = None;
        let limits = startup.limits.unwrap_or_default();
        clock.started();
        let mut run = Run {
            reuse: startup.reuse,
            outgoing: BytesMut::new(),
            answers: 0,
            incoming: BytesMut::new(),
            deaf: false,
            stopped: None,
            said: None,
            clock,
            backstop: Backstop::new(Duration::from_micros(limits.cpu), now, wrapper.cpu),
            wrapper,
            pace: Pace::new(now),
            log: LogGate::new(&limits),
            backlog: false,
            reads: 0,
            credit: BTreeMap::new(),
        };
        self.record.started = Some(now.into_std());
        self.switchboard.lock().router.started(self.address);
        self.push(
            &mut run,
            self.to_wrapper(Body::Startup {
                address: self.address,
                parent: self.parent,
                startup: Box::new(startup),
            }),
        );
        for order in early {
            self.obey(&mut run, order);
        }
        self.talk(&mut run).await;
        if (run.stopped.as_ref()).is_some_and(|ending| ending.reason == Reason::Wall) {
            self.ask_where_it_is(&mut run).await;
        }
        // What it said last may have come in the same read as the end.
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Exiting(ending) => drop(run.said.get_or_insert(ending)),
                Order::Stop(ending) => drop(run.stopped.get_or_insert(ending)),
                Order::Deliver(_) | Order::HeadReceived | Order::ResponseComplete => {}
            }
        }
        self.say_dropped(&mut run);
        if let Some(ending) = run.leaves_its_process() {
            self.give_back(run.wrapper);
            return ending;
        }
        let status = self.reap(&mut run).await;
        ending(run.stopped, run.said, status)
    }

    /// The process waits for another invocation.
    fn give_back(&mut self, mut wrapper: Wrapper) {
        let processes = self.switchboard.processes();
        // It has ended, which whoever takes it next sees.
        let cpu = processes.reaper.cpu_time(wrapper.pid);
        let cpu = cpu.unwrap_or(wrapper.cpu);
        self.record.cpu = cpu.saturating_sub(wrapper.cpu);
        wrapper.cpu = cpu;
        if self.switchboard.room_to_park() > 0 {
            self.function.give_back(wrapper, processes);
        }
    }

    /// Waits for the end of the process, and hastens it: at once where it was stopped, otherwise
    /// when it had its time. `None` where it had to be killed, or left no trace.
    async fn reap(&mut self, run: &mut Run) -> Option<Status> {
        let reaper = &self.switchboard.processes.reaper;
        if run.stopped.is_some() {
            reaper.kill(run.wrapper.pid);
        }
        reaper.ends(run.wrapper.pid);
        let in_time = timeout(EXIT_WITHIN, &mut run.wrapper.reaped).await;
        let killed = in_time.is_err();
        let reaped = match in_time {
            Ok(reaped) => reaped,
            Err(_) => {
                reaper.kill(run.wrapper.pid);
                (&mut run.wrapper.reaped).await
            }
        };
        let reaped = reaped.ok()?;
        self.record.cpu = reaped.cpu.saturating_sub(run.wrapper.cpu);
        self.record.memory = reaped.memory;
        // Killed by us, unless it had ended before.
        let by_us = killed && reaped.status == Status::Signaled(SIGKILL);
        (!by_us).then_some(reaped.status)
    }

    fn startup(&self) -> Startup {
        let limits = &self.function.limits;
        let spawning = spawn_limits(&self.function, self.level, self.options.as_deref());
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut startup = Startup {
            version: PROTOCOL_VERSION,
            args: vec![self.function.name.to_string()],
            env: self
                .function
                .env
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
            limits: Some(protos::Limits {
                memory: limits.memory.unwrap_or(0),
                cpu: limits.cpu.map_or(0, micros),
                cpu_window: micros(CPU_WINDOW),
                children: spawning.children.unwrap_or(0),
                depth_left: spawning
                    .depth
                    .map_or(0, |depth| depth.saturating_sub(self.level) + 1),
                window: spawning.window,
                log_lines: limits.log.lines.unwrap_or(0),
                log_line: limits.log.line,
                log_severity: u32::from(limits.log.severity.number()),
                ..protos::Limits::default()
            }),
            address_prefix: 0,
            address_prefix_bits: 0,
            reuse: self.function.serves_again(self.switchboard.processes()),
        };
        if let Some(env) = &self.record.origin.env {
            add_env(env, &mut startup);
        }
        if let Some(args) = &self.record.origin.args {
            startup.args.extend_from_slice(args);
        }
        if let Some(options) = &self.options {
            apply(options, &mut startup);
        }
        if let Some(handed) = &self.record.secrets {
            let values = self.function.secrets.iter();
            let values = values.filter_map(|name| Some((&**name, handed.get(name)?.expose())));
            add_secrets(values, &mut startup);
        }
        startup
    }

    fn to_wrapper(&self, body: Body) -> Message {
        Message {
            to: Some(self.address),
            from: None,
            body,
        }
    }

    /// Until the socket is drained or the invocation is stopped.
    async fn talk(&mut self, run: &mut Run) {
        while run.stopped.is_none() && run.leaves_its_process().is_none() {
            self.write(run);
            let held = run.pace.held_until(Instant::now);
            let (listens, writes) = (
                held.is_none() && !run.backlog,
                !run.outgoing.is_empty() && !run.deaf,
            );
            let interest = match (listens, writes) {
                (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
                (true, false) => Some(Interest::READABLE),
                (false, true) => Some(Interest::WRITABLE),
                (false, false) => None,
            };
            let deadline = [held, run.deadline()].into_iter().flatten().min();
            tokio::select! {
                biased;
                order = self.orders.recv() => {
                    if let Some(order) = order {
                        self.obey(run, order);
                    }
                    // All that waits goes out in one write.
                    while let Ok(order) = self.orders.try_recv() {
                        self.obey(run, order);
                    }
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.on_deadline(run);
                }
                // Everybody else has had a turn.
                () = yield_now(), if run.backlog && held.is_none() => self.frames(run),
                ready = run.wrapper.socket.ready(interest.unwrap_or(Interest::WRITABLE)),
                    if interest.is_some() =>
                {
                    // It cannot be watched any more: nothing else would ever come of it.
                    let Ok(ready) = ready else {
                        return;
                    };
                    let readable = ready.is_readable() || ready.is_read_closed();
                    if listens && readable && !self.read(run) {
                        return;
                    }
                }
            }
        }
    }

    /// Takes the last lines of a log after a limit of time, with where the function was. What else it
    /// says is dropped by the router.
    async fn ask_where_it_is(&mut self, run: &mut Run) {
        self.switchboard.processes.reaper.interrupt(run.wrapper.pid);
        let until = Instant::now() + LAST_WORDS_WITHIN;
        while Instant::now() < until {
            if run.backlog {
                yield_now().await;
                self.frames(run);
                continue;
            }
            let ready = run.wrapper.socket.ready(Interest::READABLE);
            let Ok(Ok(_)) = timeout_at(until, ready).await else {
                return;
            };
            if !self.read(run) {
                return;
            }
        }
    }

    fn obey(&mut self, run: &mut Run, order: Order) {
        match order {
            Order::Deliver(message) => {
                if let Body::Data(data) = &message.body {
                    self.record.bytes_in += data.len() as u64;
                    self.moved();
                    run.clock.byte();
                }
                self.push(run, message);
            }
            Order::HeadReceived => run.clock.head_received(),
            Order::ResponseComplete => {
                run.clock.response_complete();
                self.permit = None;
            }
            Order::Exiting(ending) => {
                run.said.get_or_insert(ending);
                run.clock.exits();
            }
            Order::Stop(ending) => drop(run.stopped.get_or_insert(ending)),
        }
    }

    fn push(&self, run: &mut Run, message: Message) {
        if run.deaf {
            return;
        }
        if let (Body::Credit(bytes), Some(from), false) =
            (&message.body, message.from, run.outgoing.is_empty())
        {
            // One frame for each stream, however often its reader reports.
            let credit = run.credit.entry(from).or_default();
            *credit = credit.saturating_add(*bytes);
            return;
        }
        let name = message.body.name();
        // Data is bounded by what was granted, answers are not.
        let is_answer = matches!(
            message.body,
            Body::Error(_) | Body::Ending(_) | Body::Grant { .. }
        );
        let before = run.outgoing.len();
        if let Err(error) = frame::encode(message, &mut run.outgoing) {
            // Environment and arguments of the project file can be this long, nothing else.
            let detail = format!("cannot send `{name}`: {error}");
            run.stopped
                .get_or_insert(Ending::new(Reason::Starting, detail));
        }
        run.answers += if is_answer {
            run.outgoing.len() - before
        } else {
            0
        };
        if run.answers > ANSWERS {
            let detail = "does not read what it is answered".to_owned();
            let address = self.address;
            self.switchboard.with_router(|router, effects| {
                router.violation(address, detail, effects);
            });
        }
    }

    /// Passes on the credit that has come while the wrapper was not reading.
    fn grant(&self, run: &mut Run) {
        for (from, bytes) in std::mem::take(&mut run.credit) {
            let message = Message {
                to: Some(self.address),
                from: Some(from),
                body: Body::Credit(bytes),
            };
            // A few bytes always fit.
            let _ = frame::encode(message, &mut run.outgoing);
        }
    }

    fn write(&self, run: &mut Run) {
        while !run.outgoing.is_empty() && !run.deaf {
            match run.wrapper.socket.write(&run.outgoing) {
                Ok(bytes) => {
                    run.outgoing.advance(bytes);
                    if run.outgoing.is_empty() {
                        run.answers = 0;
                        self.grant(run);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It exits without reading all; what it wrote before is still to be read.
                Err(_) => {
                    run.deaf = true;
                    run.outgoing.clear();
                }
            }
        }
    }

    /// Reads what is there; false at the end.
    fn read(&mut self, run: &mut Run) -> bool {
        match run.wrapper.socket.read(&mut run.incoming, READ_BYTES) {
            Ok(Found::End) => return false,
            Ok(Found::Part) => run.reads += 1,
            Ok(Found::All) => run.reads = 0,
            Ok(Found::Nothing) => {
                run.reads = 0;
                return true;
            }
            // A reset after data is an end: it left unread what we had sent.
            Err(_) => return false,
        }
        self.frames(run);
        if run.reads > READS_A_TURN {
            run.reads = 0;
            run.backlog = true;
        }
        true
    }

    /// Takes the frames that are there, as many as there is a turn for.
    fn frames(&mut self, run: &mut Run) {
        let (mut frames, mut bytes) = (0, 0);
        run.backlog = true;
        while frames < FRAMES_A_TURN && bytes < BYTES_A_TURN {
            let before = run.incoming.len();
            match frame::decode(&mut run.incoming) {
                Ok(Some(mut message)) => {
                    frames += 1;
                    let size = before - run.incoming.len();
                    bytes += size;
                    run.pace.take(&message.body, size);
                    if let Body::Data(data) = &mut message.body {
                        if self.record.bytes_out == 0 {
                            self.report(self.function.health.lives(), None);
                        }
                        self.record.bytes_out += data.len() as u64;
                        self.moved();
                        run.clock.byte_out();
                        // Whoever it waits for must not keep the whole buffer for a few bytes.
                        if data.len() < COPIED {
                            *data = Bytes::copy_from_slice(data);
                        }
                    }
                    if let Body::Exit(ending) = &mut message.body {
                        let most = ending.detail.floor_char_boundary(DETAIL);
                        ending.detail.truncate(most);
                    }
                    if self.log_has_room(run, &mut message.body) {
                        self.switchboard.wrapper_says(self.address, message);
                    }
                }
                Ok(None) => {
                    run.backlog = false;
                    if run.incoming.is_empty() {
                        // One that waits for long holds nothing meanwhile.
                        run.incoming = BytesMut::new();
                    }
                    return;
                }
                Err(error) => {
                    let address = self.address;
                    self.switchboard.with_router(|router, effects| {
                        router.violation(address, error.to_string(), effects);
                    });
                    // Nothing after it can be told apart; the order to stop is under way.
                    run.incoming.clear();
                    run.backlog = false;
                    return;
                }
            }
        }
    }

    /// Whether this is no line of the log, or one that the limit `log` has room for.
    fn log_has_room(&self, run: &mut Run, body: &mut Body) -> bool {
        let Body::Log {
            stream,
            severity,
            line,
        } = body
        else {
            return true;
        };
        if *stream == DROPPED_STREAM {
            let dropped = &self.function.figures.log_dropped;
            dropped.add(read_dropped(line).unwrap_or_default());
        }
        // A wrapper does not send it, unless it is somebody else's.
        let severity = severity.unwrap_or(Severity::of_stream(*stream));
        if !severity.is_wanted(u32::from(self.function.limits.log.severity.number())) {
            return false;
        }
        match run.log.pass(line) {
            Verdict::Pass => {
                self.say_dropped(run);
                true
            }
            Verdict::Drop => false,
            Verdict::Flood => {
                let ending = Ending::new(Reason::Flood, "limit `log` reached, seen from outside");
                self.switchboard.stop(self.address, ending);
                false
            }
        }
    }

    fn moved(&self) {
        let Record {
            bytes_in,
            bytes_out,
            ..
        } = self.record;
        self.live.moved(bytes_in, bytes_out);
    }

    fn say_dropped(&self, run: &mut Run) {
        if let Some(lines) = run.log.take_dropped() {
            self.function.figures.log_dropped.add(lines);
            let (function, address) = (&self.function.name, self.address);
            self.switchboard.reporter.info(format!(
                "{function} {address}: {lines} lines of its log were dropped, limit `log`"
            ));
        }
    }

    fn on_deadline(&mut self, run: &mut Run) {
        let now = Instant::now();
        match run.clock.due(now) {
            Some(Due::Kill) => self.switchboard.processes.reaper.kill(run.wrapper.pid),
            Some(Due::Warn(limit)) => {
                let warning = Warning {
                    limit: limit.to_owned(),
                };
                self.push(run, self.to_wrapper(Body::Warning(warning)));
            }
            // By way of the router, so that its state is right.
            Some(Due::End(ending)) => self.switchboard.stop(self.address, ending),
            None => self.look_at_cpu_time(run, now),
        }
    }

    fn look_at_cpu_time(&self, run: &mut Run, now: Instant) {
        let Some(backstop) = run.backstop.as_mut().filter(|it| it.next <= now) else {
            return;
        };
        let reaper = &self.switchboard.processes.reaper;
        match reaper.cpu_time(run.wrapper.pid) {
            Some(used) => {
                if let Some(ending) = backstop.read(now, used) {
                    self.switchboard.stop(self.address, ending);
                }
            }
            // It has ended, which its socket is about to say.
            None => run.backstop = None,
        }
    }
}

impl Run {
    /// How it has ended, where that leaves its process as good as new: nothing is left to be said
    /// by either side. What it was sent and has not read is for nobody; it passes over that.
    fn leaves_its_process(&self) -> Option<Ending> {
        let said = self.said.as_ref()?;
        let clean = self.reuse
            && self.stopped.is_none()
            && said.reason == Reason::Ok
            && self.incoming.is_empty()
            && self.outgoing.is_empty()
            && !self.deaf;
        clean.then(|| said.clone())
    }

    fn deadline(&self) -> Option<Instant> {
        let backstop = self.backstop.as_ref().map(|backstop| backstop.next);
        self.clock.next().into_iter().chain(backstop).min()
    }
}

const SIGKILL: i32 = 9;

fn not_started(error: StartError) -> Ending {
    if let StartError::Backoff { left, .. } = error {
        return backoff(left, error.to_string());
    }
    use std::error::Error as _;
    let cause = error
        .source()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    Ending::new(Reason::Starting, format!("{error}{cause}"))
}
