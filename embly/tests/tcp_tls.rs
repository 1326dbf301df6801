//! Connections of functions to other servers with TLS.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use support::client::connect;
use support::outbound::{Authority, server, tls, tls_echo};
use support::{Embly, Project, eventually, output};
use tokio_rustls::rustls::ServerConfig;

/// Long after this test.
const LATER: i32 = 2999;

/// A function that connects to these, and trusts this authority.
fn project(authority: &Authority, to: &[String], more: &str) -> Project {
    let entry = |address: &String| format!("{{address: \"{address}\", ca: ./ca.pem{more}}}");
    let entries: Vec<_> = to.iter().map(entry).collect();
    let keys = format!(
        "    allow: {{tcp: [{}]}}\n    limits: {{tcp: {{connect: 2s}}}}",
        entries.join(", ")
    );
    let project = Project::new().guest_with("tunnels", &keys).tcp("tunnels");
    project.write("ca.pem", &authority.pem);
    project
}

fn local(at: SocketAddr) -> String {
    format!("localhost:{}", at.port())
}

/// Sends this over a connection, with its end, and says all that comes: the first line and the
/// rest; `None` for the rest where it was cut.
fn ask(embly: &Embly, way: &str, to: &str, bytes: &[u8]) -> (String, Option<Vec<u8>>) {
    let mut client = connect(embly.at("tunnels"));
    client
        .write_all(format!("{way} {to}\n").as_bytes())
        .unwrap();
    client.write_all(bytes).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    let whole = client.read_to_end(&mut all).is_ok();
    let end = all
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(all.len());
    let line = String::from_utf8(all[..end].to_vec()).unwrap();
    let rest = all.get(end + 1..).unwrap_or_default().to_vec();
    (line, whole.then_some(rest))
}

fn echoes(config: &Arc<ServerConfig>, orderly: bool) -> SocketAddr {
    let config = Arc::clone(config);
    server(move |stream| tls_echo(tls(&config, stream), orderly))
}

#[test]
fn who_a_server_is_is_checked_with_the_authority_of_the_project() {
    let authority = Authority::new();
    let at = echoes(&authority.server(&["localhost", "127.0.0.1"], LATER), true);
    let addresses = [local(at), at.to_string()];
    let embly = Embly::run(&project(&authority, &addresses, ""));
    for address in &addresses {
        let (line, rest) = ask(&embly, "tls", address, b"secret");
        assert_eq!(line, format!("opened {at} "));
        // With its end, which TLS has as well.
        assert_eq!(rest.as_deref(), Some(&b"secret"[..]));
    }
    let (line, _) = ask(&embly, "alpn:shout", &addresses[0], b"x");
    assert_eq!(line, format!("opened {at} shout"));
    let large = vec![7; 8 << 20];
    let (_, rest) = ask(&embly, "tls", &addresses[0], &large);
    assert!(rest == Some(large));
}

#[test]
fn a_certificate_that_is_not_good_is_refused_and_the_error_says_why() {
    let authority = Authority::new();
    let other = Authority::new();
    let (name, expired) = (
        echoes(&authority.server(&["other.example"], LATER), true),
        echoes(&authority.server(&["localhost"], 2001), true),
    );
    let strange = echoes(&other.server(&["localhost"], LATER), true);
    let addresses = [name, expired, strange].map(local);
    let embly = Embly::run(&project(&authority, &addresses, ""));
    for (address, why) in addresses.iter().zip([
        "not valid for name",
        "expired",
        "signed by nobody that is trusted here",
    ]) {
        let (line, _) = ask(&embly, "tls", address, b"secret");
        assert!(line.starts_with("Tls: ") && line.contains(why), "{line}");
        assert!(line.contains(address.as_str()), "{line}");
    }
    let (line, rest) = ask(&embly, "tls:other.example", &addresses[0], b"secret");
    assert_eq!(line, format!("opened {name} "));
    assert_eq!(rest.as_deref(), Some(&b"secret"[..]));
    let (line, _) = ask(&embly, "tls:127.1", &addresses[0], b"");
    assert!(line.starts_with("Invalid: "), "{line}");
}

#[test]
fn a_server_without_tls_is_told_apart() {
    let plain = server(|mut stream| {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let closes = server(|mut stream| {
        let _ = stream.read(&mut [0; 16]);
    });
    let silent = server(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let addresses = [plain, closes, silent].map(local);
    let embly = Embly::run(&project(&Authority::new(), &addresses, ""));
    for (address, why) in addresses.iter().zip([
        "Tls: ",
        "Tls: ",
        // The time limit of a connection is for TLS as well.
        "Timeout: ",
    ]) {
        let (line, _) = ask(&embly, "tls", address, b"");
        assert!(line.starts_with(why), "{line}");
        let plain = line.contains("plain connections") || why != "Tls: " || line.contains("reset");
        assert!(plain, "{line}");
    }
}

#[test]
fn an_end_without_that_of_tls_is_a_cut() {
    let authority = Authority::new();
    let at = echoes(&authority.server(&["localhost"], LATER), false);
    let address = local(at);
    let embly = Embly::run(&project(&authority, std::slice::from_ref(&address), ""));
    let (line, rest) = ask(&embly, "tls", &address, b"secret");
    assert_eq!(line, format!("opened {at} "));
    assert_eq!(rest, None);
    let ending = embly.ending("embly/tcp");
    assert_eq!(ending["reason"], "exit", "{ending}");
    let detail = ending["detail"].as_str().unwrap();
    assert!(detail.contains("without the end that TLS has"), "{ending}");
}

/// Says this to the first byte; what is begun with `S` has TLS.
fn upgrades(config: &Arc<ServerConfig>, says: &'static [u8]) -> SocketAddr {
    let config = Arc::clone(config);
    server(move |mut stream: TcpStream| {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_err() || byte != *b"?" {
            return;
        }
        stream.write_all(&says[..1]).unwrap();
        if says.len() > 1 {
            // Before TLS, where it does not belong: after the caller has begun it.
            let _ = stream.read(&mut [0; 1]);
            let _ = stream.write_all(&says[1..]);
        }
        match says {
            b"S" => tls_echo(tls(&config, stream), true),
            _ => support::outbound::echo(stream),
        }
    })
}

#[test]
fn a_connection_can_begin_tls_later_or_do_without() {
    let authority = Authority::new();
    let config = authority.server(&["localhost"], LATER);
    let (yes, no) = (upgrades(&config, b"S"), upgrades(&config, b"N"));
    let stuffs = upgrades(&config, b"Sinjected command\r\n");
    let addresses = [yes, no, stuffs].map(local);
    let embly = Embly::run(&project(&authority, &addresses, ""));
    for (address, at) in addresses.iter().zip([yes, no]) {
        let (line, rest) = ask(&embly, "starttls", address, b"secret");
        assert_eq!(line, format!("opened {at} "));
        assert_eq!(rest.as_deref(), Some(&b"secret"[..]));
    }
    // Nothing that came without TLS is taken for what comes with it.
    let (line, _) = ask(&embly, "starttls", &addresses[2], b"secret");
    assert!(line.starts_with("Tls: "), "{line}");
    let (line, _) = ask(&embly, "starttls:other.example", &addresses[0], b"secret");
    assert!(line.contains("not valid for name"), "{line}");
}

#[test]
fn an_address_can_be_open_for_tls_only() {
    let authority = Authority::new();
    let at = echoes(&authority.server(&["localhost"], LATER), true);
    let address = local(at);
    let project = project(&authority, std::slice::from_ref(&address), ", tls: true");
    let embly = Embly::run(&project);
    let (line, _) = ask(&embly, "tls", &address, b"");
    assert_eq!(line, format!("opened {at} "));
    for way in ["plain", "starttls"] {
        let (line, _) = ask(&embly, way, &address, b"");
        assert!(line.starts_with("NotAllowed: "), "{line}");
        assert!(line.contains("with TLS only"), "{line}");
    }
}

#[test]
fn a_file_without_certificates_stops_the_project_and_a_new_one_counts_after_a_reload() {
    let (first, second) = (Authority::new(), Authority::new());
    let at = echoes(&second.server(&["localhost"], LATER), true);
    let address = local(at);
    let project = project(&first, std::slice::from_ref(&address), "");
    project.write(
        "ca.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let path = project.path().to_str().unwrap();
    let (code, _, stderr) = output(&["run", path, "--bind", "127.0.0.1:0"]);
    assert_ne!(code, 0);
    assert!(
        stderr.contains("ca.pem` has no certificate authorities"),
        "{stderr}"
    );
    project.write("ca.pem", &first.pem);
    let embly = Embly::start_detached("run", &project);
    let (line, _) = ask(&embly, "tls", &address, b"");
    assert!(line.contains("signed by nobody"), "{line}");
    project.write("ca.pem", &second.pem);
    embly.signal(rustix::process::Signal::HUP);
    eventually("the new authority counts", || {
        ask(&embly, "tls", &address, b"").0.starts_with("opened")
    });
}
