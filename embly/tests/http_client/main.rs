//! The service `embly/http`, as functions use it, against servers that the tests start.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod addresses;
mod bodies;
mod faults;
mod limits;
mod pool;
mod redirects;
mod requests;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod tls;

use std::net::SocketAddr;

use support::client::Response;
use support::{Embly, Project};

/// A project whose function `asks` may ask for these, and has these limits; and so `spawns`, which
/// takes the bytes of the protocol.
fn project(allow: &str, limits: &str) -> Project {
    let project = project_of("asks", allow, limits);
    project
        .guest_with("spawns", &keys(allow, limits))
        .http("spawns")
}

fn project_of(guest: &str, allow: &str, limits: &str) -> Project {
    Project::new()
        .guest_with(guest, &keys(allow, limits))
        .http(guest)
}

fn keys(allow: &str, limits: &str) -> String {
    let body = "request_body: none, children: none";
    format!("    allow: {{http: [{allow}]}}\n    limits: {{{body}, http: {{{limits}}}}}")
}

/// What a function is told to ask.
struct Ask {
    at: SocketAddr,
    head: String,
    body: Vec<u8>,
}

impl Ask {
    fn new(embly: &Embly, method: &str, url: &str) -> Self {
        Self::by(embly.at("asks"), method, url)
    }

    fn by(at: SocketAddr, method: &str, url: &str) -> Self {
        let head = format!("x-method: {method}\r\nx-url: {url}\r\n");
        let body = Vec::new();
        Self { at, head, body }
    }

    /// A header of the request to the function: `x-h-NAME` goes on as NAME.
    fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    fn whole(self, body: &[u8]) -> Self {
        self.with(body, "whole")
    }

    fn streamed(self, body: &[u8]) -> Self {
        self.with(body, "stream")
    }

    fn with(mut self, body: &[u8], mode: &str) -> Self {
        self.body = body.to_vec();
        self.header("x-mode", mode)
    }

    fn send(self) -> Response {
        let Self { at, head, body } = self;
        let length = body.len();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{head}content-length: {length}\r\n\r\n"
        );
        support::client::request(at, [head.as_bytes(), &body].concat())
    }

    /// What went wrong before there was a response.
    fn fails(self) -> (String, String) {
        let response = self.send();
        assert_eq!(response.status, 599, "{response:?}");
        let kind = response.header("x-kind").unwrap().to_owned();
        (kind, response.text())
    }
}

/// `GET`.
fn get(embly: &Embly, url: &str) -> Response {
    Ask::new(embly, "GET", url).send()
}

/// Asserts how it fails, and what the message says.
#[track_caller]
fn assert_fails(ask: Ask, kind: &str, says: &str) {
    let (said, text) = ask.fails();
    assert_eq!(said, kind, "{text}");
    assert!(text.contains(says), "{text}");
}
