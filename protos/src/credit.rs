//! Credit: how many bytes may be under way on one stream in one direction.
//!
//! A sender may write as much as its credit; the master takes off what it sends
//! and gives it back when the reader has taken it, and a little more each time
//! until the window is full. So whoever receives has room for what comes, and
//! the master never has to stop reading from anybody.
//!
//! A frame takes memory of its own wherever it waits, however little is in it. So it
//! costs [`MIN_COST`] bytes of credit at least, and every count here is of costs.

/// The window that a stream starts with, in bytes.
///
/// Enough for most requests and answers, small enough for 10,000 idle streams.
pub const INITIAL_WINDOW: u32 = 16 * 1024;

/// The largest window, and so the largest payload of one frame, in bytes.
///
/// At a round trip of 100 µs this is 2.5 GB/s.
pub const MAX_WINDOW: u32 = 256 * 1024;

/// The smallest window that can be set: a little more than what a reader may owe.
pub const MIN_WINDOW: u32 = 4 * 1024;

/// What a frame costs at least, in bytes of credit: about what an empty one takes in the
/// queues of the master, so that single bytes cannot fill more memory than a window says.
pub const MIN_COST: u32 = 64;

/// A reader that has nothing left unread reports what it took once it is this much.
/// Smaller than the smallest window, so that a writer never waits for a report
/// that does not come.
pub const REPORT_AT: u32 = 2 * 1024;

/// A reader that is busy reports at the latest after this many bytes.
pub const REPORT_AT_BUSY: u32 = 64 * 1024;

const _: () = assert!(INITIAL_WINDOW <= MAX_WINDOW);
const _: () = assert!(MAX_WINDOW.is_multiple_of(INITIAL_WINDOW));
const _: () = assert!(MIN_WINDOW <= INITIAL_WINDOW);
// What is not reported, and a rest too small for a frame, leave a writer something.
const _: () = assert!(REPORT_AT + MIN_COST < MIN_WINDOW);
const _: () = assert!(REPORT_AT_BUSY <= MAX_WINDOW);

/// What a frame with so many bytes of payload costs, in bytes of credit.
pub const fn cost(bytes: usize) -> u32 {
    // A payload is at most MAX_WINDOW; anything longer is refused for want of credit.
    let bytes = if bytes > u32::MAX as usize {
        u32::MAX
    } else {
        bytes as u32
    };
    if bytes < MIN_COST { MIN_COST } else { bytes }
}

/// What a frame costs beyond its payload, in bytes of credit.
pub const fn surcharge(bytes: usize) -> u32 {
    if bytes < MIN_COST as usize {
        MIN_COST - bytes as u32
    } else {
        0
    }
}

/// How many bytes one frame may carry with this credit; 0 where it is not enough for any.
pub const fn room(credit: u32) -> u32 {
    if credit < MIN_COST { 0 } else { credit }
}

/// The reading end of one direction: counts what was taken and says when to
/// report it.
#[derive(Debug, Default)]
pub struct Taken {
    unreported: u32,
}

impl Taken {
    /// Counts `cost` as taken: bytes that were read, and the [`surcharge`] of each frame of
    /// which all was read. The result is what to report now, in bytes, if anything; `empty`
    /// says that nothing that arrived is left unread.
    pub fn take(&mut self, cost: u32, empty: bool) -> Option<u32> {
        self.unreported += cost;
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
    fn a_frame_costs_its_payload_and_a_small_one_a_fixed_price() {
        for bytes in [1, 63, 64, 65, MAX_WINDOW as usize] {
            assert_eq!(cost(bytes), bytes as u32 + surcharge(bytes));
            // What fits is one frame: with as much credit as it costs, all of it goes.
            assert!(room(cost(bytes)) as usize >= bytes);
        }
        assert_eq!((cost(1), cost(65)), (MIN_COST, 65));
        assert_eq!((room(MIN_COST - 1), room(MIN_COST)), (0, MIN_COST));
    }

    #[test]
    fn a_busy_reader_reports_before_it_is_done() {
        let mut taken = Taken::default();
        assert_eq!(taken.take(REPORT_AT_BUSY - 1, false), None);
        assert_eq!(taken.take(1, false), Some(REPORT_AT_BUSY));
        assert_eq!(taken.flush(), None);
    }
}
