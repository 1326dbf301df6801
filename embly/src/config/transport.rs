//! What a gateway has between the socket and what it speaks: `bind`, `tls`, `proxies`, `proxy_protocol`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::fields::{Field, Fields};
use super::problem::{Problem, Problems, quote};
use super::tree::{Node, Value};
use super::{Bind, GatewayKind, Proxies, Tls, codes, schema};
use crate::tls::Files;

/// The value of `tls`: a map, or a list of them.
pub(super) fn tls(field: Field<'_>, root: &Path, problems: &mut Problems) -> Option<Tls> {
    let mut tls = Tls {
        files: Vec::new(),
        dev: false,
    };
    let (before, _) = problems.count();
    match &field.entry.value.value {
        Value::List(items) if !items.is_empty() => {
            for item in items {
                one(item, root, &mut tls, problems);
            }
        }
        _ => one(&field.entry.value, root, &mut tls, problems),
    }
    (problems.count().0 == before).then_some(tls)
}

fn one(item: &Node, root: &Path, tls: &mut Tls, problems: &mut Problems) {
    let Some(fields) = Fields::read(item, &schema::TLS, problems) else {
        return;
    };
    let (cert, key) = (fields.get("cert"), fields.get("key"));
    let dev = fields.get("dev").map(|field| field.flag(problems));
    let path = |field: Field<'_>, problems: &mut Problems| {
        let text = field.text(problems)?;
        // Without `./` in the middle.
        Some(root.join(text).components().collect::<PathBuf>())
    };
    match (cert, key, dev) {
        (None, None, Some(dev)) => match dev {
            Some(true) => tls.dev = true,
            Some(false) => {
                let message = "`dev: false` is no certificate";
                let problem = Problem::new(&codes::TLS, item.span.clone(), message);
                problems.push(problem.help("remove it, or write `cert: FILE` and `key: FILE`"));
            }
            None => {}
        },
        (Some(cert), Some(key), None) => {
            let (Some(cert_path), Some(key_path)) = (path(cert, problems), path(key, problems))
            else {
                return;
            };
            let files = Files {
                cert: cert_path,
                key: key_path,
            };
            let elsewhere = [(cert, &files.cert), (key, &files.key)]
                .map(|(field, file)| problems.lies_elsewhere(field, file));
            if !elsewhere.contains(&true)
                && let Err(error) = files.load()
            {
                let at = if error.is_of(&files.cert) { cert } else { key };
                let problem = Problem::new(&codes::TLS, at.span(), error.to_string());
                let help = "`cert` and `key` are PEM files, relative to the project folder";
                problems.push(problem.help(help));
            }
            tls.files.push(files);
        }
        (cert, key, dev) => {
            let (message, help) = match (cert, key, dev) {
                (_, _, Some(_)) => (
                    "a certificate is in files, or made by `dev: true`, not both",
                    "make two items of it",
                ),
                (Some(_), ..) => ("a certificate without its `key`", "write `key: FILE`"),
                (_, Some(_), _) => ("a key without its `cert`", "write `cert: FILE`"),
                _ => (
                    "`tls` has no certificate",
                    "write `cert: FILE` and `key: FILE`, or `dev: true`",
                ),
            };
            let problem = Problem::new(&codes::TLS, item.span.clone(), message);
            problems.push(problem.help(help));
        }
    }
}

/// The values of `proxies` and `proxy_protocol`.
pub(super) fn proxies(
    fields: &Fields<'_>,
    kind: Option<GatewayKind>,
    problems: &mut Problems,
) -> (Proxies, bool) {
    let list = fields.get("proxies");
    let proxies = list.map(|field| proxy_list(field, problems));
    let protocol = fields.get("proxy_protocol");
    let expected = protocol.and_then(|field| field.flag(problems));
    let expected = expected.unwrap_or_default();
    if let (Some(field), None, true) = (protocol, &proxies, expected) {
        let message = "nobody is trusted to speak the PROXY protocol";
        let problem = Problem::new(&codes::PROXIES, field.span(), message);
        problems.push(problem.help("write whom beside it: `proxies: [10.0.0.0/8]`"));
    }
    if let (Some(field), Some(GatewayKind::Tcp), None) = (list, kind, protocol) {
        let message = "`proxies` alone has no effect on a gateway of type tcp";
        let problem = Problem::new(&codes::PROXIES, field.entry.key_span.clone(), message);
        problems.push(problem.help("remove it, or write `proxy_protocol: true` beside it"));
    }
    (proxies.unwrap_or_default(), expected)
}

fn proxy_list(field: Field<'_>, problems: &mut Problems) -> Proxies {
    let mut proxies = Proxies::default();
    for item in field.list(problems) {
        let text = match &item.value {
            Value::Scalar(scalar) => scalar.text.as_str(),
            Value::Map(_) | Value::List(_) | Value::Broken => "",
        };
        let network = text.parse::<IpAddr>().map(IpNet::from);
        match network.or_else(|_| text.parse::<IpNet>()) {
            _ if text == "unix" => proxies.unix = true,
            // A network is meant whose every address could be a proxy.
            Ok(network) => proxies.networks.push(network.trunc()),
            Err(_) => {
                let message = format!("{} is not an address or a network", quote(text));
                let problem = Problem::new(&codes::PROXIES, item.span.clone(), message);
                problems.push(problem.help("write `127.0.0.1`, `10.0.0.0/8` or `unix`"));
            }
        }
    }
    proxies
}

/// The longest path of a Unix socket, in bytes: that of the system.
const UNIX_PATH_MAX: usize = 107;

/// The value of `bind`.
pub(super) fn bind(field: Field<'_>, root: &Path, problems: &mut Problems) -> Option<Bind> {
    let text = field.scalar("an address", problems)?;
    if let Ok(address) = text.parse() {
        return Some(Bind::Ip(address));
    }
    let mut wrong = |message: String, help: String| {
        problems.push(Problem::new(&codes::BIND, field.span(), message).help(help));
        None
    };
    if let Some(path) = text.strip_prefix("unix:") {
        let whole: PathBuf = root.join(path).components().collect();
        return match path {
            "" => wrong(
                "`unix:` has no path".to_owned(),
                "write `bind: unix:web.sock`".to_owned(),
            ),
            _ if whole.as_os_str().len() > UNIX_PATH_MAX => wrong(
                format!("the path of a Unix socket has at most {UNIX_PATH_MAX} bytes in all"),
                "choose a shorter one, such as `unix:/run/embly/web.sock`".to_owned(),
            ),
            _ => Some(Bind::Unix(whole)),
        };
    }
    if let Some(name) = text.strip_prefix("systemd:") {
        let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() && c != ':');
        return match fits {
            true => Some(Bind::Systemd(name.to_owned())),
            false => wrong(
                format!("{} is not a name of a socket of systemd", quote(name)),
                "write that of `FileDescriptorName=`: `bind: systemd:web`".to_owned(),
            ),
        };
    }
    let with_port = text.parse::<std::net::SocketAddr>().ok();
    let help = match (text, with_port) {
        (_, Some(address)) => {
            let (ip, port) = (address.ip(), address.port());
            format!("write `bind: {ip}` and `port: {port}`")
        }
        ("localhost", _) => "write `bind: 127.0.0.1`".to_owned(),
        ("*", _) => "write `bind: 0.0.0.0` for all addresses".to_owned(),
        _ => "write `bind: 127.0.0.1` for this machine only, `bind: 0.0.0.0` for all addresses"
            .to_owned(),
    };
    wrong(format!("{} is not an IP address", quote(text)), help)
}
