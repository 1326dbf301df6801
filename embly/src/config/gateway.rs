//! One gateway of the file, and which of them cannot be together.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use super::access_log::{self, Files};
use super::codes;
use super::fields::{Field, Fields};
use super::function::World;
use super::problem::{Problem, Problems, quote};
use super::tree::Node;
use super::{
    Bind, Gateway, GatewayKind, Proxies, Timeouts, policy, route, suggest, timeouts, transport,
    websocket,
};
use crate::routes::HostPattern;

/// Where a gateway listens if the file does not say: not reachable from other machines.
const BIND: Bind = Bind::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// Places that gateways took so far, by port, or by what has none.
#[derive(Default)]
pub(super) struct Taken {
    places: HashMap<Key, Vec<Place>>,
    /// Files of the state folder.
    pub files: Files,
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    Port(u16),
    Without(Bind),
}

/// Where a gateway listens, and for whom.
struct Place {
    bind: Bind,
    span: Range<usize>,
    kind: GatewayKind,
    hosts: Vec<HostPattern>,
    before: Before,
}

/// What comes before HTTP, and is the same for all gateways at one socket.
#[derive(PartialEq)]
struct Before {
    tls: bool,
    proxies: Proxies,
    proxy_protocol: bool,
    /// Only those that count before a host is known.
    timeouts: Timeouts,
}

/// `None` if something is wrong, and reported. `functions` is `None` when their names are
/// not known.
pub(super) fn read(
    (item, fields): (&Node, &Fields<'_>),
    name: Option<&str>,
    functions: Option<&[&str]>,
    world: &World<'_>,
    taken: &mut Taken,
    problems: &mut Problems,
) -> Option<Gateway> {
    let kind = fields.get("type").and_then(|field| kind(field, problems));
    let bind = match fields.get("bind") {
        Some(field) => transport::bind(field, world.root, problems),
        None => Some(BIND),
    };
    let port = match &bind {
        Some(Bind::Unix(_) | Bind::Systemd(_)) => {
            if let Some(field) = fields.get("port") {
                let message = "this gateway listens on a socket without a port";
                let span = field.entry.key_span.clone();
                let problem = Problem::new(&codes::SOCKET_PORT, span, message);
                problems.push(problem.help("remove `port`, or write `bind: 127.0.0.1`"));
            }
            Some(0)
        }
        // One that is wrong may have been meant to have none.
        Some(Bind::Ip(_)) | None => {
            if bind.is_some() {
                fields.need("port", item, problems);
            }
            fields.get("port").and_then(|field| port(field, problems))
        }
    };
    let rules = policy::KEYS.into_iter().map(|key| (key, None));
    let keys = [
        ("hosts", None),
        ("routes", Some(GatewayKind::Websocket)),
        ("health", Some(GatewayKind::Websocket)),
    ];
    for (key, only) in keys.into_iter().chain(rules) {
        let blind = kind.filter(|kind| *kind == GatewayKind::Tcp || Some(*kind) == only);
        if let (Some(field), Some(kind)) = (fields.get(key), blind) {
            let kind = kind.name();
            let message = format!("`{key}` has no effect on a gateway of type {kind}");
            let span = field.entry.key_span.clone();
            let problem = Problem::new(&codes::HTTP_ONLY, span, message);
            problems.push(problem.help("remove it, or write `type: http`"));
        }
    }
    let websocket = websocket::of_gateway(fields, kind, world, problems);
    let hosts = fields.get("hosts");
    let hosts = hosts.map_or_else(Vec::new, |field| route::hosts(field, problems));
    let function = fields.get("function");
    let policy = policy::read(fields, functions, None, world, problems);
    let beside = route::Beside {
        functions,
        world,
        policy: &policy,
        function: function.map(|field| field.entry.key_span.clone()),
    };
    let function = function.map(|field| function_name(field, functions, problems));
    let routes = fields.get("routes");
    let routes = routes.map(|field| route::routes(field, &beside, problems));
    let only_function = matches!(kind, Some(GatewayKind::Tcp | GatewayKind::Websocket));
    if function.is_none() && (routes.is_none() || only_function) {
        let title = name.map_or("a gateway".to_owned(), |name| format!("gateway `{name}`"));
        let message = format!("{title} leads nowhere");
        let problem = Problem::new(&codes::ROUTE_TARGET, item.span.clone(), message);
        problems.push(problem.help("write `function: NAME`"));
    }
    let tls = fields.get("tls");
    let tls = tls.map(|field| transport::tls(field, world.root, problems));
    let (proxies, proxy_protocol) = transport::proxies(fields, kind, problems);
    let timeouts = timeouts::read(fields, kind, world, problems);
    let access_log = access_log::read(fields, kind, &mut taken.files, problems);
    let health = fields.get("health");
    let health = health.and_then(|field| health_path(field, problems));
    let field = fields.get("port").or_else(|| fields.get("bind"));
    if let (Some(bind), Some(port), Some(kind), Some(field)) = (&bind, port, kind, field) {
        let place = Place {
            bind: bind.clone(),
            span: field.span(),
            kind,
            hosts: hosts.clone(),
            before: Before {
                tls: tls.is_some(),
                proxies: proxies.clone(),
                proxy_protocol,
                timeouts: timeouts.of_connection(),
            },
        };
        taken.take(place, port, problems);
    }
    Some(Gateway {
        name: name?.to_owned(),
        kind: kind?,
        bind: bind?,
        port: port?,
        tls: match tls {
            Some(tls) => Some(tls?),
            None => None,
        },
        proxies,
        proxy_protocol,
        hosts,
        function: match function {
            Some(function) => Some(function?),
            None => None,
        },
        routes: routes.unwrap_or_default(),
        websocket,
        timeouts,
        access_log,
        health,
        policy,
    })
}

/// The path that says whether a version works.
fn health_path(field: Field<'_>, problems: &mut Problems) -> Option<String> {
    let text = field.text(problems)?;
    let plain = text
        .bytes()
        .all(|b| (b'!'..=b'~').contains(&b) && b != b'#');
    if text.starts_with('/') && plain {
        return Some(text.to_owned());
    }
    let message = format!("{} is not a path that can be asked for", quote(text));
    let problem = Problem::new(&codes::HEALTH, field.span(), message);
    problems.push(
        problem.help("begin with `/`, and write what URLs cannot have percent-encoded: `/healthz`"),
    );
    None
}

fn kind(field: Field<'_>, problems: &mut Problems) -> Option<GatewayKind> {
    let text = field.scalar("text", problems)?;
    let found = GatewayKind::ALL.iter().find(|kind| kind.name() == text);
    if found.is_none() {
        let message = format!("the gateway type {} is not supported", quote(text));
        let names = GatewayKind::ALL.iter().map(|kind| kind.name());
        let names = names.chain(["cron"]);
        let help = match suggest::nearest(text, names) {
            Some(near) => format!("did you mean `type: {near}`?"),
            None => "write `type: http`, `type: tcp`, `type: websocket` or `type: cron`".to_owned(),
        };
        problems.push(Problem::new(&codes::GATEWAY_TYPE, field.span(), message).help(help));
    }
    found.copied()
}

fn port(field: Field<'_>, problems: &mut Problems) -> Option<u16> {
    let number = field.whole(problems)?;
    let port = u16::try_from(number).ok();
    if port.is_none() {
        let message = "this port is out of range";
        let problem = Problem::new(&codes::OUT_OF_RANGE, field.span(), message);
        problems.push(problem.help("write a port from 1 to 65535, or 0 for any free one"));
    }
    port
}

pub(super) fn function_name(
    field: Field<'_>,
    functions: Option<&[&str]>,
    problems: &mut Problems,
) -> Option<String> {
    let text = field.scalar("text", problems)?;
    match unknown_function(field.span(), text, functions) {
        None => Some(text.to_owned()),
        Some(problem) => {
            problems.push(problem);
            None
        }
    }
}

/// What is wrong with the name of a function that the project does not have.
pub(super) fn unknown_function(
    span: Range<usize>,
    text: &str,
    functions: Option<&[&str]>,
) -> Option<Problem> {
    let functions = functions.filter(|functions| !functions.contains(&text))?;
    let message = format!("there is no function {}", quote(text));
    let near = suggest::nearest(text, functions.iter().copied());
    let help = match (near, functions) {
        (Some(near), _) => format!("did you mean {}?", quote(near)),
        (None, []) => "give a function this name".to_owned(),
        (None, few) if few.len() <= 8 => {
            format!("the functions are {}", suggest::list(few.iter().copied()))
        }
        (None, _) => "write the `name` of one of the functions".to_owned(),
    };
    Some(Problem::new(&codes::UNKNOWN_FUNCTION, span, message).help(help))
}

impl Taken {
    fn take(&mut self, place: Place, port: u16, problems: &mut Problems) {
        let other_key = match place.bind {
            Bind::Ip(_) => "port",
            Bind::Unix(_) | Bind::Systemd(_) => "bind",
        };
        let key = match &place.bind {
            Bind::Ip(_) if port == 0 => return,
            Bind::Ip(_) => Key::Port(port),
            other => Key::Without(other.clone()),
        };
        let others = self.places.entry(key).or_default();
        let near = |other: &&Place| place.clashes(other) && !place.shares(other);
        match others.iter().find(near) {
            // At one socket, and for the same requests.
            Some(other) if place.beside(other) => {
                let same = place.hosts.iter().find(|host| other.hosts.contains(host));
                let whose = match same {
                    Some(host) => format!("serve `{host}`"),
                    None => "have no `hosts`".to_owned(),
                };
                let at = shown(&place.bind, port);
                let message = format!("two gateways at {at} {whose}");
                let problem = Problem::new(&codes::ADDRESS_TAKEN, place.span, message);
                problems.push(
                    problem
                        .related(other.span.clone(), "the other gateway")
                        .help(format!(
                            "give them different `hosts`, or one of them another `{other_key}`"
                        )),
                );
            }
            Some(Place {
                bind: other,
                span: first,
                ..
            }) => {
                let message = both(&place.bind, other, port);
                let problem = Problem::new(&codes::ADDRESS_TAKEN, place.span, message);
                problems.push(
                    problem
                        .related(first.clone(), "the other gateway")
                        .help(format!("give one of them another `{other_key}`")),
                );
            }
            None => {
                let beside = |other: &&Place| place.beside(other) && place.before != other.before;
                if let Some(other) = others.iter().find(beside) {
                    let at = shown(&place.bind, port);
                    let message = format!("the gateways at {at} differ before a host is named");
                    let problem = Problem::new(&codes::SHARED_SOCKET, place.span.clone(), message);
                    problems.push(
                        problem
                            .related(other.span.clone(), "the other gateway")
                            .help("write the same `proxies`, `proxy_protocol`, and `head` and `keep_alive` of `timeouts` in both, and `tls` in both or none; or give one of them another `port` or `bind`"),
                    );
                }
                others.push(place);
            }
        }
    }
}

/// That two gateways cannot listen there both.
fn both(bind: &Bind, other: &Bind, port: u16) -> String {
    if let (Bind::Ip(bind), Bind::Ip(other)) = (bind, other) {
        // The wider one of the two is named first.
        let swap = other.is_unspecified() && (other.is_ipv6() || !bind.is_unspecified());
        let (all, one) = if swap {
            (*other, *bind)
        } else {
            (*bind, *other)
        };
        if all.is_unspecified() && all != one {
            let [all, one] = [all, one].map(|ip| shown(&Bind::Ip(ip), port));
            return format!("{all} includes {one}");
        }
        return format!("two gateways at {}", shown(&Bind::Ip(one), port));
    }
    format!("two gateways at {}", shown(bind, port))
}

impl Place {
    /// Whether the kernel refuses both. Those without a port are compared with their like only.
    fn clashes(&self, other: &Self) -> bool {
        match (&self.bind, &other.bind) {
            (Bind::Ip(one), Bind::Ip(two)) => clash(*one, *two),
            (one, two) => one == two,
        }
    }

    /// Whether both can be one socket.
    fn beside(&self, other: &Self) -> bool {
        let by_host = self.kind != GatewayKind::Tcp && self.kind == other.kind;
        self.bind == other.bind && by_host
    }

    /// Whether both can be one socket and are told apart by the host of a request.
    fn shares(&self, other: &Self) -> bool {
        let both = self.hosts.iter().any(|host| other.hosts.contains(host));
        let neither = self.hosts.is_empty() && other.hosts.is_empty();
        self.beside(other) && !both && !neither
    }
}

/// Whether the kernel refuses to listen on both with one port: `::` also takes IPv4.
fn clash(a: IpAddr, b: IpAddr) -> bool {
    let (a, b) = (a.to_canonical(), b.to_canonical());
    let covers = |all: IpAddr, one: IpAddr| {
        all.is_unspecified() && (all.is_ipv6() || one.is_ipv4() || one.is_unspecified())
    };
    a == b || covers(a, b) || covers(b, a)
}

fn shown(bind: &Bind, port: u16) -> String {
    match bind {
        Bind::Ip(ip) => format!("`{}`", std::net::SocketAddr::new(*ip, port)),
        // Others may have written it in another way.
        Bind::Unix(path) => {
            let name = path.file_name().unwrap_or_default();
            format!("the socket {}", quote(&name.to_string_lossy()))
        }
        Bind::Systemd(name) => format!("`systemd:{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_clash_as_in_the_kernel() {
        for (a, b, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0", "127.0.0.1", true),
            ("0.0.0.0", "::1", false),
            ("::", "127.0.0.1", true),
            ("::", "::1", true),
            ("::", "0.0.0.0", true),
            ("::1", "127.0.0.1", false),
            ("::ffff:127.0.0.1", "127.0.0.1", true),
        ] {
            let (one, two) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(clash(one, two), expected, "{a} {b}");
            assert_eq!(clash(two, one), expected, "{b} {a}");
        }
    }
}
