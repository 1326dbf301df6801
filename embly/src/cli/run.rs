//! `embly run`: builds what has changed and serves, until a signal; or serves a bundle, or what was
//! deployed.

use std::path::{Path, PathBuf};

use embly_wrapper::jail::Policy;

use super::bundle::{open, refused};
use super::context;
use super::serve::{self, Asked, Signals, Stopped, Unbuilt};
use super::source::{self, Loaded, Source, only_for_dev};
use super::{Exit, Run, Serve, build, taken};
use crate::admin::{Activate, Unchanged, Wants, api};
use crate::build::Built;
use crate::bundle::{self, BundleError, Limits};
use crate::config::{self, Project};
use crate::master::{Master, ServeError};
use crate::report::Reporter;
use crate::state;
use crate::versions::Versions;

const AS_IT_WAS: &str = "the project is served as it was";

/// Builds and serves.
pub fn run(options: Run, reporter: &Reporter) -> Exit {
    match begin(options, reporter) {
        Ok((options, policy, begun)) => match serve::runtime(reporter) {
            Ok(runtime) => {
                let command = serve_until_stopped(&options, policy, begun, reporter);
                serve::block_on(runtime, command)
            }
            Err(exit) => exit,
        },
        Err(exit) => exit,
    }
}

/// A project, and where it is from.
struct Begun {
    source: Source,
    loaded: Loaded,
    state: PathBuf,
}

fn begin(options: Run, reporter: &Reporter) -> Result<(Serve, Policy, Begun), Exit> {
    let Run { mut serve, verify } = options;
    let key = verify.key(reporter)?;
    let typed = serve.project.chosen.place.path.clone();
    let is_bundle = source::is_bundle(&typed);
    if key.is_some() && serve.state.is_none() && !is_bundle {
        reporter.error(
            "`--verify-key` is for a bundle, and for what is deployed: give a bundle, or `--state DIR`",
        );
        return Err(Exit::Usage);
    }
    let failed = |error: String| {
        reporter.error(error);
        Exit::Failed
    };
    let mut deployed = None;
    if let Some(state) = &serve.state {
        let state = std::path::absolute(state).map_err(|error| failed(error.to_string()))?;
        let versions = Versions::new(&state);
        let current = versions
            .current()
            .map_err(|error| failed(error.to_string()))?;
        if let (Some(current), None) = (current, serve.project.chosen.named()) {
            let as_before = versions.environment(current);
            serve.project.chosen.environment =
                as_before.map_err(|error| failed(error.to_string()))?;
        }
        let current = match current {
            Some(current) if is_bundle && typed.exists() => {
                let is_run = is_run(&typed, &versions, current).unwrap_or_else(|error| {
                    reporter.warn(format!("{error}; version {current} is served"));
                    false
                });
                (!is_run).then_some(current)
            }
            current => current,
        };
        deployed = current.map(|current| Source::Version(versions.clone(), current));
        serve.deploys = Some((versions, key.clone()));
    }
    // What was typed, and is not what is served.
    let mut instead = None;
    let (source, known_as) = match deployed {
        Some(source) => {
            let state = || serve.state.as_deref()?.canonicalize().ok();
            instead = known_as(&typed);
            (source, instead.clone().or_else(state))
        }
        None => {
            let source = Source::new(&typed, key, reporter)?;
            let known_as = match &source {
                Source::Folder(path) | Source::Bundle(path, _) => Some(path.clone()),
                Source::Version(..) => None,
            };
            (source, known_as)
        }
    };
    let state = match (&serve.state, &known_as) {
        (Some(state), _) => state.clone(),
        (None, Some(path)) => path.with_file_name(state::FOLDER),
        (None, None) => PathBuf::from(state::FOLDER),
    };
    let environment = serve.project.chosen.named();
    let loaded = source.load(&state, environment, reporter);
    let mut loaded = loaded.map_err(|error| error.exit(reporter))?;
    let versions = serve.deploys.as_ref().map(|(versions, _)| versions);
    loaded.project.among_versions = versions.is_some_and(Versions::is_used);
    reporter.info(source.shown() + &context::in_environment(environment));
    if let (Source::Version(_, number), Some(typed)) = (&source, instead) {
        let typed = context::shown(&typed);
        reporter.info(format!(
            "`{typed}` is not served: version {number} was deployed after it; `embly versions` shows all, `embly rollback N` serves another"
        ));
    }
    if let Some(error) = only_for_dev(&loaded.project) {
        reporter.error(error.to_string());
        return Err(Exit::Usage);
    }
    serve.state = Some(state.clone());
    serve.known_as = known_as;
    let policy = serve::policy(&serve, reporter)?;
    let begun = Begun {
        source,
        loaded,
        state,
    };
    Ok((serve, policy, begun))
}

/// Whether a bundle is served that was typed, and not what was deployed.
fn is_run(typed: &Path, versions: &Versions, current: u64) -> Result<bool, String> {
    let file = open(typed).map_err(|error| refused(typed, &BundleError::Read(error)))?;
    let about = bundle::examine(file, None, &Limits::default());
    let about = about.map_err(|error| refused(typed, &error))?;
    let is_run = versions.is_to_be_run(&about.checksum, current);
    is_run.map_err(|error| error.to_string())
}

/// What was typed, if that is anything: a master that serves what was deployed is known by it.
fn known_as(typed: &Path) -> Option<PathBuf> {
    match source::is_bundle(typed) {
        true => typed.canonicalize().ok(),
        false => config::find(typed).ok(),
    }
}

/// What is served.
struct Serving {
    source: Source,
    loaded: Loaded,
    built: Built,
    /// The version that a bundle is kept as.
    kept: Option<u64>,
    /// What was served before: requests that began then may still look for files.
    _before: Option<Loaded>,
}

/// Runs one master.
struct Runs<'a> {
    options: &'a Serve,
    state: PathBuf,
    master: Master,
    signals: Signals,
    serving: Serving,
    reporter: &'a Reporter,
}

async fn serve_until_stopped(
    options: &Serve,
    policy: Policy,
    begun: Begun,
    reporter: &Reporter,
) -> Exit {
    let Begun {
        source,
        loaded,
        state,
    } = begun;
    let mut signals = match Signals::take(reporter) {
        Ok(signals) => signals,
        Err(exit) => return exit,
    };
    if !taken::all_are_free(&loaded.project, options.bind.unwrap_or_default(), reporter).await {
        return Exit::Failed;
    }
    let jail = serve::check_jail(policy, reporter);
    let secrets = serve::secrets(options, &loaded.project, reporter);
    let how = build::How::to_ship(options.project.no_install);
    let file = options.known_as.as_ref().unwrap_or(&loaded.project.file);
    let begun = serve::begun(file);
    let built = match built(&mut signals, &loaded.project, how, reporter).await {
        Ok(built) if built.failed.is_empty() => built,
        Ok(_) => return Exit::Failed,
        Err(Unbuilt::Stopped) => return Exit::Done,
        Err(Unbuilt::Failed(exit)) => return exit,
    };
    let project = &loaded.project;
    let master = serve::start(
        options,
        (jail, begun),
        secrets,
        project,
        &built,
        None,
        &mut signals,
        reporter,
    );
    let master = match master.await {
        Ok(master) => master,
        Err(exit) => return exit,
    };
    if let (Source::Version(versions, current), Some(environment)) =
        (&source, options.project.chosen.named())
        && let Err(error) = versions.make_current(*current, Some(environment))
    {
        reporter.warn(format!(
            "{error}; after a restart give `--environment {environment}` again"
        ));
    }
    let mut runs = Runs {
        options,
        state,
        master,
        signals,
        serving: Serving {
            source,
            loaded,
            built,
            kept: None,
            _before: None,
        },
        reporter,
    };
    runs.keep_bundle().await;
    loop {
        let went_on = match runs.signals.next().await {
            Asked::Stop => Err(Stopped),
            Asked::Reload(asked) => match runs.reload().await {
                Ok(reloaded) => {
                    serve::tell(asked, reloaded);
                    Ok(())
                }
                Err(Stopped) => Err(Stopped),
            },
            Asked::Activate(Activate { version, done }) => match runs.activate(version).await {
                Ok(deployed) => {
                    // Whoever asked may have gone.
                    let _ = done.send(deployed);
                    Ok(())
                }
                Err(Stopped) => Err(Stopped),
            },
        };
        if went_on.is_err() {
            break;
        }
    }
    let Runs {
        master,
        mut signals,
        serving,
        ..
    } = runs;
    let exit = serve::stop(master, &mut signals, reporter).await;
    // What it was unpacked to is there until then.
    drop(serving);
    exit
}

/// All functions; those that failed are named.
async fn built(
    signals: &mut Signals,
    project: &Project,
    how: build::How,
    reporter: &Reporter,
) -> Result<Built, Unbuilt> {
    let (project, reporter) = (project.clone(), reporter.clone());
    let work = move |cancel: &_| build::all(&project, how, cancel, &reporter);
    serve::build(signals, work).await
}

impl Runs<'_> {
    /// Reads the project again and serves it.
    async fn reload(&mut self) -> Result<crate::admin::Reloaded, Stopped> {
        // Whatever becomes of the project: they may have been moved away.
        self.master.reopen_logs();
        let source = self.serving.source.clone();
        let (loaded, built) = match self.ready(&source).await? {
            Ok(ready) => ready,
            Err(unchanged) => return Ok(Err(unchanged)),
        };
        if let Err(unchanged) = self.swap(&loaded, &built).await? {
            return Ok(Err(unchanged));
        }
        self.reporter.info("reloaded");
        let problems = serve::as_json(&loaded.project.warnings);
        self.serves(source, loaded, built);
        self.keep_bundle().await;
        Ok(Ok(problems))
    }

    /// Reads and builds all of it; what is served is as it was.
    async fn ready(
        &mut self,
        source: &Source,
    ) -> Result<Result<(Loaded, Built), Unchanged>, Stopped> {
        let loaded = match self.load(source).await {
            Ok(loaded) => loaded,
            Err(unchanged) => {
                self.reporter.warn(AS_IT_WAS);
                return Ok(Err(unchanged));
            }
        };
        self.master.prepare(&loaded.project).await;
        let how = build::How::to_ship(self.options.project.no_install);
        let built = built(&mut self.signals, &loaded.project, how, self.reporter).await;
        let failed = match built {
            Ok(built) if built.failed.is_empty() => return Ok(Ok((loaded, built))),
            Ok(built) => built.unbuilt(),
            Err(Unbuilt::Failed(_)) => Vec::new(),
            Err(Unbuilt::Stopped) => return Err(Stopped),
        };
        self.reporter.warn(AS_IT_WAS);
        Ok(Err(serve::not_built(&failed)))
    }

    /// Unpacking may take long, and holds nobody up.
    async fn load(&self, source: &Source) -> Result<Loaded, Unchanged> {
        let (source, to) = (source.clone(), self.reporter.clone());
        let state = self.state.clone();
        let environment = self.options.project.chosen.environment.clone();
        let work = move || {
            let loaded = source.load(&state, environment.as_deref(), &to);
            loaded.map_err(|error| {
                let unchanged = error.unchanged();
                // It says the rest; those of the project file were shown.
                error.exit(&to);
                unchanged
            })
        };
        let loaded = tokio::task::spawn_blocking(work).await;
        // A panic was printed.
        let loaded = loaded.unwrap_or_else(|error| Err(serve::bad_bundle(error.to_string())));
        let versions = self.options.deploys.as_ref().map(|(versions, _)| versions);
        loaded.map(|mut loaded| {
            loaded.project.among_versions = versions.is_some_and(Versions::is_used);
            loaded
        })
    }

    /// Serves this, or what was served before.
    async fn swap(
        &mut self,
        loaded: &Loaded,
        built: &Built,
    ) -> Result<Result<(), Unchanged>, Stopped> {
        let project = &loaded.project;
        let served = serve::serve(&self.master, project, built, &mut self.signals).await?;
        let Err(error) = served else {
            return Ok(Ok(()));
        };
        let error = taken::explained(&error).await;
        self.reporter.error(format!("{error}; {AS_IT_WAS}"));
        Ok(Err(serve::not_served(error)))
    }

    fn serves(&mut self, source: Source, loaded: Loaded, built: Built) {
        let before = std::mem::replace(&mut self.serving.loaded, loaded);
        self.serving.source = source;
        self.serving.built = built;
        self.serving.kept = None;
        self.serving._before = Some(before);
    }

    /// A bundle that is served is a version as well, so that a rollback comes back to it.
    async fn keep_bundle(&mut self) {
        let Serving { source, loaded, .. } = &self.serving;
        let (Source::Bundle(path, key), Some((versions, _))) = (source, &self.options.deploys)
        else {
            return;
        };
        let taken = self.master.take_state().map_err(|error| error.to_string());
        let (path, key, versions) = (path.clone(), key.clone(), versions.clone());
        let environment = self.options.project.chosen.environment.clone();
        let checksum = loaded.checksum().unwrap_or_default().to_owned();
        let work = move || {
            let file = open(&path).map_err(|error| error.to_string())?;
            let environment = environment.as_deref();
            let before = versions.current();
            let kept = before.and_then(|before| {
                let kept = versions.take_run(file, key.as_ref(), &checksum, environment)?;
                Ok((before, kept))
            });
            kept.map_err(|error| error.to_string())
        };
        let kept = match taken {
            // A panic was printed.
            Ok(()) => tokio::task::spawn_blocking(work)
                .await
                .unwrap_or_else(|error| Err(error.to_string())),
            Err(error) => Err(error),
        };
        self.serving.kept = match kept {
            Ok((before, number)) => {
                match before {
                    Some(before) if before == number => {}
                    None => self.reporter.info(format!("kept as version {number}")),
                    Some(before) => self.reporter.info(format!(
                        "kept as version {number}: `embly rollback` goes back to {before}"
                    )),
                }
                Some(number)
            }
            Err(error) => {
                self.reporter.warn(format!(
                    "the bundle is served, and not kept as a version that a rollback could serve: {error}"
                ));
                None
            }
        };
    }

    /// Serves a version, or what was served before.
    async fn activate(
        &mut self,
        version: Wants,
    ) -> Result<Result<api::Deployed, Unchanged>, Stopped> {
        let Some((versions, _)) = self.options.deploys.clone() else {
            // The admin API has said so.
            return Ok(Err(serve::not_kept("there is no `--state DIR`".to_owned())));
        };
        let (number, new) = match version {
            Wants::Kept(number) => (number, false),
            Wants::Arrived(arrived) => match versions.keep(arrived) {
                Ok(number) => (number, true),
                Err(error) => return Ok(Err(serve::not_kept(error.to_string()))),
            },
        };
        let activated = self.try_version(&versions, number).await;
        if !matches!(activated, Ok(Ok(_)))
            && new
            && let Err(error) = versions.remove(number)
        {
            self.reporter.warn(error.to_string());
        }
        if let Ok(Ok(deployed)) = &activated {
            // Requests that are under way may still look for files of the one before.
            let used: Vec<u64> = deployed.before.into_iter().chain([number]).collect();
            if let Err(error) = versions.prune(&used) {
                self.reporter.warn(error.to_string());
            }
        }
        activated
    }

    async fn try_version(
        &mut self,
        versions: &Versions,
        number: u64,
    ) -> Result<Result<api::Deployed, Unchanged>, Stopped> {
        let source = Source::Version(versions.clone(), number);
        let (loaded, built) = match self.ready(&source).await? {
            Ok(ready) => ready,
            Err(unchanged) => return Ok(Err(unchanged)),
        };
        let served = self.serve_healthy(&loaded.project, &built).await?;
        let current = served.and_then(|()| {
            let made = versions.make_current(number, self.options.project.chosen.named());
            made.map_err(|error| serve::not_kept(error.to_string()))
        });
        if let Err(unchanged) = current {
            self.put_back(&unchanged.message).await?;
            return Ok(Err(unchanged));
        }
        let before = match self.serving.source {
            Source::Version(_, before) => Some(before),
            Source::Folder(_) | Source::Bundle(..) => self.serving.kept,
        };
        self.reporter.info(format!("version {number} is served"));
        let problems = serve::as_json(&loaded.project.warnings);
        self.serves(source, loaded, built);
        Ok(Ok(api::Deployed {
            version: number,
            before,
            problems,
        }))
    }

    /// Serves a project that says that it is healthy, from then on. On an error what was served before
    /// may no longer be.
    async fn serve_healthy(
        &mut self,
        project: &Project,
        built: &Built,
    ) -> Result<Result<(), Unchanged>, Stopped> {
        let (master, artefacts) = (&self.master, &built.artefacts);
        let before = &self.serving.loaded.project;
        let served = async {
            let not_served = async |error: ServeError| {
                let error = taken::explained(&error).await;
                serve::not_served(error)
            };
            let trial = match master.trial(project, before, artefacts).await {
                Ok(trial) => trial,
                Err(error) => return Err(not_served(error).await),
            };
            if let Some(sites) = &trial {
                let healthy = master.healthy(project, sites).await;
                healthy.map_err(serve::unhealthy)?;
            }
            if let Err(error) = master.serve(project, artefacts).await {
                return Err(not_served(error).await);
            }
            match trial {
                Some(_) => Ok(()),
                None => {
                    let healthy = master.healthy(project, &master.sites()).await;
                    healthy.map_err(serve::unhealthy)
                }
            }
        };
        tokio::select! {
            served = served => Ok(served),
            () = self.signals.stop() => Err(Stopped),
        }
    }

    /// Serves again what was served before.
    async fn put_back(&mut self, why: &str) -> Result<(), Stopped> {
        let Serving { loaded, built, .. } = &mut self.serving;
        loaded.project.among_versions = true;
        let project = &loaded.project;
        self.master.prepare(project).await;
        match serve::serve(&self.master, project, built, &mut self.signals).await? {
            Ok(()) => self.reporter.error(format!("{why}; {AS_IT_WAS}")),
            Err(error) => self.reporter.error(format!(
                "{why}; and what was served before cannot be served any more: {error}"
            )),
        }
        Ok(())
    }
}
