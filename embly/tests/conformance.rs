//! What others ask of a server: the cases of the Autobahn test suite for WebSockets, those of RFC 9113 for
//! HTTP/2, and TLS as OpenSSL sees it. `docs/conformance.md` has the results, and how to get them.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::tls::Authority;
use support::{Embly, Project, get, program, pypi};

/// Drives the case files of the Autobahn test suite; as it was when `docs/conformance.md` was written.
const KOSOKU: &str = "kosoku==0.1.0";

#[test]
fn websockets_pass_the_cases_of_the_autobahn_test_suite() {
    let Some(kosoku) = pypi::program(KOSOKU, "kosoku") else {
        return;
    };
    // The largest message of the cases has 16 MiB.
    let project = Project::new()
        .guest("mirror")
        .gateway("chat", "websocket", "mirror");
    project.path();
    let (before, after) = (
        "    function: mirror\n",
        "    function: mirror\n    websocket: {message: 16MiB}\n",
    );
    project.edit(before, after);
    let embly = Embly::run(&project);
    let reports = tempfile::tempdir().unwrap();
    // 12 and 13 are for compression, which is not offered. Those of 9 beyond take a minute on a slow
    // machine.
    let ran = Command::new(kosoku)
        .args(["-x", "9.*", "-x", "12.*", "-x", "13.*", "-o"])
        .arg(reports.path())
        .arg(format!("ws://{}", embly.at("chat")))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let index = std::fs::read(reports.path().join("index.json"));
    let index: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_slice(&index.unwrap_or_else(|error| panic!("{error}: {said}"))).unwrap();
    let cases = index.values().next().unwrap();
    assert_eq!(cases.len(), 247, "{said}");
    // What is not strict says so before it has sent back all that came before.
    let fine = |what: &Value| {
        let what = what.as_str().unwrap();
        ["OK", "NON-STRICT", "INFORMATIONAL"].contains(&what)
    };
    let wrong = cases
        .iter()
        .filter(|(_, case)| !fine(&case["behavior"]) || !fine(&case["behaviorClose"]));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn http2_passes_the_cases_of_its_rfc() {
    let Some(python) = program("python3") else {
        return;
    };
    let embly = Embly::run(&Project::new().guest("shows").http("shows"));
    let at = embly.at("shows");
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/http2.py");
    let ran = Command::new(python)
        .arg(cases)
        .arg(at.port().to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}{errors}");
    // Where the library names another error than the one that the section names.
    let others = said.lines().filter(|line| line.starts_with("other code"));
    assert!(others.count() <= 15, "{said}");
    assert_eq!(get(at, "/").status, 200);
}

/// Which versions and ciphers a gateway takes, and that it takes no others.
#[test]
fn tls_takes_what_is_strong_and_nothing_else() {
    let Some(openssl) = program("openssl") else {
        return;
    };
    let keys = "    port: 0\n    function: hello\n    tls: {cert: ./web.pem, key: ./web.key}\n";
    let project = Project::new().guest("hello").gateway_with("web", keys);
    let authority = Authority::new();
    authority.write(&project, "web", &["localhost"]);
    let ca = authority.file(&project);
    let embly = Embly::run(&project);
    let at = embly.at("web").to_string();
    let connects = |arguments: &[&str]| {
        let ran = Command::new(&openssl)
            .args(["s_client", "-connect", &at, "-servername", "localhost"])
            .args(["-verify_return_error", "-verify_hostname", "localhost"])
            .arg("-CAfile")
            .arg(&ca)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        (ran.status.success(), said)
    };
    // So that a refusal is the server's, the client takes all that it knows.
    let any = ["-cipher", "ALL:@SECLEVEL=0"];
    for (arguments, taken) in [
        (&["-tls1_3"][..], true),
        (&["-tls1_2"], true),
        (&["-tls1_1"], false),
        (&["-tls1"], false),
        (
            &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
            true,
        ),
        (
            &["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
            true,
        ),
        (
            &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
            true,
        ),
        (
            &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"],
            false,
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            true,
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
            true,
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
            true,
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA@SECLEVEL=0"],
            false,
        ),
        (
            &[
                "-tls1_2",
                "-cipher",
                "AES128-GCM-SHA256:AES256-SHA@SECLEVEL=0",
            ],
            false,
        ),
        (&["-tls1_2", "-cipher", "aNULL:eNULL@SECLEVEL=0"], false),
        (&["-groups", "X25519"], true),
        (&["-groups", "P-256"], true),
        (&["-groups", "P-384"], true),
        (&["-groups", "ffdhe2048"], false),
    ] {
        let mut all = arguments.to_vec();
        if !all.contains(&"-cipher") {
            all.extend(any);
        }
        let (connected, said) = connects(&all);
        assert_eq!(connected, taken, "{arguments:?}: {said}");
    }
    let (_, said) = connects(&["-tls1_2"]);
    assert!(said.contains("Compression: NONE"), "{said}");
    for (offered, chosen) in [("h2,http/1.1", "h2"), ("http/1.1", "http/1.1")] {
        let (connected, said) = connects(&["-alpn", offered]);
        assert!(
            connected && said.contains(&format!("ALPN protocol: {chosen}")),
            "{said}"
        );
    }
    // A client that speaks none of them would not understand the rest (RFC 7301, section 3.2).
    assert!(!connects(&["-alpn", "spdy/3"]).0);
}
