//! `cors`: pages of which other sites may ask, and read the answers.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN,
};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};
use tower_layer::Layer;
use tower_service::Service;

use super::given::Given;
use crate::config::{self, Names};

/// What the library makes of the rules.
#[derive(Debug)]
pub struct Cors {
    /// For a browser's question before a request.
    before: CorsLayer,
    /// For answers.
    after: CorsLayer,
}

/// Headers that are the gateway's to give where it has rules for them.
const OURS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

impl Cors {
    /// These rules.
    pub fn new(config: &config::Cors) -> Self {
        let layer = CorsLayer::new()
            .allow_origin(match &config.origins {
                Names::All => AllowOrigin::any(),
                Names::Some(origins) => AllowOrigin::list(origins.clone()),
            })
            .allow_methods(match &config.methods {
                Names::All => AllowMethods::any(),
                Names::Some(methods) => AllowMethods::list(methods.clone()),
            })
            .allow_headers(match &config.headers {
                Names::All => AllowHeaders::any(),
                Names::Some(headers) => AllowHeaders::list(headers.clone()),
            })
            .expose_headers(match &config.expose {
                Names::All => ExposeHeaders::any(),
                Names::Some(headers) => ExposeHeaders::list(headers.clone()),
            })
            .allow_credentials(config.credentials);
        let before = match config.max_age {
            Some(age) => layer.clone().max_age(age),
            None => layer.clone(),
        };
        Self {
            before,
            after: layer.vary([ORIGIN]),
        }
    }

    /// The answer to a browser's question before a request.
    pub async fn preflight<T>(&self, request: &Request<T>) -> Response<()> {
        let mut question = Request::new(());
        *question.method_mut() = Method::OPTIONS;
        *question.headers_mut() = request.headers().clone();
        apply(&self.before, question, Response::new(())).await
    }

    /// An answer to a request of this origin, if it says one.
    pub async fn after(
        &self,
        origin: Option<HeaderValue>,
        mut answer: Response<()>,
    ) -> Response<()> {
        for name in OURS {
            answer.headers_mut().remove(name);
        }
        let mut request = Request::new(());
        if let Some(origin) = origin {
            request.headers_mut().insert(ORIGIN, origin);
        }
        apply(&self.after, request, answer).await
    }
}

async fn apply(layer: &CorsLayer, request: Request<()>, answer: Response<()>) -> Response<()> {
    let answered = layer.layer(Given::new(answer)).call(request).await;
    answered.unwrap_or_else(|never| match never {})
}
