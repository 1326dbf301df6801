//! `embly build`: builds and stops.

use std::sync::Mutex;

use super::context::{self, Need};
use super::serve::{self, Signals};
use super::{Exit, Project};
use crate::build::{Build, Built, Cancel};
use crate::config;
use crate::report::Reporter;

/// Builds the project.
pub fn run(options: &Project, reporter: &Reporter) -> Exit {
    let project = match context::project(&options.chosen, false, Need::Nothing, reporter) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    reporter.masks().only(&project.secrets);
    match serve::runtime(reporter) {
        Ok(runtime) => runtime.block_on(until_signal(project, !options.no_install, reporter)),
        Err(exit) => exit,
    }
}

/// A signal ends cargo as well, which runs in a group of its own.
async fn until_signal(project: config::Project, install: bool, reporter: &Reporter) -> Exit {
    let mut signals = match Signals::take(reporter) {
        Ok(signals) => signals,
        Err(exit) => return exit,
    };
    let to = reporter.clone();
    let work = move |cancel: &_| all(&project, install, cancel, &to);
    match serve::build(&mut signals, work).await {
        Ok(built) if built.failed.is_empty() => Exit::Done,
        Ok(_) | Err(_) => Exit::Failed,
    }
}

/// Builds every function of a project.
pub fn all(
    project: &config::Project,
    install: bool,
    cancel: &Cancel,
    reporter: &Reporter,
) -> Result<Built, Exit> {
    some(
        project,
        &project.functions.iter().collect::<Vec<_>>(),
        install,
        cancel,
        reporter,
    )
}

/// Builds these functions of a project.
pub fn some(
    project: &config::Project,
    functions: &[&config::Function],
    install: bool,
    cancel: &Cancel,
    reporter: &Reporter,
) -> Result<Built, Exit> {
    let cache = context::cache(reporter)?;
    let progress = context::progress(reporter);
    let build = Build {
        cache: &cache,
        install,
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
