//! The events. Their JSON is documented in `docs/reference/output.md`; names never change.

use std::borrow::Cow;

use protos::{Address, Ending, Errno, Reason, Severity, is_service};
use serde::{Deserialize, Serialize, Serializer};

use crate::router::Size;
use crate::secrets::Masks;
use crate::telemetry::{Ended, Telemetry};

/// How much a line matters to an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For whoever looks for a mistake.
    Debug,
    /// The ordinary course of things.
    Info,
    /// To be looked at in working hours.
    Warn,
    /// To be looked at now.
    Error,
}

impl Level {
    /// As events and the project file say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// As syslog counts.
    pub fn severity(self) -> Severity {
        match self {
            Self::Debug => Severity::Debug,
            Self::Info => Severity::Info,
            Self::Warn => Severity::Warning,
            Self::Error => Severity::Error,
        }
    }
}

impl From<Severity> for Level {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Debug => Self::Debug,
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warn,
            Severity::Error => Self::Error,
        }
    }
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildState {
    /// Compiled now.
    Compiled,
    /// Nothing had changed.
    Unchanged,
    /// It does not compile.
    Failed,
}

/// One request that was answered, or not.
#[derive(Debug, Clone, Serialize)]
pub struct Access<'a> {
    /// Name of the gateway.
    pub gateway: &'a str,
    /// The client's address and port.
    pub client: String,
    /// Method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: &'a str,
    /// Status; 499 where the client left before there was one.
    pub status: u16,
    /// Bytes of the response's body.
    pub bytes: u64,
    /// Bytes of the request's body that were taken.
    pub bytes_in: u64,
    /// From the request's head to the end of the response, in microseconds.
    pub total_us: u64,
    /// The function.
    pub function: &'a str,
    /// The invocation, if it came to one.
    #[serde(serialize_with = "show_option_address")]
    pub address: Option<Address>,
    /// The request's id.
    pub request_id: &'a str,
    /// Why it was not the function's own answer, or not all of it.
    #[serde(serialize_with = "show_option_reason")]
    pub reason: Option<Reason>,
    /// What the invocation has used.
    #[serde(flatten)]
    pub used: Option<Used>,
}

/// What an invocation has used by its end. Times are microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Used {
    /// In the queue.
    pub queue_us: u64,
    /// Until it began.
    pub start_us: u64,
    /// From there to its end.
    pub run_us: u64,
    /// CPU time.
    pub cpu_us: u64,
    /// The most that its process had resident; 0 where that serves others.
    pub memory_bytes: u64,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are named as they are shown")]
pub enum Event<'a> {
    /// A gateway is open.
    Listening {
        gateway: &'a str,
        url: &'a str,
        #[serde(serialize_with = "show_address")]
        address: Address,
        function: Option<&'a str>,
        routes: usize,
    },
    /// Metrics and health can be asked for.
    AdminListening { url: &'a str },
    /// A function was built, or could not be.
    Build {
        function: &'a str,
        state: BuildState,
        elapsed_ms: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
    },
    /// A function begins.
    InvocationStarted {
        #[serde(serialize_with = "show_address")]
        address: Address,
        #[serde(serialize_with = "show_address")]
        parent: Address,
        function: &'a str,
        gateway: Option<&'a str>,
        request_id: Option<&'a str>,
    },
    /// A function is over.
    InvocationEnded {
        #[serde(serialize_with = "show_address")]
        address: Address,
        function: &'a str,
        #[serde(serialize_with = "show_reason")]
        reason: Reason,
        code: i32,
        detail: &'a str,
        queue_us: u64,
        start_us: u64,
        run_us: u64,
        cpu_us: u64,
        memory_bytes: u64,
        bytes_in: u64,
        bytes_out: u64,
        request_id: Option<&'a str>,
    },
    /// A function wrote a line.
    Log {
        function: &'a str,
        #[serde(serialize_with = "show_address")]
        address: Address,
        stream: &'static str,
        level: Option<Level>,
        line: &'a str,
        request_id: Option<&'a str>,
    },
    /// A request was answered.
    Access(Access<'a>),
    /// Words.
    Message { level: Level, text: &'a str },
    /// The master has stopped.
    Stopped {
        reason: &'a str,
        #[serde(flatten)]
        left: Left,
    },
}

/// What a master leaves to the kernel as it exits: all 0, unless something did not end in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Left {
    /// What the routing table still holds: `addresses`, `links`, `unread`, `bytes`.
    #[serde(flatten)]
    pub table: Size,
    /// Where messages to an address would still be delivered.
    pub receivers: usize,
    /// Fork servers that were not reaped.
    pub fork_servers: usize,
    /// Wrappers that were not reaped.
    pub wrappers: usize,
}

impl Event<'_> {
    /// Passes it on without secrets.
    pub(super) fn masked<T>(&self, masks: &Masks, then: impl FnOnce(&Event<'_>) -> T) -> T {
        // What functions, clients and programs say; the rest is names and numbers of ours.
        let text = match self {
            Event::Build { detail, .. } => detail.unwrap_or_default(),
            Event::InvocationEnded { detail: text, .. }
            | Event::Log { line: text, .. }
            | Event::Access(Access { path: text, .. })
            | Event::Message { text, .. } => text,
            Event::Listening { .. }
            | Event::AdminListening { .. }
            | Event::InvocationStarted { .. }
            | Event::Stopped { .. } => "",
        };
        let Cow::Owned(masked) = masks.mask(text) else {
            return then(self);
        };
        let mut event = self.clone();
        match &mut event {
            Event::Build { detail, .. } => *detail = Some(&masked),
            Event::InvocationEnded { detail: text, .. }
            | Event::Log { line: text, .. }
            | Event::Access(Access { path: text, .. })
            | Event::Message { text, .. } => *text = &masked,
            Event::Listening { .. }
            | Event::AdminListening { .. }
            | Event::InvocationStarted { .. }
            | Event::Stopped { .. } => {}
        }
        then(&event)
    }

    /// The function and the invocation that it is about, if it is about any.
    pub(super) fn about(&self) -> (Option<&str>, Option<Address>) {
        match self {
            Self::InvocationStarted {
                function, address, ..
            }
            | Self::InvocationEnded {
                function, address, ..
            }
            | Self::Log {
                function, address, ..
            } => (Some(function), Some(*address)),
            Self::Access(access) => (Some(access.function), access.address),
            Self::Build { function, .. } => (Some(function), None),
            Self::Listening { .. }
            | Self::AdminListening { .. }
            | Self::Message { .. }
            | Self::Stopped { .. } => (None, None),
        }
    }

    /// Counts it.
    pub(super) fn count(&self, telemetry: &Telemetry) {
        match self {
            Self::InvocationEnded {
                function,
                reason,
                run_us,
                ..
            } if is_service(function) => telemetry.called(function, *reason, *run_us),
            Self::InvocationEnded {
                function,
                reason,
                queue_us,
                start_us,
                run_us,
                cpu_us,
                bytes_in,
                bytes_out,
                ..
            } => {
                let ended = Ended {
                    reason: *reason,
                    queue: *queue_us,
                    start: *start_us,
                    run: *run_us,
                    cpu: *cpu_us,
                    bytes_in: *bytes_in,
                    bytes_out: *bytes_out,
                };
                telemetry.ended(function, &ended);
            }
            Self::Access(access) => {
                telemetry.answered(access.gateway, access.status, access.total_us, access.bytes);
                // A dash stands for the gateway itself.
                if let (Some(reason), None) = (access.reason, access.address)
                    && access.function != "-"
                {
                    telemetry.function(access.function).turned_away.add(reason);
                }
            }
            Self::Listening { .. }
            | Self::AdminListening { .. }
            | Self::Build { .. }
            | Self::InvocationStarted { .. }
            | Self::Log { .. }
            | Self::Message { .. }
            | Self::Stopped { .. } => {}
        }
    }

    /// Whether it comes as often as requests do.
    pub fn comes_with_requests(&self) -> bool {
        match self {
            Self::InvocationStarted { .. }
            | Self::InvocationEnded { .. }
            | Self::Log { .. }
            | Self::Access(_) => true,
            Self::Listening { .. }
            | Self::AdminListening { .. }
            | Self::Build { .. }
            | Self::Message { .. }
            | Self::Stopped { .. } => false,
        }
    }

    /// How much a line matters to those who have chosen a level: what its function says of it.
    pub fn weight(&self) -> Level {
        match self {
            Self::Log { level, stream, .. } => level.unwrap_or(match *stream {
                "stdout" => Level::Info,
                _ => Level::Warn,
            }),
            _ => self.level(),
        }
    }

    /// What it is called.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Listening { .. } => "listening",
            Self::AdminListening { .. } => "admin_listening",
            Self::Build { .. } => "build",
            Self::InvocationStarted { .. } => "invocation_started",
            Self::InvocationEnded { .. } => "invocation_ended",
            Self::Log { .. } => "log",
            Self::Access(_) => "access",
            Self::Message { .. } => "message",
            Self::Stopped { .. } => "stopped",
        }
    }

    /// How much it matters to whoever runs the master.
    pub fn level(&self) -> Level {
        match self {
            Self::Listening { .. }
            | Self::AdminListening { .. }
            | Self::Log { .. }
            | Self::Access(_)
            | Self::Stopped { .. } => Level::Info,
            Self::Build {
                state: BuildState::Failed,
                ..
            } => Level::Error,
            Self::Build { .. } => Level::Info,
            Self::InvocationStarted { .. } => Level::Debug,
            Self::InvocationEnded {
                reason,
                function,
                code,
                ..
            } => match reason {
                Reason::Ok
                | Reason::ClientGone
                | Reason::ParentEnded
                | Reason::Shutdown
                | Reason::Replaced => Level::Debug,
                // What was asked of a service is not there, or is not wanted any more.
                Reason::Killed if is_service(function) => Level::Debug,
                Reason::Refused if *code == i32::from(Errno::NOENT.0) => Level::Debug,
                // The function's own doing, which its author wants to see.
                _ => Level::Info,
            },
            Self::Message { level, .. } => *level,
        }
    }
}

/// An ending as words: the reason, what it means, the text.
pub fn describe(ending: &Ending) -> String {
    let Ending {
        reason,
        code,
        detail,
        early: _,
    } = ending;
    let mut text = match reason {
        Reason::Exit => format!("exit {code}"),
        _ => reason.to_string(),
    };
    if !detail.is_empty() {
        text.push_str(": ");
        text.push_str(detail);
    }
    text
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde wants"
)]
fn show_address<S: Serializer>(address: &Address, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(address)
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "as serde wants"
)]
fn show_option_address<S: Serializer>(address: &Option<Address>, to: S) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => to.collect_str(address),
        None => to.serialize_none(),
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde wants"
)]
fn show_reason<S: Serializer>(reason: &Reason, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(reason.name())
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "as serde wants"
)]
fn show_option_reason<S: Serializer>(reason: &Option<Reason>, to: S) -> Result<S::Ok, S::Error> {
    match reason {
        Some(reason) => to.serialize_some(reason.name()),
        None => to.serialize_none(),
    }
}
