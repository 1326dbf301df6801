//! The WebSocket in a function's hands.

use super::message::{self, Frame, Input, Message};
use crate::{
    error::Error,
    http::head,
    stream::{Conn, Found},
    task::block_on,
};
use http::Request;
use std::{
    cell::RefCell,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A WebSocket: messages to the client and from it, both at once where one likes.
///
/// When it is dropped, or the handler returns, what was sent is still delivered.
pub struct Socket {
    conn: Conn,
    head: Request<()>,
    input: RefCell<Input>,
    output: RefCell<Output>,
}

/// Frames that are not all sent yet.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    /// How many of them are sent.
    start: usize,
    /// All bytes that ever stood here before them.
    before: u64,
}

impl Output {
    /// Adds a frame; says where it ends, among all bytes.
    fn push(&mut self, frame: &[u8]) -> u64 {
        self.before += self.start as u64;
        self.bytes.drain(..std::mem::take(&mut self.start));
        self.bytes.extend_from_slice(frame);
        self.before + self.bytes.len() as u64
    }

    fn sent(&self) -> u64 {
        self.before + self.start as u64
    }
}

impl Socket {
    /// Waits for the request.
    pub(super) fn open(conn: Conn) -> Result<Self, Error> {
        let mut socket = Self::new(conn, Request::default());
        let Some((kind, bytes)) = block_on(poll_fn(|cx| socket.poll_frame(cx)))? else {
            let text = "no request arrived: is this function behind a WebSocket? `embly ws URL` is a client for it";
            return Err(Error::msg(text));
        };
        let head = match head::parse(&bytes) {
            Ok(Some((head, _))) if kind == message::OPEN => head,
            _ => return Err(Error::msg("what arrived is no WebSocket")),
        };
        socket.head = head.map(|_| ());
        Ok(socket)
    }

    /// The other end.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn of_client(conn: Conn, head: Request<()>) -> Result<Self, Error> {
        let socket = Self::new(conn, head);
        let mut bytes = format!("GET {} HTTP/1.1\r\n", socket.head.uri()).into_bytes();
        for (name, value) in socket.head.headers() {
            for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                bytes.extend(piece);
            }
        }
        bytes.extend(b"\r\n");
        let frame = message::frame(message::OPEN, &bytes)?;
        let end = socket.output.borrow_mut().push(&frame);
        block_on(poll_fn(|cx| socket.poll_sent(cx, end)))?;
        Ok(socket)
    }

    fn new(conn: Conn, head: Request<()>) -> Self {
        Self {
            conn,
            head,
            input: RefCell::default(),
            output: RefCell::default(),
        }
    }

    /// The request that began it: path, headers, and those that the gateway adds.
    pub fn head(&self) -> &Request<()> {
        &self.head
    }

    /// The stream that carries the frames. What is read or written there is missing here.
    pub fn conn(&self) -> Conn {
        self.conn
    }

    /// The next message; `None` at the end. `.await` it, or call [`wait`](Receiving::wait).
    pub fn receive(&self) -> Receiving<'_> {
        Receiving { socket: self }
    }

    /// Sends a message. `.await` it, or call [`wait`](Sending::wait); messages go out in the order
    /// in which that begins, each of them whole.
    ///
    /// ```no_run
    /// # use embly_sdk as embly;
    /// # async fn f(socket: embly::websocket::Socket) -> Result<(), embly::Error> {
    /// socket.send("some text").await?;
    /// socket.send(vec![1, 2, 3]).wait()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn send(&self, message: impl Into<Message>) -> Sending<'_> {
        Sending {
            socket: self,
            state: State::New(message.into()),
        }
    }

    /// Closes it, with a code (1000 for the ordinary end, 3000 to 4999 for one's own) and a reason.
    /// What the client still has to say can be received; its own close comes last.
    pub fn close(&self, code: u16, reason: &str) -> Sending<'_> {
        self.send(Message::Close(Some((code, reason.to_owned()))))
    }

    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, Error>> {
        loop {
            let next = self.input.borrow_mut().next();
            if next.is_some() {
                return Poll::Ready(Ok(next));
            }
            match ready!(self.conn.poll_news(cx))? {
                Found::News => self.input.borrow_mut().push(&self.conn.now()),
                Found::End if self.input.borrow().is_empty() => return Poll::Ready(Ok(None)),
                Found::End => {
                    return Poll::Ready(Err(Error::msg("the last message is cut short")));
                }
            }
        }
    }

    /// Sends what is there, up to this byte.
    fn poll_sent(&self, cx: &mut Context<'_>, end: u64) -> Poll<Result<(), Error>> {
        let mut output = self.output.borrow_mut();
        while output.sent() < end {
            let rest = &output.bytes[output.start..];
            output.start += ready!(self.conn.poll_write_some(cx, rest))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

/// A message that is waited for. Dropped, it takes none.
#[derive(Debug)]
#[must_use = "nothing is received until it is awaited (or `wait` is called)"]
pub struct Receiving<'a> {
    socket: &'a Socket,
}

impl Receiving<'_> {
    /// Waits for it, in a plain function.
    ///
    /// # Errors
    /// As when it is awaited: the stream broke off.
    pub fn wait(self) -> Result<Option<Message>, Error> {
        block_on(self)
    }
}

impl Future for Receiving<'_> {
    type Output = Result<Option<Message>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let frame = ready!(self.socket.poll_frame(cx))?;
        let message = frame.map(|(kind, payload)| Message::read(kind, payload));
        Poll::Ready(message.transpose())
    }
}

/// A message that is being sent. Dropped when it has begun, it is sent with the next one.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited (or `wait` is called)"]
pub struct Sending<'a> {
    socket: &'a Socket,
    state: State,
}

#[derive(Debug)]
enum State {
    New(Message),
    /// It is sent when so many bytes are.
    Until(u64),
}

impl Sending<'_> {
    /// Waits until it is sent, in a plain function.
    ///
    /// # Errors
    /// As when it is awaited: the client is gone.
    pub fn wait(self) -> Result<(), Error> {
        block_on(self)
    }
}

impl Future for Sending<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let end = match &self.state {
            State::New(message) => {
                let frame = message.frame()?;
                self.socket.output.borrow_mut().push(&frame)
            }
            State::Until(end) => *end,
        };
        self.state = State::Until(end);
        self.socket.poll_sent(cx, end)
    }
}
