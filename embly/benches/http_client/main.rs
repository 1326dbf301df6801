//! Asking others over HTTP: `cargo xtask bench http-client [ROUNDS]`.
//!
//! A function asks a server on this machine, again and again, and times that itself (`asks.wat`). Beside
//! it, in the same rounds, the client of `hyper-util` does the same within one process.

#![allow(clippy::unwrap_used, reason = "a benchmark may")]

#[path = "../own/mod.rs"]
mod own;
mod tls;

use std::convert::Infallible;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use own::Own;
use prost::Message;

/// Rounds, unless asked for otherwise. Each takes a few seconds.
const ROUNDS: usize = 5;

/// Requests of one asker in a round: few enough that the master takes all frames of a wrapper as they
/// come.
const REQUESTS: u32 = 400;

/// Askers at the same time.
const ASKERS: [usize; 2] = [1, 16];

/// What the server is asked for: an answer at once, as nobody outside of a test gives it, and one after
/// a millisecond, as from the next house.
const PATHS: [(&str, &str); 2] = [("/", "at once"), ("/later", "after 1 ms")];

/// Times the client in one process: what is aimed at.
const AIM: f64 = 1.5;

/// Bytes of a response.
const BODY: usize = 100;

const MODULE: &str = include_str!("asks.wat");

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_ref().and_then(|first| first.to_str()) {
        // The executable that is measured is this one: its own processes start it again.
        Some("wrapper") => embly_wrapper::main(arguments),
        Some("run") => embly::cli::main(),
        rounds => {
            let rounds = rounds.and_then(|rounds| rounds.parse().ok());
            measure(rounds.unwrap_or(ROUNDS));
            handshakes();
            ExitCode::SUCCESS
        }
    }
}

/// What a round came to.
#[derive(Clone, Copy)]
struct Round {
    /// In µs.
    p50: f64,
    p99: f64,
    /// Requests a second.
    rate: f64,
}

impl Round {
    fn of(mut nanos: Vec<u64>, took: Duration) -> Self {
        nanos.sort_unstable();
        let at = |part: f64| nanos[((nanos.len() - 1) as f64 * part) as usize] as f64 / 1e3;
        Self {
            p50: at(0.5),
            p99: at(0.99),
            rate: nanos.len() as f64 / took.as_secs_f64(),
        }
    }
}

fn measure(rounds: usize) {
    let server = serve();
    let folder = tempfile::tempdir().unwrap();
    let master = start(folder.path(), server);
    println!("{rounds} rounds of {REQUESTS} requests by each; a response has {BODY} bytes\n");
    println!(
        "| askers | the server answers | | p50 µs | p99 µs | requests/s |\n|--:|---|---|--:|--:|--:|"
    );
    for (path, when) in PATHS {
        let url = format!("http://{server}{path}");
        for askers in ASKERS {
            let (mut embly, mut direct) = (Vec::new(), Vec::new());
            // What is not measured: connections, processes, caches.
            let _ = (ask(&master, &url, askers), in_process(&url, askers));
            for _ in 0..rounds {
                embly.push(ask(&master, &url, askers));
                direct.push(in_process(&url, askers));
            }
            let line = |name: &str, rounds: &[Round]| {
                let (p50, p99) = (middle(rounds, |it| it.p50), middle(rounds, |it| it.p99));
                let rate = middle(rounds, |it| it.rate);
                println!("| {askers} | {when} | {name} | {p50:.0} | {p99:.0} | {rate:.0} |");
            };
            line("`embly/http` from a function", &embly);
            line("`hyper-util` in one process", &direct);
            let times = middle(&embly, |it| it.p50) / middle(&direct, |it| it.p50);
            let rate = middle(&direct, |it| it.rate) / middle(&embly, |it| it.rate);
            println!("| {askers} | {when} | ratio (aim: {AIM}) | {times:.2} | | {rate:.2} |");
        }
    }
}

/// What decides that all this runs on a thread of its own.
fn handshakes() {
    let micros = tls::handshake(200);
    println!("\na TLS handshake takes {micros:.0} µs of the client's processor");
}

fn middle(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A server on a thread of its own.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        runtime().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let service =
                    service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                        if request.uri().path() == "/later" {
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        let body = Full::new(Bytes::from_static(&[b'x'; BODY]));
                        Ok::<_, Infallible>(http::Response::new(body))
                    });
                tokio::spawn(async move {
                    let builder = hyper::server::conn::http1::Builder::new();
                    let _ = builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
    });
    at
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// A master with a function that asks.
fn start(folder: &Path, server: SocketAddr) -> Own {
    fs::write(folder.join("asks.wat"), MODULE).unwrap();
    let project = format!(
        "functions:
  - name: asks
    path: ./asks.wat
    language: wasm
    limits: {{cpu: none, idle: none, wall: none}}
    allow: {{http: [\"http://{server}/\"]}}
gateways:
  - {{name: asks, type: tcp, port: 0, function: asks}}
"
    );
    fs::write(folder.join("embly-project.yml"), project).unwrap();
    Own::start(folder, 1).unwrap()
}

/// What functions take that ask at the same time.
fn ask(master: &Own, url: &str, askers: usize) -> Round {
    let request = protos::services::http::Request {
        method: "GET".to_owned(),
        url: url.to_owned(),
        ..Default::default()
    };
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap();
    let mut order = Vec::new();
    order.extend(REQUESTS.to_le_bytes());
    order.extend((length + 4).to_le_bytes());
    order.extend(length.to_le_bytes());
    order.extend(message);
    let began = Instant::now();
    let threads: Vec<_> = (0..askers)
        .map(|_| {
            let (at, order) = (master.at[0], order.clone());
            thread::spawn(move || {
                let mut stream = TcpStream::connect(at).unwrap();
                stream.write_all(&order).unwrap();
                let mut times = Vec::new();
                stream.read_to_end(&mut times).unwrap();
                let times = times.as_chunks().0.iter();
                times
                    .map(|nanos| u64::from_le_bytes(*nanos))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let times: Vec<u64> = threads
        .into_iter()
        .flat_map(|it| it.join().unwrap())
        .collect();
    assert_eq!(
        times.len(),
        REQUESTS as usize * askers,
        "a function has failed"
    );
    Round::of(times, began.elapsed())
}

/// What the same takes within one process.
fn in_process(url: &str, askers: usize) -> Round {
    let runtime = runtime();
    runtime.block_on(async {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Client<_, Empty<Bytes>> =
            Client::builder(TokioExecutor::new()).build(connector);
        let began = Instant::now();
        let tasks: Vec<_> = (0..askers)
            .map(|_| {
                let (client, url) = (client.clone(), url.to_owned());
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    for _ in 0..REQUESTS {
                        let began = Instant::now();
                        let response = client.get(url.parse().unwrap()).await.unwrap();
                        let body = response.into_body().collect().await.unwrap();
                        assert_eq!(body.to_bytes().len(), BODY);
                        times.push(u64::try_from(began.elapsed().as_nanos()).unwrap());
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.unwrap());
        }
        Round::of(times, began.elapsed())
    })
}
