//! The HTTP gateway: hyper towards the client, HTTP/1.1 bytes towards the function.

mod access;
mod admit;
mod answer;
mod before;
mod connection;
mod decode;
mod exchange;
mod files;
mod forwarded;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
pub mod head;
mod health;
mod html;
mod messages;
mod page;
mod phases;
mod policy;
mod refuse;
mod reload;
mod route;
mod sound;
mod taken;
mod upload;
mod websocket;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

pub use answer::too_large as response_too_large;
pub use decode::{BadChunk, Framing};
pub use files::Files;
pub use health::answer_of;
pub use policy::{Limiter, Policy};
pub use upload::too_large as request_too_large;

use super::{Gateway, Listener, Site, closed};

/// Serves until `closing`, and then until the last connection is done.
pub async fn serve(site: Arc<Site>, listener: Arc<Listener>, mut closing: watch::Receiver<bool>) {
    let connections = TaskTracker::new();
    let Gateway {
        name, switchboard, ..
    } = &*site.first();
    let reporter = switchboard.reporter().clone();
    loop {
        tokio::select! {
            (socket, peer) = listener.accept(name, &reporter) => {
                let counted = switchboard.client();
                let (theirs, closing) = (Arc::clone(&site), closing.clone());
                let task = connection::serve(theirs, site.transport(), socket, peer, closing);
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
