//! Which master is meant: the one that was named, else that of the project, else the only one.

use std::path::{Path, PathBuf};

use clap::Args;

use super::client::{Client, Refusal};
use crate::admin::api;
use crate::cli::{Exit, context, source};
use crate::config;
use crate::master;
use crate::report::Reporter;

/// Which master.
#[derive(Debug, Args)]
pub struct Which {
    /// Folder of the project whose master is meant, or anything below it, or its bundle [default: the current
    /// folder, else the only master that runs]
    path: Option<PathBuf>,
    /// The master, as `embly masters` names it
    #[arg(long, value_name = "ID", conflicts_with = "path")]
    master: Option<String>,
}

/// Which master, by its name alone.
#[derive(Debug, Args)]
pub struct Named {
    /// The master, as `embly masters` names it [default: that of the project of the current folder,
    /// else the only one that runs]
    #[arg(long, value_name = "ID")]
    master: Option<String>,
}

impl Named {
    /// The master that is meant.
    pub async fn find(&self, reporter: &Reporter) -> Result<Found, Exit> {
        let which = Which {
            path: None,
            master: self.master.clone(),
        };
        which.found(START_WITH_STATE, true, reporter).await
    }

    /// Its name, if it was given.
    pub fn name(&self) -> Option<&str> {
        self.master.as_deref()
    }
}

/// What to type where no master runs.
const START: &str = "start one with `embly run` or `embly dev`";

/// Where one is needed that bundles can be deployed to.
const START_WITH_STATE: &str =
    "start one with `embly run --state DIR`, which keeps what is deployed";

/// What is said of a project whose master is not there yet.
pub const STILL_BUILT: &str =
    "is still being built for the first time: try again when it is served";

/// A master that runs.
pub struct Found {
    pub master: api::Master,
    pub client: Client,
}

/// All masters of this user that answer.
pub async fn all(reporter: &Reporter) -> Result<Vec<Found>, Exit> {
    let folders = master::folders().map_err(|error| {
        reporter.error(error.to_string());
        Exit::Failed
    })?;
    let mut found = Vec::new();
    for (id, socket) in folders {
        let client = Client::new(&socket);
        match client.master().await {
            Ok(master) => found.push(Found { master, client }),
            Err(Refusal::Failed(failure)) => {
                reporter.warn(format!("master {id}: {}", failure.message));
            }
            // One that has just ended is none.
            Err(Refusal::Silent(_)) if !socket.exists() => {}
            Err(Refusal::Silent(why)) => reporter.warn(format!("master {id}: {why}")),
        }
    }
    Ok(found)
}

/// The masters of this user that answer; whoever does not is passed over.
pub async fn answering() -> Vec<api::Master> {
    let mut found = Vec::new();
    for (_, socket) in master::folders().unwrap_or_default() {
        found.extend(Client::new(&socket).master().await.ok());
    }
    found
}

impl Which {
    /// The master that is meant.
    pub async fn find(&self, reporter: &Reporter) -> Result<Found, Exit> {
        self.find_or(START, reporter).await
    }

    /// The same, with what to do where none runs.
    pub async fn find_or(&self, advice: &str, reporter: &Reporter) -> Result<Found, Exit> {
        self.found(advice, false, reporter).await
    }

    /// The same, to change something there: in the folder of a project the master of another one has to be named.
    pub async fn find_to_change(&self, reporter: &Reporter) -> Result<Found, Exit> {
        self.found(START, true, reporter).await
    }

    async fn found(&self, advice: &str, changes: bool, reporter: &Reporter) -> Result<Found, Exit> {
        let fail = |what: &str, running: &[Found]| fail(what, running, advice, reporter);
        let running = all(reporter).await?;
        if let Some(id) = &self.master {
            let (mut named, others): (Vec<_>, Vec<_>) = running
                .into_iter()
                .partition(|found| found.master.id == *id);
            return named.pop().ok_or_else(|| {
                let what = format!("no master `{id}` runs");
                fail(&what, &others)
            });
        }
        let here = Path::new(".");
        let place = self.path.as_deref().unwrap_or(here);
        let found = match source::is_bundle(place).then(|| place.canonicalize()) {
            Some(Ok(bundle)) => Ok(bundle),
            Some(Err(_)) | None => config::find(place),
        };
        let project = match found {
            Ok(file) => Some(file),
            Err(error) if self.path.is_some() => {
                reporter.error(error.to_string());
                return Err(Exit::Usage);
            }
            Err(_) => None,
        };
        let is_own = |file: &Path| project.as_deref() == Some(file);
        let begun = master::begun();
        let still_built = |file: &Path| {
            reporter.error(format!("`{}` {STILL_BUILT}", context::shown(file)));
            Exit::Failed
        };
        let of_project = |found: &Found| is_own(Path::new(&found.master.project));
        let (mut own, mut others): (Vec<_>, Vec<_>) = running.into_iter().partition(of_project);
        match (own.len(), others.len(), &self.path) {
            (1, _, _) => own.pop().ok_or(Exit::Failed),
            (0, _, _) if begun.iter().any(|file| is_own(file)) => {
                Err(still_built(project.as_deref().unwrap_or(here)))
            }
            (0, 0, None) if !begun.is_empty() => Err(still_built(&begun[0])),
            (0, _, Some(path)) => {
                let path = path.display();
                let what = format!("no master of the project at `{path}` runs");
                Err(fail(&what, &others))
            }
            (0, 1, None) => {
                let found = others.pop().ok_or(Exit::Failed)?;
                let of = Path::new(&found.master.project);
                // A bundle beside the project file is one of the project.
                if let Some(project) = project.filter(|project| project.parent() != of.parent()) {
                    if changes {
                        let what = format!("no master of `{}` runs", context::shown(&project));
                        return Err(fail(&what, &[found]));
                    }
                    reporter.info(format!(
                        "no master of `{}` runs; this is the one of {}",
                        context::shown(&project),
                        context::shown(of)
                    ));
                }
                Ok(found)
            }
            (0, _, None) => Err(fail("several masters run", &others)),
            (_, _, _) => Err(fail("several masters of this project run", &own)),
        }
    }
}

/// Says which there are instead.
fn fail(what: &str, running: &[Found], advice: &str, reporter: &Reporter) -> Exit {
    if running.is_empty() {
        reporter.error(format!(
            "{}: {advice}",
            if what.starts_with("several") {
                "no master runs"
            } else {
                what
            }
        ));
        return Exit::Failed;
    }
    let lines = running.iter().map(|found| {
        let api::Master { id, project, .. } = &found.master;
        format!("\n  --master {id}  {project}")
    });
    let lines: String = lines.collect();
    reporter.error(format!("{what}; say which one is meant:{lines}"));
    Exit::Failed
}
