//! A process that a caller uses for a statement or a transaction. However that ends, the process goes
//! back to its store with nothing open, or is killed; and the right to write is free only then.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use embly_wrapper::sql::wire::{FromWorker, ToWorker, flags};
use prost::Message;
use protos::services::sql::request::Request as Asked;
use protos::services::sql::{Request, Rollback};
use tokio::time::{Instant, timeout};

use super::store::{Leased, Store};
use super::turns::{Turn, Turns};
use super::worker::Held;

/// A statement that nobody wants any more may end by itself in this time; starting another process
/// takes a tenth of it.
const LEAVES_OFF_WITHIN: Duration = Duration::from_millis(100);

/// Undoing takes no time; it may wait for the disk.
const ROLLS_BACK_WITHIN: Duration = Duration::from_secs(5);

/// A process in use.
pub struct Lease {
    store: Arc<Store>,
    /// `None` when it was given back.
    leased: Option<Leased>,
    /// The right to write.
    pub turn: Option<Turn>,
    /// It has a transaction open.
    pub in_transaction: bool,
    /// It works, or waits for an answer.
    busy: bool,
    /// It is brought to where nothing is open. That is tried once: a runtime that ends drops what does
    /// it, and would drop the next as well, without end.
    cleaning: bool,
    /// Until then it must be given back.
    pub until: Option<Instant>,
}

impl Lease {
    /// Takes over a process.
    pub fn new(store: &Arc<Store>, leased: Leased) -> Self {
        Self {
            store: Arc::clone(store),
            leased: Some(leased),
            turn: None,
            in_transaction: false,
            busy: false,
            cleaning: false,
            until: None,
        }
    }

    /// Whose turn it is in its store.
    pub fn turns(&self) -> Arc<Turns> {
        Arc::clone(&self.store.turns)
    }

    fn leased(&mut self) -> io::Result<&mut Leased> {
        self.leased
            .as_mut()
            .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Says something to the process.
    ///
    /// # Errors
    /// It has gone.
    pub async fn send(&mut self, what: ToWorker, content: &[u8]) -> io::Result<()> {
        self.busy = what != ToWorker::Refused;
        self.leased()?.worker.send(what, content).await
    }

    /// What it says. The flags of a `Final` are dealt with.
    ///
    /// # Errors
    /// It has gone, or talks nonsense.
    pub async fn receive(&mut self) -> io::Result<(FromWorker, Bytes)> {
        let (kind, mut content) = self.leased()?.worker.receive().await?;
        if kind == FromWorker::Final {
            let bits = content.try_get_u8().map_err(io::Error::other)?;
            self.busy = false;
            self.in_transaction = bits & flags::IN_TRANSACTION != 0;
            if !self.in_transaction {
                self.turn = None;
                self.until = None;
            }
            if bits & flags::SPENT != 0 {
                self.kill();
            }
        }
        Ok((kind, content))
    }

    /// Ends the process.
    pub fn kill(&mut self) {
        self.in_transaction = false;
        self.busy = false;
        let turn = self.turn.take().map(|turn| Box::new(turn) as Held);
        if let Some(Leased { worker, place, .. }) = self.leased.take() {
            worker.end(turn.into_iter().chain([Box::new(place) as Held]));
        }
    }

    /// Whether there is a process that can be used.
    pub fn is_alive(&self) -> bool {
        self.leased.is_some()
    }

    /// Brings the process to where nothing is open.
    async fn clean(&mut self) -> io::Result<()> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        if self.busy {
            let leaves_off = async {
                loop {
                    match self.receive().await?.0 {
                        FromWorker::Final => return Ok(()),
                        FromWorker::Part => self.send(ToWorker::Cancel, &[]).await?,
                        FromWorker::Wants => {
                            return self.send(ToWorker::Refused, &[]).await;
                        }
                        _ => return Err(io::ErrorKind::InvalidData.into()),
                    }
                }
            };
            timeout(LEAVES_OFF_WITHIN, leaves_off)
                .await
                .map_err(late)??;
        }
        if self.in_transaction && self.is_alive() {
            let request = Request {
                request: Some(Asked::Rollback(Rollback {})),
            };
            let request = request.encode_to_vec();
            let rolls_back = async {
                self.send(ToWorker::Request, &request).await?;
                self.receive().await
            };
            timeout(ROLLS_BACK_WITHIN, rolls_back)
                .await
                .map_err(late)??;
        }
        if self.in_transaction {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }

    fn give_back(&mut self) {
        self.turn = None;
        if let Some(leased) = self.leased.take() {
            self.store.give_back(leased);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(leased) = &self.leased else { return };
        if !self.busy && !self.in_transaction {
            return self.give_back();
        }
        let runtime = tokio::runtime::Handle::try_current();
        let hopeless = self.cleaning || leased.worker.is_cut();
        let (false, Ok(runtime)) = (hopeless, runtime) else {
            return self.kill();
        };
        let mut rest = Self {
            store: Arc::clone(&self.store),
            leased: self.leased.take(),
            turn: self.turn.take(),
            in_transaction: self.in_transaction,
            busy: self.busy,
            cleaning: true,
            until: None,
        };
        runtime.spawn(async move {
            match rest.clean().await {
                Ok(()) => rest.give_back(),
                Err(_) => rest.kill(),
            }
        });
    }
}
