//! What holds for every service: how it is called, what it may be told, how a call ends.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;

use support::client::{connect, get, post, put, reset};
use support::{Embly, Project};

const ALL: &str = "    allow: {kv: [{store: default}]}";

fn project() -> Project {
    let project = Project::new()
        .guest_with("calls-services", ALL)
        .http("calls-services");
    project
        .guest_with("keeps", ALL)
        .http("keeps")
        .store("name: default, type: kv")
}

fn call(embly: &Embly, what: &str, request: &[u8]) -> String {
    post(embly.at("calls-services"), &format!("/{what}"), request).text()
}

#[test]
fn an_unknown_service_is_refused_by_name() {
    let embly = Embly::run(&project());
    let said = call(&embly, "embly/kv/got", b"");
    assert!(
        said.starts_with("refused 44 there is no service `embly/kv/got`; there are `embly/"),
        "{said}"
    );
}

#[test]
fn a_call_is_an_invocation_with_an_address_a_parent_and_an_ending() {
    let embly = Embly::run(&project());
    put(embly.at("keeps"), "/a", b"value");
    assert_eq!(call(&embly, "embly/kv/get", b"a"), "ok 0 : value");
    let started = embly.event("invocation_started", |event| {
        event["function"] == "embly/kv/get"
    });
    let ended = embly.event("invocation_ended", |event| {
        event["address"] == started["address"]
    });
    assert_eq!(
        (&ended["reason"], &ended["bytes_in"]),
        (&"ok".into(), &1.into())
    );
    assert_eq!(ended["bytes_out"], 5);
    let parent = embly.event("invocation_started", |event| {
        event["address"] == started["parent"]
    });
    assert_eq!(parent["function"], "calls-services");
    assert_eq!(parent["request_id"], started["request_id"]);
}

#[test]
fn a_call_takes_limits_of_time_and_no_arguments_environment_or_life_of_its_own() {
    let embly = Embly::run(&project());
    for (option, why) in [
        ("args", "refused 28 a service takes no arguments"),
        ("env", "refused 28 a service takes no arguments"),
        ("detached", "refused 28 a service cannot be detached"),
        ("kill", "killed 0 killed by its parent"),
        ("wall", "wall 0 limit `wall` reached: 100ms"),
        ("idle", "idle 0 limit `idle` reached: 100ms"),
    ] {
        let said = call(&embly, &format!("embly/kv/get?{option}"), b"");
        assert!(said.starts_with(why), "{option}: {said}");
    }
}

#[test]
fn a_function_at_the_deepest_level_still_calls_services() {
    let keys = format!("{ALL}\n    limits: {{depth: 3}}");
    let project = project().guest_with("digs", &keys).tcp("digs");
    let embly = Embly::run(&project);
    put(embly.at("keeps"), "/deep", b"down here");
    let mut client = connect(embly.at("digs"));
    client.write_all(b"go").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "down here");
}

#[test]
fn calls_count_as_children_and_nothing_of_them_stays() {
    let project = project().guest_with("opens", ALL).http("opens");
    let mut embly = Embly::run(&project);
    for _ in 0..3 {
        let said = get(embly.at("opens"), "/").text();
        assert!(
            said.starts_with("64 ") && said.contains("children"),
            "{said}"
        );
    }
    embly.stops_with_nothing_left();
}

#[test]
fn a_call_ends_with_its_caller() {
    let project = project().guest_with("script", ALL).tcp("script");
    let embly = Embly::run(&project);
    let mut client = connect(embly.at("script"));
    client
        .write_all(b"x-do: call embly/kv/get; sleep 60000\r\n\r\n")
        .unwrap();
    let started = embly.event("invocation_started", |event| {
        event["function"] == "embly/kv/get"
    });
    // A reset ends the function, and so the call.
    reset(client);
    let ended = embly.event("invocation_ended", |event| {
        event["address"] == started["address"]
    });
    assert_eq!(ended["reason"], "parent_ended");
}
