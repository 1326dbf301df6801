//! The TCP gateway: one invocation per connection, bytes both ways, half-close both ways.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protos::Reason;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{Gateway, Listener, closed};
use crate::limits::IDLE;
use crate::pool::Function;
use crate::switchboard::{Exchange, Origin, Sink, StreamEvent, Times};

/// How much to read from a client at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// Serves until `closing`, and then until the last connection is done.
pub async fn serve(
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
            let (stream, client) = listener.accept(&gateway.name, &reporter).await;
            (stream, client, gateway.switchboard.client())
        };
        let (stream, client, counted) = tokio::select! {
            next = next => next,
            () = closed(&mut closing) => break,
        };
        let (function, permit) = tokio::select! {
            room = room(&gateway, &mut replaced) => room,
            () = closed(&mut closing) => break,
        };
        let connection = connection(Arc::clone(&gateway), function, permit, stream, client);
        connections.spawn(async move {
            connection.await;
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

async fn connection(
    gateway: Arc<Gateway>,
    function: Arc<Function>,
    permit: OwnedSemaphorePermit,
    stream: TcpStream,
    client: SocketAddr,
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
        Ok(exchange) => talk(stream, exchange, times.idle).await,
        Err(ending) => {
            let said = gateway.turned_away.lock().map(|mut often| often.say());
            // A lock that nobody panics under.
            if let Ok(Some(more)) = said {
                let why = crate::report::describe(&ending);
                gateway.switchboard.reporter().warn(format!(
                    "gateway `{}`: {client} was turned away: {why}{more}",
                    gateway.name
                ));
            }
            reset(&stream);
        }
    }
}

/// `idle` is how long the client may take for nothing at all.
async fn talk(stream: TcpStream, exchange: Exchange, idle: Option<Duration>) {
    let Exchange { sink, mut source } = exchange;
    let (reader, mut writer) = stream.into_split();
    let upload = tokio::spawn(upload(reader, sink));
    let (mut clean, mut gone) = (false, false);
    loop {
        let event = tokio::select! {
            event = source.next() => event,
            // A function that neither reads nor writes would not notice.
            () = was_reset(&writer), if !gone => {
                gone = true;
                source.stop(Reason::ClientGone, "the client reset the connection");
                continue;
            }
        };
        match event {
            Some(StreamEvent::Data(data)) => {
                if write_all(&mut writer, &data, idle).await.is_err() {
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
    upload.abort();
    close(writer, clean).await;
}

/// Writes all of `data`, each piece within `idle`: a client that takes nothing is given up.
async fn write_all(
    writer: &mut OwnedWriteHalf,
    mut data: &[u8],
    idle: Option<Duration>,
) -> io::Result<()> {
    while !data.is_empty() {
        let piece = writer.write(data);
        let written = match idle {
            Some(idle) => timeout(idle, piece).await??,
            None => piece.await?,
        };
        data = &data[written..];
    }
    Ok(())
}

async fn was_reset(writer: &OwnedWriteHalf) {
    // An error of the poll itself means that the connection is of no more use.
    let _ = writer.as_ref().ready(Interest::ERROR).await;
}

/// The client's bytes to the function, as far as it takes them.
async fn upload(reader: OwnedReadHalf, mut sink: Sink) {
    // Nothing is read that the function has no room for: the client is held back by TCP.
    while sink.ready().await.is_ok() {
        // A client that says nothing for long has no buffer meanwhile. An error shows as it is read.
        let _ = reader.readable().await;
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        match reader.try_read_buf(&mut buffer) {
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
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return sink.stop(Reason::ClientGone, "the client reset the connection"),
        }
    }
}

/// Ends the connection: in order after exit 0, with a reset otherwise, so that what was cut
/// short does not look whole.
async fn close(mut writer: OwnedWriteHalf, clean: bool) {
    if clean {
        // A client that has gone does not mind.
        let _ = writer.shutdown().await;
    } else {
        reset(writer.as_ref());
        // Dropped in the ordinary way it would say that all is well first.
        writer.forget();
    }
}

fn reset(stream: &TcpStream) {
    // Fails for a connection that is gone, which is what is wanted.
    let _ = stream.set_zero_linger();
}
