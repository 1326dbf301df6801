//! Clients of `waits` and `spawns`, and of `hello` once.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections that one address of a client has at most: less than the ports that there are.
const OF_ONE_ADDRESS: usize = 20_000;

/// Connections that are opened at a time.
const AT_A_TIME: usize = 64;

/// One that hears nothing for so long will hear nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of connections.
#[derive(Default)]
pub struct Opened {
    /// Whose function is there.
    pub there: Vec<TcpStream>,
    /// That were reset or closed.
    pub turned_away: usize,
    /// That heard nothing.
    pub ignored: usize,
}

/// A runtime of one thread.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Opens so many connections to `waits`; returns when each was answered or turned away.
pub async fn open(at: SocketAddr, count: usize) -> Opened {
    let turns = Arc::new(Semaphore::new(AT_A_TIME));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let turns = Arc::clone(&turns);
        tasks.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            timeout(PATIENCE, open_one(at, number)).await
        });
    }
    let mut opened = Opened::default();
    while let Some(result) = tasks.join_next().await {
        match result.unwrap() {
            Ok(Ok(stream)) => opened.there.push(stream),
            Ok(Err(_)) => opened.turned_away += 1,
            Err(_) => opened.ignored += 1,
        }
    }
    opened
}

async fn open_one(at: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let address = u8::try_from(number / OF_ONE_ADDRESS).map_err(io::Error::other)?;
    socket.bind((Ipv4Addr::new(127, 0, 1, address + 1), 0).into())?;
    let mut stream = socket.connect(at).await?;
    stream.read_u8().await?;
    Ok(stream)
}

/// A tree of children that wait.
pub struct Tree {
    /// Closed, it has the tree end.
    _stream: TcpStream,
    pub there: usize,
    pub refused: usize,
    /// The errno of the last one that is not there.
    pub code: u32,
}

impl Tree {
    /// Has `spawns` start so many children; returns when each is there or refused.
    pub async fn grow(at: SocketAddr, count: usize) -> Self {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream
            .write_u32_le(u32::try_from(count).unwrap())
            .await
            .unwrap();
        let there = stream.read_u32_le().await.unwrap() as usize;
        let refused = stream.read_u32_le().await.unwrap() as usize;
        let code = stream.read_u32_le().await.unwrap();
        Self {
            _stream: stream,
            there,
            refused,
            code,
        }
    }
}

/// One request on a connection of its own: the first line of the answer, and the reason why it is
/// not the function's.
pub fn ask(at: SocketAddr) -> io::Result<String> {
    let mut stream = std::net::TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.lines().next().unwrap_or_default().to_owned();
    let reason = text
        .lines()
        .find_map(|line| line.strip_prefix("embly-error: "));
    Ok(reason.map_or_else(|| status.clone(), |reason| format!("{status}, `{reason}`")))
}
