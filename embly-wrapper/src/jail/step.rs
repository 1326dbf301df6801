//! The steps of the jail by name, and what comes of each.

use std::io;

/// A step of the jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It dies with the master.
    ParentDeath,
    /// A session of its own.
    Session,
    /// Signals of the terminal are ignored.
    Signals,
    /// Inherited descriptors are closed.
    Descriptors,
    /// The environment is empty.
    Environment,
    /// Standard input, output and error are `/dev/null`.
    Standard,
    /// The kernel takes it first when memory runs out.
    OomScore,
    /// Resource limits.
    Limits,
    /// An IPC namespace of its own.
    IpcNamespace,
    /// A UTS namespace of its own.
    UtsNamespace,
    /// A network namespace of its own, with nothing in it.
    NetNamespace,
    /// An unprivileged user and no groups, where the master is root.
    User,
    /// A user namespace of its own, in which only its own user exists.
    UserNamespace,
    /// No capabilities, now and later.
    Capabilities,
    /// No program that it runs has more privileges.
    NoNewPrivileges,
    /// Others of the same user cannot look into it.
    NotDumpable,
    /// No file, no port, nobody outside to signal or to connect to.
    Landlock,
    /// System calls that it does not need end it.
    Filter,
    /// It cannot start a process.
    NoProcesses,
}

impl Step {
    /// What is done once, before a function is loaded, in order.
    pub const BEFORE_LOADING: [Self; 13] = [
        Self::Environment,
        Self::Standard,
        Self::OomScore,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::NetNamespace,
        Self::User,
        Self::UserNamespace,
        Self::Capabilities,
        Self::ParentDeath,
        Self::NoNewPrivileges,
        Self::NotDumpable,
        Self::Landlock,
    ];

    /// What is done once, when a function is loaded, in order.
    pub const AFTER_LOADING: [Self; 2] = [Self::Limits, Self::Filter];

    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::ParentDeath,
        Self::Session,
        Self::Signals,
        Self::Descriptors,
        Self::Environment,
        Self::Standard,
        Self::OomScore,
        Self::Limits,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::NetNamespace,
        Self::User,
        Self::UserNamespace,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::NotDumpable,
        Self::Landlock,
        Self::Filter,
        Self::NoProcesses,
    ];

    /// In words: what a process has, once the step is done.
    pub fn name(self) -> &'static str {
        match self {
            Self::ParentDeath => "death with the master",
            Self::Session => "a session of its own",
            Self::Signals => "ignored signals",
            Self::Descriptors => "closed descriptors",
            Self::Environment => "an empty environment",
            Self::Standard => "/dev/null as standard input, output and error",
            Self::OomScore => "the first place when memory runs out",
            Self::Limits => "resource limits",
            Self::IpcNamespace => "an IPC namespace",
            Self::UtsNamespace => "a UTS namespace",
            Self::NetNamespace => "a network namespace",
            Self::User => "an unprivileged user",
            Self::UserNamespace => "a user namespace",
            Self::Capabilities => "an empty capability bounding set",
            Self::NoNewPrivileges => "no new privileges",
            Self::NotDumpable => "closed memory",
            Self::Landlock => "landlock",
            Self::Filter => "the filter for system calls",
            Self::NoProcesses => "no processes",
        }
    }

    /// Whether a system may lack it: an old kernel, one that was built without, a container, a
    /// user without the privilege.
    pub fn may_be_missing(self) -> bool {
        match self {
            Self::OomScore
            | Self::IpcNamespace
            | Self::UtsNamespace
            | Self::NetNamespace
            | Self::User
            | Self::UserNamespace
            | Self::Capabilities
            | Self::Landlock
            | Self::Filter
            | Self::NoProcesses => true,
            Self::ParentDeath
            | Self::Session
            | Self::Signals
            | Self::Descriptors
            | Self::Environment
            | Self::Standard
            | Self::Limits
            | Self::NoNewPrivileges
            | Self::NotDumpable => false,
        }
    }

    pub(super) fn fatal<T>(self, result: io::Result<T>) -> Result<T, JailError> {
        result.map_err(|source| JailError::Failed { step: self, source })
    }

    pub(super) fn missing(self, why: &io::Error) -> Missing {
        Missing {
            step: self.name().to_owned(),
            why: why.to_string(),
        }
    }

    pub(super) fn outcome(self, result: io::Result<()>) -> Result<Option<Missing>, JailError> {
        match result {
            Err(error) if self.may_be_missing() => Ok(Some(self.missing(&error))),
            result => self.fatal(result).map(|()| None),
        }
    }
}

/// A step that this system does not offer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// Its name: [`Step::name`].
    pub step: String,
    /// What the system says.
    pub why: String,
}

/// A jail that cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// A step failed.
    #[error("the jail cannot be closed: {}: {source}", step.name())]
    Failed {
        /// The step.
        step: Step,
        /// Why.
        source: io::Error,
    },
    /// A step is not offered here, and all are required.
    #[error("the jail is not complete: {} is not available here: {}; see `embly doctor`, or leave out `--require-jail`", .0.step, .0.why)]
    Required(Missing),
}
