//! How often functions are called: what a master counts, looked at again and again.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::admin::api;
use crate::cli::output::Table;

/// Looks that a rate goes back; at one a second, what happens now and then is steady enough to be read.
const LOOKS: usize = 5;

/// What was counted, and the rates that come of it.
#[derive(Debug, Default)]
pub struct Rates {
    /// The oldest first: when, and how many of each function had ended and were refused.
    looks: VecDeque<(Instant, HashMap<String, [u64; 2]>)>,
    busy: Vec<Busy>,
}

/// A function that is called.
#[derive(Debug)]
struct Busy {
    function: api::Function,
    /// Ended and refused, in a second; `None` at the first look.
    rates: Option<[f64; 2]>,
}

impl Rates {
    /// Takes what the master has counted until now.
    pub fn look(&mut self, functions: Vec<api::Function>, now: Instant) {
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        let oldest = self.looks.front();
        let mut busy: Vec<Busy> = functions
            .iter()
            .map(|function| Busy {
                function: function.clone(),
                rates: oldest.and_then(|(then, counted)| {
                    let counted = counted.get(&function.name)?;
                    let seconds = now.saturating_duration_since(*then).as_secs_f64();
                    // A master that has begun anew counts from 0.
                    let rate = |is: u64, was: u64| is.saturating_sub(was) as f64 / seconds;
                    let [ended, refused] = *counted;
                    (seconds > 0.0)
                        .then(|| [rate(function.ended, ended), rate(function.refused, refused)])
                }),
            })
            .filter(|busy| {
                let rates = busy.rates.unwrap_or_default();
                busy.function.live + busy.function.waiting > 0 || rates != [0.0; 2]
            })
            .collect();
        busy.sort_by_key(|busy| {
            let [ended, refused] = busy.rates.unwrap_or_default();
            // In thousandths: as near as anybody looks.
            let rate = ((ended + refused) * 1000.0) as u64;
            (Reverse(rate), busy.function.name.clone())
        });
        self.busy = busy;
        let counted = functions
            .into_iter()
            .map(|one| (one.name, [one.ended, one.refused]));
        self.looks.push_back((now, counted.collect()));
    }

    /// The functions that are called, the busiest first.
    pub fn table(&self) -> Table {
        let mut table = Table::new([
            "FUNCTION",
            "ENDED/S",
            "REFUSED/S",
            "LIVE",
            "WAITING",
            "PARKED",
        ]);
        for Busy { function, rates } in &self.busy {
            let rates = match rates {
                Some(rates) => rates.map(shown),
                None => ["-", "-"].map(str::to_owned),
            };
            let numbers = [function.live, function.waiting, function.parked];
            let numbers = numbers.map(|number| number.to_string());
            table.row(
                std::iter::once(function.name.clone())
                    .chain(rates)
                    .chain(numbers),
            );
        }
        table
    }
}

fn shown(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        few if few < 10.0 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn function(name: &str, ended: u64, refused: u64, live: u64) -> api::Function {
        api::Function {
            name: name.to_owned(),
            live,
            parked: 2,
            waiting: 0,
            refused,
            ended,
        }
    }

    #[test]
    fn a_rate_is_what_was_counted_in_the_last_seconds_and_who_is_not_called_is_left_out() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        rates.look(
            vec![function("slow", 900, 0, 1), function("idle", 70, 0, 0)],
            at(0),
        );
        let first = rates.table().within(None);
        assert_eq!(first.len(), 2, "{first:?}");
        assert!(first[1].starts_with("slow      -"), "{first:?}");
        for second in 1..=20 {
            // The first ten seconds are busier than those that count.
            let ended = if second <= 10 {
                second * 500
            } else {
                4300 + second * 70
            };
            let all = vec![
                function("slow", 900 + second / 2, 0, 1),
                function("idle", 70, 0, 0),
                function("busy", ended, second * 30, 0),
            ];
            rates.look(all, at(second));
        }
        let cells = |line: &String| {
            let cells = line.split_whitespace().map(str::to_owned);
            cells.collect::<Vec<_>>().join(" ")
        };
        let lines: Vec<String> = rates.table().within(None).iter().map(cells).collect();
        assert_eq!(
            lines,
            [
                "FUNCTION ENDED/S REFUSED/S LIVE WAITING PARKED",
                "busy 70 30 0 0 2",
                "slow 0.6 0 1 0 2",
            ]
        );
        // The master was started again.
        rates.look(vec![function("busy", 3, 0, 0)], at(21));
        assert!(rates.table().is_empty());
    }
}
