//! The table of all faults. Each does what it does for as long as the plan says, and undoes it.

mod artefacts;
mod changes;
mod clients;
mod processes;
mod resources;
mod rogues;

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::load::{Load, Loads};
use crate::plan::Mode;
use crate::world::World;

/// What a kind needs of the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// Fork servers, and rights over their processes.
    Forks,
    /// Wrappers that are programs of their own.
    Exec,
    /// A user whose processes can be limited.
    User,
}

impl Needs {
    pub fn fits(self, mode: Mode) -> bool {
        match self {
            Self::Nothing => true,
            Self::Forks => mode != Mode::Exec,
            Self::Exec => mode == Mode::Exec,
            Self::User => mode == Mode::User,
        }
    }
}

/// A kind of fault.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    /// What it does, for the table of the report.
    pub what: &'static str,
    pub needs: Needs,
    /// Load without which it has nothing to strike.
    pub loads: Loads,
    /// Whose requests may fail meanwhile.
    pub may_fail: Loads,
    /// Does it.
    pub strike: fn(&Strike<'_>),
}

/// Disks are mounted by root.
const OF_ROOT: [&str; 2] = ["full-cache", "full-data"];

impl Kind {
    /// Whether this machine lets it have an effect; says what is missing.
    pub fn possible(&self) -> bool {
        if OF_ROOT.contains(&self.name) && !rustix::process::geteuid().is_root() {
            crate::support::skipped(&format!("root, for the fault {}", self.name));
            return false;
        }
        self.name != "clock-steps" || crate::support::program("cc").is_some()
    }
}

/// One fault under way.
pub struct Strike<'w> {
    pub world: &'w World,
    pub kind: &'static Kind,
    pub lasts: Duration,
    pub pick: u64,
}

impl Strike<'_> {
    /// What it chooses by.
    pub fn dice(&self) -> StdRng {
        StdRng::seed_from_u64(self.pick)
    }

    /// It had an effect.
    pub fn struck(&self) {
        self.world.strikes(self.kind.name, 1);
    }

    /// The rest of its time, in which what it has done stays.
    pub fn stay(&self) {
        std::thread::sleep(self.lasts);
    }

    /// Calls this until its time is over; at least once.
    pub fn again(&self, pause: Duration, mut what: impl FnMut()) {
        let since = Instant::now();
        loop {
            what();
            if since.elapsed() + pause >= self.lasts {
                return;
            }
            std::thread::sleep(pause);
        }
    }

    /// The first that is found while there is time for it.
    pub fn find<T>(&self, mut what: impl FnMut() -> Option<T>) -> Option<T> {
        let since = Instant::now();
        loop {
            let found = what();
            if found.is_some() || since.elapsed() > PATIENCE {
                return found;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }
}

/// What a fault is to strike comes up within this time, where the machine is not too slow.
const PATIENCE: Duration = Duration::from_secs(3);

const NONE: Loads = Loads::NONE;
const ALL: Loads = Loads::ALL;
const SQL: Loads = Loads::of(&[Load::Sql]);
const STORES: Loads = Loads::of(&[Load::Sql, Load::Kv]);
const ASKS: Loads = Loads::of(&[Load::Asks]);
const HELLO: Loads = Loads::of(&[Load::Hello]);

const fn kind(
    name: &'static str,
    what: &'static str,
    needs: Needs,
    loads: Loads,
    may_fail: Loads,
    strike: fn(&Strike<'_>),
) -> Kind {
    Kind {
        name,
        what,
        needs,
        loads,
        may_fail,
        strike,
    }
}

use Needs::{Exec, Forks, Nothing, User};

#[rustfmt::skip]
pub static KINDS: &[Kind] = &[
    kind("kill-wrapper", "a process with an invocation is killed", Nothing, NONE, ALL, processes::kill_wrapper),
    kind("kill-parked", "processes that wait for a request are killed", Forks, HELLO, HELLO, processes::kill_parked),
    kind("kill-fork-server", "fork servers are killed again and again", Forks, NONE, NONE, processes::kill_fork_server),
    kind("kill-sql", "processes that run SQL are killed", Nothing, SQL, SQL, processes::kill_sql),
    kind("kill-client", "a client with a download is killed", Nothing, NONE, NONE, clients::kill),
    kind("kill-master", "the master is killed, and started again on the same data", Nothing, NONE, ALL, processes::kill_master),
    kind("stop-wrapper", "processes with an invocation are stopped, and go on later", Nothing, NONE, NONE, processes::stop_wrapper),
    kind("stop-parked", "processes that wait are stopped, and go on later", Forks, HELLO, NONE, processes::stop_parked),
    kind("stop-fork-server", "fork servers are stopped, and go on later", Forks, NONE, NONE, processes::stop_fork_server),
    kind("stop-sql", "processes that run SQL are stopped, and go on later", Nothing, SQL, NONE, processes::stop_sql),
    kind("stop-client", "a client with a download is stopped, and goes on later", Nothing, NONE, NONE, clients::stop),
    kind("stop-master", "the master is stopped, and goes on later", Nothing, NONE, NONE, processes::stop_master),
    kind("deadly-signals", "wrappers get signals that end processes", Nothing, NONE, ALL, processes::deadly_signals),
    kind("signal-storm", "the master gets hundreds of signals that end nobody", Nothing, NONE, NONE, processes::signal_storm),
    kind("full-cache", "the disk of the cache is full while code is replaced", Nothing, NONE, NONE, resources::full_cache),
    kind("full-data", "the disk of the stores is full", Nothing, STORES, STORES, resources::full_data),
    kind("no-descriptors", "the master gets no more descriptors", Nothing, NONE, ALL, resources::no_descriptors),
    kind("no-processes", "neither master nor fork servers get more processes, while code is replaced", User, NONE, ALL, resources::no_processes),
    kind("no-memory", "fork servers, and what they fork, get no more memory", Forks, NONE, ALL, resources::no_memory),
    kind("corrupt-artefact", "a byte of each artefact is another one, and fork servers load them", Forks, NONE, ALL, artefacts::corrupt),
    kind("truncate-artefact", "artefacts are cut short, and fork servers load them", Forks, NONE, ALL, artefacts::truncate),
    kind("replace-artefact", "artefacts are replaced by each other, and fork servers load them", Forks, NONE, ALL, artefacts::replace),
    kind("remove-cache", "the cache is removed while code is replaced", Forks, NONE, ALL, artefacts::remove),
    kind("rogue-bytes", "a local process sends random bytes to the master's sockets", Nothing, NONE, NONE, rogues::bytes),
    kind("rogue-half", "a local process sends half a number, or half a frame, and stays", Nothing, NONE, NONE, rogues::half),
    kind("rogue-huge", "a local process sends lengths that are too large", Nothing, NONE, NONE, rogues::huge),
    kind("rogue-slot", "a local process names slots of others", Nothing, NONE, NONE, rogues::slot),
    kind("rogue-order", "a local process sends valid frames in any order", Nothing, NONE, NONE, rogues::order),
    kind("rogue-admin", "a local process sends half requests and nonsense to the admin socket", Nothing, NONE, NONE, rogues::admin),
    kind("compromised-wrapper", "wrappers speak the protocol and ignore its rules", Exec, NONE, NONE, rogues::compromised),
    kind("clock-steps", "the wall clock jumps by seconds, hours and years, both ways", Nothing, NONE, NONE, changes::clock),
    kind("slow-readers", "clients take a large answer byte by byte", Nothing, NONE, NONE, clients::slow_readers),
    kind("slow-writers", "clients send a body byte by byte", Nothing, NONE, NONE, clients::slow_writers),
    kind("slowloris", "clients send a head byte by byte", Nothing, NONE, NONE, clients::slowloris),
    kind("half-open", "clients end their side, or leave, in the middle of a request", Nothing, NONE, NONE, clients::half_open),
    kind("resets", "clients reset their connections at any moment", Nothing, NONE, NONE, clients::resets),
    kind("idle-connections", "hundreds of connections say nothing", Nothing, NONE, NONE, clients::idle),
    kind("nonsense", "clients send bytes that are no HTTP", Nothing, NONE, NONE, clients::nonsense),
    kind("swap-code", "code is replaced again and again", Nothing, Loads::of(&[Load::Code]), NONE, changes::code),
    kind("swap-routes", "the project file is replaced again and again", Nothing, NONE, NONE, changes::routes),
    kind("broken-project", "the project file is none for a while, and is read", Nothing, NONE, NONE, changes::broken),
    kind("migration-crash", "the process that applies a migration is killed in the middle", Nothing, SQL, SQL, changes::migration),
    kind("backend-stalls", "the server that functions ask says no more", Nothing, ASKS, ASKS, changes::stalls),
    kind("backend-resets", "the server that functions ask resets connections", Nothing, ASKS, ASKS, changes::resets),
    kind("backend-lies", "the server that functions ask says more than is true, or no HTTP", Nothing, ASKS, ASKS, changes::lies),
];

/// The kind of this name.
pub fn named(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

pub use changes::ROWS;
pub use resources::Limited;
