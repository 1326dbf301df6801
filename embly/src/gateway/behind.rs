//! What stands behind a gateway: a function, or routes to several. A reload replaces it whole.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::http::{Files, Limiter, Policy};
use crate::config;
use crate::limits::{IDLE, Span};
use crate::report::AccessLog;
use crate::routes::{HostPattern, Table};

/// What takes the requests, or connections, of a gateway.
#[derive(Debug, Default)]
pub struct Behind {
    /// Whose requests; all where there are none.
    pub hosts: Vec<HostPattern>,
    /// Where they lead.
    pub routes: Table<Arc<Route>>,
    /// What takes those that no route matches, or all.
    pub function: Option<Arc<str>>,
    /// How that function takes WebSockets, if it takes nothing else.
    pub websocket: Option<Arc<config::Websocket>>,
    /// Where its access lines go as well.
    pub access_log: Option<AccessLog>,
    /// How long clients are waited for.
    pub timeouts: config::Timeouts,
    /// How long a client may take nothing of a file, or of the gateway's own words.
    pub within: Option<Duration>,
    /// What is done to requests that no route takes.
    pub policy: Arc<Policy>,
    /// What counts requests, by its place.
    limiters: HashMap<String, Arc<Limiter>>,
}

/// Where a request leads.
#[derive(Debug)]
pub struct Route {
    /// What the function is told.
    pub name: String,
    /// What answers.
    pub target: Target,
    /// Variables on top of the function's own, `KEY=value`.
    pub env: Arc<[String]>,
    /// How its function takes WebSockets, if it takes nothing else.
    pub websocket: Option<Arc<config::Websocket>>,
    /// What is done to requests and answers.
    pub policy: Arc<Policy>,
}

/// What answers a request.
#[derive(Debug)]
pub enum Target {
    /// A function.
    Function(Arc<str>),
    /// The gateway, with another place.
    Redirect(config::Redirect),
    /// The gateway, with files.
    Files(Files),
}

/// A route cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("gateway `{gateway}`: cannot read the folder `{}`: {source}", root.display())]
pub struct FilesError {
    gateway: String,
    root: PathBuf,
    source: io::Error,
}

fn limiter(place: String, policy: &Policy) -> HashMap<String, Arc<Limiter>> {
    let limiter = policy.rate.iter().map(Arc::clone);
    limiter.map(|limiter| (place.clone(), limiter)).collect()
}

impl Behind {
    /// What the project file says.
    ///
    /// # Errors
    /// See [`FilesError`].
    pub fn new(
        gateway: &config::Gateway,
        functions: &[config::Function],
        access_log: Option<AccessLog>,
    ) -> Result<Self, FilesError> {
        let mut routes = Table::default();
        let policy = Policy::new(&gateway.policy);
        let mut limiters = limiter(String::new(), &policy);
        for route in &gateway.routes {
            let target = match &route.target {
                config::Target::Function(name) => Target::Function(name.as_str().into()),
                config::Target::Redirect(redirect) => Target::Redirect(redirect.clone()),
                config::Target::Files(files) => {
                    let opened = Files::new(files).map_err(|source| FilesError {
                        gateway: gateway.name.clone(),
                        root: files.root.clone(),
                        source,
                    })?;
                    Target::Files(opened)
                }
            };
            let env = route.env.iter();
            let policy = Policy::of_route(&route.policy, &policy);
            let place = format!("{:?} {}", route.methods, route.path);
            limiters.extend(limiter(place, &policy));
            let behind = Arc::new(Route {
                name: route.name.clone(),
                target,
                env: env.map(|(key, value)| format!("{key}={value}")).collect(),
                websocket: route.websocket.clone().map(Arc::new),
                policy,
            });
            let added = routes.add(route.path.clone(), route.methods.clone(), behind);
            debug_assert!(added.is_ok(), "the project file was checked");
        }
        let mut behind = Self {
            hosts: gateway.hosts.clone(),
            routes,
            function: gateway.function.as_deref().map(Arc::from),
            websocket: gateway.websocket.clone().map(Arc::new),
            access_log,
            timeouts: gateway.timeouts,
            within: None,
            policy,
            limiters,
        };
        behind.within = match gateway.timeouts.response {
            Span::Default => behind.longest_idle(functions),
            time => time.or(None),
        };
        Ok(behind)
    }

    /// The longest `idle` of its functions.
    fn longest_idle(&self, functions: &[config::Function]) -> Option<Duration> {
        let names = self.functions();
        let own = |function: &&config::Function| names.iter().any(|name| **name == *function.name);
        let limits = functions
            .iter()
            .filter(own)
            .map(|function| &function.limits);
        let widest = limits.cloned().reduce(|a, b| a.widest_connection(&b));
        widest.unwrap_or_default().idle.or(Some(IDLE))
    }

    /// Goes on counting where `before` is.
    pub fn go_on(&self, before: &Self) {
        for (place, limiter) in &self.limiters {
            if let Some(before) = before.limiters.get(place) {
                limiter.go_on(before);
            }
        }
    }

    /// How well it fits this host: `None` for not at all, and more for a more special one.
    pub fn fits(&self, host: &str) -> Option<usize> {
        if self.hosts.is_empty() {
            return Some(0);
        }
        self.hosts
            .iter()
            .filter_map(|pattern| pattern.fits(host))
            .max()
    }

    /// Every function that it may start.
    pub fn functions(&self) -> Vec<Arc<str>> {
        let routes = self.routes.values();
        let names = routes.filter_map(|route| match &route.target {
            Target::Function(name) => Some(Arc::clone(name)),
            Target::Redirect(_) | Target::Files(_) => None,
        });
        let policies = self.routes.values().map(|route| &route.policy);
        let before = policies.chain([&self.policy]);
        let before = before.filter_map(|policy| policy.before().map(Arc::from));
        names.chain(self.function.clone()).chain(before).collect()
    }
}
