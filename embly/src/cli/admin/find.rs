//! Which master is meant: the one that was named, else that of the project, else the only one.

use std::path::{Path, PathBuf};

use clap::Args;

use super::client::{Client, Refusal};
use crate::admin::api;
use crate::cli::{Exit, source};
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
        which.find(reporter).await
    }

    /// Its name, if it was given.
    pub fn name(&self) -> Option<&str> {
        self.master.as_deref()
    }
}

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

impl Which {
    /// The master that is meant.
    pub async fn find(&self, reporter: &Reporter) -> Result<Found, Exit> {
        let running = all(reporter).await?;
        if let Some(id) = &self.master {
            let (mut named, others): (Vec<_>, Vec<_>) = running
                .into_iter()
                .partition(|found| found.master.id == *id);
            return named.pop().ok_or_else(|| {
                let what = format!("no master `{id}` runs");
                fail(&what, &others, reporter)
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
        let of_project = |found: &Found| {
            let file = project.as_deref();
            file.is_some_and(|file| file == Path::new(&found.master.project))
        };
        let (mut own, mut others): (Vec<_>, Vec<_>) = running.into_iter().partition(of_project);
        match (own.len(), others.len(), &self.path) {
            (1, _, _) => own.pop().ok_or(Exit::Failed),
            (0, _, Some(path)) => {
                let path = path.display();
                let what = format!("no master of the project at `{path}` runs");
                Err(fail(&what, &others, reporter))
            }
            (0, 1, None) => others.pop().ok_or(Exit::Failed),
            (0, _, None) => Err(fail("several masters run", &others, reporter)),
            (_, _, _) => Err(fail("several masters of this project run", &own, reporter)),
        }
    }
}

/// Says which there are instead.
fn fail(what: &str, running: &[Found], reporter: &Reporter) -> Exit {
    if running.is_empty() {
        reporter.error(format!(
            "{}: start one with `embly run` or `embly dev`",
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
