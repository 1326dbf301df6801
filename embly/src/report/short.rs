//! An access line for a terminal: what matters, in columns, and no wider than the terminal is.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use super::event::Access;
use super::text::{CYAN, DIM, Paint, RED, elapsed, escape, fit, status_style};

/// Columns of the time, with the gap behind it.
const TIME: usize = 9;

/// Columns of the status and the duration, with a gap before each.
const ANSWER: usize = 4 + DURATION + 1;

/// `999.9ms`.
const DURATION: usize = 7;

/// Columns of a function's name: at least, and where there is room.
const FUNCTION: [usize; 2] = [12, 24];

/// Digits of an address: there are not so many invocations at a time, or traces of them, that two of
/// them begin alike.
const ID: usize = 8;

/// Columns of method and path. Where fewer would be left of them, the address is not shown, and then
/// the function is not.
const ASKED: usize = 24;

/// What method and path are given before a longer name is.
const ASKED_WELL: usize = 48;

/// Where the next column begins at the latest, for short paths: an eye finds the answer to them.
const ASKED_WIDE: usize = 72;

/// How many columns each part has.
#[derive(Debug, PartialEq, Eq)]
struct Columns {
    asked: usize,
    /// Function, address and reason: 0 for none.
    about: usize,
    /// The function alone.
    function: usize,
    id: bool,
}

impl Columns {
    fn of(columns: usize) -> Self {
        let room = columns.saturating_sub(TIME + ANSWER);
        let [function, wide] = FUNCTION;
        let (with_function, with_id) = (1 + function, 1 + ID);
        if room < ASKED + with_function {
            return Self {
                asked: room,
                about: 0,
                function: 0,
                id: false,
            };
        }
        let id = room >= ASKED + with_function + with_id;
        let about = with_function + if id { with_id } else { 0 };
        let spare = (room - about).saturating_sub(ASKED_WELL);
        let more = spare.min(wide - function);
        Self {
            asked: room - about - more,
            about: about + more - 1,
            function: function + more,
            id,
        }
    }
}

/// The time of day, where the reader is.
pub fn now() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S").to_string()
}

/// The line, at `time`, in a terminal of so many columns.
pub fn access(access: &Access<'_>, time: &str, columns: usize, color: bool) -> String {
    let paint = Paint(color);
    let widths = Columns::of(columns);
    let mut line = String::with_capacity(columns + 64);
    let asked = format!("{:<4} {}", access.method, escape(access.path));
    let took = elapsed(Duration::from_micros(access.total_us));
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "{} {:<asked_width$} {} {:>DURATION$}",
        paint.on(DIM, time),
        fit(&asked, widths.asked),
        paint.on(status_style(access.status), access.status),
        fit(&took, DURATION),
        asked_width = widths.asked.min(ASKED_WIDE),
    );
    if widths.about == 0 {
        return line;
    }
    let address = access.address.filter(|_| widths.id);
    let id = address.map(|address| address.to_string()[..ID].to_owned());
    let reason = access.reason.map(|reason| reason.to_string());
    let taken = |part: &Option<String>| part.as_ref().map_or(0, |part| part.len() + 1);
    // Why an answer is not a whole one matters more than a whole name.
    let room = widths.about.saturating_sub(taken(&id) + taken(&reason));
    let name = fit(access.function, room.min(widths.function));
    let name = match (&id, &reason) {
        (Some(_), None) => Cow::from(format!("{name:<width$}", width = widths.function)),
        _ => name,
    };
    let name = (!name.is_empty()).then(|| paint.on(CYAN, name).to_string());
    let id = id.map(|id| paint.on(DIM, id).to_string());
    let reason = reason.map(|reason| paint.on(RED, fit(&reason, widths.about)).to_string());
    for part in [name, id, reason].into_iter().flatten() {
        line.push(' ');
        line.push_str(&part);
    }
    line
}

#[cfg(test)]
mod tests {
    use protos::{Address, Reason};

    use super::super::text::without_colours;
    use super::*;

    fn line(columns: usize, change: impl FnOnce(&mut Access<'_>)) -> String {
        let mut one = Access {
            gateway: "web",
            client: "127.0.0.1:53422".to_owned(),
            method: "GET",
            path: "/",
            version: "HTTP/1.1",
            status: 200,
            bytes: 11,
            bytes_in: 0,
            total_us: 1_250,
            function: "hello",
            address: Address::new(0x8b3e_0f6d_2f1c_9a47),
            request_id: "019a9f5e-6f64-7000-8000-0123456789ab",
            reason: None,
            used: None,
        };
        change(&mut one);
        let line = access(&one, "06:00:00", columns, false);
        assert!(line.chars().count() <= columns, "{columns}: {line}");
        let coloured = access(&one, "06:00:00", columns, true);
        assert_eq!(without_colours(&coloured), line);
        line
    }

    #[test]
    fn an_access_line_in_a_terminal_has_columns_that_fit_into_it() {
        let long = |one: &mut Access<'_>| {
            one.method = "OPTIONS";
            one.path = "/a/path/that/is/longer/than/any/terminal/has/room/for/it?or=nearly\u{1b}so";
            one.function = "a-function-with-a-long-name";
            one.total_us = 12_345_000_000;
            one.status = 500;
        };
        assert_eq!(
            line(79, |_| {}),
            "06:00:00 GET  /                               200   1.2ms hello        8b3e0f6d"
        );
        assert_eq!(
            line(79, long),
            "06:00:00 OPTIONS /a/path/that/is/longer/than… 500 12345.… a-function-… 8b3e0f6d"
        );
        // A wide terminal does not tear it apart.
        assert_eq!(line(200, |_| {}).find(" 200 "), Some(TIME + ASKED_WIDE));
        assert_eq!(line(39, |_| {}), "06:00:00 GET  /             200   1.2ms");
        assert_eq!(line(39, long), "06:00:00 OPTIONS /a/path/t… 500 12345.…");
        for columns in 0..250 {
            if columns >= TIME + ANSWER {
                line(columns, long);
                line(columns, |one| one.reason = Some(Reason::BadResponse));
            }
        }
    }

    #[test]
    fn an_access_line_in_a_terminal_says_why_at_the_cost_of_the_name() {
        let why = |columns, reason, address| {
            let text = line(columns, |one| {
                one.function = "listener";
                one.status = 503;
                one.reason = Some(reason);
                one.address = one.address.filter(|_| address);
            });
            text.split_once("ms ").map(|(_, about)| about.to_owned())
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(why(79, Reason::Trap, true), is("listen… 8b3e0f6d trap"));
        assert_eq!(
            why(79, Reason::BadResponse, true),
            is("8b3e0f6d bad_response")
        );
        assert_eq!(
            why(79, Reason::Overloaded, false),
            is("listener overloaded")
        );
        assert_eq!(why(59, Reason::Trap, true), is("listen… trap"));
        assert_eq!(why(119, Reason::Trap, true), is("listener 8b3e0f6d trap"));
    }
}
