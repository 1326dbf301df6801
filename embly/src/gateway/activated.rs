//! Sockets that were open when Embly was started, by systemd.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

/// All of them, by name. They stay open as long as this, so that a reload can come back to one.
#[derive(Debug, Default)]
pub struct Activated(Vec<(String, OwnedFd)>);

/// What a socket listens on.
#[derive(Debug)]
pub enum Inherited {
    /// A port.
    Tcp(std::net::TcpListener),
    /// A file.
    Unix(std::os::unix::net::UnixListener),
}

impl Activated {
    /// Takes those of this process; before there is a second thread.
    pub fn take() -> Self {
        Self(embly_wrapper::activation::take())
    }

    /// A copy of the one with this name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn get(&self, name: &str) -> Result<Inherited, String> {
        let mut found = self.0.iter().filter(|(other, _)| other == name);
        let socket = match (found.next(), found.next()) {
            (Some((_, socket)), None) => socket,
            (Some(_), Some(_)) => {
                return Err(format!(
                    "several sockets are called `{name}`, give them names with `FileDescriptorName=`"
                ));
            }
            (None, _) if self.0.is_empty() => {
                return Err("no socket was passed on, start Embly by a `.socket` unit".to_owned());
            }
            (None, _) => {
                let names: Vec<_> = self.0.iter().map(|(name, _)| name.as_str()).collect();
                let names = names.join("`, `");
                return Err(format!("no socket is called `{name}`, there is `{names}`"));
            }
        };
        let copy = || -> io::Result<Option<Inherited>> {
            if socket_type(socket)? != SocketType::STREAM || !socket_acceptconn(socket)? {
                return Ok(None);
            }
            let copy = socket.try_clone()?;
            Ok(match socket_domain(socket)? {
                AddressFamily::INET | AddressFamily::INET6 => Some(Inherited::Tcp(copy.into())),
                AddressFamily::UNIX => Some(Inherited::Unix(copy.into())),
                _ => None,
            })
        };
        let usable = copy().map_err(|error| format!("socket `{name}`: {error}"))?;
        usable.ok_or_else(|| format!("`{name}` is not a socket that listens for connections"))
    }
}
