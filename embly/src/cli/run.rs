//! `embly run`: builds what has changed and serves, until a signal.

use embly_wrapper::jail::Policy;

use super::serve::{self, Asked, Signals, Unbuilt};
use super::{Exit, Serve, build, context};
use crate::build::Built;
use crate::config::Project;
use crate::master::Master;
use crate::report::Reporter;

/// Builds and serves.
pub fn run(options: &Serve, reporter: &Reporter) -> Exit {
    let project = match context::project(&options.project.place.path, false, reporter) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    let policy = match serve::policy(options, reporter) {
        Ok(policy) => policy,
        Err(exit) => return exit,
    };
    match serve::runtime(reporter) {
        Ok(runtime) => runtime.block_on(serve_until_stopped(options, policy, project, reporter)),
        Err(exit) => exit,
    }
}

async fn serve_until_stopped(
    options: &Serve,
    policy: Policy,
    project: Project,
    reporter: &Reporter,
) -> Exit {
    let mut signals = match Signals::take(reporter) {
        Ok(signals) => signals,
        Err(exit) => return exit,
    };
    let jail = serve::check_jail(policy, reporter);
    let install = !options.project.no_install;
    let built = match built(&mut signals, &project, install, reporter).await {
        Ok(built) => built,
        Err(Unbuilt::Stopped) => return Exit::Done,
        Err(Unbuilt::Failed(exit)) => return exit,
    };
    let master = match serve::start(options, jail, &project, &built, false, reporter).await {
        Ok(master) => master,
        Err(exit) => return exit,
    };
    while signals.next().await == Asked::Reload {
        if reload(&master, &mut signals, &project, install, reporter).await == Err(Stopped) {
            break;
        }
    }
    serve::stop(master, &mut signals, reporter).await
}

/// Everything, or nothing.
async fn built(
    signals: &mut Signals,
    project: &Project,
    install: bool,
    reporter: &Reporter,
) -> Result<Built, Unbuilt> {
    let (project, reporter) = (project.clone(), reporter.clone());
    let work = move |cancel: &_| build::all(&project, install, cancel, &reporter);
    let built = serve::build(signals, work).await?;
    if built.failed.is_empty() {
        Ok(built)
    } else {
        Err(Unbuilt::Failed(Exit::Failed))
    }
}

/// A signal to stop came while something else was done.
#[derive(Debug, PartialEq, Eq)]
struct Stopped;

async fn reload(
    master: &Master,
    signals: &mut Signals,
    old: &Project,
    install: bool,
    reporter: &Reporter,
) -> Result<(), Stopped> {
    const AS_IT_WAS: &str = "the project is served as it was";
    let Ok(project) = context::load(&old.file, false, reporter) else {
        reporter.warn(AS_IT_WAS);
        return Ok(());
    };
    match built(signals, &project, install, reporter).await {
        Ok(built) => match master.serve(&project, &built.artefacts).await {
            Ok(()) => reporter.info("reloaded"),
            Err(error) => reporter.error(format!("{error}; {AS_IT_WAS}")),
        },
        Err(Unbuilt::Failed(_)) => reporter.warn(AS_IT_WAS),
        Err(Unbuilt::Stopped) => return Err(Stopped),
    }
    Ok(())
}
