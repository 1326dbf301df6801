//! Functions are warned at nine tenths of a limit, so that they can say goodbye.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use support::client::Connection;
use support::{Embly, Project, get};

#[test]
fn a_function_says_goodbye_at_nine_tenths_of_wall() {
    let wall = "    limits: {wall: 3s}";
    let project = Project::new().guest_with("says-goodbye", wall);
    let embly = Embly::run(&project.http("says-goodbye"));
    let response = get(embly.at("says-goodbye"), "/");
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "goodbye at wall")
    );
    let ended = embly.ending("says-goodbye");
    assert_eq!(ended["reason"], "ok");
    assert!(ended["run_us"].as_u64().unwrap() > 2_500_000, "{ended}");
}

#[test]
fn one_that_waits_for_its_client_is_called_back_and_then_ended() {
    let total = "    limits: {total: 2s}";
    let project = Project::new().guest_with("waves", total).tcp("waves");
    let embly = Embly::run(&project);
    let connection = Connection::new(embly.at("waves"));
    let (said, in_order) = connection.rest();
    assert_eq!(String::from_utf8(said).unwrap(), "goodbye at total\n");
    assert!(!in_order, "it did not heed the warning");
    assert_eq!(embly.ending("waves")["reason"], "wall");
}

#[test]
fn one_that_computes_says_goodbye_at_nine_tenths_of_cpu() {
    let cpu = "    limits: {cpu: 1s}";
    let project = Project::new().guest_with("computes", cpu);
    let embly = Embly::run(&project.http("computes"));
    let response = get(embly.at("computes"), "/");
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "goodbye at cpu")
    );
    let ended = embly.ending("computes");
    let used = ended["cpu_us"].as_u64().unwrap();
    assert!((880_000..1_000_000).contains(&used), "{ended}");
}
