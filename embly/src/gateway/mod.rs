//! What starts functions from outside: one listener per gateway, one invocation per request
//! (HTTP) or connection (TCP).

pub mod http;
mod listener;
mod refusals;
mod tcp;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use protos::Address;
use tokio::sync::watch;

use crate::config::GatewayKind;
use crate::pool::Function;
use crate::report::Often;
use crate::switchboard::Switchboard;
pub use listener::{BindError, Listener};
use refusals::Refusals;

/// What a gateway needs to serve.
#[derive(Debug)]
pub struct Gateway {
    /// Its name.
    pub name: Arc<str>,
    /// What it speaks.
    pub kind: GatewayKind,
    /// Names the listener.
    pub address: Address,
    /// The function that it starts; a reload may change it.
    function: RwLock<Arc<str>>,
    /// The middle of the master.
    pub switchboard: Arc<Switchboard>,
    /// Whether clients see why something went wrong: only on a developer's machine.
    pub dev: bool,
    /// What is told of clients that were turned away without an answer.
    turned_away: Mutex<Often>,
    refusals: Refusals,
}

impl Gateway {
    /// A gateway that starts `function`.
    pub fn new(
        name: &str,
        kind: GatewayKind,
        function: &str,
        switchboard: Arc<Switchboard>,
        dev: bool,
    ) -> Self {
        Self {
            name: name.into(),
            kind,
            address: crate::switchboard::random_address(),
            function: RwLock::new(function.into()),
            switchboard,
            dev,
            turned_away: Mutex::default(),
            refusals: Refusals::default(),
        }
    }

    /// Name of the function that it starts now.
    pub fn function(&self) -> Arc<str> {
        Arc::clone(&self.function.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The function itself, as it is now; the name of one that is not there.
    ///
    /// # Errors
    /// It does not compile, say.
    pub fn current(&self) -> Result<Arc<Function>, Arc<str>> {
        loop {
            let name = self.function();
            match self.switchboard.functions().get(&name) {
                Some(function) => return Ok(function),
                None if name == self.function() => return Err(name),
                // Between the two looks it has got another one, and the project has lost this.
                None => {}
            }
        }
    }

    /// From the next request on it starts this one.
    pub fn set_function(&self, function: &str) {
        *self
            .function
            .write()
            .unwrap_or_else(PoisonError::into_inner) = function.into();
    }

    /// Serves until `closing` is true, and then until the last connection is done.
    pub async fn serve(self: Arc<Self>, listener: Arc<Listener>, closing: watch::Receiver<bool>) {
        match self.kind {
            GatewayKind::Http => http::serve(self, listener, closing).await,
            GatewayKind::Tcp => tcp::serve(self, listener, closing).await,
        }
    }
}

/// Returns when the value turns true, or nobody can turn it any more.
async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a yes as well.
    let _ = closing.wait_for(|closing| *closing).await;
}
