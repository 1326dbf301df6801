//! One call of the service: what the caller asks for is passed to a process, and what that says is
//! passed back as fast as the caller takes it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use embly_wrapper::sql::wire::{FromWorker, ToWorker};
use embly_wrapper::sql::{Access, MAX_MESSAGE};
use protos::services::sql::response::Response as Said;
use protos::services::sql::{Access as Wanted, Cause, Done, Error, Response};
use protos::{Ending, Errno, Reason};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::lease::Lease;
use super::request::{Asked, asked};
use super::store::Store;
use super::{Stores, permitted};
use crate::limits;
use crate::service::frames::{Reader, frame, malformed};
use crate::service::{Caller, Ended, Serving, Session, Sink, Stream};

/// A process sees itself that its time is over, unless it is in a single step of SQLite; then it is
/// killed, after this.
const GRACE: Duration = Duration::from_secs(1);

/// A commit waits for the disk, and is not interrupted in less.
const COMMITS_WITHIN: Duration = Duration::from_secs(30);

/// Longer requests than a window are held in memory, so few at a time.
const LARGE: usize = protos::credit::MAX_WINDOW as usize;

/// One call.
pub struct Call {
    pub caller: Caller,
    pub stores: Stores,
}

impl Session for Call {
    fn serve(self: Box<Self>, stream: Stream) -> Serving {
        Box::pin(async move {
            match self.talk(stream).await {
                Ok(()) => Ending::new(Reason::Ok, ""),
                Err(ending) => ending,
            }
        })
    }
}

impl Call {
    async fn talk(self, stream: Stream) -> Result<(), Ending> {
        let Stream { inbox, sink } = stream;
        let mut reader = Reader::new(inbox);
        // The name of a store is short.
        let Some(first) = reader.frame(1024).await? else {
            return Ok(());
        };
        let Asked::Open(open) = asked(&first).map_err(malformed)? else {
            return Err(malformed("the first message names the store".to_owned()));
        };
        let write = open.access() == Wanted::ReadWrite;
        let function = &self.caller.function;
        permitted(&function.allow, &function.name, &open.store, write)?;
        let store = self.stores.get(&open.store).ok_or_else(|| {
            let detail = format!("there is no store `{}`", open.store);
            Ending::refused(Errno::NOENT, detail)
        })?;
        let mut talk = Talk {
            incoming: Incoming {
                large: store.large(&function.name, &function.limits.sql),
                reader,
                permit: None,
                next: None,
            },
            outgoing: sink,
            limits: function.limits.sql,
            function: Arc::clone(&function.name),
            store,
            write,
            lease: None,
            expired: None,
        };
        talk.run().await
    }
}

/// What the caller writes.
struct Incoming {
    reader: Reader,
    large: Arc<tokio::sync::Semaphore>,
    /// For the one that is being read, if it is large.
    permit: Option<OwnedSemaphorePermit>,
    /// One that was read while another was under way.
    next: Option<Received>,
}

/// A request.
struct Received {
    asked: Asked,
    /// As it came.
    frame: Bytes,
    /// Held as long as the frame is, if it is large.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Incoming {
    /// The next request. Whoever stops waiting loses nothing.
    async fn request(&mut self) -> Result<Option<Received>, Ending> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        let Some(length) = self.reader.length().await? else {
            return Ok(None);
        };
        if length > LARGE && length <= MAX_MESSAGE && self.permit.is_none() {
            // It is never closed.
            self.permit = Arc::clone(&self.large).acquire_owned().await.ok();
        }
        let Some(frame) = self.reader.frame(MAX_MESSAGE).await? else {
            return Ok(None);
        };
        Ok(Some(Received {
            asked: asked(&frame).map_err(malformed)?,
            frame,
            _permit: self.permit.take(),
        }))
    }
}

/// Why a request was not carried out.
struct Refusal {
    cause: Cause,
    message: String,
}

fn refusal(cause: Cause, message: impl Into<String>) -> Refusal {
    let message = message.into();
    Refusal { cause, message }
}

/// Why there is no answer from a process.
enum NoAnswer {
    Gone,
    Late,
    Expired,
}

struct Talk {
    incoming: Incoming,
    outgoing: Sink,
    store: Arc<Store>,
    function: Arc<str>,
    limits: limits::Sql,
    write: bool,
    /// A process, while a statement is under way or a transaction is open.
    lease: Option<Lease>,
    /// The limit by which a transaction was ended, which the caller does not know yet.
    expired: Option<&'static str>,
}

impl Talk {
    async fn run(&mut self) -> Result<(), Ending> {
        // The answer to the first message.
        if self.say(done()).await.is_err() {
            return Ok(());
        }
        while let Some(received) = self.next().await? {
            let said = match received.asked {
                Asked::Cancel => continue,
                Asked::Open(_) => {
                    return Err(malformed("a stream has one store, named once".to_owned()));
                }
                _ => self.ask(&received).await?,
            };
            drop(received);
            let said = said.unwrap_or_else(|refusal| self.refused(refusal));
            if self.say(said).await.is_err() {
                // There is nobody to tell.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends the last part of an answer. A transaction is not kept open for a caller that does not
    /// take it.
    async fn say(&mut self, frames: Bytes) -> Result<(), Ended> {
        let sending = self.outgoing.send(frames);
        tokio::pin!(sending);
        if let Some(lease) = &self.lease
            && let Some(until) = lease.until
        {
            tokio::select! {
                biased;
                sent = &mut sending => return sent,
                () = sleep_until(until) => {
                    self.expired = Some(limit_of(lease));
                    self.lease = None;
                }
            }
        }
        sending.await
    }

    /// The next request. A transaction that waits for it for too long is ended.
    async fn next(&mut self) -> Result<Option<Received>, Ending> {
        let until = self.lease.as_ref().and_then(|lease| lease.until);
        if let Some(until) = until {
            tokio::select! {
                biased;
                next = self.incoming.request() => return next,
                () = sleep_until(until) => self.expire(),
            }
        }
        self.incoming.request().await
    }

    fn expire(&mut self) {
        self.expired = self.lease.take().as_ref().map(limit_of);
    }

    fn refused(&self, refusal: Refusal) -> Bytes {
        let lease = self.lease.as_ref();
        frame(&Response {
            response: Some(Said::Error(Error {
                cause: refusal.cause.into(),
                message: refusal.message,
                in_transaction: lease.is_some_and(|lease| lease.in_transaction),
                ..Error::default()
            })),
        })
    }

    /// Carries out a request; the result is the last part of the answer.
    async fn ask(&mut self, received: &Received) -> Result<Result<Bytes, Refusal>, Ending> {
        let asked = &received.asked;
        if let Some(limit) = self.expired.take() {
            return Ok(match asked {
                // That is what was done.
                Asked::Rollback => Ok(done()),
                _ => Err(expired(limit)),
            });
        }
        if *asked == (Asked::Begin { write: true }) && !self.write {
            let why = "the store was opened for reading";
            return Ok(Err(refusal(Cause::Forbidden, why)));
        }
        if self.lease.is_none() {
            if matches!(asked, Asked::Commit | Asked::Rollback) {
                return Ok(Err(refusal(Cause::Sequence, "no transaction is open")));
            }
            match self.lease().await {
                Ok(lease) => self.lease = Some(lease),
                Err(why) => return Ok(Err(why)),
            }
        }
        let answered = self.exchange(asked, &received.frame).await?;
        let open = self
            .lease
            .as_ref()
            .is_some_and(|lease| lease.in_transaction);
        if !open {
            self.lease = None;
        }
        Ok(answered)
    }

    /// A process for a statement or a transaction.
    async fn lease(&self) -> Result<Lease, Refusal> {
        let access = if self.write {
            Access::Write
        } else {
            Access::Read
        };
        let worker = self.store.worker(&self.function, &self.limits, access);
        let leased = match within(self.limits.wait, worker).await {
            None => {
                let why = "no process was free within the limit `wait`: others of the function use \
                           the store";
                return Err(refusal(Cause::Busy, why));
            }
            Some(Err(why)) => return Err(refusal(Cause::Lost, why)),
            Some(Ok(leased)) => leased,
        };
        let mut lease = Lease::new(&self.store, leased);
        lease.until = after(self.limits.read);
        Ok(lease)
    }

    async fn exchange(
        &mut self,
        asked: &Asked,
        frame: &Bytes,
    ) -> Result<Result<Bytes, Refusal>, Ending> {
        let Some(lease) = &mut self.lease else {
            return Ok(Err(refusal(Cause::Lost, LOST)));
        };
        let was_open = lease.in_transaction;
        if *asked == (Asked::Begin { write: true })
            && !was_open
            && let Err(why) = take_turn(lease, &self.function, &self.limits).await
        {
            return Ok(Err(why));
        }
        let commits = *asked == Asked::Commit;
        // It waits for this, so that takes no time.
        let sent = timeout(COMMITS_WITHIN, lease.send(ToWorker::Request, frame)).await;
        let mut heard = match sent {
            Ok(Ok(())) => answer(lease, &self.limits, commits).await,
            Ok(Err(_)) | Err(_) => Err(NoAnswer::Gone),
        };
        let mut wanted = true;
        loop {
            match heard {
                Ok((FromWorker::Final, frames)) => return Ok(Ok(frames)),
                Ok((FromWorker::Wants, _)) => {
                    let turn = take_turn(lease, &self.function, &self.limits).await;
                    let what = match &turn {
                        Ok(()) => ToWorker::Granted,
                        Err(_) => ToWorker::Refused,
                    };
                    let told = lease.send(what, &[]).await;
                    if let Err(why) = turn {
                        if told.is_err() {
                            lease.kill();
                        }
                        return Ok(Err(why));
                    }
                }
                Ok((FromWorker::Part, frames)) => {
                    // It goes on while the caller takes these.
                    let what = if wanted {
                        ToWorker::Next
                    } else {
                        ToWorker::Cancel
                    };
                    // That it has gone shows below.
                    let _ = lease.send(what, &[]).await;
                    if wanted {
                        match pass(&mut self.outgoing, frames, &mut self.incoming, lease).await? {
                            Passed::All => {}
                            Passed::NoMore => wanted = false,
                            Passed::Expired(limit) => return Ok(Err(expired(limit))),
                            Passed::Nobody => return Ok(Err(refusal(Cause::Lost, LOST))),
                        }
                    }
                }
                Ok(_) | Err(NoAnswer::Gone) => {
                    lease.kill();
                    return Ok(Err(refusal(Cause::Lost, LOST)));
                }
                Err(NoAnswer::Late) => {
                    lease.kill();
                    let why = if commits {
                        "the commit took longer than 30 s: whether it was carried out is not known"
                    } else {
                        "the statement worked for longer than the limit `time`; its process was ended"
                    };
                    return Ok(Err(refusal(Cause::Time, why)));
                }
                Err(NoAnswer::Expired) => {
                    let limit = limit_of(lease);
                    lease.kill();
                    return Ok(Err(expired(limit)));
                }
            }
            heard = answer(lease, &self.limits, commits).await;
        }
    }
}

const LOST: &str = "the process that had the store open has died: a transaction was rolled back, and \
                    whether a statement outside of one was carried out is not known";

/// The limit that ends what is open.
fn limit_of(lease: &Lease) -> &'static str {
    match lease.turn {
        Some(_) => "transaction",
        None => "read",
    }
}

fn expired(limit: &str) -> Refusal {
    let what = match limit {
        "transaction" => "a transaction that writes was open",
        _ => "a transaction, or the rows of a statement, were open",
    };
    let message = format!("{what} for longer than the limit `{limit}`: it was rolled back");
    refusal(Cause::Time, message)
}

/// The frame of an answer without anything to tell.
fn done() -> Bytes {
    frame(&Response {
        response: Some(Said::Done(Done::default())),
    })
}

fn after(limit: Option<Duration>) -> Option<Instant> {
    limit.map(|time| Instant::now() + time)
}

/// What `work` results in; `None` when it takes longer.
async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

async fn take_turn(
    lease: &mut Lease,
    function: &Arc<str>,
    limits: &limits::Sql,
) -> Result<(), Refusal> {
    let turns = lease.turns();
    match within(limits.wait, turns.take(function)).await {
        Some(turn) => {
            lease.turn = Some(turn);
            lease.until = after(limits.transaction);
            Ok(())
        }
        None => {
            let why = "others write, for longer than the limit `wait`: try again";
            Err(refusal(Cause::Busy, why))
        }
    }
}

/// What the process says, in time.
async fn answer(
    lease: &mut Lease,
    limits: &limits::Sql,
    commits: bool,
) -> Result<(FromWorker, Bytes), NoAnswer> {
    let gone = |_: io::Error| NoAnswer::Gone;
    let (limit, until) = if commits {
        (Some(COMMITS_WITHIN), None)
    } else {
        (limits.time.map(|time| time + GRACE), lease.until)
    };
    let late = after(limit);
    let first = match (late, until) {
        (Some(late), Some(until)) => Some(late.min(until)),
        (late, until) => late.or(until),
    };
    let Some(first) = first else {
        return lease.receive().await.map_err(gone);
    };
    match timeout_at(first, lease.receive()).await {
        Ok(answer) => answer.map_err(gone),
        Err(_) if late == Some(first) => Err(NoAnswer::Late),
        Err(_) => Err(NoAnswer::Expired),
    }
}

/// What became of a part of an answer.
enum Passed {
    /// The caller has it, or will.
    All,
    /// The same, and it wants no more.
    NoMore,
    /// It took too long; the rest was passed on all the same, so that frames stay whole.
    Expired(&'static str),
    /// The caller has gone.
    Nobody,
}

/// Passes a part of an answer on, and hears whether the caller wants more of it.
async fn pass(
    outgoing: &mut Sink,
    frames: Bytes,
    incoming: &mut Incoming,
    lease: &mut Lease,
) -> Result<Passed, Ending> {
    let sending = outgoing.send(frames);
    tokio::pin!(sending);
    let mut passed = Passed::All;
    // After the end of what the caller writes nothing more is heard.
    let mut hears = incoming.next.is_none();
    let mut until = lease.until;
    loop {
        tokio::select! {
            biased;
            sent = &mut sending => return Ok(if sent.is_ok() { passed } else { Passed::Nobody }),
            request = incoming.request(), if hears => match request? {
                Some(Received { asked: Asked::Cancel, .. }) => {
                    if matches!(passed, Passed::All) {
                        passed = Passed::NoMore;
                    }
                }
                next => {
                    hears = false;
                    incoming.next = next;
                }
            },
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                until = None;
                passed = Passed::Expired(limit_of(lease));
                lease.kill();
            }
        }
    }
}
