//! The body of a function's response, checked while it passes.

use bytes::{Buf, Bytes, BytesMut};

/// A chunk's size line, or a trailer, may be so long, in bytes.
const LINE: usize = 8 * 1024;

/// All trailers together.
const TRAILERS: usize = 32 * 1024;

/// What stands in the size lines of one body beside the sizes, in bytes: more than anybody has to
/// say there, and it is read for nothing.
const BESIDE: usize = 16 * 1024;

/// How a body is framed, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// There is none, whatever follows.
    None,
    /// So many bytes are still to come.
    Length(u64),
    /// Chunked coding.
    Chunked {
        /// How far it is.
        chunk: Chunk,
        /// So many bytes stood beside the sizes.
        beside: usize,
    },
    /// It ends as the function does.
    UntilEnd,
}

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// In a size line.
    Size,
    /// So many bytes of a chunk are left.
    Data(u64),
    /// At the end of a chunk's data.
    DataEnd,
    /// In the trailers, so many bytes into them.
    Trailers(usize),
    /// Behind the last trailer.
    Done,
}

/// Bytes that break the chunked coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its chunked coding is broken")]
pub struct BadChunk;

impl Framing {
    /// The start of a chunked body.
    pub const fn chunked() -> Self {
        Self::Chunked {
            chunk: Chunk::Size,
            beside: 0,
        }
    }

    /// Whether the body is complete.
    pub const fn is_complete(&self) -> bool {
        matches!(
            self,
            Self::None
                | Self::Length(0)
                | Self::Chunked {
                    chunk: Chunk::Done,
                    ..
                }
        )
    }

    /// Whether all of `data` is body as it stands; then it is counted.
    pub fn whole(&mut self, data: &[u8]) -> bool {
        match self {
            Self::UntilEnd => true,
            Self::Length(left) => {
                let rest = left.checked_sub(data.len() as u64);
                rest.map(|rest| *left = rest).is_some()
            }
            Self::None | Self::Chunked { .. } => false,
        }
    }

    /// Takes the next piece of body off the front of `bytes`; `None` when more is needed or
    /// the body is complete. What follows a complete body stays where it is.
    ///
    /// # Errors
    /// [`BadChunk`].
    pub fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, BadChunk> {
        match self {
            Self::None => Ok(None),
            Self::Length(left) => Ok(take(left, bytes)),
            Self::UntilEnd => Ok((!bytes.is_empty()).then(|| bytes.split().freeze())),
            Self::Chunked { chunk, beside } => next_chunk(chunk, beside, bytes),
        }
    }
}

fn take(left: &mut u64, bytes: &mut BytesMut) -> Option<Bytes> {
    let most = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    *left -= most as u64;
    (most > 0).then(|| bytes.split_to(most).freeze())
}

/// The length of a size line that is all there, and the size; `None` when more is needed.
fn size_line(bytes: &[u8]) -> Result<Option<(usize, u64)>, BadChunk> {
    // The parser takes a line without a number for 0, and LF for a part of an extension.
    if bytes.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
        return Err(BadChunk);
    }
    match httparse::parse_chunk_size(bytes) {
        Ok(httparse::Status::Complete((length, _)))
            if length > LINE || bytes[..length - 2].contains(&b'\n') =>
        {
            Err(BadChunk)
        }
        Ok(httparse::Status::Complete(found)) => Ok(Some(found)),
        Ok(httparse::Status::Partial) if bytes.len() <= LINE => Ok(None),
        _ => Err(BadChunk),
    }
}

fn next_chunk(
    chunk: &mut Chunk,
    beside: &mut usize,
    bytes: &mut BytesMut,
) -> Result<Option<Bytes>, BadChunk> {
    loop {
        match chunk {
            Chunk::Size => match size_line(bytes)? {
                Some((length, size)) => {
                    let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit());
                    *beside += length - digits.count() - b"\r\n".len();
                    if *beside > BESIDE {
                        return Err(BadChunk);
                    }
                    bytes.advance(length);
                    *chunk = if size == 0 {
                        Chunk::Trailers(0)
                    } else {
                        Chunk::Data(size)
                    };
                }
                None => return Ok(None),
            },
            Chunk::Data(left) => {
                let data = take(left, bytes);
                if *left == 0 {
                    *chunk = Chunk::DataEnd;
                }
                return Ok(data);
            }
            Chunk::DataEnd => {
                if bytes.len() < 2 {
                    return Ok(None);
                }
                if bytes[..2] != *b"\r\n" {
                    return Err(BadChunk);
                }
                bytes.advance(2);
                *chunk = Chunk::Size;
            }
            // Checked for their end only: a response's trailers are not passed on.
            Chunk::Trailers(seen) => {
                let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
                    return if bytes.len() > LINE {
                        Err(BadChunk)
                    } else {
                        Ok(None)
                    };
                };
                if end > LINE {
                    return Err(BadChunk);
                }
                bytes.advance(end + 2);
                *seen += end + 2;
                if *seen > TRAILERS {
                    return Err(BadChunk);
                }
                if end == 0 {
                    *chunk = Chunk::Done;
                }
            }
            Chunk::Done => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `wire`, given in pieces of `size`; the body and what is left.
    fn decode(
        mut framing: Framing,
        wire: &[u8],
        size: usize,
    ) -> Result<(Vec<u8>, bool, usize), BadChunk> {
        let (mut bytes, mut body) = (BytesMut::new(), Vec::new());
        for piece in wire.chunks(size) {
            bytes.extend_from_slice(piece);
            while let Some(data) = framing.next(&mut bytes)? {
                body.extend_from_slice(&data);
            }
        }
        Ok((body, framing.is_complete(), bytes.len()))
    }

    #[test]
    fn chunks_are_decoded_wherever_they_are_split() {
        let wire = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\na: b\r\n\r\nextra";
        for size in 1..wire.len() {
            let decoded = decode(Framing::chunked(), wire, size);
            assert_eq!(
                decoded,
                Ok((b"hello world".to_vec(), true, 5)),
                "in pieces of {size}"
            );
        }
    }

    #[test]
    fn broken_chunks_are_errors_and_cut_ones_are_not_complete() {
        for wire in [
            "x\r\n",
            "\r\n",
            ";x\r\n",
            "5;a\nb\r\n",
            "5\r\nhelloX\r\n",
            "ffffffffffffffffff\r\n",
        ] {
            assert_eq!(
                decode(Framing::chunked(), wire.as_bytes(), 99),
                Err(BadChunk),
                "{wire:?}"
            );
        }
        for wire in ["5\r\nhel", "5\r\nhello\r\n", "0\r\n", "0\r\na: b\r\n"] {
            let (_, complete, _) = decode(Framing::chunked(), wire.as_bytes(), 99).unwrap();
            assert!(!complete, "{wire:?}");
        }
    }

    #[test]
    fn a_length_takes_no_more_than_was_promised() {
        assert_eq!(
            decode(Framing::Length(3), b"abcdef", 2),
            Ok((b"abc".to_vec(), true, 3))
        );
        assert_eq!(
            decode(Framing::Length(9), b"abc", 1),
            Ok((b"abc".to_vec(), false, 0))
        );
        assert_eq!(decode(Framing::None, b"abc", 1), Ok((vec![], true, 3)));
    }
}
