//! Sizes, times and counts as the project file writes them.

use std::time::Duration;

/// A limit as it is written, `None` for `none`. The error is what to write instead, where
/// that is clear.
pub(super) type Parsed<T> = Result<Option<T>, Option<String>>;

/// Largest first, so that help shows the biggest fitting one.
const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Milliseconds of each unit, in the order in which a time may name them.
const TIMES: &[(&str, u64)] = &[
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Bytes: `128MiB`, `1GB`, `4096`. More than 64 bits is the largest number.
pub(super) fn size(text: &str) -> Parsed<u64> {
    if text == "none" {
        return Ok(None);
    }
    let (digits, unit) = split(text);
    let factor = match unit {
        "" => Some(1),
        unit => SIZES
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor),
    };
    match (number(digits), factor) {
        (Some(number), Some(factor)) => Ok(Some(number.saturating_mul(factor))),
        (Some(_), None) => Err(size_unit(unit).map(|unit| format!("{digits}{unit}"))),
        (None, _) => Err(lifted(text)),
    }
}

/// The unit that was meant by `mb`, `M`, ` MiB` and the like.
fn size_unit(unit: &str) -> Option<&'static str> {
    let lower = unit.trim().to_lowercase();
    let found = SIZES.iter().find(|(name, _)| name.to_lowercase() == lower);
    let short = || {
        SIZES
            .iter()
            .find(|(name, _)| name.to_lowercase() == format!("{lower}ib"))
    };
    found.or_else(short).map(|(name, _)| *name)
}

/// A time: `10s`, `500ms`, `1h30m`, largest unit first, each at most once.
pub(super) fn time(text: &str) -> Parsed<Duration> {
    if text == "none" {
        return Ok(None);
    }
    if text == "0" {
        return Ok(Some(Duration::ZERO));
    }
    let mut rest = text;
    let mut units = TIMES.iter();
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (digits, after) = split(rest);
        let unit_length = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_length);
        let Some(number) = number(digits) else {
            return Err(lifted(text));
        };
        let Some((_, factor)) = units.find(|(name, _)| *name == unit) else {
            return Err(time_unit(text, digits, unit));
        };
        total = total.saturating_add(number.saturating_mul(*factor));
        rest = after;
    }
    match text.is_empty() {
        true => Err(None),
        false => Ok(Some(Duration::from_millis(total))),
    }
}

/// What was meant by `10`, `10 s`, `10sec`, `5min`.
fn time_unit(text: &str, digits: &str, unit: &str) -> Option<String> {
    if text.len() != digits.len() + unit.len() {
        return None;
    }
    let unit = match unit.trim().to_lowercase().as_str() {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "ms" | "msec" | "millis" | "milliseconds" => "ms",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        _ => return None,
    };
    Some(format!("{digits}{unit}"))
}

/// A count: `64`.
pub(super) fn count(text: &str) -> Parsed<u64> {
    if text == "none" {
        return Ok(None);
    }
    if let Some(number) = number(text) {
        return Ok(Some(number));
    }
    let bare: String = text
        .chars()
        .filter(|c| !matches!(c, '_' | ',' | '\''))
        .collect();
    Err(number(&bare).map(|_| bare).or_else(|| lifted(text)))
}

/// How often in a second: `1000/s`.
pub(super) fn rate(text: &str) -> Parsed<u64> {
    match text.strip_suffix("/s").map(str::trim_end) {
        Some(digits) if number(digits).is_some() && text.len() == digits.len() + 2 => {
            Ok(number(digits))
        }
        Some(digits) => Err(number(digits).map(|_| format!("{digits}/s"))),
        None => match count(text) {
            Ok(Some(_)) => Err(Some(format!("{text}/s"))),
            Err(Some(instead)) if instead != "none" => Err(Some(format!("{instead}/s"))),
            other => other,
        },
    }
}

/// Words for "no limit" in other programs.
fn lifted(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let known = [
        "none",
        "unlimited",
        "infinity",
        "inf",
        ".inf",
        "off",
        "max",
        "no",
        "-1",
        "false",
    ];
    known.contains(&&*lower).then(|| "none".to_owned())
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// A whole number; one beyond 64 bits is the largest.
fn number(digits: &str) -> Option<u64> {
    let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    whole.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Bytes in the biggest unit that says them exactly: `128MiB`.
pub(super) fn show_size(bytes: u64) -> String {
    let binary = &SIZES[..4];
    let exact = binary
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    match exact {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// Bytes as people say them: `7.6 GiB`.
pub(super) fn about_size(bytes: u64) -> String {
    let unit = SIZES[..4].iter().find(|(_, factor)| bytes >= *factor);
    match unit {
        Some((unit, factor)) => format!("{:.1} {unit}", bytes as f64 / *factor as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("128MiB"), Ok(Some(128 << 20)));
        assert_eq!(size("64KiB"), Ok(Some(65536)));
        assert_eq!(size("1GB"), Ok(Some(1_000_000_000)));
        assert_eq!(size("4096"), Ok(Some(4096)));
        assert_eq!(size("99999999999999999999GiB"), Ok(Some(u64::MAX)));
        assert_eq!(size("none"), Ok(None));
        for (text, instead) in [
            ("128 MiB", Some("128MiB")),
            ("128mb", Some("128MB")),
            ("128M", Some("128MiB")),
            ("None", Some("none")),
            ("unlimited", Some("none")),
            ("1.5GiB", None),
            ("lots", None),
            ("", None),
            ("-5", None),
            ("1ü", None),
        ] {
            assert_eq!(size(text), Err(instead.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(time("10s"), Ok(Some(Duration::from_secs(10))));
        assert_eq!(time("500ms"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(time("1h30m"), Ok(Some(Duration::from_secs(5400))));
        assert_eq!(time("1d1ms"), Ok(Some(Duration::from_millis(86_400_001))));
        assert_eq!(time("none"), Ok(None));
        for (text, instead) in [
            ("10", Some("10s")),
            ("10 s", Some("10s")),
            ("5min", Some("5m")),
            ("30m1h", None),
            ("1m1m", None),
            ("s", None),
            ("", None),
            ("1.5s", None),
            ("10sü", None),
        ] {
            assert_eq!(time(text), Err(instead.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!(count("64"), Ok(Some(64)));
        assert_eq!(count("1_000"), Err(Some("1000".to_owned())));
        assert_eq!(count("many"), Err(None));
    }

    #[test]
    fn rates() {
        assert_eq!(rate("1000/s"), Ok(Some(1000)));
        assert_eq!(rate("none"), Ok(None));
        for (text, instead) in [
            ("1000", Some("1000/s")),
            ("1_000", Some("1000/s")),
            ("10 /s", Some("10/s")),
            ("unlimited", Some("none")),
            ("10/m", None),
            ("/s", None),
        ] {
            assert_eq!(rate(text), Err(instead.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_exactly_or_about() {
        assert_eq!(show_size(64 << 10), "64KiB");
        assert_eq!(show_size(1000), "1000");
        assert_eq!(about_size(8_200_000_000), "7.6 GiB");
    }
}
