//! `embly ws URL`: a WebSocket client in the terminal. Lines go out as text messages, what comes is
//! printed; in a terminal, where both stand below each other, `>` marks the one and `<` the other.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderName, HeaderValue};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};
use url::Url;

use super::{Exit, serve};
use crate::allow::Host;
use crate::report::{Format, Reporter, escape};
use crate::service::outbound::tls::{self, Authorities};

/// A server that was told to close answers within this time.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Lines that were read and not sent yet.
const LINES: usize = 16;

#[derive(Debug, Args)]
pub(super) struct Ws {
    /// Where to connect: `ws://HOST:PORT/PATH`, or `wss://`
    url: Url,
    /// A header of the request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Trust the certificate authorities of this PEM file as well
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// After the end of the input, close when nothing has come for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    wait: u32,
}

/// `Name: value`, as curl takes it.
pub(super) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("`NAME: VALUE` is expected")?;
    let name = HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

/// Talks until one side closes.
pub fn run(ws: &Ws, reporter: &Reporter) -> Exit {
    let runtime = match serve::runtime(reporter) {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    serve::block_on(runtime, async {
        let talked = connect(ws, reporter).await;
        talked.unwrap_or_else(|error| {
            reporter.error(format!("`{}`: {error}", ws.url));
            Exit::Failed
        })
    })
}

/// Connects and talks; the error is for people.
async fn connect(ws: &Ws, reporter: &Reporter) -> Result<Exit, String> {
    let secure = match ws.url.scheme() {
        "ws" => false,
        "wss" => true,
        other => {
            let text = format!("`{other}` is not the scheme of a WebSocket, write `ws:` or `wss:`");
            reporter.error(text);
            return Ok(Exit::Usage);
        }
    };
    let host = ws.url.host_str().ok_or("it has no host")?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = ws.url.port_or_known_default().unwrap_or(80);
    let mut request = ws
        .url
        .as_str()
        .into_client_request()
        .map_err(|error| error.to_string())?;
    for (name, value) in &ws.headers {
        request.headers_mut().append(name, value.clone());
    }
    let stream = TcpStream::connect((bare, port)).await;
    let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
    // It only costs time otherwise.
    let _ = stream.set_nodelay(true);
    if !secure {
        return talk(ws, request, stream, reporter).await;
    }
    let client = tls_client(ws.ca.as_deref())?;
    let name = match bare.parse() {
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name(bare.to_owned()),
    };
    let stream = client.connect(tls::server_name(&name)?, stream).await;
    let stream = stream
        .map_err(|error| format!("TLS: {error}; `--ca FILE` names an authority of your own"))?;
    talk(ws, request, stream, reporter).await
}

fn tls_client(ca: Option<&Path>) -> Result<tls::Client, String> {
    let authorities = match ca {
        Some(file) => Authorities::in_file(file),
        None => Ok(Authorities::of_the_system()),
    };
    let client = authorities.and_then(|all| tls::Client::new(&all, &[b"http/1.1"]));
    client.map_err(|error| error.to_string())
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    ws: &Ws,
    request: Request,
    stream: S,
    reporter: &Reporter,
) -> Result<Exit, String> {
    let (socket, answer) = client_async(request, stream).await.map_err(explain)?;
    let protocol = answer.headers().get("sec-websocket-protocol");
    let protocol = protocol.and_then(|name| name.to_str().ok());
    reporter.info(match protocol {
        Some(protocol) => format!("connected, with the subprotocol `{protocol}`"),
        None => "connected".to_owned(),
    });
    let (writer, reader) = socket.split();
    let shown = Shown::new(reporter);
    let wait = Duration::from_secs(ws.wait.into());
    shown.prompt(reporter);
    let close = exchange(writer, reader, (shown, reporter), wait).await;
    reporter.bar(None);
    let close = close?;
    let (code, reason) = match &close {
        Some(close) => (u16::from(close.code), close.reason.as_str()),
        // What a close without a code is called (RFC 6455, section 7.1.5).
        None => (1005, ""),
    };
    if shown == Shown::Json {
        print(&json!({"event": "closed", "code": code, "reason": reason}).to_string())?;
    }
    let said = if reason.is_empty() { "" } else { ": " };
    reporter.info(format!("closed with {code}{said}{reason}"));
    Ok(match code {
        1000 | 1001 => Exit::Done,
        _ => Exit::Failed,
    })
}

/// How that is shown which goes over the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// What comes, as it is: for programs.
    Data,
    /// The same as JSON.
    Json,
    /// What comes and what was sent, with marks.
    Marked,
    /// The same, where what is sent is typed beside it, behind a prompt.
    Typed,
}

impl Shown {
    fn new(reporter: &Reporter) -> Self {
        let [typed, seen] = [io::stdin().is_terminal(), io::stdout().is_terminal()];
        match reporter.options().format {
            Format::Json => Self::Json,
            Format::Text if !seen => Self::Data,
            Format::Text if typed => Self::Typed,
            Format::Text => Self::Marked,
        }
    }

    /// The mark of what is sent, where it is typed.
    fn prompt(self, reporter: &Reporter) {
        if self == Self::Typed {
            reporter.bar(Some(SENT.to_owned()));
        }
    }

    fn sent(self, line: &str, reporter: &Reporter) {
        if self == Self::Marked {
            reporter.shown(&marked(SENT, line));
        }
        self.prompt(reporter);
    }

    fn received(self, text: &str, reporter: &Reporter) -> Result<(), String> {
        match self {
            Self::Data | Self::Json => print(text),
            Self::Marked | Self::Typed => {
                reporter.shown(&marked(RECEIVED, text));
                Ok(())
            }
        }
    }
}

/// What stands before a line that was sent, and before one that came.
const SENT: &str = "> ";
const RECEIVED: &str = "< ";

/// Each line behind its mark; nothing in it steers the terminal.
fn marked(mark: &str, text: &str) -> String {
    let lines = text
        .split('\n')
        .map(|line| format!("{mark}{}", escape(line)));
    lines.collect::<Vec<_>>().join("\n")
}

type Writer<S> = SplitSink<WebSocketStream<S>, Message>;

/// Until the server closes, or has answered our close: what it says then.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    writer: Writer<S>,
    mut reader: SplitStream<WebSocketStream<S>>,
    (shown, reporter): (Shown, &Reporter),
    wait: Duration,
) -> Result<Option<CloseFrame>, String> {
    let mut input = pin!(send_lines(writer, shown, reporter));
    // After the end of the input, and why that came early.
    let mut writer: Option<Writer<S>> = None;
    let mut unread = None;
    let mut told = false;
    let mut until = Instant::now();
    loop {
        let message = tokio::select! {
            message = reader.next() => message,
            (sent, error) = &mut input, if writer.is_none() => {
                (writer, unread) = (Some(sent), error);
                until = Instant::now() + wait;
                continue;
            }
            () = sleep_until(until), if writer.is_some() => {
                if told {
                    return Err("it does not close".to_owned());
                }
                told = true;
                until = Instant::now() + CLOSE_WITHIN;
                let reason = "".into();
                let close = CloseFrame { code: CloseCode::Normal, reason };
                if let Some(writer) = &mut writer {
                    // What is wrong shows as it is read.
                    let _ = writer.send(Message::Close(Some(close))).await;
                }
                continue;
            }
        };
        if !told {
            until = Instant::now() + wait;
        }
        match message {
            Some(Ok(Message::Close(close))) => {
                // Our answer goes out as the rest is read.
                while reader.next().await.is_some() {}
                return unread.map_or(Ok(close), Err);
            }
            Some(Ok(message)) => show(&message, shown, reporter)?,
            Some(Err(error)) => return Err(explain(error)),
            None => return Err("the connection broke off".to_owned()),
        }
    }
}

/// Sends the lines of standard input, up to its end, or to one that cannot be read: why, then.
async fn send_lines<S: AsyncRead + AsyncWrite + Unpin>(
    mut writer: Writer<S>,
    shown: Shown,
    reporter: &Reporter,
) -> (Writer<S>, Option<String>) {
    let (sender, mut lines) = mpsc::channel(LINES);
    // A read of the terminal cannot be given up: the thread ends with the program.
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    let mut number = 0_u64;
    while let Some(line) = lines.recv().await {
        number += 1;
        let line = match line {
            Ok(line) => line,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let why = format!(
                    "line {number} of the input is not UTF-8, as a text message has to be: nothing was sent from there on"
                );
                return (writer, Some(why));
            }
            Err(error) => {
                return (
                    writer,
                    Some(format!("cannot read line {number} of the input: {error}")),
                );
            }
        };
        shown.sent(&line, reporter);
        // A server that is gone shows as it is read.
        if writer.send(Message::text(line)).await.is_err() {
            break;
        }
    }
    (writer, None)
}

fn show(message: &Message, shown: Shown, reporter: &Reporter) -> Result<(), String> {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let json = shown == Shown::Json;
    match message {
        Message::Text(text) if json => {
            print(&json!({"event": "received", "kind": "text", "text": text.as_str()}).to_string())
        }
        Message::Text(text) => shown.received(text, reporter),
        Message::Binary(bytes) if json => {
            print(&json!({"event": "received", "kind": "binary", "hex": hex(bytes)}).to_string())
        }
        Message::Binary(bytes) => shown.received(&hex(bytes), reporter),
        // They are answered, and of no interest.
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => Ok(()),
    }
}

fn print(line: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let printed = writeln!(out, "{line}").and_then(|()| out.flush());
    printed.map_err(|error| format!("cannot write to stdout: {error}"))
}

fn explain(error: Error) -> String {
    match error {
        Error::Http(response) => {
            let reason = response.headers().get("embly-error");
            let reason = reason.and_then(|reason| reason.to_str().ok());
            let reason = reason.map_or(String::new(), |reason| format!(", {reason}"));
            format!("it answers {}{reason}, not a WebSocket", response.status())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        let (name, value) = parse_header("X-One:  two: three ").unwrap();
        assert_eq!(
            (name.as_str(), value.as_bytes()),
            ("x-one", &b"two: three"[..])
        );
        assert!(parse_header("x-one").is_err());
        assert!(parse_header("x one: y").is_err());
    }
}
