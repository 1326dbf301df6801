//! Chunked coding (RFC 9112, section 7.1).

use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

/// The longest line: the size of a chunk with its extensions, or a trailer.
const MAX_LINE: usize = 8 * 1024;
/// The most trailers.
const MAX_TRAILERS: usize = 128;

/// Decodes a body that arrives in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    state: State,
    /// The line that is being read.
    line: Vec<u8>,
    /// What came after the body.
    pub(crate) trailers: HeaderMap,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In the line with the size.
    #[default]
    Size,
    /// Inside of a chunk, with this many bytes to come.
    Data(u64),
    /// In the empty line after a chunk.
    AfterData,
    /// In the lines after the last chunk.
    Trailers,
    Done,
}

/// What breaks the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken(&'static str);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the chunked coding is broken: {}", self.0)
    }
}

impl std::error::Error for Broken {}

impl Decoder {
    /// Whether the whole body was there.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes bytes and adds what they say to `out`. How many were taken: all of them, unless the
    /// body ends among them.
    pub(crate) fn decode(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Broken> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            let rest = &bytes[at..];
            if let State::Data(left) = self.state {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                out.extend_from_slice(&rest[..n]);
                at += n;
                let left = left - n as u64;
                self.state = if left > 0 {
                    State::Data(left)
                } else {
                    State::AfterData
                };
                continue;
            }
            let (n, whole) = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (rest.len(), false),
            };
            self.line.extend_from_slice(&rest[..n]);
            at += n;
            if self.line.len() > MAX_LINE {
                return Err(Broken("a line is too long"));
            }
            if whole {
                let line = std::mem::take(&mut self.line);
                let line = line
                    .strip_suffix(b"\r\n")
                    .ok_or(Broken("a line ends without CR"))?;
                self.state = self.line(line)?;
            }
        }
        Ok(at)
    }

    fn line(&mut self, line: &[u8]) -> Result<State, Broken> {
        match self.state {
            State::Size => match size(line)? {
                0 => Ok(State::Trailers),
                size => Ok(State::Data(size)),
            },
            State::AfterData if line.is_empty() => Ok(State::Size),
            State::AfterData => Err(Broken("a chunk is longer than its size")),
            State::Trailers if line.is_empty() => Ok(State::Done),
            State::Trailers => self.trailer(line).map(|()| State::Trailers),
            State::Data(_) | State::Done => unreachable!("no lines are read there"),
        }
    }

    fn trailer(&mut self, line: &[u8]) -> Result<(), Broken> {
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .ok_or(Broken("a trailer"))?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| Broken("a trailer"))?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if self.trailers.len() >= MAX_TRAILERS {
            return Err(Broken("too many trailers"));
        }
        self.trailers
            .append(name, value.map_err(|_| Broken("a trailer"))?);
        Ok(())
    }
}

/// The size at the start of a line; extensions after it are skipped.
fn size(line: &[u8]) -> Result<u64, Broken> {
    let text = line
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    let digits = str::from_utf8(text)
        .ok()
        .filter(|it| it.bytes().all(|b| b.is_ascii_hexdigit()));
    digits
        .and_then(|it| u64::from_str_radix(it, 16).ok())
        .ok_or(Broken("the size of a chunk"))
}

/// One chunk. An empty one would end the body, so nothing comes of it.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

/// The end of a body without trailers.
pub(super) const LAST: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"4;a=\"b\"\r\nWiki\r\n5 \r\npedia\r\n0\r\nX-Sum: 7\r\n\r\nrest";

    #[test]
    fn a_body_is_decoded_however_it_is_cut() {
        for cut in 1..BODY.len() {
            let (mut decoder, mut out, mut taken) = (Decoder::default(), Vec::new(), 0);
            for piece in BODY.chunks(cut) {
                taken += decoder.decode(piece, &mut out).unwrap();
            }
            assert_eq!(
                (out.as_slice(), decoder.is_done()),
                (&b"Wikipedia"[..], true)
            );
            assert_eq!(taken, BODY.len() - "rest".len());
            assert_eq!(decoder.trailers["x-sum"], "7");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut coded = Vec::new();
        encode(b"hello ", &mut coded);
        encode(b"", &mut coded);
        encode(&[7; 300], &mut coded);
        coded.extend_from_slice(LAST);
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        assert_eq!(decoder.decode(&coded, &mut out), Ok(coded.len()));
        assert_eq!(out, [&b"hello "[..], &[7; 300]].concat());
        assert!(decoder.is_done());
    }

    #[test]
    fn a_broken_coding_is_refused() {
        for bad in [
            "x\r\n",
            "\r\n",
            "-1\r\n",
            "+1\r\n",
            "11111111111111111\r\n",
            "2\nab\r\n",
            "2\r\nabc\r\n",
            "0\r\nno colon\r\n\r\n",
        ] {
            assert!(
                Decoder::default()
                    .decode(bad.as_bytes(), &mut Vec::new())
                    .is_err(),
                "{bad:?}"
            );
        }
        let long = vec![b'1'; MAX_LINE + 1];
        assert!(Decoder::default().decode(&long, &mut Vec::new()).is_err());
    }
}
