//! Carries out what the router decides: moves messages between wrappers and gateways, starts
//! and ends invocations.
//!
//! One lock guards the routing table and the ports; it is held for the time of a table look-up
//! and never across a wait. Order is kept because effects are carried out under it.

mod backstop;
mod call;
mod clock;
mod drain;
mod driver;
mod ending;
mod exchange;
mod live;
mod options;
mod pace;
mod record;
mod room;
mod stream;
mod trace;
mod verdict;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protos::{Address, Body, Ending, Errno, Message, Reason, SpawnOptions, is_service};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::limits::WINDOW_MIN;
use crate::pool::{Function, Functions, Processes};
use crate::report::{Event, Left, Level, Often, Reporter};
use crate::router::{Budget, Effect, Router, SpawnLimits, initial_window};
use crate::secrets::Secrets;
use crate::wrapper::{Count, Counted};
use call::{Called, Serves};
pub use call::{Caller, Host, Serving, Session, Stream};
pub use clock::Times;
use drain::Drain;
pub use drain::{Drained, first};
use driver::{Driver, Order};
pub use exchange::{Exchange, Source};
use live::Live;
pub use live::{Running, Usage};
use record::Record;
pub use record::{Finished, Origin, Told};
use room::{InUse, Room};
pub use stream::{Ended, Inbox, Sink, StreamEvent};
use stream::{Ends, Port};
pub use trace::{Life, Log, Moved, Over, Refusal, Requested, Trace, Traced, Traces, What};

/// Where the messages to one address go.
#[derive(Debug)]
enum Receiver {
    Invocation(Box<Driven>),
    Gate(Port),
    Service(Box<Called>),
}

/// An invocation, as others see it.
#[derive(Debug)]
struct Driven {
    orders: mpsc::UnboundedSender<Order>,
    function: Arc<Function>,
    request_id: Option<Arc<str>>,
    /// What is told of its frames that were refused.
    refusals: Often,
    /// Turns to start a process, which its whole tree shares.
    starts: Arc<Semaphore>,
    /// What it does.
    live: Arc<Live>,
    /// What it did, and all of its tree.
    trace: Arc<Trace>,
    /// Where its tree looks for functions, if not among those that are served.
    trial: Option<Arc<Functions>>,
}

#[derive(Debug)]
struct Core {
    router: Router,
    receivers: HashMap<Address, Receiver>,
    /// Invocations that have a driver.
    running: usize,
}

/// The middle of the master.
#[derive(Debug)]
pub struct Switchboard {
    core: Mutex<Core>,
    functions: Functions,
    services: Arc<dyn Host>,
    secrets: Arc<Secrets>,
    processes: Arc<Processes>,
    reporter: Reporter,
    traces: Arc<Traces>,
    room: Room,
    /// Connections of clients.
    clients: Arc<Count>,
    /// Files that are on their way to them.
    files: Arc<Count>,
    drain: Arc<Drain>,
}

impl Switchboard {
    /// Nothing runs yet.
    pub fn new(
        processes: Arc<Processes>,
        services: Arc<dyn Host>,
        secrets: Arc<Secrets>,
        reporter: Reporter,
        budget: u64,
    ) -> Arc<Self> {
        let core = Core {
            router: Router::new(Budget::new(budget)),
            receivers: HashMap::new(),
            running: 0,
        };
        Arc::new(Self {
            core: Mutex::new(core),
            functions: Functions::default(),
            services,
            secrets,
            processes,
            reporter,
            traces: Arc::default(),
            room: Room::here(),
            clients: Arc::default(),
            files: Arc::default(),
            drain: Arc::default(),
        })
    }

    /// The functions that can be started.
    pub fn functions(&self) -> &Functions {
        &self.functions
    }

    /// What functions get that list it.
    pub fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }

    /// Where to report.
    pub fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// The processes of the master.
    pub fn processes(&self) -> &Arc<Processes> {
        &self.processes
    }

    /// What is there: all 0 when nothing runs and every fork server has ended.
    pub fn left(&self) -> Left {
        let (fork_servers, wrappers) = self.processes.reaper.processes();
        let core = self.lock();
        Left {
            table: core.router.size(),
            receivers: core.receivers.len(),
            fork_servers,
            wrappers,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic under the lock would be a defect of the router; the table is still whole
        // enough to end what runs.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a function for a gateway.
    ///
    /// # Errors
    /// The ending to answer with.
    pub fn start(
        self: &Arc<Self>,
        function: Arc<Function>,
        permit: OwnedSemaphorePermit,
        origin: Origin,
        times: Times,
    ) -> Result<Exchange, Ending> {
        if self.is_stopping() {
            return Err(Ending::new(Reason::Shutdown, "the master is stopping"));
        }
        let (gate, address) = (random_address(), random_address());
        let limits = spawn_limits(&function, 1, None);
        let ends = Ends::new(gate, address, Arc::clone(self));
        let (port, sink, inbox) = stream::open(&ends, initial_window(limits.window));
        {
            let mut core = self.lock();
            self.make_room(core.running)
                .map_err(|why| Ending::new(Reason::Overloaded, why))?;
            // Last: one that is let in on trial has to begin.
            function.health.admit(&function.name)?;
            core.router.open(gate, address, limits)?;
            core.receivers.insert(gate, Receiver::Gate(port));
            self.drive(
                &mut core, address, gate, function, permit, origin, times, 1, None,
            );
        }
        Ok(Exchange {
            sink,
            source: Source(inbox),
        })
    }

    /// Counts a client as long as the result lives: its connection takes a descriptor.
    pub fn client(&self) -> Counted {
        self.clients.one()
    }

    /// Counts a file that is open as long as the result lives.
    pub fn file(&self) -> Counted {
        self.files.one()
    }

    /// Whether one more fits where so many run; what only waits gives way.
    fn make_room(&self, running: usize) -> Result<(), String> {
        let parked = self.processes.parked.get();
        match self.room.check(self.in_use(running, parked)) {
            Err(_) if parked > 0 => {
                self.functions.shed();
                self.room.check(self.in_use(running, 0))
            }
            checked => checked,
        }
    }

    /// How many more wrappers may wait for requests.
    fn room_to_park(&self) -> usize {
        let running = self.lock().running;
        let parked = self.processes.parked.get();
        self.room.to_park(self.in_use(running, parked), parked)
    }

    fn in_use(&self, running: usize, parked: usize) -> InUse {
        InUse {
            processes: running + parked,
            descriptors: running
                + parked
                + self.clients.get()
                + self.files.get()
                + self.services.connections(),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "all that an invocation begins with"
    )]
    fn drive(
        self: &Arc<Self>,
        core: &mut Core,
        address: Address,
        parent: Address,
        function: Arc<Function>,
        permit: OwnedSemaphorePermit,
        origin: Origin,
        times: Times,
        level: u32,
        options: Option<Box<SpawnOptions>>,
    ) {
        core.router
            .introduce(address, &function.name, &function.allow);
        let (starts, trace) = match core.receivers.get(&parent) {
            Some(Receiver::Invocation(parent)) => {
                (Arc::clone(&parent.starts), Arc::clone(&parent.trace))
            }
            _ => (
                Arc::new(Semaphore::new(pace::starts_at_once())),
                self.traces.begin(origin.requested.clone()),
            ),
        };
        let (orders, inbox) = mpsc::unbounded_channel();
        let live = Live::new(parent, &origin);
        let name = Arc::clone(&function.name);
        let began = Traced::new(address, parent, name, &origin, Some(Arc::clone(&live)));
        trace.started(began);
        let driven = Driven {
            orders,
            function: Arc::clone(&function),
            request_id: origin.request_id.clone(),
            refusals: Often::default(),
            starts: Arc::clone(&starts),
            live: Arc::clone(&live),
            trace: Arc::clone(&trace),
            trial: origin.trial.clone(),
        };
        core.receivers
            .insert(address, Receiver::Invocation(Box::new(driven)));
        core.running += 1;
        self.reporter.event(&Event::InvocationStarted {
            address,
            parent,
            function: &function.name,
            gateway: origin.gateway.as_deref(),
            request_id: origin.request_id.as_deref(),
        });
        let record = Record::new(address, Arc::clone(&function.name), origin, trace);
        let driver = Driver {
            switchboard: Arc::clone(self),
            function,
            address,
            parent,
            level,
            options,
            times,
            orders: inbox,
            record,
            starts,
            live,
            permit: Some(permit),
        };
        tokio::spawn(driver.run());
    }

    /// Takes what a wrapper said.
    fn wrapper_says(self: &Arc<Self>, sender: Address, message: Message) {
        self.with_router(|router, effects| router.wrapper_says(sender, message, effects));
    }

    fn with_router(self: &Arc<Self>, change: impl FnOnce(&mut Router, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        let mut core = self.lock();
        change(&mut core.router, &mut effects);
        for effect in effects {
            self.carry_out(&mut core, effect);
        }
    }

    fn carry_out(self: &Arc<Self>, core: &mut Core, effect: Effect) {
        match effect {
            Effect::Deliver(message) => {
                let Some(to) = message.to else { return };
                core.trace(message.from, to, &message.body);
                match core.receivers.get(&to) {
                    Some(Receiver::Invocation(driven)) => driven.order(Order::Deliver(message)),
                    Some(Receiver::Gate(port)) => port.deliver(message.body),
                    Some(Receiver::Service(called)) => called.port.deliver(message.body),
                    None => {}
                }
            }
            Effect::Start {
                address,
                parent,
                name,
                options,
                level,
            } => {
                self.start_child(core, address, parent, &name, options, level);
            }
            Effect::Stop(address, ending) => core.stop(address, ending),
            Effect::Exiting(address, ending) => core.order(address, Order::Exiting(ending)),
            Effect::Log {
                address,
                stream,
                severity,
                line,
            } => {
                let Some(Receiver::Invocation(driven)) = core.receivers.get(&address) else {
                    return;
                };
                self.reporter.event(&Event::Log {
                    function: &driven.function.name,
                    address,
                    stream: if stream >= 2 { "stderr" } else { "stdout" },
                    level: severity.map(Level::from),
                    line: &self.reporter.seen_from_project(&line),
                    request_id: driven.request_id.as_deref(),
                });
            }
            Effect::Refused { from, what } => {
                let Some(Receiver::Invocation(driven)) = core.receivers.get_mut(&from) else {
                    return;
                };
                driven.function.figures.refused.add(1);
                let Some(more) = driven.refusals.say() else {
                    return;
                };
                let what = self.reporter.masks().mask(&what);
                driven.trace.refused(from, &what);
                self.reporter.info(format!(
                    "{} {from} was refused: {what}{more}",
                    driven.function.name
                ));
            }
        }
    }

    fn start_child(
        self: &Arc<Self>,
        core: &mut Core,
        address: Address,
        parent: Address,
        name: &str,
        options: Option<Box<SpawnOptions>>,
        level: u32,
    ) {
        if is_service(name) {
            let options = options.as_deref();
            if let Err(ending) = self.start_call(core, address, parent, name, options) {
                self.refuse_child(core, address, parent, name, &ending);
            }
            return;
        }
        let origin = core.origin_of_child(parent);
        let functions = origin.trial.as_deref().unwrap_or(&self.functions);
        let admitted = match functions.get(name) {
            None => Err(Ending::refused(Errno::NOENT, functions.why_not(name))),
            Some(function) => {
                let admitted = match function.try_permit() {
                    Some(permit) => match self.make_room(core.running) {
                        Ok(()) => function.health.admit(name).map(|()| permit),
                        Err(why) => Err(Ending::refused(Errno::AGAIN, why)),
                    },
                    None => {
                        let detail = format!("limit `concurrency` of `{name}` reached");
                        Err(Ending::refused(Errno::AGAIN, detail))
                    }
                };
                if let Err(ending) = &admitted {
                    function.figures.turned_away.add(ending.reason);
                }
                admitted.map(|permit| (function, permit))
            }
        };
        let (function, permit) = match admitted {
            Ok(admitted) => admitted,
            Err(ending) => return self.refuse_child(core, address, parent, name, &ending),
        };
        let limits = spawn_limits(&function, level, options.as_deref());
        core.router.set_limits(address, limits);
        // It ends with its parent; `idle` and `wall` apply where the project file sets them.
        let times = Times {
            wall: function.limits.wall.or(None),
            idle: function.limits.idle.or(None),
            total: function.limits.total,
            ..Times::default()
        };
        let asked = options.as_ref().and_then(|options| options.limits.as_ref());
        let times = times.lowered(asked);
        self.drive(
            core, address, parent, function, permit, origin, times, level, options,
        );
    }

    /// Begins a call of a service, for an invocation that the table knows as its parent.
    fn start_call(
        self: &Arc<Self>,
        core: &mut Core,
        address: Address,
        parent: Address,
        name: &str,
        options: Option<&SpawnOptions>,
    ) -> Result<(), Ending> {
        let Some(Receiver::Invocation(driven)) = core.receivers.get(&parent) else {
            return Err(Ending::refused(Errno::PERM, "only functions call services"));
        };
        let caller = Caller {
            function: Arc::clone(&driven.function),
            invocation: parent,
            request_id: driven.request_id.clone(),
        };
        let trace = Arc::clone(&driven.trace);
        let times = call::times(options)?;
        let session = self.services.open(name, caller)?;
        let origin = core.origin_of_child(parent);
        core.router.started(address);
        self.reporter.event(&Event::InvocationStarted {
            address,
            parent,
            function: name,
            gateway: None,
            request_id: origin.request_id.as_deref(),
        });
        let name: Arc<str> = name.into();
        trace.started(Traced::new(
            address,
            parent,
            Arc::clone(&name),
            &origin,
            None,
        ));
        let record = Record::new(address, name, origin, trace);
        let ends = Ends::new(address, parent, Arc::clone(self));
        let stream = stream::open(&ends, core.router.credit(address, parent));
        let (called, serves) = Serves::new(ends, stream, session, times, record);
        core.receivers
            .insert(address, Receiver::Service(Box::new(called)));
        tokio::spawn(serves.run());
        Ok(())
    }

    /// A child that the table has taken in is not started.
    fn refuse_child(
        self: &Arc<Self>,
        core: &mut Core,
        address: Address,
        parent: Address,
        name: &str,
        ending: &Ending,
    ) {
        let what = format!("spawn of `{name}`: {}", ending.detail);
        self.carry_out(core, Effect::Refused { from: parent, what });
        let mut effects = Vec::new();
        core.router.ended(address, ending, &mut effects);
        for effect in effects {
            self.carry_out(core, effect);
        }
    }

    /// Has an invocation ended with this ending, unless it has one already.
    pub fn stop(self: &Arc<Self>, address: Address, ending: Ending) {
        self.with_router(|router, effects| router.stop(address, ending, effects));
    }

    /// The head of the response was received: from now on `idle` applies.
    fn head_received(&self, address: Address) {
        self.lock().order(address, Order::HeadReceived);
    }

    /// The response is complete: from now on `background` applies, and others may take its
    /// place.
    fn response_complete(&self, address: Address) {
        self.lock().order(address, Order::ResponseComplete);
    }

    /// An invocation is over; tells whoever waits.
    fn ended(self: &Arc<Self>, finished: Finished) {
        let (address, ending) = (finished.address(), finished.ending.clone());
        let mut finished = Some(finished);
        let mut effects = Vec::new();
        let mut core = self.lock();
        core.router.ended(address, &ending, &mut effects);
        if let Some(Receiver::Invocation(_)) = core.receivers.remove(&address) {
            core.running = core.running.saturating_sub(1);
        }
        for effect in effects {
            if let Effect::Deliver(Message {
                to: Some(to),
                body: Body::Ending(_),
                ..
            }) = &effect
                && let Some(Receiver::Gate(port)) = core.receivers.get(to)
                && let Some(finished) = finished.take()
            {
                port.ended(finished);
            } else {
                self.carry_out(&mut core, effect);
            }
        }
        drop(core);
        self.drain.one_has_ended();
    }

    fn close_gate(self: &Arc<Self>, gate: Address, ending: Ending) {
        self.with_router(|router, effects| router.close_gate(gate, ending, effects));
        self.lock().receivers.remove(&gate);
    }

    /// Refuses new work from now on, also what waits in queues.
    pub fn refuse_new(&self) {
        self.drain.refuse_new();
        self.functions.announce();
    }

    /// Whether new work is refused.
    pub fn is_stopping(&self) -> bool {
        self.drain.refuses()
    }

    /// How many invocations there are.
    pub fn running(&self) -> usize {
        self.lock().router.invocations().len()
    }

    /// Waits until nothing runs, and all that ran is told.
    pub async fn idle(&self) {
        let idle = || self.lock().router.invocations().is_empty() && self.drain.all_told();
        self.drain.until(idle).await;
    }

    /// Waits until nothing runs but these and what they have started.
    pub async fn idle_but(&self, roots: impl Fn() -> BTreeSet<Address>) {
        let idle = || {
            let roots = roots();
            !self.lock().router.runs_beside(&roots) && self.drain.all_told()
        };
        self.drain.until(idle).await;
    }

    /// Ends everything that runs.
    pub fn stop_all(self: &Arc<Self>, reason: Reason, detail: &str) {
        self.with_router(|router, effects| {
            for address in router.invocations() {
                router.stop(address, Ending::new(reason, detail), effects);
            }
        });
    }
}

impl Core {
    /// What a child of this invocation is started by.
    fn origin_of_child(&self, parent: Address) -> Origin {
        let Some(Receiver::Invocation(driven)) = self.receivers.get(&parent) else {
            return Origin::default();
        };
        Origin {
            request_id: driven.request_id.clone(),
            trial: driven.trial.clone(),
            ..Origin::default()
        }
    }

    fn stop(&self, address: Address, ending: Ending) {
        match self.receivers.get(&address) {
            Some(Receiver::Invocation(driven)) => driven.order(Order::Stop(ending)),
            Some(Receiver::Service(called)) => called.stop(ending),
            Some(Receiver::Gate(_)) | None => {}
        }
    }

    fn order(&self, address: Address, order: Order) {
        if let Some(Receiver::Invocation(driven)) = self.receivers.get(&address) {
            driven.order(order);
        }
    }
}

impl Driven {
    fn order(&self, order: Order) {
        // A driver that has gone has ended its invocation; the table is about to forget it.
        let _ = self.orders.send(order);
    }
}

/// What the project file allows, lowered by what the spawner asked for.
fn spawn_limits(function: &Function, level: u32, options: Option<&SpawnOptions>) -> SpawnLimits {
    let lower = |limit: Option<u32>, asked: Option<u32>| match (limit, asked) {
        (Some(limit), Some(asked)) => Some(limit.min(asked)),
        (limit, asked) => limit.or(asked),
    };
    let asked = options.and_then(|options| options.limits.as_ref());
    let not_0 = |number: u32| Some(number).filter(|number| *number != 0);
    let children = asked.and_then(|limits| not_0(limits.children));
    // `depth_left` counts from this level, which is 1 of them.
    let depth = asked
        .and_then(|limits| not_0(limits.depth_left))
        .map(|left| level.saturating_add(left - 1));
    let window = asked.and_then(|limits| not_0(limits.window));
    let window = window.unwrap_or(u32::MAX).max(WINDOW_MIN);
    SpawnLimits {
        children: lower(function.limits.children, children),
        depth: lower(function.limits.depth, depth),
        tree: function.limits.tree,
        window: function.limits.window.min(window),
    }
}

/// A random address that nobody can foresee: of this thread's generator, which the system's
/// random source has seeded. No copy of it lives on in another process.
pub fn random_address() -> Address {
    loop {
        if let Some(address) = Address::new(rand::random()) {
            return address;
        }
    }
}
