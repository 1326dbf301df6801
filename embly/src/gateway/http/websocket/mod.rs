//! WebSockets (RFC 6455): one invocation for each connection. The gateway answers the handshake,
//! pings and fragments; the function sees whole messages, as frames of an ordinary stream.

pub mod frame;
mod handshake;
mod talk;

use std::sync::Arc;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;

use super::super::Gateway;
use super::access::Access;
use super::answer::Body;
use super::connection::Client;
use super::exchange::{self, NoAnswer, Started};
use super::head::{self, REQUEST_ID, RequestBody};
use super::refuse::{self, Form};
use super::route::Asked;
use super::taken::Within;
use crate::config::Websocket;
use crate::limits::{IDLE, Limits};
use crate::switchboard::Times;

/// The header that tells the function which subprotocol was agreed on.
const PROTOCOL: &str = "embly-websocket-protocol";

/// Answers a request that asks for a WebSocket, or should.
///
/// # Errors
/// [`NoAnswer`].
pub async fn answer(
    (gateway, asked, client): (&Arc<Gateway>, &Asked, &Client),
    settings: Arc<Websocket>,
    mut request: Request<Incoming>,
    request_id: &HeaderValue,
    mut access: Access,
) -> Result<Response<Body>, NoAnswer> {
    let accepted = match handshake::accept(&request, &settings) {
        Ok(accepted) => accepted,
        Err(no) => {
            let mut response = refuse::own(no.status, Form::asked(request.headers()), request_id);
            response.headers_mut().extend(no.headers);
            access.answers(no.status);
            access.bytes = response.body().len() as u64;
            access.reason = None;
            return Ok(response.map(Body::full));
        }
    };
    let to = (gateway, asked, client);
    let started = exchange::start(to, times, &mut request, request_id, &mut access).await;
    let Started {
        exchange,
        mut told,
        function,
    } = match started {
        Ok(started) => started,
        Err(refusal) => {
            let (at, form) = ((&**gateway, client), Form::asked(request.headers()));
            return exchange::refused(at, refusal, form, request_id, access).await;
        }
    };
    let protocol = accepted.protocol.into_iter();
    told.extend(protocol.map(|protocol| (PROTOCOL.to_owned(), protocol)));
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let opening = head::request(&Request::from_parts(parts, ()), RequestBody::None, &told);
    let mut response = accepted.response;
    access.answers(response.status());
    response
        .headers_mut()
        .insert(REQUEST_ID, request_id.clone());
    let idle = times(&function.limits).idle;
    response.extensions_mut().insert(Within(idle));
    let talk = talk::talk(upgrade, opening, exchange, settings, client.clone(), access);
    client.upgraded.spawn(talk);
    Ok(response.map(Body::full))
}

/// As for a TCP connection: no limit on the time of the whole.
fn times(limits: &Limits) -> Times {
    Times {
        wall: limits.wall.or(None),
        idle: limits.idle.or(Some(IDLE)),
        response: None,
        head: false,
        total: limits.total,
        background: limits.background,
    }
}
