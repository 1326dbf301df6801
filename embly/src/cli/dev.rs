//! `embly dev`: builds, serves, watches, and builds again what a change touches.

mod browse;
mod screen;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use embly_wrapper::jail::Policy;
use tokio::sync::mpsc;

use super::context::{self, Need};
use super::serve::{self, Asked, Signals};
use super::{Chosen, Exit, Serve, build, explain, taken};
use crate::admin::Reloaded;
use crate::build::Built;
use crate::build::watch::Watcher;
use crate::config::{DOTENV, Function, Project};
use crate::gateway::{Code, Workbench, Worked};
use crate::master::Master;
use crate::report::Reporter;
use screen::Screen;

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
    /// What the mistakes of the project file are.
    wrong: Option<String>,
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
                    let file = dev.project.file.clone();
                    match dev.changed(&mut signals, &[file], false).await {
                        Ok(reloaded) => serve::tell(asked, reloaded),
                        Err(_) => break,
                    }
                }
                // It serves a folder, and the admin API has said so.
                Asked::Activate(_) => {}
            },
            Some(paths) = changed.recv() => {
                if dev.changed(&mut signals, &paths, false).await.is_err() {
                    break;
                }
            }
            Some(()) = rebuilds.recv() => {
                // Several of them are one.
                while rebuilds.try_recv().is_ok() {}
                let file = dev.project.file.clone();
                if dev.changed(&mut signals, &[file], true).await.is_err() {
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
    /// Acts on changed files; with `all`, each function is built. An error means that a signal has asked
    /// for the end.
    async fn changed(
        &mut self,
        signals: &mut Signals,
        paths: &[PathBuf],
        all: bool,
    ) -> Result<Reloaded, Exit> {
        let since = SystemTime::now();
        let dotenv = self.project.root.join(DOTENV);
        let mut touched: Vec<String> = self.touched_by(paths);
        let (mut read, mut built) = (false, false);
        if paths
            .iter()
            .any(|path| *path == self.project.file || *path == dotenv)
        {
            let need = Need::Secrets(self.state);
            let project = match context::read(
                &self.project.file,
                self.chosen.named(),
                true,
                need,
                self.reporter,
            ) {
                Ok(project) => project,
                Err(problems) => {
                    self.reporter.warn("the project is served as it was");
                    self.wrong = Some(problems.to_string());
                    self.says_how_it_is();
                    self.show();
                    return Ok(Err(serve::problems_of_the_file(&problems)));
                }
            };
            if self.wrong.take().is_some() {
                self.reporter.info("the project file is right again");
            }
            let new = project.functions.iter().filter(|new| !self.is_built(new));
            touched.extend(new.map(|function| function.name.clone()));
            self.master.prepare(&project).await;
            self.project = project;
            self.built.keep_only(&self.project);
            read = true;
        }
        let functions: Vec<Function> = self
            .project
            .functions
            .iter()
            .filter(|function| all || touched.contains(&function.name))
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
            Ok(()) => Ok(serve::as_json(&self.project.warnings)),
            Err(error) => {
                let error = taken::explained(&error).await;
                self.reporter
                    .error(format!("{error}; the project is served as it was"));
                Err(serve::not_served(error))
            }
        };
        if read || built {
            self.says_how_it_is();
        }
        self.show();
        self.watch(since);
        Ok(match unbuilt {
            Some(unbuilt) => Err(unbuilt),
            None => reloaded,
        })
    }

    /// To pages of errors.
    fn says_how_it_is(&self) {
        let wrong = self.wrong.clone();
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
