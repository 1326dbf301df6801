//! Those who follow the events of a running master, and the last lines of each function's log for
//! whoever asks later. Whoever follows too slowly loses lines and is told how many.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::Timestamp;
use protos::Address;
use tokio::sync::Notify;

use super::Event;

/// So many lines of each function's log are kept.
const KEPT_LINES: usize = 1_000;

/// And so many bytes: the oldest go first.
const KEPT_BYTES: usize = 1024 * 1024;

/// So many lines may wait for one who follows.
const QUEUE_LINES: usize = 4_096;

/// And so many bytes.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// So many bytes are handed to one who follows at once, and the line with which they are reached.
const BATCH: usize = 64 * 1024;

/// What somebody wants to be told.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Lines of logs and nothing else.
    pub logs: bool,
    /// Of this function only.
    pub function: Option<String>,
    /// Of this invocation only.
    pub address: Option<Address>,
    /// Of those that are kept, what came at this time or after it.
    pub since: Option<Timestamp>,
}

impl Wanted {
    fn takes(&self, event: &Event<'_>) -> bool {
        if self.logs && !matches!(event, Event::Log { .. }) {
            return false;
        }
        let (function, address) = event.about();
        let of = self.function.as_deref();
        (of.is_none() || of == function) && (self.address.is_none() || self.address == address)
    }

    fn takes_kept(&self, line: &Kept) -> bool {
        self.address.is_none_or(|address| address == line.address)
            && self.since.is_none_or(|since| since <= line.time)
    }
}

/// A line of a log that is kept.
#[derive(Debug)]
struct Kept {
    time: Timestamp,
    address: Address,
    json: Arc<str>,
}

/// The last lines of one function.
#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Kept>,
    bytes: usize,
}

impl Ring {
    fn push(&mut self, line: Kept) {
        self.bytes += line.json.len();
        self.lines.push_back(line);
        while self.lines.len() > KEPT_LINES || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= oldest.json.len();
        }
    }
}

/// Where events go beside the output.
#[derive(Default)]
pub(super) struct Feed {
    /// How many follow, so that nothing is done for nobody.
    following: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    rings: BTreeMap<String, Ring>,
    followers: Vec<(Wanted, Weak<Queue>)>,
    /// The time of the last event: those of two lines are never in the wrong order.
    last: Timestamp,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics between two changes that belong together.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody wants this event.
    pub fn wants(&self, event: &Event<'_>) -> bool {
        matches!(event, Event::Log { .. }) || self.following.load(Ordering::Relaxed) > 0
    }

    /// Takes an event without secrets.
    pub fn take(&self, event: &Event<'_>) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let takers = inner.followers.iter();
        let takers: Vec<_> = takers
            .filter(|(wanted, _)| wanted.takes(event))
            .filter_map(|(_, queue)| queue.upgrade())
            .collect();
        let log = match event {
            Event::Log {
                function, address, ..
            } => Some((*function, *address)),
            _ => None,
        };
        if takers.is_empty() && log.is_none() {
            return;
        }
        let time = Timestamp::now().max(inner.last);
        inner.last = time;
        // Numbers and strings always have a JSON form.
        let json = serde_json::to_string(event).unwrap_or_default();
        let object = json.strip_prefix('{').unwrap_or("}");
        let json: Arc<str> = format!("{{\"time\":\"{time:.6}\",{object}\n").into();
        for queue in takers {
            queue.push(Arc::clone(&json));
        }
        if let Some((function, address)) = log {
            if !inner.rings.contains_key(function) {
                inner.rings.insert(function.to_owned(), Ring::default());
            }
            if let Some(ring) = inner.rings.get_mut(function) {
                ring.push(Kept {
                    time,
                    address,
                    json,
                });
            }
        }
    }

    /// The lines that are kept and wanted, oldest first, and with `follow` what comes from now on.
    pub fn follow(self: &Arc<Self>, wanted: Wanted, follow: bool) -> Follower {
        let mut inner = self.lock();
        let mut kept: Vec<&Kept> = Vec::new();
        if wanted.logs {
            let rings = inner.rings.iter();
            let rings = rings.filter(|(name, _)| {
                wanted
                    .function
                    .as_ref()
                    .is_none_or(|function| function == *name)
            });
            kept.extend(rings.flat_map(|(_, ring)| &ring.lines));
            kept.retain(|line| wanted.takes_kept(line));
            kept.sort_by_key(|line| line.time);
        }
        let kept = kept.into_iter().map(|line| Arc::clone(&line.json));
        let kept = kept.collect();
        let queue = follow.then(|| {
            let queue = Arc::new(Queue::default());
            inner.followers.push((wanted, Arc::downgrade(&queue)));
            self.following.fetch_add(1, Ordering::Relaxed);
            queue
        });
        drop(inner);
        Follower {
            kept,
            queue,
            feed: Arc::clone(self),
        }
    }

    /// Forgets the logs of all other functions.
    pub fn keep_only(&self, functions: &HashSet<&str>) {
        let rings = &mut self.lock().rings;
        rings.retain(|name, _| functions.contains(name.as_str()));
    }

    fn leave(&self, queue: &Arc<Queue>) {
        let left = Arc::downgrade(queue);
        let mut inner = self.lock();
        inner.followers.retain(|(_, queue)| !queue.ptr_eq(&left));
        self.following.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lines on their way to one who follows.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Arc<str>>,
    bytes: usize,
    /// Lines that there was no room for since the last one.
    lost: u64,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Arc<str>) {
        let mut waiting = self.lock();
        let full = waiting.lines.len() >= QUEUE_LINES || waiting.bytes + line.len() > QUEUE_BYTES;
        if full {
            waiting.lost += 1;
            return;
        }
        if waiting.lost > 0 {
            let lost = lost(std::mem::take(&mut waiting.lost));
            waiting.bytes += lost.len();
            waiting.lines.push_back(lost.into());
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line);
        drop(waiting);
        self.more.notify_one();
    }

    /// What waits, or a part of it.
    fn pop(&self) -> Option<String> {
        let mut waiting = self.lock();
        let text = batch(&mut waiting.lines);
        waiting.bytes -= text.len();
        if waiting.lines.is_empty() && waiting.lost > 0 {
            return Some(text + &lost(std::mem::take(&mut waiting.lost)));
        }
        Some(text).filter(|text| !text.is_empty())
    }
}

/// Tells one who follows too slowly.
fn lost(lines: u64) -> String {
    format!("{{\"event\":\"lost\",\"lines\":{lines}}}\n")
}

fn batch(lines: &mut VecDeque<Arc<str>>) -> String {
    let mut text = String::new();
    while text.len() < BATCH
        && let Some(line) = lines.pop_front()
    {
        text.push_str(&line);
    }
    text
}

/// Somebody who reads what is kept, and perhaps follows.
#[derive(Debug)]
pub struct Follower {
    kept: VecDeque<Arc<str>>,
    queue: Option<Arc<Queue>>,
    feed: Arc<Feed>,
}

impl Follower {
    /// More lines, each a JSON object with its end of line; `None` when no more will come.
    pub async fn next(&mut self) -> Option<String> {
        if !self.kept.is_empty() {
            return Some(batch(&mut self.kept));
        }
        let queue = self.queue.as_ref()?;
        loop {
            // A permit is kept where a line comes between the two.
            if let Some(text) = queue.pop() {
                return Some(text);
            }
            queue.more.notified().await;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            self.feed.leave(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(feed: &Feed, function: &str, line: &str) {
        let event = Event::Log {
            function,
            address: Address::new(7).unwrap(),
            stream: "stdout",
            level: None,
            line,
            request_id: None,
        };
        assert!(feed.wants(&event));
        feed.take(&event);
    }

    fn logs() -> Wanted {
        Wanted {
            logs: true,
            ..Wanted::default()
        }
    }

    async fn all(mut follower: Follower) -> String {
        let mut text = String::new();
        while let Some(more) = follower.next().await {
            text.push_str(&more);
        }
        text
    }

    #[tokio::test]
    async fn the_last_lines_of_each_function_are_kept_and_no_more() {
        let feed = Arc::new(Feed::default());
        for n in 0..KEPT_LINES + 5 {
            say(&feed, "much", &format!("line {n}."));
        }
        say(&feed, "little", "once");
        let kept = all(feed.follow(logs(), false)).await;
        assert_eq!(kept.lines().count(), KEPT_LINES + 1);
        assert!(!kept.contains("line 4.") && kept.contains("line 5.") && kept.contains("once"));
        let wanted = Wanted {
            function: Some("little".to_owned()),
            ..logs()
        };
        assert_eq!(all(feed.follow(wanted, false)).await.lines().count(), 1);
        say(&feed, "much", &"x".repeat(KEPT_BYTES / 2));
        say(&feed, "much", &"y".repeat(KEPT_BYTES / 2));
        let kept = all(feed.follow(logs(), false)).await;
        assert!(kept.len() <= KEPT_BYTES + 1024, "{}", kept.len());
        feed.keep_only(&HashSet::new());
        assert!(all(feed.follow(logs(), false)).await.is_empty());
    }

    #[tokio::test]
    async fn who_follows_too_slowly_is_told_how_many_lines_were_lost_and_where() {
        let feed = Arc::new(Feed::default());
        let mut follower = feed.follow(logs(), true);
        for _ in 0..QUEUE_LINES + 3 {
            say(&feed, "f", "early");
        }
        let mut text = String::new();
        while !text.contains("lost") {
            text += &follower.next().await.unwrap();
        }
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), QUEUE_LINES + 1);
        assert_eq!(lines[QUEUE_LINES], r#"{"event":"lost","lines":3}"#);
        say(&feed, "f", "late");
        assert!(follower.next().await.unwrap().contains("late"));
        drop(follower);
        assert_eq!(feed.following.load(Ordering::Relaxed), 0);
        assert!(feed.lock().followers.is_empty());
    }
}
