//! Credit: how many bytes may be under way on one stream in one direction.
//!
//! A sender may write as much as its credit; the master takes off what it sends
//! and gives it back when the reader has taken it, and a little more each time
//! until the window is full. So whoever receives has room for what comes, and
//! the master never has to stop reading from anybody.

/// The window that a stream starts with, in bytes.
///
/// Enough for most requests and answers, small enough for 10,000 idle streams.
pub const INITIAL_WINDOW: u32 = 16 * 1024;

/// The largest window, and so the largest payload of one frame, in bytes.
///
/// At a round trip of 100 µs this is 2.5 GB/s.
pub const MAX_WINDOW: u32 = 256 * 1024;

/// A reader that still holds unread bytes reports what it took once it is this much.
/// Smaller than the smallest window, so that a writer never waits for a report
/// that does not come.
pub const REPORT_AT: u32 = 8 * 1024;

/// A reader that is busy reports at the latest after this many bytes.
pub const REPORT_AT_BUSY: u32 = 64 * 1024;

const _: () = assert!(INITIAL_WINDOW <= MAX_WINDOW);
const _: () = assert!(MAX_WINDOW.is_multiple_of(INITIAL_WINDOW));
const _: () = assert!(REPORT_AT < INITIAL_WINDOW);
const _: () = assert!(REPORT_AT_BUSY <= MAX_WINDOW);

/// The reading end of one direction: counts what was taken and says when to
/// report it.
#[derive(Debug, Default)]
pub struct Taken {
    unreported: u32,
}

impl Taken {
    /// Counts `bytes` as taken. The result is what to report now, in bytes, if
    /// anything; `empty` says that nothing that arrived is left unread.
    pub fn take(&mut self, bytes: u32, empty: bool) -> Option<u32> {
        self.unreported += bytes;
        let due = self.unreported >= REPORT_AT_BUSY || (empty && self.unreported >= REPORT_AT);
        due.then(|| std::mem::take(&mut self.unreported))
    }

    /// What is left to report, if anything: for the end of a stream.
    pub fn flush(&mut self) -> Option<u32> {
        Some(std::mem::take(&mut self.unreported)).filter(|bytes| *bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_answer_needs_no_report() {
        assert_eq!(Taken::default().take(REPORT_AT - 1, true), None);
    }

    #[test]
    fn a_writer_that_has_used_the_smallest_window_gets_a_report() {
        let mut taken = Taken::default();
        let mut reported = 0;
        for n in 0..INITIAL_WINDOW {
            reported += taken.take(1, n + 1 == INITIAL_WINDOW).unwrap_or(0);
        }
        assert_eq!(reported, INITIAL_WINDOW);
    }

    #[test]
    fn a_busy_reader_reports_before_it_is_done() {
        let mut taken = Taken::default();
        assert_eq!(taken.take(REPORT_AT_BUSY - 1, false), None);
        assert_eq!(taken.take(1, false), Some(REPORT_AT_BUSY));
        assert_eq!(taken.flush(), None);
    }
}
