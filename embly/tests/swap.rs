//! Code, routes and certificates are replaced all the time, under load: no request fails, each is
//! answered by what was served between its beginning and its end, and nothing stays.
//!
//! `EMBLY_SWAP_SECONDS=60 cargo test -p embly --test swap` does so for a minute.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use support::client::{Response, parse, pause};
use support::process::{children_and_zombies, descriptors};
use support::project::answering;
use support::tls::{Authority, client, connect};
use support::websocket::Raw;
use support::{Done, Embly, PATIENCE, Project, Session, eventually, get};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// How long it goes on, in seconds, where nobody says otherwise.
const SECONDS: u64 = 6;

/// So often all is replaced, in milliseconds.
const EVERY: u64 = 1000;

/// The names that have certificates.
const NAMES: [&str; 2] = ["a.test", "b.test"];

/// The functions that a route leads to in turn.
const TARGETS: usize = 3;

/// When a version was first to be had, and when it was seen: whoever asks later gets no older one.
struct Version {
    written: Instant,
    seen: Option<Instant>,
}

/// The versions of one thing that is replaced.
#[derive(Default)]
struct Timeline(Mutex<Vec<Version>>);

impl Timeline {
    /// Another one is about to be written; its number.
    fn next(&self) -> usize {
        let mut versions = self.0.lock().unwrap();
        versions.push(Version {
            written: Instant::now(),
            seen: None,
        });
        versions.len() - 1
    }

    /// The last one is served.
    fn seen(&self) {
        let mut versions = self.0.lock().unwrap();
        versions.last_mut().unwrap().seen = Some(Instant::now());
    }

    fn latest(&self) -> usize {
        self.0.lock().unwrap().len() - 1
    }

    /// Whether this version may answer what was asked then and answered now.
    fn assert_current(&self, what: &str, version: usize, asked: Instant) {
        let now = Instant::now();
        let versions = self.0.lock().unwrap();
        let this = versions.get(version);
        let this = this.unwrap_or_else(|| panic!("{what}: there is no version {version}"));
        assert!(this.written <= now, "{what} {version} is not written yet");
        let newer = versions.get(version + 1).and_then(|newer| newer.seen);
        assert!(
            newer.is_none_or(|seen| seen >= asked),
            "{what} {version} was replaced before the request, {} is the latest",
            versions.len() - 1
        );
    }
}

/// What is replaced, and how.
struct World {
    project: Project,
    embly: Embly,
    authority: Authority,
    code: Timeline,
    routes: Timeline,
    certificates: Timeline,
    /// The version of each certificate that was ever written.
    known: Mutex<HashMap<Vec<u8>, usize>>,
    /// Whether the master is told by a signal.
    by_signal: bool,
    /// Answers so far.
    answers: AtomicUsize,
}

impl World {
    fn start(by_signal: bool) -> Self {
        let mut project = Project::unparked()
            .wat("code", &answering("code 0"))
            .guest("socket");
        for n in 0..TARGETS {
            project = project.wat(&format!("target-{n}"), &answering(&format!("target {n}")));
        }
        let routes = "    headers: {set: {x-version: v0}}\n    routes:\n\
                      \x20     - {path: /code, function: code}\n\
                      \x20     - {path: /route, function: target-0}\n\
                      \x20     - {path: /socket, function: socket, websocket: true}";
        let certificates = NAMES
            .map(|name| format!("      - {{cert: ./{name}.pem, key: ./{name}.key}}\n"))
            .concat();
        let project = project
            .gateway_with("plain", &format!("    port: 0\n{routes}"))
            .gateway_with(
                "tls",
                &format!("    port: 0\n    tls:\n{certificates}{routes}"),
            );
        let authority = Authority::new();
        let (code, routes, certificates) = (
            Timeline::default(),
            Timeline::default(),
            Timeline::default(),
        );
        code.next();
        routes.next();
        certificates.next();
        let known = NAMES.map(|name| (write(&project, &authority, name), 0));
        let embly = if by_signal {
            Embly::start_detached("run", &project)
        } else {
            Embly::dev(&project)
        };
        for timeline in [&code, &routes, &certificates] {
            timeline.seen();
        }
        Self {
            project,
            embly,
            authority,
            code,
            routes,
            certificates,
            known: Mutex::new(known.into()),
            by_signal,
            answers: AtomicUsize::new(0),
        }
    }

    fn plain(&self) -> SocketAddr {
        self.embly.at("plain")
    }

    fn tell(&self) {
        if self.by_signal {
            self.embly.signal(Signal::HUP);
        }
    }

    /// Other code, another route and another header, and sees them served.
    fn replace_code_and_routes(&self) {
        let version = self.code.next();
        self.project
            .write("code.wat", &answering(&format!("code {version}")));
        let old = self.routes.latest();
        let version = self.routes.next();
        let text = self.project.read("embly-project.yml");
        let target = |version: usize| format!("function: target-{}", version % TARGETS);
        let text = text
            .replace(
                &format!("x-version: v{old}}}"),
                &format!("x-version: v{version}}}"),
            )
            .replace(&target(old), &target(version));
        self.project.write("embly-project.yml", &text);
        self.tell();
        // Both gateways, and nobody gets another one from now on.
        let code = format!("code {}", self.code.latest());
        let header = format!("v{version}");
        let config = client(&self.authority.pem, &[]);
        let mut now = String::new();
        eventually("the new code and the new routes", || {
            let plain = get(self.plain(), "/code");
            let tls = self.over_tls(&config, "/code").0;
            now = format!("{plain:?} {tls:?}");
            [plain, tls]
                .iter()
                .all(|answer| answer.text() == code && answer.header("x-version") == Some(&header))
        });
        self.code.seen();
        self.routes.seen();
    }

    /// Another certificate for each name, and sees them served.
    fn replace_certificates(&self) {
        let version = self.certificates.next();
        let mut new = Vec::new();
        for name in NAMES {
            // Known before it can be served.
            let (pem, key) = self.authority.certify(&[name]);
            let der = der_of(&pem);
            self.known.lock().unwrap().insert(der.clone(), version);
            new.push(der);
            self.project.write(&format!("{name}.key"), &key);
            self.project.write(&format!("{name}.pem"), &pem);
        }
        self.tell();
        let config = client(&self.authority.pem, &[]);
        eventually("the new certificates", || {
            let served = |(name, der): (&&str, &Vec<u8>)| {
                let tls = connect(&config, self.embly.at("tls"), name).unwrap();
                tls.conn.peer_certificates().unwrap()[0].as_ref() == der.as_slice()
            };
            NAMES.iter().zip(&new).all(served)
        });
        self.certificates.seen();
    }

    /// What one of its own connection gets, and the certificate.
    fn over_tls(&self, config: &Arc<ClientConfig>, path: &str) -> (Response, Vec<u8>, &str) {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let name = NAMES[TURN.fetch_add(1, Ordering::Relaxed) % NAMES.len()];
        let mut tls = connect(config, self.embly.at("tls"), name).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
        tls.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        tls.read_to_end(&mut answer).unwrap();
        let certificate = tls.conn.peer_certificates().unwrap()[0].to_vec();
        (parse(&answer), certificate, name)
    }

    /// An answer is of a version that was served since it was asked for.
    fn check(&self, path: &str, asked: Instant, status: u16, version: Option<&str>, text: &str) {
        assert_eq!(status, 200, "{path}: {text}");
        let version = version.expect("the header of the gateway");
        let version: usize = version.strip_prefix('v').unwrap().parse().unwrap();
        self.routes.assert_current("routes", version, asked);
        let number = text.rsplit_once(' ').unwrap().1.parse().unwrap();
        if path == "/code" {
            self.code.assert_current("code", number, asked);
        } else {
            // The header and the route are of one moment.
            assert_eq!(number, version % TARGETS, "{text} of routes {version}");
        }
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    fn check_response(&self, path: &str, asked: Instant, answer: &Response) {
        assert!(answer.complete, "{path}: {answer:?}");
        let version = answer.header("x-version");
        self.check(path, asked, answer.status, version, &answer.text());
    }
}

/// Writes a certificate and its key; the certificate as it goes over the wire.
fn write(project: &Project, authority: &Authority, name: &str) -> Vec<u8> {
    authority.write(project, name, &[name]);
    der_of(&project.read(&format!("{name}.pem")))
}

fn der_of(pem: &str) -> Vec<u8> {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .to_vec()
}

const PATHS: [&str; 2] = ["/code", "/route"];

/// Requests one after the other, on one connection.
fn keeps(world: &World, done: &Done) {
    let mut session = Session::new(world.plain());
    while !done.is_set() {
        for path in PATHS {
            let asked = Instant::now();
            let answer = session.get(path).unwrap();
            world.check_response(path, asked, &answer);
        }
    }
}

/// A connection for each request.
fn comes_and_goes(world: &World, done: &Done) {
    while !done.is_set() {
        for path in PATHS {
            let asked = Instant::now();
            let answer = get(world.plain(), path);
            world.check_response(path, asked, &answer);
        }
    }
}

/// The same in TLS, with both names in turn.
fn shakes_hands(world: &World, done: &Done) {
    let config = client(&world.authority.pem, &[]);
    while !done.is_set() {
        for path in PATHS {
            let asked = Instant::now();
            let (answer, certificate, name) = world.over_tls(&config, path);
            let version = world.known.lock().unwrap().get(&certificate).copied();
            let version = version.unwrap_or_else(|| panic!("an unknown certificate for {name}"));
            let certificates = &world.certificates;
            certificates.assert_current("certificate", version, asked);
            world.check_response(path, asked, &answer);
        }
    }
}

/// One connection in HTTP/2, in TLS, with two requests at a time.
fn multiplexes(world: &World, done: &Done) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let at = world.embly.at("tls");
        let stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let connector = TlsConnector::from(client(&world.authority.pem, &["h2"]));
        let name = ServerName::try_from(NAMES[0]).unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        let ask = async |path: &str| {
            let request = hyper::Request::get(format!("https://{}{path}", NAMES[0]));
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let asked = Instant::now();
            let answer = client.clone().send_request(request).await.unwrap();
            let (parts, body) = answer.into_parts();
            let text = body.collect().await.unwrap().to_bytes();
            let version = parts.headers.get("x-version");
            let version = version.map(|value| value.to_str().unwrap());
            let text = String::from_utf8_lossy(&text);
            world.check(path, asked, parts.status.as_u16(), version, &text);
        };
        while !done.is_set() {
            let both = async { tokio::join!(ask(PATHS[0]), ask(PATHS[1])) };
            tokio::time::timeout(PATIENCE, both).await.unwrap();
        }
        drop(client);
        let _ = connection.await.unwrap();
    });
}

/// A WebSocket that nobody may touch.
fn holds(world: &World, done: &Done) {
    let mut socket = Raw::open(world.plain(), "/socket");
    let mut said = 0;
    while !done.is_set() {
        socket.say(&format!("message {said}"));
        assert_eq!(socket.text(), format!("message {said}"));
        said += 1;
        pause(20, "people do not speak all the time");
    }
    socket.send(&[support::websocket::close(1000, "")]);
    assert_eq!(socket.closed().0, 1000);
}

/// What the master has while nobody asks for anything: descriptors, and processes.
fn idle(world: &World) -> (usize, usize) {
    // Each function has its fork server, then.
    for path in PATHS {
        assert_eq!(get(world.plain(), path).status, 200);
    }
    let mut socket = Raw::open(world.plain(), "/socket");
    socket.send(&[support::websocket::close(1000, "")]);
    assert_eq!(socket.closed().0, 1000);
    let pid = world.embly.pid();
    let mut before = (0, 0);
    let mut same = 0;
    eventually("that nothing changes any more", || {
        pause(50, "connections are closed after their last byte");
        let processes = children_and_zombies(pid);
        let quiet = processes
            .iter()
            .all(|process| process.leads() && process.state != 'Z');
        let now = (descriptors(pid), processes.len());
        same = if quiet && now == before { same + 1 } else { 0 };
        before = now;
        same >= 4
    });
    before
}

/// Replaces something again and again; how often.
fn rounds(end: Instant, done: &Done, replace: impl Fn()) -> usize {
    let mut rounds = 0;
    while Instant::now() < end && !done.is_set() {
        let began = Instant::now();
        replace();
        rounds += 1;
        let left = Duration::from_millis(EVERY).saturating_sub(began.elapsed());
        let left = u64::try_from(left.as_millis()).unwrap();
        pause(left, "each version is served for a while");
    }
    rounds
}

fn swap(by_signal: bool) {
    let seconds = std::env::var("EMBLY_SWAP_SECONDS");
    let seconds = seconds.map_or(SECONDS, |text| text.parse().unwrap());
    let world = &World::start(by_signal);
    // Every function that will ever be asked has been.
    for _ in 0..TARGETS {
        world.replace_code_and_routes();
        get(world.plain(), "/route");
    }
    let before = idle(world);
    let done = &Done::default();
    let end = Instant::now() + Duration::from_secs(seconds);
    let rounds = thread::scope(|scope| {
        let at_end = done.at_end();
        for _ in 0..2 {
            scope.spawn(|| keeps(world, done));
        }
        scope.spawn(|| comes_and_goes(world, done));
        scope.spawn(|| shakes_hands(world, done));
        scope.spawn(|| multiplexes(world, done));
        scope.spawn(|| holds(world, done));
        let certificates = scope.spawn(move || rounds(end, done, || world.replace_certificates()));
        let code = rounds(end, done, || world.replace_code_and_routes());
        let certificates = certificates.join().unwrap();
        drop(at_end);
        (code, certificates)
    });
    let answers = world.answers.load(Ordering::Relaxed);
    eprintln!("{answers} answers, {rounds:?} versions of code and routes, and of certificates");
    assert!(rounds.0 >= 2 && rounds.1 >= 2, "{rounds:?}");
    assert_eq!(idle(world), before, "descriptors and processes");
}

#[test]
fn code_routes_and_certificates_are_replaced_by_a_signal_and_no_request_fails() {
    swap(true);
}

#[test]
fn code_routes_and_certificates_are_replaced_as_they_are_saved_and_no_request_fails() {
    swap(false);
}
