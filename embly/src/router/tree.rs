//! Trees: everything that was started, at any level, below one invocation of a gateway.
//!
//! A detached child stays in the tree that it was started in, also when the root has ended:
//! otherwise a chain of detached children would be a way around the limit.

use std::collections::HashMap;

use protos::Address;

/// Every tree in which something lives, by its root.
#[derive(Debug, Default)]
pub struct Trees(HashMap<Address, Tree>);

#[derive(Debug)]
struct Tree {
    limit: Option<u32>,
    /// Whether the root lives.
    root: bool,
    /// Invocations below the root that live.
    below: u32,
}

impl Trees {
    /// A root begins.
    pub fn plant(&mut self, root: Address, limit: Option<u32>) {
        let tree = Tree {
            limit,
            root: true,
            below: 0,
        };
        self.0.insert(root, tree);
    }

    /// How many live below `root`, where no more may.
    pub fn full(&self, root: Address) -> Option<u32> {
        let tree = self.0.get(&root)?;
        let full = tree.limit.is_some_and(|limit| tree.below >= limit);
        full.then_some(tree.below)
    }

    /// One more lives below `root`.
    pub fn grow(&mut self, root: Address) {
        if let Some(tree) = self.0.get_mut(&root) {
            tree.below += 1;
        }
    }

    /// `address`, of the tree of `root`, has ended.
    pub fn ended(&mut self, root: Address, address: Address) {
        let Some(tree) = self.0.get_mut(&root) else {
            return;
        };
        // Somebody may have taken the address of a root that has ended.
        if root == address && tree.root {
            tree.root = false;
        } else {
            tree.below = tree.below.saturating_sub(1);
        }
        if !tree.root && tree.below == 0 {
            self.0.remove(&root);
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
