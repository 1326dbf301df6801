//! The master's socket for wrappers that it did not fork: other runtimes, debugging, systems
//! without the fork server.
//!
//! It lies in a private folder. Whoever connects must be the same user, must name, as its first
//! 8 bytes, a slot that was reserved, and must be the process that it was reserved for.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use embly_wrapper::process::{self, Spec};
use protos::Slot;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use super::{Jail, Nursery, Reaper, Socket, StartError, Wrapper};
use crate::report::Reporter;

/// A program that was started gets this long to load its function and connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Whoever connects gets this long for its first 8 bytes.
const HELLO_WITHIN: Duration = Duration::from_secs(1);

/// After an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A Unix path may have at most 107 bytes: `sun_path` less its end.
const MAX_PATH: usize = 107;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The kernel's limit.
    #[error("the socket path `{}` is longer than {MAX_PATH} bytes; set `--socket` or XDG_RUNTIME_DIR to a shorter one", .0.display())]
    TooLong(PathBuf),
    /// It cannot be made.
    #[error("cannot listen on the socket `{}`: {source}", path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The socket, and who is expected.
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
    expected: Mutex<HashMap<Slot, Expected>>,
}

/// Who is to connect for a slot.
#[derive(Debug)]
struct Expected {
    /// Its process, once that is started.
    pid: watch::Receiver<Option<i32>>,
    connected: oneshot::Sender<UnixStream>,
}

impl Door {
    /// Listens from now on.
    ///
    /// # Errors
    /// See [`DoorError`].
    pub fn open(path: &Path, reporter: Reporter) -> Result<Arc<Self>, DoorError> {
        let path = path.to_owned();
        if path.as_os_str().len() > MAX_PATH {
            return Err(DoorError::TooLong(path));
        }
        let listener = UnixListener::bind(&path).map_err(|source| DoorError::Bind {
            path: path.clone(),
            source,
        })?;
        let door = Arc::new(Self {
            path,
            expected: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&door).listen(listener, reporter));
        Ok(door)
    }

    fn expected(&self) -> MutexGuard<'_, HashMap<Slot, Expected>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn listen(self: Arc<Self>, listener: UnixListener, reporter: Reporter) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (door, reporter) = (Arc::clone(&self), reporter.clone());
                    tokio::spawn(async move {
                        if let Err(why) = door.admit(stream).await {
                            reporter.warn(format!(
                                "a connection to the wrapper socket was refused: {why}"
                            ));
                        }
                    });
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    async fn admit(&self, mut stream: UnixStream) -> Result<(), String> {
        let peer = stream.peer_cred().map_err(|error| error.to_string())?;
        if peer.uid() != rustix::process::geteuid().as_raw() {
            return Err(format!("it comes from uid {}", peer.uid()));
        }
        let mut hello = [0; Slot::BYTES];
        match timeout(HELLO_WITHIN, stream.read_exact(&mut hello)).await {
            Ok(Ok(_)) => {}
            // Another master looks whether this one is alive.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            _ => return Err("it does not say which slot it is for".to_owned()),
        }
        let slot = Slot::from_bytes(hello);
        let not_reserved = || format!("slot {} is not reserved", slot.0);
        let expected = self.expected().get(&slot).map(|slot| slot.pid.clone());
        let mut expected = expected.ok_or_else(not_reserved)?;
        // It may be faster than the news of its start; the start itself may fail.
        let known = expected.wait_for(Option::is_some).await.map(|pid| *pid);
        if known.map_err(|_| not_reserved())? != peer.pid() {
            return Err(format!("slot {} is reserved for another process", slot.0));
        }
        let waiting = self.expected().remove(&slot);
        match waiting {
            // Who waited may have given up: then the stream is closed here.
            Some(waiting) => drop(waiting.connected.send(stream)),
            None => return Err(not_reserved()),
        }
        Ok(())
    }

    /// Starts a wrapper as a program of its own and waits until it has connected.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        &self,
        spec: &Spec,
        slot: Slot,
        jail: &Jail,
        nursery: &Nursery,
        reaper: &Arc<Reaper>,
    ) -> Result<Wrapper, StartError> {
        let (send, receive) = oneshot::channel();
        let (say_pid, pid) = watch::channel(None);
        let expected = Expected {
            pid,
            connected: send,
        };
        self.expected().insert(slot, expected);
        let _reserved = Reserved { door: self, slot };
        let (spec, policy, path) = (spec.clone(), jail.policy, self.path.clone());
        let start = move || process::start_wrapper(&spec, &policy, &path, slot);
        let pid = nursery.run(start).await.map_err(StartError::Process)?;
        reaper.add_group(pid);
        let mut stray = Stray {
            reaper,
            pid: Some(pid),
        };
        say_pid.send_replace(Some(pid));
        let connected = tokio::select! {
            connected = timeout(CONNECT_WITHIN, receive) => connected.ok().and_then(Result::ok),
            () = reaper.gone(pid) => None,
        };
        let socket = connected.ok_or(StartError::Gone)?;
        let socket = socket.into_std().and_then(Socket::new);
        let socket = socket.map_err(StartError::Connection)?;
        stray.pid = None;
        Ok(Wrapper::new(socket, pid, reaper))
    }
}

/// A slot that somebody waits for, until it is dropped.
struct Reserved<'a> {
    door: &'a Door,
    slot: Slot,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.door.expected().remove(&self.slot);
    }
}

/// A process that has not connected. When it is given up it has nothing to live for.
struct Stray<'a> {
    reaper: &'a Reaper,
    pid: Option<i32>,
}

impl Drop for Stray<'_> {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            self.reaper.kill_leader(pid);
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // In the folder of sockets it goes with the folder.
        let _ = std::fs::remove_file(&self.path);
    }
}
