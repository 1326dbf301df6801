//! What a proxy says before its client's bytes.

use bytes::BytesMut;

use super::{Peer, proxy as header};

/// The longest header that is taken, in bytes.
const MOST: usize = 4096;

/// A header of the PROXY protocol, and what follows it, of which nothing is lost. The first byte says
/// where it is cut.
pub fn proxy(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else {
        return;
    };
    let whole = read(stream, stream.len());
    assert_eq!(whole, read(stream, usize::from(cut)), "cut at {cut}");
    if let Some((_, rest)) = whole {
        assert!(stream.ends_with(&rest));
        assert!(stream.len() - rest.len() <= MOST);
        assert!(rest.len() < stream.len(), "a header has bytes");
    }
}

/// Whose connection it is, and what follows.
fn read(stream: &[u8], cut: usize) -> Option<(String, BytesMut)> {
    use tokio::io::AsyncReadExt as _;

    let (front, back) = stream.split_at(cut.min(stream.len()));
    let mut reader = front.chain(back);
    let read = async {
        let (peer, mut rest) = header::header(&mut reader, Peer::Unix).await.ok()?;
        reader.read_buf(&mut rest).await.ok()?;
        let mut more = Vec::new();
        reader.read_to_end(&mut more).await.ok()?;
        rest.extend_from_slice(&more);
        Some((peer.to_string(), rest))
    };
    // Bytes in memory are there at once.
    futures_util::FutureExt::now_or_never(read).expect("nothing to wait for")
}
