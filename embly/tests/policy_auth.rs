//! Who asks: passwords, tokens, and signed tokens.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use ring::{hmac, rand::SystemRandom};
use serde_json::{Value, json};
use support::client::{Response, request};
use support::{Embly, Project, eventually};

/// `embly hash` with this on standard input: its lines on standard output.
fn hash(arguments: &[&str], input: &str) -> Vec<String> {
    let runtime = tempfile::tempdir().unwrap();
    let mut command = support::command(&["hash"], runtime.path());
    let output = support::output_for(command.args(arguments), input);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn project(auth: &str) -> Project {
    let keys = format!(
        "    port: 0\n    auth: {auth}\n    function: shows\n    routes:\n      \
         - {{path: '/files/{{file...}}', files: {{root: ./public}}}}\n      \
         - {{path: /open, function: shows, auth: none}}"
    );
    let project = Project::new().guest("shows").gateway_with("web", &keys);
    project.write("public/a.txt", "file");
    project
}

fn get(at: SocketAddr, path: &str, headers: &[&str]) -> Response {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    request(
        at,
        format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n"),
    )
}

fn basic(user: &str, password: &str) -> String {
    format!(
        "authorization: Basic {}",
        STANDARD.encode(format!("{user}:{password}"))
    )
}

/// The value of a header of the request that the function got.
fn told(answer: &Response, name: &str) -> Option<String> {
    let text = answer.text();
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(other, _)| *other == name)
        .map(|(_, value)| value.to_owned())
}

#[test]
fn who_knows_the_password_passes_and_nobody_else() {
    let hashed = hash(&[], "open: sesame\n");
    let project = project(&format!(
        "{{basic: {{realm: staff, users: {{alice: \"{}\"}}}}}}",
        hashed[0]
    ));
    let embly = Embly::run(&project);
    let at = embly.at("web");
    let right = basic("alice", "open: sesame");
    // The second time it is remembered.
    for _ in 0..2 {
        let answer = get(at, "/", &[&right, "embly-user: root"]);
        assert_eq!(answer.status, 200);
        assert_eq!(told(&answer, "embly-user").as_deref(), Some("alice"));
        let text = answer.text().to_lowercase();
        assert!(
            !text.contains("authorization") && !text.contains("root"),
            "{text}"
        );
    }
    assert_eq!(get(at, "/files/a.txt", &[&right]).status, 200);
    assert_eq!(get(at, "/open", &[]).status, 200);
    let long = format!("authorization: Basic {}", "A".repeat(40_000));
    for wrong in [
        &basic("alice", "open: sesam"),
        &basic("alice", ""),
        &basic("bob", "open: sesame"),
        &basic("", "open: sesame"),
        "x: no header at all",
        "authorization: Basic",
        "authorization: Basic %%%",
        "authorization: Basic YWxpY2U=",
        "authorization: Basic gICAgA==",
        "authorization: Bearer b3Blbg==",
        &format!("{right}\r\n{right}"),
        &long,
    ] {
        for path in ["/", "/files/a.txt"] {
            let answer = get(at, path, &[wrong]);
            assert_eq!(answer.status, 401, "{path}");
            assert_eq!(
                answer.header("www-authenticate"),
                Some("Basic realm=\"staff\", charset=\"UTF-8\"")
            );
        }
    }
    let log = format!("{:?}{}", embly.events(), embly.stderr());
    let secret = STANDARD.encode("alice:open: sesame");
    assert!(!log.contains("sesame") && !log.contains(&secret) && !log.contains("argon2"));
}

#[test]
fn who_has_a_token_passes_and_nobody_else() {
    let made = hash(&["--token"], "");
    let (token, hashed) = (&made[0], &made[1]);
    assert!(token.len() >= 43 && hashed.starts_with("sha256:"));
    let embly = Embly::run(&project(&format!("{{bearer: [\"{hashed}\"]}}")));
    let at = embly.at("web");
    let answer = get(at, "/", &[&format!("authorization: bEARER {token}")]);
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains(token.as_str()));
    let none = get(at, "/", &[]);
    assert_eq!(
        (none.status, none.header("www-authenticate")),
        (401, Some("Bearer"))
    );
    for wrong in ["x", "", hashed, &format!("{token}x"), &token[1..]] {
        let answer = get(at, "/", &[&format!("authorization: Bearer {wrong}")]);
        assert_eq!(answer.status, 401, "{wrong}");
    }
    assert!(!format!("{:?}", embly.events()).contains(token.as_str()));
}

/// What signs tokens in these tests.
struct Signers {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    secret: [u8; 32],
}

/// Signed elsewhere: for `api`, by `https://id.test`, for `rita`, until the year 3000.
const RSA: (&str, &str) = (
    "rayap7D2RYAomo55wWWindmAEbuVtmNSdGWiYDTbVpWZG0p6rB2Am5g2GPAokT_qU_QPhd8J-Xl0VTFGNGeZEpeZ4kAIOf3uCOcmrAerHb4O_3N6q3GBosa5CUrZXTTvDxTjwbpDxgikGqu1rP0hh4tycXnUVkskrWT5LK0uhWZLWlW7T-LsAgHZOUVBlgchw8J-YqD2hfQsIA8wefBd4RbDoGnrrZCdJQPLdVyk-526Valbcx0Xl3TiHsr8JADnHFetd97T4fPjdbkTQK8w1K4u-QVL-1Hy_5FM9Qv2iosWbEJaN1o2kC3ClRZCDIbN8R8YI-mPWsDFfK6pQX6vQQ",
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJyaXRhIiwiYXVkIjoiYXBpIiwiaXNzIjoiaHR0cHM6Ly9pZC50ZXN0IiwiZXhwIjozMjUwMzY4MDAwMH0.RZJHXzHLtbwt_SBTeWy1itwrWJrRUyt_loPiveF-VGi2T-YlZd9PVwzFeigztXiCX8mh-83wjbNihUbcV0nLk_b80ywsfsmVZEEogtM8m6EhbaLsXl6cuvezEJ6AjVnacXYGDUSMbS3ctQLKVArgEqrHu-n26L-EgfMHn2wEI2JmJZHCm46cOGUonhXPNxv547DfZVjqtPUU-m7Ux-26hmee6WAGo6Ci_IysTxCT46VIWXaPnY159_PVnCPA4sTiJlh4GUBwrfKCA70RMxwcftQlQYlLrc0i19rN4M-1v9LAuPBqkaydxJIft08nG97wAOHZSrUuTGCYfto1LqnHXA",
);

fn encoded(value: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(value)
}

impl Signers {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let ec = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            ec: EcdsaKeyPair::from_pkcs8(algorithm, ec.as_ref(), &random).unwrap(),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
            secret: [7; 32],
        }
    }

    fn keys(&self) -> String {
        let point = self.ec.public_key().as_ref();
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "ec", "x": encoded(&point[1..33]), "y": encoded(&point[33..])},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encoded(self.ed.public_key())},
            {"kty": "oct", "kid": "hs", "k": encoded(self.secret)},
            {"kty": "RSA", "kid": "rsa", "n": RSA.0, "e": "AQAB"},
            {"kty": "future", "kid": "what"},
        ]})
        .to_string()
    }

    fn sign(&self, algorithm: &str, kid: Option<&str>, claims: &Value) -> String {
        let mut header = json!({"alg": algorithm});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        let text = format!(
            "{}.{}",
            encoded(header.to_string()),
            encoded(claims.to_string())
        );
        let signed = match algorithm {
            "ES256" => self
                .ec
                .sign(&SystemRandom::new(), text.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            "EdDSA" => self.ed.sign(text.as_bytes()).as_ref().to_vec(),
            "HS256" => hs256(&self.secret, &text),
            _ => Vec::new(),
        };
        format!("{text}.{}", encoded(signed))
    }
}

fn hs256(secret: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims =
        json!({"sub": "ann", "aud": ["api"], "iss": "https://id.test", "exp": now() + 600});
    change(&mut claims);
    claims
}

/// A gateway that takes tokens of the signers.
fn with_keys() -> (Signers, Project, Embly) {
    let signers = Signers::new();
    let project = project(
        "{jwt: {keys: ./jwks.json, issuer: 'https://id.test', audience: api, algorithms: [RS256, ES256, EdDSA, HS256]}}",
    );
    project.write("jwks.json", &signers.keys());
    let embly = Embly::run(&project);
    (signers, project, embly)
}

fn with_token(at: SocketAddr, token: &str) -> Response {
    get(at, "/", &[&format!("authorization: Bearer {token}")])
}

#[test]
fn a_token_that_is_signed_by_a_key_of_the_set_passes() {
    let (signers, _project, embly) = with_keys();
    let at = embly.at("web");
    for (algorithm, kid) in [
        ("ES256", Some("ec")),
        ("EdDSA", Some("ed")),
        ("HS256", Some("hs")),
        ("ES256", None),
    ] {
        let said = claims(|claims| claims["sub"] = "an\r\nn: é".into());
        let answer = with_token(at, &signers.sign(algorithm, kid, &said));
        assert_eq!(answer.status, 200, "{algorithm}");
        // One line, whatever it says.
        assert_eq!(
            told(&answer, "embly-user").as_deref(),
            Some("an%0D%0An:%20%C3%A9")
        );
        let shown = URL_SAFE_NO_PAD
            .decode(told(&answer, "embly-claims").unwrap())
            .unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&shown).unwrap(), said);
        assert!(!answer.text().to_lowercase().contains("authorization"));
    }
    let rita = with_token(at, RSA.1);
    assert_eq!(told(&rita, "embly-user").as_deref(), Some("rita"));
    // Clocks differ.
    for change in [("exp", now() - 30), ("nbf", now() + 30)] {
        let said = claims(|claims| claims[change.0] = change.1.into());
        assert_eq!(
            with_token(at, &signers.sign("ES256", Some("ec"), &said)).status,
            200
        );
    }
}

#[test]
fn a_token_that_is_forged_old_or_for_somebody_else_does_not_pass() {
    let (signers, _project, embly) = with_keys();
    let at = embly.at("web");
    let good = claims(|_| {});
    let es = |said: &Value| signers.sign("ES256", Some("ec"), said);
    assert_eq!(with_token(at, &es(&good)).status, 200);
    let text = |header: Value| {
        format!(
            "{}.{}",
            encoded(header.to_string()),
            encoded(good.to_string())
        )
    };
    // The public key as the secret of HS256, which a careless check would take.
    let confused = text(json!({"alg": "HS256", "kid": "ec"}));
    let confused = format!(
        "{confused}.{}",
        encoded(hs256(signers.ec.public_key().as_ref(), &confused))
    );
    let rsa = text(json!({"alg": "HS256", "kid": "rsa"}));
    let rsa = format!("{rsa}.{}", encoded(hs256(RSA.0.as_bytes(), &rsa)));
    let signed = es(&good);
    let (front, signature) = signed.rsplit_once('.').unwrap();
    let other = es(&claims(|claims| claims["sub"] = "root".into()));
    let mut tokens = vec![
        format!("{}.", text(json!({"alg": "none"}))),
        format!("{}.", text(json!({"alg": "None", "kid": "ec"}))),
        format!("{}.{signature}", text(json!({"alg": "none", "kid": "ec"}))),
        confused,
        rsa,
        signers.sign("ES256", Some("what"), &good),
        signers.sign("ES256", Some("unknown"), &good),
        signers.sign("ES256", Some("ed"), &good),
        signers.sign("ES512", Some("ec"), &good),
        Signers::new().sign("ES256", Some("ec"), &good),
        front.to_owned(),
        format!("{front}."),
        format!("{}.{signature}", other.rsplit_once('.').unwrap().0),
        format!("{signed}.x"),
        "...".to_owned(),
        "x".repeat(30_000),
    ];
    let changes: [(&str, Value); 12] = [
        ("exp", (now() - 120).into()),
        ("exp", Value::Null),
        ("exp", "32503680000".into()),
        ("nbf", (now() + 120).into()),
        ("nbf", "0".into()),
        ("aud", "other".into()),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("aud", json!({"api": 1})),
        ("iss", "https://evil.test".into()),
        ("iss", Value::Null),
        ("iss", json!({"https://id.test": 1})),
    ];
    tokens.extend(changes.map(|(name, value)| es(&claims(|claims| claims[name] = value))));
    for token in tokens {
        let answer = with_token(at, &token);
        assert_eq!(answer.status, 401, "{token}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer error=\"invalid_token\"")
        );
    }
    assert!(!format!("{:?}", embly.events()).contains(&signed));
}

#[test]
fn a_key_set_that_changes_counts_and_one_that_is_broken_leaves_the_old_one() {
    let (old, new) = (Signers::new(), Signers::new());
    let project = project("{jwt: {keys: ./jwks.json}}");
    project.write("jwks.json", &old.keys());
    let embly = Embly::run(&project);
    let at = embly.at("web");
    let said = json!({"exp": now() + 600});
    let (of_old, of_new) = (
        old.sign("ES256", Some("ec"), &said),
        new.sign("ES256", Some("ec"), &said),
    );
    // HS256 is not meant where nobody says so.
    assert_eq!(
        with_token(at, &old.sign("HS256", Some("hs"), &said)).status,
        401
    );
    assert_eq!(with_token(at, &of_old).status, 200);
    assert_eq!(with_token(at, &of_new).status, 401);
    project.write("jwks.json", "{\"keys\": [");
    eventually("the warning", || {
        assert_eq!(with_token(at, &of_old).status, 200);
        embly.stderr().contains("stays as it was")
            || format!("{:?}", embly.events()).contains("stays as it was")
    });
    project.write("jwks.json", &new.keys());
    eventually("the new keys", || with_token(at, &of_new).status == 200);
    assert_eq!(with_token(at, &of_old).status, 401);
}
