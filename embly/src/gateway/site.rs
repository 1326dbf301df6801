//! The gateways that share a socket, told apart by the host that a request names.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;

use super::{Behind, Gateway, Transport};
use crate::limits::{Limits, Span};

/// One socket's gateways; at least one. A reload may change them.
#[derive(Debug)]
pub struct Site {
    gateways: RwLock<Arc<[Arc<Gateway>]>>,
    transport: RwLock<Arc<Transport>>,
    /// Another transport was set.
    pub(super) changed: Notify,
}

impl Site {
    /// These, all of one kind.
    pub fn new(gateways: Vec<Arc<Gateway>>, transport: Transport) -> Self {
        Self {
            gateways: RwLock::new(gateways.into()),
            transport: RwLock::new(Arc::new(transport)),
            changed: Notify::new(),
        }
    }

    /// From the next request on, these, and from the next connection on, so.
    pub fn set(&self, gateways: Vec<Arc<Gateway>>, transport: Transport) {
        let poisoned = PoisonError::into_inner;
        *self.gateways.write().unwrap_or_else(poisoned) = gateways.into();
        let transport = Arc::new(transport);
        *self
            .transport
            .write()
            .unwrap_or_else(PoisonError::into_inner) = transport;
        self.changed.notify_one();
    }

    /// How clients are met.
    pub fn transport(&self) -> Arc<Transport> {
        Arc::clone(
            &self
                .transport
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// All of them.
    pub fn gateways(&self) -> Arc<[Arc<Gateway>]> {
        Arc::clone(&self.gateways.read().unwrap_or_else(PoisonError::into_inner))
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
    /// and `idle` of all. Those of the function count for each request. A gateway that says how long
    /// a response may stand still says so instead of `idle`.
    pub fn limits(&self) -> Limits {
        let mut limits: Option<Limits> = None;
        for gateway in &*self.gateways() {
            let behind = gateway.behind();
            let mut of_gateway = widest(gateway, &behind);
            if behind.timeouts.response != Span::Default {
                of_gateway.idle = behind.timeouts.response;
            }
            limits = Some(match limits {
                None => of_gateway,
                Some(widest) => widest.widest_connection(&of_gateway),
            });
        }
        limits.unwrap_or_default()
    }
}

fn widest(gateway: &Gateway, behind: &Behind) -> Limits {
    let mut limits: Option<Limits> = None;
    for name in behind.functions() {
        let Some(function) = gateway.functions().get(&name) else {
            continue;
        };
        limits = Some(match limits {
            None => function.limits.clone(),
            Some(widest) => widest.widest_connection(&function.limits),
        });
    }
    limits.unwrap_or_default()
}
