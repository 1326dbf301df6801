//! `embly run`: builds what has changed and serves, until a signal.

use embly_wrapper::jail::Policy;

use super::context::{self, Need};
use super::serve::{self, Asked, Signals, Stopped, Unbuilt};
use super::{Exit, Serve, build};
use crate::admin::Reloaded;
use crate::build::Built;
use crate::config::{Gateway, Project};
use crate::gateway::TransportError;
use crate::master::Master;
use crate::report::Reporter;

/// Builds and serves.
pub fn run(options: &Serve, reporter: &Reporter) -> Exit {
    let need = Need::Secrets(options.state.as_deref());
    let project = match context::project(&options.project.place.path, false, need, reporter) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    if only_for_dev(&project, reporter) {
        return Exit::Usage;
    }
    let policy = match serve::policy(options, reporter) {
        Ok(policy) => policy,
        Err(exit) => return exit,
    };
    match serve::runtime(reporter) {
        Ok(runtime) => {
            let command = serve_until_stopped(options, policy, project, reporter);
            serve::block_on(runtime, command)
        }
        Err(exit) => exit,
    }
}

/// Says which gateways have a certificate that nobody else trusts, if any do.
fn only_for_dev(project: &Project, reporter: &Reporter) -> bool {
    let dev = |gateway: &&Gateway| gateway.tls.as_ref().is_some_and(|tls| tls.dev);
    let gateway = project.gateways.iter().find(dev);
    if let Some(Gateway { name, .. }) = gateway {
        let gateway = name.clone();
        reporter.error(TransportError::OnlyDev { gateway }.to_string());
    }
    gateway.is_some()
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
    let secrets = serve::secrets(options, &project, reporter);
    let install = !options.project.no_install;
    let built = match built(&mut signals, &project, install, reporter).await {
        Ok(built) if built.failed.is_empty() => built,
        Ok(_) => return Exit::Failed,
        Err(Unbuilt::Stopped) => return Exit::Done,
        Err(Unbuilt::Failed(exit)) => return exit,
    };
    let master = match serve::start(
        options,
        jail,
        secrets,
        &project,
        &built,
        None,
        &mut signals,
        reporter,
    )
    .await
    {
        Ok(master) => master,
        Err(exit) => return exit,
    };
    while let Asked::Reload(asked) = signals.next().await {
        // Whatever becomes of the project: they may have been moved away.
        master.reopen_logs();
        match reload(&master, &mut signals, &project, options, reporter).await {
            Ok(reloaded) => serve::tell(asked, reloaded),
            Err(Stopped) => break,
        }
    }
    serve::stop(master, &mut signals, reporter).await
}

/// All functions; those that failed are named.
async fn built(
    signals: &mut Signals,
    project: &Project,
    install: bool,
    reporter: &Reporter,
) -> Result<Built, Unbuilt> {
    let (project, reporter) = (project.clone(), reporter.clone());
    let work = move |cancel: &_| build::all(&project, install, cancel, &reporter);
    serve::build(signals, work).await
}

async fn reload(
    master: &Master,
    signals: &mut Signals,
    old: &Project,
    options: &Serve,
    reporter: &Reporter,
) -> Result<Reloaded, Stopped> {
    const AS_IT_WAS: &str = "the project is served as it was";
    let need = Need::Secrets(options.state.as_deref());
    let project = match context::read(&old.file, false, need, reporter) {
        Ok(project) => project,
        Err(problems) => {
            reporter.warn(AS_IT_WAS);
            return Ok(Err(serve::problems_of_the_file(&problems)));
        }
    };
    master.prepare(&project).await;
    let install = !options.project.no_install;
    let failed = match built(signals, &project, install, reporter).await {
        Ok(built) if built.failed.is_empty() => {
            return Ok(
                match serve::serve(master, &project, &built, signals).await? {
                    Ok(()) => {
                        reporter.info("reloaded");
                        Ok(serve::as_json(&project.warnings))
                    }
                    Err(error) => {
                        reporter.error(format!("{error}; {AS_IT_WAS}"));
                        Err(serve::not_served(&error))
                    }
                },
            );
        }
        Ok(built) => built.failed,
        Err(Unbuilt::Failed(_)) => Vec::new(),
        Err(Unbuilt::Stopped) => return Err(Stopped),
    };
    reporter.warn(AS_IT_WAS);
    Ok(Err(serve::not_built(&failed)))
}
