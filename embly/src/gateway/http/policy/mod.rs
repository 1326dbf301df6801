//! What a gateway or a route does to requests and answers, whatever answers: a function, a file, a
//! redirect, or an error.
//!
//! A request passes the checks in this order: address (`ip`), `rate`, a browser's question before a
//! request (`cors`), `auth`, and the function in front (`before`), which is started elsewhere. The
//! first that fails answers. On the way back every answer gets its
//! `headers`, then those of `cors`; the body of a function or file is compressed last.

mod auth;
mod compress;
mod cors;
mod given;
mod headers;
mod ip;
mod rate;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use super::answer::Body;
use super::connection::Client;
use super::head::{REQUEST_ID, Settled};
use super::refuse::{self, Form};
use crate::config::{self, Compress, HeaderRules, IpRules};
use crate::report::Reporter;
use auth::{Auth, Refused};
pub use compress::Packed;
use cors::Cors;
pub use rate::Limiter;

/// What is asked of requests, and done to answers.
#[derive(Debug, Default)]
pub struct Policy {
    config: config::Policy,
    ip: Option<Arc<IpRules>>,
    /// Counts the requests.
    pub rate: Option<Arc<Limiter>>,
    cors: Option<Arc<Cors>>,
    auth: Option<Arc<Auth>>,
    compress: Option<Arc<Compress>>,
    headers: Option<Arc<HeaderRules>>,
}

/// Headers that tell a function who asks.
type User = Vec<(String, String)>;

impl Policy {
    /// That of a gateway.
    pub fn new(config: &config::Policy) -> Arc<Self> {
        Self::of_route(config, &Self::default())
    }

    /// That of a route: what it has from its gateway is one thing for both.
    pub fn of_route(config: &config::Policy, gateway: &Self) -> Arc<Self> {
        let of = &gateway.config;
        Arc::new(Self {
            ip: config.ip.clone(),
            rate: shared(&config.rate, &of.rate, &gateway.rate, |rate| {
                Limiter::new(*rate)
            }),
            cors: shared(&config.cors, &of.cors, &gateway.cors, Cors::new),
            auth: shared(&config.auth, &of.auth, &gateway.auth, Auth::new),
            compress: config.compress.clone(),
            headers: config.headers.clone(),
            config: config.clone(),
        })
    }

    /// Whether a browser's question before a request gets its answer here.
    pub fn answers_preflight(&self) -> bool {
        self.cors.is_some()
    }

    /// Whether a request that has passed one has passed the other.
    pub fn same(&self, other: &Self) -> bool {
        self.config == other.config
    }

    /// The function in front.
    pub fn before(&self) -> Option<&str> {
        self.config.before.as_deref().map(String::as_str)
    }

    /// Lets a request pass, or answers it. The request is as its function gets it from then on.
    ///
    /// # Errors
    /// The answer.
    pub async fn admit<T>(
        &self,
        client: &Client,
        request: &mut Request<T>,
        request_id: &HeaderValue,
        reporter: &Reporter,
    ) -> Result<User, Response<Bytes>> {
        let refuse = |status, request: &Request<T>| {
            refuse::own(status, Form::asked(request.headers()), request_id)
        };
        if let Some(rules) = &self.ip
            && !ip::may_ask(rules, client.asker().ip)
        {
            return Err(refuse(StatusCode::FORBIDDEN, request));
        }
        if let Some(limiter) = &self.rate
            && let Err(seconds) = limiter.check(client.asker().ip)
        {
            let mut answer = refuse(StatusCode::TOO_MANY_REQUESTS, request);
            let seconds = HeaderValue::from(seconds.max(1));
            answer.headers_mut().insert(RETRY_AFTER, seconds);
            return Err(answer);
        }
        if let Some(cors) = &self.cors
            && preflight(request).is_some()
        {
            let mut answer = cors.preflight(request).await.map(|()| Bytes::new());
            answer.headers_mut().insert(REQUEST_ID, request_id.clone());
            return Err(answer);
        }
        let user = match &self.auth {
            Some(auth) => match auth.user(request.headers_mut(), reporter).await {
                Ok(user) => user,
                Err(refused) => return Err(unknown(refused, |status| refuse(status, request))),
            },
            None => Vec::new(),
        };
        if let Some(rules) = &self.headers {
            headers::apply(&rules.request, request.headers_mut());
            let set = rules.request.set.iter().map(|(name, _)| name);
            let settled = rules.request.remove.iter().chain(set).cloned();
            Settled::note(request, settled.collect::<Vec<_>>());
        }
        Ok(user)
    }

    /// What is done to the answer to this request.
    pub fn after<T>(self: &Arc<Self>, request: &Request<T>) -> After {
        let origin = self.cors.as_ref().and(request.headers().get(ORIGIN));
        After {
            policy: Arc::clone(self),
            origin: origin.cloned(),
            preflight: preflight(request).is_some(),
            takes: self.compress.as_ref().map(|_| compress::Takes::of(request)),
        }
    }
}

fn unknown(
    refused: Refused,
    refuse: impl FnOnce(StatusCode) -> Response<Bytes>,
) -> Response<Bytes> {
    let (status, name, value) = match refused {
        Refused::Unknown(challenge) => (StatusCode::UNAUTHORIZED, WWW_AUTHENTICATE, challenge),
        Refused::Busy => {
            let seconds = HeaderValue::from_static("1");
            (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, seconds)
        }
    };
    let mut answer = refuse(status);
    answer.headers_mut().insert(name, value);
    answer
}

/// A new one, unless it is the gateway's.
fn shared<C, T>(
    config: &Option<Arc<C>>,
    of_gateway: &Option<Arc<C>>,
    gateway: &Option<Arc<T>>,
    new: impl FnOnce(&C) -> T,
) -> Option<Arc<T>> {
    let config = config.as_ref()?;
    match (of_gateway, gateway) {
        (Some(other), Some(made)) if Arc::ptr_eq(config, other) => Some(Arc::clone(made)),
        _ => Some(Arc::new(new(config))),
    }
}

/// What is done to an answer.
#[derive(Debug)]
pub struct After {
    policy: Arc<Policy>,
    origin: Option<HeaderValue>,
    preflight: bool,
    takes: Option<compress::Takes>,
}

impl After {
    /// The answer as the client gets it.
    pub async fn finish(self, mut answer: Response<Body>) -> Response<Body> {
        if let Some(rules) = &self.policy.headers {
            headers::apply(&rules.response, answer.headers_mut());
        }
        // The answer to a question before a request has its headers already, unless it was refused.
        if let Some(cors) = &self.policy.cors
            && !(self.preflight && answer.status() == StatusCode::OK)
        {
            let (head, body) = answer.into_parts();
            let head = Response::from_parts(head, ());
            answer = cors.after(self.origin, head).await.map(|()| body);
        }
        match (&self.policy.compress, self.takes) {
            (Some(rules), Some(takes)) => compress::pack(rules, takes, answer).await,
            _ => answer,
        }
    }
}

/// The method that a browser asks about before it makes a request, if this is such a question.
pub fn preflight<T>(request: &Request<T>) -> Option<Method> {
    let asks = request.method() == Method::OPTIONS && request.headers().contains_key(ORIGIN);
    let method = request.headers().get(ACCESS_CONTROL_REQUEST_METHOD);
    let method = method.filter(|_| asks)?;
    Method::from_bytes(method.as_bytes()).ok()
}
