//! Other servers in memory: [`crate::tcp`] in a test (cargo feature `tcp`).
//!
//! A server is a handler, as a function is one; each connection to its address starts it.
//!
//! ```
//! # use embly_sdk as embly;
//! use embly::{Conn, Error, mock, prelude::*, tcp};
//!
//! fn greets(mut conn: Conn) -> Result<(), Error> {
//!     let mut greeting = String::new();
//!     tcp::connect("greeter.example:7").wait()?.read_to_string(&mut greeting)?;
//!     Ok(write!(conn, "{greeting}!")?)
//! }
//!
//! mock::tcp::listen("greeter.example:7", |mut conn: Conn| conn.write_all(b"hello").unwrap());
//! assert_eq!(mock::spawn(greets).string().unwrap(), "hello!");
//! ```
//!
//! There is no TLS: whoever asks for it has it, and the handler sees the bytes as they are. A
//! handler that ends with an error, or with [`mock::end`](crate::mock::end), breaks the connection.

use crate::{
    entry::Outcome,
    error::Error,
    mock,
    proto::tcp::{Answer, Error as Refusal, Kind, Open, Opened, Step, answer, step},
    reason::Reason,
    stream::Conn,
    sys::mock::{guest, world::Start},
    tcp::{frame, read},
};
use std::{cell::Cell, io::Write};

/// The service.
pub(crate) fn all() -> Vec<(&'static str, Start)> {
    vec![("embly/tcp", mock::start(serve))]
}

/// Has a server at `HOST:PORT` from now on, in this test.
pub fn listen<H, R, Kind>(address: &str, handler: H)
where
    H: Fn(Conn) -> R + Send + Sync + 'static,
    R: Outcome<Kind>,
{
    let start = mock::start(handler);
    guest::me().world.register(&name(address), start);
}

/// No function has such a name.
fn name(address: &str) -> String {
    format!("embly/tcp {}", address.to_ascii_lowercase())
}

fn serve(mut conn: Conn) -> Result<(), Error> {
    let open: Option<Open> = crate::block_on(read(conn))?;
    let open = open.ok_or_else(|| Error::msg("the stream ended before `Open`"))?;
    let address = format!("{}:{}", open.host, open.port);
    let Some(server) = guest::me().world.registered(&name(&address)) else {
        let message = format!(
            "nobody listens at `{address}`: write `mock::tcp::listen(\"{address}\", …)` in the test"
        );
        let refusal = Refusal {
            kind: Kind::Refused.into(),
            message: message.clone(),
        };
        conn.write_all(&frame(&Answer {
            answer: Some(answer::Answer::Error(refusal)),
        }))?;
        mock::end(Reason::Exit, 1, &message);
    };
    conn.write_all(&frame(&opened(open.port)))?;
    if open.starttls {
        let server = Conn::new(guest::me().start(&address, server));
        return crate::block_on(relay(conn, server, open.port));
    }
    // The handler goes on with the same stream.
    match server() {
        0 => Ok(()),
        code => mock::end(Reason::Exit, code, "the server in the test has failed"),
    }
}

/// An address for documentation: there is no other.
fn opened(port: u32) -> Answer {
    Answer {
        answer: Some(answer::Answer::Opened(Opened {
            peer: format!("192.0.2.1:{port}"),
            alpn: String::new(),
        })),
    }
}

/// Steps, and then bytes, between the caller and the server.
async fn relay(conn: Conn, server: Conn, port: u32) -> Result<(), Error> {
    let in_steps = Cell::new(true);
    let to_server = async {
        while in_steps.get() {
            let Some(said) = read::<Step>(conn).await? else {
                break;
            };
            match said.step {
                Some(step::Step::Data(bytes)) => server.send(&bytes).await?,
                Some(step::Step::StartTls(_) | step::Step::StayPlain(_)) => {
                    in_steps.set(false);
                    let step = Some(step::Step::Answer(opened(port)));
                    conn.send(&frame(&Step { step })).await?;
                }
                Some(step::Step::Answer(_)) | None => {
                    return Err(Error::msg("that is not a step of the caller"));
                }
            }
        }
        loop {
            conn.await?;
            match conn.now() {
                bytes if bytes.is_empty() => return server.close(),
                bytes => server.send(&bytes).await?,
            }
        }
    };
    let to_caller = async {
        loop {
            server.await?;
            match server.now() {
                bytes if bytes.is_empty() => return conn.close(),
                bytes if in_steps.get() => {
                    let step = Some(step::Step::Data(bytes));
                    conn.send(&frame(&Step { step })).await?;
                }
                bytes => conn.send(&bytes).await?,
            }
        }
    };
    let (up, down) = crate::join!(to_server, to_caller);
    up.and(down)
}
