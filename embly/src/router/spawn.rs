//! Children: who may start one, and who may end it.

use protos::message::{MAX_SPAWN_NAME, MAX_SPAWN_OPTIONS};
use protos::{Address, Body, Ending, Errno, Reason, SpawnOptions, is_service};

use super::link::Link;
use super::{Effect, Node, Router, SpawnLimits};
use crate::allow::Right;

/// What a child that may start begins with.
struct Admitted {
    level: u32,
    root: Address,
    /// The limit of its parent.
    window: u32,
}

/// Longer than what a wrapper lets pass. It may decode to a little more than it was encoded in.
fn is_too_long(options: &SpawnOptions) -> bool {
    let texts = options.args.iter().chain(&options.env);
    let bytes: usize = texts.map(String::len).sum();
    bytes + options.name.len() > MAX_SPAWN_OPTIONS
}

impl Router {
    pub(super) fn spawn(
        &mut self,
        parent: Address,
        name: String,
        address: Address,
        options: Option<Box<SpawnOptions>>,
        effects: &mut Vec<Effect>,
    ) {
        if name.len() > MAX_SPAWN_NAME || options.as_ref().is_some_and(|it| is_too_long(it)) {
            let detail = "sent a spawn that is longer than any can be".to_owned();
            return self.violation(parent, detail, effects);
        }
        // Services have lists of their own.
        let service = is_service(&name);
        let permitted = if service {
            Ok(())
        } else {
            self.permitted(parent, Right::Spawn, &name)
        };
        match permitted.and_then(|()| self.admit(parent, address, service)) {
            Ok(Admitted {
                level,
                root,
                window,
            }) => {
                let nothing = SpawnLimits {
                    children: Some(0),
                    depth: Some(0),
                    tree: Some(0),
                    window,
                };
                let detached = options.as_ref().is_some_and(|options| options.detached);
                self.add(address, parent, root, level, nothing, detached);
                self.trees.grow(root);
                if let Some(Node::Invocation(parent)) = self.nodes.get_mut(&parent) {
                    parent.children.insert(address);
                }
                effects.push(Effect::Start {
                    address,
                    parent,
                    name,
                    options,
                    level,
                });
            }
            Err(ending) => {
                let what = format!("spawn of `{name}`: {}", ending.detail);
                effects.push(Effect::Refused { from: parent, what });
                self.pass(address, parent, Body::Ending(ending), effects);
            }
        }
    }

    /// Whether an address means something already, or still, to this invocation.
    pub(super) fn is_taken(&self, address: Address, to: Address) -> bool {
        let meant = match self.nodes.get(&to) {
            Some(Node::Invocation(it)) => {
                address == it.parent || address == it.root || it.unread.contains_key(&address)
            }
            _ => false,
        };
        meant || self.knows(address)
    }

    fn admit(
        &mut self,
        parent: Address,
        address: Address,
        service: bool,
    ) -> Result<Admitted, Ending> {
        let Some(Node::Invocation(invocation)) = self.nodes.get(&parent) else {
            return Err(Ending::refused(Errno::PERM, "the spawner has ended"));
        };
        let SpawnLimits {
            children,
            depth,
            window,
            tree: _,
        } = invocation.limits;
        let (level, root) = (invocation.level + 1, invocation.root);
        if self.is_taken(address, parent) {
            return Err(Ending::refused(Errno::EXIST, "the address is taken"));
        }
        // A service starts nobody.
        if !service && depth.is_some_and(|depth| level > depth) {
            let detail = format!("limit `depth` reached: level {level}");
            return Err(Ending::refused(Errno::PERM, detail));
        }
        if let Some(live) = self.trees.full(root) {
            let detail = format!("limit `tree` reached: {live} live under one root");
            return Err(Ending::refused(Errno::PERM, detail));
        }
        let count = invocation.children.len();
        if children.is_some_and(|children| count >= children as usize) {
            let detail = format!("limit `children` reached: {count} are alive");
            return Err(Ending::refused(Errno::AGAIN, detail));
        }
        if invocation.is_behind() {
            let detail = "too many children have ended whose output was not read";
            return Err(Ending::refused(Errno::AGAIN, detail));
        }
        let open = if service {
            Link::open_to_service
        } else {
            Link::open
        };
        self.connect(open, parent, address, window)
            .map_err(|ending| Ending::refused(Errno::AGAIN, ending.detail))?;
        Ok(Admitted {
            level,
            root,
            window,
        })
    }

    pub(super) fn kill(
        &mut self,
        parent: Address,
        child: Option<Address>,
        effects: &mut Vec<Effect>,
    ) {
        let is_child = |child: &Address| match self.nodes.get(&parent) {
            Some(Node::Invocation(parent)) => parent.children.contains(child),
            _ => false,
        };
        match child {
            Some(child) if is_child(&child) => {
                self.stop(
                    child,
                    Ending::new(Reason::Killed, "killed by its parent"),
                    effects,
                );
            }
            // One that has just ended needs no killing.
            Some(other) if self.knows(other) => {
                let what = format!("kill of {other}, which is not its child");
                effects.push(Effect::Refused { from: parent, what });
                self.pass(other, parent, Body::Error(Errno::PERM), effects);
            }
            _ => {}
        }
    }
}
