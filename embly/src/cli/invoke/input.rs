//! What a function gets: standard input as it comes, or an HTTP request.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use http::{HeaderName, HeaderValue, Method, Uri};
use tokio::sync::mpsc;

use super::output::Output;
use crate::cli::{Exit, ws};
use crate::gateway::http::head::{self, REQUEST_ID, RequestBody};
use crate::gateway::http::request_too_large;
use crate::report::{Format, Reporter};
use crate::switchboard::Sink;

/// How much is read at once, in bytes.
const READ: usize = 64 * 1024;

/// What the flags say of a request.
#[derive(Debug, Args)]
pub struct Request {
    /// Send an HTTP request, and print the body of the response
    #[arg(long, num_args = 2, value_names = ["METHOD", "PATH"])]
    http: Option<Vec<String>>,
    /// A header of the request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = ws::parse_header, requires = "http")]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The body of the request: text, a file, or standard input
    #[arg(short, long, value_name = "DATA|@FILE|-", requires = "http")]
    data: Option<String>,
    /// Print the head of the response as well
    #[arg(short, long, requires = "http")]
    include: bool,
}

/// Where bytes come from.
enum From {
    /// Standard input, as it comes; the words are for whoever types it.
    Input(&'static str),
    /// They are here.
    Memory(Bytes),
    /// They are read as they come.
    Reader(Box<dyn Read + Send>),
}

/// What is sent to a function.
pub struct Input {
    /// Of a request.
    head: Option<Bytes>,
    request_id: Option<Arc<str>>,
    chunked: bool,
    body: From,
}

impl Request {
    /// What to send, and where what comes back goes.
    ///
    /// # Errors
    /// It is no request, or its file cannot be read; that was said.
    pub fn open(self, reporter: &Reporter) -> Result<(Input, Output), Exit> {
        let json = reporter.options().format == Format::Json;
        let Some(words) = &self.http else {
            let input = Input {
                head: None,
                request_id: None,
                chunked: false,
                body: From::Input("what the function is to get"),
            };
            return Ok((input, Output::stream(json)));
        };
        let wrong = |text: String| {
            reporter.error(text);
            Exit::Usage
        };
        let [method, path] = words.as_slice() else {
            return Err(wrong("`--http` takes a method and a path".to_owned()));
        };
        let method: Method = method
            .parse()
            .map_err(|_| wrong("this is no HTTP method: write `GET` or `POST`".to_owned()))?;
        let uri: Uri = path
            .parse()
            .ok()
            .filter(|_| path.starts_with('/'))
            .ok_or_else(|| {
                wrong("this is no path: it begins with `/`, as in `--http GET /hello?x=1`".into())
            })?;
        let (body, framing) = body(self.data.as_deref()).map_err(|error| {
            reporter.error(error);
            Exit::Failed
        })?;
        let request_id = uuid::Uuid::now_v7().to_string();
        let was_head = method == Method::HEAD;
        let mut request = http::Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        // What the gateway would say; it may also be said here, to see what comes of it.
        let mut told = vec![
            ("embly-client".to_owned(), "127.0.0.1".to_owned()),
            ("embly-scheme".to_owned(), "http".to_owned()),
            (REQUEST_ID.to_string(), request_id.clone()),
        ];
        let headers = request.headers_mut();
        for (name, value) in self.headers {
            if head::is_withheld(&name) {
                told.retain(|(other, _)| name != other.as_str());
                let value = String::from_utf8_lossy(value.as_bytes());
                told.push((name.to_string(), value.into_owned()));
            } else {
                headers.append(name, value);
            }
        }
        if !headers.contains_key(http::header::HOST) {
            headers.insert(http::header::HOST, HeaderValue::from_static("localhost"));
        }
        let input = Input {
            head: Some(head::request(&request, framing, &told)),
            request_id: Some(request_id.into()),
            chunked: framing == RequestBody::Chunked,
            body,
        };
        Ok((input, Output::http(was_head, self.include, json)))
    }
}

fn body(data: Option<&str>) -> Result<(From, RequestBody), String> {
    let Some(data) = data else {
        return Ok((From::Memory(Bytes::new()), RequestBody::None));
    };
    // The second is how curl writes it.
    if data == "-" || data == "@-" {
        let body = From::Input("the body of the request");
        return Ok((body, RequestBody::Chunked));
    }
    let Some(name) = data.strip_prefix('@') else {
        let bytes = Bytes::copy_from_slice(data.as_bytes());
        let length = RequestBody::Length(bytes.len() as u64);
        return Ok((From::Memory(bytes), length));
    };
    let file = File::open(name).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = file.map_err(|error| format!("cannot read `{name}`: {error}"))?;
    if metadata.is_dir() {
        return Err(format!("cannot read `{name}`: it is a folder"));
    }
    // A file that grows meanwhile is cut there; what is no file tells no length.
    let length = metadata.len();
    Ok(match metadata.is_file() {
        true => (
            From::Reader(Box::new(file.take(length))),
            RequestBody::Length(length),
        ),
        false => (From::Reader(Box::new(file)), RequestBody::Chunked),
    })
}

impl Input {
    /// The id of the request.
    pub fn request_id(&self) -> Option<Arc<str>> {
        self.request_id.clone()
    }

    /// Sends all of it, and says that no more follows. The body of a request may have `most` bytes.
    pub async fn send(self, mut sink: Sink, most: u64, reporter: Reporter) {
        let most = match &self.head {
            Some(_) => most,
            None => u64::MAX,
        };
        // A function that has ended needs no more; how it ended shows elsewhere.
        let _ = self.send_to(&mut sink, most, &reporter).await;
    }

    async fn send_to(
        self,
        sink: &mut Sink,
        most: u64,
        reporter: &Reporter,
    ) -> Result<(), crate::switchboard::Ended> {
        let mut left = most;
        let mut fits = |data: &Bytes, sink: &Sink| {
            let rest = left.checked_sub(data.len() as u64);
            left = rest.unwrap_or(0);
            if rest.is_none() {
                let ending = request_too_large(most);
                sink.stop(ending.reason, &ending.detail);
            }
            rest.is_some()
        };
        if let Some(head) = self.head {
            sink.send(head).await?;
        }
        let reader: Option<Box<dyn Read + Send>> = match self.body {
            From::Memory(bytes) => {
                if !fits(&bytes, sink) {
                    return Ok(());
                }
                sink.send(bytes).await?;
                None
            }
            From::Reader(reader) => Some(reader),
            From::Input(what) => {
                if io::stdin().is_terminal() {
                    reporter.info(format!(
                        "type {what}; Ctrl-D in an empty line ends it, `</dev/null` gives nothing"
                    ));
                }
                Some(Box::new(io::stdin()))
            }
        };
        if let Some(reader) = reader {
            let mut pieces = read(reader);
            while let Some(piece) = pieces.recv().await {
                match piece {
                    Ok(piece) if !fits(&piece, sink) => return Ok(()),
                    Ok(piece) if self.chunked => sink.send(chunk(&piece)).await?,
                    Ok(piece) => sink.send(piece).await?,
                    Err(error) => {
                        reporter.error(format!("cannot read all of the input: {error}"));
                        break;
                    }
                }
            }
        }
        if self.chunked {
            sink.send(Bytes::from_static(b"0\r\n\r\n")).await?;
        }
        sink.finish();
        Ok(())
    }
}

fn chunk(data: &[u8]) -> Bytes {
    let size = format!("{:x}\r\n", data.len());
    [size.as_bytes(), data, b"\r\n"].concat().into()
}

/// Reads on a thread of its own, a piece ahead: a read of a terminal cannot be given up, so the
/// thread ends with the program.
fn read(mut reader: Box<dyn Read + Send>) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, pieces) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut buffer = vec![0; READ];
        loop {
            let piece = match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => Ok(Bytes::copy_from_slice(&buffer[..length])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    pieces
}
