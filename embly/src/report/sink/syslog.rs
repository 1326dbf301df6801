//! Syslog: a message for each line, RFC 5424, as a datagram.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use super::Line;

/// What syslog sorts messages by, in the order of the numbers.
pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// The longest message, in bytes: every receiver takes 2 KiB, most take 8.
const MOST: usize = 8 * 1024;

/// A receiver that takes nothing for so long is tried again later.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket of datagrams; absolute.
    Unix(PathBuf),
    /// A port.
    Udp(SocketAddr),
}

impl Default for Address {
    /// That of the machine.
    fn default() -> Self {
        Self::Unix("/dev/log".into())
    }
}

#[derive(Debug)]
enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

impl Socket {
    fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Unix(socket))
            }
            Address::Udp(at) => {
                let any = match at {
                    SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                    SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(at)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Udp(socket))
            }
        }
    }

    fn send(&self, message: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => socket.send(message),
            Self::Udp(socket) => socket.send(message),
        }
    }
}

pub struct Syslog {
    address: Address,
    facility: u8,
    host: String,
    socket: Option<Socket>,
}

impl Syslog {
    /// Connected with the first message: who listens may come later than we.
    pub fn new(address: Address, facility: u8) -> Self {
        let name = rustix::system::uname();
        let host = name.nodename().to_string_lossy();
        // Printable, without spaces.
        let host: String = host.chars().filter(char::is_ascii_graphic).collect();
        Self {
            address,
            facility,
            host: if host.is_empty() {
                "-".to_owned()
            } else {
                host
            },
            socket: None,
        }
    }

    /// `<PRIVAL>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG`
    fn message(&self, line: &Line) -> String {
        let priority = self.facility * 8 + line.level.severity().number();
        let (host, process) = (&self.host, std::process::id());
        let mut message = format!(
            "<{priority}>1 {:.6} {host} embly {process} {} - {}",
            line.time, line.kind, line.text
        );
        message.truncate(message.floor_char_boundary(MOST));
        message
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(Socket::connect(&self.address)?),
        };
        socket.send(message).map(drop)
    }
}

impl super::Write for Syslog {
    fn write(&mut self, line: &Line) -> io::Result<()> {
        let message = self.message(line);
        let Err(first) = self.send(message.as_bytes()) else {
            return Ok(());
        };
        if first.kind() == io::ErrorKind::WouldBlock {
            return Err(io::Error::other("whoever listens takes nothing"));
        }
        // Whoever listened may have been started anew since the last message.
        self.socket = None;
        let again = self.send(message.as_bytes());
        if again.is_err() {
            self.socket = None;
        }
        again
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.socket = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Level;
    use super::*;

    #[test]
    fn a_message_has_the_form_of_rfc_5424_and_a_length_that_is_taken() {
        let mut syslog = Syslog::new(Address::default(), 16);
        syslog.host = "here".to_owned();
        let mut line = Line {
            level: Level::Error,
            kind: "log",
            time: "2026-11-29T20:00:00.123456Z".parse().unwrap(),
            text: "f 00ff | no luck".to_owned(),
        };
        let process = std::process::id();
        assert_eq!(
            syslog.message(&line),
            format!(
                "<131>1 2026-11-29T20:00:00.123456Z here embly {process} log - f 00ff | no luck"
            )
        );
        line.text = "é".repeat(MOST);
        let message = syslog.message(&line);
        assert!((MOST - 1..=MOST).contains(&message.len()));
        assert_eq!(FACILITIES[3], "daemon");
    }
}
