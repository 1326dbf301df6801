//! One call: what the caller asks for, whether it may, the connection, and then its bytes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use prost::Message;
use protos::services::tcp::{
    Answer, Error, Kind, Open, Opened, Step, Tls, answer, step::Step as Is,
};
use protos::{Ending, Errno, Reason};
use tokio::time::timeout;

use super::pump::{self, Activity};
use super::wire::Wire;
use super::{Shared, permitted, unreachable, without_tls};
use crate::allow::TcpGrant;
use crate::service::frames::{self, Reader, malformed};
use crate::service::outbound::{
    Connection, DialError, Host, HostPort, Trust,
    tls::{explain, server_name},
};
use crate::service::{Caller, Serving, Session, Sink, Stream};

/// The longest `Open`, in bytes: two names and the protocols that are offered.
const OPEN_MAX: usize = 8 * 1024;

/// The longest `Step`, in bytes: what is said before TLS is short.
const STEP_MAX: usize = 64 * 1024;

/// Protocols that are offered (ALPN) …
const ALPN_MAX: usize = 16;

/// … and bytes of each name, RFC 7301.
const ALPN_NAME_MAX: usize = 255;

/// Bytes of data in a step to the caller.
const STEP_DATA: usize = 16 * 1024;

const _: () = assert!(ALPN_MAX * ALPN_NAME_MAX < OPEN_MAX / 2);

/// One call.
pub struct Connects {
    pub shared: Arc<Shared>,
    pub caller: Caller,
}

impl Session for Connects {
    fn serve(self: Box<Self>, stream: Stream) -> Serving {
        Box::pin(async move {
            match self.run(stream).await {
                Ok(()) => Ending::new(Reason::Ok, ""),
                Err(ending) => ending,
            }
        })
    }
}

/// Why there is no connection, or no TLS.
enum Failure {
    /// The caller may not, or does not speak the protocol: the ending says so.
    Refused(Ending),
    /// It was tried: an answer says so.
    Failed(Kind, String),
}

impl From<Ending> for Failure {
    fn from(ending: Ending) -> Self {
        Self::Refused(ending)
    }
}

impl Connects {
    async fn run(&self, stream: Stream) -> Result<(), Ending> {
        let Stream { inbox, mut sink } = stream;
        let mut reader = Reader::new(inbox);
        let limits = self.caller.function.limits.tcp;
        let activity = Activity::new();
        let open = activity.guard(limits.idle, reader.message::<Open>(OPEN_MAX));
        let open = open.await?;
        let open = open.ok_or_else(|| malformed("the stream ended before `Open`".into()))?;
        // Lives as long as the connection.
        let counted = self.shared.count(&self.caller)?;
        let (target, grant, wire) = match self.connect(&open, limits.connect).await {
            Ok(connected) => connected,
            Err(failure) => return Err(refuse(failure, &mut sink, |answer| answer).await),
        };
        tell(&mut sink, &opened(&wire)).await;
        let wire = match open.starttls {
            false => wire,
            true => {
                let upgrade = Upgrade {
                    call: self,
                    target: &target,
                    grant,
                    within: limits.connect,
                    activity: Activity::new(),
                };
                let steps = upgrade.run(wire, &mut reader, &mut sink);
                upgrade.activity.guard(limits.idle, steps).await?
            }
        };
        pump::pump(wire, counted, reader, sink, limits.idle).await
    }

    /// The connection, with TLS where that was asked for.
    async fn connect(
        &self,
        open: &Open,
        within: Option<Duration>,
    ) -> Result<(HostPort, &TcpGrant, Wire), Failure> {
        let target = target(open)?;
        let (grant, trust) = permitted(&self.caller, &target)?;
        if open.starttls && open.tls.is_some() {
            return Err(malformed("`tls` and `starttls` exclude each other".into()).into());
        }
        if grant.tls && open.tls.is_none() {
            return Err(without_tls(&self.caller, &target, grant).into());
        }
        let tls = match &open.tls {
            Some(tls) => Some(self.prepare(tls, &target, grant)?),
            None => None,
        };
        let connecting = async {
            let wire = Wire::plain(self.dial(&target, grant, trust).await?);
            match tls {
                Some(tls) => tls.begin(wire, &target).await,
                None => Ok(wire),
            }
        };
        let wire = in_time(within, &target, connecting).await?;
        Ok((target, grant, wire))
    }

    async fn dial(
        &self,
        target: &HostPort,
        grant: &TcpGrant,
        trust: Trust,
    ) -> Result<Connection, Failure> {
        let dialled = self.shared.dialler.connect(target, trust, None).await;
        dialled.map_err(|error| match &error {
            DialError::Refused(refused) => {
                Failure::Refused(unreachable(refused, grant, &self.caller))
            }
            DialError::Full(_) => Ending::refused(Errno::AGAIN, error.to_string()).into(),
            DialError::Resolve(_) => Failure::Failed(Kind::Name, error.to_string()),
            DialError::Timeout { .. } => Failure::Failed(Kind::Timeout, error.to_string()),
            DialError::Connect { tried, .. } => Failure::Failed(
                kind(tried.iter().map(|(_, error)| error)),
                error.to_string(),
            ),
        })
    }

    /// What is needed to begin TLS.
    fn prepare(&self, tls: &Tls, target: &HostPort, grant: &TcpGrant) -> Result<Prepared, Failure> {
        let fits = |name: &String| (1..=ALPN_NAME_MAX).contains(&name.len());
        if tls.alpn.len() > ALPN_MAX || !tls.alpn.iter().all(fits) {
            let detail =
                format!("`alpn` has at most {ALPN_MAX} names of 1 to {ALPN_NAME_MAX} bytes each");
            return Err(malformed(detail).into());
        }
        let host = match tls.server_name.as_str() {
            "" => target.host.clone(),
            name => name
                .parse::<Host>()
                .map_err(|error| malformed(format!("`server_name`: {error}")))?,
        };
        let name = server_name(&host).map_err(|why| Failure::Failed(Kind::Tls, why))?;
        // It is there since the project with this entry is.
        let missing = || Failure::Failed(Kind::Tls, "TLS is not prepared".to_owned());
        let client = self.shared.client(&grant.ca).ok_or_else(missing)?;
        let client = match tls.alpn.as_slice() {
            [] => client,
            names => client.offering(names.iter().map(|name| name.clone().into_bytes()).collect()),
        };
        Ok(Prepared { client, name })
    }
}

/// TLS that is about to begin.
struct Prepared {
    client: crate::service::outbound::tls::Client,
    name: tokio_rustls::rustls::pki_types::ServerName<'static>,
}

impl Prepared {
    async fn begin(self, wire: Wire, target: &HostPort) -> Result<Wire, Failure> {
        let begun = self.client.connect(self.name, wire).await;
        begun.map(Wire::tls).map_err(|error| {
            let why = explain(&error);
            Failure::Failed(
                Kind::Tls,
                format!("cannot begin TLS with `{target}`: {why}"),
            )
        })
    }
}

fn target(open: &Open) -> Result<HostPort, Ending> {
    let host = open.host.parse::<Host>();
    let host = host.map_err(|error| malformed(error.to_string()))?;
    let port = u16::try_from(open.port).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| malformed(format!("{} is not a port", open.port)))?;
    Ok(HostPort { host, port })
}

async fn in_time<T>(
    within: Option<Duration>,
    target: &HostPort,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(within) = within else {
        return work.await;
    };
    timeout(within, work).await.unwrap_or_else(|_| {
        let text = format!(
            "cannot connect to `{target}` within {within:?}, the limit `tcp: {{connect: …}}`"
        );
        Err(Failure::Failed(Kind::Timeout, text))
    })
}

/// What kind of failure it is, where one address after the other has failed: the first that says
/// something of the other side.
fn kind<'e>(errors: impl Iterator<Item = &'e io::Error>) -> Kind {
    let kinds = errors.map(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => Kind::Refused,
        io::ErrorKind::TimedOut => Kind::Timeout,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Kind::Unreachable,
        _ => Kind::Other,
    });
    let weight = |kind: &Kind| match kind {
        Kind::Refused => 3,
        Kind::Timeout => 2,
        Kind::Unreachable => 1,
        Kind::Other | Kind::Name | Kind::Tls => 0,
    };
    kinds.max_by_key(weight).unwrap_or(Kind::Other)
}

fn opened(wire: &Wire) -> Answer {
    // One that has broken in this moment shows with the first byte.
    let peer = wire.connection().peer();
    let opened = Opened {
        peer: peer.map(|peer| peer.to_string()).unwrap_or_default(),
        alpn: wire.alpn(),
    };
    Answer {
        answer: Some(answer::Answer::Opened(opened)),
    }
}

/// The ending of a failure, after an answer where there is one.
async fn refuse<M: Message>(
    failure: Failure,
    sink: &mut Sink,
    wrap: impl FnOnce(Answer) -> M,
) -> Ending {
    match failure {
        Failure::Refused(ending) => ending,
        Failure::Failed(kind, message) => {
            let error = Error {
                kind: kind.into(),
                message: message.clone(),
            };
            let answer = Answer {
                answer: Some(answer::Answer::Error(error)),
            };
            let ending = Ending::new(Reason::Exit, message);
            sink.conclude(&ending);
            tell(sink, &wrap(answer)).await;
            ending
        }
    }
}

async fn tell(sink: &mut Sink, message: &impl Message) {
    // A caller that has gone wants no answer.
    let _ = sink.send(frames::frame(message)).await;
}

fn step(is: Is) -> Step {
    Step { step: Some(is) }
}

/// A connection that begins without TLS.
struct Upgrade<'a> {
    call: &'a Connects,
    target: &'a HostPort,
    grant: &'a TcpGrant,
    within: Option<Duration>,
    activity: Activity,
}

impl Upgrade<'_> {
    /// Carries steps until TLS begins, or does not.
    async fn run(
        &self,
        mut wire: Wire,
        reader: &mut Reader,
        sink: &mut Sink,
    ) -> Result<Wire, Ending> {
        let mut buffer = BytesMut::new();
        loop {
            // What arrives last before TLS belongs to TLS, so the caller's wish comes first.
            let said = tokio::select! {
                biased;
                said = reader.message::<Step>(STEP_MAX) => said?,
                read = pump::read(&mut wire, &mut buffer) => {
                    let bytes = read.map_err(|error| pump::broken(&error))?;
                    let Some(mut bytes) = bytes else {
                        let detail = "the other side has closed the connection before TLS";
                        return Err(Ending::new(Reason::Exit, detail));
                    };
                    self.activity.seen();
                    while !bytes.is_empty() {
                        let piece = bytes.split_to(bytes.len().min(STEP_DATA));
                        tell(sink, &step(Is::Data(piece))).await;
                    }
                    continue;
                }
            };
            let said = said.ok_or_else(|| malformed("the stream ended before TLS".into()))?;
            match said.step {
                Some(Is::Data(bytes)) => {
                    let written = pump::write(&mut wire, &bytes, &self.activity).await;
                    written.map_err(|error| pump::broken(&error))?;
                }
                Some(Is::StartTls(tls)) => {
                    let answer = |answer| step(Is::Answer(answer));
                    return match self.start(wire, &tls).await {
                        Ok(wire) => {
                            tell(sink, &answer(opened(&wire))).await;
                            Ok(wire)
                        }
                        Err(failure) => Err(refuse(failure, sink, answer).await),
                    };
                }
                Some(Is::StayPlain(_)) => {
                    tell(sink, &step(Is::Answer(opened(&wire)))).await;
                    return Ok(wire);
                }
                Some(Is::Answer(_)) | None => {
                    return Err(malformed("that is not a step of the caller".into()));
                }
            }
        }
    }

    async fn start(&self, wire: Wire, tls: &Tls) -> Result<Wire, Failure> {
        let prepared = self.call.prepare(tls, self.target, self.grant)?;
        let begins = prepared.begin(wire, self.target);
        in_time(self.within, self.target, begins).await
    }
}
