//! The closed set of things that can be said on a slot.

use bytes::Bytes;

use crate::meter::DROPPED_STREAM;
use crate::{Address, Errno, Reason, Severity, SpawnOptions, Startup, Warning, comms};

/// The longest name in a `spawn`, in bytes.
pub const MAX_SPAWN_NAME: usize = 128;

/// The longest options of a `spawn`, encoded, in bytes: arguments and environment of a program.
pub const MAX_SPAWN_OPTIONS: usize = 32 * 1024;

/// One message: who says what to whom.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    /// The receiver; `None` where the master itself is meant.
    pub to: Option<Address>,
    /// The sender; `None` where the master itself speaks.
    pub from: Option<Address>,
    /// What is said.
    pub body: Body,
}

/// What a message says. The fields are those of `comms.proto`, which explains them.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// Payload of a stream, never empty.
    Data(Bytes),
    /// Start a function.
    Spawn {
        /// Name of the function or service.
        name: String,
        /// Address of the new invocation.
        address: Address,
        /// Everything else, if something is to differ from the project file.
        options: Option<Box<SpawnOptions>>,
    },
    /// End the addressed child.
    Kill,
    /// The invocation is over.
    Exit(Ending),
    /// A frame that named the sender of this message was refused.
    Error(Errno),
    /// An invocation begins.
    Startup {
        /// Its address.
        address: Address,
        /// Its parent's.
        parent: Address,
        /// Arguments, environment, limits.
        startup: Box<Startup>,
    },
    /// No more data follows.
    HalfClose,
    /// Bytes taken (to the master) or bytes that may be written (from it).
    Credit(u32),
    /// The sender of this message has ended.
    Ending(Ending),
    /// A limit is nearly reached.
    Warning(Warning),
    /// A line that the function logged.
    Log {
        /// 1 or 2, as the function sees them.
        stream: u8,
        /// How severe it is, where the function says so.
        severity: Option<Severity>,
        /// Without its end of line.
        line: String,
    },
    /// Take a name, or give it back.
    Register {
        /// The name.
        name: String,
        /// Give it back.
        release: bool,
    },
    /// Open a stream to whoever has a name.
    Lookup {
        /// The name.
        name: String,
        /// Address of the new stream.
        address: Address,
    },
    /// Say how the invocation behind this address ends.
    Monitor,
    /// A name was taken or refused; or, with a sender, a new stream by that name.
    Grant {
        /// The name.
        name: String,
        /// [`Errno::SUCCESS`], or why it was refused.
        error: Errno,
    },
}

/// How an invocation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ending {
    /// Why.
    pub reason: Reason,
    /// Exit code of the function, or a WASI errno with [`Reason::Refused`].
    pub code: i32,
    /// Text for the log; never for a client.
    pub detail: String,
    /// What a wrapper says of its own function: it had neither looked for input nor written
    /// anything, so nobody else can have had a part in its end.
    pub early: bool,
}

impl Ending {
    /// An ending with a text and no code.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            code: 0,
            detail: detail.into(),
            early: false,
        }
    }

    /// The ending of a function that returned or exited with this code.
    pub fn exit(code: i32) -> Self {
        let reason = if code == 0 { Reason::Ok } else { Reason::Exit };
        Self {
            reason,
            code,
            detail: String::new(),
            early: false,
        }
    }

    /// A refusal, with the errno that the spawner gets.
    pub fn refused(errno: Errno, detail: impl Into<String>) -> Self {
        Self {
            reason: Reason::Refused,
            code: i32::from(errno.0),
            detail: detail.into(),
            early: false,
        }
    }
}

/// Bytes that decode as protobuf but are no message of this protocol.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// Not protobuf, or a field of the wrong type.
    #[error("the frame is not a protobuf message: {0}")]
    NotProtobuf(String),
    /// A message with no body, or with several.
    #[error("a message must say exactly one thing, this one says: {0:?}")]
    Bodies(Vec<&'static str>),
    /// A field with a value that has no meaning.
    #[error("`{field}` must not be {value}")]
    Value {
        /// Name in `comms.proto`.
        field: &'static str,
        /// What stands there.
        value: i64,
    },
}

impl From<Message> for comms::Message {
    fn from(message: Message) -> Self {
        let number = |address: Option<Address>| address.map_or(0, Address::get);
        let mut out = Self {
            to: number(message.to),
            from: number(message.from),
            ..Self::default()
        };
        match message.body {
            Body::Data(data) => out.data = data,
            Body::Spawn {
                name,
                address,
                options,
            } => {
                out.spawn = name;
                out.spawn_address = address.get();
                out.options = options.map(|options| *options);
            }
            Body::Kill => out.kill = true,
            Body::Exit(ending) => {
                out.exiting = true;
                out.exit = ending.code;
                out.ending = Some(ending.into());
            }
            Body::Error(errno) => out.error = i32::from(errno.0),
            Body::Startup {
                address,
                parent,
                startup,
            } => {
                out.your_address = address.get();
                out.parent_address = parent.get();
                out.startup = Some(*startup);
            }
            Body::HalfClose => out.half_close = true,
            Body::Credit(bytes) => out.credit = bytes,
            Body::Ending(ending) => out.ending = Some(ending.into()),
            Body::Warning(warning) => out.warning = Some(warning),
            Body::Log {
                stream,
                severity,
                line,
            } => {
                out.log = Some(comms::Log {
                    stream: u32::from(stream),
                    line,
                    severity: severity.map_or(0, |severity| u32::from(severity.number())),
                });
            }
            Body::Register { name, release } => {
                out.register = Some(comms::Register { name, release });
            }
            Body::Lookup { name, address } => {
                out.lookup = Some(comms::Lookup {
                    name,
                    address: address.get(),
                });
            }
            Body::Monitor => out.monitor = true,
            Body::Grant { name, error } => {
                out.grant = Some(comms::Grant {
                    name,
                    error: u32::from(error.0),
                });
            }
        }
        out
    }
}

impl From<Ending> for comms::Ending {
    fn from(ending: Ending) -> Self {
        Self {
            reason: ending.reason.number(),
            code: ending.code,
            detail: ending.detail,
            early: ending.early,
        }
    }
}

impl TryFrom<comms::Ending> for Ending {
    type Error = Malformed;

    fn try_from(ending: comms::Ending) -> Result<Self, Malformed> {
        let reason = Reason::from_number(ending.reason).ok_or(Malformed::Value {
            field: "reason",
            value: ending.reason.into(),
        })?;
        Ok(Self {
            reason,
            code: ending.code,
            detail: ending.detail,
            early: ending.early,
        })
    }
}

impl TryFrom<comms::Message> for Message {
    type Error = Malformed;

    fn try_from(m: comms::Message) -> Result<Self, Malformed> {
        let bodies = [
            (!m.data.is_empty(), "data"),
            (!m.spawn.is_empty() || m.spawn_address != 0, "spawn"),
            (m.kill, "kill"),
            (m.exiting, "exiting"),
            (m.error != 0, "error"),
            (m.startup.is_some(), "startup"),
            (m.half_close, "half_close"),
            (m.credit != 0, "credit"),
            (m.ending.is_some() && !m.exiting, "ending"),
            (m.warning.is_some(), "warning"),
            (m.log.is_some(), "log"),
            (m.register.is_some(), "register"),
            (m.lookup.is_some(), "lookup"),
            (m.monitor, "monitor"),
            (m.grant.is_some(), "grant"),
        ];
        let mut said = bodies.iter().filter(|(is_said, _)| *is_said);
        let (Some((_, said)), None) = (said.next(), said.next()) else {
            let said = bodies.iter().filter(|(is_said, _)| *is_said);
            return Err(Malformed::Bodies(said.map(|(_, name)| *name).collect()));
        };
        let (to, from) = (Address::new(m.to), Address::new(m.from));
        let body = match *said {
            "data" => Body::Data(m.data),
            "spawn" => Body::Spawn {
                name: m.spawn,
                address: address("spawn_address", m.spawn_address)?,
                options: m.options.map(Box::new),
            },
            "kill" => Body::Kill,
            "exiting" => Body::Exit(match m.ending {
                Some(ending) => Ending {
                    code: m.exit,
                    ..ending.try_into()?
                },
                None => Ending::exit(m.exit),
            }),
            "error" => Body::Error(errno(m.error.into())?),
            "startup" => Body::Startup {
                address: address("your_address", m.your_address)?,
                parent: address("parent_address", m.parent_address)?,
                startup: Box::new(m.startup.unwrap_or_default()),
            },
            "half_close" => Body::HalfClose,
            "credit" => Body::Credit(m.credit),
            "ending" => Body::Ending(m.ending.unwrap_or_default().try_into()?),
            "warning" => Body::Warning(m.warning.unwrap_or_default()),
            "register" => {
                let comms::Register { name, release } = m.register.unwrap_or_default();
                Body::Register { name, release }
            }
            "lookup" => {
                let lookup = m.lookup.unwrap_or_default();
                Body::Lookup {
                    name: lookup.name,
                    address: address("address", lookup.address)?,
                }
            }
            "monitor" => Body::Monitor,
            "grant" => {
                let comms::Grant { name, error } = m.grant.unwrap_or_default();
                Body::Grant {
                    name,
                    error: errno(error.into())?,
                }
            }
            _ => {
                let log = m.log.unwrap_or_default();
                let stream = match log.stream {
                    1 => 1,
                    2 => 2,
                    3 => DROPPED_STREAM,
                    other => {
                        return Err(Malformed::Value {
                            field: "stream",
                            value: other.into(),
                        });
                    }
                };
                Body::Log {
                    stream,
                    severity: Severity::new(log.severity),
                    line: log.line,
                }
            }
        };
        Ok(Self { to, from, body })
    }
}

fn errno(value: i64) -> Result<Errno, Malformed> {
    let field = "error";
    u16::try_from(value)
        .map(Errno)
        .map_err(|_| Malformed::Value { field, value })
}

fn address(field: &'static str, number: u64) -> Result<Address, Malformed> {
    Address::new(number).ok_or(Malformed::Value { field, value: 0 })
}

impl Body {
    /// The name of the body, as in `comms.proto`; for logs and the state table.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Data(_) => "data",
            Self::Spawn { .. } => "spawn",
            Self::Kill => "kill",
            Self::Exit(_) => "exiting",
            Self::Error(_) => "error",
            Self::Startup { .. } => "startup",
            Self::HalfClose => "half_close",
            Self::Credit(_) => "credit",
            Self::Ending(_) => "ending",
            Self::Warning(_) => "warning",
            Self::Log { .. } => "log",
            Self::Register { .. } => "register",
            Self::Lookup { .. } => "lookup",
            Self::Monitor => "monitor",
            Self::Grant { .. } => "grant",
        }
    }
}
