//! Where a request leads: to a function, or to an answer that is the gateway's own.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, HOST, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use protos::{Ending, Errno};

use super::super::Gateway;
use super::super::behind::{Behind, Route, Target};
use super::files::Found as File;
use super::policy::{self, Policy};
use super::refuse::{self, Form};
use crate::config::{Piece, Redirect, Websocket};
use crate::pool::{Function, Functions};
use crate::routes::{Found, normal};

/// What becomes of a request.
pub enum Decision {
    /// A function answers it.
    Start(Asked),
    /// The gateway does.
    Answer(Response<Bytes>),
    /// A file does.
    File(Asset),
}

impl Decision {
    /// A function is told who asks.
    pub fn tell(&mut self, user: Vec<(String, String)>) {
        if let Self::Start(asked) = self {
            asked.user = user;
        }
    }
}

/// A file that a request asks for.
#[derive(Debug)]
pub struct Asset {
    route: Arc<Route>,
    /// What of the path is not the file's.
    prefix: String,
    /// That of the file, encoded, with a slash in front.
    path: String,
}

impl Asset {
    /// The answer; `None` for a file that is not there.
    ///
    /// # Errors
    /// Reading it failed.
    pub async fn answer(&self, request: Request<()>) -> io::Result<File> {
        let Target::Files(files) = &self.route.target else {
            return Ok(None);
        };
        files.answer(request, &self.prefix, &self.path).await
    }
}

/// The function that a request asks for, or the one in front of what it asks for.
#[derive(Debug)]
pub struct Asked {
    gateway: Arc<Gateway>,
    /// Its name.
    pub name: Arc<str>,
    /// By which route.
    pub route: Option<Arc<Route>>,
    /// Parameters of the path, encoded as in it.
    parameters: Vec<(String, String)>,
    method: Method,
    /// In its normal form, where there are routes.
    path: Option<String>,
    /// The function gets GET for HEAD, and its body is dropped.
    head_of_get: bool,
    /// It stands in front.
    is_before: bool,
    /// What the request has passed.
    policy: Arc<Policy>,
    /// Headers that say who asks.
    pub user: Vec<(String, String)>,
}

impl Asked {
    /// How the function takes WebSockets, if it takes nothing else.
    pub fn websocket(&self) -> Option<Arc<Websocket>> {
        match &self.route {
            Some(route) => route.websocket.clone(),
            None => self.gateway.behind().websocket.clone(),
        }
    }

    /// The function itself, as it is now. Where the project has lost it meanwhile the request is
    /// routed again.
    ///
    /// # Errors
    /// `refused`: it does not compile, say.
    pub fn current(&self) -> Result<Arc<Function>, Ending> {
        let functions = self.gateway.functions();
        let mut name = Arc::clone(&self.name);
        loop {
            if let Some(function) = functions.get(&name) {
                return Ok(function);
            }
            let behind = self.gateway.behind();
            let now = find(&behind, &self.method, self.path.as_deref());
            if self.is_before {
                match of(&behind, &now).before() {
                    Some(other) if *other != *name => name = Arc::from(other),
                    _ => return Err(missing(functions, &name)),
                }
                continue;
            }
            match now {
                // Between the two looks it has got another one. Not one that asks for more than the
                // request was checked for.
                Ok(Way::Function {
                    name: other, route, ..
                }) if other != name && self.policy.same(policy_of(&behind, route.as_ref())) => {
                    name = other;
                }
                _ => return Err(missing(functions, &name)),
            }
        }
    }

    /// The request as the function gets it: the path that was matched, so that nobody reads it
    /// another way.
    pub fn rewrite<T>(&self, request: &mut Request<T>) {
        if self.head_of_get {
            *request.method_mut() = Method::GET;
        }
        let Some(path) = &self.path else { return };
        let query = request.uri().query();
        let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
        let mut parts = request.uri().clone().into_parts();
        // A normal path is one of a URI, and the query was one.
        let Ok(target) = PathAndQuery::try_from(target) else {
            return;
        };
        parts.path_and_query = Some(target);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }

    /// Variables on top of the function's own: those of a route are for the function behind it.
    pub fn env(&self) -> Option<Arc<[String]>> {
        let route = self.route.as_ref().filter(|_| !self.is_before);
        route.map(|route| Arc::clone(&route.env))
    }

    /// What the function is told beside the request, as headers.
    pub fn headers(&self) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        if let Some(route) = &self.route {
            headers.push(("embly-route".to_owned(), route.name.clone()));
        }
        let parameters = self.parameters.iter();
        headers
            .extend(parameters.map(|(name, value)| (format!("embly-param-{name}"), value.clone())));
        headers.extend(self.user.iter().cloned());
        headers
    }
}

/// For a function whose last build has failed.
pub fn unbuilt(name: &str) -> Ending {
    Ending::refused(
        Errno::NOENT,
        format!("`{name}` does not compile: `embly build` says why"),
    )
}

fn missing(functions: &Functions, name: &str) -> Ending {
    Ending::refused(Errno::NOENT, functions.why_not(name))
}

/// Where a path leads.
enum Way {
    Function {
        name: Arc<str>,
        route: Option<Arc<Route>>,
        parameters: Vec<(String, String)>,
        head_of_get: bool,
    },
    Redirect {
        to: String,
        status: StatusCode,
        route: Arc<Route>,
    },
    File(Arc<Route>, String),
}

/// What becomes of a request once it has passed what is asked of it.
pub struct Decided {
    /// The last step.
    pub decision: Decision,
    /// What is asked of it.
    pub policy: Arc<Policy>,
    /// The function in front.
    pub before: Option<Asked>,
}

impl Decided {
    /// An answer of which nothing is asked.
    pub fn answer(response: Response<Bytes>) -> Self {
        Self {
            decision: Decision::Answer(response),
            policy: Arc::default(),
            before: None,
        }
    }
}

/// Routes a request.
pub fn decide<T>(
    gateway: &Arc<Gateway>,
    request: &Request<T>,
    request_id: &HeaderValue,
) -> Decided {
    // Both are of one moment, whatever a reload does.
    let behind = gateway.behind();
    let answer = |status| refuse::own(status, Form::asked(request.headers()), request_id);
    let path = if behind.routes.is_empty() {
        None
    } else {
        match normal(request.uri().path()) {
            Ok(path) => Some(path),
            // `OPTIONS *` asks about the server itself.
            Err(_) if request.uri().path() == "*" => Some("*".to_owned()),
            Err(_) => {
                return Decided {
                    policy: Arc::clone(&behind.policy),
                    ..Decided::answer(answer(StatusCode::BAD_REQUEST))
                };
            }
        }
    };
    let way = find(&behind, request.method(), path.as_deref());
    let mut policy = Arc::clone(of(&behind, &way));
    if let Some(method) = policy::preflight(request) {
        let meant = find(&behind, &method, path.as_deref());
        let meant = of(&behind, &meant);
        // It answers, so nothing passes that was checked for another route than its own.
        if meant.answers_preflight() {
            policy = Arc::clone(meant);
        }
    }
    let before = policy.before().map(|name| Asked {
        gateway: Arc::clone(gateway),
        name: Arc::from(name),
        route: route_of(&way).cloned(),
        parameters: match &way {
            Ok(Way::Function { parameters, .. }) => parameters.clone(),
            _ => Vec::new(),
        },
        method: request.method().clone(),
        path: path.clone(),
        head_of_get: false,
        is_before: true,
        policy: Arc::clone(&policy),
        user: Vec::new(),
    });
    let decision = decision(gateway, way, path, request, (&policy, request_id));
    Decided {
        decision,
        policy,
        before,
    }
}

fn route_of(way: &Result<Way, Option<String>>) -> Option<&Arc<Route>> {
    match way {
        Ok(Way::Function { route, .. }) => route.as_ref(),
        Ok(Way::Redirect { route, .. } | Way::File(route, _)) => Some(route),
        Err(_) => None,
    }
}

/// What is asked of a request that leads there.
fn of<'b>(behind: &'b Behind, way: &'b Result<Way, Option<String>>) -> &'b Arc<Policy> {
    policy_of(behind, route_of(way))
}

fn policy_of<'b>(behind: &'b Behind, route: Option<&'b Arc<Route>>) -> &'b Arc<Policy> {
    route.map_or(&behind.policy, |route| &route.policy)
}

fn decision<T>(
    gateway: &Arc<Gateway>,
    way: Result<Way, Option<String>>,
    path: Option<String>,
    request: &Request<T>,
    (policy, request_id): (&Arc<Policy>, &HeaderValue),
) -> Decision {
    let answer = |status| refuse::own(status, Form::asked(request.headers()), request_id);
    match way {
        Ok(Way::Function {
            name,
            route,
            parameters,
            head_of_get,
        }) => Decision::Start(Asked {
            gateway: Arc::clone(gateway),
            name,
            route,
            parameters,
            method: request.method().clone(),
            path,
            head_of_get,
            is_before: false,
            policy: Arc::clone(policy),
            user: Vec::new(),
        }),
        Ok(Way::File(route, rest)) => {
            let prefix = path.as_deref().and_then(|path| path.strip_suffix(&rest));
            let prefix = prefix.unwrap_or_default().trim_end_matches('/');
            Decision::File(Asset {
                route,
                prefix: prefix.to_owned(),
                path: format!("/{rest}"),
            })
        }
        Ok(Way::Redirect { to, status, .. }) => {
            let to = match request.uri().query() {
                Some(query) if !to.contains('?') => format!("{to}?{query}"),
                _ => to,
            };
            let mut response = answer(status);
            match HeaderValue::try_from(to) {
                Ok(to) => drop(response.headers_mut().insert(LOCATION, to)),
                // Paths are ASCII, and the project file was checked.
                Err(_) => response = answer(StatusCode::BAD_REQUEST),
            }
            Decision::Answer(response)
        }
        Err(None) => Decision::Answer(answer(StatusCode::NOT_FOUND)),
        Err(Some(allow)) => {
            let mut response = if request.method() == Method::OPTIONS {
                refuse::empty(StatusCode::NO_CONTENT, request_id)
            } else {
                answer(StatusCode::METHOD_NOT_ALLOWED)
            };
            if let Ok(allow) = HeaderValue::try_from(allow) {
                response.headers_mut().insert(ALLOW, allow);
            }
            Decision::Answer(response)
        }
    }
}

/// Where it leads now; the methods that there are, where only the method does not fit.
fn find(behind: &Behind, method: &Method, path: Option<&str>) -> Result<Way, Option<String>> {
    let found = path.map_or(Found::Nothing, |path| {
        behind.routes.find(method.as_str(), path)
    });
    match found {
        Found::Route {
            value,
            parameters,
            head_of_get,
        } => {
            let parameters = parameters.into_iter();
            let parameters: Vec<_> = parameters
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            Ok(match &value.target {
                Target::Function(name) => Way::Function {
                    name: Arc::clone(name),
                    route: Some(Arc::clone(value)),
                    parameters,
                    head_of_get,
                },
                Target::Files(_) => {
                    let rest = parameters.into_iter().next_back();
                    Way::File(
                        Arc::clone(value),
                        rest.map_or(String::new(), |(_, rest)| rest),
                    )
                }
                Target::Redirect(redirect) => {
                    let status = StatusCode::from_u16(redirect.status);
                    Way::Redirect {
                        to: place(redirect, &parameters),
                        status: status.unwrap_or(StatusCode::PERMANENT_REDIRECT),
                        route: Arc::clone(value),
                    }
                }
            })
        }
        Found::OtherMethods(mut methods) => {
            // What the gateway answers where no function does.
            if methods.contains("GET") {
                methods.insert("HEAD".to_owned());
            }
            methods.insert("OPTIONS".to_owned());
            let methods: Vec<_> = methods.into_iter().collect();
            Err(Some(methods.join(", ")))
        }
        Found::Nothing => match &behind.function {
            Some(name) => Ok(Way::Function {
                name: Arc::clone(name),
                route: None,
                parameters: Vec::new(),
                head_of_get: false,
            }),
            None => Err(None),
        },
    }
}

/// Where a redirect leads. Parameters stand in it as in the path, so they add no header and no
/// host: two slashes at the beginning would name one.
fn place(redirect: &Redirect, parameters: &[(String, String)]) -> String {
    let mut to = String::new();
    for piece in &redirect.to {
        match piece {
            Piece::Text(text) => to.push_str(text),
            Piece::Parameter(name) => {
                let value = parameters.iter().find(|(other, _)| other == name);
                to.push_str(value.map_or("", |(_, value)| value));
            }
        }
    }
    if to.starts_with('/') {
        to = format!("/{}", to.trim_start_matches('/'));
    }
    to
}

/// The host that a request is for, without its port: that of its target counts more than the header
/// (RFC 9112, section 3.2.2).
pub fn host<T>(request: &Request<T>) -> &str {
    let header = || request.headers().get(HOST)?.to_str().ok();
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let host = authority.or_else(header).unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    match host.rsplit_once(':') {
        // Not a colon of an IPv6 address.
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_that_of_the_target_or_of_the_header_without_port_and_user() {
        let of = |uri: &str, header: Option<&str>| {
            let mut request = Request::builder().uri(uri);
            if let Some(header) = header {
                request = request.header(HOST, header);
            }
            host(&request.body(()).unwrap()).to_owned()
        };
        assert_eq!(of("/", Some("example.test:8080")), "example.test");
        assert_eq!(of("/", Some("example.test")), "example.test");
        assert_eq!(of("/", Some("[::1]:80")), "[::1]");
        assert_eq!(of("/", Some("[::1]")), "[::1]");
        assert_eq!(of("http://a.test:1/", Some("b.test")), "a.test");
        assert_eq!(of("/", None), "");
    }

    #[test]
    fn a_parameter_cannot_make_a_redirect_lead_to_another_host() {
        let redirect = Redirect {
            to: vec![Piece::Text("/".into()), Piece::Parameter("rest".into())],
            status: 308,
        };
        let to = |rest: &str| place(&redirect, &[("rest".to_owned(), rest.to_owned())]);
        assert_eq!(to("a/b"), "/a/b");
        assert_eq!(to("/evil.test/x"), "/evil.test/x");
        assert_eq!(to("//evil.test"), "/evil.test");
    }
}
