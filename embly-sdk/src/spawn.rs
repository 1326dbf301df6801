//! Starting other functions.

use crate::{
    error::Error,
    options::SpawnOptions,
    stream::Conn,
    sys::{self, Errno},
    task::newcomers,
};
use std::io::{self, Write};

/// Starts a function of the project, in a process of its own.
///
/// It ends when this invocation ends. A name that does not exist, or that this function may not
/// start, shows when the connection is read: as an [ending](crate::Exit) with the reason `refused`.
///
/// ```no_run
/// # use embly_sdk as embly;
/// use embly::{Conn, Error, prelude::*, spawn_function};
///
/// fn ask(conn: Conn) -> Result<(), Error> {
///     let mut hello = spawn_function("hello")?;
///     hello.write_all(b"what is your name?")?;
///     println!("{}", hello.string()?);
///     Ok(())
/// }
/// ```
///
/// # Errors
/// When this invocation has as many live children, or levels of functions above it, as its limits
/// allow.
pub fn spawn_function(name: &str) -> Result<Conn, Error> {
    let id = sys::spawn(name).map_err(|errno| refused(name, errno))?;
    newcomers::expect(id);
    Ok(Conn::new(id))
}

/// As [`spawn_function`], with [options](SpawnOptions): arguments, environment, lower limits, a life
/// of its own.
///
/// # Errors
/// As [`spawn_function`]; and when the options take more than 32 KiB.
pub fn spawn_with(options: &SpawnOptions) -> Result<Conn, Error> {
    let encoded = options.encode();
    let id = sys::spawn_with(&encoded).map_err(|errno| refused(options.name(), errno))?;
    newcomers::expect(id);
    Ok(Conn::new(id))
}

/// Ends a child at once. How it ended is then [`Reason::Killed`](crate::Reason::Killed), unless it
/// had ended before.
///
/// ```no_run
/// # use embly_sdk as embly;
/// use embly::{Error, Reason, kill, spawn_function};
///
/// fn impatient() -> Result<(), Error> {
///     let child = spawn_function("slow")?;
///     kill(child)?;
///     assert_eq!(child.status()?.reason, Reason::Killed);
///     Ok(())
/// }
/// ```
///
/// # Errors
/// For a connection that does not lead to a child.
pub fn kill(child: Conn) -> Result<(), Error> {
    let killed = sys::kill(child.id()).map_err(|errno| match errno {
        Errno::PERM => io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("only a parent ends a child ({errno})"),
        ),
        errno => errno.into(),
    });
    Ok(killed?)
}

/// Starts a function and writes to it. Waits while there is no room for the bytes, which a
/// function that answers before it has read them all can make last for ever: a large payload is
/// better sent with [`Conn::send`] while the answer is read.
///
/// # Errors
/// As [`spawn_function`]; and when the function ends before it has taken the bytes.
pub fn spawn_and_send(name: &str, payload: &[u8]) -> Result<Conn, Error> {
    let mut conn = spawn_function(name)?;
    conn.write_all(payload)?;
    Ok(conn)
}

fn refused(name: &str, errno: Errno) -> io::Error {
    let (kind, why) = match errno {
        Errno::NOENT => (
            io::ErrorKind::NotFound,
            "there is none of that name: list it under `functions` in embly-project.yml",
        ),
        Errno::AGAIN => (
            io::ErrorKind::ResourceBusy,
            "too many are running: let some end first, or raise `limits: {children: …}`",
        ),
        Errno::PERM => (
            io::ErrorKind::PermissionDenied,
            "too many levels of functions that start functions: does it start itself?",
        ),
        Errno::ACCES => (
            io::ErrorKind::PermissionDenied,
            "this function may not start it: list it in `allow: {spawn: …}`",
        ),
        Errno::INVAL => (io::ErrorKind::InvalidInput, "that is not a name"),
        _ => (io::ErrorKind::Other, "the host refused"),
    };
    io::Error::new(
        kind,
        format!("cannot start function `{name}`: {why} ({errno})"),
    )
}
