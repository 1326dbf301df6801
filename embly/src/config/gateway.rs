//! One gateway of the file, and which of them cannot be together.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use super::codes;
use super::fields::{Field, Fields};
use super::function::World;
use super::problem::{Problem, Problems, quote};
use super::tree::Node;
use super::{Gateway, GatewayKind, policy, route, suggest};
use crate::routes::HostPattern;

/// Where a gateway listens if the file does not say: not reachable from other machines.
const BIND: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Addresses that gateways took so far, by port.
#[derive(Default)]
pub(super) struct Taken(HashMap<u16, Vec<Place>>);

/// Where a gateway listens, and for whom.
struct Place {
    bind: IpAddr,
    span: Range<usize>,
    kind: GatewayKind,
    hosts: Vec<HostPattern>,
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
        Some(field) => bind(field, problems),
        None => Some(BIND),
    };
    let port = fields.get("port").and_then(|field| port(field, problems));
    for key in ["hosts", "routes"].into_iter().chain(policy::KEYS) {
        if let (Some(field), Some(GatewayKind::Tcp)) = (fields.get(key), kind) {
            let message = format!("`{key}` has no effect on a gateway of type tcp");
            let span = field.entry.key_span.clone();
            let problem = Problem::new(&codes::HTTP_ONLY, span, message);
            problems.push(problem.help("remove it, or write `type: http`"));
        }
    }
    let hosts = fields.get("hosts");
    let hosts = hosts.map_or_else(Vec::new, |field| route::hosts(field, problems));
    let function = fields.get("function");
    let policy = policy::read(fields, None, world, problems);
    let beside = route::Beside {
        functions,
        world,
        policy: &policy,
        function: function.map(|field| field.entry.key_span.clone()),
    };
    let function = function.map(|field| function_name(field, functions, problems));
    let routes = fields.get("routes");
    let routes = routes.map(|field| route::routes(field, &beside, problems));
    if function.is_none() && (routes.is_none() || kind == Some(GatewayKind::Tcp)) {
        let title = name.map_or("a gateway".to_owned(), |name| format!("gateway `{name}`"));
        let message = format!("{title} leads nowhere");
        let problem = Problem::new(&codes::ROUTE_TARGET, item.span.clone(), message);
        problems.push(problem.help("write `function: NAME`"));
    }
    if let (Some(bind), Some(port), Some(kind), Some(field)) =
        (bind, port, kind, fields.get("port"))
    {
        let place = Place {
            bind,
            span: field.span(),
            kind,
            hosts: hosts.clone(),
        };
        taken.take(place, port, problems);
    }
    Some(Gateway {
        name: name?.to_owned(),
        kind: kind?,
        bind: bind?,
        port: port?,
        hosts,
        function: match function {
            Some(function) => Some(function?),
            None => None,
        },
        routes: routes.unwrap_or_default(),
        policy,
    })
}

fn kind(field: Field<'_>, problems: &mut Problems) -> Option<GatewayKind> {
    let text = field.scalar("text", problems)?;
    let found = GatewayKind::ALL.iter().find(|kind| kind.name() == text);
    if found.is_none() {
        let message = format!("the gateway type {} is not supported", quote(text));
        let names = GatewayKind::ALL.iter().map(|kind| kind.name());
        let help = match suggest::nearest(text, names) {
            Some(near) => format!("did you mean `type: {near}`?"),
            None => "write `type: http` or `type: tcp`".to_owned(),
        };
        problems.push(Problem::new(&codes::GATEWAY_TYPE, field.span(), message).help(help));
    }
    found.copied()
}

fn bind(field: Field<'_>, problems: &mut Problems) -> Option<IpAddr> {
    let text = field.scalar("an address", problems)?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let with_port = text.parse::<std::net::SocketAddr>().ok();
    let help = match (text, with_port) {
        (_, Some(address)) => {
            format!(
                "write `bind: {}` and `port: {}`",
                address.ip(),
                address.port()
            )
        }
        ("localhost", _) => "write `bind: 127.0.0.1`".to_owned(),
        ("*", _) => "write `bind: 0.0.0.0` for all addresses".to_owned(),
        _ => "write `bind: 127.0.0.1` for this machine only, `bind: 0.0.0.0` for all addresses"
            .to_owned(),
    };
    let message = format!("{} is not an IP address", quote(text));
    problems.push(Problem::new(&codes::BIND, field.span(), message).help(help));
    None
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
    let Some(functions) = functions.filter(|functions| !functions.contains(&text)) else {
        return Some(text.to_owned());
    };
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
    problems.push(Problem::new(&codes::UNKNOWN_FUNCTION, field.span(), message).help(help));
    None
}

impl Taken {
    fn take(&mut self, place: Place, port: u16, problems: &mut Problems) {
        if port == 0 {
            return;
        }
        let others = self.0.entry(port).or_default();
        let near = |other: &&Place| clash(place.bind, other.bind) && !place.shares(other);
        match others.iter().find(near) {
            // At one socket, and for the same requests.
            Some(other) if place.beside(other) => {
                let same = place.hosts.iter().find(|host| other.hosts.contains(host));
                let whose = match same {
                    Some(host) => format!("serve `{host}`"),
                    None => "have no `hosts`".to_owned(),
                };
                let at = shown(place.bind, port);
                let message = format!("two gateways at {at} {whose}");
                let problem = Problem::new(&codes::ADDRESS_TAKEN, place.span, message);
                problems.push(
                    problem
                        .related(other.span.clone(), "the other gateway")
                        .help("give them different `hosts`, or one of them another `port`"),
                );
            }
            Some(Place {
                bind: other,
                span: first,
                ..
            }) => {
                let (bind, span) = (place.bind, place.span);
                // The wider one of the two is named first.
                let swap = other.is_unspecified() && (other.is_ipv6() || !bind.is_unspecified());
                let (all, one) = if swap { (*other, bind) } else { (bind, *other) };
                let message = match all.is_unspecified() && all != one {
                    true => format!("{} includes {}", shown(all, port), shown(one, port)),
                    false => format!("two gateways at {}", shown(one, port)),
                };
                let problem = Problem::new(&codes::ADDRESS_TAKEN, span, message);
                problems.push(
                    problem
                        .related(first.clone(), "the other gateway")
                        .help("give one of them another `port`"),
                );
            }
            None => others.push(place),
        }
    }
}

impl Place {
    /// Whether both can be one socket.
    fn beside(&self, other: &Self) -> bool {
        self.bind == other.bind && [self.kind, other.kind] == [GatewayKind::Http; 2]
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

fn shown(bind: IpAddr, port: u16) -> String {
    format!("`{}`", std::net::SocketAddr::new(bind, port))
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
