//! The last changes of a store, for those who watch it. It is one list for all of them: a reader is
//! a place in it, so nobody who is slow takes memory. One who comes too late is told so.

use std::collections::VecDeque;

use bytes::Bytes;

use super::types::Entry;

/// Changes that are kept: what a reader may be away for.
const CHANGES: usize = 16 * 1024;

/// Bytes of keys and values that are kept.
const BYTES: usize = 8 * 1024 * 1024;

/// Changes that one look passes over at most; others wait for the lock.
const LOOK: usize = 2048;

/// Something that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of the change: they rise. Those of one request have the same.
    pub sequence: u64,
    /// What was changed.
    pub key: Bytes,
    /// What it has now.
    pub what: What,
}

/// What a key has after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// This.
    Set(Entry),
    /// Nothing: it was removed.
    Deleted,
    /// Nothing: its time has passed.
    Expired,
}

impl Change {
    fn bytes(&self) -> usize {
        let value = match &self.what {
            What::Set(entry) => entry.value.len(),
            What::Deleted | What::Expired => 0,
        };
        self.key.len() + value
    }
}

/// Which changes somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// Those of this key.
    Key(Bytes),
    /// Those of keys that begin so.
    Prefix(Bytes),
}

impl Of {
    /// Whether this key is meant.
    pub fn has(&self, key: &[u8]) -> bool {
        match self {
            Self::Key(of) => key == of,
            Self::Prefix(of) => key.starts_with(of),
        }
    }
}

/// The place of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u64);

/// What a reader finds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Changes up to this number are not there any more.
    pub fell_behind: Option<u64>,
    /// What comes next.
    pub changes: Vec<Change>,
    /// Whether to look again at once.
    pub more: bool,
}

/// The last changes.
#[derive(Debug)]
pub struct Feed {
    changes: VecDeque<Change>,
    bytes: usize,
    /// The place of the first.
    base: u64,
    /// All changes after this number are there.
    since: u64,
    /// The number of the last change.
    last: u64,
}

impl Feed {
    /// Nothing has changed since this number.
    pub fn new(last: u64) -> Self {
        Self {
            changes: VecDeque::new(),
            bytes: 0,
            base: 0,
            since: last,
            last,
        }
    }

    /// Adds a change.
    pub fn push(&mut self, change: Change) {
        self.last = change.sequence;
        self.bytes += change.bytes();
        self.changes.push_back(change);
        while self.changes.len() > CHANGES || self.bytes > BYTES {
            let Some(first) = self.changes.pop_front() else {
                break;
            };
            self.bytes -= first.bytes();
            self.base += 1;
            self.since = first.sequence;
        }
    }

    /// The number of the last change.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Where a reader begins: after this number, or with what comes now; and whether it is still known
    /// what has changed since.
    pub fn begin(&self, after: Option<u64>) -> (Place, bool) {
        let end = self.base + self.changes.len() as u64;
        let Some(after) = after else {
            return (Place(end), true);
        };
        // A number that was not reached yet is of another store, or of its backup.
        if after < self.since || after > self.last {
            return (Place(end), false);
        }
        let passed = self.changes.partition_point(|it| it.sequence <= after);
        (Place(self.base + passed as u64), true)
    }

    /// What a reader finds at its place, which moves; at most so many bytes, or one change.
    pub fn read(&self, place: &mut Place, of: &Of, most: usize) -> News {
        let mut news = News::default();
        if place.0 < self.base {
            news.fell_behind = Some(self.since);
            // The rest of a request of which a part is gone is gone with it.
            let rest = self.changes.partition_point(|it| it.sequence <= self.since);
            place.0 = self.base + rest as u64;
        }
        let skip = usize::try_from(place.0 - self.base).unwrap_or(usize::MAX);
        let mut bytes = 0;
        for change in self.changes.iter().skip(skip).take(LOOK) {
            if of.has(&change.key) {
                if bytes > 0 && bytes + change.bytes() > most {
                    break;
                }
                bytes += change.bytes().max(1);
                news.changes.push(change.clone());
            }
            place.0 += 1;
        }
        news.more = place.0 < self.base + self.changes.len() as u64;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(sequence: u64, key: &str) -> Change {
        Change {
            sequence,
            key: Bytes::copy_from_slice(key.as_bytes()),
            what: What::Deleted,
        }
    }

    fn all() -> Of {
        Of::Prefix(Bytes::new())
    }

    fn sequences(news: &News) -> Vec<u64> {
        news.changes.iter().map(|change| change.sequence).collect()
    }

    #[test]
    fn a_reader_goes_on_where_it_was_and_sees_only_what_it_wants() {
        let mut feed = Feed::new(7);
        for (sequence, key) in [(8, "a"), (9, "b"), (9, "ab"), (10, "a")] {
            feed.push(change(sequence, key));
        }
        let (mut place, known) = feed.begin(Some(8));
        assert!(known);
        assert_eq!(
            sequences(&feed.read(&mut place, &all(), 1 << 20)),
            [9, 9, 10]
        );
        assert_eq!(feed.read(&mut place, &all(), 1 << 20), News::default());
        feed.push(change(11, "a"));
        let key = Of::Key(Bytes::from_static(b"a"));
        assert_eq!(sequences(&feed.read(&mut place, &key, 1 << 20)), [11]);
        let (mut place, _) = feed.begin(Some(7));
        assert_eq!(
            sequences(&feed.read(&mut place, &key, 1 << 20)),
            [8, 10, 11]
        );
        let (mut place, _) = feed.begin(None);
        assert_eq!(feed.read(&mut place, &all(), 1 << 20), News::default());
    }

    #[test]
    fn one_that_comes_too_late_is_told_and_goes_on_with_whole_requests() {
        let mut feed = Feed::new(0);
        let (mut place, _) = feed.begin(None);
        for n in 0..CHANGES as u64 + 3 {
            // Two changes for each number.
            feed.push(change(n / 2 + 1, "a"));
        }
        assert_eq!(feed.changes.len(), CHANGES);
        let news = feed.read(&mut place, &all(), 1 << 20);
        assert_eq!(news.fell_behind, Some(2));
        assert_eq!(sequences(&news)[..3], [3, 3, 4]);
        assert!(news.more);
        assert!(!feed.begin(Some(1)).1);
        assert!(feed.begin(Some(2)).1);
        assert!(!feed.begin(Some(feed.last() + 1)).1);
    }

    #[test]
    fn it_keeps_no_more_bytes_than_its_room() {
        let mut feed = Feed::new(0);
        for n in 1..1000 {
            feed.push(Change {
                what: What::Set(Entry {
                    value: Bytes::from(vec![0; 100_000]),
                    version: n,
                    expires: None,
                }),
                ..change(n, "a")
            });
            assert!(feed.changes.iter().map(Change::bytes).sum::<usize>() <= BYTES);
        }
        let (mut place, _) = feed.begin(Some(feed.last() - 5));
        assert_eq!(
            sequences(&feed.read(&mut place, &all(), 250_000)),
            [995, 996]
        );
    }
}
