//! `embly build`: builds and stops.

use std::sync::Mutex;

use super::context::{self, Need};
use super::serve::{self, Signals};
use super::{Exit, Project};
use crate::build::{Build, Built, Cancel};
use crate::config;
use crate::report::Reporter;

/// How functions are built.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Whether what is missing may be installed.
    pub install: bool,
    /// Whether backtraces are to have files and lines. What is shipped is smaller without, and says
    /// nothing of the machine that has built it.
    pub lines: bool,
}

impl How {
    /// For whoever works on the functions.
    pub fn to_work_on(project: &Project) -> Self {
        Self {
            install: !project.no_install,
            lines: true,
        }
    }

    /// For whoever serves them.
    pub fn to_ship(no_install: bool) -> Self {
        Self {
            install: !no_install,
            lines: false,
        }
    }
}

/// Builds the project.
pub fn run(options: &Project, reporter: &Reporter) -> Exit {
    let project = match context::project(&options.chosen, false, Need::Nothing, reporter) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    reporter.masks().only(&project.secrets);
    match serve::runtime(reporter) {
        Ok(runtime) => runtime.block_on(until_signal(
            project,
            How::to_ship(options.no_install),
            reporter,
        )),
        Err(exit) => exit,
    }
}

/// A signal ends cargo as well, which runs in a group of its own.
async fn until_signal(project: config::Project, how: How, reporter: &Reporter) -> Exit {
    let mut signals = match Signals::take(reporter) {
        Ok(signals) => signals,
        Err(exit) => return exit,
    };
    let to = reporter.clone();
    let work = move |cancel: &_| all(&project, how, cancel, &to);
    match serve::build(&mut signals, work).await {
        Ok(built) if built.failed.is_empty() => Exit::Done,
        Ok(_) | Err(_) => Exit::Failed,
    }
}

/// Builds every function of a project.
pub fn all(
    project: &config::Project,
    how: How,
    cancel: &Cancel,
    reporter: &Reporter,
) -> Result<Built, Exit> {
    some(
        project,
        &project.functions.iter().collect::<Vec<_>>(),
        how,
        cancel,
        reporter,
    )
}

/// Builds these functions of a project.
pub fn some(
    project: &config::Project,
    functions: &[&config::Function],
    how: How,
    cancel: &Cancel,
    reporter: &Reporter,
) -> Result<Built, Exit> {
    let cache = context::cache(reporter)?;
    let progress = context::progress(reporter);
    let build = Build {
        cache: &cache,
        install: how.install,
        lines: how.lines,
        progress,
        cancel,
        reporter,
        talk: Mutex::default(),
    };
    build.run(project, functions).map_err(|error| {
        reporter.status(None);
        reporter.error(error.to_string());
        Exit::Failed
    })
}
