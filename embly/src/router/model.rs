//! The routing table against a simple model: any messages in any order from anybody, deaths at any
//! point. The model knows who lives, who has a stream to whom, and what each writer was granted.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use protos::Errno;
use protos::credit::{INITIAL_WINDOW, MAX_WINDOW, cost};

use super::*;

/// Addresses come from so few that they meet again: taken ones, ended ones, strangers.
const ADDRESSES: u64 = 10;

const LIMITS: SpawnLimits = SpawnLimits {
    children: Some(3),
    depth: Some(4),
    tree: Some(6),
    window: MAX_WINDOW,
};

const NAMES: [&str; 2] = ["board", "other"];

fn all_names() -> Allow {
    let names = || NAMES.map(str::to_owned).into();
    Allow {
        register: names(),
        reach: names(),
        ..Allow::default()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Open {
        gate: u64,
        child: u64,
    },
    Started {
        who: u64,
    },
    Stop {
        who: u64,
    },
    Ended {
        who: u64,
        code: i32,
    },
    CloseGate {
        gate: u64,
    },
    GateSays {
        gate: u64,
        to: u64,
        bytes: u32,
    },
    GateCloses {
        gate: u64,
        to: u64,
    },
    GateTakes {
        gate: u64,
        from: u64,
        bytes: u32,
    },
    Says {
        who: u64,
        /// In whose name, if not its own.
        named: Option<u64>,
        to: u64,
        body: Saying,
    },
}

#[derive(Debug, Clone)]
enum Saying {
    Data(u32),
    HalfClose,
    Credit(u32),
    Spawn { address: u64, detached: bool },
    Kill,
    Exit(i32),
    Log,
    Register { name: u8, release: bool },
    Lookup { name: u8, address: u64 },
    Monitor,
    OnlyTheMaster,
}

fn who() -> impl Strategy<Value = u64> {
    1..=ADDRESSES
}

/// Mostly what an honest wrapper sends, sometimes what breaks the credit.
fn bytes() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 1..5000_u32, 2 => 1..2 * INITIAL_WINDOW, 1 => 1..2 * MAX_WINDOW]
}

fn saying() -> impl Strategy<Value = Saying> {
    prop_oneof![
        8 => bytes().prop_map(Saying::Data),
        2 => Just(Saying::HalfClose),
        6 => bytes().prop_map(Saying::Credit),
        5 => (who(), any::<bool>()).prop_map(|(address, detached)| Saying::Spawn { address, detached }),
        2 => Just(Saying::Kill),
        1 => (-1..2_i32).prop_map(Saying::Exit),
        1 => Just(Saying::Log),
        3 => (0..2_u8, 0..5_u8).prop_map(|(name, keep)| Saying::Register { name, release: keep == 0 }),
        4 => (0..2_u8, who()).prop_map(|(name, address)| Saying::Lookup { name, address }),
        1 => Just(Saying::Monitor),
        1 => Just(Saying::OnlyTheMaster),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let says = (who(), who(), 0..40_u8, who(), saying());
    prop_oneof![
        4 => (who(), who()).prop_map(|(gate, child)| Step::Open { gate, child }),
        8 => who().prop_map(|who| Step::Started { who }),
        1 => who().prop_map(|who| Step::Stop { who }),
        3 => (who(), 0..2_i32).prop_map(|(who, code)| Step::Ended { who, code }),
        1 => who().prop_map(|gate| Step::CloseGate { gate }),
        4 => (who(), who(), bytes()).prop_map(|(gate, to, bytes)| Step::GateSays { gate, to, bytes }),
        1 => (who(), who()).prop_map(|(gate, to)| Step::GateCloses { gate, to }),
        4 => (who(), who(), bytes()).prop_map(|(gate, from, bytes)| Step::GateTakes { gate, from, bytes }),
        // One in forty speaks in another's name.
        30 => says.prop_map(|(who, other, forged, to, body)| {
            let named = (forged == 0).then_some(other);
            Step::Says { who, named, to, body }
        }),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct Life {
    /// `None` when that has ended: its address may be somebody else's by now.
    parent: Option<Address>,
    state: State,
    children: BTreeSet<Address>,
}

/// A stream that was opened by name.
#[derive(Debug, Clone, Copy)]
struct Call {
    caller: Address,
    holder: Address,
    /// The holder has heard of it.
    known: bool,
    /// The caller has ended, and the holder has not closed the stream yet.
    lingers: bool,
    /// Somebody wants to know how the other one ends, also when both have closed the stream.
    monitored: bool,
}

impl Call {
    fn other(&self, one: Address) -> Address {
        if one == self.caller {
            self.holder
        } else {
            self.caller
        }
    }
}

/// One direction of a stream, as its ends know it.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    /// What the writer was told that it may send.
    credit: u32,
    /// What was delivered and not reported as taken.
    unread: u32,
    closed: bool,
}

#[derive(Debug, Default)]
struct Model {
    lives: BTreeMap<Address, Life>,
    gates: BTreeMap<Address, Option<Address>>,
    names: BTreeMap<String, Address>,
    calls: BTreeMap<Address, Call>,
    /// From the writer to the address under which it knows the reader.
    ways: BTreeMap<(Address, Address), Way>,
    /// Who waits for an ending that is still to come.
    owed: BTreeSet<(Address, Address)>,
}

fn address(number: u64) -> Address {
    Address::new(number).unwrap()
}

impl Model {
    fn knows(&self, who: Address) -> bool {
        self.lives.contains_key(&who)
            || self.gates.contains_key(&who)
            || self.calls.contains_key(&who)
    }

    /// The direction in which `reader` hears `writer`, as it knows it.
    fn heard(&self, reader: Address, writer: Address) -> (Address, Address) {
        match self.calls.get(&writer) {
            Some(call) => (call.other(reader), writer),
            None => (writer, reader),
        }
    }

    /// One of those in this state, if there is one: so most steps do something.
    fn somebody(&self, number: u64, state: State) -> Address {
        let all = self.lives.iter().filter(|(_, life)| life.state == state);
        let all: Vec<_> = all.map(|(who, _)| *who).collect();
        let at = usize::try_from(number).unwrap() % all.len().max(1);
        all.get(at).copied().unwrap_or(address(number))
    }

    /// Whoever `who` has a stream to, mostly.
    fn kin(&self, who: Address, number: u64) -> Address {
        let kin = self.ways.keys().filter(|(writer, _)| *writer == who);
        let mut kin: Vec<_> = kin.map(|(_, reader)| *reader).collect();
        kin.push(address(number));
        kin[usize::try_from(number).unwrap() % kin.len()]
    }

    fn listens(&self, who: Address) -> bool {
        match self.lives.get(&who) {
            Some(life) => life.state.listens(),
            None => self.gates.contains_key(&who),
        }
    }

    fn add(&mut self, parent: Address, child: Address) {
        let life = Life {
            parent: Some(parent),
            state: State::Starting,
            children: BTreeSet::new(),
        };
        self.lives.insert(child, life);
        let way = Way {
            credit: INITIAL_WINDOW,
            ..Way::default()
        };
        self.ways.insert((parent, child), way);
        self.ways.insert((child, parent), way);
        self.owed.insert((child, parent));
    }

    fn part(&mut self, a: Address, b: Address) {
        self.ways.remove(&(a, b));
        self.ways.remove(&(b, a));
    }

    /// What everything that the table says must be, whoever has asked for it.
    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Deliver(message) => self.delivered(message),
                Effect::Stop(who, _) => {
                    let life = self.lives.get_mut(who).expect("only who lives is stopped");
                    assert!(life.state.can_be_stopped(), "{who} is stopped once");
                    life.state = State::Ending;
                }
                Effect::Start {
                    address, parent, ..
                } => {
                    assert!(!self.knows(*address), "{address} was free");
                    self.add(*parent, *address);
                    let parent = self.lives.get_mut(parent).expect("a parent lives");
                    assert_eq!(parent.state, State::Running);
                    parent.children.insert(*address);
                    assert!(parent.children.len() <= 3, "limit `children`");
                }
                Effect::Exiting(who, _) => {
                    let life = self.lives.get_mut(who).expect("only who lives exits");
                    assert_eq!(life.state, State::Running);
                    life.state = State::Exiting;
                }
                Effect::Log { address, .. } => {
                    let state = self.lives[address].state;
                    assert!([State::Running, State::Ending].contains(&state));
                }
                Effect::Refused { from, .. } => assert!(self.knows(*from)),
            }
        }
    }

    fn delivered(&mut self, message: &Message) {
        let to = message.to.unwrap();
        assert!(self.listens(to), "{to} does not listen: {message:?}");
        let Some(from) = message.from else {
            return self.answered(to, &message.body);
        };
        match &message.body {
            Body::Data(data) => {
                let way = self.heard(to, from);
                let way = self.ways.get_mut(&way).expect("a stream");
                assert!(!way.closed, "data after the end");
                let bytes = cost(data.len());
                // The writer may know less than the table, never more.
                way.credit = way.credit.saturating_sub(bytes);
                way.unread += bytes;
                assert!(way.unread <= MAX_WINDOW, "more than a window is under way");
            }
            Body::HalfClose => {
                let way = self.heard(to, from);
                let way = self.ways.get_mut(&way).expect("a stream");
                assert!(!std::mem::replace(&mut way.closed, true), "two ends");
            }
            Body::Credit(bytes) => {
                let way = self.ways.get_mut(&(to, from)).expect("a stream");
                way.credit += bytes;
                assert!(way.credit + way.unread <= MAX_WINDOW, "more than a window");
            }
            // Endings of those who never began are refusals, of which there may be any number.
            Body::Ending(ending) if ending.reason == Reason::Refused => {}
            Body::Ending(_) => {
                let owed = self.owed.remove(&(from, to));
                assert!(owed, "{from} ends once for {to}");
            }
            Body::Error(errno) => assert!([Errno::ACCES, Errno::PIPE, Errno::PERM].contains(errno)),
            Body::Grant { error, .. } => {
                let call = self.calls.get_mut(&from).expect("a call");
                assert_eq!((to, *error), (call.holder, Errno::SUCCESS));
                assert!(!std::mem::replace(&mut call.known, true), "new once");
            }
            other => panic!("nobody is told {other:?}"),
        }
    }

    /// What the master says to `who` in its own name.
    fn answered(&mut self, who: Address, body: &Body) {
        let Body::Grant { name, error } = body else {
            panic!("nobody is told {body:?}");
        };
        let holder = self.names.get(name).copied();
        if *error == Errno::SUCCESS {
            assert!(holder.is_none_or(|holder| holder == who), "a name has one");
            self.names.insert(name.clone(), who);
        } else {
            assert_eq!(*error, Errno::EXIST);
            assert!(holder.is_some_and(|holder| holder != who));
        }
    }

    /// The first word of a caller makes the call known, also to a holder that does not listen.
    fn speaks(&mut self, who: Address, at: Address) {
        if let Some(call) = self.calls.get_mut(&at) {
            call.known |= call.caller == who;
        }
    }

    /// Who may speak on a call.
    fn ends_of(&self, at: Address) -> Vec<Address> {
        let call = self.calls.get(&at);
        let ends = call.map(|call| match call.lingers {
            true => vec![call.holder],
            false => vec![call.caller, call.holder],
        });
        ends.unwrap_or_default()
    }

    fn open_call(&mut self, caller: Address, name: &str, address: Address) {
        let holder = self.names[name];
        let call = Call {
            caller,
            holder,
            known: false,
            lingers: false,
            monitored: false,
        };
        self.calls.insert(address, call);
        for end in [caller, holder] {
            let way = Way {
                credit: INITIAL_WINDOW,
                ..Way::default()
            };
            self.ways.insert((end, address), way);
            self.owed.insert((address, end));
        }
    }

    /// Both have closed a call: its stream is gone, the endings may come later.
    fn hang_up(&mut self, at: Address) {
        let Some(call) = self.calls.get(&at).copied() else {
            return;
        };
        if call.lingers {
            self.calls.remove(&at);
        }
        let ways = [(call.caller, at), (call.holder, at)];
        if ways
            .iter()
            .all(|way| self.ways.get(way).is_some_and(|way| way.closed))
        {
            for way in ways {
                self.ways.remove(&way);
            }
            if !call.monitored {
                self.calls.remove(&at);
                self.owed.retain(|(ended, _)| *ended != at);
            }
        }
    }

    /// An invocation is gone: whoever waited for it has been told, or cannot be.
    fn gone(&mut self, who: Address, life: &Life) {
        self.names.retain(|_, holder| *holder != who);
        let calls = self.calls.iter();
        let calls = calls.filter(|(_, call)| call.caller == who || call.holder == who);
        for (at, call) in calls.map(|(at, call)| (*at, *call)).collect::<Vec<_>>() {
            self.calls.remove(&at);
            self.ways.remove(&(call.caller, at));
            let way = self.ways.remove(&(call.holder, at));
            let lingers = call.caller == who && call.known && way.is_some_and(|way| !way.closed);
            if lingers {
                self.calls.insert(at, Call { lingers, ..call });
            }
            self.owed.retain(|(ended, _)| *ended != at);
        }
        for child in &life.children {
            self.part(who, *child);
            if let Some(child) = self.lives.get_mut(child) {
                child.parent = None;
            }
        }
        if let Some(parent) = life.parent {
            self.part(who, parent);
            let silent = self.listens(parent) && self.owed.contains(&(who, parent));
            assert!(!silent, "{who} ends in silence");
            if let Some(parent) = self.lives.get_mut(&parent) {
                parent.children.remove(&who);
            }
            if let Some(child) = self.gates.get_mut(&parent) {
                *child = None;
            }
        }
        self.owed
            .retain(|(ended, waits)| *ended != who && *waits != who);
    }
}

struct Test {
    router: Router,
    model: Model,
}

impl Test {
    fn new() -> Self {
        Self {
            router: Router::new(Budget::new(u64::MAX)),
            model: Model::default(),
        }
    }

    fn take(&mut self, step: &Step) {
        let mut effects = Vec::new();
        match step.clone() {
            Step::Open { gate, child } => {
                let (gate, child) = (address(gate), address(child));
                let free = gate != child && !self.model.knows(gate) && !self.model.knows(child);
                let opened = self.router.open(gate, child, LIMITS).is_ok();
                assert_eq!(opened, free);
                if opened {
                    self.model.add(gate, child);
                    self.model.gates.insert(gate, Some(child));
                }
            }
            Step::Started { who } => {
                let who = self.model.somebody(who, State::Starting);
                self.router.set_limits(who, LIMITS);
                self.router
                    .introduce(who, &Arc::from("f"), &Arc::new(all_names()));
                self.router.started(who);
                if let Some(life) = self.model.lives.get_mut(&who)
                    && life.state == State::Starting
                {
                    life.state = State::Running;
                }
            }
            Step::Stop { who } => {
                let ending = Ending::new(Reason::Wall, "time");
                self.router.stop(address(who), ending, &mut effects);
                self.model.observe(&effects);
                let state = self.model.lives.get(&address(who)).map(|life| life.state);
                assert!(!state.is_some_and(State::can_be_stopped), "it was stopped");
            }
            Step::Ended { who, code } => self.end(address(who), &Ending::exit(code)),
            Step::CloseGate { gate } => self.close_gate(address(gate)),
            // Gateways are ours: they keep within what they were granted.
            Step::GateSays { gate, to, bytes } => {
                let (gate, to) = (address(gate), self.model.kin(address(gate), to));
                let way = self.model.ways.get(&(gate, to)).copied();
                if self.model.gates.contains_key(&gate)
                    && let Some(Way {
                        credit,
                        closed: false,
                        ..
                    }) = way
                    && cost(bytes as usize) <= credit
                {
                    self.router
                        .data(gate, Some(to), vec![7; bytes as usize].into(), &mut effects);
                    self.model.observe(&effects);
                    assert_eq!(effects.len(), usize::from(self.model.listens(to)));
                    self.count_dropped(gate, to, bytes, &effects);
                }
            }
            Step::GateCloses { gate, to } => {
                if self.model.gates.contains_key(&address(gate)) {
                    self.router
                        .half_close(address(gate), Some(address(to)), &mut effects);
                    self.model.observe(&effects);
                    self.close(address(gate), address(to));
                }
            }
            Step::GateTakes { gate, from, bytes } => {
                let (gate, from) = (address(gate), self.model.kin(address(gate), from));
                if self.model.gates.contains_key(&gate)
                    && let Some(way) = self.model.ways.get_mut(&(from, gate))
                    && bytes <= way.unread
                {
                    way.unread -= bytes;
                    self.router.taken(gate, Some(from), bytes, &mut effects);
                    self.model.observe(&effects);
                }
            }
            Step::Says {
                who,
                named,
                to,
                body,
            } => {
                let who = self.model.somebody(who, State::Running);
                let to = self.model.kin(who, to);
                let call = self.model.calls.get(&to);
                if call.is_some_and(|call| call.holder == who && !call.known) {
                    // Nobody guesses 64 random bits.
                    return;
                }
                self.says(who, named.map_or(who, address), to, &body);
            }
        }
    }

    fn says(&mut self, who: Address, named: Address, to: Address, body: &Saying) {
        let mut effects = Vec::new();
        let before = self.model.lives.get(&who).map(|life| life.state);
        let message = Message {
            to: Some(to),
            from: Some(named),
            body: body.clone().into(),
        };
        self.router.wrapper_says(who, message, &mut effects);
        let way = self.model.ways.get(&(who, to)).copied();
        let heard = self.model.heard(who, to);
        let back = self.model.ways.get(&heard).copied();
        let free = |number: u64| !self.model.knows(address(number));
        let looks_up = match body {
            Saying::Lookup { address: at, .. } => free(*at),
            _ => false,
        };
        let taken = match (body, back) {
            (Saying::Credit(bytes), Some(back)) if *bytes <= back.unread => *bytes,
            _ => 0,
        };
        let stopped = |effects: &[Effect]| {
            effects.iter().any(|effect| {
                matches!(effect, Effect::Stop(stopped, ending)
                    if *stopped == who && ending.reason == Reason::Violation)
            })
        };
        if before != Some(State::Running) {
            let violates = before == Some(State::Starting);
            // Where it was when its time was over.
            let is_last_word =
                before == Some(State::Ending) && matches!(body, Saying::Log) && named == who;
            let expected = usize::from(violates || is_last_word);
            assert_eq!(effects.len(), expected, "{before:?}: {effects:?}");
            assert_eq!(stopped(&effects), violates);
            return self.model.observe(&effects);
        }
        if named != who || matches!(body, Saying::OnlyTheMaster) {
            assert!(stopped(&effects), "{effects:?}");
            return self.model.observe(&effects);
        }
        if let Some(way) = self.model.ways.get_mut(&heard) {
            way.unread -= taken;
        }
        self.model.observe(&effects);
        match (body, way) {
            (Saying::Data(bytes), Some(way))
                if !way.closed && cost(*bytes as usize) <= way.credit =>
            {
                assert!(!stopped(&effects), "it keeps the rules: {effects:?}");
                self.count_dropped(who, to, *bytes, &effects);
            }
            (Saying::Data(bytes), Some(way)) if way.closed || *bytes > MAX_WINDOW => {
                assert!(stopped(&effects), "it breaks the rules");
            }
            (Saying::Data(bytes), Some(_)) if !stopped(&effects) => {
                self.count_dropped(who, to, *bytes, &effects);
            }
            (Saying::Monitor, Some(_)) => {
                if let Some(call) = self.model.calls.get_mut(&to) {
                    call.monitored = true;
                }
            }
            (Saying::HalfClose, _) => {
                self.close(who, to);
                if way.is_some_and(|way| !way.closed) {
                    self.model.speaks(who, to);
                }
                if self.model.ends_of(to).contains(&who) {
                    self.model.hang_up(to);
                }
            }
            (Saying::Lookup { name, address: at }, _)
                if looks_up && self.router.knows(address(*at)) =>
            {
                let name = NAMES[usize::from(*name)];
                self.model.open_call(who, name, address(*at));
            }
            (
                Saying::Register {
                    name,
                    release: true,
                },
                _,
            ) => {
                let name = NAMES[usize::from(*name)];
                if self.model.names.get(name) == Some(&who) {
                    self.model.names.remove(name);
                }
            }
            (Saying::Credit(bytes), Some(_)) => assert_eq!(stopped(&effects), taken != *bytes),
            (Saying::Kill, _) => {
                let is_child = self.model.lives[&who].children.contains(&to);
                let state = self.model.lives.get(&to).map(|life| life.state);
                assert!(!is_child || !state.is_some_and(State::can_be_stopped));
            }
            _ => {}
        }
    }

    /// What a reader that listens no more is not given takes room all the same.
    fn count_dropped(&mut self, from: Address, to: Address, bytes: u32, effects: &[Effect]) {
        if effects.is_empty()
            && let Some(way) = self.model.ways.get_mut(&(from, to))
        {
            let bytes = cost(bytes as usize);
            way.credit = way.credit.saturating_sub(bytes);
            way.unread += bytes;
            self.model.speaks(from, to);
        }
    }

    /// Nobody need have listened.
    fn close(&mut self, from: Address, to: Address) {
        if let Some(way) = self.model.ways.get_mut(&(from, to)) {
            way.closed = true;
        }
    }

    fn end(&mut self, who: Address, ending: &Ending) {
        let mut effects = Vec::new();
        let Some(life) = self.model.lives.remove(&who) else {
            self.router.ended(who, ending, &mut effects);
            return assert_eq!(effects, []);
        };
        // Its detached children read how it has ended.
        self.model
            .owed
            .extend(life.children.iter().map(|child| (who, *child)));
        self.router.ended(who, ending, &mut effects);
        self.model.observe(&effects);
        self.model.gone(who, &life);
        assert!(!self.router.knows(who));
    }

    fn close_gate(&mut self, gate: Address) {
        let mut effects = Vec::new();
        let ending = Ending::new(Reason::ClientGone, "gone");
        let child = self.model.gates.remove(&gate);
        self.router.close_gate(gate, ending, &mut effects);
        let Some(child) = child else {
            return assert_eq!(effects, []);
        };
        self.model.observe(&effects);
        self.model.owed.retain(|(_, waits)| *waits != gate);
        if let Some(child) = child {
            self.model.part(gate, child);
            self.model.owed.remove(&(child, gate));
            let life = self.model.lives.get_mut(&child);
            let state = life.map(|life| {
                life.parent = None;
                life.state
            });
            assert!(
                !state.is_some_and(State::can_be_stopped),
                "nobody wants it any more"
            );
        }
    }

    /// Everybody ends, and nothing is left.
    fn finish(mut self) {
        while let Some(who) = self.model.lives.keys().next().copied() {
            self.end(who, &Ending::exit(0));
        }
        for gate in self.model.gates.keys().copied().collect::<Vec<_>>() {
            self.close_gate(gate);
        }
        assert_eq!(self.router.size(), Size::default());
    }
}

impl From<Saying> for Body {
    fn from(saying: Saying) -> Self {
        match saying {
            Saying::Data(bytes) => Self::Data(vec![7; bytes as usize].into()),
            Saying::HalfClose => Self::HalfClose,
            Saying::Credit(bytes) => Self::Credit(bytes),
            Saying::Spawn {
                address: number,
                detached,
            } => Self::Spawn {
                name: "f".to_owned(),
                address: address(number),
                options: detached.then(|| {
                    Box::new(SpawnOptions {
                        detached,
                        ..SpawnOptions::default()
                    })
                }),
            },
            Saying::Kill => Self::Kill,
            Saying::Exit(code) => Self::Exit(Ending::exit(code)),
            Saying::Log => Self::Log {
                stream: 1,
                severity: None,
                line: String::new(),
            },
            Saying::Register { name, release } => Self::Register {
                name: NAMES[usize::from(name)].to_owned(),
                release,
            },
            Saying::Lookup { name, address: at } => Self::Lookup {
                name: NAMES[usize::from(name)].to_owned(),
                address: address(at),
            },
            Saying::Monitor => Self::Monitor,
            Saying::OnlyTheMaster => Self::Ending(Ending::exit(0)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_messages_and_deaths_in_any_order_are_as_the_model_says(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let mut test = Test::new();
        for step in &steps {
            test.take(step);
        }
        test.finish();
    }
}
