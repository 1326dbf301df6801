//! What a TLS handshake takes of the processor on our side: the server's certificate is signed by an
//! authority that we trust, so there are two signatures to check and one key to agree on.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
};

/// The middle of so many, in µs.
pub fn handshake(count: usize) -> f64 {
    let (client, server) = configs();
    let mut times: Vec<Duration> = (0..count).map(|_| once(&client, &server)).collect();
    times.sort_unstable();
    times[count / 2].as_secs_f64() * 1e6
}

fn configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let signed = params.signed_by(&own, &issuer).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    let key = PrivateKeyDer::Pkcs8(own.serialize_der().into());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.der().clone()], key)
        .unwrap();
    (Arc::new(client), Arc::new(server))
}

/// One handshake in memory; what the client's side of it took.
fn once(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Duration {
    let mut took = Duration::ZERO;
    let name = ServerName::try_from("a.example").unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let began = Instant::now();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    took += began.elapsed();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        let began = Instant::now();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        took += began.elapsed();
        let mut bytes = Cursor::new(bytes);
        while server.read_tls(&mut bytes).unwrap() > 0 {}
        server.process_new_packets().unwrap();
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut bytes = Cursor::new(bytes);
        let began = Instant::now();
        while client.read_tls(&mut bytes).unwrap() > 0 {
            client.process_new_packets().unwrap();
        }
        took += began.elapsed();
    }
    took
}
