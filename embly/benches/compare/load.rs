//! Clients of one thread: times in microseconds, errors counted.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n";

/// What came of a load.
#[derive(Default)]
pub struct Load {
    times: Vec<u32>,
    /// Answers that were not 200 and five bytes, and connections that failed.
    pub errors: u64,
    seconds: f64,
    /// CPU time of all processes of the system meanwhile.
    pub cpu: Duration,
}

impl Load {
    fn percentile(&self, of: f64) -> f64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = (times.len() as f64 * of) as usize;
        f64::from(
            times
                .get(at.min(times.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0),
        )
    }

    pub fn p50(&self) -> f64 {
        self.percentile(0.5)
    }

    pub fn p99(&self) -> f64 {
        self.percentile(0.99)
    }

    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.seconds
    }

    /// In microseconds.
    pub fn cpu_per_request(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.times.len().max(1) as f64
    }
}

struct Client {
    at: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    fn new(at: SocketAddr) -> Self {
        Self {
            at,
            stream: None,
            buffer: Vec::with_capacity(4096),
        }
    }

    /// Whether it was answered as it should be; after anything else it connects anew.
    async fn ask(&mut self) -> bool {
        let good = self.try_ask().await.unwrap_or(false);
        if !good {
            self.stream = None;
        }
        good
    }

    async fn try_ask(&mut self) -> std::io::Result<bool> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.at).await?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(REQUEST).await?;
        self.buffer.clear();
        loop {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(false);
            }
            if self.buffer.ends_with(b"\r\n\r\nhello") {
                return Ok(self.buffer.starts_with(b"HTTP/1.1 200"));
            }
            if self.buffer.len() > 2048 {
                return Ok(false);
            }
        }
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// So many connections, each of which asks again as soon as it was answered.
pub async fn closed(at: SocketAddr, connections: usize, time: Duration) -> Load {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        tasks.spawn(async move {
            let (mut client, mut load) = (Client::new(at), Load::default());
            while began.elapsed() < time {
                let since = Instant::now();
                if client.ask().await {
                    load.times.push(micros(since.elapsed()));
                } else {
                    load.errors += 1;
                }
            }
            load
        });
    }
    let mut all = Load::default();
    while let Some(load) = tasks.join_next().await {
        let load = load.unwrap();
        all.times.extend(load.times);
        all.errors += load.errors;
    }
    all.seconds = began.elapsed().as_secs_f64();
    all
}

/// So many requests a second on one connection.
pub async fn paced(at: SocketAddr, rate: u32, time: Duration) -> Load {
    let (mut client, mut load) = (Client::new(at), Load::default());
    client.ask().await;
    let began = Instant::now();
    let mut due = began;
    while due - began < time {
        // A timer of the runtime comes up to a millisecond late, which is not the system's doing.
        sleep_until(due - Duration::from_millis(2)).await;
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        if client.ask().await {
            load.times.push(micros(due.elapsed()));
        } else {
            load.errors += 1;
        }
        due += Duration::from_secs(1) / rate;
    }
    load.seconds = began.elapsed().as_secs_f64();
    load
}
