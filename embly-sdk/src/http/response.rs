//! The response, as the handler writes it.

use super::{chunked, head, status::IntoStatus};
use crate::{error::Error, stream::Conn};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
};

/// What is kept back before it is sent without a flush. A response up to this size goes out in one
/// piece, with its length.
const BUFFER: usize = 64 * 1024;

/// Writes the response.
///
/// What is written is kept until the handler returns, and then sent with its length; unless it is
/// flushed earlier ([`Flusher`]) or grows beyond 64 KiB: then it is sent piece by piece. Status and
/// headers can be set until the first piece is sent.
///
/// Clones write the same response.
///
/// ```
/// # use embly_sdk as embly;
/// use embly::{Error, http::ResponseWriter, prelude::*};
///
/// fn not_found(mut w: ResponseWriter) -> Result<(), Error> {
///     w.status(404)?;
///     w.header("Content-Type", "text/plain")?;
///     w.write_all(b"no such page\n")?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ResponseWriter(Rc<RefCell<Response>>);

/// Sends what was written so far.
pub trait Flusher {
    /// Sends what was written so far; the first time with status and headers, which are final
    /// then. Waits while the client has no room.
    ///
    /// # Errors
    /// When the client is gone, or the head cannot be sent as it is.
    fn flush_response(&mut self) -> Result<(), Error>;
}

#[derive(Debug)]
struct Response {
    conn: Conn,
    status: StatusCode,
    headers: HeaderMap,
    buffer: Vec<u8>,
    /// The request was a HEAD.
    to_head: bool,
    /// `None` until the head is sent.
    framing: Option<Framing>,
}

/// How the body is marked out.
#[derive(Debug)]
enum Framing {
    /// There is none; what is written goes nowhere.
    None,
    /// The handler promised a length, and this much is missing.
    Length(u64),
    Chunked,
}

impl ResponseWriter {
    pub(super) fn new(conn: Conn, to_head: bool) -> Self {
        Self(Rc::new(RefCell::new(Response {
            conn,
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            buffer: Vec::new(),
            to_head,
            framing: None,
        })))
    }

    /// Sets the status, which is 200 otherwise: `200`, `"200"`, or a [`StatusCode`].
    ///
    /// # Errors
    /// When it is no status, or one below 200 (those are the gateway's business), or the head
    /// was sent already.
    pub fn status(&mut self, status: impl IntoStatus) -> Result<(), Error> {
        let status = status.into_status()?;
        if status.is_informational() || status.as_u16() > 599 {
            return Err(Error::msg(format!(
                "a function cannot answer with status {}: use 200 to 599",
                status.as_u16()
            )));
        }
        self.head("status")?.status = status;
        Ok(())
    }

    /// Sets a header, instead of what it was before.
    ///
    /// # Errors
    /// When name or value cannot stand in a header (a line break, for one), or the head was sent
    /// already.
    pub fn header<K, V>(&mut self, name: K, value: V) -> Result<(), Error>
    where
        K: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        let (name, value) = checked(name, value)?;
        self.head("header")?.headers.insert(name, value);
        Ok(())
    }

    /// Adds a header that may stand there several times, as `Set-Cookie`.
    ///
    /// # Errors
    /// As [`header`](Self::header).
    pub fn append_header<K, V>(&mut self, name: K, value: V) -> Result<(), Error>
    where
        K: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        let (name, value) = checked(name, value)?;
        self.head("header")?.headers.append(name, value);
        Ok(())
    }

    /// In a function that stands in front of others, `before: NAME` in the project file: lets the
    /// request pass to what it asks for. The headers that are set here take the place of the
    /// request's own of the same name; what was written is dropped.
    ///
    /// ```
    /// # use embly_sdk as embly;
    /// use embly::{Error, http::{Body, Request, ResponseWriter}, prelude::*};
    ///
    /// fn auth(req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    ///     match req.headers().get("cookie") {
    ///         Some(cookie) if cookie == "session=1234" => {
    ///             w.header("x-user", "ann")?;
    ///             w.go_on()
    ///         }
    ///         _ => {
    ///             w.status(403)?;
    ///             Ok(w.write_all(b"log in first\n")?)
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// When the head was sent already.
    pub fn go_on(&mut self) -> Result<(), Error> {
        let mut response = self.head("verdict")?;
        response.status = StatusCode::NO_CONTENT;
        let before = HeaderName::from_static("embly-before");
        let go_on = HeaderValue::from_static("go-on");
        response.headers.insert(before, go_on);
        response.buffer.clear();
        Ok(())
    }

    /// The response, while its head can still be changed.
    fn head(&mut self, what: &str) -> Result<std::cell::RefMut<'_, Response>, Error> {
        let response = self.0.borrow_mut();
        match response.framing {
            None => Ok(response),
            Some(_) => Err(Error::msg(format!(
                "the head of the response is sent: set the {what} before the first flush (and \
                 before {BUFFER} bytes are written)"
            ))),
        }
    }

    /// Somebody else writes the response from now on, to what is returned.
    pub(super) fn hand_over(&self) -> Conn {
        let mut response = self.0.borrow_mut();
        response.buffer.clear();
        // What is written here still goes nowhere.
        response.framing = Some(Framing::None);
        response.conn
    }

    /// Whether the client has seen something already.
    pub(super) fn is_started(&self) -> bool {
        self.0.borrow().framing.is_some()
    }

    /// The handler is done: sends what is left.
    pub(super) fn finish(&self) -> Result<(), Error> {
        self.0.borrow_mut().finish()
    }

    /// Answers with this instead of what the handler wrote; only before the start.
    pub(super) fn replace(&self, status: StatusCode, body: &str) -> Result<(), Error> {
        let headers = HeaderMap::new();
        self.0.borrow_mut().replace(status, headers, body)
    }

    /// The same for a handler that has failed: the gateway is told that this is not its own answer.
    pub(super) fn failed(&self) -> Result<(), Error> {
        let name = HeaderName::from_static("embly-handler");
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_static("failed"))]);
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let mut response = self.0.borrow_mut();
        response.replace(status, headers, "Internal Server Error\n")
    }
}

impl Flusher for ResponseWriter {
    fn flush_response(&mut self) -> Result<(), Error> {
        Ok(self.0.borrow_mut().flush()?)
    }
}

impl Write for ResponseWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut response = self.0.borrow_mut();
        response.buffer.extend_from_slice(bytes);
        if response.buffer.len() > BUFFER {
            response.flush()?;
        }
        Ok(bytes.len())
    }

    /// As [`Flusher::flush_response`].
    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

impl Response {
    fn replace(&mut self, status: StatusCode, headers: HeaderMap, body: &str) -> Result<(), Error> {
        (self.status, self.headers) = (status, headers);
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        self.headers.insert(header::CONTENT_TYPE, plain);
        self.buffer = body.into();
        self.finish()
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut out = Vec::with_capacity(self.buffer.len() + 256);
        match &mut self.framing {
            Some(framing) => encode(framing, &self.buffer, &mut out)?,
            None => {
                let mut framing = self.choose(false)?;
                self.write_head(&mut out);
                encode(&mut framing, &self.buffer, &mut out)?;
                self.framing = Some(framing);
            }
        }
        self.buffer.clear();
        self.conn.write_all(&out)
    }

    fn finish(&mut self) -> Result<(), Error> {
        let mut out = Vec::with_capacity(self.buffer.len() + 256);
        let mut framing = match self.framing.take() {
            Some(framing) => framing,
            None => {
                let framing = self.choose(true)?;
                if let Framing::Length(length) = framing
                    && length != self.buffer.len() as u64
                {
                    return Err(wrong_length(length, self.buffer.len() as u64).into());
                }
                self.write_head(&mut out);
                framing
            }
        };
        let ended = encode(&mut framing, &self.buffer, &mut out);
        self.buffer.clear();
        if let Framing::Chunked = framing {
            out.extend_from_slice(chunked::LAST);
        }
        let missing = match framing {
            Framing::Length(missing) => missing,
            Framing::None | Framing::Chunked => 0,
        };
        self.framing = Some(framing);
        ended?;
        self.conn.write_all(&out)?;
        if missing > 0 {
            let text = format!("the response is {missing} bytes shorter than its Content-Length");
            return Err(Error::msg(text));
        }
        Ok(())
    }

    /// Chooses how the body is marked out and sets the headers for it. `complete`: the whole body
    /// is in the buffer.
    fn choose(&mut self, complete: bool) -> io::Result<Framing> {
        if self.headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(invalid(
                "leave Transfer-Encoding out: Embly marks out the body itself",
            ));
        }
        let mut promised = self.promised()?;
        let bodiless = self.status == StatusCode::NO_CONTENT;
        if bodiless {
            self.headers.remove(header::CONTENT_LENGTH);
        } else if complete && promised.is_none() && self.status != StatusCode::NOT_MODIFIED {
            promised = Some(self.buffer.len() as u64);
            self.headers
                .insert(header::CONTENT_LENGTH, self.buffer.len().into());
        }
        if bodiless || self.to_head || self.status == StatusCode::NOT_MODIFIED {
            return Ok(Framing::None);
        }
        if let Some(length) = promised {
            return Ok(Framing::Length(length));
        }
        let chunked = HeaderValue::from_static("chunked");
        self.headers.insert(header::TRANSFER_ENCODING, chunked);
        Ok(Framing::Chunked)
    }

    /// The length that the handler set.
    fn promised(&self) -> io::Result<Option<u64>> {
        let mut values = self.headers.get_all(header::CONTENT_LENGTH).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let digits = value
            .to_str()
            .ok()
            .filter(|it| it.bytes().all(|b| b.is_ascii_digit()));
        match digits.and_then(|it| it.parse().ok()) {
            Some(length) if values.next().is_none() => Ok(Some(length)),
            _ => Err(invalid(
                "Content-Length is not one number: leave it out, or correct it",
            )),
        }
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(
            self.status
                .canonical_reason()
                .unwrap_or_default()
                .as_bytes(),
        );
        out.extend_from_slice(b"\r\n");
        head::write(&self.headers, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// Adds a piece of the body to what is sent.
fn encode(framing: &mut Framing, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    match framing {
        Framing::None => {}
        Framing::Chunked => chunked::encode(bytes, out),
        Framing::Length(left) => {
            let n = bytes.len() as u64;
            *left = left.checked_sub(n).ok_or_else(|| wrong_length(*left, n))?;
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}

fn checked<K, V>(name: K, value: V) -> Result<(HeaderName, HeaderValue), Error>
where
    K: TryInto<HeaderName, Error: Into<http::Error>>,
    V: TryInto<HeaderValue, Error: Into<http::Error>>,
{
    let name = name.try_into().map_err(Into::into)?;
    let value = value.try_into().map_err(|error| {
        let error: http::Error = error.into();
        Error::msg(format!(
            "header `{name}`: {error}; line breaks, for one, cannot stand there"
        ))
    })?;
    Ok((name, value))
}

fn wrong_length(promised: u64, written: u64) -> io::Error {
    invalid(&format!(
        "Content-Length leaves room for {promised} bytes, but {written} were written: leave it \
         out, or correct it"
    ))
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
