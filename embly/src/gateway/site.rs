//! The gateways that share a socket, told apart by the host that a request names.

use std::sync::{Arc, PoisonError, RwLock};

use super::Gateway;
use crate::limits::Limits;

/// One socket's gateways; at least one. A reload may change them.
#[derive(Debug)]
pub struct Site(RwLock<Arc<[Arc<Gateway>]>>);

impl Site {
    /// These, all of one kind.
    pub fn new(gateways: Vec<Arc<Gateway>>) -> Self {
        Self(RwLock::new(gateways.into()))
    }

    /// From the next request on, these.
    pub fn set(&self, gateways: Vec<Arc<Gateway>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = gateways.into();
    }

    /// All of them.
    pub fn gateways(&self) -> Arc<[Arc<Gateway>]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first: what concerns the socket is said in its name.
    pub fn first(&self) -> Arc<Gateway> {
        Arc::clone(&self.gateways()[0])
    }

    /// The one that serves this host best, if any does.
    pub fn of(&self, host: &str) -> Option<Arc<Gateway>> {
        let gateways = self.gateways();
        let fits = gateways
            .iter()
            .filter_map(|gateway| Some((gateway.behind().fits(host)?, gateway)));
        fits.max_by_key(|(fits, _)| *fits)
            .map(|(_, gateway)| Arc::clone(gateway))
    }

    /// The limits of a connection, on which any function may be asked for: the widest `request_head`
    /// and `idle` of all. Those of the function count for each request.
    pub fn limits(&self) -> Limits {
        let mut limits: Option<Limits> = None;
        for gateway in &*self.gateways() {
            for name in gateway.behind().functions() {
                let Some(function) = gateway.switchboard.functions().get(&name) else {
                    continue;
                };
                limits = Some(match limits {
                    None => function.limits.clone(),
                    Some(widest) => widest.widest_connection(&function.limits),
                });
            }
        }
        limits.unwrap_or_default()
    }
}
