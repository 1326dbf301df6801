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
        /// The one that was served before; null where that was not deployed.
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
