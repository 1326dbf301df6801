//! `embly/kv`: one stream that a function holds open.
//!
//! Requests are answered in their order. Changes that follow each other are asked for at once, so
//! that one commit takes them together; what reads waits for the changes before it, so that it sees
//! them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use proto::response::What;
use protos::services::kv as proto;
use protos::{Ending, Errno, Reason};
use tokio::sync::Notify;

use super::engine::types::{Error, Outcome, Write};
use super::engine::{Client, Of, Waits, Watch, answer};
use super::request::{self, Asked, Asker, Kind, Look, MAX_MESSAGE, Refused};
use super::{Stores, permitted, store};
use crate::service::frames::{Reader, frame, malformed};
use crate::service::{Caller, Serving, Session, Sink, Stream};

/// Bytes of changes that a watch tells before requests come in between.
const TOLD: usize = 64 * 1024;

/// A call whose store is not known yet.
pub struct Opening {
    pub caller: Caller,
    pub stores: Arc<Stores>,
}

impl Session for Opening {
    fn serve(self: Box<Self>, stream: Stream) -> Serving {
        Box::pin(async move {
            match self.open(stream).await {
                Ok(()) => Ending::new(Reason::Ok, ""),
                Err(ending) => ending,
            }
        })
    }
}

impl Opening {
    async fn open(self, stream: Stream) -> Result<(), Ending> {
        let mut reader = Reader::new(stream.inbox);
        let open: Option<proto::Open> = reader.message(MAX_MESSAGE).await?;
        let name = open.ok_or_else(|| malformed("the stream ended before its `Open`".into()))?;
        let name = name.store;
        let function = Arc::clone(&self.caller.function);
        let engine = store(&self.stores, &name, &function.allow, &function.name)?;
        permitted(&function.allow, &function.name, &name, None, false)?;
        let open = Open {
            client: engine.client(&function.name),
            caller: self.caller,
            store: name,
            sink: stream.sink,
            pending: VecDeque::new(),
            watches: HashMap::new(),
            bell: Arc::default(),
        };
        open.serve(reader).await
    }
}

/// A stream that is served.
struct Open {
    caller: Caller,
    store: String,
    client: Client,
    sink: Sink,
    /// Changes that were asked for, in their order.
    pending: VecDeque<Waiting>,
    watches: HashMap<u64, Watch>,
    /// Rings when something was changed that is watched.
    bell: Arc<Notify>,
}

struct Waiting {
    id: u64,
    kind: Kind,
    outcome: Waits,
}

/// The caller has gone: nobody wants more.
struct Gone;

impl Open {
    async fn serve(mut self, mut reader: Reader) -> Result<(), Ending> {
        let most = self.caller.function.limits.kv.pending as usize;
        let (mut ended, mut told) = (false, true);
        // Each round tells some news, and answers or takes one request: neither waits for long.
        while !ended || !self.pending.is_empty() {
            let more = !ended && self.pending.len() < most;
            let done = tokio::select! {
                biased;
                outcome = first(&mut self.pending), if !self.pending.is_empty() => {
                    self.answer(outcome).await
                }
                request = reader.message(MAX_MESSAGE), if more => match request? {
                    Some(request) => self.take(request).await,
                    None => {
                        ended = true;
                        Ok(())
                    }
                },
                () = self.bell.notified(), if told => {
                    told = false;
                    Ok(())
                }
                () = std::future::ready(()), if !told => Ok(()),
            };
            if done.is_err() {
                break;
            }
            if !told {
                match self.tell().await {
                    Ok(all) => told = all,
                    Err(Gone) => break,
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, response: &proto::Response) -> Result<(), Gone> {
        self.sink.send(frame(response)).await.map_err(|_| Gone)
    }

    async fn take(&mut self, request: proto::Request) -> Result<(), Gone> {
        let id = request.id;
        let asker = Asker {
            function: &self.caller.function,
            store: &self.store,
        };
        let look = match asker.ask(request.what) {
            Ok(Asked::Write(write)) => {
                let kind = Kind::of(&write);
                match self.write(write).await? {
                    Ok(outcome) => {
                        self.pending.push_back(Waiting { id, kind, outcome });
                        return Ok(());
                    }
                    Err(error) => Err(request::failure(id, &error)),
                }
            }
            Ok(Asked::Look(look)) => Ok(look),
            Err(refused) => Err(request::refusal(id, refused)),
        };
        // What comes now is answered in its turn, and sees the changes before it.
        while !self.pending.is_empty() {
            let outcome = first(&mut self.pending).await;
            self.answer(outcome).await?;
        }
        let response = match look {
            Ok(look) => self.look(id, look).await,
            Err(response) => response,
        };
        self.send(&response).await
    }

    /// Asks for a change. Until there is room for it the caller is told what became of those before
    /// it: that takes room as well.
    async fn write(&mut self, write: Write) -> Result<Result<Waits, Error>, Gone> {
        loop {
            tokio::select! {
                biased;
                room = self.client.room_for(&write) => {
                    return Ok(room.and_then(|room| self.client.write_in(room, write)));
                }
                outcome = first(&mut self.pending), if !self.pending.is_empty() => {
                    self.answer(outcome).await?;
                }
            }
        }
    }

    /// Answers what changes nothing.
    async fn look(&mut self, id: u64, look: Look) -> proto::Response {
        match look {
            Look::Get(key, without_value) => match self.client.get(&key).await {
                Ok(found) => request::found(id, found, without_value, self.now()),
                Err(error) => request::failure(id, &error),
            },
            Look::List(listing) => match self.client.list(listing).await {
                Ok(page) => request::page(id, page, self.now()),
                Err(error) => request::failure(id, &error),
            },
            Look::Watch(of, after) => match self.watch(id, of, after) {
                Ok(sequence) => {
                    let watching = proto::Watching { sequence };
                    request::response(id, What::Watching(watching))
                }
                Err(refused) => request::refusal(id, refused),
            },
            Look::Unwatch(watch) => {
                let existed = self.watches.remove(&watch).is_some();
                let unwatched = proto::Unwatched { existed };
                request::response(id, What::Unwatched(unwatched))
            }
        }
    }

    fn watch(&mut self, id: u64, of: Of, after: Option<u64>) -> Result<u64, Refused> {
        let most = self.caller.function.limits.kv.watches;
        if self.watches.contains_key(&id) {
            let detail = format!("a watch with the id {id} is there already");
            return Err((Errno::EXIST, detail));
        }
        if self.watches.len() >= most as usize {
            let detail =
                format!("a stream has at most {most} watches: `limits: {{kv: {{watches: …}}}}`");
            return Err((Errno::AGAIN, detail));
        }
        let watch = self.client.watch(of, after, &self.bell);
        let (watch, sequence) = watch.map_err(|many| (Errno::AGAIN, many.to_string()))?;
        self.watches.insert(id, watch);
        // It may begin in the past.
        self.bell.notify_one();
        Ok(sequence)
    }

    async fn answer(&mut self, (waiting, outcome): Answered) -> Result<(), Gone> {
        let (id, kind) = (waiting.id, waiting.kind);
        let response = match outcome {
            Ok(outcome) => request::outcome(id, kind, outcome, self.now()),
            Err(error) => request::failure(id, &error),
        };
        let sent = self.send(&response).await;
        // Only now is what the answer took free for others.
        drop(waiting);
        sent
    }

    /// Tells what was changed, as far as it does not hold up requests; whether that was all.
    async fn tell(&mut self) -> Result<bool, Gone> {
        let mut all = true;
        let ids: Vec<u64> = self.watches.keys().copied().collect();
        for id in ids {
            let Some(watch) = self.watches.get_mut(&id) else {
                continue;
            };
            let (news, now) = (watch.news(TOLD), self.now());
            all &= !news.more;
            if let Some(sequence) = news.fell_behind {
                self.send(&request::fell_behind(id, sequence)).await?;
            }
            for change in news.changes {
                self.send(&request::event(id, change, now)).await?;
            }
        }
        Ok(all)
    }

    fn now(&self) -> u64 {
        self.client.engine().now()
    }
}

type Answered = (Waiting, Result<Outcome, Error>);

/// The outcome of the first of them, when it is there. There is one. It may be dropped and called
/// again: the first stays the first until then.
async fn first(pending: &mut VecDeque<Waiting>) -> Answered {
    let Some(waiting) = pending.front_mut() else {
        return std::future::pending().await;
    };
    let outcome = answer(&mut waiting.outcome).await;
    let waiting = pending
        .pop_front()
        .expect("it was the front one, and is still");
    (waiting, outcome)
}
