//! `embly build`: builds and stops.

use super::{Exit, Project, context};
use crate::build::{Build, Built, Cancel};
use crate::config;
use crate::report::Reporter;

/// Builds the project.
pub fn run(options: &Project, reporter: &Reporter) -> Exit {
    let project = match context::project(&options.place.path, false, reporter) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    match all(&project, !options.no_install, &Cancel::new(), reporter) {
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
    };
    build.run(project, functions).map_err(|error| {
        reporter.status(None);
        reporter.error(error.to_string());
        Exit::Failed
    })
}
