//! The state machine of an invocation: states × messages, one table.
//!
//! `docs/state-machine.md` shows the same table; a test compares them.

use std::fmt;

use protos::Body;

/// Where an invocation is in its life. After `Ending` and `Exiting` it is gone: its address
/// means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its address is taken, its process is on the way. What is sent to it waits.
    Starting,
    /// `startup` was sent.
    Running,
    /// It said that it exits; its process is on the way out.
    Exiting,
    /// The master is ending it.
    Ending,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Running, Self::Exiting, Self::Ending];

    /// Whether what is sent to it can still be read.
    pub const fn listens(self) -> bool {
        match self {
            Self::Starting | Self::Running => true,
            Self::Exiting | Self::Ending => false,
        }
    }

    /// Whether it can still be given another ending.
    pub const fn can_be_stopped(self) -> bool {
        match self {
            Self::Starting | Self::Running => true,
            // What it said first is its ending.
            Self::Exiting | Self::Ending => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Exiting => "exiting",
            Self::Ending => "ending",
        })
    }
}

/// The kinds of messages, without their content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are those of protos::Body")]
pub enum Kind {
    Data,
    HalfClose,
    Credit,
    Spawn,
    Kill,
    Log,
    Exiting,
    Startup,
    Ending,
    Error,
    Warning,
    Register,
    Lookup,
    Monitor,
    Grant,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Data,
        Self::HalfClose,
        Self::Credit,
        Self::Spawn,
        Self::Kill,
        Self::Register,
        Self::Lookup,
        Self::Monitor,
        Self::Log,
        Self::Exiting,
        Self::Startup,
        Self::Ending,
        Self::Error,
        Self::Warning,
        Self::Grant,
    ];

    /// The kind of a message.
    pub const fn of(body: &Body) -> Self {
        match body {
            Body::Data(_) => Self::Data,
            Body::HalfClose => Self::HalfClose,
            Body::Credit(_) => Self::Credit,
            Body::Spawn { .. } => Self::Spawn,
            Body::Kill => Self::Kill,
            Body::Log { .. } => Self::Log,
            Body::Exit(_) => Self::Exiting,
            Body::Startup { .. } => Self::Startup,
            Body::Ending(_) => Self::Ending,
            Body::Error(_) => Self::Error,
            Body::Warning(_) => Self::Warning,
            Body::Register { .. } => Self::Register,
            Body::Lookup { .. } => Self::Lookup,
            Body::Monitor => Self::Monitor,
            Body::Grant { .. } => Self::Grant,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::HalfClose => "half_close",
            Self::Credit => "credit",
            Self::Spawn => "spawn",
            Self::Kill => "kill",
            Self::Log => "log",
            Self::Exiting => "exiting",
            Self::Startup => "startup",
            Self::Ending => "ending",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Register => "register",
            Self::Lookup => "lookup",
            Self::Monitor => "monitor",
            Self::Grant => "grant",
        }
    }
}

/// What happens to a message that a wrapper sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is acted on.
    Route,
    /// It is dropped without a word.
    Discard,
    /// Its sender is ended.
    Violation,
}

/// What happens to a message of this kind from the wrapper of an invocation in this state.
pub const fn verdict(state: State, kind: Kind) -> Verdict {
    match (state, kind) {
        // Only the master says these.
        (_, Kind::Startup | Kind::Ending | Kind::Error | Kind::Warning | Kind::Grant) => {
            Verdict::Violation
        }
        // Nobody has told it who it is.
        (State::Starting, _) => Verdict::Violation,
        (State::Running, _) => Verdict::Route,
        // Where it was when its time was over.
        (State::Ending, Kind::Log) => Verdict::Route,
        // It is over, whatever was still under way.
        (State::Exiting | State::Ending, _) => Verdict::Discard,
    }
}

/// What happens to a message for an invocation in this state, `None` being one that has ended.
const fn delivery(state: Option<State>, kind: Kind) -> &'static str {
    match (state, kind) {
        (
            _,
            Kind::Spawn | Kind::Log | Kind::Exiting | Kind::Register | Kind::Lookup | Kind::Monitor,
        ) => "for the master",
        (_, Kind::Startup | Kind::Ending | Kind::Error | Kind::Warning | Kind::Grant) => {
            "only from the master"
        }
        (None, Kind::Data | Kind::HalfClose) => "dropped, sender gets `error` EPIPE",
        (None, Kind::Credit | Kind::Kill) => "dropped",
        (Some(state), Kind::Kill) => {
            if state.can_be_stopped() {
                "ends it"
            } else {
                "dropped"
            }
        }
        (Some(State::Starting), _) => "waits for `startup`",
        (Some(state), _) => {
            if state.listens() {
                "delivered"
            } else {
                "dropped"
            }
        }
    }
}

/// Both tables, as the documents show them.
pub fn markdown() -> String {
    use fmt::Write as _;
    let mut out = String::from("| from its wrapper | ");
    let states = State::ALL.map(|state| state.to_string()).join(" | ");
    let line = |columns: usize| format!("|{}\n", " --- |".repeat(columns));
    out += &format!("{states} |\n{}", line(1 + State::ALL.len()));
    for kind in Kind::ALL {
        let cells = State::ALL.map(|state| match verdict(state, kind) {
            Verdict::Route => "acted on",
            Verdict::Discard => "dropped",
            Verdict::Violation => "violation",
        });
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| `{}` | {} |", kind.name(), cells.join(" | "));
    }
    let _ = writeln!(out, "\n| to the invocation | {states} | ended |");
    out += &line(2 + State::ALL.len());
    for kind in Kind::ALL {
        let cells = State::ALL
            .map(|state| delivery(Some(state), kind))
            .join(" | ");
        let _ = writeln!(
            out,
            "| `{}` | {cells} | {} |",
            kind.name(),
            delivery(None, kind)
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_show_the_states_as_they_are() {
        let document = include_str!("../../../docs/state-machine.md");
        let tables = markdown();
        assert!(
            document.contains(&tables),
            "docs/state-machine.md must show:\n{tables}"
        );
    }

    #[test]
    fn what_only_the_master_says_is_a_violation_in_every_state() {
        for state in State::ALL {
            for kind in [
                Kind::Startup,
                Kind::Ending,
                Kind::Error,
                Kind::Warning,
                Kind::Grant,
            ] {
                assert_eq!(verdict(state, kind), Verdict::Violation, "{kind:?} {state}");
            }
        }
    }
}
