//! Which of several addresses answers first: each begins a little after the one before it (RFC
//! 8305, "happy eyeballs"), or at once when that one has failed.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The head start of each address, as RFC 8305 recommends.
const HEAD_START: Duration = Duration::from_millis(250);

/// Addresses that are tried in all: more than a person waits for.
const MOST: usize = 8;

/// Connects to one of the addresses, of which there is at least one. Each that is tried at the same
/// time takes a descriptor, so each has a permit: the first the one that is given, the others those
/// that are left in `room`. The one of the connection is given back with it.
///
/// # Errors
/// What each of them did.
pub async fn connect(
    addresses: &[SocketAddr],
    permit: OwnedSemaphorePermit,
    room: &Arc<Semaphore>,
) -> Result<(TcpStream, OwnedSemaphorePermit), Vec<(SocketAddr, io::Error)>> {
    let mut waiting = in_turns(addresses);
    let mut failed = Vec::new();
    let mut spare = Some(permit);
    // Dropped with all that still run.
    let mut running = JoinSet::new();
    loop {
        // Where there is no permit the next waits for one that fails.
        let more = || Arc::clone(room).try_acquire_owned().ok();
        if !waiting.is_empty()
            && let Some(permit) = spare.take().or_else(more)
            && let Some(address) = waiting.pop_front()
        {
            running.spawn(async move { (address, permit, TcpStream::connect(address).await) });
        } else if running.is_empty() {
            return Err(failed);
        }
        let head_start = async {
            match waiting.is_empty() {
                false => sleep(HEAD_START).await,
                true => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = running.join_next() => match done {
                Ok((_, permit, Ok(stream))) => return Ok((stream, permit)),
                Ok((address, permit, Err(error))) => {
                    spare = Some(permit);
                    failed.push((address, error));
                }
                // It neither panics nor is it stopped.
                Err(error) => failed.push((addresses[0], io::Error::other(error))),
            },
            () = head_start => {}
        }
    }
}

/// By turns one of IPv6 and one of IPv4, beginning with the first, in the order of the answer.
fn in_turns(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let of = |six: bool| addresses.iter().filter(move |it| it.is_ipv6() == six);
    let (mut these, mut those) = (of(first), of(!first));
    let mut order = VecDeque::new();
    loop {
        let pair = [these.next(), those.next()];
        if pair == [None, None] {
            order.truncate(MOST);
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let all = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"];
        let order = in_turns(&all.map(parse));
        let expected = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"];
        assert_eq!(order, expected.map(parse));
        let many: Vec<_> = (0..100).map(|n| parse(&format!("10.0.0.{n}:1"))).collect();
        assert_eq!(in_turns(&many).len(), MOST);
    }

    #[tokio::test]
    async fn an_address_that_fails_is_followed_by_the_next_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        // Nobody listens there.
        let bad = SocketAddr::from(([127, 9, 9, 9], good.port()));
        let since = Instant::now();
        // One permit is enough for those that come after each other.
        let (stream, permit) = race(&[bad, good], &room(1)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(since.elapsed() < HEAD_START);
        assert_eq!(permit.num_permits(), 1);
        let failed = race(&[bad], &room(1)).await.unwrap_err();
        assert_eq!(failed[0].0, bad);
        assert_eq!(failed[0].1.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn an_address_that_is_silent_is_overtaken() {
        let full = full_listener();
        let silent = full.0.local_addr().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let since = Instant::now();
        let room = room(2);
        let (stream, permit) = race(&[silent, good], &room).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(since.elapsed() >= HEAD_START);
        // The permit of the other one is free as soon as its descriptor is.
        let _other = room.acquire().await.unwrap();
        assert_eq!(room.available_permits(), 0);
        drop(permit);
        assert_eq!(room.available_permits(), 1);
    }

    #[tokio::test]
    async fn no_more_addresses_are_tried_at_once_than_there_are_permits() {
        let full = full_listener();
        let silent = full.0.local_addr().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let good = listener.local_addr().unwrap();
        let room = room(1);
        let addresses = [silent, good];
        let racing = race(&addresses, &room);
        assert!(timeout(3 * HEAD_START, racing).await.is_err());
        // Nobody came.
        assert!(listener.accept().is_err());
    }

    fn room(permits: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(permits))
    }

    async fn race(
        addresses: &[SocketAddr],
        room: &Arc<Semaphore>,
    ) -> Result<(TcpStream, OwnedSemaphorePermit), Vec<(SocketAddr, io::Error)>> {
        let permit = Arc::clone(room).try_acquire_owned().unwrap();
        connect(addresses, permit, room).await
    }

    /// A listener that answers nobody any more.
    fn full_listener() -> (std::net::TcpListener, Vec<std::net::TcpStream>) {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
        let own = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&own, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&own, 0).unwrap();
        let listener = std::net::TcpListener::from(own);
        let address = listener.local_addr().unwrap();
        let wait = Duration::from_millis(200);
        let mut waiting = Vec::new();
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, wait) {
            waiting.push(stream);
        }
        (listener, waiting)
    }
}
