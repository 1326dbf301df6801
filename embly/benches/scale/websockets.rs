//! Ten thousand WebSockets that nobody says anything over, each with its invocation: what they take,
//! and what a new request notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::clients;
use super::embly::{Embly, HELLO};
use super::load::{self, Exchange};
use super::machine::{Memory, mib, raise_open_files};

const LIVE: usize = 10_000;

/// Of the open files that are allowed one master uses so many in a hundred; a connection takes two.
const OPEN_FILES: usize = 75;

/// Handshakes at a time.
const AT_A_TIME: usize = 64;

/// A client is asked so often whether it is there.
const PING: Duration = Duration::from_secs(10);

/// They are left alone for so long: each is asked twice.
const IDLE: Duration = Duration::from_secs(25);

/// Requests a second beside them, and for how long.
const PACE: u32 = 200;
const LOAD: Duration = Duration::from_secs(4);

const PROJECT: &str = "\
defaults:
  limits: {concurrency: none, idle: none}
functions:
  - {name: listens, path: ./listens.wat, language: wasm, parked: {after: 1s}}
  - {name: hello, path: ./hello.wat, language: wasm, parked: {min: 2, max: 2, after: none}}
gateways:
  - {name: listens, type: websocket, port: 0, function: listens, websocket: {ping: 10s}}
  - {name: hello, type: http, port: 0, function: hello}
";

pub fn measure() {
    let allowed = raise_open_files(3 * LIVE as u64) as usize;
    let of_one = (allowed * OPEN_FILES / 100 / 2).min(LIVE);
    let masters = LIVE.div_ceil(of_one);
    let folders: Vec<_> = (0..masters).map(|_| tempfile::tempdir().unwrap()).collect();
    let masters: Vec<Embly> = folders
        .iter()
        .map(|folder| {
            let write = |name, text| std::fs::write(folder.path().join(name), text).unwrap();
            write("listens.wat", include_str!("listens.wat"));
            write("hello.wat", HELLO);
            let embly = Embly::start(folder.path(), PROJECT);
            clients::ask(embly.at("hello")).unwrap();
            embly
        })
        .collect();
    let runtime = clients::runtime();
    let load = |runtime: &Runtime| {
        let at = masters[0].at("hello");
        let load = runtime.block_on(load::paced(at, &Exchange::hello(), PACE, LOAD));
        assert_eq!(load.errors, 0);
        load
    };
    let before = load(&runtime);
    // Those that the last requests have used are replaced.
    std::thread::sleep(Duration::from_secs(1));
    let outside: Vec<_> = masters.iter().map(Embly::outside).collect();
    let (memory, own) = (Memory::now(), all(&masters));
    let since = Instant::now();
    let pings = Arc::new(AtomicUsize::new(0));
    let at: Vec<_> = masters.iter().map(|embly| embly.at("listens")).collect();
    let sockets = runtime.block_on(open(&at, &pings));
    let opened = since.elapsed();
    let memory = Memory::now() - memory;
    let own = all(&masters) - own;
    let cpu = |masters: &[Embly]| masters.iter().map(Embly::cpu).sum::<Duration>();
    let used = cpu(&masters);
    pings.store(0, Ordering::Relaxed);
    // The clients run meanwhile.
    runtime.block_on(async { tokio::time::sleep(IDLE).await });
    let used = (cpu(&masters) - used).as_secs_f64() / IDLE.as_secs_f64();
    let answered = pings.load(Ordering::Relaxed);
    let meanwhile = load(&runtime);
    let already: Vec<_> = masters.iter().map(Embly::ended).collect();
    let since = Instant::now();
    drop(sockets);
    // Its tasks are gone with it, and their connections.
    drop(runtime);
    let of_each = LIVE / masters.len();
    for ((embly, already), outside) in masters.iter().zip(already).zip(outside) {
        embly.wait_until_ended(already + of_each);
        embly.wait_until(outside);
    }
    let ended = since.elapsed();
    println!(
        "| WebSockets | masters | opened in | memory in all | of the masters | CPU of the masters, idle | pings answered in {IDLE:?} | request before: p50 | p99 | meanwhile: p50 | p99 | ended in |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n\
         | {LIVE} | {} | {:.1} s | {} MiB | {} MiB | {:.1} % of a core | {answered} | {:.0} µs | {:.0} µs | {:.0} µs | {:.0} µs | {:.1} s |",
        masters.len(),
        opened.as_secs_f64(),
        mib(memory.used),
        mib(own),
        100.0 * used,
        before.p50(),
        before.p99(),
        meanwhile.p50(),
        meanwhile.p99(),
        ended.as_secs_f64(),
    );
    assert!(
        answered >= LIVE * (IDLE.as_secs() / PING.as_secs()) as usize / 2,
        "a client that is there is asked whether it is"
    );
    masters.into_iter().for_each(Embly::stop);
}

fn all(masters: &[Embly]) -> u64 {
    let memory = masters.iter().map(|it| it.memory("smaps_rollup", "Pss:"));
    memory.sum()
}

/// Opens all of them, in turns at the addresses; returns when each has heard its invocation. They
/// answer pings, which are counted, until the result is dropped.
async fn open(at: &[SocketAddr], pings: &Arc<AtomicUsize>) -> JoinSet<()> {
    let turns = Arc::new(Semaphore::new(AT_A_TIME));
    let (heard, mut hear) = tokio::sync::mpsc::channel(LIVE);
    let mut tasks = JoinSet::new();
    for number in 0..LIVE {
        let (turns, heard, pings) = (Arc::clone(&turns), heard.clone(), Arc::clone(pings));
        let at = at[number % at.len()];
        tasks.spawn(async move {
            let turn = turns.acquire().await.unwrap();
            let mut stream = shake_hands(at).await;
            drop(turn);
            heard.send(()).await.unwrap();
            drop(heard);
            answer(&mut stream, &pings).await;
        });
    }
    for _ in 0..LIVE {
        hear.recv().await.unwrap();
    }
    tasks
}

/// A WebSocket over which the function's word has come.
async fn shake_hands(at: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = "GET / HTTP/1.1\r\nhost: bench\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A text of two bytes, not masked.
    while !answer.ends_with(b"\r\n\r\n\x81\x02hi") {
        let mut piece = [0; 512];
        let count = stream.read(&mut piece).await.unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..count]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    stream
}

/// Answers every ping with what is in it.
async fn answer(stream: &mut TcpStream, pings: &AtomicUsize) {
    loop {
        let mut head = [0; 2];
        // Nobody is told anything more where the master has gone.
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let mut payload = vec![0; head[1].into()];
        stream.read_exact(&mut payload).await.unwrap();
        assert_eq!(head[0], 0x89, "only pings");
        // Masked with zeros.
        let mut pong = vec![0x8a, 0x80 | head[1], 0, 0, 0, 0];
        pong.extend(payload);
        stream.write_all(&pong).await.unwrap();
        pings.fetch_add(1, Ordering::Relaxed);
    }
}
