//! What the master and a fork server say to each other, on a socket that keeps packets apart.
//!
//! Master to fork server: a [`Batch`], the slot numbers as u64 little-endian, with one
//! descriptor each. Fork server to master: a [`Reply`], a tag byte and its content.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use protos::Slot;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, send, sendmsg,
};

use crate::jail::Missing;

/// The most descriptors one message can carry: `SCM_MAX_FD` of the kernel.
pub const MAX_BATCH: usize = 253;

/// The longest reply, in bytes; a longer error text is cut.
const MAX_REPLY: usize = 8 * 1024;

/// Wrappers to fork: one per slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Their numbers, in the order of the descriptors.
    pub slots: Vec<Slot>,
}

/// What a fork server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The function is loaded and the jail closed; what the jail lacks here.
    Ready(Vec<Missing>),
    /// It could not be loaded, and why. The fork server ends.
    Failed(String),
    /// No wrapper for this slot, and the errno of the fork.
    ForkFailed(Slot, i32),
}

const READY: u8 = 1;
const FAILED: u8 = 2;
const FORK_FAILED: u8 = 3;

impl Reply {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready(missing) => {
                let line = |Missing { step, why }: &Missing| format!("{step}\t{why}\n");
                tagged(READY, &missing.iter().map(line).collect::<String>())
            }
            Self::Failed(text) => tagged(FAILED, text),
            Self::ForkFailed(slot, errno) => {
                [&[FORK_FAILED], &slot.to_bytes()[..], &errno.to_le_bytes()].concat()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&READY, text) => Some(Self::Ready(
                String::from_utf8_lossy(text)
                    .lines()
                    .filter_map(|line| line.split_once('\t'))
                    .map(|(step, why)| Missing {
                        step: step.to_owned(),
                        why: why.to_owned(),
                    })
                    .collect(),
            )),
            (&FAILED, text) => Some(Self::Failed(String::from_utf8_lossy(text).into_owned())),
            (&FORK_FAILED, rest) => {
                let (slot, errno) = rest.split_first_chunk::<{ Slot::BYTES }>()?;
                let errno = i32::from_le_bytes(errno.try_into().ok()?);
                Some(Self::ForkFailed(Slot::from_bytes(*slot), errno))
            }
            _ => None,
        }
    }
}

fn tagged(tag: u8, text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.floor_char_boundary(MAX_REPLY - 1)];
    [&[tag], text].concat()
}

pub(crate) fn send_batch(
    socket: BorrowedFd<'_>,
    batch: &Batch,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes: Vec<u8> = batch
        .slots
        .iter()
        .flat_map(|slot| slot.to_bytes())
        .collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_BATCH))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if fds.len() != batch.slots.len() || !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(
        socket,
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Waits for the next batch; `None` when the master has closed the socket.
pub(crate) fn receive_batch(socket: BorrowedFd<'_>) -> io::Result<Option<Vec<(Slot, OwnedFd)>>> {
    let mut bytes = [0; MAX_BATCH * Slot::BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_BATCH))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let fds = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let slots = bytes[..received.bytes]
        .as_chunks::<{ Slot::BYTES }>()
        .0
        .iter()
        .map(|bytes| Slot::from_bytes(*bytes));
    Ok(Some(slots.zip(fds).collect()))
}

pub(crate) fn send_reply(socket: BorrowedFd<'_>, reply: &Reply) -> io::Result<()> {
    send(socket, &reply.encode(), SendFlags::NOSIGNAL)?;
    Ok(())
}

pub(crate) fn receive_reply(socket: BorrowedFd<'_>) -> io::Result<Reply> {
    let mut bytes = [0; MAX_REPLY];
    let (_, length) = recv(socket, &mut bytes[..], RecvFlags::DONTWAIT)?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Reply::decode(&bytes[..length]).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_read_back() {
        for reply in [
            Reply::Ready(Vec::new()),
            Reply::Ready(vec![
                Missing {
                    step: "landlock".into(),
                    why: "switched off".into(),
                },
                Missing {
                    step: "a user namespace".into(),
                    why: String::new(),
                },
            ]),
            Reply::Failed("no such file".into()),
            Reply::ForkFailed(Slot(7), libc::EAGAIN),
        ] {
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
        assert_eq!(Reply::decode(&[]), None);
        assert_eq!(Reply::decode(&[FORK_FAILED, 1, 2]), None);
    }

    #[test]
    fn a_long_error_text_is_cut_at_a_character() {
        let Some(Reply::Failed(text)) =
            Reply::decode(&Reply::Failed("ä".repeat(MAX_REPLY)).encode())
        else {
            panic!("not a failure")
        };
        assert!(text.len() < MAX_REPLY && text.chars().all(|c| c == 'ä'));
    }
}
