//! When something is to be done again and again: a schedule as cron knows it, in a time zone. Pure:
//! the caller brings the time.

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Times by the clock on the wall: minute, hour, day of the month, month and day of the week; with a
/// field more, the second comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    cron: Cron,
    zone: TimeZone,
}

/// Why a text is no schedule.
#[derive(Debug, thiserror::Error)]
pub enum BadSchedule {
    /// It cannot be read.
    #[error("{0}")]
    Form(String),
    /// There is no such time zone.
    #[error("there is no time zone `{0}`")]
    Zone(String),
    /// It has no time that comes, such as the 30th of February.
    #[error("there is no such time")]
    Never,
}

impl Schedule {
    /// A schedule as it is written, and the name of a time zone.
    ///
    /// # Errors
    /// See [`BadSchedule`].
    pub fn new(text: &str, zone: &str) -> Result<Self, BadSchedule> {
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build();
        let cron = parser
            .parse(text)
            .map_err(|error| BadSchedule::Form(words(&parser, text, error)))?;
        let zone = TimeZone::get(zone).map_err(|_| BadSchedule::Zone(zone.to_owned()))?;
        let schedule = Self {
            text: text.to_owned(),
            cron,
            zone,
        };
        match schedule.after(Timestamp::now()) {
            Some(_) => Ok(schedule),
            None => Err(BadSchedule::Never),
        }
    }

    /// The first time after this one, if any will ever come.
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let time = time.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&time, false).ok()?;
        Some(next.timestamp())
    }

    /// The last time up to this one.
    pub fn until(&self, time: Timestamp) -> Option<Timestamp> {
        let time = time.to_zoned(self.zone.clone());
        let last = self.cron.find_previous_occurrence(&time, true).ok()?;
        Some(last.timestamp())
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A time as its time zone says it, to the second.
    pub fn shown(&self, time: Timestamp) -> String {
        let time = time.to_zoned(self.zone.clone());
        time.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
    }
}

/// The fields as people call them, and what may stand in each.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31"),
    ("month", "1 to 12, or JAN to DEC"),
    ("day of the week", "0 to 7, or SUN to SAT"),
];

/// What is wrong with a text that the parser does not take: it names no field.
fn words(parser: &CronParser, text: &str, error: CronError) -> String {
    let fields: Vec<&str> = text.split_whitespace().collect();
    if let [name] = fields[..]
        && name.starts_with('@')
    {
        return format!("`{name}` is none of @hourly, @daily, @weekly, @monthly and @yearly");
    }
    let count = fields.len();
    if !(5..=6).contains(&count) {
        return format!(
            "there are {count} fields, not 5 (minute, hour, day of the month, month, day of the week) or 6 \
             (the second first)"
        );
    }
    let named = FIELDS[FIELDS.len() - count..].iter();
    for (at, (field, (name, values))) in fields.iter().zip(named).enumerate() {
        let mut alone = vec!["*"; count];
        alone[at] = field;
        if parser.parse(&alone.join(" ")).is_err() {
            return format!("`{field}` is no {name}: {values}, `*`, `*/5`, `1-5`, or `1,3`");
        }
    }
    error.to_string().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(text: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::new(text, zone).unwrap();
        let mut time: Timestamp = from.parse().unwrap();
        let mut times = Vec::new();
        for _ in 0..count {
            time = schedule.after(time).unwrap();
            times.push(time.to_string());
        }
        times
    }

    #[test]
    fn fields_are_minute_hour_day_month_and_weekday_and_a_second_may_come_first() {
        assert_eq!(
            times("*/20 * * * *", "UTC", "2026-01-01T00:00:00Z", 3),
            [
                "2026-01-01T00:20:00Z",
                "2026-01-01T00:40:00Z",
                "2026-01-01T01:00:00Z"
            ]
        );
        assert_eq!(
            times("30 6 * * MON", "UTC", "2026-01-01T00:00:00Z", 2),
            ["2026-01-05T06:30:00Z", "2026-01-12T06:30:00Z"]
        );
        assert_eq!(
            times("*/30 * * * * *", "UTC", "2026-01-01T00:00:10Z", 2),
            ["2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"]
        );
        assert_eq!(
            times("@daily", "UTC", "2026-01-01T10:00:00Z", 1),
            ["2026-01-02T00:00:00Z"]
        );
    }

    #[test]
    fn a_time_zone_changes_its_clocks_and_each_day_has_its_time_once() {
        // Clocks go from 02:00 to 03:00 on 29 March 2026, and back from 03:00 on 25 October.
        assert_eq!(
            times("0 9 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 2),
            ["2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z"]
        );
        let spring = times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert!(spring[0].starts_with("2026-03-29T01"), "{spring:?}");
        assert_eq!(spring[1], "2026-03-30T00:30:00Z");
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn the_last_time_counts_the_moment_itself() {
        let schedule = Schedule::new("0 * * * *", "UTC").unwrap();
        let at = |text: &str| schedule.until(text.parse().unwrap()).unwrap().to_string();
        assert_eq!(at("2026-01-01T05:00:00Z"), "2026-01-01T05:00:00Z");
        assert_eq!(at("2026-01-01T04:59:59Z"), "2026-01-01T04:00:00Z");
    }

    #[test]
    fn what_is_no_schedule_is_an_error() {
        for text in [
            "",
            "* * *",
            "61 * * * *",
            "x * * * *",
            "0 0 30 2 *",
            "* * * * * * 2027",
        ] {
            assert!(Schedule::new(text, "UTC").is_err(), "{text}");
        }
        assert!(Schedule::new("* * * * *", "Mars/Base").is_err());
        let said = |text| Schedule::new(text, "UTC").unwrap_err().to_string();
        assert!(said("0 25 * * *").starts_with("`25` is no hour: 0 to 23"));
        assert!(said("x * * * *").starts_with("`x` is no minute"));
        assert!(said("61 0 0 * * *").starts_with("`61` is no second"));
        assert!(said("0 0 * * FOO").starts_with("`FOO` is no day of the week"));
        assert!(said("0 0 * *").starts_with("there are 4 fields, not 5"));
        assert!(said("@often").contains("@hourly"));
    }
}
