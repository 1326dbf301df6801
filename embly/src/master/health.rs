//! Whether what was just deployed works.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Master;
use crate::config::Project;
use crate::gateway::{Site, status_of};

/// A version that was deployed becomes healthy within this time: its functions may have to start …
const HEALTHY_WITHIN: Duration = Duration::from_secs(5);

/// … and are asked so often.
const HEALTHY_AGAIN: Duration = Duration::from_millis(200);

impl Master {
    /// Asks each gateway that has a `health` whether it is healthy, until it says so.
    ///
    /// # Errors
    /// One does not say so in time: which, and what it says.
    pub async fn healthy(&self, project: &Project) -> Result<(), String> {
        for gateway in &project.gateways {
            let Some(path) = &gateway.health else {
                continue;
            };
            let named = |site: &&Arc<Site>| {
                let gateways = site.gateways();
                gateways.iter().any(|it| *it.name == *gateway.name)
            };
            let site = self
                .open()
                .values()
                .map(|open| &open.site)
                .find(named)
                .cloned();
            let Some(site) = site else { continue };
            let host = gateway.hosts.first().map(ToString::to_string);
            // Any name below it.
            let host = host.map(|host| host.replacen('*', "health", 1));
            let host = host.as_deref().unwrap_or("localhost");
            let mut said = "nothing".to_owned();
            let asked = timeout(HEALTHY_WITHIN, async {
                loop {
                    match status_of(Arc::clone(&site), host, path).await {
                        Ok(status) if status.is_success() => return,
                        Ok(status) => said = status.as_u16().to_string(),
                        Err(error) => said = error.to_string(),
                    }
                    sleep(HEALTHY_AGAIN).await;
                }
            });
            if asked.await.is_err() {
                let name = &gateway.name;
                return Err(format!(
                    "gateway `{name}` is not healthy: at `{path}` it says {said}, and no status from 200 to 299 within {HEALTHY_WITHIN:?}"
                ));
            }
        }
        Ok(())
    }
}
