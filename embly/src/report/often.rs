//! What somebody outside can cause as often as they like, said a few times in a second.

use std::time::Instant;

use protos::meter::{Meter, Verdict};

/// So many lines in a second.
const LINES: u32 = 10;

/// Decides which of them are said.
#[derive(Debug)]
pub struct Often {
    since: Instant,
    meter: Meter,
}

impl Default for Often {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            meter: Meter::new(LINES),
        }
    }
}

impl Often {
    /// Whether to say it now: then the line ends with this, which counts those that were not said.
    pub fn say(&mut self) -> Option<String> {
        if self.meter.count(self.since.elapsed()) != Verdict::Pass {
            return None;
        }
        let more = self.meter.take_dropped();
        Some(
            more.map(|more| format!(" ({more} more before)"))
                .unwrap_or_default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_said_a_few_times_and_counted() {
        let mut often = Often::default();
        let said = (0..1000).filter_map(|_| often.say()).collect::<Vec<_>>();
        assert_eq!(said, vec![String::new(); LINES as usize]);
        often.since -= std::time::Duration::from_secs(5);
        assert_eq!(often.say().unwrap(), " (990 more before)");
    }
}
