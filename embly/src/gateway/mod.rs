//! What starts functions from outside: one listener per gateway, one invocation per request
//! (HTTP) or connection (TCP).

mod activated;
mod behind;
pub mod cron;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod http;
mod listener;
mod refusals;
mod site;
mod tcp;
mod transport;
mod workbench;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use protos::Address;
use tokio::sync::watch;

use crate::config::{self, GatewayKind};
use crate::pool::{Function, Functions};
use crate::report::Often;
use crate::switchboard::Switchboard;
pub use activated::Activated;
pub use behind::{Behind, FilesError};
pub use http::answer_of;
pub use listener::{BindError, Listener, Place};
use refusals::Refusals;
pub use site::Site;
pub use transport::{Patience, Peer, Socket, Stream, Transport, TransportError};
pub use workbench::{Code, Project as Worked, Workbench};

/// What a gateway needs to serve.
#[derive(Debug)]
pub struct Gateway {
    /// Its name.
    pub name: Arc<str>,
    /// What it speaks.
    pub kind: GatewayKind,
    /// Names the listener.
    pub address: Address,
    /// What it starts; a reload may change it.
    behind: RwLock<Arc<Behind>>,
    /// The middle of the master.
    pub switchboard: Arc<Switchboard>,
    /// Where it looks for functions, if not among those that are served.
    pub trial: Option<Arc<Functions>>,
    /// Clients see why something went wrong where somebody works on the project, and only there.
    pub dev: Option<Arc<Workbench>>,
    /// What is told of clients that were turned away without an answer.
    turned_away: Mutex<Often>,
    refusals: Refusals,
}

impl Gateway {
    /// A gateway as the project file says.
    pub fn new(
        config: &config::Gateway,
        behind: Behind,
        switchboard: Arc<Switchboard>,
        dev: Option<Arc<Workbench>>,
    ) -> Self {
        Self {
            name: config.name.as_str().into(),
            kind: config.kind,
            address: crate::switchboard::random_address(),
            behind: RwLock::new(Arc::new(behind)),
            switchboard,
            trial: None,
            dev,
            turned_away: Mutex::default(),
            refusals: Refusals::default(),
        }
    }

    /// One that no client reaches, before a project that may come next.
    pub fn on_trial(
        config: &config::Gateway,
        behind: Behind,
        switchboard: Arc<Switchboard>,
        functions: Arc<Functions>,
    ) -> Self {
        Self {
            trial: Some(functions),
            ..Self::new(config, behind, switchboard, None)
        }
    }

    /// The functions that it can start.
    pub fn functions(&self) -> &Functions {
        let served = || self.switchboard.functions();
        self.trial.as_deref().unwrap_or_else(served)
    }

    /// What it starts now.
    pub fn behind(&self) -> Arc<Behind> {
        Arc::clone(&self.behind.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The function of a gateway without routes, as it is now; `None` for one that does not compile,
    /// say.
    pub fn current(&self) -> Option<Arc<Function>> {
        loop {
            let name = self.behind().function.clone()?;
            match self.functions().get(&name) {
                Some(function) => return Some(function),
                None if self.behind().function.as_ref() == Some(&name) => return None,
                // Between the two looks it has got another one, and the project has lost this.
                None => {}
            }
        }
    }

    /// Says that a client gets no answer, unless that happens often.
    fn turn_away(&self, client: Peer, why: &str) {
        let said = self.turned_away.lock().map(|mut often| often.say());
        // A lock that nobody panics under.
        if let Ok(Some(more)) = said {
            self.switchboard.reporter().warn(format!(
                "gateway `{}`: {client} was turned away: {why}{more}",
                self.name
            ));
        }
    }

    /// Says that a client has not begun as it should, unless it has just gone.
    fn not_met(&self, client: Peer, error: &std::io::Error) {
        if error.kind() != std::io::ErrorKind::UnexpectedEof {
            self.turn_away(client, &error.to_string());
        }
    }

    /// From the next request on this stands behind it.
    pub fn set(&self, behind: Behind) {
        behind.go_on(&self.behind());
        *self.behind.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(behind);
    }
}

impl Site {
    /// Serves until `closing` is true, and then until the last connection is done.
    pub async fn serve(self: Arc<Self>, listener: Arc<Listener>, closing: watch::Receiver<bool>) {
        let first = self.first();
        let following = Arc::clone(&self).follow_certificates();
        let serving = async {
            match first.kind {
                GatewayKind::Http | GatewayKind::Websocket => {
                    http::serve(self, listener, closing).await;
                }
                GatewayKind::Tcp => tcp::serve(self, first, listener, closing).await,
            }
        };
        tokio::select! {
            () = serving => {}
            () = following => {}
        }
    }
}

/// Returns when the value turns true, or nobody can turn it any more.
async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a yes as well.
    let _ = closing.wait_for(|closing| *closing).await;
}
