//! `websocket` of a route or a gateway.

use std::time::Duration;

use super::codes;
use super::fields::{Field, Fields};
use super::function::World;
use super::problem::{Problem, Problems, quote};
use super::tree::Value;
use super::{GatewayKind, Websocket, limit, schema};

/// The most bytes of a message, where the file does not say.
const MESSAGE: u32 = 1024 * 1024;

/// A control frame always has room.
const MESSAGE_MIN: u64 = 125;

/// A message is held in memory while it arrives.
const MESSAGE_MAX: u64 = 256 * 1024 * 1024;

/// A client that is gone without a word is noticed within twice this time.
const PING: Duration = Duration::from_secs(30);

impl Default for Websocket {
    fn default() -> Self {
        Self {
            message: MESSAGE,
            ping: Some(PING),
            origins: Vec::new(),
            protocols: Vec::new(),
        }
    }
}

/// That of a gateway: always there where it is of this type, and nowhere else.
pub(super) fn of_gateway(
    fields: &Fields<'_>,
    kind: Option<GatewayKind>,
    world: &World<'_>,
    problems: &mut Problems,
) -> Option<Websocket> {
    let field = fields.get("websocket");
    match (kind, field) {
        (Some(GatewayKind::Websocket), None) => Some(Websocket::default()),
        (Some(GatewayKind::Websocket), Some(field)) => match read(field, world, problems) {
            Some(None) => {
                let message = "a gateway of type websocket serves nothing else";
                let problem = Problem::new(&codes::WEBSOCKET, field.span(), message);
                problems.push(problem.help("remove the key, or write `type: http`"));
                None
            }
            read => read.flatten(),
        },
        (Some(kind), Some(field)) => {
            let kind = kind.name();
            let message = format!("`websocket` has no effect on a gateway of type {kind}");
            let span = field.entry.key_span.clone();
            let problem = Problem::new(&codes::WEBSOCKET, span, message);
            problems.push(problem.help("write it in a route, or write `type: websocket`"));
            None
        }
        (None, _) | (_, None) => None,
    }
}

/// That of a route.
pub(super) fn of_route(
    fields: &Fields<'_>,
    world: &World<'_>,
    problems: &mut Problems,
) -> Option<Websocket> {
    let field = fields.get("websocket")?;
    let websocket = read(field, world, problems)??;
    if fields.get("function").is_none() {
        let message = "a WebSocket needs a function";
        let problem = Problem::new(&codes::WEBSOCKET, field.entry.key_span.clone(), message);
        problems.push(problem.help("write `function: NAME` beside it, or remove it"));
    }
    if let Some(methods) = fields.get("methods") {
        let message = "`methods` has no effect on WebSockets";
        let problem = Problem::new(&codes::WEBSOCKET, methods.entry.key_span.clone(), message);
        problems.push(problem.help("remove it: they begin with GET"));
    }
    Some(websocket)
}

/// `Some(None)` is `false`.
fn read(field: Field<'_>, world: &World<'_>, problems: &mut Problems) -> Option<Option<Websocket>> {
    if !matches!(field.entry.value.value, Value::Map(_)) {
        let flag = field.flag(problems)?;
        return Some(flag.then(Websocket::default));
    }
    let fields = Fields::read(&field.entry.value, &schema::WEBSOCKET, problems)?;
    let mut websocket = Websocket::default();
    if let Some(field) = fields.get("message") {
        let (range, why) = ((MESSAGE_MIN, MESSAGE_MAX), "a message is held in memory");
        let message = limit::held(field, range, why, world.machine, problems);
        websocket.message = message.unwrap_or(MESSAGE);
    }
    if let Some(field) = fields.get("ping") {
        websocket.ping = limit::time(field, world.machine, problems).flatten();
    }
    websocket.origins = list(fields.get("origins"), origin, problems);
    websocket.protocols = list(fields.get("protocols"), protocol, problems);
    Some(Some(websocket))
}

/// The items for which `usable` gives a value; it says what to write instead of others.
fn list(
    field: Option<Field<'_>>,
    usable: impl Fn(&str) -> Result<String, &'static str>,
    problems: &mut Problems,
) -> Vec<String> {
    let Some(field) = field else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let items = field.list(problems);
    if items.is_empty() {
        let message = format!("`{}` has no items", field.key.name);
        let problem = Problem::new(&codes::WEBSOCKET, field.span(), message);
        problems.push(problem.help("remove the key, or write some"));
    }
    for item in items {
        let text = match &item.value {
            Value::Scalar(scalar) => &*scalar.text,
            _ => "",
        };
        match usable(text) {
            Ok(value) => found.push(value),
            Err(help) => {
                let what = field.key.name.trim_end_matches('s');
                let article = if what == "origin" { "an" } else { "a" };
                let message = format!("{} is not {article} {what}", quote(text));
                let problem = Problem::new(&codes::WEBSOCKET, item.span.clone(), message);
                problems.push(problem.help(help));
            }
        }
    }
    found
}

/// Scheme and host, with the port if it is not the usual one, as browsers write it.
fn origin(text: &str) -> Result<String, &'static str> {
    let help = "write it as browsers send it, such as `https://example.test`";
    if text == "null" {
        return Ok(text.to_owned());
    }
    let url = url::Url::parse(text).map_err(|_| help)?;
    let bare = url.path() == "/" && !text.ends_with('/') && url.query().is_none();
    match url.origin().ascii_serialization() {
        origin if bare && origin != "null" && url.username().is_empty() => Ok(origin),
        _ => Err(help),
    }
}

/// A token (RFC 6455, section 11.3.4).
fn protocol(text: &str) -> Result<String, &'static str> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !text.is_empty() && text.bytes().all(token) {
        true => Ok(text.to_owned()),
        false => Err("write a name without spaces, such as `chat.v1`"),
    }
}
