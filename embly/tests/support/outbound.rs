//! Servers that functions connect to.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Embly, PATIENCE, Project};

/// Serves each connection with this, on a free port of this machine, until the test has ended.
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    at
}

/// Gives this test, and what it starts from now on, a network of its own, in which these addresses
/// are this machine's: nothing that is sent to them leaves it. False where that takes rights that are
/// missing.
#[expect(
    deprecated,
    reason = "what is unsafe about it concerns descriptors, which stay shared"
)]
pub fn own_network(addresses: &[&str]) -> bool {
    // Building may need the real one.
    super::project::guest();
    if rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).is_err() {
        super::skipped("root, for a network of its own");
        return false;
    }
    let local = addresses
        .iter()
        .map(|at| format!("address add {at}/32 dev lo"));
    for arguments in ["link set lo up".to_owned()].into_iter().chain(local) {
        let set = Command::new("ip").args(arguments.split(' ')).status();
        if !set.is_ok_and(|status| status.success()) {
            super::skipped("ip");
            return false;
        }
    }
    true
}

/// Gives this test, and what it starts from now on, an empty disk of its own at this folder, with these
/// options of `mount`, as long as the result lives. `None` where that takes rights that are missing.
#[expect(
    deprecated,
    reason = "what is unsafe about it concerns descriptors, which stay shared"
)]
pub fn own_disk(folder: &Path, options: &str) -> Option<Disk> {
    // Building is for all tests.
    super::project::guest();
    let mount = |arguments: &[&str], at: &Path| {
        let mounted = Command::new("mount").args(arguments).arg(at).output();
        mounted.is_ok_and(|mounted| mounted.status.success())
    };
    if rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).is_err()
        || !mount(&["--make-rprivate"], Path::new("/"))
        || !mount(&["-t", "tmpfs", "-o", options, "disk"], folder)
    {
        super::skipped("root, for a disk of its own");
        return None;
    }
    Some(Disk(folder.to_owned()))
}

/// A disk of a test.
pub struct Disk(PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Writes back what it reads, and then the end.
pub fn echo(mut stream: TcpStream) {
    let mut reader = stream.try_clone().unwrap();
    let _ = std::io::copy(&mut reader, &mut stream);
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

/// An authority that signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub pem: String,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        // Each has a name of its own, as real ones do.
        let name = format!("Authority {:?}", key.public_key_raw());
        let names = &mut params.distinguished_name;
        names.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// A certificate for these names, valid until this year, and its key.
    fn sign(&self, names: &[&str], until: i32) -> (rcgen::Certificate, KeyPair) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// The same in PEM.
    pub fn sign_pem(&self, names: &[&str], until: i32) -> (String, String) {
        let (certificate, key) = self.sign(names, until);
        (certificate.pem(), key.serialize_pem())
    }

    /// What a server of these names speaks TLS with.
    pub fn server(&self, names: &[&str], until: i32) -> Arc<ServerConfig> {
        let (certificate, key) = self.sign(names, until);
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"shout".to_vec()];
        Arc::new(config)
    }
}

/// The server's side of TLS.
pub type Tls = StreamOwned<ServerConnection, TcpStream>;

/// Begins TLS on a connection that was accepted.
pub fn tls(config: &Arc<ServerConfig>, stream: TcpStream) -> Tls {
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream)
}

/// Echoes over TLS; ends as TLS ends, where `orderly`.
pub fn tls_echo(mut stream: Tls, orderly: bool) {
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
    if orderly {
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
}

/// A name server that says what the test wants.
pub struct Names {
    /// Where it is.
    pub at: SocketAddr,
    /// What it answers.
    pub names: Arc<Known>,
    /// What it was asked.
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Names {
    /// It knows no name yet.
    pub fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let (names, asked) = (Arc::default(), Arc::default());
        let it = Self {
            at,
            names: Arc::clone(&names),
            asked: Arc::clone(&asked),
        };
        thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let answer = answer(&buffer[..length], &names, &asked);
                let _ = socket.send_to(&answer, from);
            }
        });
        it
    }

    /// The addresses of a name: the first answer, the next, and so on; the last one stays.
    pub fn set(&self, name: &str, answers: &[&[&str]]) {
        let addresses = |answer: &&[&str]| answer.iter().map(|a| a.parse().unwrap()).collect();
        let answers = answers.iter().map(addresses).collect();
        self.names.lock().unwrap().insert(name.to_owned(), answers);
    }

    /// How often IPv4 addresses of this name were asked for.
    pub fn asked(&self, name: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| *asked == name).count()
    }

    /// `embly run`, with this name server.
    pub fn run(&self, project: &Project) -> Embly {
        let runtime = tempfile::tempdir().unwrap();
        let mut command = super::command(&[], runtime.path());
        command
            .args(super::arguments("run", project.path()))
            .env("EMBLY_DNS", self.at.to_string());
        Embly::spawn(command, runtime, project.gateways())
    }
}

/// Answers by names.
pub type Known = Mutex<HashMap<String, Vec<Vec<IpAddr>>>>;

/// A message of DNS (RFC 1035), with one question and as many answers, none of which is to be kept.
fn answer(query: &[u8], names: &Known, asked: &Mutex<Vec<String>>) -> Vec<u8> {
    let (mut at, mut name) = (12, Vec::new());
    while query[at] > 0 {
        let label = &query[at + 1..=at + usize::from(query[at])];
        name.push(String::from_utf8_lossy(label).to_lowercase());
        at += 1 + label.len();
    }
    let name = name.join(".");
    let kind = query[at + 2];
    let question = &query[12..at + 5];
    let mut names = names.lock().unwrap();
    let known = names.get_mut(&name);
    let exists = known.is_some();
    let addresses = match known {
        Some(answers) if kind == 1 && answers.len() > 1 => answers.remove(0),
        Some(answers) => answers[0].clone(),
        None => Vec::new(),
    };
    if kind == 1 {
        asked.lock().unwrap().push(name);
    }
    let records: Vec<Vec<u8>> = addresses
        .iter()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), 1) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), 28) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut message = query[..2].to_vec();
    message.extend([0x81, if exists { 0x80 } else { 0x83 }, 0, 1]);
    message.extend([0, records.len() as u8, 0, 0, 0, 0]);
    message.extend(question);
    for record in records {
        message.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, record.len() as u8]);
        message.extend(record);
    }
    message
}

/// A listener that takes no more connections: whoever connects waits.
pub struct Full {
    /// Where it is.
    pub at: SocketAddr,
    _waiting: Vec<TcpStream>,
    _listener: TcpListener,
}

impl Full {
    /// Fills its backlog.
    pub fn new() -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
        let own = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&own, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        listen(&own, 0).unwrap();
        let listener = TcpListener::from(own);
        let at = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_millis(200)) {
            waiting.push(stream);
        }
        Self {
            at,
            _waiting: waiting,
            _listener: listener,
        }
    }
}
