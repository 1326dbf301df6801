//! The TCP gateway: one invocation per connection, bytes both ways, half-close both ways.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use protos::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{Gateway, Listener, Patience, Peer, Site, Socket, Stream, Transport, closed};
use crate::limits::IDLE;
use crate::pool::Function;
use crate::switchboard::{Exchange, Origin, Sink, StreamEvent, Times};

/// How much to read from a client at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// The same from one that encrypts: the largest record of TLS has as much.
const RECORD_BYTES: usize = 16 * 1024;

/// Serves until `closing`, and then until the last connection is done.
pub async fn serve(
    site: Arc<Site>,
    gateway: Arc<Gateway>,
    listener: Arc<Listener>,
    mut closing: watch::Receiver<bool>,
) {
    let connections = TaskTracker::new();
    let reporter = gateway.switchboard.reporter().clone();
    let mut replaced = gateway.switchboard.functions().subscribe();
    loop {
        // Room first, then a client: at the limit, clients wait in the kernel's queue. The room
        // is not held while nobody comes, and what runs then is the version of that moment.
        let next = async {
            drop(room(&gateway, &mut replaced).await);
            let (socket, peer) = listener.accept(&gateway.name, &reporter).await;
            (socket, peer, gateway.switchboard.client())
        };
        let (socket, peer, counted) = tokio::select! {
            next = next => next,
            () = closed(&mut closing) => break,
        };
        let transport = site.transport();
        if !transport.is_plain() {
            // One that is slow to begin keeps nobody else waiting.
            let (gateway, mut replaced) = (Arc::clone(&gateway), replaced.clone());
            let mut closing = closing.clone();
            connections.spawn(async move {
                let ready = async {
                    let stream = meet(&gateway, &transport, &socket, peer).await?;
                    Some((stream, room(&gateway, &mut replaced).await))
                };
                let ready = tokio::select! {
                    ready = ready => ready,
                    () = closed(&mut closing) => None,
                };
                if let Some((stream, (function, permit))) = ready {
                    connection(gateway, function, permit, stream, socket, peer).await;
                }
                drop(counted);
            });
            continue;
        }
        let (function, permit) = tokio::select! {
            room = room(&gateway, &mut replaced) => room,
            () = closed(&mut closing) => break,
        };
        let gateway = Arc::clone(&gateway);
        connections.spawn(async move {
            if let Some(stream) = meet(&gateway, &transport, &socket, peer).await {
                connection(gateway, function, permit, stream, socket, peer).await;
            }
            drop(counted);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The function of the gateway, with a permit to start it. One that is not there (it does not
/// compile, say) or that is replaced meanwhile is looked up again when there are others.
async fn room(
    gateway: &Gateway,
    replaced: &mut watch::Receiver<()>,
) -> (Arc<Function>, OwnedSemaphorePermit) {
    loop {
        replaced.borrow_and_update();
        let permit = async {
            let function = gateway.current()?;
            let permit = function.permit().await?;
            Some((function, permit))
        };
        tokio::select! {
            Some(room) = permit => return room,
            // The sender lives as long as the switchboard.
            _ = replaced.changed() => {}
        }
    }
}

/// What the client says, once it may.
async fn meet(
    gateway: &Gateway,
    transport: &Transport,
    socket: &Socket,
    peer: Peer,
) -> Option<Stream> {
    let idle = gateway.current().map(|function| function.limits.idle);
    let idle = idle.unwrap_or_default().or(Some(IDLE));
    let met = transport
        .meet(socket.clone(), peer, Patience::of(idle))
        .await;
    met.map_err(|error| gateway.not_met(peer, &error))
        .ok()
        .map(|met| met.stream)
}

async fn connection(
    gateway: Arc<Gateway>,
    function: Arc<Function>,
    permit: OwnedSemaphorePermit,
    stream: Stream,
    socket: Socket,
    peer: Peer,
) {
    let origin = Origin {
        gateway: Some(Arc::clone(&gateway.name)),
        ..Origin::default()
    };
    let times = Times {
        wall: function.limits.wall.or(None),
        idle: function.limits.idle.or(Some(IDLE)),
        total: function.limits.total,
        ..Times::default()
    };
    match gateway
        .switchboard
        .start(Arc::clone(&function), permit, origin, times)
    {
        Ok(exchange) => talk(stream, socket, exchange).await,
        Err(ending) => {
            gateway.turn_away(peer, &crate::report::describe(&ending));
            socket.close_with_reset();
        }
    }
}

async fn talk(stream: Stream, socket: Socket, exchange: Exchange) {
    let Exchange { sink, mut source } = exchange;
    let secure = stream.is_secure();
    let (reader, mut writer) = tokio::io::split(stream);
    let upload = AbortOnDropHandle::new(tokio::spawn(upload(reader, socket.clone(), secure, sink)));
    let (mut clean, mut gone) = (false, false);
    loop {
        let event = tokio::select! {
            event = source.next() => event,
            // A function that neither reads nor writes would not notice.
            () = socket.reset(), if !gone => {
                gone = true;
                source.stop(Reason::ClientGone, "the client reset the connection");
                continue;
            }
        };
        match event {
            Some(StreamEvent::Data(data)) => {
                if write_all(&mut writer, &data).await.is_err() {
                    source.stop(Reason::ClientGone, "the client is gone");
                }
            }
            // A client that has gone shows when it is written to.
            Some(StreamEvent::HalfClose) => drop(writer.shutdown().await),
            Some(StreamEvent::Ended(finished)) => {
                clean = finished.ending.reason == Reason::Ok;
                break;
            }
            None => break,
        }
    }
    // In order after exit 0, with a reset otherwise, so that what was cut short does not look whole.
    if clean {
        // A client that has gone does not mind.
        let _ = writer.shutdown().await;
    } else {
        socket.close_with_reset();
    }
    drop(upload);
}

/// A client that takes nothing for long is given up by the stream.
async fn write_all(writer: &mut WriteHalf<Stream>, data: &[u8]) -> io::Result<()> {
    writer.write_all(data).await?;
    writer.flush().await
}

/// The client's bytes to the function, as far as it takes them.
async fn upload(mut reader: ReadHalf<Stream>, socket: Socket, secure: bool, mut sink: Sink) {
    // Nothing is read that the function has no room for: the client is held back by TCP.
    while sink.ready().await.is_ok() {
        if !secure {
            // A client that says nothing for long has no buffer meanwhile. An error shows as it is read.
            let _ = socket.readable().await;
        }
        // Of what is encrypted it does not show whether there is any.
        let most = if secure { RECORD_BYTES } else { READ_BYTES };
        let mut buffer = BytesMut::with_capacity(most);
        match reader.read_buf(&mut buffer).await {
            Ok(0) => return sink.finish(),
            Ok(_) => {
                // A small piece does not hold a whole buffer while it waits.
                let bytes = match buffer.len() {
                    small if small <= READ_BYTES / 4 => Bytes::copy_from_slice(&buffer),
                    _ => buffer.freeze(),
                };
                if sink.send(bytes).await.is_err() {
                    return;
                }
            }
            Err(_) => return sink.stop(Reason::ClientGone, "the client reset the connection"),
        }
    }
}
