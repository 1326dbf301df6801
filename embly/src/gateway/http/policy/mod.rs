//! What a gateway or a route does to requests and answers, whatever answers: a function, a file, a
//! redirect, or an error.
//!
//! A request passes the checks in this order: address (`ip`). The first that fails answers. On the
//! way back, `headers` are set and removed on every answer.

mod headers;
mod ip;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use super::answer::Body;
use super::connection::Client;
use super::refuse;
use crate::config::{self, HeaderRules, IpRules};

/// What is asked of requests, and done to answers.
#[derive(Debug, Default)]
pub struct Policy {
    ip: Option<Arc<IpRules>>,
    headers: Option<Arc<HeaderRules>>,
}

/// Headers that tell a function who asks.
type User = Vec<(String, String)>;

impl Policy {
    /// That of a gateway.
    pub fn new(config: &config::Policy) -> Self {
        Self {
            ip: config.ip.clone(),
            headers: config.headers.clone(),
        }
    }

    /// That of a route: what it shares with its gateway is one thing.
    pub fn of_route(
        config: &config::Policy,
        gateway: &config::Policy,
        shared: &Arc<Self>,
    ) -> Arc<Self> {
        if config == gateway {
            return Arc::clone(shared);
        }
        Arc::new(Self::new(config))
    }

    /// Whether a browser's question before a request gets its answer here.
    pub fn answers_preflight(&self) -> bool {
        false
    }

    /// Whether a request that has passed one has passed the other.
    pub fn same(&self, other: &Self) -> bool {
        self.ip == other.ip
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
    ) -> Result<User, Response<Bytes>> {
        let refuse =
            |status, request: &Request<T>| refuse::own(status, request.headers(), request_id);
        if let Some(rules) = &self.ip
            && !ip::may_ask(rules, client.asker().ip)
        {
            return Err(refuse(StatusCode::FORBIDDEN, request));
        }
        if let Some(rules) = &self.headers {
            headers::apply(&rules.request, request.headers_mut());
        }
        Ok(Vec::new())
    }

    /// What is done to the answer to this request.
    pub fn after<T>(self: &Arc<Self>, _request: &Request<T>) -> After {
        After {
            policy: Arc::clone(self),
        }
    }
}

/// What is done to an answer.
#[derive(Debug)]
pub struct After {
    policy: Arc<Policy>,
}

impl After {
    /// The answer as the client gets it.
    pub fn finish(self, mut response: Response<Body>) -> Response<Body> {
        if let Some(rules) = &self.policy.headers {
            headers::apply(&rules.response, response.headers_mut());
        }
        response
    }
}

/// The method that a browser asks about before it makes a request, if this is such a question.
pub fn preflight<T>(request: &Request<T>) -> Option<Method> {
    let asks = request.method() == Method::OPTIONS && request.headers().contains_key(ORIGIN);
    let method = request.headers().get(ACCESS_CONTROL_REQUEST_METHOD);
    let method = method.filter(|_| asks)?;
    Method::from_bytes(method.as_bytes()).ok()
}
