//! Gateways with TLS.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use support::client::{connect as connect_plain, pause, reset};
use support::project::answering;
use support::tls::{Authority, client, connect, curl};
use support::{Done, Embly, Project, eventually};

const FILES: &str = "    tls: {cert: ./web.pem, key: ./web.key}\n";

/// A project whose gateway `web` has a certificate for these names, and who vouches for it.
fn project(guest: &str, names: &[&str]) -> (Project, Authority) {
    let keys = format!("    port: 0\n    function: {guest}\n{FILES}");
    let project = Project::new().guest(guest).gateway_with("web", &keys);
    let authority = Authority::new();
    authority.write(&project, "web", names);
    (project, authority)
}

#[test]
fn a_gateway_with_tls_speaks_http1_and_http2_and_says_so_to_functions() {
    let (project, authority) = project("shows", &["localhost"]);
    let embly = Embly::run(&project);
    let at = embly.at("web");
    let event = embly.event("listening", |_| true);
    assert_eq!(event["url"], format!("https://{at}"));
    let ca = authority.file(&project);
    let url = format!("https://localhost:{}/a", at.port());
    for (argument, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for tls in ["--tlsv1.3", "--tls-max=1.2"] {
            let arguments = match tls.split_once('=') {
                Some((name, value)) => vec![argument, name, value, "-d", "body"],
                None => vec![argument, tls, "-d", "body"],
            };
            let (body, end) = curl(&ca, &url, &arguments);
            assert_eq!(end, format!("{version} 200"), "{body}");
            assert!(body.starts_with("POST /a HTTP/1.1\r\n"), "{body}");
            assert!(body.contains("\r\nembly-scheme: https\r\n"), "{body}");
            assert!(body.ends_with("\r\n\r\nbody"), "{body}");
        }
    }
}

#[test]
fn each_host_gets_the_first_certificate_that_fits_and_others_the_first() {
    let keys = "    port: 0\n    function: hello\n    tls:\n\
                \x20     - {cert: ./one.pem, key: ./one.key}\n\
                \x20     - {cert: ./two.pem, key: ./two.key}\n\
                \x20     - {cert: ./all.pem, key: ./all.key}\n";
    let project = Project::new().guest("hello").gateway_with("web", keys);
    let authority = Authority::new();
    for (file, names) in [
        ("one", &["one.test"][..]),
        ("two", &["two.test", "x.all.test"]),
        ("all", &["*.all.test"]),
    ] {
        authority.write(&project, file, names);
    }
    let embly = Embly::run(&project);
    let config = client(&authority.pem, &[]);
    for name in ["one.test", "two.test", "a.all.test", "x.all.test"] {
        connect(&config, embly.at("web"), name).unwrap();
    }
    // The first one is not for it, which the client sees.
    let error = connect(&config, embly.at("web"), "other.test").unwrap_err();
    assert!(error.to_string().contains("one.test"), "{error}");
}

#[test]
fn a_new_certificate_is_served_without_one_failed_handshake() {
    let (project, old) = project("hello", &["web.test"]);
    let embly = Embly::run(&project);
    let at = embly.at("web");
    let new = Authority::new();
    let (asked, done) = (AtomicUsize::new(0), Done::default());
    thread::scope(|scope| {
        let _end = done.at_end();
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.is_set() {
                    // Both count; each handshake is with one of them.
                    let either = both(&old.pem, &new.pem);
                    let mut tls = connect(&either, at, "web.test").unwrap();
                    let request = b"GET / HTTP/1.1\r\nhost: web.test\r\nconnection: close\r\n\r\n";
                    tls.write_all(request).unwrap();
                    let mut answer = String::new();
                    tls.read_to_string(&mut answer).unwrap();
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let only = client(&new.pem, &[]);
        for authority in [&new, &old, &new] {
            let before = asked.load(Ordering::Relaxed);
            eventually("requests", || asked.load(Ordering::Relaxed) > before + 5);
            authority.write(&project, "web", &["web.test"]);
            let is_new = std::ptr::eq(authority, &raw const new);
            eventually("another certificate", || {
                connect(&only, at, "web.test").is_ok() == is_new
            });
        }
    });
}

fn both(one: &str, other: &str) -> std::sync::Arc<tokio_rustls::rustls::ClientConfig> {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
    let mut roots = RootCertStore::empty();
    for pem in [one, other] {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        roots.add(der).unwrap();
    }
    let config = ClientConfig::builder_with_provider(std::sync::Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    std::sync::Arc::new(config)
}

#[test]
fn a_new_certificate_that_is_of_no_use_is_reported_and_the_old_one_served() {
    let (project, authority) = project("hello", &["web.test"]);
    let embly = Embly::run(&project);
    let config = client(&authority.pem, &[]);
    project.write("web.pem", "nothing\n");
    let said = embly.event("message", |event| {
        let text = event["text"].as_str().unwrap_or_default();
        text.contains("web.pem` has no certificate in it")
    });
    assert_eq!(said["level"], "warn");
    connect(&config, embly.at("web"), "web.test").unwrap();
    // And a good one is taken again.
    let other = Authority::new();
    other.write(&project, "web", &["web.test"]);
    let config = client(&other.pem, &[]);
    eventually("the new certificate", || {
        connect(&config, embly.at("web"), "web.test").is_ok()
    });
}

#[test]
fn a_hang_up_takes_new_certificates() {
    let (project, authority) = project("hello", &["web.test"]);
    let embly = Embly::start_detached("run", &project);
    authority.write(&project, "web", &["other.test"]);
    embly.signal(rustix::process::Signal::HUP);
    embly.event("message", |event| event["text"] == "reloaded");
    connect(&client(&authority.pem, &[]), embly.at("web"), "other.test").unwrap();
}

#[test]
fn a_tcp_function_gets_and_gives_plain_bytes_behind_tls() {
    let project = Project::new().guest("echo").tcp("echo");
    project.path();
    project.edit("    port: 0\n", &format!("    port: 0\n{FILES}"));
    let authority = Authority::new();
    authority.write(&project, "web", &["echo.test"]);
    let embly = Embly::run(&project);
    let at = embly.at("echo");
    let event = embly.event("listening", |_| true);
    assert_eq!(event["url"], format!("tls://{at}"));
    let config = client(&authority.pem, &[]);
    let mut tls = connect(&config, at, "echo.test").unwrap();
    let data: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let mut back = vec![0; 10_000];
    for piece in data.chunks(10_000) {
        tls.write_all(piece).unwrap();
        tls.read_exact(&mut back).unwrap();
        assert_eq!(back, piece);
    }
    tls.conn.send_close_notify();
    tls.flush().unwrap();
    // In order: with the end of TLS.
    assert_eq!(tls.read(&mut back).unwrap(), 0);
    assert_eq!(embly.ending("echo")["reason"], "ok");
}

#[test]
fn clients_that_do_not_begin_tls_keep_nobody_else_waiting() {
    let (project, authority) = project("hello", &["web.test"]);
    let embly = Embly::run(&project);
    let at = embly.at("web");
    let mut silent: Vec<_> = (0..50).map(|_| connect_plain(at)).collect();
    let mut plain = connect_plain(at);
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    // An alert, and no answer.
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let said = embly.event("message", |event| {
        let text = event["text"].as_str().unwrap_or_default();
        text.contains("was turned away")
    });
    assert!(said["text"].as_str().unwrap().contains("gateway `web`"));
    connect(&client(&authority.pem, &[]), at, "web.test").unwrap();
    // And they are not waited for for ever.
    let mut end = Vec::new();
    let _ = silent[0].read_to_end(&mut end);
    assert!(end.is_empty());
}

#[test]
fn a_client_that_resets_a_connection_with_tls_ends_its_invocation() {
    let keys = format!("    port: 0\n    function: script\n{FILES}");
    let project = Project::new().guest("script").gateway_with("web", &keys);
    let authority = Authority::new();
    authority.write(&project, "web", &["web.test"]);
    let embly = Embly::run(&project);
    let mut tls = connect(&client(&authority.pem, &[]), embly.at("web"), "web.test").unwrap();
    let request = "GET / HTTP/1.1\r\nhost: x\r\nx-do: sleep 60000\r\n\r\n";
    tls.write_all(request.as_bytes()).unwrap();
    embly.event("invocation_started", |_| true);
    reset(tls.sock);
    assert_eq!(embly.ending("script")["reason"], "client_gone");
}

#[test]
fn in_dev_an_authority_of_its_own_vouches_for_the_gateway() {
    let cache = tempfile::tempdir().unwrap();
    let keys = "    port: 0\n    function: shows\n    tls: {dev: true}\n    hosts: [a.test]\n";
    let start = |project: &Project| {
        let runtime = tempfile::tempdir().unwrap();
        let mut command = support::command(&[], runtime.path());
        command.env("XDG_CACHE_HOME", cache.path());
        command.args(support::arguments("dev", project.path()));
        Embly::spawn(command, runtime, 1)
    };
    let mut before = None;
    for _ in 0..2 {
        let project = Project::new().guest("shows").gateway_with("web", keys);
        let embly = start(&project);
        let said = embly.event("message", |event| {
            let text = event["text"].as_str().unwrap_or_default();
            text.contains("curl --cacert ") && text.contains("update-ca-certificates")
        });
        let text = said["text"].as_str().unwrap().to_owned();
        let path = text.split("curl --cacert ").nth(1).unwrap();
        let path = path.split('`').next().unwrap().to_owned();
        let port = embly.at("web").port();
        let resolve = format!("a.test:{port}:127.0.0.1");
        let (body, end) = curl(
            path.as_ref(),
            &format!("https://a.test:{port}/"),
            &["--resolve", &resolve],
        );
        assert_eq!(end, "2 200", "{body}");
        // The certificate is for the machine's own names as well.
        for name in ["localhost", "127.0.0.1"] {
            let url = format!("https://{name}:{port}/");
            let (body, end) = curl(path.as_ref(), &url, &["-H", "host: a.test"]);
            assert_eq!(end, "2 200", "{body}");
        }
        let pem = std::fs::read_to_string(&path).unwrap();
        assert!(!pem.contains("PRIVATE"), "{pem}");
        // The second time nobody has to trust anything anew.
        assert_eq!(before.replace(pem.clone()).unwrap_or(pem.clone()), pem);
    }
}

#[test]
fn in_dev_nothing_is_lost_while_a_certificate_is_there_and_its_key_is_not_yet() {
    let project = Project::new()
        .wat("says", &answering("old"))
        .wat("other", &answering("other"))
        .gateway_with("web", &format!("    port: 0\n    function: says\n{FILES}"));
    let old = Authority::new();
    old.write(&project, "web", &["web.test"]);
    let embly = Embly::dev(&project);
    let at = embly.at("web");
    let said = |authority: &Authority| {
        let mut tls = connect(&client(&authority.pem, &[]), at, "web.test").ok()?;
        let request = b"GET / HTTP/1.1\r\nhost: web.test\r\nconnection: close\r\n\r\n";
        tls.write_all(request).ok()?;
        let mut answer = String::new();
        tls.read_to_string(&mut answer).ok()?;
        answer.lines().last().map(str::to_owned)
    };
    assert_eq!(said(&old).as_deref(), Some("old"));

    // The project file and the code are saved in between, too.
    let new = Authority::new();
    let (certificate, key) = new.certify(&["web.test"]);
    project.write("web.pem", &certificate);
    project.write("says.wat", &answering("new"));
    project.edit("function: says", "function: other");
    embly.event("problems", |event| event["problems"][0]["code"] == "E184");
    // All is tried again meanwhile, and the same is not said twice.
    pause(1200, "for the project file to be read twice");
    assert_eq!(said(&old).as_deref(), Some("old"));
    project.write("web.key", &key);
    eventually("all of it", || said(&new).as_deref() == Some("other"));
    project.edit("function: other", "function: says");
    eventually("the code", || said(&new).as_deref() == Some("new"));

    // Only the code is.
    let (certificate, key) = old.certify(&["web.test"]);
    project.write("web.pem", &certificate);
    project.write("says.wat", &answering("newer"));
    embly.event("message", |event| {
        let text = event["text"].as_str().unwrap_or_default();
        text.contains("is not the key of") && text.ends_with("the project is served as it was")
    });
    project.write("web.key", &key);
    eventually("the newest", || said(&old).as_deref() == Some("newer"));
    let events = embly.events();
    let problems = events.iter().filter(|event| event["event"] == "problems");
    assert_eq!(problems.count(), 1, "{}", embly.stderr());
}

#[test]
fn what_is_for_development_is_refused_by_run() {
    let keys = "    port: 0\n    function: shows\n    tls: {dev: true}\n";
    let project = Project::new().guest("shows").gateway_with("web", keys);
    let path = project.path().to_str().unwrap();
    let (code, _, text) = support::output(&["run", path]);
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains("gateway `web`: `tls: {dev: true}` is for `embly dev`"),
        "{text}"
    );
}
