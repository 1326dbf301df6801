//! One request: the function is started, the request is sent to it, its response is checked
//! and sent on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use protos::{Ending, Reason};
use tokio::time::sleep;

use super::super::{Gateway, Site, Workbench};
use super::access::Access;
use super::admit::{self, Admitted};
use super::answer::{Answer, Body, pass_over};
use super::before::{self, Verdict};
use super::connection::Client;
use super::decode::Framing;
use super::files::FileBody;
use super::head::{self, Head, REQUEST_ID};
use super::page::{self, What};
use super::refuse::{self, Form, Told};
use super::reload;
use super::route::{self, Asked, Asset, Decided, Decision};
use super::sound;
use super::taken::Within;
use super::upload::{self, Upload};
use super::websocket;
use crate::config::Timeouts;
use crate::limits::{IDLE, Limits, WALL_HTTP};
use crate::pool::Function;
use crate::switchboard::{Exchange, Origin, Source, StreamEvent, Times};

/// Answers one request, as long as somebody is there.
///
/// # Errors
/// [`NoAnswer`].
pub async fn handle(
    site: &Site,
    client: &Client,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, NoAnswer> {
    let client = &client.of(&mut request);
    let request_id = client.request_id.clone();
    let request_id = request_id.unwrap_or_else(new_request_id);
    let gateway = site.of(route::host(&request));
    let gateway = &gateway.as_ref();
    let at = gateway.cloned().unwrap_or_else(|| site.first());
    if let Some(gateway) = gateway
        && let Some((bench, known)) = reload::asked(gateway, &request)
    {
        return Ok(reload::answer(bench, known, client, &request_id).await);
    }
    let mut access = Access::new(&at, client, &request, request_id.clone());
    if let Some(status) = sound::unacceptable(&request) {
        access.answers(status);
        access.reason = None;
        return Ok(refuse::bare(status, &request_id).map(Body::full));
    }
    head::drop_listed(request.headers_mut());
    let Decided {
        mut decision,
        policy,
        before,
    } = match gateway {
        Some(gateway) => route::decide(gateway, &request, &request_id),
        None => {
            let status = StatusCode::MISDIRECTED_REQUEST;
            Decided::answer(refuse::own(
                status,
                Form::asked(request.headers()),
                &request_id,
            ))
        }
    };
    let after = policy.after(&request);
    let was_head = request.method() == Method::HEAD;
    let reporter = at.switchboard.reporter();
    let admitted = policy.admit(client, &mut request, &request_id, reporter);
    let admitted = admitted.await;
    let wrong = wrong_file(&at, &request);
    let answer = match (admitted, before, wrong) {
        (Ok(_), _, Some((bench, wrong))) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            let response = refuse::own(status, Form::Page, &request_id);
            explained((&at, bench), What::Project(wrong), response, access).await
        }
        (Ok(user), Some(mut asked), None) => {
            access.user(&user);
            asked.user.clone_from(&user);
            decision.tell(user);
            let to = (&at, &asked, client);
            match before::ask(to, &mut request, &request_id, access).await? {
                Verdict::GoOn(same) => {
                    reply(&at, decision, client, request, request_id, *same).await?
                }
                Verdict::Answer(answer) => answer,
            }
        }
        (admitted, ..) => {
            match admitted {
                Ok(user) => {
                    access.user(&user);
                    decision.tell(user);
                }
                Err(response) => decision = Decision::Answer(response),
            }
            reply(&at, decision, client, request, request_id, access).await?
        }
    };
    let mut answer = after.finish(answer).await;
    page::keep_policy(&mut answer);
    // Where no function says how long, its gateway does.
    if let Some(gateway) = gateway
        && answer.extensions().get::<Within>().is_none()
    {
        let within = Within(gateway.behind().within);
        answer.extensions_mut().insert(within);
    }
    Ok(if was_head { head_alone(answer) } else { answer })
}

/// An answer of the gateway's own without its body, whose length its head tells. Over HTTP/2 hyper
/// leaves it to others that there is none.
fn head_alone(mut answer: Response<Body>) -> Response<Body> {
    if let Body::Full(body) = answer.body()
        && let Some(length @ 1..) = body.size_hint().exact()
    {
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
        *answer.body_mut() = Body::full(Bytes::new());
    }
    answer
}

/// The answer that was decided on.
async fn reply(
    gateway: &Arc<Gateway>,
    decision: Decision,
    client: &Client,
    request: Request<Incoming>,
    request_id: HeaderValue,
    mut access: Access,
) -> Result<Response<Body>, NoAnswer> {
    let form = Form::asked(request.headers());
    let asked = match decision {
        Decision::File(asset) => {
            return Ok(file((gateway, form), &asset, request, &request_id, access).await);
        }
        Decision::Start(asked) => asked,
        Decision::Answer(response) => {
            access.answers(response.status());
            access.bytes = response.body().len() as u64;
            access.reason = None;
            return Ok(response.map(Body::full));
        }
    };
    access.function = Arc::clone(&asked.name);
    if let Some(bench) = &gateway.dev
        && bench.project().is_broken(&asked.name)
        && (form == Form::Page && access.is_get() || asked.current().is_err())
    {
        let refusal = route::unbuilt(&asked.name).into();
        return refused((gateway, client), refusal, form, &request_id, access).await;
    }
    let to = (gateway, &asked, client);
    if let Some(settings) = asked.websocket() {
        return websocket::answer(to, settings, request, &request_id, access).await;
    }
    let answered = answer(to, request, &request_id, &mut access).await;
    match answered {
        Ok(answered) => Ok(given(gateway, answered, form, request_id, access).await),
        Err(refusal) => refused((gateway, client), refusal, form, &request_id, access).await,
    }
}

/// Answers instead of the function.
///
/// # Errors
/// [`NoAnswer`].
pub async fn refused(
    (gateway, client): (&Gateway, &Client),
    Refusal { mut ending, status }: Refusal,
    form: Form,
    request_id: &HeaderValue,
    mut access: Access,
) -> Result<Response<Body>, NoAnswer> {
    if ending.reason == Reason::Overloaded {
        let wait = gateway.refusals.wait(Instant::now());
        if !wait.is_zero() {
            tokio::select! {
                () = sleep(wait) => {}
                () = client.reset() => return Err(NoAnswer),
            }
        }
    }
    access.reason = Some(ending.reason);
    let status = status
        .or_else(|| StatusCode::from_u16(ending.reason.http_status()?).ok())
        .ok_or(NoAnswer)?;
    let dev = gateway.dev.as_ref();
    let reporter = gateway.switchboard.reporter();
    if dev.is_some() {
        reporter.masks().mask_in(&mut ending.detail);
    }
    let told = dev.map(|_| Told::of(&ending, &access.function));
    let mut response = refuse::answer(status, &ending, form, request_id, told.as_ref());
    if let (Form::Page, Some(bench)) = (form, dev) {
        let what = What::Ended(ending);
        page::dress(bench, reporter, &access, what, &mut response).await;
    }
    if status == StatusCode::REQUEST_TIMEOUT {
        // What may still come is of no use.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    access.answers(status);
    access.bytes = response.body().len() as u64;
    Ok(response.map(Body::full))
}

/// What a function has answered. Where its handler has failed, somebody who works on it sees why.
pub async fn given(
    gateway: &Gateway,
    answered: Answered,
    form: Form,
    request_id: HeaderValue,
    mut access: Access,
) -> Response<Body> {
    if !head::has_failed(&answered.head) {
        return answered.pass_on(request_id, access);
    }
    access.handler_failed();
    let Some(bench) = &gateway.dev else {
        return answered.pass_on(request_id, access);
    };
    pass_over(answered.source);
    let ending = Ending::new(Reason::Exit, "");
    let told = page::told(gateway.switchboard.reporter(), &access).await;
    let status = answered.head.status;
    let response = refuse::answer(status, &ending, form, &request_id, Some(&told));
    if form == Form::Page {
        return explained((gateway, bench), What::Handler, response, access).await;
    }
    access.answers(status);
    access.bytes = response.body().len() as u64;
    access.reason = None;
    response.map(Body::full)
}

/// What is wrong with the project file, for somebody who works on it and goes to a page.
fn wrong_file<'a, T>(
    gateway: &'a Gateway,
    request: &Request<T>,
) -> Option<(&'a Arc<Workbench>, String)> {
    let bench = gateway.dev.as_ref()?;
    let goes = request.method() == Method::GET && Form::asked(request.headers()) == Form::Page;
    let wrong = goes.then(|| bench.project().wrong.clone()).flatten()?;
    Some((bench, wrong))
}

/// A page for somebody who works on the project, in place of what others get.
async fn explained(
    (gateway, bench): (&Gateway, &Arc<Workbench>),
    what: What,
    mut response: Response<Bytes>,
    mut access: Access,
) -> Response<Body> {
    let reporter = gateway.switchboard.reporter();
    page::dress(bench, reporter, &access, what, &mut response).await;
    access.answers(response.status());
    access.bytes = response.body().len() as u64;
    access.reason = None;
    response.map(Body::full)
}

/// Answers with a file.
async fn file(
    (gateway, form): (&Gateway, Form),
    asset: &Asset,
    request: Request<Incoming>,
    request_id: &HeaderValue,
    mut access: Access,
) -> Response<Body> {
    // The answer does not depend on a body, which hyper passes over.
    let request = request.map(|_| ());
    let status = match asset.answer(request).await {
        Ok(Some(mut response)) => {
            access.answers(response.status());
            let id = request_id.clone();
            response.headers_mut().insert(REQUEST_ID, id);
            let (parts, body) = response.into_parts();
            let body = FileBody::new(&parts.headers, body, access);
            return Response::from_parts(parts, Body::File(Box::new(body)));
        }
        Ok(None) => StatusCode::NOT_FOUND,
        Err(error) => {
            gateway.switchboard.reporter().warn(format!(
                "gateway `{}`: `{}` cannot be read: {error}",
                gateway.name,
                access.path()
            ));
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    let response = refuse::own(status, form, request_id);
    access.answers(status);
    access.bytes = response.body().len() as u64;
    access.reason = None;
    response.map(Body::full)
}

/// There is nobody to answer: the connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("the client is gone")]
pub struct NoAnswer;

/// Why a request does not get the function's answer.
#[derive(Debug)]
pub struct Refusal {
    ending: Ending,
    /// Another status than that of the ending's reason.
    status: Option<StatusCode>,
}

impl From<Ending> for Refusal {
    fn from(ending: Ending) -> Self {
        Self {
            ending,
            status: None,
        }
    }
}

/// UUID version 7: sorts by time.
fn new_request_id() -> HeaderValue {
    HeaderValue::try_from(uuid::Uuid::now_v7().to_string())
        .unwrap_or(HeaderValue::from_static("unknown"))
}

/// What a function answers.
#[derive(Debug)]
pub struct Answered {
    /// Its head.
    pub head: Head,
    /// What followed it.
    body: BytesMut,
    /// The rest.
    pub source: Source,
    /// The limit `response_body` that holds for it.
    most: u64,
    /// How long the client may take nothing of it.
    within: Option<Duration>,
}

impl Answered {
    /// To the client.
    pub fn pass_on(self, request_id: HeaderValue, mut access: Access) -> Response<Body> {
        let Self { head, .. } = self;
        let mut response = Response::new(());
        response.extensions_mut().insert(Within(self.within));
        *response.status_mut() = head.status;
        *response.headers_mut() = head::without_own(head.headers);
        response.headers_mut().insert(REQUEST_ID, request_id);
        access.answers(head.status);
        let answer = Answer::new(head.framing, self.body, self.source, access, self.most);
        response.map(|()| Body::Answer(Box::new(answer)))
    }
}

/// An invocation for a request, which is then as the function gets it.
#[derive(Debug)]
pub struct Started {
    /// Both ways.
    pub exchange: Exchange,
    /// What is started.
    pub function: Arc<Function>,
    /// What it is told beside the request, as headers.
    pub told: Vec<(String, String)>,
}

/// Starts the function, when there is room for it.
///
/// # Errors
/// Why not.
pub async fn start<B: hyper::body::Body>(
    (gateway, asked, client): (&Arc<Gateway>, &Asked, &Client),
    times: impl Fn(&Limits) -> Times,
    request: &mut Request<B>,
    request_id: &HeaderValue,
    access: &mut Access,
) -> Result<Started, Refusal> {
    let function = asked.current()?;
    check_size(request, &function)?;
    let Admitted {
        function,
        permit,
        queued,
    } = admit::admit(gateway, asked, client, function).await?;
    let origin = Origin {
        gateway: Some(Arc::clone(&gateway.name)),
        request_id: request_id.to_str().ok().map(Arc::from),
        requested: Some(access.requested()),
        queued,
        env: asked.env(),
        told: Some(access.waits()),
        trial: gateway.trial.clone(),
        ..Origin::default()
    };
    let times = times(&function.limits);
    let exchange = gateway
        .switchboard
        .start(Arc::clone(&function), permit, origin, times)?;
    access.address = Some(exchange.source.address());
    asked.rewrite(request);
    let mut told = asked.headers();
    let asker = client.asker();
    told.push(("embly-client".to_owned(), asker.ip.to_string()));
    told.push(("embly-scheme".to_owned(), asker.scheme.to_owned()));
    told.push((
        REQUEST_ID.to_string(),
        request_id.to_str().unwrap_or_default().to_owned(),
    ));
    Ok(Started {
        exchange,
        function,
        told,
    })
}

/// Starts the function, sends it the request, and waits for the head of its answer.
///
/// # Errors
/// Why there is none.
pub async fn answer<B>(
    (gateway, asked, client): (&Arc<Gateway>, &Asked, &Client),
    mut request: Request<B>,
    request_id: &HeaderValue,
    access: &mut Access,
) -> Result<Answered, Refusal>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    let Timeouts { body, response, .. } = gateway.behind().timeouts;
    let was_head = request.method() == Method::HEAD;
    let times = |limits: &Limits| Times {
        wall: limits.wall.or(Some(WALL_HTTP)),
        idle: limits.idle.or(Some(IDLE)),
        response: response.or(None),
        head: true,
        total: limits.total,
        background: limits.background,
    };
    let to = (gateway, asked, client);
    let Started {
        exchange: Exchange { sink, source },
        function,
        told,
    } = start(to, times, &mut request, request_id, access).await?;
    let body_limit = function.limits.request_body.unwrap_or(u64::MAX);
    let most = function.limits.response_body.unwrap_or(u64::MAX);
    let Times { idle, response, .. } = times(&function.limits);
    let upload = Upload {
        most: body_limit,
        within: body,
        taken: Arc::clone(&access.taken),
        slow: Arc::default(),
        _under_way: client.request(),
    };
    let slow = Arc::clone(&upload.slow);
    tokio::spawn(upload.run(request, told, sink));
    let (head, body, source) = tokio::select! {
        answered = receive_head(source, was_head) => answered.map_err(|ending| {
            let slow = ending.reason == Reason::ClientGone && slow.load(Ordering::Relaxed);
            let status = slow.then_some(StatusCode::REQUEST_TIMEOUT);
            Refusal { ending, status }
        })?,
        // Nobody asks for more, which ends the invocation.
        () = client.reset() => return Err(Ending::new(Reason::ClientGone, "").into()),
    };
    if let Framing::Length(length) = head.framing
        && length > most
    {
        let ending = super::answer::too_large(most);
        return Err(condemn(source, ending.reason, &ending.detail).into());
    }
    source.head_received();
    Ok(Answered {
        head,
        body,
        source,
        most,
        within: idle.into_iter().chain(response).min(),
    })
}

fn check_size<B: hyper::body::Body>(
    request: &Request<B>,
    function: &Function,
) -> Result<(), Refusal> {
    let limit = function.limits.request_head as usize;
    let size = head::size(request);
    if size > limit {
        let detail = format!("limit `request_head` reached: {size} bytes, {limit} allowed");
        let status = Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        return Err(Refusal {
            ending: Ending::new(Reason::TooLarge, detail),
            status,
        });
    }
    match (
        request.body().size_hint().exact(),
        function.limits.request_body,
    ) {
        (Some(bytes), Some(limit)) if bytes > limit => Err(upload::too_large(limit).into()),
        _ => Ok(()),
    }
}

/// In so many bytes it shows whether it is HTTP at all.
const FIRST_LINE: usize = 64;

/// Waits for the head of the response; what followed it comes along.
async fn receive_head(
    mut source: Source,
    was_head: bool,
) -> Result<(Head, BytesMut, Source), Ending> {
    let mut bytes = BytesMut::new();
    let mut received = 0;
    loop {
        match source.next().await {
            Some(StreamEvent::Data(data)) => {
                bytes.extend_from_slice(&data);
                received += data.len();
                // A head that comes in small pieces is not read anew for each of them.
                if bytes.len() > FIRST_LINE
                    && bytes.len() < head::RESPONSE_HEAD
                    && !data.contains(&b'\n')
                {
                    continue;
                }
                match head::response(&mut bytes, was_head) {
                    Ok(Some(head)) => return Ok((head, bytes, source)),
                    // Interim responses that were dropped count as well.
                    Ok(None) if received > head::RESPONSE_HEAD => {
                        let detail = head::BadHead::TooLong.to_string();
                        return Err(condemn(source, Reason::BadResponse, &detail));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        return Err(condemn(source, Reason::BadResponse, &error.to_string()));
                    }
                }
            }
            Some(StreamEvent::HalfClose) => {
                let (reason, detail) = without_head(&bytes);
                return Err(condemn(source, reason, detail));
            }
            Some(StreamEvent::Ended(mut finished)) => {
                let (reason, detail) = without_head(&bytes);
                finished.amend(reason, detail);
                return Err(finished.ending.clone());
            }
            None => return Err(Ending::new(Reason::Lost, "the exchange broke off")),
        }
    }
}

fn without_head(bytes: &[u8]) -> (Reason, &'static str) {
    if bytes.is_empty() {
        (Reason::NoResponse, "it ended without a response")
    } else {
        (Reason::BadResponse, "its response breaks off in the head")
    }
}

fn condemn(source: Source, reason: Reason, detail: &str) -> Ending {
    let ending = Ending::new(reason, detail);
    source.condemn(ending.clone());
    ending
}
