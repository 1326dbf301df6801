//! What the admin API says: the objects of its answers, for both sides.

use serde_json::Value;

use super::schema::objects;

objects! {
    /// A running master.
    pub struct Master {
        /// Names it among the masters of this user; the name of its folder of sockets.
        pub id: String,
        /// Its process.
        pub pid: u64,
        /// The project file that it serves.
        pub project: String,
        /// The environment of it that is served; null where none was named.
        pub environment: Option<String>,
        /// `run` or `dev`.
        pub command: String,
        /// The version of Embly.
        pub version: String,
        /// When it was started, RFC 3339.
        pub since: String,
        /// `starting`, `serving` or `stopping`.
        pub state: String,
        /// Its gateways that listen.
        pub gateways: Vec<Gateway>,
        /// Where metrics and health can be asked for, if anywhere.
        pub admin_listen: Option<String>,
    }

    /// A gateway that listens.
    pub struct Gateway {
        /// Its name.
        pub name: String,
        /// Where.
        pub url: String,
    }

    /// All invocations that run, the oldest first.
    pub struct Invocations {
        /// One for each.
        pub invocations: Vec<Invocation>,
    }

    /// An invocation that runs.
    pub struct Invocation {
        /// Its address.
        pub address: String,
        /// Its function.
        pub function: String,
        /// The address of whoever has started it.
        pub parent: String,
        /// The gateway that has started it; null for a child, and for what the project keeps running.
        pub gateway: Option<String>,
        /// The request that it belongs to.
        pub request_id: Option<String>,
        /// `starting`, `running`, `exiting` or `ending`.
        pub state: String,
        /// How long it has been there, in microseconds.
        pub age_us: u64,
        /// Its process, where it has one.
        pub pid: Option<u64>,
        /// CPU time so far, in microseconds.
        pub cpu_us: Option<u64>,
        /// Memory that its process has resident, in bytes; what it shares with others is counted.
        pub memory_bytes: Option<u64>,
        /// Payload to it so far.
        pub bytes_in: u64,
        /// Payload from it so far.
        pub bytes_out: u64,
    }

    /// All functions, by name.
    pub struct Functions {
        /// One for each.
        pub functions: Vec<Function>,
    }

    /// A function that can be called.
    pub struct Function {
        /// Its name.
        pub name: String,
        /// Invocations that run, also of versions that were replaced.
        pub live: u64,
        /// Processes that wait for a request.
        pub parked: u64,
        /// Requests that wait for room.
        pub waiting: u64,
        /// Requests and spawns of it that came to no invocation, so far.
        pub refused: u64,
        /// Invocations that have ended, so far.
        pub ended: u64,
    }

    /// What is kept of invocations that run, and of those that ended lately: the oldest first.
    pub struct Traces {
        /// One for each that a gateway, or the project, has started.
        pub traces: Vec<Brief>,
    }

    /// A trace, in a few words.
    pub struct Brief {
        /// The address of the invocation with which it began.
        pub address: String,
        /// Its function.
        pub function: String,
        /// The gateway that has started it; null for what the project keeps running.
        pub gateway: Option<String>,
        /// The request that it belongs to.
        pub request_id: Option<String>,
        /// The method of that request.
        pub method: Option<String>,
        /// Its path and query, without secrets, and cut where they are long.
        pub path: Option<String>,
        /// The status of its answer; null until there is one.
        pub status: Option<u64>,
        /// Whether the handler has returned an error, and the SDK has answered in its place.
        pub failed: bool,
        /// When it began, RFC 3339.
        pub time: String,
        /// From there to its end, or until now, in microseconds.
        pub total_us: u64,
        /// How the first invocation has ended; null while it runs.
        pub reason: Option<String>,
        /// How many invocations and calls of services are kept of it.
        pub invocations: u64,
        /// How many messages.
        pub messages: u64,
    }

    /// Traces of one invocation or one request.
    pub struct Traced {
        /// The oldest first: a function in front of another one has a trace of its own.
        pub traces: Vec<Trace>,
    }

    /// An invocation that a gateway, or the project, has started, and all below it.
    pub struct Trace {
        /// When it began, RFC 3339. Other times are microseconds from there.
        pub time: String,
        /// The method of the request that has begun it; null where none has.
        pub method: Option<String>,
        /// Its path and query, without secrets, and cut where they are long.
        pub path: Option<String>,
        /// The status of its answer; null until there is one.
        pub status: Option<u64>,
        /// Whether the handler has returned an error, and the SDK has answered in its place.
        pub failed: bool,
        /// Who was in it, in the order in which they began.
        pub invocations: Vec<TracedInvocation>,
        /// What went between them, in its order.
        pub messages: Vec<TracedMessage>,
        /// What was asked for and refused.
        pub refusals: Vec<TracedRefusal>,
        /// Invocations that were there and are not kept.
        pub invocations_left_out: u64,
        /// Messages, between the first and the last, that are not kept.
        pub messages_left_out: u64,
        /// Refusals that are not kept.
        pub refusals_left_out: u64,
    }

    /// An invocation, or a call of a service, in a trace.
    pub struct TracedInvocation {
        /// Its address.
        pub address: String,
        /// The address of whoever has started it.
        pub parent: String,
        /// Its function, or the service.
        pub function: String,
        /// The gateway that has started it; null for a child, and for what the project keeps running.
        pub gateway: Option<String>,
        /// The request that it belongs to.
        pub request_id: Option<String>,
        /// When it was started.
        pub at_us: u64,
        /// When it ended; null while it runs. What follows is null as well then, but for the bytes.
        pub ended_us: Option<u64>,
        /// How it ended.
        pub reason: Option<String>,
        /// Its exit code, or the number that belongs to the reason.
        pub code: Option<i32>,
        /// What is to be said of it, without secrets.
        pub detail: Option<String>,
        /// Time in the queue, before it was started.
        pub queue_us: Option<u64>,
        /// Time until it had a process.
        pub start_us: Option<u64>,
        /// CPU time.
        pub cpu_us: Option<u64>,
        /// Payload to it so far; null of a call of a service that goes on.
        pub bytes_in: Option<u64>,
        /// Payload from it so far; null of a call of a service that goes on.
        pub bytes_out: Option<u64>,
    }

    /// A message in a trace.
    pub struct TracedMessage {
        /// When.
        pub at_us: u64,
        /// Who sent it: an invocation, a call, or the gateway's side.
        pub from: String,
        /// Who got it.
        pub to: String,
        /// `data`, or `close`: its sender writes no more to the other one.
        pub kind: String,
        /// Bytes of payload.
        pub bytes: u64,
    }

    /// Something that was refused.
    pub struct TracedRefusal {
        /// When.
        pub at_us: u64,
        /// The address of whoever asked for it.
        pub address: String,
        /// What it was, and why it was refused, without secrets.
        pub what: String,
    }

    /// An invocation is being ended.
    pub struct Killed {
        /// Its address.
        pub address: String,
        /// Its function.
        pub function: String,
    }

    /// The project was read, built and is served.
    pub struct Reloaded {
        /// What is to be said of the project file all the same, as in the event `problems`.
        pub problems: Vec<Value>,
    }

    /// All versions that were deployed and are kept, the latest first.
    pub struct Versions {
        /// One for each.
        pub versions: Vec<Version>,
    }

    /// A version that was deployed.
    pub struct Version {
        /// Its number; a later one has a larger number.
        pub version: u64,
        /// Whether it is the one that is served, also after a restart.
        pub current: bool,
        /// When it came, RFC 3339.
        pub deployed: String,
        /// The checksum of its bundle.
        pub checksum: String,
        /// The key that has signed its bundle.
        pub signed_by: Option<String>,
        /// Its files.
        pub files: u64,
        /// Their bytes.
        pub bytes: u64,
    }

    /// Another version is served.
    pub struct Deployed {
        /// Its number.
        pub version: u64,
        /// The one that was served before; null where that was a folder.
        pub before: Option<u64>,
        /// What is to be said of the project file all the same, as in the event `problems`.
        pub problems: Vec<Value>,
    }

    /// The master is stopping.
    pub struct Stopping {
        /// How many invocations run.
        pub running: u64,
    }

    /// Why something was not done.
    pub struct Failed {
        /// It.
        pub error: Failure,
    }

    /// What went wrong.
    pub struct Failure {
        /// A word that stays the same.
        pub code: String,
        /// What happened, for people.
        pub message: String,
        /// What to do.
        pub help: String,
        /// The problems of the project file, where that is what is wrong; otherwise empty.
        pub problems: Vec<Value>,
    }
}
