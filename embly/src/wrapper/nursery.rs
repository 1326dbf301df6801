//! The thread that starts fork servers.
//!
//! The kernel ties the life of a fork server, and of the wrappers it forks, to the thread that
//! started it. So one thread does that and lives as long as the master.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc;

use embly_wrapper::process::{ForkServer, ServerSpec};
use tokio::sync::oneshot;

/// Starts fork servers. Clones share the thread.
#[derive(Debug, Clone)]
pub struct Nursery {
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
struct Order {
    function: String,
    artefact: PathBuf,
    entry: String,
    reply: oneshot::Sender<io::Result<ForkServer>>,
}

impl Nursery {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn new() -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::Builder::new()
            .name("nursery".to_owned())
            .spawn(move || {
                for Order {
                    function,
                    artefact,
                    entry,
                    reply,
                } in inbox
                {
                    let started = ForkServer::start(ServerSpec {
                        function: &function,
                        artefact: &artefact,
                        entry: &entry,
                    });
                    // One that nobody waits for any more ends as it is dropped.
                    let _ = reply.send(started);
                }
                // The thread outlives every sender, and they live until the process ends: leaving
                // here would kill what it has started.
            })?;
        Ok(Self { orders })
    }

    /// Starts a fork server and waits until its process exists.
    ///
    /// # Errors
    /// That of starting a process.
    pub async fn start(
        &self,
        function: String,
        artefact: PathBuf,
        entry: String,
    ) -> io::Result<ForkServer> {
        let (reply, started) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts processes has ended");
        self.orders
            .send(Order {
                function,
                artefact,
                entry,
                reply,
            })
            .map_err(|_| gone())?;
        started.await.map_err(|_| gone())?
    }
}
