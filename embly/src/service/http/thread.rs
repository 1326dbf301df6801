//! The thread that calls run on. It is there from the first call on.

use std::convert::Infallible;
use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Ends with this value.
#[derive(Debug, Default)]
pub struct Thread(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    runtime: Handle,
    /// The thread ends when it is dropped.
    _ends: oneshot::Sender<Infallible>,
}

impl Thread {
    /// Where to run calls.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn runtime(&self) -> io::Result<Handle> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*running {
            return Ok(running.runtime.clone());
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (ends, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("http client".to_owned())
            // The other end is only ever dropped.
            .spawn(move || drop(runtime.block_on(ended)))?;
        *running = Some(Running {
            runtime: handle.clone(),
            _ends: ends,
        });
        Ok(handle)
    }
}
