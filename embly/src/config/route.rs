//! `hosts` and `routes` of a gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Component, Path};

use super::codes;
use super::environment;
use super::fields::{Field, Fields, wrong_type};
use super::function::World;
use super::gateway::function_name;
use super::problem::{Problem, Problems, quote};
use super::tree::{Node, Value};
use super::{
    Files, Piece, Policy, Redirect, Route, Target, limit, paths, policy, schema, suggest, websocket,
};
use crate::routes::{HostPattern, Pattern, Table, Takes};

/// Those that people mean; others are taken as well.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE",
];

const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// Permanent, and the method stays as it is (RFC 9110, section 15.4.9).
const STATUS: u16 = 308;

/// What the routes of a gateway are checked against.
pub(super) struct Beside<'a> {
    pub functions: Option<&'a [&'a str]>,
    pub world: &'a World<'a>,
    /// What the gateway does to requests and answers.
    pub policy: &'a Policy,
    /// `function` of the gateway itself.
    pub function: Option<Range<usize>>,
}

/// Reads `hosts`.
pub(super) fn hosts(field: Field<'_>, problems: &mut Problems) -> Vec<HostPattern> {
    let items = field.list(problems);
    if items.is_empty()
        && !field.entry.value.is_null()
        && matches!(field.entry.value.value, Value::List(_))
    {
        let problem = Problem::new(&codes::HOST, field.span(), "a gateway that serves no host");
        problems.push(problem.help("remove the key to serve all hosts"));
    }
    let mut hosts = Vec::new();
    for item in items {
        let Some(text) = scalar(item, field, problems) else {
            continue;
        };
        let Some(host) = HostPattern::parse(text) else {
            let message = format!("{} is not a host", quote(text));
            let problem = Problem::new(&codes::HOST, item.span.clone(), message);
            problems.push(problem.help(host_help(text)));
            continue;
        };
        if hosts.contains(&host) {
            let message = format!("{} is there twice", quote(text));
            let problem = Problem::new(&codes::HOST, item.span.clone(), message);
            problems.push(problem.help("remove one of them"));
            continue;
        }
        hosts.push(host);
    }
    hosts
}

fn host_help(text: &str) -> String {
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.split(['/', ':']).next().unwrap_or_default();
    match HostPattern::parse(bare) {
        Some(host) => format!("write `{host}`; port and path have keys of their own"),
        None if text == "*" => "remove `hosts` to serve all of them".to_owned(),
        None => "write a name such as `example.test` or `\"*.example.test\"`".to_owned(),
    }
}

/// Reads `routes`.
pub(super) fn routes(field: Field<'_>, beside: &Beside<'_>, problems: &mut Problems) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut table: Table<Range<usize>> = Table::default();
    for item in field.list(problems) {
        let Some(fields) = Fields::read(item, &schema::ROUTE, problems) else {
            continue;
        };
        let path = fields.get("path").and_then(|field| path(field, problems));
        let websocket = websocket::of_route(&fields, beside.world, problems);
        let methods = fields.get("methods");
        let methods = match methods {
            _ if fields.get("files").is_some() => Some(Some(of_files())),
            // A handshake is a GET.
            _ if websocket.is_some() => Some(Some(["GET".to_owned()].into())),
            Some(field) => methods_of(field, problems),
            None => Some(None),
        };
        let target = target(item, &fields, path.as_ref(), beside, problems);
        let name = match (fields.get("name"), &path) {
            (Some(field), _) => name(field, problems),
            (None, path) => path.as_ref().map(Pattern::to_string),
        };
        let env = fields.get("env").map_or_else(BTreeMap::new, |field| {
            environment::read(field, beside.world.environment, problems)
        });
        let policy = policy::read(
            &fields,
            beside.functions,
            Some(beside.policy),
            beside.world,
            problems,
        );
        let (Some(path), Some(methods), Some(place)) = (path, methods, fields.get("path")) else {
            continue;
        };
        if !unclaimed(&mut table, &path, &methods, place.span(), problems) {
            continue;
        }
        if let (true, None, Some(function)) = (path.is_everything(), &methods, &beside.function) {
            let message = "no request gets as far as this `function`";
            let problem = Problem::new(&codes::ROUTE_CLASH, function.clone(), message);
            problems.push(
                problem
                    .related(place.span(), "this route takes every one")
                    .help("remove one of them"),
            );
        }
        if let (Some(name), Some(target)) = (name, target) {
            routes.push(Route {
                name,
                path,
                methods,
                target,
                env,
                websocket,
                policy,
            });
        }
    }
    routes
}

/// Whether no other route takes the same requests; reported otherwise.
fn unclaimed(
    table: &mut Table<Range<usize>>,
    path: &Pattern,
    methods: &Takes,
    place: Range<usize>,
    problems: &mut Problems,
) -> bool {
    let Err(clash) = table.add(path.clone(), methods.clone(), place.clone()) else {
        return true;
    };
    let of = clash
        .method
        .map_or(String::new(), |method| format!("{method} "));
    let message = format!("another route takes `{of}{path}` as well");
    let problem = Problem::new(&codes::ROUTE_CLASH, place, message);
    problems.push(
        problem
            .related(clash.with.clone(), "this one")
            .help("give them different paths, or different `methods`"),
    );
    false
}

fn path(field: Field<'_>, problems: &mut Problems) -> Option<Pattern> {
    let text = field.text(problems)?;
    match Pattern::parse(text) {
        Ok(pattern) => Some(pattern),
        Err(bad) => {
            let message = format!("{} {}", quote(text), bad.why);
            let problem = Problem::new(&codes::ROUTE_PATH, field.span(), message);
            problems.push(problem.help(bad.help));
            None
        }
    }
}

/// A route's name stands in a header.
fn name(field: Field<'_>, problems: &mut Problems) -> Option<String> {
    let text = field.text(problems)?;
    let usable = text.len() <= 255 && text.bytes().all(|b| (b'!'..=b'~').contains(&b));
    if !usable {
        let message = format!("{} cannot be the name of a route", quote(text));
        let problem = Problem::new(&codes::BAD_NAME, field.span(), message);
        problems.push(problem.help("use at most 255 ASCII characters without spaces"));
        return None;
    }
    Some(text.to_owned())
}

/// Files are read.
fn of_files() -> BTreeSet<String> {
    ["GET", "HEAD"].map(str::to_owned).into()
}

fn methods_of(field: Field<'_>, problems: &mut Problems) -> Option<Takes> {
    let items = field.list(problems);
    if items.is_empty() {
        if matches!(field.entry.value.value, Value::List(_)) || field.entry.value.is_null() {
            let problem =
                Problem::new(&codes::METHOD, field.span(), "a route that takes no method");
            problems.push(problem.help("remove the key to take all methods"));
        }
        return None;
    }
    let texts = items.iter().map(|item| method(item, field, problems));
    let texts: Vec<Option<String>> = texts.collect();
    texts.into_iter().collect::<Option<_>>().map(Some)
}

fn method(item: &Node, field: Field<'_>, problems: &mut Problems) -> Option<String> {
    let text = scalar(item, field, problems)?;
    let token =
        |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.bytes().all(token) && text != "CONNECT" {
        return Some(text.to_owned());
    }
    let message = format!("{} is not a method of a route", quote(text));
    let help = match suggest::nearest(&text.to_uppercase(), METHODS) {
        _ if text == "CONNECT" => "remove it: gateways make no tunnels".to_owned(),
        Some(near) => format!("write `{near}`"),
        None => "write it in capitals, such as `GET`".to_owned(),
    };
    problems.push(Problem::new(&codes::METHOD, item.span.clone(), message).help(help));
    None
}

fn target(
    item: &Node,
    fields: &Fields<'_>,
    path: Option<&Pattern>,
    beside: &Beside<'_>,
    problems: &mut Problems,
) -> Option<Target> {
    let targets = ["function", "redirect", "files"].map(|key| fields.get(key));
    let mut there = targets.into_iter().flatten();
    match (there.next(), there.next()) {
        (Some(field), None) => match field.key.name {
            "function" => function_name(field, beside.functions, problems).map(Target::Function),
            "redirect" => redirect(field, path, problems).map(Target::Redirect),
            _ => files(field, path, fields, beside, problems).map(Target::Files),
        },
        (None, _) => {
            let problem = Problem::new(
                &codes::ROUTE_TARGET,
                item.span.clone(),
                "this route leads nowhere",
            );
            problems.push(
                problem.help(
                    "write `function: NAME`, `files: {root: FOLDER}` or `redirect: {to: PATH}`",
                ),
            );
            None
        }
        (Some(one), Some(other)) => {
            let message = "this route leads to two places";
            let span = other.entry.key_span.clone();
            let problem = Problem::new(&codes::ROUTE_TARGET, span, message);
            problems.push(
                problem
                    .related(one.entry.key_span.clone(), "the other one")
                    .help("remove one of them"),
            );
            None
        }
    }
}

fn files(
    field: Field<'_>,
    path: Option<&Pattern>,
    route: &Fields<'_>,
    beside: &Beside<'_>,
    problems: &mut Problems,
) -> Option<Files> {
    let fields = Fields::read(&field.entry.value, &schema::FILES, problems)?;
    let mut bad = |span: Range<usize>, message: String, help: &str| {
        problems.push(Problem::new(&codes::FILES, span, message).help(help));
    };
    if let (Some(path), Some(place)) = (path, route.get("path"))
        && !path.has_rest()
    {
        let message = format!(
            "the path {} has no place for a file's path",
            quote(&path.to_string())
        );
        bad(place.span(), message, "end it with `/{file...}`");
    }
    for key in ["methods", "env"] {
        if let Some(field) = route.get(key) {
            let message = format!("`{key}` has no effect on files");
            bad(
                field.entry.key_span.clone(),
                message,
                "remove it: files are read with GET and HEAD",
            );
        }
    }
    let root = fields
        .get("root")
        .and_then(|field| paths::folder(field, beside.world.root, problems));
    let not_found = match (fields.get("not_found"), &root) {
        (Some(field), Some(root)) => Some(not_found(field, root, problems)?),
        _ => None,
    };
    let cache = match fields.get("cache") {
        Some(field) => limit::time(field, beside.world.machine, problems)?,
        None => None,
    };
    Some(Files {
        root: root?,
        not_found,
        cache,
    })
}

/// A file of the folder, and its status: 404 where it is not said.
fn not_found(field: Field<'_>, root: &Path, problems: &mut Problems) -> Option<(String, u16)> {
    let (field, status) = match &field.entry.value.value {
        Value::Map(_) => {
            let fields = Fields::read(&field.entry.value, &schema::NOT_FOUND, problems)?;
            let status = match fields.get("status") {
                Some(field) => match field.whole(problems)? {
                    200 => 200,
                    404 => 404,
                    other => {
                        let message = format!("{other} is no status for a file that is not there");
                        let problem = Problem::new(&codes::FILES, field.span(), message);
                        problems.push(
                            problem.help("write 404, or 200 for an application in the browser"),
                        );
                        return None;
                    }
                },
                None => 404,
            };
            (fields.get("file")?, status)
        }
        _ => (field, 404),
    };
    let text = field.text(problems)?;
    let inside = Path::new(text)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !inside || !root.join(text).is_file() {
        let there = root.display();
        let (why, help) = match inside {
            true => ("is not there", format!("make the file, in `{there}`")),
            false => (
                "is not below `root`",
                format!("write its path from there, `{there}`, such as `404.html`"),
            ),
        };
        let problem = Problem::new(
            &codes::FILES,
            field.span(),
            format!("{} {why}", quote(text)),
        );
        problems.push(problem.help(help));
        return None;
    }
    let path = text.split('/').map(encoded).collect::<Vec<_>>();
    Some((path.join("/"), status))
}

/// A name as a part of a path.
fn encoded(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn redirect(field: Field<'_>, path: Option<&Pattern>, problems: &mut Problems) -> Option<Redirect> {
    let fields = Fields::read(&field.entry.value, &schema::REDIRECT, problems)?;
    let to = fields.get("to").and_then(|field| to(field, path, problems));
    let status = match fields.get("status") {
        Some(field) => status(field, problems),
        None => Some(STATUS),
    };
    Some(Redirect {
        to: to?,
        status: status?,
    })
}

fn status(field: Field<'_>, problems: &mut Problems) -> Option<u16> {
    let number = field.whole(problems)?;
    let found = STATUSES.iter().find(|status| i64::from(**status) == number);
    if found.is_none() {
        let message = format!("{number} does not redirect");
        let problem = Problem::new(&codes::REDIRECT, field.span(), message);
        problems.push(problem.help("write 301, 302, 303, 307 or 308"));
    }
    found.copied()
}

fn to(field: Field<'_>, path: Option<&Pattern>, problems: &mut Problems) -> Option<Vec<Piece>> {
    let text = field.text(problems)?;
    let mut bad = |message: String, help: String| {
        problems.push(Problem::new(&codes::REDIRECT, field.span(), message).help(help));
        None
    };
    let absolute = ["http://", "https://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    if !absolute && (!text.starts_with('/') || text.starts_with("//")) {
        return bad(
            format!("{} is no path and no URL", quote(text)),
            "begin with `/`, `https://` or `http://`".to_owned(),
        );
    }
    if !text.bytes().all(|b| (b'!'..=b'~').contains(&b)) {
        return bad(
            format!("{} has characters that a URL cannot have", quote(text)),
            "write them percent-encoded".to_owned(),
        );
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return bad(
                format!("{} has a `{{` that is not closed", quote(text)),
                "write `{name}`, with a parameter of the route".to_owned(),
            );
        };
        let name = name.strip_suffix("...").unwrap_or(name);
        let names: Vec<&str> = path.iter().flat_map(|path| path.names()).collect();
        if path.is_some() && !names.contains(&name) {
            let help = match suggest::nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{{{near}}}`?"),
                None if names.is_empty() => "the path of this route has no parameters".to_owned(),
                None => format!("its parameters are {}", suggest::list(names)),
            };
            return bad(format!("the route has no parameter {}", quote(name)), help);
        }
        // A client must not choose another host by a parameter.
        let in_authority = absolute && before.len() < text.len() && {
            let so_far = text.len() - after.len();
            let authority = text
                .split_once("://")
                .map_or(0, |(scheme, _)| scheme.len() + 3);
            !text[authority..so_far].contains('/')
        };
        if in_authority {
            return bad(
                format!("the host of {} would come from the request", quote(text)),
                "write the host out".to_owned(),
            );
        }
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(Piece::Parameter(name.to_owned()));
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
    Some(pieces)
}

pub(super) fn scalar<'t>(
    item: &'t Node,
    field: Field<'_>,
    problems: &mut Problems,
) -> Option<&'t str> {
    match &item.value {
        Value::Scalar(scalar) if !item.is_null() => Some(&scalar.text),
        _ => {
            let what = format!("an item of `{}` must be text", field.key.name);
            let help = Some(format!("write `{}`", field.key.example));
            wrong_type(item.span.clone(), item, &what, help, problems);
            None
        }
    }
}
