//! The master: owns every listener and every process, and what happens to them as the project
//! changes and as it stops.

mod begun;
mod folder;
mod health;
mod machine;
mod sites;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protos::Reason;
use tokio::time::{sleep, timeout};

use crate::admin::{self, Admin, Asks, Deploys, Identity, Served};
use crate::bundle::VerifyKey;
use crate::config::{self, Project};
use crate::gateway::cron::{Crons, RecordError, Records};
use crate::gateway::{Activated, BindError, FilesError, Listener, TransportError, Workbench};
use crate::pool::{Function, Processes, Start};
use crate::report::{Appender, Event, Left, Opened, Reporter, SinkError, Target};
use crate::secrets::Secrets;
use crate::service::{ConfigureError, Services};
use crate::state::StateError;
use crate::supervisor::Supervisor;
use crate::switchboard::{Drained, Switchboard, first};
use crate::versions::Versions;
use crate::wrapper::{Door, DoorError, Nursery, Processors, Reaper, Slots};
pub use crate::wrapper::{Incomplete, Jail};
pub use begun::{Begun, begun};
pub use folder::{Folder, FolderError, folders, is_any_running};
pub use machine::{descriptor_limit, no_core_dumps};
use sites::{Open, Shared, Socket, open_site, scheme};

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
    /// What a developer's clients see of what went wrong; others see nothing of it.
    pub dev: Option<Arc<Workbench>>,
    /// The folder of the authority for certificates of a developer, if there may be one.
    pub authority: Option<PathBuf>,
    /// Sockets that were open before it was started.
    pub activated: Arc<Activated>,
    /// The folder of what is kept.
    pub state: PathBuf,
    /// What functions get that list them.
    pub secrets: Arc<Secrets>,
    /// The project file, for those who look for its master.
    pub project: PathBuf,
    /// Which of its environments is served, if one was named.
    pub environment: Option<String>,
    /// Who is asked to reload and to stop.
    pub asks: Asks,
    /// Where metrics and health can be asked for, if anywhere.
    pub admin_listen: Option<SocketAddr>,
    /// Whether versions can be deployed to it, and the key that must have signed them.
    pub deploys: Option<(Versions, Option<VerifyKey>)>,
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
    /// No socket for the admin API.
    #[error("cannot listen on the socket `{}`: {source}; a Unix path may have at most 107 bytes: set XDG_RUNTIME_DIR to a shorter one", path.display())]
    Admin {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The state folder, with the versions in it.
    #[error(transparent)]
    State(#[from] StateError),
    /// No address for metrics.
    #[error(
        "cannot listen on `{address}` for metrics: {source}; give another one with `--admin-listen ADDR`"
    )]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No threads or signals.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// Why a project is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A gateway cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The folder of a route cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// An access log cannot be written.
    #[error("gateway `{gateway}`: cannot write the `access_log` `{}`: {source}", path.display())]
    AccessLog {
        /// Its name.
        gateway: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A log of the project cannot be written.
    #[error(transparent)]
    Log(#[from] SinkError),
    /// A gateway has no certificate.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A service cannot be provided.
    #[error(transparent)]
    Services(#[from] ConfigureError),
    /// What cron gateways have done cannot be kept.
    #[error(transparent)]
    Records(#[from] RecordError),
}

/// The master.
#[derive(Debug)]
pub struct Master {
    switchboard: Arc<Switchboard>,
    services: Arc<Services>,
    supervisor: Supervisor,
    crons: Crons,
    reporter: Reporter,
    /// Files of access lines.
    access_logs: Appender,
    open: Mutex<BTreeMap<Socket, Open>>,
    bind: BindOverride,
    dev: Option<Arc<Workbench>>,
    authority: Option<PathBuf>,
    activated: Arc<Activated>,
    admin: Arc<Admin>,
    /// Removed when the master is dropped.
    _folder: Folder,
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
        let services = Arc::new(Services::new(options.state));
        let switchboard = Switchboard::new(
            processes,
            Arc::clone(&services) as Arc<_>,
            options.secrets,
            reporter.clone(),
            machine::byte_budget(),
        );
        let identity = Identity {
            id: folder.id(),
            project: options.project.to_string_lossy().into_owned(),
            environment: options.environment.clone(),
            command: if options.dev.is_some() { "dev" } else { "run" },
        };
        let deploys = match options.deploys {
            Some((versions, must)) => {
                // What was deployed is served, so nobody else may change it.
                if versions.is_used() {
                    services.state()?;
                }
                Some(Deploys::new(versions, must, Arc::clone(&services)))
            }
            None => None,
        };
        let admin = Admin::new(identity, Arc::clone(&switchboard), options.asks, deploys);
        let path = folder.path().join(admin::SOCKET);
        admin
            .open(&path)
            .map_err(|source| StartError::Admin { path, source })?;
        if let Some(address) = options.admin_listen {
            let at = admin.listen(address);
            let at = at.map_err(|source| StartError::Metrics { address, source })?;
            reporter.event(&Event::AdminListening {
                url: &format!("http://{at}"),
            });
        }
        Ok(Self {
            admin,
            supervisor: Supervisor::new(Arc::clone(&switchboard)),
            crons: Crons::new(Arc::clone(&switchboard)),
            switchboard,
            services,
            access_logs: Appender::new(reporter.clone()),
            reporter,
            open: Mutex::default(),
            bind: options.bind,
            dev: options.dev,
            authority: options.authority,
            activated: options.activated,
            _folder: folder,
        })
    }

    /// The middle of it.
    pub fn switchboard(&self) -> &Arc<Switchboard> {
        &self.switchboard
    }

    /// Makes the state folder its own, which no other master uses then.
    ///
    /// # Errors
    /// It is another's, or cannot be made.
    pub fn take_state(&self) -> Result<(), StateError> {
        self.services.state().map(drop)
    }

    /// Who says what it does.
    pub fn admin(&self) -> &Arc<Admin> {
        &self.admin
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Socket, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A project is about to be built and served: its secrets are masked from now on, and read anew.
    pub async fn prepare(&self, project: &Project) {
        if !project.secrets.is_empty() {
            no_core_dumps();
        }
        let given = project.secrets.clone();
        self.with_secrets(|secrets| secrets.prepare(given)).await;
    }

    /// Changes secrets: that reads a file, and makes a search for all of them.
    async fn with_secrets(&self, change: impl FnOnce(&Secrets) + Send + 'static) {
        let secrets = Arc::clone(self.switchboard.secrets());
        // A panic was printed; they are as they were.
        let _ = tokio::task::spawn_blocking(move || change(&secrets)).await;
    }

    /// Serves a project from now on, with these artefacts: what was served before is replaced.
    /// Requests under way finish on what they began with. On an error nothing has changed.
    ///
    /// # Errors
    /// A gateway that cannot listen, or a service that cannot be provided.
    pub async fn serve(
        &self,
        project: &Project,
        artefacts: &HashMap<String, PathBuf>,
    ) -> Result<(), ServeError> {
        let mut listeners = Vec::new();
        for (socket, shared) in self.behind(project)? {
            let first = shared.gateways[0].0;
            let asked = self.where_to_listen(first);
            let listener = match self.listening(&socket, &asked) {
                Some(listener) => listener,
                None => Arc::new(Listener::bind(&first.name, &asked, &self.activated).await?),
            };
            listeners.push((socket, shared, asked, listener));
        }
        let configured = self.configured(project).await?;
        let logs = self.logs(project)?;
        let records = self.records(project)?;
        // The next versions of functions find what they list.
        self.with_secrets(Secrets::apply).await;
        configured();
        self.reporter.set_logs(logs);
        let functions = self.functions(project, artefacts);
        self.switchboard.functions().add(functions);
        let mut before = std::mem::take(&mut *self.open());
        for (socket, shared, asked, listener) in listeners {
            let Shared {
                gateways,
                transport,
                told,
            } = shared;
            let kept = before.remove(&socket).filter(|open| {
                open.site.first().kind == gateways[0].0.kind
                    && Arc::ptr_eq(&open.listener, &listener)
            });
            let old = kept.as_ref().map(|open| open.site.gateways());
            let name = gateways[0].0.name.clone();
            let gateways = gateways.into_iter();
            let gateways: Vec<_> = gateways
                .map(|gateway| self.gateway(gateway, &listener, old.as_deref().unwrap_or_default()))
                .collect();
            let open = match kept {
                Some(open) => {
                    open.site.set(gateways, transport);
                    open
                }
                None => {
                    if let Some(told) = told {
                        self.reporter.info(format!("gateway `{name}`: {told}"));
                    }
                    open_site(gateways, transport, asked, listener)
                }
            };
            self.open().insert(socket, open);
        }
        let names = project.functions.iter().map(|function| &*function.name);
        let (built, unbuilt): (HashSet<_>, HashSet<_>) =
            names.partition(|name| artefacts.contains_key(*name));
        let functions = self.switchboard.functions();
        functions.keep_only(&built);
        functions.lack(unbuilt);
        functions.announce();
        let kept = project.functions.iter();
        let kept = kept.filter_map(|function| Some((function.name.clone(), function.start?)));
        self.supervisor.keep(kept);
        self.crons.keep(&project.crons, records.as_ref());
        for (_, open) in before {
            // Its connections go on until they are done.
            open.closing.send_replace(true);
        }
        self.tell_admin(project);
        Ok(())
    }

    /// The functions of a project that were built.
    fn functions(
        &self,
        project: &Project,
        artefacts: &HashMap<String, PathBuf>,
    ) -> impl Iterator<Item = Function> {
        project.functions.iter().filter_map(|function| {
            let artefact = artefacts.get(&function.name)?.clone();
            let entry = function.entry.clone();
            let variables = (function.env.clone(), function.secrets.clone());
            Some(Function::new(
                &function.name,
                artefact,
                entry,
                variables,
                function.limits.clone(),
                (function.isolation, function.parked),
                function.allow.clone(),
                self.reporter.telemetry().function(&function.name),
            ))
        })
    }

    /// Where lines of logs go beside the output.
    fn logs(&self, project: &Project) -> Result<Opened, ServeError> {
        let mut plans = project.logs.clone();
        for plan in &mut plans {
            if let Target::File { path, .. } = &mut plan.target {
                let state = self.services.state().map_err(ConfigureError::from)?;
                *path = state.path(path);
            }
        }
        Ok(self.reporter.open_logs(&plans)?)
    }

    /// Opens logs anew, which may have been moved away.
    pub fn reopen_logs(&self) {
        self.access_logs.reopen();
        self.reporter.reopen_logs();
    }

    /// The admin API knows what is served now; what was kept and counted of the rest is forgotten.
    fn tell_admin(&self, project: &Project) {
        let functions = project.functions.iter();
        let functions = functions.map(|function| &*function.name).collect();
        let gateways = project.gateways.iter();
        let gateways = gateways.map(|gateway| &*gateway.name).collect();
        self.reporter.keep_only(&functions, &gateways);
        for gateway in &gateways {
            self.reporter.telemetry().gateway(gateway);
        }
        let open = self.open();
        let listening = project.gateways.iter().filter_map(|gateway| {
            let open = open.values().find(|open| {
                open.site
                    .gateways()
                    .iter()
                    .any(|it| *it.name == *gateway.name)
            })?;
            Some(admin::api::Gateway {
                name: gateway.name.clone(),
                url: open.listener.url(scheme(gateway)).unwrap_or_default(),
            })
        });
        let gateways = listening.collect();
        self.admin.serves(Served {
            ready: true,
            gateways,
        });
    }

    /// Where cron gateways keep what they have done, if one of them does.
    fn records(&self, project: &Project) -> Result<Option<Arc<Records>>, ServeError> {
        let kept = |cron: &config::Cron| cron.missed == config::Missed::RunOnce;
        if !project.crons.iter().any(kept) {
            return Ok(None);
        }
        let state = self.services.state().map_err(ConfigureError::from)?;
        Ok(Some(Arc::new(Records::open(state)?)))
    }

    /// The services of a project, which take effect when the result is called.
    async fn configured(
        &self,
        project: &Project,
    ) -> Result<impl FnOnce() + Send + use<>, ConfigureError> {
        let services = Arc::clone(&self.services);
        let (project, reporter) = (project.clone(), self.reporter.clone());
        let work = move || services.configure(&project, &reporter);
        let configured = tokio::task::spawn_blocking(work).await;
        // A panic was printed.
        configured.unwrap_or_else(|error| Err(ConfigureError::Other(error.to_string())))
    }

    /// How many invocations a stop waits for, and how long at most.
    pub fn to_drain(&self) -> (usize, Duration) {
        let kept = self.supervisor.running().len();
        (
            self.switchboard.running().saturating_sub(kept),
            DRAIN_WITHIN,
        )
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
        let crons = self.crons.stop();
        self.switchboard.refuse_new();
        let drained = async {
            for task in tasks {
                // A gateway that panicked has said so; the others are still to be drained.
                let _ = task.await;
            }
            crons.await;
            // Others may still need what is kept running; it does not end by itself.
            self.switchboard
                .idle_but(|| self.supervisor.running())
                .await;
            self.supervisor
                .stop(Reason::Shutdown, "the master is stopping")
                .await;
            self.switchboard.idle().await;
        };
        if first(drained, sleep(DRAIN_WITHIN), at_once).await == Drained::Late {
            self.reporter.warn("what was still running is ended");
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
        self.access_logs.finish();
        self.switchboard.left()
    }
}
