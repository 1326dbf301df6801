//! What `embly dev` and `embly run` share: a runtime, a master, signals.

use std::io;
use std::path::Path;
use std::sync::Arc;

use embly_wrapper::jail::Policy;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use super::{Exit, Serve, Wrappers, context, taken};
use crate::admin::{
    self, Activate, Asks, BAD_BUNDLE, BUILD_FAILED, Change, NOT_KEPT, NOT_SERVED, PROJECT_FILE,
    Reload, Reloaded, UNHEALTHY, Unchanged,
};
use crate::build::{Built, Cancel};
use crate::config::{Problems, Project};
use crate::gateway::Workbench;
use crate::master::{self, Begun, Incomplete, Jail, Master, ServeError};
use crate::pool::Start;
use crate::report::{Event, Left, Reporter};
use crate::secrets::{Secrets, Vault};

/// The folder of the authority for the certificates of a developer, in the cache.
pub const AUTHORITY: &str = "authority";

/// The runtime of the master. One thread, this one, moves all bytes: the other cores are for
/// functions, and nobody has to be woken for a task that another has made ready.
pub fn runtime(reporter: &Reporter) -> Result<Runtime, Exit> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            reporter.error(format!("cannot start: {error}"));
            Exit::Failed
        })
}

/// Runs a command to its end. What it has begun on other threads, such as a long migration, is not
/// waited for: the end of the process is the end of that as well.
pub fn block_on(runtime: Runtime, command: impl Future<Output = Exit>) -> Exit {
    let exit = runtime.block_on(command);
    runtime.shutdown_background();
    exit
}

/// The signals that a master knows, and the same by way of the admin API.
pub struct Signals {
    asked: admin::Asked,
    asks: Asks,
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// With a terminal, a hang-up means that it was closed.
    terminal: bool,
    /// A hang-up came while something else was done: what it is about may have been read before.
    again: bool,
    /// What has said stop, as `stopped` tells it: `signal` or `request`.
    stopped_by: &'static str,
}

/// What a signal asks for.
#[derive(Debug)]
pub enum Asked {
    /// Finish what runs, then stop.
    Stop,
    /// Read the project again, and tell whoever wants to hear of it.
    Reload(Option<Reload>),
    /// Serve another version.
    Activate(Activate),
}

impl Signals {
    /// Takes the signals from now on.
    ///
    /// # Errors
    /// The system refuses; that was said.
    pub fn take(reporter: &Reporter) -> Result<Self, Exit> {
        let take = || {
            let (asks, asked) = admin::asks();
            Ok(Self {
                asked,
                asks,
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hangup: signal(SignalKind::hangup())?,
                terminal: std::fs::File::open("/dev/tty").is_ok(),
                again: false,
                stopped_by: "signal",
            })
        };
        take().map_err(|error: io::Error| {
            reporter.error(format!("cannot take signals: {error}"));
            Exit::Failed
        })
    }

    /// For the admin API: who asks by it is heard here.
    pub fn asks(&self) -> Asks {
        self.asks.clone()
    }

    /// The next one.
    pub async fn next(&mut self) -> Asked {
        if std::mem::take(&mut self.again) {
            return Asked::Reload(None);
        }
        tokio::select! {
            signal = signal_of(
                &mut self.interrupt, &mut self.terminate, &mut self.hangup, self.terminal
            ) => signal,
            Some(()) = self.asked.stops.recv() => self.requested(),
            Some(change) = self.asked.changes.recv() => match change {
                Change::Reload(reload) => Asked::Reload(Some(reload)),
                Change::Activate(activate) => Asked::Activate(activate),
            },
        }
    }

    /// By way of the admin API.
    fn requested(&mut self) -> Asked {
        self.stopped_by = "request";
        Asked::Stop
    }

    /// The next one that says stop. What is asked for otherwise waits until then.
    pub async fn stop(&mut self) {
        loop {
            let asked = tokio::select! {
                signal = signal_of(
                    &mut self.interrupt, &mut self.terminate, &mut self.hangup, self.terminal
                ) => signal,
                Some(()) = self.asked.stops.recv() => self.requested(),
            };
            if matches!(asked, Asked::Stop) {
                return;
            }
            self.again = true;
        }
    }
}

async fn signal_of(
    interrupt: &mut Signal,
    terminate: &mut Signal,
    hangup: &mut Signal,
    terminal: bool,
) -> Asked {
    tokio::select! {
        _ = interrupt.recv() => Asked::Stop,
        _ = terminate.recv() => Asked::Stop,
        _ = hangup.recv() => if terminal { Asked::Stop } else { Asked::Reload(None) },
    }
}

/// What a reload answers where the project file is wrong.
pub fn problems_of_the_file(problems: &Problems) -> Unchanged {
    let (errors, _) = problems.count();
    let what = if errors == 1 { "problem" } else { "problems" };
    Unchanged {
        code: &PROJECT_FILE,
        message: format!("the project file has {errors} {what}"),
        problems: as_json(problems),
    }
}

/// … where functions were not built.
pub fn not_built(functions: &[String]) -> Unchanged {
    let message = match functions {
        [] => "the build failed".to_owned(),
        functions => format!("not built: `{}`", functions.join("`, `")),
    };
    unchanged(&BUILD_FAILED, message)
}

/// … where it could not be served.
pub fn not_served(error: String) -> Unchanged {
    unchanged(&NOT_SERVED, error)
}

/// … where a bundle cannot be used.
pub fn bad_bundle(error: String) -> Unchanged {
    unchanged(&BAD_BUNDLE, error)
}

/// … where a gateway is not healthy.
pub fn unhealthy(why: String) -> Unchanged {
    unchanged(&UNHEALTHY, why)
}

/// … where a version cannot be kept.
pub fn not_kept(error: String) -> Unchanged {
    unchanged(&NOT_KEPT, error)
}

fn unchanged(code: &'static admin::Code, message: String) -> Unchanged {
    Unchanged {
        code,
        message,
        problems: Vec::new(),
    }
}

/// The problems as they are shown with `--format json`.
pub fn as_json(problems: &Problems) -> Vec<serde_json::Value> {
    let records = problems.records();
    // Strings and numbers always have a JSON form.
    records
        .map(|record| serde_json::to_value(record).unwrap_or_default())
        .collect()
}

/// Tells whoever wants to hear of a reload.
pub fn tell(reload: Option<Reload>, reloaded: Reloaded) {
    if let Some(reload) = reload {
        // Whoever asked may have gone.
        let _ = reload.send(reloaded);
    }
}

/// Why a build has made nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbuilt {
    /// A signal said so.
    Stopped,
    /// It could not; why was said.
    Failed(Exit),
}

/// Says to whoever asks for the master of this project that it is still being built.
pub fn begun(project: &Path) -> Option<Begun> {
    // The master needs the same folder: that is when it matters.
    Begun::new(project).ok()
}

/// Runs a build on a thread of its own; a signal to stop ends it.
///
/// # Errors
/// See [`Unbuilt`].
pub async fn build(
    signals: &mut Signals,
    work: impl FnOnce(&Cancel) -> Result<Built, Exit> + Send + 'static,
) -> Result<Built, Unbuilt> {
    let cancel = Cancel::new();
    let theirs = cancel.clone();
    let mut work = tokio::task::spawn_blocking(move || work(&theirs));
    tokio::select! {
        // A panic was printed; the build has failed.
        built = &mut work => built.unwrap_or(Err(Exit::Failed)).map_err(Unbuilt::Failed),
        () = signals.stop() => {
            cancel.cancel();
            let _ = work.await;
            Err(Unbuilt::Stopped)
        }
    }
}

/// Who functions run as, and whether the jail must be complete.
///
/// # Errors
/// Only root can give them a user; that was said.
pub fn policy(options: &Serve, reporter: &Reporter) -> Result<Policy, Exit> {
    if options.jail_user.is_some() && !rustix::process::geteuid().is_root() {
        reporter.error("only root can run functions as another user: leave out `--jail-user`");
        return Err(Exit::Usage);
    }
    Ok(Policy {
        user: options.jail_user.unwrap_or_default(),
        required: options.require_jail,
    })
}

/// Begins to look whether the jail can be closed here, beside the build.
pub fn check_jail(policy: Policy, reporter: &Reporter) -> JoinHandle<Result<Jail, Incomplete>> {
    let jail = Jail::new(policy, reporter.clone());
    tokio::task::spawn_blocking(move || jail.check())
}

/// The secrets of a project: masked from now on, and given out by the master.
pub fn secrets(options: &Serve, project: &Project, reporter: &Reporter) -> Arc<Secrets> {
    if !project.secrets.is_empty() {
        master::no_core_dumps();
    }
    let vault = Vault::new(&context::state(&project.file, options.state.as_deref()));
    let (masks, to) = (Arc::clone(reporter.masks()), reporter.clone());
    let secrets = Secrets::new(vault, masks, move |text| to.warn(text));
    secrets.prepare(project.secrets.clone());
    Arc::new(secrets)
}

/// A signal to stop came while something else was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// Lets a master serve a project. To open its stores and to apply migrations may take long: a signal
/// to stop ends the wait, and nothing has changed then.
///
/// # Errors
/// [`Stopped`].
pub async fn serve(
    master: &Master,
    project: &Project,
    built: &Built,
    signals: &mut Signals,
) -> Result<Result<(), ServeError>, Stopped> {
    tokio::select! {
        served = master.serve(project, &built.artefacts) => Ok(served),
        () = signals.stop() => Err(Stopped),
    }
}

/// Starts a master and lets it serve a project that was built.
#[expect(clippy::too_many_arguments, reason = "all that a master begins with")]
pub async fn start(
    options: &Serve,
    (jail, begun): (JoinHandle<Result<Jail, Incomplete>>, Option<Begun>),
    secrets: Arc<Secrets>,
    project: &Project,
    built: &Built,
    dev: Option<Arc<Workbench>>,
    signals: &mut Signals,
    reporter: &Reporter,
) -> Result<Master, Exit> {
    let jail = match jail.await {
        Ok(Ok(jail)) => Arc::new(jail),
        Ok(Err(error)) => {
            reporter.error(error.to_string());
            return Err(Exit::Failed);
        }
        // A panic was printed.
        Err(_) => return Err(Exit::Failed),
    };
    reporter.root(&project.root);
    let master_options = master::Options {
        jail,
        bind: options.bind.unwrap_or_default(),
        socket: options.socket.as_deref(),
        start: match options.wrappers {
            Wrappers::Fork => Start::Fork,
            Wrappers::Exec => Start::Exec,
        },
        authority: if dev.is_some() {
            Some(context::cache(reporter)?.join(AUTHORITY))
        } else {
            None
        },
        dev,
        activated: Arc::clone(&options.activated),
        state: context::state(&project.file, options.state.as_deref()),
        secrets,
        project: options.known_as.as_ref().unwrap_or(&project.file).clone(),
        environment: options.project.chosen.environment.clone(),
        asks: signals.asks(),
        admin_listen: options.admin_listen,
        deploys: options.deploys.clone(),
    };
    let master = Master::start(reporter.clone(), master_options)
        .map_err(|error| reporter.error(error.to_string()));
    let Ok(master) = master else {
        return Err(Exit::Failed);
    };
    // From now on it says itself how far it is.
    drop(begun);
    let exit = match serve(&master, project, built, signals).await {
        Ok(Ok(())) => return Ok(master),
        Ok(Err(error)) => {
            reporter.error(taken::explained(&error).await);
            Exit::Failed
        }
        Err(Stopped) => Exit::Done,
    };
    master.stop(std::future::ready(())).await;
    Err(exit)
}

/// Stops a master; a second signal does so at once.
pub async fn stop(master: Master, signals: &mut Signals, reporter: &Reporter) -> Exit {
    let reason = signals.stopped_by;
    let left = drain(master, signals, reporter).await;
    reporter.event(&Event::Stopped { reason, left });
    Exit::Done
}

/// Stops a master, as [`stop`], and says what that waits for.
pub async fn drain(master: Master, signals: &mut Signals, reporter: &Reporter) -> Left {
    let (running, within) = master.to_drain();
    if running > 0 {
        let what = if running == 1 {
            "invocation"
        } else {
            "invocations"
        };
        reporter.info(format!(
            "stopping: {running} {what} may finish within {within:?}, a second signal ends them"
        ));
    }
    master.stop(signals.stop()).await
}
