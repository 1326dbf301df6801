//! Names that invocations take, and streams to whoever has one.
//!
//! A stream that was opened by name has an address of its own, a *call*: each end knows the
//! other one by it, and neither learns who the other is. So two may have several streams to each
//! other, and also be parent and child. In the table of streams the call's address stands for the
//! holder of the name.

use std::collections::HashMap;
use std::sync::Arc;

use protos::{Address, Body, Ending, Errno, Message, is_name};

use super::link::{Link, Pair};
use super::{Effect, Node, Router};
use crate::allow::{Allow, Right};

/// Streams by name that one invocation may have at once, whoever has opened them: a visitor costs
/// its host an id, two windows and a place among the events, and the host cannot turn it away.
pub const MAX_CALLS: usize = 64;

/// Who has which name, and the streams that were opened by name.
#[derive(Debug, Default)]
pub(super) struct Names {
    holders: HashMap<String, Address>,
    calls: HashMap<Address, Call>,
}

/// A stream that was opened by name.
#[derive(Debug)]
struct Call {
    name: String,
    /// Who has looked up the name.
    caller: Address,
    /// Who has it.
    holder: Address,
    /// The caller has spoken, so the holder knows of the stream.
    known: bool,
    /// Both have closed the stream; it is kept for those who monitor.
    closed: bool,
    /// The caller has ended and the holder has not closed its side: it may not even have read that
    /// there was somebody. Its place is free when it has, so that visitors who come and go cannot
    /// make more of what it is told than it takes.
    lingers: bool,
    /// Whether the caller, and the holder, want to know how the other one ends.
    monitors: [bool; 2],
}

/// The most bytes of text in an ending that strangers get.
const MAX_DETAIL: usize = 1024;

/// The way of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    /// The two ends, as the table of streams has them.
    pub from: Address,
    pub to: Address,
    /// Who gets it, and from whom as it knows them.
    pub receiver: Address,
    pub sender: Address,
}

impl Names {
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    pub fn knows(&self, address: Address) -> bool {
        self.calls.contains_key(&address)
    }

    /// Whether the address is that of a stream whose caller has ended.
    pub fn lingers(&self, address: Address) -> bool {
        self.calls.get(&address).is_some_and(|call| call.lingers)
    }

    /// The way from one address to another.
    pub fn route(&self, from: Address, to: Address) -> Route {
        match self.calls.get(&to) {
            Some(call) if call.caller == from => Route {
                from,
                to,
                receiver: call.holder,
                sender: to,
            },
            Some(call) if call.holder == from => Route {
                from: to,
                to: call.caller,
                receiver: call.caller,
                sender: to,
            },
            _ => Route {
                from,
                to,
                receiver: to,
                sender: from,
            },
        }
    }
}

impl Call {
    fn other(&self, one: Address) -> Address {
        if one == self.caller {
            self.holder
        } else {
            self.caller
        }
    }

    /// Whether the stream is still of use to this end.
    fn is_live_for(&self, end: Address) -> bool {
        !self.closed || self.monitors[usize::from(end == self.holder)]
    }
}

impl Router {
    /// Who speaks to `receiver` under the address of a stream by name; `None` where it is none.
    pub fn caller_behind(&self, address: Address, receiver: Address) -> Option<Address> {
        // Most often nobody has any.
        if self.names.calls.is_empty() {
            return None;
        }
        let call = self.names.calls.get(&address)?;
        Some(call.other(receiver))
    }

    /// Says which function an invocation runs, and what that may do. Before, it may use no names.
    pub fn introduce(&mut self, address: Address, function: &Arc<str>, allow: &Arc<Allow>) {
        if let Some(Node::Invocation(invocation)) = self.nodes.get_mut(&address) {
            invocation.function = Arc::clone(function);
            invocation.allow = Arc::clone(allow);
        }
    }

    /// Whether this right covers the name.
    pub(super) fn permitted(&self, who: Address, right: Right, name: &str) -> Result<(), Ending> {
        let Some(Node::Invocation(invocation)) = self.nodes.get(&who) else {
            return Err(Ending::refused(Errno::PERM, "it has ended"));
        };
        if invocation.allow.has(right, name) {
            return Ok(());
        }
        let advice = invocation.allow.advice(right, name, &invocation.function);
        Err(Ending::refused(
            Errno::ACCES,
            format!("not allowed: {advice}"),
        ))
    }

    pub(super) fn register(
        &mut self,
        who: Address,
        name: String,
        release: bool,
        effects: &mut Vec<Effect>,
    ) {
        let holder = self.names.holders.get(&name).copied();
        if release {
            if holder == Some(who) {
                self.names.holders.remove(&name);
            }
            return;
        }
        let taken = || Ending::refused(Errno::EXIST, "another invocation has it");
        let granted = if !is_name(&name) {
            Err(Ending::refused(Errno::INVAL, "that is not a name"))
        } else if holder.is_some_and(|holder| holder != who) {
            self.permitted(who, Right::Register, &name)
                .and_then(|()| Err(taken()))
        } else {
            self.permitted(who, Right::Register, &name)
        };
        let error = match granted {
            Ok(()) => {
                self.names.holders.insert(name.clone(), who);
                Errno::SUCCESS
            }
            Err(ending) => {
                let what = format!("register of `{name}`: {}", ending.detail);
                effects.push(Effect::Refused { from: who, what });
                // It was made from one just above.
                Errno(u16::try_from(ending.code).unwrap_or(Errno::PERM.0))
            }
        };
        effects.push(Effect::Deliver(Message {
            to: Some(who),
            from: None,
            body: Body::Grant { name, error },
        }));
    }

    pub(super) fn lookup(
        &mut self,
        caller: Address,
        name: String,
        address: Address,
        effects: &mut Vec<Effect>,
    ) {
        match self.admit_call(caller, &name, address) {
            Ok(holder) => {
                for end in [caller, holder] {
                    if let Some(Node::Invocation(invocation)) = self.nodes.get_mut(&end) {
                        invocation.calls.insert(address);
                        invocation.live_calls += 1;
                    }
                }
                let call = Call {
                    name,
                    caller,
                    holder,
                    known: false,
                    closed: false,
                    lingers: false,
                    monitors: [false; 2],
                };
                self.names.calls.insert(address, call);
            }
            Err(ending) => {
                let what = format!("lookup of `{name}`: {}", ending.detail);
                effects.push(Effect::Refused { from: caller, what });
                self.pass(address, caller, Body::Ending(ending), effects);
            }
        }
    }

    fn admit_call(
        &mut self,
        caller: Address,
        name: &str,
        address: Address,
    ) -> Result<Address, Ending> {
        let taken = || Ending::refused(Errno::EXIST, "the address is taken");
        if self.is_taken(address, caller) {
            return Err(taken());
        }
        if !is_name(name) {
            return Err(Ending::refused(Errno::INVAL, "that is not a name"));
        }
        self.permitted(caller, Right::Reach, name)?;
        let Some(holder) = self.names.holders.get(name).copied() else {
            return Err(Ending::refused(Errno::NOENT, "nobody has this name"));
        };
        if holder == caller {
            return Err(Ending::refused(Errno::INVAL, "the name is its own"));
        }
        // It becomes an address of the holder's as well.
        if self.is_taken(address, holder) {
            return Err(taken());
        }
        self.room_for_call(caller, "it")?;
        self.room_for_call(holder, &format!("`{name}`"))?;
        self.connect(Link::open, caller, address, self.window(caller))
            .map_err(|ending| Ending::refused(Errno::AGAIN, ending.detail))?;
        let window = self.window(holder);
        if let Some(link) = self.links.get_mut(&Pair::new(caller, address)) {
            link.limit(address, caller, window, &mut self.budget);
        }
        Ok(holder)
    }

    /// The limit of that name; nothing for who is not there.
    fn window(&self, who: Address) -> u32 {
        match self.nodes.get(&who) {
            Some(Node::Invocation(invocation)) => invocation.limits.window,
            _ => 0,
        }
    }

    fn room_for_call(&self, end: Address, what: &str) -> Result<(), Ending> {
        let Some(Node::Invocation(invocation)) = self.nodes.get(&end) else {
            return Err(Ending::refused(Errno::NOENT, "nobody has this name"));
        };
        let full = if invocation.live_calls >= MAX_CALLS {
            format!("{what} has {MAX_CALLS} streams by name")
        } else if invocation.is_behind() {
            format!("{what} has too many streams that ended and were not read")
        } else {
            return Ok(());
        };
        Err(Ending::refused(Errno::AGAIN, full))
    }

    pub(super) fn monitor(&mut self, who: Address, to: Option<Address>, effects: &mut Vec<Effect>) {
        // What has ended has said so, or is about to.
        let Some(to) = to.filter(|to| self.knows(*to)) else {
            return;
        };
        match self.names.calls.get_mut(&to) {
            Some(call) if [call.caller, call.holder].contains(&who) => {
                // On a stream that is over, its ending is on the way.
                let end = usize::from(who == call.holder);
                call.monitors[end] |= !call.closed;
            }
            // Parents and children are told in any case.
            None if self.links.contains_key(&Pair::new(who, to)) => {}
            _ => {
                let what = format!("monitor of {to}, which it does not know");
                effects.push(Effect::Refused { from: who, what });
                self.pass(to, who, Body::Error(Errno::ACCES), effects);
            }
        }
    }

    /// Delivers on a stream; who is called for the first time is told before by whom.
    pub(super) fn deliver(&mut self, route: Route, body: Body, effects: &mut Vec<Effect>) {
        let Route {
            receiver, sender, ..
        } = route;
        let first = self
            .names
            .calls
            .get_mut(&sender)
            .filter(|call| call.holder == receiver && !call.known);
        if let Some(call) = first {
            call.known = true;
            let name = call.name.clone();
            let error = Errno::SUCCESS;
            self.pass(sender, receiver, Body::Grant { name, error }, effects);
        }
        self.pass(sender, receiver, body, effects);
    }

    /// A stream that both have closed is over, if it was opened by name.
    pub(super) fn hang_up(&mut self, route: Route, effects: &mut Vec<Effect>) {
        let at = route.sender;
        let Some(call) = self.names.calls.get_mut(&at) else {
            return;
        };
        call.closed = true;
        let (caller, holder) = (call.caller, call.holder);
        let [to_caller, to_holder] = self.take_link(caller, at);
        self.keep_unread(caller, at, to_caller);
        self.keep_unread(holder, at, to_holder);
        let mut of_use = false;
        for end in [caller, holder] {
            let live = self
                .names
                .calls
                .get(&at)
                .is_some_and(|it| it.is_live_for(end));
            of_use |= live;
            if !live {
                if let Some(Node::Invocation(invocation)) = self.nodes.get_mut(&end) {
                    invocation.live_calls -= 1;
                }
                self.pass(at, end, Body::Ending(Ending::exit(0)), effects);
            }
        }
        if !of_use {
            self.names.calls.remove(&at);
            for end in [caller, holder] {
                if let Some(Node::Invocation(invocation)) = self.nodes.get_mut(&end) {
                    invocation.calls.remove(&at);
                }
            }
        }
    }

    /// The holder has closed a stream whose caller has ended; false when there is no such.
    pub(super) fn let_go(&mut self, holder: Address, at: Address) -> bool {
        let over = |call: &Call| call.holder == holder && call.lingers;
        if !self.names.calls.get(&at).is_some_and(over) {
            return false;
        }
        self.names.calls.remove(&at);
        if let Some(Node::Invocation(invocation)) = self.nodes.get_mut(&holder) {
            invocation.calls.remove(&at);
            invocation.live_calls -= 1;
        }
        true
    }

    /// Frees the names of an invocation that is over, and ends its streams by name.
    pub(super) fn leave_names(
        &mut self,
        gone: Address,
        calls: impl IntoIterator<Item = Address>,
        ending: &Ending,
        effects: &mut Vec<Effect>,
    ) {
        self.names.holders.retain(|_, holder| *holder != gone);
        let mut ending = ending.clone();
        let cut = ending.detail.floor_char_boundary(MAX_DETAIL);
        ending.detail.truncate(cut);
        for at in calls {
            let Some(mut call) = self.names.calls.remove(&at) else {
                continue;
            };
            if call.lingers {
                continue;
            }
            let other = call.other(gone);
            let told = other == call.caller || call.known;
            let holder_writes = self
                .links
                .get_mut(&Pair::new(call.caller, at))
                .is_some_and(|link| !link.direction(at, call.caller).is_closed());
            let [to_caller, to_holder] = self.take_link(call.caller, at);
            let unread = if other == call.caller {
                to_caller
            } else {
                to_holder
            };
            self.keep_unread(other, at, unread);
            let live = call.is_live_for(other);
            if other == call.holder && call.known && holder_writes {
                self.pass(at, other, Body::Ending(ending.clone()), effects);
                call.lingers = true;
                self.names.calls.insert(at, call);
                continue;
            }
            if let Some(Node::Invocation(invocation)) = self.nodes.get_mut(&other) {
                invocation.calls.remove(&at);
                invocation.live_calls -= usize::from(live);
            }
            if live && told {
                self.pass(at, other, Body::Ending(ending.clone()), effects);
            }
        }
    }

    /// Takes a call's stream away; the bytes that the caller, and the holder, had not read.
    fn take_link(&mut self, caller: Address, at: Address) -> [u32; 2] {
        let Some(mut link) = self.links.remove(&Pair::new(caller, at)) else {
            return [0; 2];
        };
        let unread = [
            link.direction(at, caller).unread(),
            link.direction(caller, at).unread(),
        ];
        link.close(&mut self.budget);
        unread
    }
}

#[cfg(test)]
mod tests;
