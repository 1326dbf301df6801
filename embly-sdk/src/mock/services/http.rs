//! Who is asked over HTTP, in a test: handlers instead of hosts.
//!
//! ```
//! # use embly_sdk as embly;
//! use embly::{http::{Response, client}, mock};
//!
//! mock::http_client::host("api.example.com", |request| {
//!     assert_eq!(request.uri().path(), "/v1/today");
//!     Response::new(b"sunny".to_vec())
//! });
//! let mut response = client::get("https://api.example.com/v1/today").wait().unwrap();
//! assert_eq!(response.body_mut().bytes().unwrap(), b"sunny");
//!
//! let error = client::get("https://other.example/").wait().unwrap_err();
//! assert!(error.to_string().contains("mock::http_client::host(\"other.example\""));
//! ```
//!
//! A redirect is given back as it is. What stands in for a failure is [`fail`].

use crate::{
    error::Error,
    http::client::Kind,
    mock,
    proto::http::{
        Answer, Error as Said, Header, Kind as Number, Request as Message, Response as Head,
        answer::What,
    },
    reason::Reason,
    stream::Conn,
    sys::mock::{guest, world::Start},
};
use http::{Request, Response};
use prost::Message as _;
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::{Arc, Mutex, PoisonError},
};

type Handler = Arc<dyn Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync>;

#[derive(Default)]
struct Hosts(Mutex<Registered>);

#[derive(Default)]
struct Registered {
    hosts: BTreeMap<String, Handler>,
    any: Option<Handler>,
}

/// The extension of a response that stands for a failure.
#[derive(Clone)]
struct Fails(Kind, String);

/// Requests to this host, whatever its port, are answered by this handler from now on.
pub fn host<H>(host: &str, handler: H)
where
    H: Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
{
    with(|registered| {
        registered
            .hosts
            .insert(host.to_lowercase(), Arc::new(handler))
    });
}

/// Requests to all hosts that have no handler of their own are answered by this one.
pub fn any<H>(handler: H)
where
    H: Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
{
    with(|registered| registered.any = Some(Arc::new(handler)));
}

/// A response that is none: the call fails with an error of this kind.
pub fn fail(kind: Kind, message: &str) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    let fails = Fails(kind, message.to_owned());
    response.extensions_mut().insert(fails);
    response
}

fn with<T>(act: impl FnOnce(&mut Registered) -> T) -> T {
    let hosts = guest::me().world.kept::<Hosts>();
    let mut registered = hosts.0.lock().unwrap_or_else(PoisonError::into_inner);
    act(&mut registered)
}

/// The service.
pub(crate) fn all() -> Vec<(&'static str, Start)> {
    vec![("embly/http", mock::start(serve))]
}

fn serve(mut conn: Conn) -> Result<(), Error> {
    let mut length = [0; 4];
    conn.read_exact(&mut length)?;
    let mut message = vec![0; u32::from_le_bytes(length) as usize];
    conn.read_exact(&mut message)?;
    let message = Message::decode(&*message)?;
    let url = message.url.clone();
    let answered = match request(message, conn)? {
        Ok(request) => {
            let host = request.uri().host().unwrap_or_default().to_lowercase();
            let handler = with(|it| it.hosts.get(&host).or(it.any.as_ref()).cloned());
            match handler {
                Some(handler) => Ok(handler(request)),
                None => Err((
                    Kind::NotAllowed,
                    format!(
                        "nobody answers for `{url}` in this test: write \
                         `mock::http_client::host(\"{host}\", |request| …)`, or `any`"
                    ),
                )),
            }
        }
        Err(why) => Err((Kind::Invalid, format!("`{url}`: {why}"))),
    };
    match answered {
        Ok(response) => match response.extensions().get::<Fails>() {
            Some(Fails(kind, message)) => fails(conn, *kind, message),
            None => answers(conn, response, url),
        },
        Err((kind, message)) => fails(conn, kind, &message),
    }
}

/// The request with all of its body; the inner error is what is wrong with it.
fn request(message: Message, mut conn: Conn) -> Result<Result<Request<Vec<u8>>, String>, Error> {
    let mut body = message.content;
    if message.body_follows {
        body.clear();
        conn.read_to_end(&mut body)?;
    }
    let mut request = Request::builder()
        .method(&*message.method)
        .uri(&message.url);
    for Header { name, value } in message.headers {
        request = request.header(name, value);
    }
    Ok(request.body(body).map_err(|error| error.to_string()))
}

fn answers(mut conn: Conn, response: Response<Vec<u8>>, url: String) -> Result<(), Error> {
    let (head, body) = response.into_parts();
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| Header {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    };
    let head = Head {
        status: head.status.as_u16().into(),
        headers: head.headers.iter().map(header).collect(),
        url,
        version: 11,
    };
    conn.write_all(&frame(What::Response(head)))?;
    conn.write_all(&body)?;
    Ok(())
}

fn fails(mut conn: Conn, kind: Kind, message: &str) -> Result<(), Error> {
    let kind = number(kind);
    let error = Said {
        kind: kind.into(),
        message: message.to_owned(),
    };
    conn.write_all(&frame(What::Error(error)))?;
    mock::end(Reason::Exit, kind.into(), message)
}

fn number(kind: Kind) -> Number {
    match kind {
        Kind::Invalid => Number::Invalid,
        Kind::NotAllowed => Number::NotAllowed,
        Kind::Dns => Number::Dns,
        Kind::Connect => Number::Connect,
        Kind::Tls => Number::Tls,
        Kind::Timeout => Number::Timeout,
        Kind::TooLarge => Number::TooLarge,
        Kind::Redirect => Number::Redirect,
        Kind::Protocol => Number::Protocol,
        Kind::Busy => Number::Busy,
        Kind::Other => Number::Unknown,
    }
}

fn frame(what: What) -> Vec<u8> {
    let message = Answer { what: Some(what) }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], &message].concat()
}
