//! Names and addresses: what is checked is what is then connected to.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use super::servers::{Names, Site, Speaks, answer};
use super::support::outbound::own_network;
use super::support::{Embly, Project};
use super::{Ask, assert_fails, get, project};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// An address of the internet, which is this machine's in the network of a test: nothing is sent to it.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

fn site() -> Site {
    Site::new(Speaks::One, |request| async move {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        answer(200, host)
    })
}

/// A master that asks this name server.
fn embly(project: &Project, names: &Names) -> Embly {
    let runtime = tempfile::tempdir().unwrap();
    let mut command = super::support::command(&[], runtime.path());
    command.env("EMBLY_DNS", names.at.to_string());
    command.args(super::support::arguments("run", project.path()));
    Embly::spawn(command, runtime, project.gateways())
}

#[test]
fn an_exact_name_may_be_a_private_address_and_a_wildcard_only_where_its_entry_says_so() {
    let site = site();
    let port = site.at.port();
    let names = Names::new(|_, _| vec![HERE]);
    for (allow, reaches) in [
        (format!("\"http://api.test:{port}/\""), true),
        (format!("\"http://*.test:{port}/\""), false),
        (
            format!("{{url: \"http://*.test:{port}/\", private: true}}"),
            true,
        ),
        (
            format!("\"http://*.test:{port}/\", \"http://api.test:{port}/\""),
            true,
        ),
    ] {
        let embly = embly(&project(&allow, ""), &names);
        let ask = Ask::new(&embly, "GET", &format!("http://API.test.:{port}/"));
        if reaches {
            assert_eq!(ask.send().text(), format!("api.test:{port}"), "{allow}");
        } else {
            assert_fails(
                ask,
                "NotAllowed",
                &format!("{{url: \"http://api.test:{port}/\", private: true}}"),
            );
        }
    }
}

#[test]
fn a_name_that_changes_between_check_and_use_leads_nowhere_else() {
    if !own_network(&["1.1.1.1"]) {
        return;
    }
    let site = site();
    let port = site.at.port();
    // In turn somebody on the internet, and this machine.
    let names = Names::new(|_, n| vec![if n.is_multiple_of(2) { PUBLIC } else { HERE }]);
    let allow = format!("\"http://*.test:{port}/\"");
    let embly = embly(&project(&allow, "connect: 300ms"), &names);
    for n in 0..6 {
        // Another name each time, since answers are kept for a moment.
        let (kind, text) =
            Ask::new(&embly, "GET", &format!("http://n{}.test:{port}/", n / 2)).fails();
        assert!(
            ["NotAllowed", "Timeout", "Connect"].contains(&&*kind),
            "{kind}: {text}"
        );
    }
    assert!(names.asked.load(Ordering::SeqCst) >= 3);
    assert_eq!(site.seen.connections(), 0);
}

#[test]
fn of_several_addresses_only_those_are_tried_that_are_allowed() {
    if !own_network(&["1.1.1.1"]) {
        return;
    }
    let site = site();
    let port = site.at.port();
    let names = Names::new(|_, _| vec![HERE, PUBLIC, HERE]);
    let allow = format!("\"http://*.test:{port}/\"");
    let embly = embly(&project(&allow, "connect: 300ms"), &names);
    let (kind, text) = Ask::new(&embly, "GET", &format!("http://mixed.test:{port}/")).fails();
    assert!(["Timeout", "Connect"].contains(&&*kind), "{kind}: {text}");
    assert_eq!(site.seen.connections(), 0);
}

#[test]
fn names_of_metadata_services_are_refused_whatever_the_entry_says() {
    let names = Names::new(|_, _| vec![METADATA]);
    for port in ["", ":8080"] {
        let allow = format!("{{url: \"http://metadata.test{port}/\", private: true}}");
        let embly = embly(&project(&allow, ""), &names);
        let ask = Ask::new(&embly, "GET", &format!("http://metadata.test{port}/"));
        let line = format!("write `http: [{allow}, \"http://169.254.169.254{port}/\"]` under");
        assert_fails(ask, "NotAllowed", &line);
    }
}

#[test]
fn names_that_do_not_exist_or_are_not_answered_are_told_apart() {
    let names = Names::new(|_, _| Vec::new());
    let embly = embly(&project("\"http://*.test/\"", ""), &names);
    assert_fails(
        Ask::new(&embly, "GET", "http://none.test/"),
        "Dns",
        "none.test",
    );
}

#[test]
fn other_spellings_of_an_address_are_the_address_and_no_way_around_the_list() {
    let site = site();
    let port = site.at.port();
    let spellings = [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "017700000001",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
    ];
    // Written as it is: any spelling of it is covered, and leads there.
    let listed = Embly::run(&project(&format!("\"http://127.0.0.1:{port}/\""), ""));
    for spelling in spellings {
        let response = raw_get(&listed, &format!("http://{spelling}:{port}/"));
        assert!(
            response.contains(&format!("127.0.0.1:{port}")),
            "{spelling}: {response}"
        );
    }
    let before = site.seen.connections();
    // Not written: no spelling of it leads there, nor of what means the same.
    let allow = format!("\"http://*.example.com:{port}/\", \"http://example.com:{port}/\"");
    let other = Embly::run(&project(&allow, ""));
    let more = [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1%25lo]",
        "[::1%25lo]",
        "localhost",
        "0",
        "0.0.0.0",
        "[::]",
    ];
    for spelling in spellings.into_iter().chain(more) {
        let said = raw_get(&other, &format!("http://{spelling}:{port}/"));
        assert!(said.contains("status: refused"), "{spelling}: {said}");
    }
    assert_eq!(site.seen.connections(), before);
}

/// Asks by the bytes of the protocol: the SDK's own types take fewer URLs than the service.
fn raw_get(embly: &Embly, url: &str) -> String {
    use prost::Message;
    let request = protos::services::http::Request {
        method: "GET".to_owned(),
        url: url.to_owned(),
        ..Default::default()
    };
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap();
    let bytes = [&length.to_le_bytes()[..], &message].concat();
    super::support::client::post(embly.at("spawns"), "/embly/http", &bytes).text()
}

#[test]
fn this_machine_by_its_name_needs_an_exact_entry() {
    let site = site();
    let port = site.at.port();
    let embly = Embly::run(&project(&format!("\"http://localhost:{port}/\""), ""));
    assert_eq!(
        get(&embly, &format!("http://LOCALHOST:{port}/")).text(),
        format!("localhost:{port}")
    );
    let other = Ask::new(&embly, "GET", &format!("http://x.localhost:{port}/"));
    assert_fails(other, "NotAllowed", "x.localhost");
}
