//! What the master and a process that runs SQL say to each other, on a stream socket: u32
//! little-endian length, a byte that says what it is, and its content.
//!
//! The process answers each [`ToWorker::Request`] with one [`FromWorker::Final`]; before that it may
//! say [`FromWorker::Wants`] once, and [`FromWorker::Part`] any number of times, and then waits for
//! what the master says.

use std::io::{self, Read, Write};

/// The longest message, in bytes; longer than any frame between a function and the service.
pub const MOST: usize = super::MAX_MESSAGE + 256 * 1024;

/// Bytes before the content.
pub const HEAD: usize = 5;

/// What the master says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ToWorker {
    /// A `Request` of the service's protocol: execute, begin, commit, rollback.
    Request = 1,
    /// More of the rows.
    Next = 2,
    /// No more of the rows.
    Cancel = 3,
    /// Nobody else writes now.
    Granted = 4,
    /// Others write; the statement is not run. There is no answer.
    Refused = 5,
    /// The migrations that there are, see [`super::migrate`].
    Check = 6,
    /// One to apply.
    Apply = 7,
}

/// What the process says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FromWorker {
    /// The database is open.
    Ready = 1,
    /// It is not, or a migration failed, and why. The process ends.
    Failed = 2,
    /// Frames for the caller. It waits for [`ToWorker::Next`] or [`ToWorker::Cancel`].
    Part = 3,
    /// A byte of [`flags`], and frames for the caller, of which the last ends the answer.
    Final = 4,
    /// The statement writes. It waits for [`ToWorker::Granted`] or [`ToWorker::Refused`].
    Wants = 5,
    /// What is to be applied, in order: u32 little-endian numbers.
    Pending = 6,
    /// It was.
    Applied = 7,
}

/// Bits of the first byte of [`FromWorker::Final`].
pub mod flags {
    /// A transaction is open.
    pub const IN_TRANSACTION: u8 = 1;
    /// The process is not to be used again.
    pub const SPENT: u8 = 2;
}

impl ToWorker {
    const ALL: [Self; 7] = [
        Self::Request,
        Self::Next,
        Self::Cancel,
        Self::Granted,
        Self::Refused,
        Self::Check,
        Self::Apply,
    ];

    /// What this byte stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

impl FromWorker {
    const ALL: [Self; 7] = [
        Self::Ready,
        Self::Failed,
        Self::Part,
        Self::Final,
        Self::Wants,
        Self::Pending,
        Self::Applied,
    ];

    /// What this byte stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The head of a message with so many bytes of content.
///
/// # Errors
/// `InvalidInput` when it is longer than [`MOST`].
pub fn head(kind: u8, length: usize) -> io::Result<[u8; HEAD]> {
    let length = u32::try_from(length).ok().filter(|n| *n as usize <= MOST);
    let [a, b, c, d] = length.ok_or(io::ErrorKind::InvalidInput)?.to_le_bytes();
    Ok([a, b, c, d, kind])
}

/// What a head says: the kind, and the bytes of content.
///
/// # Errors
/// `InvalidData` when that is more than [`MOST`].
pub fn parse(head: [u8; HEAD]) -> io::Result<(u8, usize)> {
    let [a, b, c, d, kind] = head;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok((kind, length))
}

/// Writes a message of which the content is in two pieces.
///
/// # Errors
/// That of writing.
pub fn write(to: &mut impl Write, kind: u8, first: &[u8], second: &[u8]) -> io::Result<()> {
    let head = head(kind, first.len() + second.len())?;
    let whole = [&head[..], first, second].concat();
    to.write_all(&whole)
}

/// Reads a message; waits for it.
///
/// # Errors
/// `UnexpectedEof` at the end of the stream, `InvalidData` for what is no message.
pub fn read(from: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head)?;
    let (kind, length) = parse(head)?;
    let mut content = vec![0; length];
    from.read_exact(&mut content)?;
    Ok((kind, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_and_long_ones_are_refused() {
        let mut bytes = Vec::new();
        write(&mut bytes, ToWorker::Request as u8, b"ab", b"c").unwrap();
        let (kind, content) = read(&mut &bytes[..]).unwrap();
        assert_eq!(ToWorker::from_byte(kind), Some(ToWorker::Request));
        assert_eq!(content, b"abc");
        assert!(read(&mut &bytes[..6]).is_err());
        assert!(read(&mut &[255, 255, 255, 255, 1][..]).is_err());
        assert!(head(1, MOST + 1).is_err());
        assert_eq!(ToWorker::from_byte(0), None);
        assert_eq!(FromWorker::from_byte(9), None);
    }
}
