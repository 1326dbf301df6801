//! HTML.

use kit::{Post, escape};

/// What somebody has said.
pub fn person(name: &str, posts: &[Post]) -> String {
    let name = escape(name);
    let mut body = format!("<h1>{name}</h1>\n");
    if posts.is_empty() {
        body += "<p class=\"quiet\">Nobody of this name has said anything.</p>\n";
    }
    for post in posts {
        let (at, text) = (time(post.at), escape(&post.text));
        body += &format!("<article class=\"post\"><header>{at}</header><p>{text}</p></article>\n");
    }
    frame(&name, &body)
}

/// What happened, hour by hour.
pub fn digests(digests: &[(String, i64)]) -> String {
    let mut body = String::from("<h1>Digest</h1>\n");
    if digests.is_empty() {
        body += "<p class=\"quiet\">There is none yet: one is made each hour.</p>\n";
    }
    for (text, at) in digests {
        let (at, text) = (time(*at), escape(text));
        body += &format!("<article class=\"post\"><header>{at}</header><p>{text}</p></article>\n");
    }
    frame("Digest", &body)
}

fn frame(title: &str, body: &str) -> String {
    format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title} · Board</title>
<link rel="stylesheet" href="/style.css">
<link rel="icon" href="/icon.svg">
<header class="bar"><a class="name" href="/">Board</a><nav><a href="/digest">Digest</a></nav></header>
<main class="page">
{body}</main>
"#
    )
}

/// In UTC, as a time element that a browser can read.
fn time(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400);
    let (hour, minute) = (
        seconds.rem_euclid(86_400) / 3600,
        seconds.rem_euclid(3600) / 60,
    );
    let (year, month, day) = date(days);
    format!(
        "<time datetime=\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}Z\">{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC</time>"
    )
}

/// The Gregorian date so many days after 1970-01-01. Years begin in March here, so that the odd day
/// is the last one of a year.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_786, (2026, 11, 29)),
            (-1, (1969, 12, 31)),
        ] {
            assert_eq!(super::date(days), date);
        }
    }
}
