//! One call: from the request of the caller to the last byte of the response.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;

use bytes::Bytes;
use http::header;
use http::{Method, Request, Response, StatusCode, Uri, Version as HttpVersion};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use protos::services::http::{Answer, Error, Header, Kind, Request as Message, answer::What};
use protos::{Ending, Reason};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::Client;
use super::body::{self, Progress, Upload};
use super::clock::Clock;
use super::connection::{self, Unanswered};
use super::decode::{Decoder, Offer};
use super::failure::{Failure, chain, protocol};
use super::pool::{Found, Lease, Place};
use super::redirect;
use super::request::{Asked, Content, MESSAGE_MAX, hop_by_hop};
use super::way::{HTTP_2, Way};
use crate::service::frames::{Reader, frame, malformed};
use crate::service::outbound::tls::{explain, server_name};
use crate::service::{Caller, Serving, Session, Sink, Stream};

/// Bytes of a redirect's own body that are read so that its connection can be used again.
const DRAINED: usize = 16 * 1024;

/// A call that has not begun.
pub struct Call {
    pub caller: Caller,
    pub client: Arc<Client>,
    /// Where to run.
    pub runtime: io::Result<Handle>,
}

impl Session for Call {
    fn serve(self: Box<Self>, stream: Stream) -> Serving {
        Box::pin(async move {
            let Self {
                caller,
                client,
                runtime,
            } = *self;
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    let detail = format!("the HTTP client has no thread to run on: {error}");
                    return Ending::new(Reason::Exit, detail);
                }
            };
            let serving = Serves { caller, client };
            let task = AbortOnDropHandle::new(runtime.spawn(serving.serve(stream)));
            match task.await.map_err(tokio::task::JoinError::try_into_panic) {
                Ok(ending) => ending,
                // Whoever waits for this future knows what to make of it.
                Err(Ok(payload)) => resume_unwind(payload),
                Err(Err(_)) => Ending::new(Reason::Exit, "the HTTP client has stopped"),
            }
        })
    }
}

struct Serves {
    caller: Caller,
    client: Arc<Client>,
}

/// Why a call is over early.
enum Stop {
    Failure(Failure),
    /// With this ending, since the caller does not speak the protocol.
    Malformed(Ending),
    /// The caller has ended.
    Gone,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<crate::switchboard::Ended> for Stop {
    fn from(_: crate::switchboard::Ended) -> Self {
        Self::Gone
    }
}

/// A request that was answered.
struct Exchange {
    response: Response<Incoming>,
    lease: Lease,
    progress: Arc<Progress>,
    /// The body of the request is broken off without it.
    _call: Option<body::Call>,
}

impl Serves {
    async fn serve(self, stream: Stream) -> Ending {
        let Stream { inbox, mut sink } = stream;
        let mut answered = false;
        let done = self
            .answer(Reader::new(inbox), &mut sink, &mut answered)
            .await;
        match done {
            // Nobody hears how it ends for a caller that has ended.
            Ok(()) | Err(Stop::Gone) => Ending::new(Reason::Ok, ""),
            Err(Stop::Malformed(ending)) => ending,
            Err(Stop::Failure(failure)) => {
                let error = (!answered).then(|| Error {
                    kind: failure.kind.into(),
                    message: failure.message.clone(),
                });
                let ending = failure.ending();
                sink.conclude(&ending);
                if let Some(error) = error {
                    let what = Some(What::Error(error));
                    // One that has gone wants no answer.
                    let _ = sink.send(frame(&Answer { what })).await;
                }
                ending
            }
        }
    }

    async fn answer(
        &self,
        mut reader: Reader,
        sink: &mut Sink,
        answered: &mut bool,
    ) -> Result<(), Stop> {
        let function = &self.caller.function;
        let limits = &function.limits.http;
        let message = reader.message::<Message>(MESSAGE_MAX).await;
        let message = message.map_err(Stop::Malformed)?;
        let none = || malformed("the stream ended before a request".to_owned());
        let message = message.ok_or_else(none).map_err(Stop::Malformed)?;
        let mut asked = Asked::check(message, limits)?;
        let clock = Clock::new(limits, asked.time);
        let mut reader = Some(reader);
        let (mut crossed, mut followed) = (false, 0);
        loop {
            let way = self
                .client
                .way(function, &asked.target, crossed, asked.version)?;
            let offer = self.offer(&asked);
            let exchange = self
                .ask(&way, &asked, offer.as_ref(), &mut reader, &clock)
                .await?;
            let (status, headers) = (exchange.response.status(), exchange.response.headers());
            if asked.redirects == 0 || !redirect::is_redirect(status, headers) {
                return self
                    .relay(exchange, &way, &asked, offer, &clock, sink, answered)
                    .await;
            }
            if followed == asked.redirects {
                let text = format!(
                    "`{}` redirects once more, after {followed} redirects, the limit `http: \
                     {{redirects: …}}` or what the caller asked for",
                    asked.target.url()
                );
                return Err(Failure::new(Kind::Redirect, text).into());
            }
            followed += 1;
            let before = asked.target.clone();
            redirect::follow(&mut asked, status, headers)?;
            crossed |= !before.same_origin(&asked.target);
            self.drain(exchange, &way, &clock).await;
        }
    }

    /// What a response may come packed in, where the caller leaves that to us. A part of something
    /// packed cannot be unpacked.
    fn offer(&self, asked: &Asked) -> Option<Offer> {
        let own = [header::ACCEPT_ENCODING, header::RANGE];
        let ours = asked.unpacks && !own.iter().any(|name| asked.headers.contains_key(name));
        ours.then(|| self.client.room.offer())
    }

    /// Sends the request; once more where a connection that had waited was closed meanwhile, and it is
    /// sure, or does not matter, that the server has not seen it.
    async fn ask(
        &self,
        way: &Way,
        asked: &Asked,
        offer: Option<&Offer>,
        reader: &mut Option<Reader>,
        clock: &Clock,
    ) -> Result<Exchange, Failure> {
        let host = way.key.target.to_string();
        let (upload, mut progress, call) = self.upload(asked, reader)?;
        let mut request = request(asked, offer, upload)?;
        let mut fresh = false;
        loop {
            let mut lease = self.connection(way, fresh, clock).await?;
            progress.begins();
            let answer = clock
                .head(&host, &progress, lease.sender.send(request))
                .await;
            let Ok(answer) = answer else {
                self.client
                    .pool
                    .distrust(&self.caller.function.name, &lease);
                return Err(answer.err().unwrap_or_else(|| protocol("is lost", &host)));
            };
            let unanswered = match answer {
                Ok(response) if response.status().is_informational() => {
                    let text = "wants to speak another protocol, which nobody has asked for";
                    return Err(protocol(text, &host));
                }
                Ok(response) => {
                    return Ok(Exchange {
                        response,
                        lease,
                        progress,
                        _call: call,
                    });
                }
                Err(unanswered) => *unanswered,
            };
            let again = lease.used && !fresh;
            fresh = true;
            request = match (unanswered, &asked.body) {
                (
                    Unanswered {
                        unsent: Some(unsent),
                        ..
                    },
                    _,
                ) if again => unsent,
                (Unanswered { error, .. }, Content::Whole(bytes))
                    if again && asked.method.is_safe() && was_closed(&error) =>
                {
                    let (upload, theirs) = Upload::whole(bytes.clone());
                    progress = theirs;
                    self::request(asked, offer, upload)?
                }
                (unanswered, _) => {
                    let why = progress.failure();
                    return Err(why.unwrap_or_else(|| self.unanswered(&unanswered, &host)));
                }
            };
        }
    }

    fn upload(
        &self,
        asked: &Asked,
        reader: &mut Option<Reader>,
    ) -> Result<(Upload, Arc<Progress>, Option<body::Call>), Failure> {
        match &asked.body {
            Content::Whole(bytes) => {
                let (upload, progress) = Upload::whole(bytes.clone());
                Ok((upload, progress, None))
            }
            Content::Follows(length) => {
                let limit = self.caller.function.limits.http.request_body;
                // A redirect that needs the body again was refused.
                let reader = reader
                    .take()
                    .ok_or_else(|| Failure::invalid("the body was sent already"))?;
                let (upload, progress, call) = Upload::of_caller(reader, *length, limit);
                Ok((upload, progress, Some(call)))
            }
        }
    }

    fn unanswered(&self, unanswered: &Unanswered, host: &str) -> Failure {
        let Unanswered { error, flooded, .. } = unanswered;
        if *flooded || error.is_parse_too_large() {
            let most = self.caller.function.limits.http.response_head;
            let text = format!(
                "`{host}` sends a head, or interim ones before it, of more than {most} bytes; raise \
                 `limits: {{http: {{response_head: …}}}}`"
            );
            return Failure::new(Kind::TooLarge, text);
        }
        let what = if was_closed(error) {
            "has closed the connection without an answer"
        } else {
            "does not answer as HTTP wants it"
        };
        protocol(format_args!("{what}: {}", chain(error)), host)
    }

    /// A connection that a request can be sent on.
    async fn connection(&self, way: &Way, fresh: bool, clock: &Clock) -> Result<Lease, Failure> {
        let function = &self.caller.function;
        let most = function.limits.http.connections;
        let due = clock.connect();
        let found = self.client.pool.find(&function.name, &way.key, most, fresh);
        let found = in_time(due, found).await.map_err(|_| {
            let most = most.unwrap_or(u32::MAX);
            let text = format!(
                "function `{}` has {most} connections, all in use, the limit `http: {{connections: …}}`",
                function.name
            );
            Failure::new(Kind::Busy, text)
        })?;
        let place = match found {
            Found::Lease(lease) => return Ok(lease),
            Found::Place(place) => place,
        };
        let opened = in_time(due, self.open(way, place)).await;
        opened.unwrap_or_else(|time| {
            let text = format!(
                "there is no connection to `{}` within {time:?}, the limit `http: {{connect: …}}` or \
                 `time`",
                way.key.target
            );
            Err(Failure::new(Kind::Timeout, text))
        })
    }

    async fn open(&self, way: &Way, place: Place) -> Result<Lease, Failure> {
        let function = &self.caller.function;
        let key = &way.key;
        let dialled = self
            .client
            .dialler
            .connect(&key.target, key.trust, None)
            .await;
        let stream = dialled.map_err(|error| Failure::dial(error, way, function))?;
        let tls_failed =
            |why: String| Failure::new(Kind::Tls, format!("no TLS with `{}`: {why}", key.target));
        let wants_many = key.version == protos::services::http::Version::Http2;
        let begun = match &way.tls {
            None => connection::begin(stream, wants_many, key.head, place).await,
            Some(tls) => {
                let name = server_name(&key.target.host).map_err(tls_failed)?;
                let stream = tls.connect(name, stream).await;
                let stream = stream.map_err(|error| tls_failed(explain(&error)))?;
                let many = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
                if wants_many && !many {
                    return Err(tls_failed("it does not speak HTTP/2".to_owned()));
                }
                connection::begin(stream, many, key.head, place).await
            }
        };
        let (sender, driver) = begun.map_err(|error| {
            let text =
                format_args!("does not begin as HTTP wants it: {}", chain(&error)).to_string();
            protocol(text, &key.target.to_string())
        })?;
        Ok(self.client.pool.made(&function.name, key, sender, driver))
    }

    /// Reads the rest of a redirect, if it is short, so that its connection can be used again.
    async fn drain(&self, exchange: Exchange, way: &Way, clock: &Clock) {
        let Exchange {
            response,
            lease,
            progress,
            ..
        } = exchange;
        let mut body = response.into_body();
        let mut left = DRAINED;
        let host = way.key.target.to_string();
        while let Ok(Some(Ok(frame))) = clock.piece(&host, &progress, body.frame()).await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => return,
            }
        }
        if body.is_end_stream() && progress.last().1 {
            self.client.pool.put(&self.caller.function.name, lease);
        }
    }

    /// Hands on the response.
    #[expect(clippy::too_many_arguments, reason = "all that there is of a call")]
    async fn relay(
        &self,
        exchange: Exchange,
        way: &Way,
        asked: &Asked,
        offer: Option<Offer>,
        clock: &Clock,
        sink: &mut Sink,
        answered: &mut bool,
    ) -> Result<(), Stop> {
        let Exchange {
            response,
            lease,
            progress,
            _call,
        } = exchange;
        let host = way.key.target.to_string();
        let (mut parts, mut body) = response.into_parts();
        hop_by_hop(&mut parts.headers);
        let bodiless = asked.method == Method::HEAD
            || matches!(
                parts.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        let mut decoder = match offer.filter(|_| !bodiless) {
            None => None,
            Some(offer) => offer.decoder(&mut parts.headers).map_err(|coding| {
                protocol(format_args!("sends a body packed with {coding}"), &host)
            })?,
        };
        let mut left = Left::new(self.caller.function.limits.http.response_body);
        if decoder.is_none() && !bodiless {
            left.check(body.size_hint().lower(), &host)?;
        }
        let what = Some(What::Response(head(&parts, asked)));
        clock
            .piece(&host, &progress, sink.send(frame(&Answer { what })))
            .await??;
        *answered = true;
        while let Some(frame) = clock.piece(&host, &progress, body.frame()).await? {
            let frame = frame.map_err(|error| {
                let broken = || protocol(format_args!("has broken off: {}", chain(&error)), &host);
                progress.failure().unwrap_or_else(broken)
            })?;
            // What follows a body (trailers) is not handed on.
            let Ok(mut data) = frame.into_data() else {
                continue;
            };
            while let Some(piece) = unpack(&mut decoder, &mut data, &host)? {
                left.take(piece.len(), &host)?;
                clock.piece(&host, &progress, sink.send(piece)).await??;
                // Others have their turn, however much one piece unpacks to.
                tokio::task::consume_budget().await;
            }
        }
        if let Some(decoder) = &mut decoder {
            let rest = decoder.finish().map_err(|error| protocol(error, &host))?;
            left.take(rest.len(), &host)?;
            clock.piece(&host, &progress, sink.send(rest)).await??;
        }
        // Where the request is still on its way the connection is of no more use.
        if progress.last().1 {
            self.client.pool.put(&self.caller.function.name, lease);
        }
        Ok(())
    }
}

/// The next piece of what has come in.
fn unpack(
    decoder: &mut Option<Decoder>,
    data: &mut Bytes,
    host: &str,
) -> Result<Option<Bytes>, Failure> {
    match decoder {
        None => Ok(Some(std::mem::take(data)).filter(|data| !data.is_empty())),
        Some(decoder) => decoder.unpack(data).map_err(|error| {
            let kind = match error {
                super::decode::Broken::Bomb => Kind::TooLarge,
                super::decode::Broken::Data(_) => Kind::Protocol,
            };
            Failure::new(kind, format!("`{host}` {error}"))
        }),
    }
}

/// What is left of the limit on a response's body.
struct Left(Option<(u64, u64)>);

impl Left {
    fn new(most: Option<u64>) -> Self {
        Self(most.map(|most| (most, most)))
    }

    fn too_large(most: u64, host: &str) -> Failure {
        let text = format!(
            "the response of `{host}` is longer than {most} bytes; raise `limits: {{http: \
             {{response_body: …}}}}`"
        );
        Failure::new(Kind::TooLarge, text)
    }

    /// Whether so many bytes are too many from the beginning.
    fn check(&self, bytes: u64, host: &str) -> Result<(), Failure> {
        match self.0 {
            Some((most, left)) if bytes > left => Err(Self::too_large(most, host)),
            _ => Ok(()),
        }
    }

    fn take(&mut self, bytes: usize, host: &str) -> Result<(), Failure> {
        self.check(bytes as u64, host)?;
        if let Some((_, left)) = &mut self.0 {
            *left -= bytes as u64;
        }
        Ok(())
    }
}

/// Waits at most so long; the error is how long that was.
async fn in_time<T>(
    due: Option<(Instant, std::time::Duration)>,
    work: impl Future<Output = T>,
) -> Result<T, std::time::Duration> {
    match due {
        None => Ok(work.await),
        Some((at, time)) => timeout_at(at, work).await.map_err(|_| time),
    }
}

/// Whether a server has closed its connection before it answered, as it may do with one that waits.
fn was_closed(error: &hyper::Error) -> bool {
    let reset = || {
        let source = std::error::Error::source(error);
        let io = source.and_then(|source| source.downcast_ref::<io::Error>());
        let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        io.is_some_and(|io| kinds.contains(&io.kind()))
    };
    error.is_incomplete_message() || error.is_closed() || error.is_canceled() || reset()
}

fn request(
    asked: &Asked,
    offer: Option<&Offer>,
    upload: Upload,
) -> Result<Request<Upload>, Failure> {
    let url = asked.target.url();
    let uri: Uri = url.as_str().parse().map_err(|error| {
        Failure::invalid(format!("the URL `{url}` cannot be asked for: {error}"))
    })?;
    let mut request = Request::new(upload);
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = asked.headers.clone();
    if let Some(offer) = offer {
        request
            .headers_mut()
            .insert(header::ACCEPT_ENCODING, offer.header());
    }
    Ok(request)
}

fn head(parts: &http::response::Parts, asked: &Asked) -> protos::services::http::Response {
    let headers = parts.headers.iter().map(|(name, value)| Header {
        name: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    });
    protos::services::http::Response {
        status: parts.status.as_u16().into(),
        headers: headers.collect(),
        url: asked.target.url().as_str().to_owned(),
        version: match parts.version {
            HttpVersion::HTTP_10 => 10,
            HttpVersion::HTTP_2 => 20,
            _ => 11,
        },
    }
}
