//! `rate`: how often a client may ask.

use std::num::NonZeroU32;
use std::time::Duration;

use super::super::fields::{Field, Fields};
use super::super::problem::{Problem, Problems, quote};
use super::super::{codes, schema};

/// How often a client may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many requests …
    pub requests: NonZeroU32,
    /// … in this time, on the average.
    pub per: Duration,
    /// So many at once.
    pub burst: NonZeroU32,
}

/// Seconds of each unit.
const UNITS: [(&str, u64); 3] = [("s", 1), ("m", 60), ("h", 60 * 60)];

pub(super) fn read(field: Field<'_>, problems: &mut Problems) -> Option<Rate> {
    let fields = Fields::read(&field.entry.value, &schema::RATE_RULES, problems)?;
    if let Some(field) = fields.get("by") {
        let text = field.text(problems)?;
        if text != "client" {
            wrong(field, text, "is not what requests are counted by", problems);
        }
    }
    let burst = match fields.get("burst") {
        Some(field) => Some(burst(field, problems)?),
        None => None,
    };
    let field = fields.get("requests")?;
    let text = field.scalar("a rate", problems)?;
    let Some((requests, per)) = parse(text) else {
        wrong(field, text, "is not a rate of requests", problems);
        return None;
    };
    Some(Rate {
        requests,
        per,
        burst: burst.unwrap_or(requests),
    })
}

fn burst(field: Field<'_>, problems: &mut Problems) -> Option<NonZeroU32> {
    let number = field.whole(problems)?;
    let burst = u32::try_from(number).ok().and_then(NonZeroU32::new);
    if burst.is_none() {
        wrong(
            field,
            &number.to_string(),
            "requests at once make no sense",
            problems,
        );
    }
    burst
}

fn wrong(field: Field<'_>, text: &str, why: &str, problems: &mut Problems) {
    let message = format!("{} {why}", quote(text));
    let problem = Problem::new(&codes::RATE, field.span(), message);
    problems.push(problem.help(format!("write, for example, `{}`", field.key.example)));
}

fn parse(text: &str) -> Option<(NonZeroU32, Duration)> {
    let (digits, unit) = text.split_once('/')?;
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    let requests = digits.parse().ok().filter(|_| whole)?;
    Some((requests, Duration::from_secs(*seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_whole_numbers_in_a_second_minute_or_hour() {
        let read = |text| parse(text).map(|(n, per)| (n.get(), per.as_secs()));
        assert_eq!(read("100/s"), Some((100, 1)));
        assert_eq!(read("60/m"), Some((60, 60)));
        assert_eq!(read("5/h"), Some((5, 3600)));
        for text in ["0/s", "100", "100/d", "+1/s", "1.5/s", "/s", "4294967296/s"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
