//! Bytes and credit between two addresses.

use bytes::Bytes;
use protos::{Address, Body, Errno, Message};

use super::link::{Link, Pair};
use super::names::Route;
use super::{Effect, Node, Router};

impl Router {
    /// Moves data from `from`, an invocation or a gateway's side.
    pub fn data(
        &mut self,
        from: Address,
        to: Option<Address>,
        data: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let Some((way, link)) = self.link(from, to, effects) else {
            return;
        };
        match link.direction(way.from, way.to).send(data.len()) {
            Ok(()) => self.deliver(way, Body::Data(data), effects),
            Err(problem) => self.violation(from, format!("{problem} to {}", way.to), effects),
        }
    }

    /// Passes the end of what `from` writes to `to`.
    pub fn half_close(&mut self, from: Address, to: Option<Address>, effects: &mut Vec<Effect>) {
        if to.is_some_and(|to| self.let_go(from, to)) {
            return;
        }
        let Some((way, link)) = self.link(from, to, effects) else {
            return;
        };
        if link.direction(way.from, way.to).close() {
            let both = link.is_closed();
            self.deliver(way, Body::HalfClose, effects);
            if both {
                self.hang_up(way, effects);
            }
        }
    }

    /// `reader` has taken bytes of what `writer` wrote: gives the writer credit for as many, and
    /// for more while its window grows.
    pub fn taken(
        &mut self,
        reader: Address,
        writer: Option<Address>,
        bytes: u32,
        effects: &mut Vec<Effect>,
    ) {
        let Some(writer) = writer else { return };
        if self.take_unread(reader, writer, bytes) {
            return;
        }
        // The writer has ended: nobody needs the credit.
        let way = self.names.route(reader, writer);
        let Some(link) = self.links.get_mut(&Pair::new(way.from, way.to)) else {
            return;
        };
        match link
            .direction(way.to, way.from)
            .take(bytes, &mut self.budget)
        {
            Ok(0) => {}
            Ok(credit) => self.deliver(way, Body::Credit(credit), effects),
            Err(problem) => self.violation(reader, format!("{problem} from {writer}"), effects),
        }
    }

    fn take_unread(&mut self, reader: Address, writer: Address, bytes: u32) -> bool {
        let Some(Node::Invocation(reader)) = self.nodes.get_mut(&reader) else {
            return false;
        };
        let Some(left) = reader.unread.get_mut(&writer) else {
            return false;
        };
        let taken = bytes.min(*left);
        *left -= taken;
        if *left == 0 {
            reader.unread.remove(&writer);
        }
        reader.unread_bytes -= u64::from(taken);
        true
    }

    /// The stream between two, if there is one; otherwise `from` is told that there is not.
    fn link(
        &mut self,
        from: Address,
        to: Option<Address>,
        effects: &mut Vec<Effect>,
    ) -> Option<(Route, &mut Link)> {
        let Some(to) = to else {
            self.violation(from, "sent data to nobody".to_owned(), effects);
            return None;
        };
        let way = self.names.route(from, to);
        let ends = Pair::new(way.from, way.to);
        if !self.links.contains_key(&ends) {
            let errno = if self.knows(to) && !self.names.lingers(to) {
                Errno::ACCES
            } else {
                Errno::PIPE
            };
            if errno == Errno::ACCES {
                let what = format!(
                    "{to} is none of its parent, its children and those that it has looked up"
                );
                effects.push(Effect::Refused { from, what });
            }
            self.pass(to, from, Body::Error(errno), effects);
            return None;
        }
        self.links.get_mut(&ends).map(|link| (way, link))
    }

    /// Delivers to a receiver that can still read; the ending of one that cannot is on its way
    /// to the sender.
    pub(super) fn pass(&self, from: Address, to: Address, body: Body, effects: &mut Vec<Effect>) {
        let listens = match self.nodes.get(&to) {
            Some(Node::Invocation(invocation)) => invocation.state.listens(),
            Some(Node::Gate(_)) => true,
            None => false,
        };
        if listens {
            effects.push(Effect::Deliver(Message {
                to: Some(to),
                from: Some(from),
                body,
            }));
        }
    }
}
