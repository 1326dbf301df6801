//! The master: owns every listener and every process, and what happens to them as the project
//! changes and as it stops.

mod folder;
mod machine;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protos::Reason;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::Project;
use crate::gateway::{BindError, Gateway, Listener};
use crate::pool::{Function, Processes, Start};
use crate::report::{Event, Left, Reporter};
use crate::supervisor::Supervisor;
use crate::switchboard::Switchboard;
use crate::wrapper::{Door, DoorError, Nursery, Processors, Reaper, Slots};
pub use crate::wrapper::{Incomplete, Jail};
pub use folder::{Folder, FolderError};
pub use machine::descriptor_limit;

/// What runs when the master is told to stop gets this long.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// What was killed then gets this long to be reaped.
const REAP_WITHIN: Duration = Duration::from_secs(2);

/// What `--bind` says: an address for all gateways, and whether they take any free port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BindOverride {
    /// Instead of `bind:`.
    pub address: Option<IpAddr>,
    /// Instead of `port:`.
    pub any_port: bool,
}

/// What a master is told when it starts.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Where gateways listen, if not where the project file says.
    pub bind: BindOverride,
    /// The socket for wrappers that were not forked, if not in the folder of sockets.
    pub socket: Option<&'a Path>,
    /// How wrappers are started.
    pub start: Start,
    /// What they are kept in.
    pub jail: Arc<Jail>,
    /// Whether clients see what went wrong.
    pub dev: bool,
}

/// Why there is no master.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No folder for its sockets.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// No socket in it.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// No threads or signals.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// The master.
#[derive(Debug)]
pub struct Master {
    switchboard: Arc<Switchboard>,
    supervisor: Supervisor,
    reporter: Reporter,
    open: Mutex<BTreeMap<String, Open>>,
    bind: BindOverride,
    dev: bool,
    /// Removed when the master is dropped.
    _folder: Folder,
}

#[derive(Debug)]
struct Open {
    gateway: Arc<Gateway>,
    asked: SocketAddr,
    listener: Arc<Listener>,
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Master {
    /// A master that serves nothing yet. Call it in a runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(reporter: Reporter, options: Options<'_>) -> Result<Self, StartError> {
        let folder = Folder::create()?;
        machine::raise_descriptor_limit();
        let default = folder.path().join(folder::SOCKET);
        let door = Door::open(options.socket.unwrap_or(&default), reporter.clone())?;
        let (nursery, reaper) = (Nursery::new()?, Reaper::start()?);
        let processes = Arc::new(Processes {
            processors: Processors::new(Arc::clone(&reaper), nursery.clone()),
            start: options.start,
            jail: options.jail,
            door,
            nursery,
            reaper,
            slots: Slots::default(),
            parked: Arc::default(),
        });
        let switchboard = Switchboard::new(processes, reporter.clone(), machine::byte_budget());
        Ok(Self {
            supervisor: Supervisor::new(Arc::clone(&switchboard)),
            switchboard,
            reporter,
            open: Mutex::default(),
            bind: options.bind,
            dev: options.dev,
            _folder: folder,
        })
    }

    /// The middle of it.
    pub fn switchboard(&self) -> &Arc<Switchboard> {
        &self.switchboard
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a project from now on, with these artefacts: what was served before is replaced.
    /// Requests under way finish on what they began with. On an error nothing has changed.
    ///
    /// # Errors
    /// A gateway that cannot listen.
    pub async fn serve(
        &self,
        project: &Project,
        artefacts: &HashMap<String, PathBuf>,
    ) -> Result<(), BindError> {
        let mut listeners = Vec::new();
        for gateway in &project.gateways {
            let asked = self.where_to_listen(gateway.bind, gateway.port);
            let listener = match self.listening(&gateway.name, asked) {
                Some(listener) => listener,
                None => Arc::new(Listener::bind(&gateway.name, asked.ip(), asked.port()).await?),
            };
            listeners.push((gateway, asked, listener));
        }
        let functions = project.functions.iter().filter_map(|function| {
            let artefact = artefacts.get(&function.name)?.clone();
            let (entry, env) = (function.entry.clone(), function.env.clone());
            Some(Function::new(
                &function.name,
                artefact,
                entry,
                env,
                function.limits.clone(),
                (function.isolation, function.parked),
                function.allow.clone(),
            ))
        });
        self.switchboard.functions().add(functions);
        let mut before = std::mem::take(&mut *self.open());
        for (gateway, asked, listener) in listeners {
            let kept = before.remove(&gateway.name).filter(|open| {
                open.gateway.kind == gateway.kind && Arc::ptr_eq(&open.listener, &listener)
            });
            let open = match kept {
                Some(open) => {
                    open.gateway.set_function(&gateway.function);
                    open
                }
                None => self.open_gateway(gateway, asked, listener),
            };
            self.open().insert(gateway.name.clone(), open);
        }
        let names = project.functions.iter().map(|function| &*function.name);
        let built = names.filter(|name| artefacts.contains_key(*name)).collect();
        self.switchboard.functions().keep_only(&built);
        self.switchboard.functions().announce();
        let kept = project.functions.iter();
        let kept = kept.filter_map(|function| Some((function.name.clone(), function.start?)));
        self.supervisor.keep(kept);
        for (_, open) in before {
            // Its connections go on until they are done.
            open.closing.send_replace(true);
        }
        Ok(())
    }

    fn where_to_listen(&self, bind: IpAddr, port: u16) -> SocketAddr {
        let port = if self.bind.any_port { 0 } else { port };
        SocketAddr::new(self.bind.address.unwrap_or(bind), port)
    }

    /// The socket that listens there already, whichever gateway has it.
    fn listening(&self, name: &str, asked: SocketAddr) -> Option<Arc<Listener>> {
        let open = self.open();
        let same = |(other, open): &(&String, &Open)| {
            open.asked == asked && (asked.port() != 0 || *other == name)
        };
        open.iter()
            .find(same)
            .map(|(_, open)| Arc::clone(&open.listener))
    }

    fn open_gateway(
        &self,
        config: &crate::config::Gateway,
        asked: SocketAddr,
        listener: Arc<Listener>,
    ) -> Open {
        let gateway = Arc::new(Gateway::new(
            &config.name,
            config.kind,
            &config.function,
            Arc::clone(&self.switchboard),
            self.dev,
        ));
        // A socket that listens has an address.
        let at = listener.local().unwrap_or(asked);
        let url = format!("{}://{at}", config.kind.name());
        let (closing, closed) = watch::channel(false);
        let task = tokio::spawn(Arc::clone(&gateway).serve(Arc::clone(&listener), closed));
        self.reporter.event(&Event::Listening {
            gateway: &config.name,
            url: &url,
            address: gateway.address,
            function: &config.function,
        });
        Open {
            gateway,
            asked,
            listener,
            closing,
            task,
        }
    }

    /// Stops: no new connections, what runs may finish within [`DRAIN_WITHIN`] or until
    /// `at_once` is ready; then it is ended. Afterwards no process is left, or it is counted.
    pub async fn stop(self, at_once: impl Future<Output = ()>) -> Left {
        let open = std::mem::take(&mut *self.open()).into_values();
        // All that is left of a gateway is its task: its socket closes, so that clients who come
        // now do not wait for an answer.
        let tasks: Vec<_> = open
            .map(|gateway| {
                gateway.closing.send_replace(true);
                gateway.task
            })
            .collect();
        self.switchboard.refuse_new();
        let kept = self.supervisor.running().len();
        let running = self.switchboard.running().saturating_sub(kept);
        if running > 0 {
            let what = if running == 1 {
                "invocation"
            } else {
                "invocations"
            };
            self.reporter.info(format!(
                "stopping: {running} {what} may finish within {DRAIN_WITHIN:?}, a second signal ends them"
            ));
        }
        let drained = async {
            for task in tasks {
                // A gateway that panicked has said so; the others are still to be drained.
                let _ = task.await;
            }
            // Others may still need what is kept running; it does not end by itself.
            self.switchboard
                .idle_but(|| self.supervisor.running())
                .await;
            self.supervisor
                .stop(Reason::Shutdown, "the master is stopping")
                .await;
            self.switchboard.idle().await;
        };
        tokio::select! {
            drained = timeout(DRAIN_WITHIN, drained) => if drained.is_err() {
                self.reporter.warn("what was still running is ended");
            },
            () = at_once => {}
        }
        self.switchboard
            .stop_all(Reason::Shutdown, "the master is stopping");
        let supervised = self
            .supervisor
            .stop(Reason::Shutdown, "the master is stopping");
        let _ = timeout(REAP_WITHIN, supervised).await;
        // Those that are left are in the kernel's hands, tied to our own end.
        let _ = timeout(REAP_WITHIN, self.switchboard.idle()).await;
        self.switchboard.functions().keep_only(&HashSet::new());
        let _ = timeout(REAP_WITHIN, self.switchboard.processes().reaper.none_left()).await;
        self.switchboard.left()
    }
}
