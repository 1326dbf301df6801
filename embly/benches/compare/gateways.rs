//! What Embly's gateway does without a function: files, TLS, routing.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::load::{self, Exchange, Load};
use crate::machine::Machine;
use crate::meter::Meter;
use crate::report::{disturbed, middle};
use crate::systems::{self, HELLO, System};

/// How long each load is kept up.
const LOAD: Duration = Duration::from_secs(2);

const WARM_UP: Duration = Duration::from_millis(500);

/// Connections at the same time.
const CONNECTIONS: usize = 32;

/// Bytes of the files; their names are their places here.
const SIZES: [usize; 3] = [1 << 10, 64 << 10, 1 << 20];

/// Routes of the gateway with many.
const ROUTES: usize = 1000;

const NAME: &str = "bench.test";

/// A load on one system: what is asked, where.
struct Ask<'a> {
    system: &'a System,
    at: usize,
    exchange: Arc<Exchange>,
    connections: usize,
}

pub fn run(runtime: &Runtime, folder: &Path, rounds: usize) {
    let mut text = format!("{}\n", Machine::look().text());
    writeln!(
        text,
        "Rounds: {rounds}, in turns; shown is the middle one of each figure."
    )
    .unwrap();
    files(runtime, folder, rounds, &mut text);
    tls(runtime, folder, rounds, &mut text);
    routes(runtime, folder, rounds, &mut text);
    print!("{text}");
}

/// Each in turns, as often as there are rounds.
fn measure(runtime: &Runtime, rounds: usize, asks: &[Ask<'_>]) -> Vec<Vec<Load>> {
    for ask in asks {
        let answered = load::answered(ask.system.at[ask.at], &ask.exchange);
        if let Err(error) = runtime.block_on(answered) {
            panic!("{}: {error}", ask.system.name);
        }
    }
    let mut loads: Vec<Vec<Load>> = asks.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for turn in 0..asks.len() {
            let number = (round + turn) % asks.len();
            let ask = &asks[number];
            let at = ask.system.at[ask.at];
            let load =
                |time| runtime.block_on(load::closed(at, &ask.exchange, ask.connections, time));
            load(WARM_UP);
            let meter = Meter::read(ask.system);
            let mut load = load(LOAD);
            meter.enter(ask.system, &mut load);
            assert_eq!(load.errors, 0, "{}", ask.system.name);
            loads[number].push(load);
        }
    }
    loads
}

/// The middle of the ratios of the rounds.
fn ratio(one: &[Load], other: &[Load], value: fn(&Load) -> f64) -> f64 {
    let ratios = one
        .iter()
        .zip(other)
        .map(|(one, other)| value(one) / value(other));
    middle(ratios.collect()).0
}

fn over_rounds(loads: &[Load], value: fn(&Load) -> f64) -> f64 {
    middle(loads.iter().map(value).collect()).0
}

/// A row: rate, times, CPU.
fn row(text: &mut String, what: &str, name: &str, loads: &[Load]) {
    writeln!(
        text,
        "| {what} | {name} | {:.0} | {:.0} µs | {:.0} µs | {:.0} µs |",
        over_rounds(loads, Load::rate),
        over_rounds(loads, Load::p50),
        over_rounds(loads, Load::p99),
        over_rounds(loads, Load::cpu_per_request),
    )
    .unwrap();
}

const HEAD: &str = "| requests/s | p50 | p99 | CPU per request |\n|---|---|--:|--:|--:|--:|";

fn body(size: usize) -> Vec<u8> {
    vec![b'x'; size]
}

/// A folder with the files.
fn public(folder: &Path) -> PathBuf {
    let root = folder.join("public");
    fs::create_dir_all(&root).unwrap();
    for (number, size) in SIZES.into_iter().enumerate() {
        fs::write(root.join(number.to_string()), body(size)).unwrap();
    }
    root
}

fn files(runtime: &Runtime, folder: &Path, rounds: usize, text: &mut String) {
    let folder = folder.join("files");
    let root = public(&folder);
    // The workers of one that root starts are somebody else.
    open(&folder);
    let project = "gateways:\n  - {name: web, type: http, port: PORT, routes: [{path: '/{file...}', files: {root: ./public}}]}\n";
    let mut embly = embly(&folder, "Embly", project, 1);
    let mut nginx = match systems::nginx(&folder, &root) {
        Ok(nginx) => nginx,
        Err(why) => {
            writeln!(text, "\nLeft out: nginx: {why}").unwrap();
            return;
        }
    };
    embly.start().unwrap();
    nginx.start().unwrap();
    writeln!(text, "\n| file | {HEAD}",).unwrap();
    let mut ratios = String::new();
    for (number, size) in SIZES.into_iter().enumerate() {
        let exchange = Exchange::path(&format!("/{number}"), body(size));
        let ask = |system| Ask {
            system,
            at: 0,
            exchange: Arc::clone(&exchange),
            connections: CONNECTIONS,
        };
        let loads = measure(runtime, rounds, &[ask(&embly), ask(&nginx)]);
        let what = format!("{} KiB", size >> 10);
        for (system, loads) in [&embly, &nginx].into_iter().zip(&loads) {
            row(text, &what, &system.name, loads);
        }
        let aim = ratio(&loads[0], &loads[1], Load::rate);
        writeln!(
            ratios,
            "- files of {what}: {aim:.2} of nginx's requests/s (aim: ≥ 0.5). {}",
            disturbed(loads.iter().flatten())
        )
        .unwrap();
    }
    write!(text, "\n{ratios}").unwrap();
}

/// Anybody may read it, and go there.
fn open(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    for folder in folder.ancestors().take(2) {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn embly(folder: &Path, name: &str, project: &str, gateways: usize) -> System {
    let at = systems::free_addresses(gateways).unwrap();
    let mut project = project.to_owned();
    for at in &at {
        project = project.replacen("PORT", &at.port().to_string(), 1);
    }
    fs::write(folder.join("hello.wat"), HELLO).unwrap();
    let function =
        "functions:\n  - {name: hello, path: ./hello.wat, language: wasm, isolation: function}\n";
    let project = format!("{function}{project}");
    systems::project_of(folder, "embly", name.to_owned(), at, &project).unwrap()
}

fn tls(runtime: &Runtime, folder: &Path, rounds: usize, text: &mut String) {
    let folder = folder.join("tls");
    public(&folder);
    let connector = certificate(&folder);
    let project = "gateways:
  - {name: plain, type: http, port: PORT, routes: [{path: '/{file...}', files: {root: ./public}}]}
  - {name: secure, type: http, port: PORT, tls: {cert: ./cert.pem, key: ./key.pem}, routes: [{path: '/{file...}', files: {root: ./public}}]}
";
    let mut embly = embly(&folder, "Embly", project, 2);
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let mut bare = systems::bare(&SIZES, &certificate, &key).unwrap();
    embly.start().unwrap();
    bare.start().unwrap();
    writeln!(text, "\n| what | {HEAD}").unwrap();
    let mut ratios = String::new();
    let last = SIZES.len() - 1;
    for (what, number, closes) in [
        ("a connection for each, 1 KiB", 0, true),
        ("1 KiB", 0, false),
        ("1 MiB", last, false),
    ] {
        let exchange = |secure: bool| {
            let name = ServerName::try_from(NAME).unwrap();
            let tls = secure.then(|| (connector.clone(), name));
            Exchange::over(&format!("/{number}"), body(SIZES[number]), tls, closes)
        };
        let [plain, secure] = [exchange(false), exchange(true)];
        let asks: Vec<_> = [
            (&embly, false),
            (&embly, true),
            (&bare, false),
            (&bare, true),
        ]
        .into_iter()
        .map(|(system, is_secure)| Ask {
            system,
            at: usize::from(is_secure),
            exchange: Arc::clone(if is_secure { &secure } else { &plain }),
            connections: CONNECTIONS,
        })
        .collect();
        let loads = measure(runtime, rounds, &asks);
        for (ask, loads) in asks.iter().zip(&loads) {
            let over = ["HTTP", "HTTPS"][ask.at];
            row(text, what, &format!("{}, {over}", ask.system.name), loads);
        }
        let rate = ratio(&loads[1], &loads[3], Load::rate);
        let added = |plain: &[Load], secure: &[Load]| {
            over_rounds(secure, Load::cpu_per_request) - over_rounds(plain, Load::cpu_per_request)
        };
        let (own, other) = (added(&loads[0], &loads[1]), added(&loads[2], &loads[3]));
        writeln!(
            ratios,
            "- {what}: {rate:.2} of the requests/s of hyper and rustls over TLS (aim: ≥ 0.85); TLS adds {own:.0} µs of CPU to a request, there {other:.0} µs: {:.2} (aim: ≤ 1.15). {}",
            own / other,
            disturbed(loads.iter().flatten())
        )
        .unwrap();
    }
    write!(text, "\n{ratios}").unwrap();
}

/// Files with a certificate and its key, and who trusts it.
fn certificate(folder: &Path) -> TlsConnector {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    let signed = params.signed_by(&own, &issuer).unwrap();
    fs::write(folder.join("cert.pem"), signed.pem()).unwrap();
    fs::write(folder.join("key.pem"), own.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each connection is one that nobody knows yet.
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

fn routes(runtime: &Runtime, folder: &Path, rounds: usize, text: &mut String) {
    let folder = folder.join("routes");
    fs::create_dir_all(&folder).unwrap();
    let mut project = "gateways:
  - {name: one, type: http, port: PORT, function: hello}
  - {name: other, type: http, port: PORT, function: hello}
  - name: many
    type: http
    port: PORT
    hosts: [a.test, \"*.b.test\", bench]
    routes:
"
    .to_owned();
    for number in 0..ROUTES {
        writeln!(
            project,
            "      - {{path: '/r{number}/{{id}}/x', function: hello}}"
        )
        .unwrap();
    }
    let mut embly = embly(&folder, "Embly", &project, 3);
    embly.start().unwrap();
    let path = format!("/r{}/7/x", ROUTES / 2);
    let exchange = Exchange::path(&path, b"hello".to_vec());
    writeln!(text, "\n| what | {HEAD}").unwrap();
    let mut ratios = String::new();
    for connections in [1, CONNECTIONS] {
        let asks: Vec<_> = (0..3)
            .map(|at| Ask {
                system: &embly,
                at,
                exchange: Arc::clone(&exchange),
                connections,
            })
            .collect();
        let loads = measure(runtime, rounds, &asks);
        let names = [
            "one function".to_owned(),
            "the same again".to_owned(),
            format!("{ROUTES} routes"),
        ];
        for (name, loads) in names.iter().zip(&loads) {
            row(text, &format!("{connections} connections"), name, loads);
        }
        let value = if connections == 1 {
            Load::p50
        } else {
            Load::rate
        };
        writeln!(
            ratios,
            "- {connections} connections: {} with {ROUTES} routes {:.3} of that with one function; the same again {:.3}. {}",
            if connections == 1 { "p50" } else { "requests/s" },
            ratio(&loads[2], &loads[0], value),
            ratio(&loads[1], &loads[0], value),
            disturbed(loads.iter().flatten())
        )
        .unwrap();
    }
    write!(text, "\n{ratios}").unwrap();
}
