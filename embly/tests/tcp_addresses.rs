//! Whom functions may connect to: names, addresses, and what the project file says.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::net::SocketAddr;

use support::client::get;
use support::outbound::{Names, echo, own_network, server};
use support::{Embly, Project};

/// A function that may connect to these.
fn project(entries: &[&str]) -> Project {
    let keys = format!(
        "    allow: {{tcp: [{}]}}\n    limits: {{tcp: {{connect: 2s}}}}",
        entries.join(", ")
    );
    Project::new().guest_with("dials", &keys).http("dials")
}

/// What becomes of a connection to this.
fn dial(embly: &Embly, to: &str) -> String {
    get(embly.at("dials"), &format!("/?plain,{to}")).text()
}

fn opened(at: SocketAddr) -> String {
    format!("opened {at}")
}

#[test]
fn a_function_connects_to_what_its_list_has_and_the_error_names_the_line_to_add() {
    let (at, other) = (server(echo), server(echo));
    let project = project(&[&format!("\"{at}\"")])
        .guest("dials-too")
        .http("dials-too");
    let embly = Embly::run(&project);
    assert_eq!(dial(&embly, &at.to_string()), opened(at));
    let answer = dial(&embly, &other.to_string());
    assert!(answer.starts_with("NotAllowed: "), "{answer}");
    let line = format!("write `tcp: [\"{at}\", \"{other}\"]` under `allow` of function `dials`");
    assert!(answer.contains(&line), "{answer}");
    let answer = get(embly.at("dials-too"), &format!("/?plain,{at}")).text();
    assert!(answer.starts_with("NotAllowed: "), "{answer}");
    let line = format!("add `tcp: [\"{at}\"]` under `allow` of function `dials-too`");
    assert!(answer.contains(&line), "{answer}");
    let ending = embly.event("invocation_ended", |event| event["reason"] == "refused");
    assert_eq!(ending["code"], 2, "{ending}");
}

#[test]
fn an_address_is_one_in_its_usual_form_and_no_other() {
    let at = server(echo);
    let port = at.port();
    let embly = Embly::run(&project(&[
        &format!("\"{at}\""),
        &format!("\"localhost:{port}\""),
    ]));
    for host in [
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "LocalHost",
        "localhost.",
    ] {
        assert_eq!(
            dial(&embly, &format!("{host}:{port}")),
            opened(at),
            "{host}"
        );
    }
    for host in [
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "127.0.0.1%25lo",
        "[::1%25lo]",
        "[::ffff:127.0.0.1%251]",
        "[127.0.0.1]",
    ] {
        let answer = dial(&embly, &format!("{host}:{port}"));
        assert!(answer.starts_with("Invalid: "), "{host}: {answer}");
        assert!(answer.contains("is not a host"), "{host}: {answer}");
    }
    // Other addresses of this machine, and what leads to them, are others.
    for host in [
        "0.0.0.0",
        "[::]",
        "127.0.0.2",
        "[::1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
    ] {
        let answer = dial(&embly, &format!("{host}:{port}"));
        assert!(answer.starts_with("NotAllowed: "), "{host}: {answer}");
    }
}

#[test]
fn addresses_that_nobody_may_reach_are_refused_also_where_they_are_listed() {
    let hosts = [
        "0.0.0.0",
        "[::]",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "[::127.0.0.1]",
        "[2002:7f00:1::]",
        "[2001:0:808:808::80ff:fffe]",
        "[fe80::1]",
        "[ff02::1]",
        "[64:ff9b:1::1]",
    ];
    let entries: Vec<_> = hosts.iter().map(|host| format!("\"{host}:9\"")).collect();
    let entries: Vec<_> = entries.iter().map(String::as_str).collect();
    let embly = Embly::run(&project(&entries));
    for host in hosts {
        let answer = dial(&embly, &format!("{host}:9"));
        assert!(answer.starts_with("NotAllowed: "), "{host}: {answer}");
        assert!(
            answer.contains("no function may connect to that"),
            "{host}: {answer}"
        );
    }
}

#[test]
fn a_name_below_a_wildcard_reaches_private_addresses_only_where_the_entry_says_so() {
    if !own_network(&["169.254.169.254"]) {
        return;
    }
    let at = server(echo);
    let port = at.port();
    let names = Names::new();
    for name in ["a.open.test", "a.closed.test", "exact.closed.test"] {
        names.set(name, &[&["127.0.0.1"]]);
    }
    names.set("mapped.closed.test", &[&["::ffff:127.0.0.1"]]);
    names.set(
        "many.closed.test",
        &[&["10.0.0.1", "127.0.0.1", "192.168.1.1"]],
    );
    names.set("cloud.open.test", &[&["169.254.169.254"]]);
    names.set("bad.open.test", &[&["0.0.0.0"]]);
    let embly = names.run(&project(&[
        &format!("{{address: \"*.open.test:{port}\", private: true}}"),
        &format!("\"*.closed.test:{port}\""),
        &format!("\"exact.closed.test:{port}\""),
        &format!("\"169.254.169.254:{port}\""),
    ]));
    let to = |name: &str| dial(&embly, &format!("{name}:{port}"));
    // What is to be written has all that is there.
    let there = format!(
        "write `tcp: [{{address: \"*.open.test:{port}\", private: true}}, \"*.closed.test:{port}\", \
         \"exact.closed.test:{port}\", \"169.254.169.254:{port}\""
    );
    assert_eq!(to("a.open.test"), opened(at));
    assert_eq!(to("exact.closed.test"), opened(at));
    for (name, what) in [
        ("a.closed.test", "127.0.0.1 is a loopback address"),
        ("mapped.closed.test", "127.0.0.1 is a loopback address"),
        ("many.closed.test", "192.168.1.1 is a private address"),
    ] {
        let answer = to(name);
        assert!(answer.starts_with("NotAllowed: "), "{answer}");
        assert!(answer.contains(what), "{answer}");
        let line = format!("{there}, \"{name}:{port}\"]` under `allow` of function `dials`");
        assert!(answer.contains(&line), "{answer}");
        assert!(answer.contains("`private: true`"), "{answer}");
    }
    // Not even then where a cloud keeps credentials, whatever name leads there …
    let answer = to("cloud.open.test");
    assert!(answer.starts_with("NotAllowed: "), "{answer}");
    let line = format!("{there}, \"169.254.169.254:{port}\"]` under");
    assert!(answer.contains(&line), "{answer}");
    // … but by the number that is listed.
    let answer = to("169.254.169.254");
    assert!(answer.starts_with("Refused: "), "{answer}");
    let answer = to("bad.open.test");
    assert!(
        answer.contains("no function may connect to that"),
        "{answer}"
    );
}

#[test]
fn a_connection_goes_to_the_address_that_was_judged_whatever_the_name_says_next() {
    let at = server(echo);
    let port = at.port();
    let names = Names::new();
    names.set("turns.test", &[&["127.0.0.1"], &["169.254.169.254"]]);
    names.set(
        "mixed.test",
        &[&["169.254.169.254", "0.0.0.0", "127.0.0.1"]],
    );
    let embly = names.run(&project(&[
        &format!("\"turns.test:{port}\""),
        &format!("\"mixed.test:{port}\""),
    ]));
    assert_eq!(dial(&embly, &format!("turns.test:{port}")), opened(at));
    assert_eq!(names.asked("turns.test"), 1);
    // Nothing of it is kept: the next connection is judged by what it says then.
    let answer = dial(&embly, &format!("turns.test:{port}"));
    assert!(answer.starts_with("NotAllowed: "), "{answer}");
    assert_eq!(names.asked("turns.test"), 2);
    for _ in 0..3 {
        assert_eq!(dial(&embly, &format!("mixed.test:{port}")), opened(at));
    }
}

#[test]
fn a_name_that_nobody_knows_is_an_error_in_time() {
    let names = Names::new();
    names.set("empty.test", &[&[]]);
    let list = ["\"missing.test:9\"", "\"empty.test:9\""];
    let embly = names.run(&project(&list));
    for name in ["missing.test", "empty.test"] {
        let answer = dial(&embly, &format!("{name}:9"));
        assert!(answer.starts_with("Name: "), "{answer}");
        assert!(
            answer.contains(&format!("`{name}` does not exist")),
            "{answer}"
        );
    }
    drop(embly);
    // A name server that says nothing.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let names = Names {
        at: silent.local_addr().unwrap(),
        ..Names::new()
    };
    let embly = names.run(&project(&list));
    let answer = dial(&embly, "missing.test:9");
    assert!(answer.starts_with("Timeout: "), "{answer}");
}

#[test]
fn a_wrong_name_server_is_said_at_the_start() {
    let project = project(&["\"a.test:9\""]);
    let path = project.path().to_str().unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let started = support::command(&["run", path, "--bind", "127.0.0.1:0"], runtime.path())
        .env("EMBLY_DNS", "dns.example")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&started.stderr);
    assert!(!started.status.success());
    assert!(stderr.contains("EMBLY_DNS=192.0.2.1:53"), "{stderr}");
}
