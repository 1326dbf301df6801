//! Clients that do not behave.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::{Rng, RngExt};
use rustix::process::Signal;

use super::Strike;
use crate::support::client::reset;
use crate::world::signal;

/// A download, in bytes.
const LARGE: u64 = 50_000_000;

/// Of each kind at a time.
const SEVERAL: usize = 8;

/// Connections that say nothing, unless `EMBLY_FAULTS_IDLE` has another number.
const IDLE: usize = 300;

const ONE_BYTE: Duration = Duration::from_millis(10);

fn connect(strike: &Strike<'_>, gateway: &str) -> Option<TcpStream> {
    let stream = TcpStream::connect(strike.world.at(gateway)?).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .ok()?;
    stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .ok()?;
    Some(stream)
}

fn several(strike: &Strike<'_>, gateway: &str, first: &[u8]) -> Vec<TcpStream> {
    let mut all: Vec<_> = (0..SEVERAL)
        .filter_map(|_| connect(strike, gateway))
        .collect();
    // What is gone shows below.
    all.retain_mut(|stream| stream.write_all(first).is_ok());
    all
}

/// Another process, with a connection that it reads from.
fn downloads(strike: &Strike<'_>) -> Option<Child> {
    let mut stream = connect(strike, "pours")?;
    let head = format!("GET /?{LARGE} HTTP/1.1\r\nhost: test\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    // It waits as long as it takes.
    stream.set_read_timeout(None).ok()?;
    let input = Stdio::from(std::os::fd::OwnedFd::from(stream));
    let mut command = Command::new("cat");
    command
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().ok()
}

pub fn kill(strike: &Strike<'_>) {
    if let Some(mut child) = downloads(strike) {
        strike.stay();
        let _ = child.kill();
        let _ = child.wait();
        strike.struck();
    }
}

pub fn stop(strike: &Strike<'_>) {
    if let Some(mut child) = downloads(strike) {
        let pid = i32::try_from(child.id()).unwrap();
        signal(pid, Signal::STOP);
        strike.stay();
        signal(pid, Signal::CONT);
        std::thread::sleep(ONE_BYTE);
        let _ = child.kill();
        let _ = child.wait();
        strike.struck();
    }
}

pub fn slow_readers(strike: &Strike<'_>) {
    let head = format!("GET /?{LARGE} HTTP/1.1\r\nhost: test\r\n\r\n");
    let mut all = several(strike, "pours", head.as_bytes());
    strike.again(ONE_BYTE, || {
        for stream in &mut all {
            if stream.read(&mut [0]).is_ok_and(|count| count == 1) {
                strike.struck();
            }
        }
    });
}

fn trickle(strike: &Strike<'_>, gateway: &str, first: &[u8], byte: u8) {
    let mut all = several(strike, gateway, first);
    strike.again(ONE_BYTE, || {
        for stream in &mut all {
            if stream.write_all(&[byte]).is_ok() {
                strike.struck();
            }
        }
    });
}

pub fn slow_writers(strike: &Strike<'_>) {
    let head = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\n";
    trickle(strike, "mirrors", head, b'x');
}

pub fn slowloris(strike: &Strike<'_>) {
    trickle(
        strike,
        "hello",
        b"GET / HTTP/1.1\r\nhost: test\r\nx-y: ",
        b'z',
    );
}

pub fn half_open(strike: &Strike<'_>) {
    let head = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\nabc";
    let length = strike.dice().random_range(1..head.len());
    let mut all = several(strike, "mirrors", &head[..length]);
    all.extend(several(strike, "echo", b"half a line"));
    all.extend(several(strike, "queries", b"open ma"));
    for (n, stream) in all.iter().enumerate() {
        if n % 2 == 0 && stream.shutdown(std::net::Shutdown::Write).is_ok() {
            strike.struck();
        }
    }
    strike.stay();
}

pub fn resets(strike: &Strike<'_>) {
    let requests: [(&str, &[u8]); 5] = [
        ("pours", b"GET /?1000000 HTTP/1.1\r\nhost: test\r\n\r\n"),
        ("sleeps", b"GET /100 HTTP/1.1\r\nhost: test\r\n\r\n"),
        (
            "mirrors",
            b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\nabc",
        ),
        ("echo", b"half a line"),
        ("hello", b""),
    ];
    let mut dice = strike.dice();
    strike.again(Duration::from_millis(8), || {
        let (gateway, bytes) = requests[dice.random_range(0..requests.len())];
        if let Some(mut stream) = connect(strike, gateway) {
            let _ = stream.write_all(bytes);
            std::thread::sleep(Duration::from_millis(dice.random_range(0..8)));
            reset(stream);
            strike.struck();
        }
    });
}

pub fn idle(strike: &Strike<'_>) {
    let count = std::env::var("EMBLY_FAULTS_IDLE").ok();
    let count = count.and_then(|text| text.parse().ok()).unwrap_or(IDLE);
    let gateways = ["hello", "mirrors", "stores"];
    let all: Vec<_> = (0..count)
        .filter_map(|n| connect(strike, gateways[n % gateways.len()]))
        .collect();
    strike.world.strikes(strike.kind.name, all.len());
    strike.stay();
}

pub fn nonsense(strike: &Strike<'_>) {
    let mut dice = strike.dice();
    strike.again(Duration::from_millis(20), || {
        for gateway in ["hello", "mirrors", "socket", "stores"] {
            let mut bytes = vec![0; dice.random_range(1..5000)];
            dice.fill_bytes(&mut bytes);
            if let Some(mut stream) = connect(strike, gateway) {
                let _ = stream.write_all(&bytes);
                strike.struck();
            }
        }
    });
}
