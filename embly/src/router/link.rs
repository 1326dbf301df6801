//! One stream between two addresses: two directions, each with its credit.

use protos::Address;
use protos::credit::{INITIAL_WINDOW, MAX_WINDOW};

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
    /// A new stream, if the budget has room for both its windows.
    pub fn open(budget: &mut Budget) -> Option<Self> {
        budget.take(2 * INITIAL_WINDOW).then(|| Self {
            directions: [Direction::new(), Direction::new()],
        })
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

/// One direction of a stream. Always: credit + unread ≤ window ≤ MAX_WINDOW.
#[derive(Debug)]
pub struct Direction {
    /// Bytes that the writer may still send.
    credit: u32,
    /// Bytes that the reader has not taken.
    unread: u32,
    /// The sum of both when all is quiet.
    window: u32,
    /// Bytes taken since the window last grew.
    used: u32,
    closed: bool,
}

/// A frame that breaks the rules of a stream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    #[error("sent {sent} bytes with a credit of {credit}")]
    NoCredit { sent: u32, credit: u32 },
    #[error("sent data after its half-close")]
    Closed,
    #[error("reported {taken} bytes as taken where {unread} were unread")]
    NotThere { taken: u32, unread: u32 },
}

impl Direction {
    const fn new() -> Self {
        let window = INITIAL_WINDOW;
        Self {
            credit: window,
            unread: 0,
            window,
            used: 0,
            closed: false,
        }
    }

    /// Bytes that the reader has not taken.
    pub const fn unread(&self) -> u32 {
        self.unread
    }

    /// Counts bytes as sent.
    pub fn send(&mut self, bytes: u32) -> Result<(), Breach> {
        if self.closed {
            return Err(Breach::Closed);
        }
        self.credit = self.credit.checked_sub(bytes).ok_or(Breach::NoCredit {
            sent: bytes,
            credit: self.credit,
        })?;
        self.unread += bytes;
        Ok(())
    }

    /// Counts bytes as taken; the result is the credit to give for them. A window that was used
    /// in full doubles, as long as the budget has room.
    pub fn take(&mut self, bytes: u32, budget: &mut Budget) -> Result<u32, Breach> {
        self.unread = self.unread.checked_sub(bytes).ok_or(Breach::NotThere {
            taken: bytes,
            unread: self.unread,
        })?;
        let mut credit = bytes;
        self.used = self.used.saturating_add(bytes);
        if self.used >= self.window && self.window < MAX_WINDOW {
            let more = self.window.min(MAX_WINDOW - self.window);
            if budget.take(more) {
                self.window += more;
                credit += more;
                self.used = 0;
            }
        }
        self.credit += credit;
        // Nobody writes any more, so nobody waits for it.
        Ok(if self.closed { 0 } else { credit })
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

    #[test]
    fn a_window_grows_as_it_is_used_up_to_its_maximum() {
        let mut budget = Budget::new(u64::MAX);
        let mut direction = Direction::new();
        let mut granted = 0;
        for _ in 0..20 {
            let bytes = direction.credit;
            direction.send(bytes).unwrap();
            granted += direction.take(bytes, &mut budget).unwrap();
            assert_eq!(direction.credit, direction.window);
        }
        assert_eq!(direction.window, MAX_WINDOW);
        assert!(granted > MAX_WINDOW);
    }

    #[test]
    fn without_budget_a_window_stays_as_it_is() {
        let mut budget = Budget::new(0);
        let mut direction = Direction::new();
        direction.send(INITIAL_WINDOW).unwrap();
        assert_eq!(
            direction.take(INITIAL_WINDOW, &mut budget),
            Ok(INITIAL_WINDOW)
        );
        assert_eq!(direction.window, INITIAL_WINDOW);
    }

    #[test]
    fn a_frame_beyond_the_credit_is_a_breach() {
        let mut direction = Direction::new();
        assert!(matches!(
            direction.send(INITIAL_WINDOW + 1),
            Err(Breach::NoCredit { .. })
        ));
        assert!(matches!(
            direction.take(1, &mut Budget::new(0)),
            Err(Breach::NotThere { .. })
        ));
        assert!(direction.close());
        assert_eq!(direction.send(1), Err(Breach::Closed));
    }
}
