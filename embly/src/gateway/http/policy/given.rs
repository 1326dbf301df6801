//! An answer that is there already, as the service that the layers of the library stand around.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

/// Gives its answer once.
#[derive(Debug)]
pub struct Given<B>(Option<Response<B>>);

impl<B> Given<B> {
    /// This one.
    pub fn new(answer: Response<B>) -> Self {
        Self(Some(answer))
    }
}

impl<B> Service<Request<()>> for Given<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(self.0.take().expect("it is called once")))
    }
}
