//! Servers: of the library, for what is in order; of plain TCP, for what is not.

use std::collections::HashSet;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::support::PATIENCE;

/// The body of a response of [`Site`].
pub type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// An answer with this body.
pub fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(|never: Infallible| match never {});
    Response::builder()
        .status(status)
        .body(body.boxed())
        .unwrap()
}

/// An answer with the body of the request, as it comes.
pub fn echo(request: Request<Incoming>) -> Answer {
    Response::new(request.into_body().boxed())
}

/// What a server speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaks {
    /// HTTP/1.1.
    One,
    /// HTTP/2, from the first byte.
    Two,
}

/// A server of the library.
pub struct Site {
    pub at: SocketAddr,
    pub seen: Arc<Seen>,
    _runtime: tokio::runtime::Runtime,
}

/// What a server has seen.
#[derive(Default)]
pub struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    open: AtomicUsize,
    /// The connection of each request, in their order.
    pub peers: Mutex<Vec<SocketAddr>>,
}

impl Seen {
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Connections that carried a request.
    pub fn used(&self) -> usize {
        let peers = self.peers.lock().unwrap();
        peers.iter().collect::<HashSet<_>>().len()
    }
}

struct Open(Arc<Seen>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Site {
    /// Answers with what this says.
    pub fn new<F, R>(speaks: Speaks, handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        Self::start(speaks, None, handler)
    }

    /// The same over TLS, where [`Speaks`] is what it offers.
    pub fn tls<F, R>(speaks: &[Speaks], certificate: &Certificate, handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        let config = certificate.config(speaks);
        Self::start(speaks[0], Some(config), handler)
    }

    fn start<F, R>(speaks: Speaks, tls: Option<ServerConfig>, handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let at = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let theirs = Arc::clone(&seen);
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                theirs.connections.fetch_add(1, Ordering::SeqCst);
                theirs.open.fetch_add(1, Ordering::SeqCst);
                let open = Open(Arc::clone(&theirs));
                let (tls, handler) = (tls.clone(), handler.clone());
                tokio::spawn(async move {
                    let seen = Arc::clone(&open.0);
                    let Some(tls) = tls else {
                        return serve(stream, speaks, seen, peer, handler).await;
                    };
                    // Who does not trust us goes away here.
                    let Ok(stream) = tls.accept(stream).await else {
                        return;
                    };
                    let many = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let speaks = if many { Speaks::Two } else { Speaks::One };
                    serve(stream, speaks, seen, peer, handler).await;
                });
            }
        });
        Self {
            at,
            seen,
            _runtime: runtime,
        }
    }

    /// `http://ADDRESS PATH`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }
}

async fn serve<S, F, R>(stream: S, speaks: Speaks, seen: Arc<Seen>, peer: SocketAddr, handler: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request| {
        seen.requests.fetch_add(1, Ordering::SeqCst);
        seen.peers.lock().unwrap().push(peer);
        let answer = handler(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let io = TokioIo::new(stream);
    // A client that goes away in the middle is what some tests want.
    match speaks {
        Speaks::One => {
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(io, service)
                .await;
        }
        Speaks::Two => {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(io, service).await;
        }
    }
}

/// A server of plain TCP: `talk` has each connection, with its number from 0.
pub struct Plain {
    pub at: SocketAddr,
    pub connections: Arc<AtomicUsize>,
}

impl Plain {
    pub fn new(talk: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (talk, count) = (Arc::new(talk), Arc::clone(&connections));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                let talk = Arc::clone(&talk);
                thread::spawn(move || talk(stream, number));
            }
        });
        Self { at, connections }
    }

    /// Answers each request with these bytes, then closes.
    pub fn answering(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self::new(move |mut stream, _| {
            if head(&mut stream).is_some() {
                let _ = stream.write_all(bytes.as_ref());
            }
        })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }
}

/// Reads a head; `None` when the connection ends before one.
pub fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Who signs certificates.
pub struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        // A name of its own: two of one name would be told apart by their signatures only.
        let name = format!("the tests {}", rand::random::<u64>());
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.1
    }

    /// One for these names, which ends after so many days.
    pub fn sign(&self, names: &[&str], days: i64) -> Certificate {
        let names = names.iter().map(|name| (*name).to_owned());
        let mut params = CertificateParams::new(names.collect::<Vec<_>>()).unwrap();
        let now = std::time::SystemTime::now();
        let day = Duration::from_secs(24 * 60 * 60);
        params.not_before = (now - 30 * day).into();
        params.not_after = match u32::try_from(days) {
            Ok(days) => (now + day * days).into(),
            Err(_) => (now - day).into(),
        };
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.0).unwrap();
        Certificate {
            chain: signed.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A certificate with its key, as PEM.
pub struct Certificate {
    chain: String,
    key: String,
}

impl Certificate {
    fn config(&self, speaks: &[Speaks]) -> ServerConfig {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let name = |speaks: &Speaks| match speaks {
            Speaks::One => b"http/1.1".to_vec(),
            Speaks::Two => b"h2".to_vec(),
        };
        config.alpn_protocols = speaks.iter().map(name).collect();
        config
    }
}

/// A name server: the answer to the n-th question for an IPv4 address, from 0, and its name.
pub struct Names {
    pub at: SocketAddr,
    pub asked: Arc<AtomicUsize>,
}

impl Names {
    pub fn new(answers: impl Fn(&str, usize) -> Vec<std::net::Ipv4Addr> + Send + 'static) -> Self {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let question = &buffer[..length];
                let (name, end) = question_name(question);
                // Type A of class IN; of all others there is nothing.
                let is_a = question[end..end + 2] == [0, 1];
                let addresses = match is_a {
                    true => answers(&name, count.fetch_add(1, Ordering::SeqCst)),
                    false => Vec::new(),
                };
                // RFC 1035, section 4.1: an answer, one question, answers that live for 0 s.
                let mut reply = [
                    &question[..2],
                    &[0x81, 0x80, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0],
                ]
                .concat();
                reply.extend_from_slice(&question[12..end + 4]);
                for address in addresses {
                    reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                    reply.extend_from_slice(&address.octets());
                }
                let _ = socket.send_to(&reply, from);
            }
        });
        Self { at, asked }
    }
}

/// The name in a question, and where it ends.
fn question_name(question: &[u8]) -> (String, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while question[at] != 0 {
        let length = usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..=at + length]).to_lowercase());
        at += length + 1;
    }
    (labels.join("."), at + 1)
}
