//! What clients and functions say over HTTP and WebSockets.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{Cursor, Read, Write};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Runtime};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

use super::decode::Framing;
use super::head::{self, BadHead, Head, RequestBody};
use super::sound;
use super::websocket::frame::{self, Decoder};

/// Headers that a parser of a function takes, as many as hyper takes of a client and those of the
/// gateway.
const HEADERS: usize = 128;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime without I/O");
}

/// What a client sends: what hyper takes for requests becomes heads for functions, each of which is one
/// request to whoever reads it, with one host and one framing, and without what is the gateway's to say.
pub fn request(data: &[u8]) {
    let seen = RefCell::new(Vec::new());
    let service = service_fn(|request: Request<Incoming>| {
        seen.borrow_mut().push(request.map(drop));
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(data.len().max(1));
            let mut builder = hyper::server::conn::http1::Builder::new();
            let builder = builder.header_read_timeout(None).half_close(true);
            let serving = builder.serve_connection(TokioIo::new(server), service);
            let client = async {
                client.write_all(data).await.ok();
                client.shutdown().await.ok();
                let mut answers = Vec::new();
                client.read_to_end(&mut answers).await.ok();
            };
            // Whatever hyper refuses it answers itself.
            let _ = tokio::join!(serving, client);
        });
    });
    for request in seen.into_inner() {
        for_function(request);
    }
}

fn for_function(mut request: Request<()>) {
    if sound::unacceptable(&request).is_some() {
        return;
    }
    head::drop_listed(request.headers_mut());
    let told = [("embly-route".to_owned(), "route".to_owned())];
    for body in [
        RequestBody::None,
        RequestBody::Length(u64::MAX),
        RequestBody::Chunked,
    ] {
        let bytes = head::request(&request, body, &told);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut read = httparse::Request::new(&mut headers);
        let status = read.parse(&bytes).expect("a head that everybody reads");
        assert_eq!(status, httparse::Status::Complete(bytes.len()), "one head");
        assert_eq!(read.method, Some(request.method().as_str()));
        assert_eq!(read.version, Some(1));
        let path = request.uri().path_and_query().map(|path| path.as_str());
        let slash = if path.is_some_and(|path| path.starts_with('?')) {
            "/"
        } else {
            ""
        };
        let target = path.map(|path| format!("{slash}{path}"));
        assert_eq!(read.path, target.as_deref());
        let count = |name: &str| {
            let named = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
            read.headers.iter().filter(named).count()
        };
        let coded = usize::from(body == RequestBody::Chunked);
        let measured = usize::from(matches!(body, RequestBody::Length(_)));
        assert_eq!(count("transfer-encoding"), coded);
        assert_eq!(count("content-length"), measured);
        assert!(count("host") <= 1 && count("cookie") <= HEADERS);
        for name in [
            "connection",
            "upgrade",
            "te",
            "trailer",
            "keep-alive",
            "expect",
        ] {
            assert_eq!(count(name), 0, "{name}");
        }
        let own = |header: &&httparse::Header<'_>| header.name.starts_with("embly-");
        assert_eq!(read.headers.iter().filter(own).count(), told.len());
        assert_eq!(count("x-request-id"), 0, "the gateway adds it");
    }
}

/// What a function answers. The first byte: an answer to HEAD or not, and in which pieces it comes, on
/// which nothing depends. What hyper is given has no framing of the function's own.
pub fn response(data: &[u8]) {
    let Some((&how, stream)) = data.split_first() else {
        return;
    };
    let was_head = how & 1 == 1;
    let whole = answered(stream, stream.len(), was_head);
    let pieces = answered(stream, usize::from(how >> 1) + 1, was_head);
    assert_eq!(whole, pieces, "in pieces");
}

/// What is passed on of an answer that comes in pieces: the head, the body, whether it is complete.
type Passed = (String, Vec<u8>, bool);

fn answered(stream: &[u8], piece: usize, was_head: bool) -> Result<Option<Passed>, String> {
    let (mut bytes, mut found) = (BytesMut::new(), None);
    let mut passed = Vec::new();
    for piece in stream.chunks(piece.max(1)) {
        bytes.extend_from_slice(piece);
        if found.is_none() {
            found = match head::response(&mut bytes, was_head) {
                Ok(head) => head,
                // How far it is read before it is refused does depend on that.
                Err(BadHead::NotHttp(_)) => return Err("not HTTP".to_owned()),
                Err(error) => return Err(error.to_string()),
            };
            if let Some(head) = &found {
                check(head, was_head);
            }
        }
        let Some(Head { framing, .. }) = &mut found else {
            continue;
        };
        loop {
            match framing.next(&mut bytes) {
                Ok(Some(data)) => {
                    assert!(!data.is_empty());
                    passed.extend_from_slice(&data);
                }
                Ok(None) => break,
                Err(error) => return Err(error.to_string()),
            }
        }
    }
    assert!(passed.len() <= stream.len(), "more than there was");
    let of = |head: Head| {
        let complete = head.framing.is_complete();
        let Head {
            status, headers, ..
        } = head;
        (format!("{status} {headers:?}"), passed, complete)
    };
    Ok(found.map(of))
}

fn check(head: &Head, was_head: bool) {
    let Head {
        status,
        headers,
        framing,
    } = head;
    assert!(status.as_u16() >= 200);
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        assert!(!headers.contains_key(&name), "{name}");
    }
    assert!(was_head || !headers.contains_key(CONTENT_LENGTH));
    assert!(!was_head || *framing == Framing::None);
    for name in head::without_own(headers.clone()).keys() {
        assert!(!name.as_str().starts_with("embly-"));
    }
}

/// The most bytes of a message that both directions are given here.
const MOST: u32 = 1000;

/// WebSockets. The first byte: what a function says, in pieces of which nothing depends, or what a
/// client says, of whose messages none is longer than its limit.
pub fn websocket(data: &[u8]) {
    let Some((&how, stream)) = data.split_first() else {
        return;
    };
    if how & 1 == 1 {
        return of_client(stream);
    }
    let whole = of_function(stream, stream.len());
    assert_eq!(whole, of_function(stream, usize::from(how >> 1) + 1));
    let (messages, _) = whole;
    let mut written = Vec::new();
    for message in messages.iter().filter(|message| !message.is_ping()) {
        let (kind, payload) = frame::parts(message.clone()).expect("shown as it was said");
        written.extend_from_slice(&frame::header(kind, &payload));
        written.extend_from_slice(&payload);
    }
    if !messages.iter().any(Message::is_ping) {
        assert!(stream.starts_with(&written), "written as it was read");
    }
}

/// The messages, and whether the rest is none.
fn of_function(stream: &[u8], piece: usize) -> (Vec<Message>, Option<String>) {
    let (mut decoder, mut messages) = (Decoder::new(MOST), Vec::new());
    for piece in stream.chunks(piece.max(1)) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(message)) => {
                    assert!(message.len() <= MOST as usize);
                    messages.push(message);
                }
                Ok(None) => break,
                Err(error) => return (messages, Some(error.to_string())),
            }
        }
    }
    (messages, None)
}

fn of_client(stream: &[u8]) {
    let most = MOST as usize;
    let config = WebSocketConfig::default()
        .max_message_size(Some(most))
        .max_frame_size(Some(most));
    let said = Said(Cursor::new(stream));
    let mut socket = WebSocket::from_raw_socket(said, Role::Server, Some(config));
    while let Ok(message) = socket.read() {
        let Some((kind, payload)) = frame::parts(message) else {
            continue;
        };
        assert!(payload.len() <= most);
        // It is a frame to the function, whole and alone.
        let header = frame::header(kind, &payload);
        assert_eq!(header[0], kind);
        let length = payload.len() as u32;
        assert_eq!(header[1..], length.to_le_bytes());
    }
}

/// A client that hears nothing.
struct Said<'d>(Cursor<&'d [u8]>);

impl Read for Said<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Read::read(&mut self.0, buffer)
    }
}

impl Write for Said<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
