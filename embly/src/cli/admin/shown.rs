//! Numbers and problems as people read them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::bundle::PROJECT;
use crate::report::elapsed;

/// A time in microseconds, short.
pub fn age(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => elapsed(Duration::from_micros(micros)),
        60..3_600 => format!("{minutes}m{:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// Bytes, short.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut shown = bytes as f64 / 1024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if shown < 1024.0 {
            break;
        }
        shown /= 1024.0;
        unit = larger;
    }
    format!("{shown:.1}{unit}")
}

/// A time of the API, where the reader is.
pub fn time(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => {
            let there = time.to_zoned(TimeZone::system());
            there.strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        Err(_) => text.to_owned(),
    }
}

/// The same for who looks at what has just happened: without the day, where that is today.
pub fn clock(text: &str) -> String {
    let all = time(text);
    let today = jiff::Zoned::now().strftime("%Y-%m-%d ").to_string();
    all.strip_prefix(&today).unwrap_or(&all).to_owned()
}

/// The folder of a project by its file; what is no project file is itself.
pub fn project(file: &str) -> &str {
    let folder = file.strip_suffix(PROJECT);
    let folder = folder.and_then(|folder| folder.strip_suffix('/'));
    folder.filter(|folder| !folder.is_empty()).unwrap_or(file)
}

/// A problem of the project file, in one line.
pub fn problem(problem: &Value) -> String {
    let text = |key: &str| problem[key].as_str().unwrap_or_default();
    let place = match (problem["line"].as_u64(), problem["column"].as_u64()) {
        (Some(line), Some(column)) => format!(":{line}:{column}"),
        _ => String::new(),
    };
    let help = match text("help") {
        "" => String::new(),
        help => format!("\n  help: {help}"),
    };
    let (file, code, message) = (text("file"), text("code"), text("message"));
    format!("{file}{place}: {code}: {message}{help}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        let ages = [900, 61_000_000, 3_660_000_000, 180_000_000_000];
        assert_eq!(ages.map(age), ["900µs", "1m01s", "1h01m", "2d02h"]);
        let sizes = [0, 1023, 1024, 1536 * 1024, 5 << 30];
        assert_eq!(
            sizes.map(size),
            ["0B", "1023B", "1.0KiB", "1.5MiB", "5.0GiB"]
        );
    }

    #[test]
    fn a_day_is_left_out_where_it_is_today_and_a_project_is_its_folder() {
        let now = Timestamp::now().to_string();
        assert_eq!(clock(&now), time(&now)[11..]);
        assert_eq!(clock("2001-02-03T12:00:00Z"), time("2001-02-03T12:00:00Z"));
        assert_eq!(project("/srv/shop/embly-project.yml"), "/srv/shop");
        assert_eq!(project("/srv/shop.embly"), "/srv/shop.embly");
        assert_eq!(project("/embly-project.yml"), "/embly-project.yml");
    }

    #[test]
    fn a_problem_names_its_place_and_what_to_write() {
        let shown = serde_json::json!({
            "code": "E101", "file": "p.yml", "line": 3, "column": 5,
            "message": "no such key", "help": "write `name`",
        });
        let expected = "p.yml:3:5: E101: no such key\n  help: write `name`";
        assert_eq!(problem(&shown), expected);
    }
}
