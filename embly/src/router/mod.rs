//! Who may say what to whom: the routing table, credit, and the state of each invocation.
//!
//! Pure: messages in, effects out, no I/O and no clock. The switchboard carries the effects
//! out, in their order.

mod budget;
#[cfg(test)]
mod flow;
mod link;
#[cfg(test)]
mod model;
mod names;
#[cfg(test)]
mod schedules;
mod spawn;
mod table;
#[cfg(test)]
mod tests;
mod traffic;
mod tree;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use protos::message::MAX_SPAWN_NAME;
use protos::{Address, Body, Ending, Message, Reason, Severity, SpawnOptions};

use crate::allow::Allow;
pub use budget::Budget;
pub use link::initial as initial_window;
use link::{Link, Pair};
pub use names::MAX_CALLS;
use names::Names;
pub use table::{Kind, State, Verdict, markdown, verdict};
use tree::Trees;

/// Streams of ended children, and by name, that somebody has not read to the end: no more than
/// this, so that what it leaves unread is bounded.
pub const MAX_UNREAD_ENDED: usize = 1024;

/// The same in bytes.
pub const MAX_UNREAD_ENDED_BYTES: u64 = 16 * 1024 * 1024;

fn parent_ended() -> Ending {
    Ending::new(Reason::ParentEnded, "its parent ended")
}

/// What an invocation may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpawnLimits {
    /// Live children; `None` for no limit.
    pub children: Option<u32>,
    /// Levels below the gateway, this one included, that a chain of spawns may have.
    pub depth: Option<u32>,
    /// Invocations below it, of all levels together; counts for one that a gateway starts.
    pub tree: Option<u32>,
    /// The largest window of each of its streams, in bytes.
    pub window: u32,
}

/// Something that the switchboard is to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Hand this to the receiver it names.
    Deliver(Message),
    /// Start a function for an invocation that is now in the state `Starting`.
    Start {
        /// Its address.
        address: Address,
        /// Who asked.
        parent: Address,
        /// Name of the function.
        name: String,
        /// What is to differ from the project file.
        options: Option<Box<SpawnOptions>>,
        /// Its level; 1 is started by a gateway.
        level: u32,
    },
    /// End the process of this invocation; this will be its ending.
    Stop(Address, Ending),
    /// The wrapper says that the function is done, and how.
    Exiting(Address, Ending),
    /// A line for the log.
    Log {
        /// Whose.
        address: Address,
        /// 1 or 2.
        stream: u8,
        /// How severe it is, where the function says so.
        severity: Option<Severity>,
        /// The line.
        line: String,
    },
    /// A frame was refused: worth a line for whoever looks for the mistake.
    Refused {
        /// Who sent it.
        from: Address,
        /// What it wanted.
        what: String,
    },
}

/// The routing table.
#[derive(Debug)]
pub struct Router {
    nodes: HashMap<Address, Node>,
    links: HashMap<Pair, Link>,
    trees: Trees,
    budget: Budget,
    names: Names,
}

#[derive(Debug)]
enum Node {
    Invocation(Invocation),
    /// A gateway's side of a request or connection.
    Gate(Option<Address>),
}

impl Node {
    fn unread(&self) -> usize {
        match self {
            Self::Invocation(invocation) => invocation.unread.len(),
            Self::Gate(_) => 0,
        }
    }
}

#[derive(Debug)]
struct Invocation {
    parent: Address,
    /// The first of its tree, perhaps itself.
    root: Address,
    state: State,
    level: u32,
    limits: SpawnLimits,
    /// It may outlive its parent.
    detached: bool,
    /// Its parent has ended. The parent's address may be somebody else's by now.
    orphaned: bool,
    children: BTreeSet<Address>,
    /// What it runs, and what that may do.
    function: Arc<str>,
    allow: Arc<Allow>,
    /// Its streams by name, and how many of them are of use to it.
    calls: BTreeSet<Address>,
    live_calls: usize,
    /// Bytes that it has not read of streams that are over, by their writers, and their sum.
    unread: BTreeMap<Address, u32>,
    unread_bytes: u64,
}

impl Invocation {
    /// It leaves so much unread that nobody may add to it.
    fn is_behind(&self) -> bool {
        self.unread.len() >= MAX_UNREAD_ENDED || self.unread_bytes >= MAX_UNREAD_ENDED_BYTES
    }
}

/// How many things the table holds; all 0 when nothing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Size {
    /// Invocations, gateway sides, and streams by name.
    pub addresses: usize,
    /// Streams.
    pub links: usize,
    /// Streams of ended children that are not read to the end.
    pub unread: usize,
    /// Bytes of the budget in use.
    pub bytes: u64,
}

impl Router {
    /// An empty table that may give out so much credit.
    pub fn new(budget: Budget) -> Self {
        Self {
            nodes: HashMap::new(),
            links: HashMap::new(),
            trees: Trees::default(),
            budget,
            names: Names::default(),
        }
    }

    /// How full it is.
    pub fn size(&self) -> Size {
        Size {
            addresses: self.nodes.len() + self.names.calls(),
            links: self.links.len(),
            unread: self.nodes.values().map(Node::unread).sum(),
            bytes: self.budget.used(),
        }
    }

    /// Whether the address names somebody.
    pub fn knows(&self, address: Address) -> bool {
        self.nodes.contains_key(&address) || self.names.knows(address)
    }

    /// Adds a gateway's side and the invocation that it starts, with a stream between them.
    ///
    /// # Errors
    /// The ending to answer with: `overloaded` when there is no credit left to give, or
    /// `starting` for an address that is taken (which randomness excludes).
    pub fn open(
        &mut self,
        gate: Address,
        address: Address,
        limits: SpawnLimits,
    ) -> Result<(), Ending> {
        if gate == address || self.knows(gate) || self.knows(address) {
            return Err(Ending::new(Reason::Starting, "the address is taken"));
        }
        self.connect(Link::open, gate, address, limits.window)?;
        self.nodes.insert(gate, Node::Gate(Some(address)));
        self.trees.plant(address, limits.tree);
        self.add(address, gate, address, 1, limits, false);
        self.set_limits(address, limits);
        Ok(())
    }

    /// Sets what the invocation may start, once its function is known.
    pub fn set_limits(&mut self, address: Address, limits: SpawnLimits) {
        let Some(Node::Invocation(invocation)) = self.nodes.get_mut(&address) else {
            return;
        };
        invocation.limits = limits;
        let (parent, state) = (invocation.parent, invocation.state);
        if state == State::Starting
            && let Some(link) = self.links.get_mut(&Pair::new(parent, address))
        {
            link.limit(address, parent, limits.window, &mut self.budget);
        }
    }

    fn add(
        &mut self,
        address: Address,
        parent: Address,
        root: Address,
        level: u32,
        limits: SpawnLimits,
        detached: bool,
    ) {
        let invocation = Invocation {
            parent,
            root,
            state: State::Starting,
            level,
            limits,
            detached,
            orphaned: false,
            children: BTreeSet::new(),
            function: Arc::default(),
            allow: Arc::default(),
            calls: BTreeSet::new(),
            live_calls: 0,
            unread: BTreeMap::new(),
            unread_bytes: 0,
        };
        self.nodes.insert(address, Node::Invocation(invocation));
    }

    fn connect(
        &mut self,
        open: fn(&mut Budget, Address, Address, u32) -> Option<Link>,
        parent: Address,
        child: Address,
        window: u32,
    ) -> Result<(), Ending> {
        let link = open(&mut self.budget, parent, child, window)
            .ok_or_else(|| Ending::new(Reason::Overloaded, "too many bytes are under way"))?;
        self.links.insert(Pair::new(parent, child), link);
        Ok(())
    }

    /// The state of an invocation, or `None` for an address that names none (any more).
    pub fn state(&self, address: Address) -> Option<State> {
        match self.nodes.get(&address)? {
            Node::Invocation(invocation) => Some(invocation.state),
            Node::Gate(_) => None,
        }
    }

    /// How much `from` may write to `to` now; 0 where there is no stream.
    pub fn credit(&mut self, from: Address, to: Address) -> u32 {
        let link = self.links.get_mut(&Pair::new(from, to));
        link.map_or(0, |link| link.direction(from, to).credit())
    }

    fn set_state(&mut self, address: Address, state: State) {
        if let Some(Node::Invocation(invocation)) = self.nodes.get_mut(&address) {
            invocation.state = state;
        }
    }

    /// Its `startup` is on the way: it may speak.
    pub fn started(&mut self, address: Address) {
        if self.state(address) == Some(State::Starting) {
            self.set_state(address, State::Running);
        }
    }

    /// Takes what the wrapper of `sender` said.
    pub fn wrapper_says(&mut self, sender: Address, message: Message, effects: &mut Vec<Effect>) {
        let Some(state) = self.state(sender) else {
            return;
        };
        match verdict(state, Kind::of(&message.body)) {
            Verdict::Discard => {}
            Verdict::Violation => {
                let detail = format!("sent `{}` while {state}", message.body.name());
                self.violation(sender, detail, effects);
            }
            Verdict::Route if message.from != Some(sender) => {
                let claimed = message
                    .from
                    .map_or("nobody".to_owned(), |from| from.to_string());
                self.violation(
                    sender,
                    format!("sent a frame in the name of {claimed}"),
                    effects,
                );
            }
            Verdict::Route => self.route(sender, message, effects),
        }
    }

    /// Takes bytes that are no message, or a frame too long.
    pub fn violation(&mut self, sender: Address, detail: String, effects: &mut Vec<Effect>) {
        self.stop(sender, Ending::new(Reason::Violation, detail), effects);
    }

    fn route(&mut self, from: Address, message: Message, effects: &mut Vec<Effect>) {
        match message.body {
            Body::Data(data) => self.data(from, message.to, data, effects),
            Body::HalfClose => self.half_close(from, message.to, effects),
            Body::Credit(bytes) => self.taken(from, message.to, bytes, effects),
            Body::Spawn {
                name,
                address,
                options,
            } => {
                self.spawn(from, name, address, options, effects);
            }
            Body::Kill => self.kill(from, message.to, effects),
            Body::Exit(ending) => {
                self.set_state(from, State::Exiting);
                effects.push(Effect::Exiting(from, ending));
            }
            Body::Log {
                stream,
                severity,
                line,
            } => effects.push(Effect::Log {
                address: from,
                stream,
                severity,
                line,
            }),
            Body::Register { name, .. } | Body::Lookup { name, .. }
                if name.len() > MAX_SPAWN_NAME =>
            {
                let detail = "sent a name that is longer than any can be".to_owned();
                self.violation(from, detail, effects);
            }
            Body::Register { name, release } => self.register(from, name, release, effects),
            Body::Lookup { name, address } => self.lookup(from, name, address, effects),
            Body::Monitor => self.monitor(from, message.to, effects),
            // Not for a wrapper to say: the table above has called them violations.
            Body::Startup { .. }
            | Body::Ending(_)
            | Body::Error(_)
            | Body::Warning(_)
            | Body::Grant { .. } => {}
        }
    }

    /// Has an invocation ended, with this ending. The first reason wins. Its children are ended
    /// at once as well: a process that is killed needs a processor to die on, and they may keep
    /// all of them busy.
    pub fn stop(&mut self, address: Address, ending: Ending, effects: &mut Vec<Effect>) {
        let mut doomed = vec![(address, ending)];
        while let Some((address, ending)) = doomed.pop() {
            let Some(Node::Invocation(invocation)) = self.nodes.get_mut(&address) else {
                continue;
            };
            if !invocation.state.can_be_stopped() {
                continue;
            }
            invocation.state = State::Ending;
            effects.push(Effect::Stop(address, ending));
            let children = invocation.children.clone();
            let attached = children
                .into_iter()
                .filter(|child| !self.is_detached(*child));
            doomed.extend(attached.map(|child| (child, parent_ended())));
        }
    }

    fn is_detached(&self, address: Address) -> bool {
        matches!(
            self.nodes.get(&address),
            Some(Node::Invocation(Invocation { detached: true, .. }))
        )
    }

    /// An invocation is over: its process is reaped and all it said was taken. Whoever waits is
    /// told, its children are ended, and the address means nothing from now on.
    pub fn ended(&mut self, address: Address, ending: &Ending, effects: &mut Vec<Effect>) {
        if self.state(address).is_none() {
            return;
        }
        let Some(Node::Invocation(invocation)) = self.nodes.remove(&address) else {
            return;
        };
        let parent = invocation.parent;
        // Free before anybody hears of the end, so that the next one can take them.
        self.leave_names(address, invocation.calls, ending, effects);
        self.trees.ended(invocation.root, address);
        for child in invocation.children {
            self.disconnect(address, child);
            self.orphan(child);
            if self.is_detached(child) {
                // It reads how its parent ended, and goes on.
                self.pass(address, child, Body::Ending(ending.clone()), effects);
            } else {
                self.stop(child, parent_ended(), effects);
            }
        }
        if invocation.orphaned {
            return;
        }
        let unread = self.disconnect(parent, address);
        match self.nodes.get_mut(&parent) {
            Some(Node::Invocation(parent_invocation)) => {
                parent_invocation.children.remove(&address);
                self.keep_unread(parent, address, unread);
            }
            Some(Node::Gate(child)) => *child = None,
            None => {}
        }
        self.pass(address, parent, Body::Ending(ending.clone()), effects);
    }

    /// A gateway's side is done. Its invocation, if it runs, is ended with this ending.
    pub fn close_gate(&mut self, gate: Address, ending: Ending, effects: &mut Vec<Effect>) {
        let Some(Node::Gate(child)) = self.nodes.get(&gate) else {
            return;
        };
        let child = *child;
        self.nodes.remove(&gate);
        if let Some(child) = child {
            self.disconnect(gate, child);
            self.orphan(child);
            self.stop(child, ending, effects);
        }
    }

    fn orphan(&mut self, child: Address) {
        if let Some(Node::Invocation(invocation)) = self.nodes.get_mut(&child) {
            invocation.orphaned = true;
        }
    }

    /// Takes a stream away; the bytes that the first of the two had not read of the second.
    fn disconnect(&mut self, reader: Address, writer: Address) -> u32 {
        let Some(mut link) = self.links.remove(&Pair::new(reader, writer)) else {
            return 0;
        };
        let unread = link.direction(writer, reader).unread();
        link.close(&mut self.budget);
        unread
    }

    /// Counts what `reader` has not read of a stream that is over.
    fn keep_unread(&mut self, reader: Address, writer: Address, bytes: u32) {
        if bytes > 0
            && let Some(Node::Invocation(invocation)) = self.nodes.get_mut(&reader)
        {
            invocation.unread_bytes += u64::from(bytes);
            invocation.unread.insert(writer, bytes);
        }
    }

    /// Whether anything runs that is none of these and was not started by one of them.
    pub fn runs_beside(&self, roots: &BTreeSet<Address>) -> bool {
        let descends = |mut address: Address| {
            while let Some(Node::Invocation(invocation)) = self.nodes.get(&address) {
                if roots.contains(&address) {
                    return true;
                }
                // Its parent's address may be anybody's by now, even its child's.
                if invocation.orphaned {
                    return false;
                }
                address = invocation.parent;
            }
            false
        };
        self.invocations()
            .into_iter()
            .any(|address| !descends(address))
    }

    /// Every invocation there is.
    pub fn invocations(&self) -> Vec<Address> {
        let invocation = |(address, node): (&Address, &Node)| {
            matches!(node, Node::Invocation(_)).then_some(*address)
        };
        self.nodes.iter().filter_map(invocation).collect()
    }
}
