//! `_kill`, `_register`, `_unregister`, `_lookup`, `_monitor`: who may be found, and who is ended.
//!
//! None of them waits. What only the master knows comes later: as the ending of a stream, or as an
//! event of the invocation itself (id 0) after which the call is made again.

use protos::{Body, Errno, LONGEST_NAME, is_name};

use super::spawn::{answer, pay_owed, pick_address};
use super::{Guest, HostResult, errno, memory};
use crate::names::Ask;

/// `_kill(id)`: ends a child. Its ending says `killed`. One that has ended stays as it is.
///
/// Returns EPERM for one that is no child, EBADF.
pub fn kill(mut guest: Guest<'_>, id: i32) -> HostResult {
    let invocation = guest.data_mut().invocation()?;
    let child = invocation.streams.child(id.cast_unsigned());
    if let Ok(Some(child)) = child {
        invocation.send(Some(child), Body::Kill)?;
    }
    Ok(errno(child.map(drop)))
}

/// `_register(name, len)`: takes a name, under which others of the project find this invocation
/// until it ends.
///
/// Returns EAGAIN until the master has answered, which is an event of id 0; then success, EEXIST
/// for a name that somebody has, EACCES for one that the project file does not allow. EINVAL and
/// ENAMETOOLONG for what is no name.
///
/// Traps on a bad pointer.
pub fn register(mut guest: Guest<'_>, name: i32, len: i32) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    let name = match checked(memory::slice(memory, name, len)?) {
        Ok(name) => name,
        Err(error) => return Ok(errno(Err(error))),
    };
    invocation.channel.take_in(&mut invocation.streams)?;
    match invocation.streams.names.register(name) {
        Ask::Answered(answer) => Ok(errno(answer)),
        Ask::Waits => Ok(errno(Err(Errno::AGAIN))),
        Ask::Now => {
            let (name, release) = (name.to_owned(), false);
            invocation.send(None, Body::Register { name, release })?;
            Ok(errno(Err(Errno::AGAIN)))
        }
    }
}

/// `_unregister(name, len)`: gives a name back. Streams that it led to go on.
///
/// Returns ENOENT for a name that this invocation does not have, EAGAIN for one that it has asked
/// for and was not answered.
///
/// Traps on a bad pointer.
pub fn unregister(mut guest: Guest<'_>, name: i32, len: i32) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    let name = match checked(memory::slice(memory, name, len)?) {
        Ok(name) => name,
        Err(error) => return Ok(errno(Err(error))),
    };
    invocation.channel.take_in(&mut invocation.streams)?;
    let released = invocation.streams.names.release(name);
    if released.is_ok() {
        let (name, release) = (name.to_owned(), true);
        invocation.send(None, Body::Register { name, release })?;
    }
    Ok(errno(released))
}

/// `_lookup(name, len, *id)`: a stream to whoever has the name. It learns of it when the first
/// bytes come.
///
/// Returns EINVAL and ENAMETOOLONG for what is no name, EAGAIN with 64 streams by name. A later
/// refusal shows as an ended stream, with ENOENT when nobody has the name.
///
/// Traps on a bad pointer.
pub fn lookup(mut guest: Guest<'_>, name: i32, len: i32, id: i32) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    let name = match checked(memory::slice(memory, name, len)?) {
        Ok(name) => name.to_owned(),
        Err(error) => return answer(memory, id, Err(error)),
    };
    pay_owed(invocation)?;
    let address = pick_address(invocation);
    let opened = invocation.streams.call(address);
    if opened.is_ok() {
        invocation.send(None, Body::Lookup { name, address })?;
    }
    answer(memory, id, opened)
}

/// `_monitor(id)`: the ending of the invocation behind a stream by name is reported, also when
/// both sides have closed the stream before. (How parents and children end is reported anyway.)
///
/// Returns EPIPE when the stream is over, EBADF.
pub fn monitor(mut guest: Guest<'_>, id: i32) -> HostResult {
    let invocation = guest.data_mut().invocation()?;
    let whom = invocation.streams.monitored(id.cast_unsigned());
    if let Ok(Some(whom)) = whom {
        invocation.send(Some(whom), Body::Monitor)?;
    }
    Ok(errno(whom.map(drop)))
}

fn checked(name: &[u8]) -> Result<&str, Errno> {
    if name.len() > LONGEST_NAME {
        return Err(Errno::NAMETOOLONG);
    }
    let name = std::str::from_utf8(name).map_err(|_| Errno::INVAL)?;
    is_name(name).then_some(name).ok_or(Errno::INVAL)
}
