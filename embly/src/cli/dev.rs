//! `embly dev`: builds, serves, watches, and builds again what a change touches.

mod browse;
mod screen;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use embly_wrapper::jail::Policy;
use tokio::sync::mpsc;

use super::context::{self, Need};
use super::serve::{self, Asked, Signals};
use super::{Chosen, Exit, Serve, build, explain, taken};
use crate::admin::{Reloaded, Unchanged};
use crate::build::Built;
use crate::build::watch::Watcher;
use crate::config::{DOTENV, Function, Problems, Project};
use crate::gateway::{Code, Workbench, Worked};
use crate::master::Master;
use crate::report::Reporter;
use screen::Screen;

/// How soon a project that is wrong, or could not be served, is tried again: what mends it may be a file that nobody
/// watches, as the key of a certificate, or a folder that is missing.
const AGAIN: Duration = Duration::from_millis(500);

/// What asks for the project to be read and built.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Because<'a> {
    /// These files have changed.
    Changed(&'a [PathBuf]),
    /// Somebody wants it to be read.
    Asked,
    /// Somebody wants all of it to be built.
    Rebuild,
    /// The project is wrong, or not served, and may be right by now.
    Again,
}

/// Builds, serves and watches.
pub fn run(options: &Serve, reporter: &Reporter) -> Exit {
    let need = Need::Secrets(options.state.as_deref());
    let project = match context::project(&options.project.chosen, true, need, reporter) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    let policy = match serve::policy(options, reporter) {
        Ok(policy) => policy,
        Err(exit) => return exit,
    };
    match serve::runtime(reporter) {
        Ok(runtime) => serve::block_on(runtime, develop(options, policy, project, reporter)),
        Err(exit) => exit,
    }
}

/// A project that is being worked on.
struct Dev<'a> {
    project: Project,
    built: Built,
    master: Master,
    /// In a terminal.
    screen: Option<Screen>,
    /// What pages of errors show.
    bench: Arc<Workbench>,
    watcher: Watcher,
    /// When the last build was done.
    built_at: SystemTime,
    /// The mistakes of the project file; the project is the one before.
    wrong: Option<Problems>,
    /// Why what was built last is not served; it is what was before.
    unserved: Option<String>,
    how: build::How,
    /// The state folder, if somebody named one.
    state: Option<&'a Path>,
    /// Which of the file's environments is meant.
    chosen: &'a Chosen,
    reporter: &'a Reporter,
}

async fn develop(options: &Serve, policy: Policy, project: Project, reporter: &Reporter) -> Exit {
    let mut signals = match Signals::take(reporter) {
        Ok(signals) => signals,
        Err(exit) => return exit,
    };
    if !taken::all_are_free(&project, options.bind.unwrap_or_default(), reporter).await {
        return Exit::Failed;
    }
    let jail = serve::check_jail(policy, reporter);
    let secrets = serve::secrets(options, &project, reporter);
    let (changes, mut changed) = mpsc::unbounded_channel();
    let watcher = Watcher::new(move |paths| {
        // The receiver lives as long as this command.
        let _ = changes.send(paths);
    });
    let watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            reporter.error(error.to_string());
            return Exit::Failed;
        }
    };
    let (rebuild, mut rebuilds) = mpsc::unbounded_channel();
    // Before it is built: that may take long.
    let begun = serve::begun(&project.file);
    let screen = Screen::enter(signals.asks(), rebuild, reporter);
    if let Some(screen) = &screen {
        screen.shows(&project, Vec::new(), false, None);
    }
    let how = build::How::to_work_on(&options.project);
    let since = SystemTime::now();
    let (theirs, to) = (project.clone(), reporter.clone());
    let work = move |cancel: &_| build::all(&theirs, how, cancel, &to);
    let built = match serve::build(&mut signals, work).await {
        Ok(built) => built,
        Err(serve::Unbuilt::Stopped) => return Exit::Done,
        Err(serve::Unbuilt::Failed(exit)) => return exit,
    };
    let built_at = SystemTime::now();
    if screen.is_some() {
        reporter.raw("");
    }
    let bench = Arc::new(Workbench::new(
        explain::of_reason,
        worked(&project, &built, None),
    ));
    let master = match serve::start(
        options,
        (jail, begun),
        secrets,
        &project,
        &built,
        Some(Arc::clone(&bench)),
        &mut signals,
        reporter,
    )
    .await
    {
        Ok(master) => master,
        Err(exit) => return exit,
    };
    let mut dev = Dev {
        project,
        built,
        master,
        screen,
        bench,
        watcher,
        built_at,
        wrong: None,
        unserved: None,
        how,
        state: options.state.as_deref(),
        chosen: &options.project.chosen,
        reporter,
    };
    if dev.screen.is_some() {
        reporter.raw("");
    }
    dev.show();
    dev.watch(since);
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => break,
                Asked::Reload(asked) => {
                    dev.master.reopen_logs();
                    match dev.update(&mut signals, Because::Asked).await {
                        Ok(reloaded) => serve::tell(asked, reloaded),
                        Err(_) => break,
                    }
                }
                // It serves a folder, and the admin API has said so.
                Asked::Activate(_) => {}
            },
            Some(paths) = changed.recv() => {
                if dev.update(&mut signals, Because::Changed(&paths)).await.is_err() {
                    break;
                }
            }
            Some(()) = rebuilds.recv() => {
                // Several of them are one.
                while rebuilds.try_recv().is_ok() {}
                if dev.update(&mut signals, Because::Rebuild).await.is_err() {
                    break;
                }
            }
            () = tokio::time::sleep(AGAIN), if dev.wrong.is_some() || dev.unserved.is_some() => {
                if dev.update(&mut signals, Because::Again).await.is_err() {
                    break;
                }
            }
        }
    }
    serve::stop(dev.master, &mut signals, reporter).await
}

/// The project as pages of errors show it.
fn worked(project: &Project, built: &Built, wrong: Option<String>) -> Worked {
    let functions = project.functions.iter().map(|function| {
        let name = &function.name;
        let failed = built.failed.iter().find(|it| it.function == *name);
        let code = Code {
            path: function.path.clone(),
            sources: built.inputs.get(name).cloned().unwrap_or_default(),
            failed: failed.map(|failed| failed.why.clone()),
        };
        (name.clone(), code)
    });
    Worked {
        root: project.root.clone(),
        functions: functions.collect(),
        wrong,
    }
}

impl Dev<'_> {
    /// Reads, builds and serves what there is reason for. An error means that a signal has asked for the end.
    async fn update(
        &mut self,
        signals: &mut Signals,
        because: Because<'_>,
    ) -> Result<Reloaded, Exit> {
        let since = SystemTime::now();
        let mut touched: Vec<String> = match because {
            Because::Changed(paths) => self.touched_by(paths),
            Because::Asked | Because::Rebuild | Because::Again => Vec::new(),
        };
        let (mut read, mut built) = (false, false);
        if self.is_to_be_read(because) {
            match self.read(because).await {
                Ok(new) => touched.extend(new),
                Err(unchanged) if touched.is_empty() && because != Because::Rebuild => {
                    return Ok(Err(unchanged));
                }
                Err(_) => {}
            }
            read = true;
        }
        let functions: Vec<Function> = self
            .project
            .functions
            .iter()
            .filter(|function| because == Because::Rebuild || touched.contains(&function.name))
            .cloned()
            .collect();
        let mut unbuilt = None;
        if !functions.is_empty() {
            let (project, how, to) = (self.project.clone(), self.how, self.reporter.clone());
            let work = move |cancel: &crate::build::Cancel| {
                let functions: Vec<&Function> = functions.iter().collect();
                build::some(&project, &functions, how, cancel, &to)
            };
            match serve::build(signals, work).await {
                Ok(later) => {
                    self.built.update(later);
                    built = true;
                    self.built_at = SystemTime::now();
                }
                Err(serve::Unbuilt::Stopped) => return Err(Exit::Done),
                // What is wrong was said; the next change may mend it.
                Err(serve::Unbuilt::Failed(_)) => unbuilt = Some(serve::not_built(&[])),
            }
            if !self.built.failed.is_empty() {
                let failed = self.built.unbuilt();
                unbuilt = Some(serve::not_built(&failed));
                let (before, never): (Vec<_>, Vec<_>) = failed
                    .into_iter()
                    .partition(|name| self.built.artefacts.contains_key(name));
                for (names, how) in [(before, "served as before"), (never, "not served")] {
                    if !names.is_empty() {
                        self.reporter.warn(format!("{}: {how}", names.join(", ")));
                    }
                }
            }
        }
        let served = serve::serve(&self.master, &self.project, &self.built, signals).await;
        let reloaded = match served.map_err(|serve::Stopped| Exit::Done)? {
            Ok(()) => {
                if self.unserved.take().is_some() {
                    self.reporter.info("the project is served as it is now");
                }
                Ok(serve::as_json(&self.project.warnings))
            }
            Err(error) => {
                let error = taken::explained(&error).await;
                if because != Because::Again || self.unserved.as_ref() != Some(&error) {
                    self.reporter
                        .error(format!("{error}; the project is served as it was"));
                }
                self.unserved = Some(error.clone());
                Err(serve::not_served(error))
            }
        };
        if read || built {
            self.says_how_it_is();
        }
        self.show();
        self.watch(since);
        Ok(match (&self.wrong, unbuilt) {
            (Some(problems), _) => Err(serve::problems_of_the_file(problems)),
            (None, Some(unbuilt)) => Err(unbuilt),
            (None, None) => reloaded,
        })
    }

    fn is_to_be_read(&self, because: Because<'_>) -> bool {
        let dotenv = self.project.root.join(DOTENV);
        match because {
            Because::Changed(paths) => paths
                .iter()
                .any(|path| *path == self.project.file || *path == dotenv),
            Because::Asked | Because::Rebuild => true,
            Because::Again => self.wrong.is_some(),
        }
    }

    /// Reads the project; the names of the functions that are to be built for that. One that is wrong is not taken:
    /// what changes is built and served as the one before wants it.
    async fn read(&mut self, because: Because<'_>) -> Result<Vec<String>, Unchanged> {
        let (file, environment) = (&self.project.file, self.chosen.named());
        let (need, to) = (Need::Secrets(self.state), self.reporter);
        let read = match (&self.wrong, because) {
            (Some(said), Because::Again) => {
                context::read_again(file, environment, said, true, need, to)
            }
            _ => context::read(file, environment, true, need, to),
        };
        let project = match read {
            Ok(project) => project,
            Err(problems) => {
                let unchanged = serve::problems_of_the_file(&problems);
                if because != Because::Again || self.wrong.as_ref() != Some(&*problems) {
                    self.reporter.warn("the project is served as it was");
                    self.wrong = Some(*problems);
                    self.says_how_it_is();
                    self.show();
                }
                return Err(unchanged);
            }
        };
        if self.wrong.take().is_some() {
            self.reporter.info("the project file is right again");
        }
        let new = project.functions.iter().filter(|new| !self.is_built(new));
        let new = new.map(|function| function.name.clone()).collect();
        self.master.prepare(&project).await;
        self.project = project;
        self.built.keep_only(&self.project);
        Ok(new)
    }

    /// To pages of errors.
    fn says_how_it_is(&self) {
        let wrong = self.wrong.as_ref().map(Problems::to_string);
        self.bench.set(worked(&self.project, &self.built, wrong));
    }

    /// On the screen.
    fn show(&self) {
        if let Some(screen) = &self.screen {
            screen.shows(
                &self.project,
                self.built.unbuilt(),
                self.wrong.is_some(),
                Some(self.master.admin()),
            );
        }
    }

    fn is_built(&self, new: &Function) -> bool {
        self.built.artefacts.contains_key(&new.name)
            && self.project.functions.iter().any(|old| {
                (&old.name, &old.path, &old.context, old.language, &old.entry)
                    == (&new.name, &new.path, &new.context, new.language, &new.entry)
            })
    }

    fn touched_by(&self, paths: &[PathBuf]) -> Vec<String> {
        let touches = |input: &PathBuf| {
            paths
                .iter()
                .filter(|path| !self.is_cargos_own(path))
                .any(|path| path == input || path.parent() == Some(input.as_path()))
        };
        self.built
            .inputs
            .iter()
            .filter(|(_, inputs)| inputs.iter().any(touches))
            .map(|(function, _)| function.clone())
            .collect()
    }

    /// A lock file that the build itself has written.
    fn is_cargos_own(&self, path: &Path) -> bool {
        let modified = path.metadata().and_then(|meta| meta.modified());
        path.ends_with("Cargo.lock") && modified.is_ok_and(|modified| modified <= self.built_at)
    }

    /// Watches what went into the last build; what has changed since is reported at once.
    fn watch(&mut self, since: SystemTime) {
        let mut paths: Vec<PathBuf> = self.built.inputs.values().flatten().cloned().collect();
        paths.push(self.project.file.clone());
        paths.push(self.project.root.join(DOTENV));
        paths.retain(|path| path != Path::new(""));
        if let Err(error) = self.watcher.set_since(paths, since) {
            self.reporter.warn(error.to_string());
        }
    }
}
