//! One stream between two addresses: two directions, each with its credit.

use protos::Address;
use protos::credit::{INITIAL_WINDOW, REPORT_AT, cost};

use super::Budget;

/// Two addresses, in either order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair(Address, Address);

impl Pair {
    pub fn new(a: Address, b: Address) -> Self {
        if a < b { Self(a, b) } else { Self(b, a) }
    }
}

/// Both directions of a stream.
#[derive(Debug)]
pub struct Link {
    /// From the smaller address to the larger, and back.
    directions: [Direction; 2],
}

impl Link {
    /// A new stream, if the budget has room for both its windows. `window` is the limit of
    /// `from`, who is there already; that of `to` is not known yet.
    pub fn open(budget: &mut Budget, from: Address, to: Address, window: u32) -> Option<Self> {
        let mut link = Self {
            directions: [Direction::new(window), Direction::new(window)],
        };
        let back = link.direction(to, from);
        (back.window, back.credit) = (INITIAL_WINDOW, INITIAL_WINDOW);
        let bytes = link.directions.iter().map(|direction| direction.window);
        budget.take(bytes.sum()).then_some(link)
    }

    /// A new stream from an invocation to a service, if the budget has room for it. What is written
    /// to a service begins with all of `window`, so that a whole request fits.
    pub fn open_to_service(
        budget: &mut Budget,
        from: Address,
        to: Address,
        window: u32,
    ) -> Option<Self> {
        let mut link = Self {
            directions: [Direction::new(window), Direction::new(window)],
        };
        let forth = link.direction(from, to);
        (forth.window, forth.credit) = (window, window);
        let bytes = link.directions.iter().map(|direction| direction.window);
        budget.take(bytes.sum()).then_some(link)
    }

    /// The limit `window` of `from`, which has just come and has sent nothing yet. What it writes
    /// begins with its own window, as it does for `to`; neither direction grows beyond that.
    pub fn limit(&mut self, from: Address, to: Address, window: u32, budget: &mut Budget) {
        self.direction(to, from).lower(window);
        let own = self.direction(from, to);
        own.lower(window);
        let first = initial(window);
        budget.give_back(own.window.saturating_sub(first));
        (own.window, own.credit) = (first, first);
    }

    /// What goes from one to the other.
    pub fn direction(&mut self, from: Address, to: Address) -> &mut Direction {
        &mut self.directions[usize::from(from > to)]
    }

    /// Whether nobody sends any more.
    pub fn is_closed(&self) -> bool {
        self.directions.iter().all(|direction| direction.closed)
    }

    /// Gives its windows back.
    pub fn close(self, budget: &mut Budget) {
        for direction in self.directions {
            budget.give_back(direction.window);
        }
    }
}

/// The credit that a writer with this limit `window` begins with.
pub fn initial(window: u32) -> u32 {
    window.min(INITIAL_WINDOW)
}

/// One direction of a stream, counted in costs. Always: credit + unread ≤ window, and a window
/// never grows beyond `maximum`.
#[derive(Debug)]
pub struct Direction {
    /// Bytes that the writer may still send.
    credit: u32,
    /// Bytes that the reader has not taken.
    unread: u32,
    /// The sum of both when all is quiet.
    window: u32,
    /// The smaller limit of both sides.
    maximum: u32,
    /// Credit that the writer was not told of yet.
    untold: u32,
    /// Bytes taken since the window last grew.
    used: u32,
    closed: bool,
}

/// A frame that breaks the rules of a stream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    #[error("sent a frame of {sent} bytes with a credit of {credit}")]
    NoCredit { sent: usize, credit: u32 },
    #[error("sent data after its half-close")]
    Closed,
    #[error("reported {taken} bytes as taken where {unread} were unread")]
    NotThere { taken: u32, unread: u32 },
}

impl Direction {
    fn new(maximum: u32) -> Self {
        let window = initial(maximum);
        Self {
            credit: window,
            unread: 0,
            window,
            maximum,
            untold: 0,
            used: 0,
            closed: false,
        }
    }

    /// What the writer may still send.
    pub const fn credit(&self) -> u32 {
        self.credit
    }

    /// What the reader has not taken.
    pub const fn unread(&self) -> u32 {
        self.unread
    }

    fn lower(&mut self, maximum: u32) {
        self.maximum = self.maximum.min(maximum);
    }

    /// Counts a frame of so many bytes as sent.
    pub fn send(&mut self, bytes: usize) -> Result<(), Breach> {
        if self.closed {
            return Err(Breach::Closed);
        }
        let cost = cost(bytes);
        self.credit = self.credit.checked_sub(cost).ok_or(Breach::NoCredit {
            sent: bytes,
            credit: self.credit,
        })?;
        self.unread += cost;
        Ok(())
    }

    /// Counts bytes as taken; the result is the credit to tell the writer of. A window that was
    /// used in full doubles, as long as the budget has room. Crumbs are kept until they are worth
    /// a frame, so that a reader cannot make many of them out of one.
    pub fn take(&mut self, bytes: u32, budget: &mut Budget) -> Result<u32, Breach> {
        self.unread = self.unread.checked_sub(bytes).ok_or(Breach::NotThere {
            taken: bytes,
            unread: self.unread,
        })?;
        let mut credit = bytes;
        self.used = self.used.saturating_add(bytes);
        if self.used >= self.window && self.window < self.maximum {
            let more = self.window.min(self.maximum - self.window);
            if budget.take(more) {
                self.window += more;
                credit += more;
                self.used = 0;
            }
        }
        self.credit += credit;
        self.untold += credit;
        // Nobody writes any more, so nobody waits for it.
        let told = !self.closed && (self.unread == 0 || self.untold >= REPORT_AT);
        Ok(if told {
            std::mem::take(&mut self.untold)
        } else {
            0
        })
    }

    /// Whether nobody writes any more.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Ends the direction; false when it was ended before.
    pub fn close(&mut self) -> bool {
        !std::mem::replace(&mut self.closed, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protos::credit::{MAX_WINDOW, MIN_COST, MIN_WINDOW};

    #[test]
    fn a_window_grows_as_it_is_used_up_to_its_maximum() {
        let mut budget = Budget::new(u64::MAX);
        let mut direction = Direction::new(MAX_WINDOW);
        let mut granted = 0;
        for _ in 0..20 {
            let bytes = direction.credit;
            direction.send(bytes as usize).unwrap();
            granted += direction.take(bytes, &mut budget).unwrap();
            assert_eq!(direction.credit, direction.window);
        }
        assert_eq!(direction.window, MAX_WINDOW);
        assert!(granted > MAX_WINDOW);
    }

    #[test]
    fn without_budget_a_window_stays_as_it_is() {
        let mut budget = Budget::new(0);
        let mut direction = Direction::new(MAX_WINDOW);
        direction.send(INITIAL_WINDOW as usize).unwrap();
        assert_eq!(
            direction.take(INITIAL_WINDOW, &mut budget),
            Ok(INITIAL_WINDOW)
        );
        assert_eq!(direction.window, INITIAL_WINDOW);
    }

    #[test]
    fn a_frame_beyond_the_credit_is_a_breach() {
        let mut direction = Direction::new(MAX_WINDOW);
        assert!(matches!(
            direction.send(INITIAL_WINDOW as usize + 1),
            Err(Breach::NoCredit { .. })
        ));
        assert!(matches!(
            direction.take(1, &mut Budget::new(0)),
            Err(Breach::NotThere { .. })
        ));
        assert!(direction.close());
        assert_eq!(direction.send(1), Err(Breach::Closed));
    }

    #[test]
    fn single_bytes_use_up_a_window_as_fast_as_they_use_memory() {
        let mut direction = Direction::new(MAX_WINDOW);
        let frames = (0..).take_while(|_| direction.send(1).is_ok()).count();
        assert_eq!(frames as u32, INITIAL_WINDOW / MIN_COST);
        assert_eq!(direction.unread(), INITIAL_WINDOW);
    }

    #[test]
    fn crumbs_of_credit_are_kept_until_they_are_worth_a_frame() {
        let mut budget = Budget::new(0);
        let mut direction = Direction::new(MAX_WINDOW);
        direction.send(INITIAL_WINDOW as usize).unwrap();
        let taken = (0..INITIAL_WINDOW).map(|_| direction.take(1, &mut budget).unwrap());
        let told: Vec<u32> = taken.filter(|credit| *credit > 0).collect();
        assert_eq!(told, [REPORT_AT; (INITIAL_WINDOW / REPORT_AT) as usize]);
    }

    #[test]
    fn the_smaller_window_of_both_sides_counts_and_is_not_outgrown() {
        let (a, b) = (Address::new(1).unwrap(), Address::new(2).unwrap());
        let mut budget = Budget::new(u64::MAX);
        let mut link = Link::open(&mut budget, a, b, 64 * 1024).unwrap();
        link.limit(b, a, MIN_WINDOW, &mut budget);
        assert_eq!(budget.used(), u64::from(INITIAL_WINDOW + MIN_WINDOW));
        for (from, to, window) in [(a, b, INITIAL_WINDOW), (b, a, MIN_WINDOW)] {
            for _ in 0..5 {
                let direction = link.direction(from, to);
                direction.send(window as usize).unwrap();
                assert!(direction.send(1).is_err(), "more than {window}");
                direction.take(window, &mut budget).unwrap();
            }
        }
        link.close(&mut budget);
        assert_eq!(budget.used(), 0);
        // Each begins with its own, whatever the other has.
        let mut link = Link::open(&mut budget, a, b, MIN_WINDOW).unwrap();
        link.limit(b, a, MAX_WINDOW, &mut budget);
        assert_eq!(link.direction(a, b).credit, MIN_WINDOW);
        assert_eq!(link.direction(b, a).credit, INITIAL_WINDOW);
    }
}
