//! hyper and rustls with nothing around them: bodies out of memory, by their number in the path.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Serves until it is killed: at the first address as it is, at the second over TLS. It has one
/// thread, as Embly's master.
pub fn serve(
    runtime: &Runtime,
    (certificate, key): (&Path, &Path),
    [plain, secure]: [SocketAddr; 2],
    bodies: &[usize],
) {
    let chain = CertificateDer::pem_slice_iter(&fs::read(certificate).unwrap())
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(&fs::read(key).unwrap()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let bodies: Arc<[Bytes]> = bodies.iter().map(|size| vec![b'x'; *size].into()).collect();
    runtime.block_on(async {
        let secure = listen(secure, Some(acceptor), Arc::clone(&bodies));
        tokio::join!(listen(plain, None, bodies), secure)
    });
}

async fn listen(at: SocketAddr, acceptor: Option<TlsAcceptor>, bodies: Arc<[Bytes]>) {
    let listener = TcpListener::bind(at).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(meet(stream, acceptor.clone(), Arc::clone(&bodies)));
    }
}

async fn meet(stream: TcpStream, acceptor: Option<TlsAcceptor>, bodies: Arc<[Bytes]>) {
    stream.set_nodelay(true).unwrap();
    match acceptor {
        None => answer(stream, bodies).await,
        Some(acceptor) => {
            // Whoever does not come this far has gone.
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, bodies).await;
            }
        }
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, bodies: Arc<[Bytes]>) {
    let service = service_fn(move |request: http::Request<Incoming>| {
        let number: Option<usize> = request.uri().path().trim_start_matches('/').parse().ok();
        let body = number.and_then(|number| bodies.get(number)).cloned();
        async move {
            let body = Full::new(body.unwrap_or_default());
            Ok::<_, Infallible>(http::Response::new(body))
        }
    });
    // A client that leaves is no failure of the server.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
