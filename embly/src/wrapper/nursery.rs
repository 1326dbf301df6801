//! The thread that starts processes.
//!
//! The kernel ties the life of a fork server, and of the wrappers it forks, to the thread that
//! started it. So one thread does that and lives as long as the master.

use std::io;
use std::sync::mpsc;

use embly_wrapper::process;
use tokio::sync::oneshot;

type Work = Box<dyn FnOnce() + Send>;

/// Starts processes. Clones share the thread.
#[derive(Debug, Clone)]
pub struct Nursery {
    orders: mpsc::Sender<Work>,
}

impl Nursery {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn new() -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Work>();
        // It outlives every sender, and they live until the process ends: a thread that ended
        // earlier would take along what it has started.
        std::thread::Builder::new()
            .name("nursery".to_owned())
            .spawn(move || {
                // It is told of the end of each child otherwise, woken each time, and wakes the
                // thread that reaps. It does its work all the same where this fails.
                let _ = process::block_child_signals();
                inbox.into_iter().for_each(|work| work());
            })?;
        Ok(Self { orders })
    }

    /// Does `work` on the thread, some time.
    pub fn tell(&self, work: impl FnOnce() + Send + 'static) {
        // Without the thread there is nothing to do it to.
        let _ = self.orders.send(Box::new(work));
    }

    /// Does `start` on the thread.
    ///
    /// # Errors
    /// That of `start`.
    pub async fn run<T: Send + 'static>(
        &self,
        start: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (reply, started) = oneshot::channel();
        // What nobody waits for any more ends as it is dropped.
        let work: Work = Box::new(move || drop(reply.send(start())));
        let gone = || io::Error::other("the thread that starts processes has ended");
        self.orders.send(work).map_err(|_| gone())?;
        started.await.map_err(|_| gone())?
    }
}
