//! One WebSocket from its 101 to its end: messages both ways, and who closes it with which code.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use protos::{Ending, Reason};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::super::super::closed;
use super::super::access::Access;
use super::super::connection::Client;
use super::frame::{self, Decoder};
use crate::config::Websocket;
use crate::switchboard::{Ended, Exchange, Sink, Source, StreamEvent};

/// A client that was told to close says so as well within this time, or is not waited for.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A connection that broke off is read so long, so that the client sees why.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes that are read at once; each connection has them, whether it says anything or not.
const READ: usize = 8 * 1024;

/// Bytes that are written at once, at least, where there is more to write.
const WRITE: usize = 32 * 1024;

type Socket = WebSocketStream<Listening>;

/// Passes messages on until one side ends.
pub async fn talk(
    upgrade: OnUpgrade,
    opening: Bytes,
    exchange: Exchange,
    settings: Arc<Websocket>,
    client: Client,
    access: Access,
) {
    let Exchange { sink, source } = exchange;
    let Ok(upgraded) = upgrade.await else {
        let gone = "the client was gone before the WebSocket began";
        return source.condemn(Ending::new(Reason::ClientGone, gone));
    };
    let shared = Arc::new(Shared::new());
    let stream = Listening {
        stream: TokioIo::new(upgraded),
        shared: Arc::clone(&shared),
    };
    let most = settings.message as usize;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(WRITE)
        .max_message_size(Some(most))
        .max_frame_size(Some(most));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let (writer, reader) = socket.split();
    let taken = Arc::clone(&access.taken);
    let upload = upload(reader, sink, opening, Arc::clone(&shared), taken);
    let upload = tokio::spawn(upload);
    let talk = Talk {
        writer,
        source,
        access,
        decoder: Decoder::new(settings.message),
        closing: None,
        shared,
    };
    talk.run(upload, Pings::new(settings.ping), client).await;
}

/// What both directions know.
#[derive(Debug)]
struct Shared {
    /// Bytes that the client has sent.
    heard: AtomicU64,
    /// Whether the client is not read because the function has no room.
    held_back: AtomicBool,
    /// What our pings carry, so that their pongs are not shown to the function.
    mark: [u8; 8],
    /// Nothing is to be read any more.
    enough: Notify,
}

impl Shared {
    fn new() -> Self {
        Self {
            heard: AtomicU64::new(0),
            held_back: AtomicBool::new(false),
            mark: rand::random(),
            enough: Notify::new(),
        }
    }
}

/// How the client's direction ended.
enum Said {
    /// With a close of its own, or the answer to ours.
    Close(Option<CloseFrame>),
    /// With something that is no WebSocket message.
    Nonsense(Error),
    /// Without a word.
    Gone,
    /// There is nobody to read it.
    Unread,
}

/// The client's direction, after its end.
type Uploaded = (SplitStream<Socket>, Sink, Said);

async fn upload(
    mut reader: SplitStream<Socket>,
    mut sink: Sink,
    opening: Bytes,
    shared: Arc<Shared>,
    taken: Arc<AtomicU64>,
) -> Uploaded {
    let said = tokio::select! {
        said = forward(&mut reader, &mut sink, opening, (&shared, &taken)) => said.unwrap_or(Said::Unread),
        () = shared.enough.notified() => Said::Gone,
    };
    (reader, sink, said)
}

/// Nothing is read from the client that the function has no room for.
async fn forward(
    reader: &mut SplitStream<Socket>,
    sink: &mut Sink,
    opening: Bytes,
    (shared, taken): (&Shared, &AtomicU64),
) -> Result<Said, Ended> {
    send(sink, frame::OPEN, opening).await?;
    loop {
        shared.held_back.store(true, Ordering::Relaxed);
        sink.ready().await?;
        shared.held_back.store(false, Ordering::Relaxed);
        let message = tokio::select! {
            message = reader.next() => message,
            () = sink.ended() => return Err(Ended),
        };
        let message = match message {
            Some(Ok(Message::Close(frame))) => return Ok(Said::Close(frame)),
            Some(Ok(Message::Pong(mark))) if *mark == shared.mark => continue,
            Some(Ok(message)) => message,
            Some(Err(
                Error::Io(_) | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
            ))
            | None => return Ok(Said::Gone),
            Some(Err(error)) => return Ok(Said::Nonsense(error)),
        };
        if let Some((kind, payload)) = frame::parts(message) {
            taken.fetch_add(payload.len() as u64, Ordering::Relaxed);
            shared.held_back.store(true, Ordering::Relaxed);
            send(sink, kind, payload).await?;
        }
    }
}

async fn send(sink: &mut Sink, kind: u8, payload: Bytes) -> Result<(), Ended> {
    sink.send(frame::header(kind, &payload)).await?;
    sink.send(payload).await
}

/// The function's direction, and all that is decided.
struct Talk {
    writer: SplitSink<Socket, Message>,
    source: Source,
    access: Access,
    decoder: Decoder,
    /// We have said that we close; the client is waited for until then.
    closing: Option<Instant>,
    shared: Arc<Shared>,
}

/// How it goes on.
enum Next {
    /// It does.
    Message,
    /// The function has ended, or has to.
    Over(Ending),
    /// The client takes nothing.
    Gone,
}

impl Talk {
    async fn run(mut self, mut upload: JoinHandle<Uploaded>, mut pings: Pings, client: Client) {
        let mut closing = client.closing.clone();
        // Of the client's direction, when there is nobody left to read it.
        let mut unread = None;
        let mut lost = false;
        loop {
            let until = self.closing;
            let next = tokio::select! {
                event = self.source.next() => self.pass_on(event).await,
                uploaded = &mut upload, if unread.is_none() => match uploaded {
                    // The source says how it ended.
                    Ok((reader, _, Said::Unread)) => {
                        unread = Some(reader);
                        Next::Message
                    }
                    Ok((reader, sink, said)) => return self.client_ended(reader, sink, said).await,
                    // A panic was printed.
                    Err(_) => return self.gone(),
                },
                () = client.reset(), if !lost => Next::Gone,
                () = closed(&mut closing), if until.is_none() => {
                    self.close(CloseCode::Away).await
                }
                () = at(until) => {
                    self.closing = Some(Instant::now() + CLOSE_WITHIN);
                    self.shared.enough.notify_one();
                    Next::Message
                }
                () = pings.tick(), if until.is_none() => {
                    pings.due(&mut self.writer, &self.shared).await
                }
            };
            match next {
                Next::Message => {}
                // It was told to close, and did it in its way.
                Next::Gone if self.closing.is_some() => {
                    lost = true;
                    self.shared.enough.notify_one();
                }
                Next::Gone => {
                    upload.abort();
                    return self.gone();
                }
                Next::Over(ending) => {
                    self.shared.enough.notify_one();
                    let reader = match unread {
                        Some(reader) => Some(reader),
                        None => upload.await.ok().map(|(reader, ..)| reader),
                    };
                    let going = *closing.borrow();
                    return self.function_ended(ending, going, reader).await;
                }
            }
        }
    }

    /// What the function says goes to the client.
    async fn pass_on(&mut self, event: Option<StreamEvent>) -> Next {
        match event {
            Some(StreamEvent::Data(data)) => {
                self.decoder.push(&data);
                loop {
                    match self.decoder.next() {
                        Ok(Some(message)) => match self.say(message).await {
                            Next::Message => {}
                            other => return other,
                        },
                        Ok(None) => return self.flush().await,
                        Err(error) => {
                            return Next::Over(Ending::new(Reason::BadResponse, error.to_string()));
                        }
                    }
                }
            }
            Some(StreamEvent::HalfClose) => match self.closing {
                None => self.close(CloseCode::Normal).await,
                Some(_) => Next::Message,
            },
            Some(StreamEvent::Ended(mut finished)) => {
                if self.decoder.is_within() {
                    finished.amend(Reason::BadResponse, "its last message breaks off");
                }
                Next::Over(finished.ending.clone())
            }
            None => Next::Over(Ending::new(Reason::Lost, "the exchange broke off")),
        }
    }

    async fn say(&mut self, message: Message) -> Next {
        // After a close there is nobody to say anything to.
        if self.closing.is_some() {
            return Next::Message;
        }
        if message.is_close() {
            self.closing = Some(Instant::now() + CLOSE_WITHIN);
        }
        self.access.bytes += message.len() as u64;
        sent(self.writer.feed(message).await)
    }

    async fn flush(&mut self) -> Next {
        sent(self.writer.flush().await)
    }

    async fn close(&mut self, code: CloseCode) -> Next {
        match self.say(closing(code, "")).await {
            Next::Message => self.flush().await,
            other => other,
        }
    }

    /// The client has closed, or broken the rules, or is gone.
    async fn client_ended(mut self, reader: SplitStream<Socket>, sink: Sink, said: Said) {
        let frame = match said {
            Said::Close(frame) => Some(frame),
            Said::Gone | Said::Unread if self.closing.is_some() => None,
            Said::Gone | Said::Unread => return self.gone(),
            Said::Nonsense(error) => {
                let (code, reason) = blame(&error);
                self.access.reason = Some(reason);
                let close = self.closing.is_none().then(|| closing(code, ""));
                let ending = Ending::new(reason, format!("the client's WebSocket: {error}"));
                self.source.condemn(ending);
                return shut(self.writer, reader, close).await;
            }
        };
        self.access.reason = None;
        let Self {
            writer,
            source,
            access,
            ..
        } = self;
        drop(access);
        source.response_complete();
        tokio::join!(
            farewell(sink, frame),
            drain(source),
            shut(writer, reader, None)
        );
    }

    async fn function_ended(
        mut self,
        ending: Ending,
        going: bool,
        reader: Option<SplitStream<Socket>>,
    ) {
        let reason = ending.reason;
        self.access.reason = (reason != Reason::Ok).then_some(reason);
        let close = match reason {
            _ if self.closing.is_some() => None,
            Reason::Ok if !going => Some(closing(CloseCode::Normal, "")),
            Reason::Ok | Reason::Shutdown => Some(closing(CloseCode::Away, "")),
            reason => Some(closing(CloseCode::Error, reason.name())),
        };
        let Self {
            writer,
            source,
            access,
            ..
        } = self;
        drop(access);
        // It may go on for all that it says.
        if reason == Reason::BadResponse {
            source.condemn(ending);
        }
        if let Some(reader) = reader {
            shut(writer, reader, close).await;
        }
    }

    fn gone(self) {
        let ending = Ending::new(Reason::ClientGone, "the client is gone");
        self.source.condemn(ending);
    }
}

/// Tells the function how the client has closed, and that nothing follows.
async fn farewell(mut sink: Sink, frame: Option<Option<CloseFrame>>) {
    let close = frame.and_then(|frame| frame::parts(Message::Close(frame)));
    if let Some((kind, payload)) = close
        && send(&mut sink, kind, payload).await.is_err()
    {
        return;
    }
    sink.finish();
}

/// Takes what a function says when nobody listens any more, and drops it.
async fn drain(mut source: Source) {
    while let Some(event) = source.next().await {
        if let StreamEvent::Ended(_) = event {
            return;
        }
    }
}

/// Says that we close, if we have not, waits for the client to say so as well, and ends the
/// connection. The client goes on sending for a moment; with that unread the kernel would throw
/// away what it has not got yet.
async fn shut(
    mut writer: SplitSink<Socket, Message>,
    mut reader: SplitStream<Socket>,
    close: Option<Message>,
) {
    let say = async {
        match close {
            Some(close) => drop(writer.send(close).await),
            None => drop(writer.flush().await),
        }
        while reader.next().await.is_some() {}
    };
    // Whatever fails here, the connection ends.
    let _ = timeout(CLOSE_WITHIN, say).await;
    let Ok(socket) = writer.reunite(reader) else {
        return;
    };
    let mut stream = socket.into_inner();
    let linger = async {
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(LINGER, linger).await;
}

fn closing(code: CloseCode, reason: &'static str) -> Message {
    let reason = reason.into();
    Message::Close(Some(CloseFrame { code, reason }))
}

/// What the client is told about its mistake, and what the function ends with.
fn blame(error: &Error) -> (CloseCode, Reason) {
    match error {
        Error::Utf8(_) => (CloseCode::Invalid, Reason::ClientGone),
        Error::Capacity(_) => (CloseCode::Size, Reason::TooLarge),
        // All others are of the handshake, or of frames.
        _ => (CloseCode::Protocol, Reason::ClientGone),
    }
}

fn sent(result: Result<(), Error>) -> Next {
    match result {
        Err(Error::Io(_)) => Next::Gone,
        // It has closed, and the reader says so.
        Ok(()) | Err(_) => Next::Message,
    }
}

/// Returns then, or never.
async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// When to ask a client whether it is there.
#[derive(Debug)]
struct Pings {
    ticks: Option<Interval>,
    /// Bytes that were heard of it by the last tick.
    heard: u64,
    asked: bool,
}

impl Pings {
    fn new(every: Option<Duration>) -> Self {
        let first = |every| Instant::now().checked_add(every);
        let ticks = every.and_then(|every| Some(interval_at(first(every)?, every)));
        Self {
            ticks: ticks.map(|mut ticks| {
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                ticks
            }),
            heard: 0,
            asked: false,
        }
    }

    async fn tick(&mut self) {
        match &mut self.ticks {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        }
    }

    /// A client that has said nothing is asked; one that has not answered either is gone.
    async fn due(&mut self, writer: &mut SplitSink<Socket, Message>, shared: &Shared) -> Next {
        let heard = shared.heard.load(Ordering::Relaxed);
        let silent = std::mem::replace(&mut self.heard, heard) == heard;
        let asked = std::mem::take(&mut self.asked);
        if !silent || shared.held_back.load(Ordering::Relaxed) {
            return Next::Message;
        }
        if asked {
            return Next::Gone;
        }
        self.asked = true;
        let ping = Message::Ping(Bytes::copy_from_slice(&shared.mark));
        sent(writer.send(ping).await)
    }
}

/// A stream that counts what comes.
#[derive(Debug)]
struct Listening {
    stream: TokioIo<Upgraded>,
    shared: Arc<Shared>,
}

impl AsyncRead for Listening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        self.shared.heard.fetch_add(bytes as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Listening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
