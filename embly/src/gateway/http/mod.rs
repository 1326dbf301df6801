//! The HTTP gateway: hyper towards the client, HTTP/1.1 bytes towards the function.

mod access;
mod admit;
mod answer;
mod connection;
mod decode;
mod exchange;
pub mod head;
mod refuse;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{Gateway, Listener, closed};

/// Serves until `closing`, and then until the last connection is done.
pub async fn serve(
    gateway: Arc<Gateway>,
    listener: Arc<Listener>,
    mut closing: watch::Receiver<bool>,
) {
    let connections = TaskTracker::new();
    let reporter = gateway.switchboard.reporter().clone();
    loop {
        tokio::select! {
            (stream, client) = listener.accept(&gateway.name, &reporter) => {
                let counted = gateway.switchboard.client();
                let task = connection::serve(Arc::clone(&gateway), stream, client, closing.clone());
                connections.spawn(async move {
                    task.await;
                    drop(counted);
                });
            }
            () = closed(&mut closing) => break,
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}
