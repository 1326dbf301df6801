//! Names: to be found by others of the project, and to find them.

use crate::{
    error::Error,
    reason::Exit,
    stream::{Conn, exit},
    sys::{self, Errno},
    task::{self, newcomers, reactor},
};
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

/// Takes a name, under which others of the project find this invocation with [`lookup`] until it
/// ends. Who has found it and writes to it is [accepted](accept).
///
/// The project file has to allow it: `allow: {register: [board]}`. Waits for the answer of Embly,
/// which takes a fraction of a millisecond.
///
/// ```no_run
/// # use embly_sdk as embly;
/// use embly::{Conn, Error, accept, prelude::*, register};
///
/// async fn board(_parent: Conn) -> Result<(), Error> {
///     register("board")?;
///     let mut lines = String::new();
///     loop {
///         let mut visitor = accept().await;
///         lines += &visitor.string()?;
///         visitor.write_all(lines.as_bytes())?;
///         visitor.close()?;
///     }
/// }
///
/// fn main() -> Result<(), Error> {
///     embly::run(board)
/// }
/// ```
///
/// # Errors
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists) when another invocation has the name,
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied) when the project file does not allow it;
/// and for what is no name.
pub fn register(name: &str) -> Result<(), Error> {
    let answer = task::block_on_poll(|cx| match sys::register(name) {
        Err(Errno::AGAIN) => {
            reactor::on_change(reactor::ITSELF, cx.waker());
            Poll::Pending
        }
        answer => Poll::Ready(answer),
    });
    Ok(answer.map_err(|errno| refused("take", name, errno))?)
}

/// Gives a name back. Streams that it led to go on.
///
/// # Errors
/// When this invocation does not have the name.
pub fn unregister(name: &str) -> Result<(), Error> {
    Ok(sys::unregister(name).map_err(|errno| refused("give back", name, errno))?)
}

/// Opens a stream to whoever has [taken](register) the name. They learn of it when the first bytes
/// come, or the [end](Conn::close).
///
/// The project file has to allow it: `allow: {reach: [board]}`. When nobody has the name, or it is
/// not allowed, that shows when the connection is read: as an [ending](Exit) with the reason
/// `refused`, as with [`spawn_function`](crate::spawn_function).
///
/// The stream is over when both sides have closed it, or one of them has ended.
///
/// ```no_run
/// # use embly_sdk as embly;
/// use embly::{Error, lookup, prelude::*};
///
/// fn post(line: &str) -> Result<String, Error> {
///     let mut board = lookup("board")?;
///     board.write_all(line.as_bytes())?;
///     board.close()?;
///     let mut lines = String::new();
///     board.read_to_string(&mut lines)?;
///     Ok(lines)
/// }
/// ```
///
/// # Errors
/// For what is no name, and when this invocation has 64 streams by name.
pub fn lookup(name: &str) -> Result<Conn, Error> {
    let id = sys::lookup(name).map_err(|errno| refused("look up", name, errno))?;
    newcomers::expect(id);
    Ok(Conn::new(id))
}

/// The next one who has [looked up](lookup) a [name of ours](register) and speaks:
/// `accept().await`, or `accept().wait()` in a plain function.
///
/// Nobody is lost who comes while nobody accepts: they wait, at most 64 at once.
pub fn accept() -> Accept {
    Accept(())
}

/// The future of [`accept`].
#[derive(Debug)]
#[must_use = "nobody is accepted until it is awaited (or `wait` is called)"]
pub struct Accept(());

impl Accept {
    /// Waits for somebody new.
    pub fn wait(self) -> Conn {
        task::block_on(self)
    }
}

impl Future for Accept {
    type Output = Conn;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Conn> {
        match newcomers::next() {
            Some(id) => Poll::Ready(Conn::new(id)),
            None => {
                reactor::on_change(reactor::NEWCOMERS, cx.waker());
                Poll::Pending
            }
        }
    }
}

/// How the invocation at the other end of a connection ends, a good end or not:
/// `monitor(conn).await`, or `monitor(conn).wait()` in a plain function.
///
/// For a child this is what [`Conn::status`] waits for. With a connection by [name](lookup) it is
/// more: the ending of the *invocation* behind it, also when the two have closed the connection
/// before. What it still has to say should be read meanwhile: one that waits for credit does not
/// end.
///
/// ```no_run
/// # use embly_sdk as embly;
/// # async fn f() -> Result<(), embly::Error> {
/// let board = embly::monitor(embly::lookup("board")?);
/// // …
/// println!("the board has ended: {}", board.await?);
/// # Ok(())
/// # }
/// ```
pub fn monitor(conn: Conn) -> Monitor {
    // Asked now, so that nothing is missed before the first look.
    let refused = match sys::monitor(conn.id()) {
        Ok(()) => None,
        // It is over, and how is known.
        Err(Errno::PIPE) => None,
        Err(errno) => Some(errno),
    };
    Monitor { conn, refused }
}

/// The future of [`monitor`].
#[derive(Debug)]
#[must_use = "nobody learns of the end until it is awaited (or `wait` is called)"]
pub struct Monitor {
    conn: Conn,
    refused: Option<Errno>,
}

impl Monitor {
    /// Waits for the end.
    ///
    /// # Errors
    /// When the connection is not open any more, long after its end.
    pub fn wait(self) -> Result<Exit, Error> {
        task::block_on(self)
    }
}

impl Future for Monitor {
    type Output = Result<Exit, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(errno) = self.refused {
            return Poll::Ready(Err(io::Error::from(errno).into()));
        }
        match exit(self.conn.id()) {
            Ok(Some(exit)) => Poll::Ready(Ok(exit)),
            Ok(None) => {
                reactor::on_change(self.conn.id(), cx.waker());
                Poll::Pending
            }
            Err(errno) => Poll::Ready(Err(io::Error::from(errno).into())),
        }
    }
}

fn refused(what: &str, name: &str, errno: Errno) -> io::Error {
    let (kind, why) = match errno {
        Errno::EXIST => (io::ErrorKind::AlreadyExists, "another invocation has it"),
        Errno::ACCES => (
            io::ErrorKind::PermissionDenied,
            "list it in `allow: {register: …}` of this function in embly-project.yml",
        ),
        Errno::NOENT => (io::ErrorKind::NotFound, "this invocation does not have it"),
        Errno::AGAIN => (io::ErrorKind::ResourceBusy, "too many are open"),
        Errno::INVAL | Errno::NAMETOOLONG => (
            io::ErrorKind::InvalidInput,
            "a name has lower-case letters, digits and `-`, a letter first, and at most 63 of them",
        ),
        _ => (io::ErrorKind::Other, "the host refused"),
    };
    io::Error::new(
        kind,
        format!("cannot {what} the name `{name}`: {why} ({errno})"),
    )
}
