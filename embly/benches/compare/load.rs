//! Clients, all of one thread: times in microseconds, errors counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::either::Either;

/// Bytes that are read at once.
const BUFFER: usize = 64 * 1024;

/// A server that does not answer within this time after its start never will.
const START: Duration = Duration::from_secs(30);

/// What came of a load.
#[derive(Default)]
pub struct Load {
    /// In microseconds, sorted when the load is over.
    times: Vec<u32>,
    /// Answers that were not what they should be, and connections that failed.
    pub errors: u64,
    seconds: f64,
    /// CPU time of all processes of the system meanwhile.
    pub cpu: Duration,
    /// CPU time of the clients.
    pub clients: Duration,
    /// CPU time of whoever is neither the system nor the client: it should be next to none.
    pub others: Duration,
}

impl Load {
    /// Of several loads that ran beside each other.
    fn of(parts: impl IntoIterator<Item = Self>, seconds: f64) -> Self {
        let mut all = Self {
            seconds,
            ..Self::default()
        };
        for part in parts {
            all.times.extend(part.times);
            all.errors += part.errors;
        }
        all.times.sort_unstable();
        all
    }

    /// Both, one after the other.
    pub fn and(self, next: Self) -> Self {
        let seconds = self.seconds + next.seconds;
        Self {
            cpu: self.cpu + next.cpu,
            clients: self.clients + next.clients,
            others: self.others + next.others,
            ..Self::of([self, next], seconds)
        }
    }

    fn percentile(&self, of: f64) -> f64 {
        let at = (self.times.len() as f64 * of) as usize;
        let last = self.times.len().saturating_sub(1);
        self.times
            .get(at.min(last))
            .map_or(f64::NAN, |time| (*time).into())
    }

    /// In microseconds.
    pub fn p50(&self) -> f64 {
        self.percentile(0.5)
    }

    /// In microseconds.
    pub fn p99(&self) -> f64 {
        self.percentile(0.99)
    }

    /// Good answers.
    pub fn count(&self) -> usize {
        self.times.len()
    }

    /// Good answers a second.
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.seconds
    }

    /// How many processors the system has used.
    pub fn processors(&self) -> f64 {
        self.cpu.as_secs_f64() / self.seconds
    }

    /// In microseconds.
    pub fn cpu_per_request(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.times.len().max(1) as f64
    }

    /// The part of the machine that others had.
    pub fn disturbed(&self) -> f64 {
        self.part(self.others)
    }

    /// The part of the machine that the clients had.
    pub fn clients(&self) -> f64 {
        self.part(self.clients)
    }

    fn part(&self, time: Duration) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        time.as_secs_f64() / (self.seconds * cores as f64)
    }

    pub fn json(&self) -> Value {
        json!({
            "requests": self.count(),
            "errors": self.errors,
            "seconds": self.seconds,
            "requests_per_second": self.rate(),
            "p50_us": self.p50(),
            "p99_us": self.p99(),
            "cpu_us_per_request": self.cpu_per_request(),
            "part_of_the_machine_that_clients_had": self.clients(),
            "part_of_the_machine_that_others_had": self.disturbed(),
        })
    }
}

/// A request, how it is sent, and the body of the answer to it.
pub struct Exchange {
    request: Vec<u8>,
    answer: Vec<u8>,
    /// Over TLS, to this name.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Each on a connection of its own.
    closes: bool,
}

impl Exchange {
    /// What every system of the comparison answers.
    pub fn hello() -> Arc<Self> {
        Self::get(b"hello".to_vec())
    }

    pub fn get(answer: Vec<u8>) -> Arc<Self> {
        Self::path("/", answer)
    }

    pub fn path(path: &str, answer: Vec<u8>) -> Arc<Self> {
        Arc::new(Self::new(path, answer))
    }

    fn new(path: &str, answer: Vec<u8>) -> Self {
        Self {
            request: format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes(),
            answer,
            tls: None,
            closes: false,
        }
    }

    /// The same over TLS, where there is some, and on connections that are kept or not.
    pub fn over(
        path: &str,
        answer: Vec<u8>,
        tls: Option<(TlsConnector, ServerName<'static>)>,
        closes: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            tls,
            closes,
            ..Self::new(path, answer)
        })
    }

    /// The body that is sent is to come back.
    pub fn echo(body: Vec<u8>) -> Arc<Self> {
        let length = body.len();
        let head = format!("POST / HTTP/1.1\r\nhost: bench\r\ncontent-length: {length}\r\n\r\n");
        Arc::new(Self {
            request: [head.into_bytes(), body.clone()].concat(),
            ..Self::new("/", body)
        })
    }
}

/// How it was answered.
#[derive(PartialEq, Eq)]
enum Outcome {
    Good,
    /// 503.
    Refused,
    Bad,
}

/// A connection that is kept, as long as what comes over it is HTTP.
pub struct Client {
    at: SocketAddr,
    stream: Option<Stream>,
    buffer: Vec<u8>,
}

type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

impl Client {
    pub fn new(at: SocketAddr) -> Self {
        Self {
            at,
            stream: None,
            buffer: Vec::with_capacity(BUFFER),
        }
    }

    /// Whether it was answered as it should be.
    pub async fn ask(&mut self, exchange: &Exchange) -> bool {
        self.outcome(exchange).await == Outcome::Good
    }

    /// After anything that is no proper answer it connects anew.
    async fn outcome(&mut self, exchange: &Exchange) -> Outcome {
        let outcome = self.try_ask(exchange).await.unwrap_or(Outcome::Bad);
        if outcome == Outcome::Bad || exchange.closes {
            self.stream = None;
        }
        outcome
    }

    pub async fn connect(&mut self, exchange: &Exchange) -> io::Result<()> {
        let stream = TcpStream::connect(self.at).await?;
        stream.set_nodelay(true)?;
        self.stream = Some(match &exchange.tls {
            None => Either::Left(stream),
            Some((tls, name)) => Either::Right(Box::new(tls.connect(name.clone(), stream).await?)),
        });
        Ok(())
    }

    async fn try_ask(&mut self, exchange: &Exchange) -> io::Result<Outcome> {
        if self.stream.is_none() {
            self.connect(exchange).await?;
        }
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        match stream {
            Either::Left(stream) => {
                let (mut from, mut to) = stream.split();
                // A body that is sent back has to be read while it is sent.
                let (_, outcome) = tokio::try_join!(
                    to.write_all(&exchange.request),
                    read_answer(&mut from, &mut self.buffer, &exchange.answer),
                )?;
                Ok(outcome)
            }
            Either::Right(stream) => {
                stream.write_all(&exchange.request).await?;
                stream.flush().await?;
                read_answer(stream, &mut self.buffer, &exchange.answer).await
            }
        }
    }
}

async fn read_answer(
    from: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    expected: &[u8],
) -> io::Result<Outcome> {
    buffer.clear();
    let (status, length) = loop {
        read_some(from, buffer).await?;
        if let Some((status, length, head)) = parse(buffer)? {
            buffer.drain(..head);
            break (status, length);
        }
    };
    let mut good = status == 200 && length == expected.len();
    let mut seen = 0;
    loop {
        let end = seen + buffer.len();
        good = good && expected.get(seen..end) == Some(buffer.as_slice());
        seen = end;
        if seen >= length {
            break;
        }
        buffer.clear();
        read_some(from, buffer).await?;
    }
    Ok(match status {
        200 if good => Outcome::Good,
        503 if seen == length => Outcome::Refused,
        _ => Outcome::Bad,
    })
}

async fn read_some(from: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<()> {
    match from.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// The status, the length of the body and that of the head, once all of the head is there.
fn parse(buffer: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = answer.parse(buffer).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let length = answer
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok())
        .ok_or_else(|| io::Error::other("an answer without a length"))?;
    Ok(Some((answer.code.unwrap_or(0), length, head)))
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Waits for the first good answer of a server that was just started.
pub async fn answered(at: SocketAddr, exchange: &Exchange) -> io::Result<()> {
    let since = Instant::now();
    while !Client::new(at).ask(exchange).await {
        if since.elapsed() > START {
            return Err(io::Error::other("it does not answer"));
        }
        // The shortest that the timer of the runtime knows.
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// So many connections, each of which asks again as soon as it was answered.
pub async fn closed(
    at: SocketAddr,
    exchange: &Arc<Exchange>,
    connections: usize,
    time: Duration,
) -> Load {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let exchange = exchange.clone();
        tasks.spawn(async move {
            let (mut client, mut load) = (Client::new(at), Load::default());
            while began.elapsed() < time {
                let since = Instant::now();
                if client.ask(&exchange).await {
                    load.times.push(micros(since.elapsed()));
                } else {
                    load.errors += 1;
                }
            }
            load
        });
    }
    let parts = tasks.join_all().await;
    Load::of(parts, began.elapsed().as_secs_f64())
}

/// So many requests a second on one connection. The time of each counts from when it was due, so
/// that one that was held up does not hide those behind it.
pub async fn paced(at: SocketAddr, exchange: &Exchange, rate: u32, time: Duration) -> Load {
    let (mut client, mut load) = (Client::new(at), Load::default());
    client.ask(exchange).await;
    let began = Instant::now();
    let mut due = began;
    while due - began < time {
        // A timer of the runtime comes up to a millisecond late, which is not the system's doing.
        sleep_until(due - Duration::from_millis(2)).await;
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        if client.ask(exchange).await {
            load.times.push(micros(due.elapsed()));
        } else {
            load.errors += 1;
        }
        due += Duration::from_secs(1) / rate;
    }
    Load::of([load], began.elapsed().as_secs_f64())
}

/// What came of an open load.
#[derive(Default)]
pub struct Open {
    /// With the CPU time of the whole.
    pub good: Load,
    /// Those that were answered 503; their errors are those of the whole.
    pub refused: Load,
    /// Of each that was answered well: when it was due, and how long it took from then on.
    pub moments: Vec<(Duration, Duration)>,
}

impl Open {
    /// Both, one after the other; without the moments, which count from the beginning of each.
    pub fn and(self, next: Self) -> Self {
        Self {
            good: self.good.and(next.good),
            refused: self.refused.and(next.refused),
            moments: Vec::new(),
        }
    }
}

/// So many requests a second over so many connections, whether the server keeps up or not. Whichever
/// connection is free sends the next one when it is due, or at once where that has passed: so there have
/// to be more of them than requests that the server holds at once, also of those that it refuses.
pub async fn open(
    at: SocketAddr,
    exchange: &Arc<Exchange>,
    rate: f64,
    connections: u32,
    time: Duration,
) -> Open {
    let period = Duration::from_secs_f64(1.0 / rate);
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = Client::new(at);
        // All at once are more than a kernel holds for a server. One that fails is made anew below.
        let _ = client.connect(exchange).await;
        clients.push(client);
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    let next = Arc::new(AtomicU32::new(0));
    for mut client in clients {
        let (exchange, next) = (exchange.clone(), next.clone());
        tasks.spawn(async move {
            let (mut good, mut refused) = (Load::default(), Load::default());
            let mut moments = Vec::new();
            loop {
                let due = period * next.fetch_add(1, Ordering::Relaxed);
                // Whoever is held up does not make it last longer.
                if due.max(began.elapsed()) >= time {
                    break;
                }
                let due = began + due;
                sleep_until(due).await;
                let since = Instant::now();
                let outcome = client.outcome(&exchange).await;
                let took = micros(since.elapsed());
                if outcome == Outcome::Good {
                    moments.push((due - began, due.elapsed()));
                }
                match outcome {
                    Outcome::Bad => refused.errors += 1,
                    // Those that are left at the end, above all refusals that wait, take time in which
                    // nobody asks any more.
                    _ if began.elapsed() > time => {}
                    Outcome::Good => good.times.push(took),
                    Outcome::Refused => refused.times.push(took),
                }
            }
            (good, refused, moments)
        });
    }
    let (mut good, mut refused, mut moments) = (Vec::new(), Vec::new(), Vec::new());
    for (theirs, refused_theirs, moments_theirs) in tasks.join_all().await {
        good.push(theirs);
        refused.push(refused_theirs);
        moments.extend(moments_theirs);
    }
    let seconds = time.as_secs_f64();
    Open {
        moments,
        good: Load::of(good, seconds),
        refused: Load::of(refused, seconds),
    }
}
