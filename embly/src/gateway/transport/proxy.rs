//! The PROXY protocol: a proxy says first whose connection it passes on
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>), as text or in binary.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Peer;

/// The longest header as text, in bytes: as the protocol says.
const TEXT_MAX: usize = 107;

/// What stands before the length of the rest, and it, in a binary header.
const FIXED: usize = 16;

/// The longest binary header that is taken, in bytes. Addresses need 232; the rest is what
/// certificates and clouds add.
const BINARY_MAX: usize = 4096;

/// Reads a header: whose connection it is, and what followed it. Reads more than the header.
///
/// # Errors
/// There is none, or it is not right.
pub async fn header<R: AsyncRead + Unpin>(
    reader: &mut R,
    proxy: Peer,
) -> io::Result<(Peer, BytesMut)> {
    let mut bytes = BytesMut::with_capacity(BINARY_MAX);
    loop {
        if let Some(length) = length(&bytes)? {
            let header = bytes.split_to(length);
            let client = client(&header)?;
            return Ok((client.map_or(proxy, Peer::Ip), bytes));
        }
        let most = BINARY_MAX.saturating_sub(bytes.len());
        if (&mut *reader)
            .take(most as u64)
            .read_buf(&mut bytes)
            .await?
            == 0
        {
            return Err(match bytes.len() {
                0 => io::ErrorKind::UnexpectedEof.into(),
                _ => bad("its PROXY header breaks off"),
            });
        }
    }
}

/// How long the header is that these bytes begin with, once it is there.
fn length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let begins = |prefix: &[u8]| bytes.iter().zip(prefix).all(|(a, b)| a == b);
    let length = if begins(v2::PROTOCOL_PREFIX) {
        let Some(fixed) = bytes.get(..FIXED) else {
            return Ok(None);
        };
        let length = FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        if length > BINARY_MAX {
            return Err(bad("its PROXY header is too long"));
        }
        length
    } else if begins(b"PROXY ") {
        let line = &bytes[..bytes.len().min(TEXT_MAX)];
        match line.iter().position(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if line.len() == TEXT_MAX => return Err(bad("its PROXY header is too long")),
            None => return Ok(None),
        }
    } else {
        return Err(bad("it does not begin with a PROXY header"));
    };
    Ok((bytes.len() >= length).then_some(length))
}

/// Whose connection it is; `None` for one of the proxy's own, or where it does not say.
fn client(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    if header.starts_with(b"PROXY ") {
        let header = v1::Header::try_from(header);
        let header = header.map_err(|error| bad(&format!("its PROXY header is wrong: {error}")))?;
        return Ok(match header.addresses {
            v1::Addresses::Tcp4(at) => Some((at.source_address, at.source_port).into()),
            v1::Addresses::Tcp6(at) => Some((at.source_address, at.source_port).into()),
            v1::Addresses::Unknown => None,
        });
    }
    let header = v2::Header::try_from(header);
    let header = header.map_err(|error| bad(&format!("its PROXY header is wrong: {error}")))?;
    Ok(match (header.command, header.addresses) {
        (v2::Command::Local, _) => None,
        (v2::Command::Proxy, v2::Addresses::IPv4(at)) => {
            Some((at.source_address, at.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(at)) => {
            Some((at.source_address, at.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
    })
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: Peer = Peer::Unix;

    /// Whose it is, and what follows, however the bytes are cut.
    fn read(bytes: &[u8]) -> Result<(String, Vec<u8>), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        let mut all = Vec::new();
        for cut in 0..bytes.len() {
            let mut parts = bytes[..cut].chain(&bytes[cut..]);
            let read = runtime.block_on(async {
                let (peer, rest) = header(&mut parts, PROXY).await?;
                let mut rest = rest.to_vec();
                parts.read_to_end(&mut rest).await?;
                Ok((peer.to_string(), rest))
            });
            all.push(read.map_err(|error: io::Error| error.to_string()));
        }
        all.dedup();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn binary(rest: &[u8]) -> Vec<u8> {
        [v2::PROTOCOL_PREFIX, rest].concat()
    }

    #[test]
    fn headers_are_read_whole_and_nothing_behind_them() {
        let four = [0x21, 0x11, 0, 12, 192, 0, 2, 1, 10, 0, 0, 1, 0, 80, 1, 187];
        let more = [
            0x21, 0x11, 0, 15, 192, 0, 2, 1, 10, 0, 0, 1, 0, 80, 1, 187, 4, 0, 0,
        ];
        let local = [0x20, 0, 0, 0];
        for (header, expected) in [
            (
                b"PROXY TCP4 192.0.2.1 10.0.0.1 80 443\r\n".to_vec(),
                "192.0.2.1:80",
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 80 443\r\n".to_vec(),
                "[2001:db8::1]:80",
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), "unix"),
            (b"PROXY UNKNOWN any thing\r\n".to_vec(), "unix"),
            (binary(&four), "192.0.2.1:80"),
            (binary(&more), "192.0.2.1:80"),
            (binary(&local), "unix"),
        ] {
            for rest in [&b""[..], b"GET / HTTP/1.1\r\n\r\n"] {
                let all = [&header[..], rest].concat();
                let expected = (expected.to_owned(), rest.to_vec());
                assert_eq!(read(&all).unwrap(), expected, "{header:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
        for bytes in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"PROXY TCP4 1.2.3 10.0.0.1 80 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 80 443\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 80 65536\r\n".to_vec(),
            b"PROXY TCP4 192.0".to_vec(),
            long.into_bytes(),
            binary(&[0x31, 0x11, 0, 0]),
            binary(&[0x21, 0x11, 0, 4, 1, 2, 3, 4]),
            binary(&[0x21, 0x11, 0xff, 0xff]),
        ] {
            assert!(read(&bytes).is_err(), "{bytes:?}");
        }
    }
}
