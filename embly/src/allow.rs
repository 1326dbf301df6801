//! What a function may do to the others of its project: `allow` of the project file.

mod host;
pub mod http;
mod tcp;
mod written;

use std::collections::BTreeSet;

pub use host::{Host, HostError, HostPort};
use http::HttpGrant;
pub use tcp::{Hosts, TcpGrant};
pub use written::{Item, Text, Written};

/// The lists of one function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Functions that it may start; `None` for all of the project.
    pub spawn: Option<BTreeSet<String>>,
    /// Names that it may take.
    pub register: BTreeSet<String>,
    /// Names that it may look up.
    pub reach: BTreeSet<String>,
    /// Key-value stores, or parts of them.
    pub kv: Vec<KvGrant>,
    /// Whom it may connect to.
    pub tcp: Vec<TcpGrant>,
    /// What may be asked of others over HTTP.
    pub http: Vec<HttpGrant>,
    /// SQL stores.
    pub sql: Vec<SqlGrant>,
    /// All lists as the project file has them, for advice.
    pub written: Written,
}

/// Keys of a store that a function may use: those that begin with `prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvGrant {
    /// Name of the store.
    pub store: String,
    /// What the keys begin with; empty for all.
    pub prefix: String,
    /// Whether it may also change them.
    pub write: bool,
}

/// An SQL store that a function may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlGrant {
    /// Name of the store.
    pub store: String,
    /// Whether it may also change it.
    pub write: bool,
}

/// One of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// `spawn`
    Spawn,
    /// `register`
    Register,
    /// `reach`
    Reach,
}

impl Right {
    /// The key in the project file.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Register => "register",
            Self::Reach => "reach",
        }
    }
}

impl Allow {
    /// Whether the list has this name.
    pub fn has(&self, right: Right, name: &str) -> bool {
        self.list(right).is_none_or(|list| list.contains(name))
    }

    /// What to write so that it does: the whole line, and where it belongs.
    pub fn advice(&self, right: Right, name: &str, function: &str) -> String {
        let (key, mut names) = (right.key(), Vec::new());
        names.extend(self.list(right).into_iter().flatten().map(String::as_str));
        let there = self.written.has(key) || !names.is_empty();
        names.push(name);
        written::line(key, there, &names, &name, function)
    }

    const fn list(&self, right: Right) -> Option<&BTreeSet<String>> {
        match right {
            Right::Spawn => self.spawn.as_ref(),
            Right::Register => Some(&self.register),
            Right::Reach => Some(&self.reach),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_functions_may_be_started_and_no_names_used_unless_the_file_says_so() {
        let mut allow = Allow::default();
        assert!(allow.has(Right::Spawn, "hello"));
        assert!(!allow.has(Right::Register, "board") && !allow.has(Right::Reach, "board"));
        allow.spawn = Some(BTreeSet::from(["hello".to_owned()]));
        assert!(allow.has(Right::Spawn, "hello") && !allow.has(Right::Spawn, "other"));
    }

    #[test]
    fn advice_is_the_line_to_write() {
        let allow = Allow {
            reach: BTreeSet::from(["a".to_owned()]),
            ..Allow::default()
        };
        assert_eq!(
            allow.advice(Right::Reach, "board", "front"),
            "write `reach: [a, board]` under `allow` of function `front`"
        );
        assert_eq!(
            allow.advice(Right::Register, "board", "front"),
            "add `register: [board]` under `allow` of function `front`"
        );
    }
}
