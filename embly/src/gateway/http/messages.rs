//! Where in the messages of HTTP/1.1 a client is (RFC 9112): whether it has begun a head. This is for
//! time limits only: what a request is the library says.

/// Of a line no more is kept; those that say how long a body is are shorter.
const LINE: usize = 80;

/// Follows what a client sends.
#[derive(Debug, Default)]
pub struct Messages {
    at: At,
    /// What there is of a line, or its beginning.
    line: Vec<u8>,
    body: Length,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between messages, where empty lines are passed over.
    #[default]
    Start,
    Head,
    /// So many bytes of a body, or of a chunk, are to come.
    Body(u64),
    Chunk(u64),
    ChunkEnd,
    ChunkSize,
    Trailers,
    /// This is not for us to understand.
    Lost,
}

/// How a head says how long its body is.
#[derive(Debug, Default, Clone, Copy)]
enum Length {
    #[default]
    None,
    Known(u64),
    Chunked,
    Unclear,
}

impl Messages {
    /// Whether there is a part of a head.
    pub fn in_head(&self) -> bool {
        self.at == At::Head || (self.at == At::Start && !self.line.is_empty())
    }

    /// Takes what comes.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.at {
                At::Lost => return,
                At::Body(left) | At::Chunk(left) => {
                    let some = bytes
                        .len()
                        .min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= some as u64;
                    bytes = &bytes[some..];
                    match self.at {
                        At::Body(0) => self.at = At::Start,
                        At::Chunk(0) => self.at = At::ChunkEnd,
                        _ => {}
                    }
                }
                At::Start | At::Head | At::ChunkEnd | At::ChunkSize | At::Trailers => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
                    let room = LINE - self.line.len();
                    self.line.extend_from_slice(&part[..part.len().min(room)]);
                    bytes = rest;
                    if end.is_some() {
                        let line = std::mem::take(&mut self.line);
                        self.at = self.after(line.trim_ascii_end());
                    }
                }
            }
        }
    }

    /// What comes after this line.
    fn after(&mut self, line: &[u8]) -> At {
        match self.at {
            At::Start if line.is_empty() => At::Start,
            At::Start => {
                self.body = Length::None;
                At::Head
            }
            At::Head if line.is_empty() => match self.body {
                Length::None | Length::Known(0) => At::Start,
                Length::Known(length) => At::Body(length),
                Length::Chunked => At::ChunkSize,
                Length::Unclear => At::Lost,
            },
            At::Head => {
                self.header(line);
                At::Head
            }
            At::ChunkEnd if line.is_empty() => At::ChunkSize,
            At::ChunkSize => match number(line.split(|byte| *byte == b';').next(), 16) {
                Some(0) => At::Trailers,
                Some(size) => At::Chunk(size),
                None => At::Lost,
            },
            At::Trailers if line.is_empty() => At::Start,
            At::Trailers => At::Trailers,
            At::ChunkEnd | At::Body(_) | At::Chunk(_) | At::Lost => At::Lost,
        }
    }

    fn header(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.body = match value.eq_ignore_ascii_case(b"chunked") {
                true => Length::Chunked,
                false => Length::Unclear,
            };
        } else if name.eq_ignore_ascii_case(b"content-length")
            && matches!(self.body, Length::None | Length::Known(_))
        {
            // It may stand there more than once.
            let mut lengths = value.split(|byte| *byte == b',');
            let first = number(lengths.next(), 10);
            let same = lengths.all(|length| number(Some(length), 10) == first);
            let length = first.filter(|_| same);
            self.body = length.map_or(Length::Unclear, Length::Known);
        }
    }
}

fn number(text: Option<&[u8]>, radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(text?).ok()?.trim_ascii();
    u64::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_begun_from_its_first_byte_to_its_last_whatever_came_before_and_however_it_is_cut()
    {
        let long = format!("x-long: {}\r\n", "y".repeat(3 * LINE));
        let before = [
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
            format!("GET / HTTP/1.1\r\n{long}\r\n\r\n"),
            "GET / HTTP/1.1\n\n".to_owned(),
            "POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\nGET / HTTP/1.1\r\nhost".to_owned(),
            "POST / HTTP/1.1\r\ncontent-length: 0, 0\r\n\r\n".to_owned(),
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n\
             a;b=c\r\n\r\n\r\n567890\r\n0\r\n\r\n"
                .to_owned(),
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\na: b\r\n\r\n"
                .to_owned(),
        ];
        for before in &before {
            for cut in 1..=before.len() {
                let mut messages = Messages::default();
                for piece in before.as_bytes().chunks(cut) {
                    messages.take(piece);
                }
                assert!(!messages.in_head(), "{before:?} {cut}");
                messages.take(b"G");
                assert!(messages.in_head(), "{before:?} {cut}");
                messages.take(b"ET / HTTP/1.1\r\nhost: x\r\n");
                assert!(messages.in_head(), "{before:?} {cut}");
                messages.take(b"\r\n");
                assert!(!messages.in_head(), "{before:?} {cut}");
            }
        }
    }

    #[test]
    fn a_body_whose_end_is_not_clear_is_followed_by_no_head() {
        for unclear in [
            "transfer-encoding: gzip, chunked",
            "content-length: 1, 2",
            "transfer-encoding: chunked\r\n\r\nx",
        ] {
            let mut messages = Messages::default();
            messages.take(format!("GET / HTTP/1.1\r\n{unclear}\r\n\r\nGET /").as_bytes());
            assert!(!messages.in_head(), "{unclear}");
        }
    }
}
