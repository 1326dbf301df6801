//! Listening sockets.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use tokio::net::{TcpListener, UnixListener};

use super::activated::Inherited;
use super::{Activated, Peer, Socket};
use crate::report::Reporter;

/// After an accept that failed for want of descriptors or memory: long enough for some to be
/// freed, short enough that a client does not notice.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Clients that wait in the kernel; it takes its own limit where that is smaller.
const BACKLOG: i32 = 1024;

/// Who may connect to a Unix socket: its user and group.
const MODE: u32 = 0o660;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An address; port 0 is any free one.
    Ip(SocketAddr),
    /// A file.
    Unix(PathBuf),
    /// A socket that systemd has opened, by its name.
    Systemd(String),
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: Listening,
    /// Removed with it.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Why a gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else does.
    #[error("gateway `{gateway}`: port {port} is taken on {}: `ss -ltnp 'sport = :{port}'` shows by whom; stop that, or choose another `port:`, or `--bind :0` for free ones", at.ip(), port = at.port())]
    Taken {
        /// Its name.
        gateway: String,
        /// Where.
        at: SocketAddr,
    },
    /// A low port.
    #[error("gateway `{gateway}`: no permission to listen on port {}, choose one from 1024 up", at.port())]
    NotPermitted {
        /// Its name.
        gateway: String,
        /// Where.
        at: SocketAddr,
    },
    /// Not an address of this machine.
    #[error("gateway `{gateway}`: {} is not an address of this machine, correct `bind:`", at.ip())]
    NotHere {
        /// Its name.
        gateway: String,
        /// Where.
        at: SocketAddr,
    },
    /// Anything else.
    #[error("gateway `{gateway}`: cannot listen on {at}: {source}")]
    Other {
        /// Its name.
        gateway: String,
        /// Where.
        at: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A Unix socket.
    #[error("gateway `{gateway}`: cannot listen on `{}`: {why}", path.display())]
    Unix {
        /// Its name.
        gateway: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A socket of systemd.
    #[error("gateway `{gateway}`: {why}")]
    Systemd {
        /// Its name.
        gateway: String,
        /// What is wrong.
        why: String,
    },
}

impl Listener {
    /// Listens there.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(
        gateway: &str,
        place: &Place,
        activated: &Activated,
    ) -> Result<Self, BindError> {
        let gateway = gateway.to_owned();
        match place {
            Place::Ip(at) => Self::tcp(gateway, *at).await,
            Place::Unix(path) => bind_unix(path).map_err(|why| BindError::Unix {
                gateway,
                path: path.clone(),
                why,
            }),
            Place::Systemd(name) => {
                let adopted = activated.get(name).and_then(|inherited| {
                    adopt(inherited).map_err(|error| format!("socket `{name}`: {error}"))
                });
                adopted
                    .map(|socket| Self {
                        socket,
                        _file: None,
                    })
                    .map_err(|why| BindError::Systemd { gateway, why })
            }
        }
    }

    async fn tcp(gateway: String, at: SocketAddr) -> Result<Self, BindError> {
        TcpListener::bind(at)
            .await
            .map(|socket| Self {
                socket: Listening::Tcp(socket),
                _file: None,
            })
            .map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => BindError::Taken { gateway, at },
                io::ErrorKind::PermissionDenied => BindError::NotPermitted { gateway, at },
                io::ErrorKind::AddrNotAvailable => BindError::NotHere { gateway, at },
                _ => BindError::Other {
                    gateway,
                    at,
                    source,
                },
            })
    }

    /// Where it listens, as a URL where that is a port.
    ///
    /// # Errors
    /// That of `getsockname`.
    pub fn url(&self, scheme: &str) -> io::Result<String> {
        Ok(match &self.socket {
            Listening::Tcp(socket) => format!("{scheme}://{}", socket.local_addr()?),
            Listening::Unix(socket) => {
                let at = socket.local_addr()?;
                // Only systemd makes sockets without a file.
                let path = at.as_pathname().unwrap_or(Path::new("@"));
                format!("unix:{}", path.display())
            }
        })
    }

    /// The next connection. One that is gone already, or a machine at its limits, is waited
    /// out; the error is reported once per pause.
    pub async fn accept(&self, gateway: &str, reporter: &Reporter) -> (Socket, Peer) {
        loop {
            let accepted = match &self.socket {
                Listening::Tcp(socket) => socket.accept().await.map(|(stream, client)| {
                    // Answers are written whole; waiting for more helps nobody. A connection
                    // that is gone already shows at its first read.
                    let _ = stream.set_nodelay(true);
                    (Socket::Tcp(Arc::new(stream)), Peer::Ip(client))
                }),
                Listening::Unix(socket) => {
                    let accepted = socket.accept().await;
                    accepted.map(|(stream, _)| (Socket::Unix(Arc::new(stream)), Peer::Unix))
                }
            };
            match accepted {
                Ok(client) => return client,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    reporter.warn(format!(
                        "gateway `{gateway}`: cannot accept a connection: {error}"
                    ));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn adopt(inherited: Inherited) -> io::Result<Listening> {
    Ok(match inherited {
        Inherited::Tcp(socket) => {
            socket.set_nonblocking(true)?;
            Listening::Tcp(TcpListener::from_std(socket)?)
        }
        Inherited::Unix(socket) => {
            socket.set_nonblocking(true)?;
            Listening::Unix(UnixListener::from_std(socket)?)
        }
    })
}

/// Listens on a file. One that was left behind is replaced.
fn bind_unix(path: &Path) -> Result<Listener, String> {
    let said = |error: Errno| io::Error::from(error).to_string();
    let at = SocketAddrUnix::new(path).map_err(said)?;
    let new = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(said)
    };
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err("there is something that is not a socket".to_owned());
        }
        Ok(_) => match rustix::net::connect(&new()?, &at) {
            Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(|error| error.to_string())?,
            Err(Errno::NOENT) => {}
            // Whoever has no room for us now listens as well.
            Ok(()) | Err(Errno::AGAIN) => {
                return Err("somebody listens there, stop it or choose another path".to_owned());
            }
            Err(error) => return Err(said(error)),
        },
        // What is wrong with the folder shows below.
        Err(_) => {}
    }
    let socket = new()?;
    rustix::net::bind(&socket, &at).map_err(said)?;
    let file = SocketFile::new(path).map_err(|error| error.to_string())?;
    // Nobody can connect before this socket listens.
    let permissions = Permissions::from_mode(MODE);
    fs::set_permissions(path, permissions).map_err(|error| error.to_string())?;
    rustix::net::listen(&socket, BACKLOG).map_err(said)?;
    let socket = UnixListener::from_std(socket.into()).map_err(|error| error.to_string())?;
    Ok(Listener {
        socket: Listening::Unix(socket),
        _file: Some(file),
    })
}

/// The file of a socket, removed with it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and number: somebody else may have put another one there.
    id: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            id: (meta.dev(), meta.ino()),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let meta = fs::symlink_metadata(&self.path);
        if meta.is_ok_and(|meta| (meta.dev(), meta.ino()) == self.id) {
            // Whoever comes next replaces what cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}
