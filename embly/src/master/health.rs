//! Whether a version that is deployed works. It is asked before clients get it: its functions stand
//! beside those that are served, behind gateways that nobody else reaches, and find only each other.

use std::collections::HashMap;
use std::mem::discriminant;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{sleep, timeout};

use super::sites::Shared;
use super::{Master, ServeError};
use crate::config::Project;
use crate::gateway::{Gateway, Site, answer_of};

/// A version that was deployed becomes healthy within this time: its functions may have to start …
const HEALTHY_WITHIN: Duration = Duration::from_secs(5);

/// … and are asked so often.
const HEALTHY_AGAIN: Duration = Duration::from_millis(200);

/// One that has failed so often fails.
const FAILURES: u32 = 3;

impl Master {
    /// Lets a project that may be served next stand beside the one that is: what answers for it, or
    /// `None` where it cannot. Both have their services; migrations are applied, as they have to be
    /// for it to answer. Whatever comes of it, [`Master::serve`] ends it.
    ///
    /// # Errors
    /// It could not be served either.
    pub async fn trial(
        &self,
        project: &Project,
        served: &Project,
        artefacts: &HashMap<String, PathBuf>,
    ) -> Result<Option<Vec<Arc<Site>>>, ServeError> {
        if project.gateways.iter().all(|it| it.health.is_none()) {
            return Ok(Some(Vec::new()));
        }
        let Some(both) = both(project, served) else {
            return Ok(None);
        };
        let sites = self.behind(project)?;
        self.configured(&both).await?();
        let functions = self.switchboard.functions();
        let functions = functions.trial(self.functions(project, artefacts));
        let site = |shared: Shared<'_>| {
            let gateways = shared.gateways.into_iter().map(|(config, behind)| {
                let switchboard = Arc::clone(&self.switchboard);
                let gateway =
                    Gateway::on_trial(config, behind, switchboard, Arc::clone(&functions));
                Arc::new(gateway)
            });
            Arc::new(Site::new(gateways.collect(), shared.transport))
        };
        Ok(Some(sites.into_values().map(site).collect()))
    }

    /// Asks each gateway that has a `health`, of these, whether it is healthy, until it says so.
    ///
    /// # Errors
    /// One does not say so in time: which, and what it says.
    pub async fn healthy(&self, project: &Project, sites: &[Arc<Site>]) -> Result<(), String> {
        for gateway in &project.gateways {
            let Some(path) = &gateway.health else {
                continue;
            };
            let named = |site: &&Arc<Site>| {
                let gateways = site.gateways();
                gateways.iter().any(|it| *it.name == *gateway.name)
            };
            let Some(site) = sites.iter().find(named) else {
                continue;
            };
            let host = gateway.hosts.first().map(ToString::to_string);
            // Any name below it.
            let host = host.map(|host| host.replacen('*', "health", 1));
            let host = host.as_deref().unwrap_or("localhost");
            let (mut said, mut failures) = ("nothing".to_owned(), 0);
            let asked = timeout(HEALTHY_WITHIN, async {
                loop {
                    match answer_of(Arc::clone(site), host, path).await {
                        Ok(answer) if answer.status.is_success() => return true,
                        // Whoever has no room yet, or still waits after a failure, may have it soon.
                        Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE => {
                            if failures == 0 {
                                said = answer.to_string();
                            }
                        }
                        Ok(answer) => {
                            said = answer.to_string();
                            failures += 1;
                            if failures == FAILURES {
                                return false;
                            }
                        }
                        Err(error) => said = error.to_string(),
                    }
                    sleep(HEALTHY_AGAIN).await;
                }
            });
            let how = match asked.await {
                Ok(true) => continue,
                Ok(false) => format!("{FAILURES} times"),
                Err(_) => format!("and no status from 200 to 299 within {HEALTHY_WITHIN:?}"),
            };
            let name = &gateway.name;
            return Err(format!(
                "gateway `{name}` is not healthy: at `{path}` it says {said}, {how}"
            ));
        }
        Ok(())
    }
}

/// A project whose services are those of both; `None` where a store of one name is another in each.
fn both(project: &Project, served: &Project) -> Option<Project> {
    let mut both = project.clone();
    let new: HashMap<_, _> = project.stores.iter().map(|it| (&it.name, it)).collect();
    for store in &served.stores {
        match new.get(&store.name) {
            Some(new)
                if new.path == store.path
                    && discriminant(&new.kind) == discriminant(&store.kind) => {}
            Some(_) => return None,
            None => both.stores.push(store.clone()),
        }
    }
    both.functions.extend(served.functions.iter().cloned());
    Some(both)
}
