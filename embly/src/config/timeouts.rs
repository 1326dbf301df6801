//! `timeouts` of a gateway: how long clients are waited for.

use std::time::Duration;

use super::fields::{Field, Fields};
use super::function::World;
use super::problem::{Problem, Problems};
use super::{GatewayKind, codes, limit, schema};
use crate::limits::Span;

/// A client gets this long for the head of a request: a slow one on a bad line sends it in a few
/// seconds.
const HEAD: Duration = Duration::from_secs(30);

/// A client that sends a body is silent no longer than this, unless it has gone.
const BODY: Duration = Duration::from_secs(60);

/// A connection on which nothing is asked is kept so long: somebody who reads a page goes on by then.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Each connection is looked at so often, while it is quiet.
const LEAST: Duration = Duration::from_millis(100);

/// How long a gateway waits for its clients, in each part of a request. `None`: without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request until its head is whole.
    pub head: Option<Duration>,
    /// Without a byte of its body, where there is room for one.
    pub body: Option<Duration>,
    /// Without a byte of the response that could be handed to the client. Where it is not set, the
    /// limit `idle` of functions holds alone.
    pub response: Span,
    /// Without a request.
    pub keep_alive: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Some(HEAD),
            body: Some(BODY),
            response: Span::Default,
            keep_alive: Some(KEEP_ALIVE),
        }
    }
}

impl Timeouts {
    /// Only those that count before it is known whom a request is for.
    pub(super) fn of_connection(self) -> Self {
        Self {
            head: self.head,
            keep_alive: self.keep_alive,
            ..Self::default()
        }
    }
}

/// Reads the key; what is wrong, or missing, is as where nothing is said.
pub(super) fn read(
    fields: &Fields<'_>,
    kind: Option<GatewayKind>,
    world: &World<'_>,
    problems: &mut Problems,
) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let Some(whole) = fields.get("timeouts") else {
        return timeouts;
    };
    if kind == Some(GatewayKind::Tcp) {
        no_effect(whole, GatewayKind::Tcp, problems);
    }
    let Some(fields) = Fields::read(&whole.entry.value, &schema::TIMEOUTS, problems) else {
        return timeouts;
    };
    for field in fields.iter() {
        let name = field.key.name;
        if kind == Some(GatewayKind::Websocket) && ["body", "response"].contains(&name) {
            no_effect(field, GatewayKind::Websocket, problems);
        }
        let Some(time) = limit::time(field, world.machine, problems) else {
            continue;
        };
        if ["head", "keep_alive"].contains(&name) && time.is_some_and(|time| time < LEAST) {
            too_short(field, problems);
            continue;
        }
        match name {
            "head" => timeouts.head = time,
            "body" => timeouts.body = time,
            "response" => timeouts.response = time.map_or(Span::None, Span::Of),
            "keep_alive" => timeouts.keep_alive = time,
            name => debug_assert!(false, "{name} is in the table but not read"),
        }
    }
    timeouts
}

fn too_short(field: Field<'_>, problems: &mut Problems) {
    let (key, text) = (
        field.key.name,
        field.scalar("a time", problems).unwrap_or_default(),
    );
    let message = format!("the limit `{key}: {text}` is too short");
    let problem = Problem::new(&codes::LIMIT_VALUE, field.span(), message);
    problems.push(problem.help("write at least `100ms`, or `none` for no limit"));
}

fn no_effect(field: Field<'_>, kind: GatewayKind, problems: &mut Problems) {
    let (key, kind) = (field.key.name, kind.name());
    let message = format!("`{key}` has no effect on a gateway of type {kind}");
    let span = field.entry.key_span.clone();
    let problem = Problem::new(&codes::HTTP_ONLY, span, message);
    problems.push(problem.help("remove it; `limits: {idle: …}` of the function counts there"));
}
