//! The protocol of Redis, RESP2: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use embly::{
    Error,
    tcp::{self, Stream},
};
use std::fmt;

/// Levels of arrays in arrays that are read.
const DEPTH: usize = 8;

/// The largest reply that is read, in bytes.
const MOST: usize = 16 << 20;

/// A connection to a server.
pub struct Client {
    stream: Stream,
    unread: Vec<u8>,
}

/// What the server says.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`
    Simple(String),
    /// `-ERR …`
    Error(String),
    /// `:7`
    Integer(i64),
    /// Bytes; `None` for what is not there.
    Bulk(Option<Vec<u8>>),
    /// Several.
    Array(Vec<Reply>),
}

impl Client {
    /// Connects to `HOST:PORT`.
    pub async fn connect(address: &str) -> Result<Self, Error> {
        Ok(Self {
            stream: tcp::connect(address).await?,
            unread: Vec::new(),
        })
    }

    /// Sends commands in one piece, and waits for the reply to each. One that is an error is an error
    /// of all.
    pub async fn pipeline(&mut self, commands: &[&[&str]]) -> Result<Vec<Reply>, Error> {
        let bytes: Vec<u8> = commands.iter().flat_map(|words| encode(words)).collect();
        self.stream.send(&bytes).await?;
        let mut replies = Vec::new();
        for words in commands {
            match self.reply().await? {
                Reply::Error(text) => return Err(Error::msg(format!("{}: {text}", words[0]))),
                reply => replies.push(reply),
            }
        }
        Ok(replies)
    }

    async fn reply(&mut self) -> Result<Reply, Error> {
        loop {
            let mut rest = self.unread.as_slice();
            if let Some(reply) = parse(&mut rest, DEPTH)? {
                let read = self.unread.len() - rest.len();
                self.unread.drain(..read);
                return Ok(reply);
            }
            let more = self.stream.receive().await?;
            if more.is_empty() || self.unread.len() > MOST {
                return Err(Error::msg(
                    "Redis has cut its reply short, or it is too long",
                ));
            }
            self.unread.extend(more);
        }
    }
}

/// A command is an array of bulk strings.
fn encode(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes += &format!("${}\r\n{word}\r\n", word.len());
    }
    bytes.into_bytes()
}

/// The next reply, taken off `rest`; `None` when it is not all there.
fn parse(rest: &mut &[u8], depth: usize) -> Result<Option<Reply>, Error> {
    let strange = || Error::msg("that is not what Redis speaks");
    let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let line = std::str::from_utf8(&rest[..end])?;
    let (kind, text) = line.split_at_checked(1).ok_or_else(strange)?;
    *rest = &rest[end + 2..];
    Ok(Some(match kind {
        "+" => Reply::Simple(text.to_owned()),
        "-" => Reply::Error(text.to_owned()),
        ":" => Reply::Integer(text.parse()?),
        "$" if text == "-1" => Reply::Bulk(None),
        "$" => {
            let length: usize = text.parse()?;
            if length > MOST {
                return Err(strange());
            }
            let Some((bytes, after)) = rest.split_at_checked(length + 2) else {
                return Ok(None);
            };
            *rest = after;
            Reply::Bulk(Some(bytes[..length].to_vec()))
        }
        "*" if depth > 0 => {
            let mut items = Vec::new();
            for _ in 0..text.parse()? {
                match parse(rest, depth - 1)? {
                    Some(item) => items.push(item),
                    None => return Ok(None),
                }
            }
            Reply::Array(items)
        }
        _ => return Err(strange()),
    }))
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) | Self::Error(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Bulk(bytes) => f.write_str(&String::from_utf8_lossy(
                bytes.as_deref().unwrap_or_default(),
            )),
            Self::Array(items) => items.iter().try_for_each(|item| writeln!(f, "{item}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_when_it_is_all_there() {
        let all = b"*3\r\n$2\r\nab\r\n$-1\r\n*1\r\n:-5\r\nrest";
        for end in 0..all.len() - 4 {
            assert_eq!(parse(&mut &all[..end], DEPTH).unwrap(), None, "{end}");
        }
        let mut rest = all.as_slice();
        let reply = parse(&mut rest, DEPTH).unwrap();
        let expected = [
            Reply::Bulk(Some(b"ab".to_vec())),
            Reply::Bulk(None),
            Reply::Array(vec![Reply::Integer(-5)]),
        ];
        assert_eq!(reply, Some(Reply::Array(expected.into())));
        assert_eq!(rest, b"rest");
        for strange in ["?\r\n", "\r\n", ":x\r\n", "$99999999999\r\n"] {
            assert!(parse(&mut strange.as_bytes(), DEPTH).is_err(), "{strange}");
        }
        let deep = "*1\r\n".repeat(DEPTH + 1);
        assert!(parse(&mut deep.as_bytes(), DEPTH).is_err());
    }
}
