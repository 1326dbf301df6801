//! A server that functions ask, and what it does to them.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::client::reset;
use crate::support::outbound::server;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Manner {
    /// With the path that it was asked for.
    Honest,
    /// Begins to, and says no more.
    Stalls,
    /// The connection is reset in the middle.
    Resets,
    /// Says that more will come, and closes.
    Lies,
    /// Bytes that are no HTTP.
    Garbles,
    /// Closes at once.
    Leaves,
}

const MANNERS: [Manner; 6] = [
    Manner::Honest,
    Manner::Stalls,
    Manner::Resets,
    Manner::Lies,
    Manner::Garbles,
    Manner::Leaves,
];

pub struct Backend {
    at: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    manner: AtomicU8,
    /// Requests that were answered otherwise than they should.
    wronged: AtomicUsize,
}

impl Backend {
    pub fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let at = server(move |stream| {
            // Whoever asks may be gone.
            let _ = serve(stream, &theirs);
        });
        Self { at, shared }
    }

    pub fn at(&self) -> SocketAddr {
        self.at
    }

    pub fn url(&self, key: &str) -> String {
        format!("http://{}/{key}", self.at)
    }

    /// From now on.
    pub fn is(&self, manner: Manner) {
        self.shared.manner.store(manner as u8, Ordering::SeqCst);
    }

    pub fn wronged(&self) -> usize {
        self.shared.wronged.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let key = first
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .trim_start_matches('/');
    let manner = MANNERS[usize::from(shared.manner.load(Ordering::SeqCst))];
    if manner != Manner::Honest {
        shared.wronged.fetch_add(1, Ordering::SeqCst);
    }
    let head = |length: usize| {
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
    };
    let (half, whole) = (&key[..key.len() / 2], head(key.len()));
    match manner {
        Manner::Honest => write!(stream, "{whole}{key}"),
        Manner::Stalls => {
            write!(stream, "{whole}{half}")?;
            std::thread::sleep(Duration::from_secs(3));
            Ok(())
        }
        Manner::Resets => {
            write!(stream, "{whole}{half}")?;
            reset(stream);
            Ok(())
        }
        Manner::Lies => write!(stream, "{}{key}", head(key.len() + 1000)),
        Manner::Garbles => stream.write_all(&[0xff; 2000]),
        Manner::Leaves => Ok(()),
    }
}
