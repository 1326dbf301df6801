//! WebSockets: the handshake, messages both ways, and how they end.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use support::client::get;
use support::websocket::{BINARY, CLOSE, CONTINUE, PING, PONG, Raw, TEXT, close, part, whole};
use support::{Embly, Project};

/// A gateway `web` with a route `/socket` for the guest `socket`, and these settings.
fn serve(settings: &str, limits: &str) -> Embly {
    let keys = format!(
        "    port: 0\n    routes:\n      - {{path: /socket, function: socket, websocket: {settings}}}"
    );
    let project = Project::new()
        .guest_with("socket", limits)
        .gateway_with("web", &keys);
    Embly::run(&project)
}

#[test]
fn messages_are_echoed_each_in_its_kind() {
    let embly = serve("true", "");
    let mut raw = Raw::open(embly.at("web"), "/socket");
    for frame in [
        whole(TEXT, "hello"),
        whole(BINARY, [0, 255]),
        whole(TEXT, ""),
    ] {
        raw.send(&[frame.clone()]);
        assert_eq!(raw.frame(), frame);
    }
    raw.send(&[close(1000, "bye")]);
    assert_eq!(raw.closed(), (1000, "bye".to_owned()));
    let access = embly.event("access", |_| true);
    assert_eq!(access["status"], 101);
    let ended = embly.ending("socket");
    assert_eq!(ended["reason"], "ok");
}
