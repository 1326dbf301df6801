//! Events as lines for people.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::{self, Display, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use protos::{Ending, Reason};

use super::event::{Access, BuildState, Event, Left, Level, describe};

pub(super) const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
pub(super) const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
pub(super) const CYAN: Style = AnsiColor::Cyan.on_default();

/// Colours, where there are any.
pub(super) struct Paint(pub(super) bool);

impl Paint {
    pub(super) fn on<T: Display>(&self, style: Style, text: T) -> Painted<T> {
        Painted(self.0.then_some(style), text)
    }
}

/// Text in its colour, where there are any.
pub(super) struct Painted<T>(Option<Style>, T);

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(Some(style), text) => write!(f, "{style}{text}{style:#}"),
            Self(None, text) => text.fmt(f),
        }
    }
}

/// The line, or `None` for an event that has none.
pub fn render(event: &Event<'_>, color: bool) -> Option<String> {
    let paint = Paint(color);
    let line = match event {
        Event::Listening {
            url,
            function,
            routes,
            ..
        } => {
            let behind = match (function, routes) {
                (Some(function), 0) => (*function).to_owned(),
                (Some(function), routes) => format!("{routes} routes, {function}"),
                (None, 1) => "1 route".to_owned(),
                (None, routes) => format!("{routes} routes"),
            };
            format!("{} → {behind}", paint.on(BOLD, url))
        }
        Event::AdminListening { url } => format!("metrics and health at {}", paint.on(BOLD, url)),
        Event::Build {
            function,
            state,
            elapsed_ms,
            detail,
        } => {
            let time = elapsed(Duration::from_millis(*elapsed_ms));
            match state {
                BuildState::Compiled => {
                    format!("{} {function} in {time}", paint.on(GREEN, "built"))
                }
                BuildState::Unchanged => format!("{} {function}", paint.on(DIM, "unchanged")),
                BuildState::Failed => {
                    let detail = detail.unwrap_or_default();
                    format!(
                        "{} `{function}` was not built: {detail}",
                        paint.on(RED, "error:")
                    )
                }
            }
        }
        Event::InvocationStarted {
            address,
            function,
            parent,
            ..
        } => {
            let text = format!("{address} started by {parent}");
            format!("{} {}", paint.on(CYAN, function), paint.on(DIM, text))
        }
        Event::InvocationEnded {
            address,
            function,
            reason,
            code,
            detail,
            run_us,
            cpu_us,
            ..
        } => {
            let ending = Ending {
                reason: *reason,
                code: *code,
                detail: match reason {
                    // Its log has said it, and where.
                    Reason::Trap | Reason::Memory => String::new(),
                    _ => (*detail).to_owned(),
                },
                early: false,
            };
            let run = elapsed(Duration::from_micros(*run_us));
            let cpu = elapsed(Duration::from_micros(*cpu_us));
            let style = if *reason == Reason::Ok { DIM } else { YELLOW };
            let text = paint.on(style, format!("{address} ended after {run} ({cpu} CPU)"));
            let (function, advice) = (paint.on(CYAN, function), advice(*reason));
            format!("{function} {text}: {}{advice}", describe(&ending))
        }
        Event::Log {
            function,
            stream,
            level,
            line,
            ..
        } => {
            let style = match level {
                Some(Level::Info | Level::Debug) => CYAN,
                None if *stream != "stderr" => CYAN,
                _ => YELLOW,
            };
            // What goes on where the line before has ended.
            let word = level.and_then(word).filter(|_| !line.starts_with(' '));
            let word = match word {
                Some(word) => format!("{} ", paint.on(word_style(*level), word)),
                None => String::new(),
            };
            format!(
                "{} {word}{}",
                paint.on(style, format_args!("{function} |")),
                escape(line)
            )
        }
        Event::Access(access) => access_line(access, &paint),
        Event::Message { level, text } => match level {
            Level::Error => format!("{} {text}", paint.on(RED, "error:")),
            Level::Warn => format!("{} {text}", paint.on(YELLOW, "warning:")),
            Level::Info | Level::Debug => (*text).to_owned(),
        },
        Event::Stopped { reason, left } if *left == Left::default() => {
            format!("stopped: {reason}")
        }
        Event::Stopped { reason, left } => {
            let Left {
                table,
                fork_servers,
                wrappers,
                ..
            } = left;
            let addresses = table.addresses;
            format!(
                "stopped: {reason}; left to the kernel: {addresses} addresses, \
                 {fork_servers} fork servers, {wrappers} wrappers"
            )
        }
    };
    Some(line)
}

/// Where to read what to do, of what is not as its author wants it.
fn advice(reason: Reason) -> String {
    match reason {
        Reason::Memory | Reason::Cpu => {
            format!("; set by `limits: {{{reason}: …}}`, see `embly explain {reason}`")
        }
        // Which of them, the text says.
        Reason::Wall | Reason::Flood | Reason::TooLarge => {
            format!("; set in `limits`, see `embly explain {reason}`")
        }
        Reason::Exit
        | Reason::Trap
        | Reason::Violation
        | Reason::Lost
        | Reason::Idle
        | Reason::NoResponse
        | Reason::BadResponse
        | Reason::Refused
        | Reason::Starting => format!("; see `embly explain {reason}`"),
        // Nobody has to do anything, or it is said elsewhere how often it happens.
        Reason::Ok
        | Reason::Killed
        | Reason::Overloaded
        | Reason::Backoff
        | Reason::ClientGone
        | Reason::ParentEnded
        | Reason::Shutdown
        | Reason::Replaced => String::new(),
    }
}

thread_local! {
    /// A second, and how it is written.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// The time as the common log format has it: it is looked up in the zone once a second.
fn now() -> String {
    let now = jiff::Timestamp::now();
    SECOND.with_borrow_mut(|(second, written)| {
        if *second != now.as_second() {
            let zoned = now.to_zoned(jiff::tz::TimeZone::system());
            *written = zoned.strftime("[%d/%b/%Y:%H:%M:%S %z]").to_string();
            *second = now.as_second();
        }
        written.clone()
    })
}

/// The line for a log that says the level and the time by itself, or `None` for an event that has none.
pub fn plain(event: &Event<'_>) -> Option<String> {
    Some(match event {
        Event::Log {
            function,
            address,
            line,
            ..
        } => format!("{function} {address} | {}", escape(line)),
        Event::Message { text, .. } => escape(text).into_owned(),
        // Who reads it may not have the log beside it.
        Event::InvocationEnded { reason, detail, .. } if !detail.is_empty() => {
            let line = render(event, false)?;
            let line = match reason {
                Reason::Trap | Reason::Memory => format!("{line} ({detail})"),
                _ => line,
            };
            escape(&line).into_owned()
        }
        _ => escape(&render(event, false)?).into_owned(),
    })
}

/// The word before a line of a log that says how severe it is, but for the ordinary ones.
pub fn word(level: Level) -> Option<&'static str> {
    match level {
        Level::Error => Some("error:"),
        Level::Warn => Some("warning:"),
        Level::Info => None,
        Level::Debug => Some("debug:"),
    }
}

fn word_style(level: Option<Level>) -> Style {
    match level {
        Some(Level::Error) => RED,
        Some(Level::Warn) => YELLOW,
        Some(Level::Info | Level::Debug) | None => DIM,
    }
}

/// The colour of a status.
pub(super) fn status_style(status: u16) -> Style {
    match status {
        0..400 => GREEN,
        400..500 => YELLOW,
        _ => RED,
    }
}

/// As the common log format, with what matters here behind it.
fn access_line(access: &Access<'_>, paint: &Paint) -> String {
    let style = status_style(access.status);
    let mut line = String::with_capacity(192);
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "{} {} \"{} {} {}\" {} {} {} {}",
        access.client,
        paint.on(DIM, now()),
        access.method,
        escape(access.path),
        access.version,
        paint.on(style, access.status),
        access.bytes,
        elapsed(Duration::from_micros(access.total_us)),
        paint.on(CYAN, access.function),
    );
    if let Some(address) = access.address {
        let _ = write!(line, " {}", paint.on(DIM, address));
    }
    let _ = write!(line, " {}", paint.on(DIM, access.request_id));
    if let Some(reason) = access.reason {
        let _ = write!(line, " {}", paint.on(RED, reason));
    }
    line
}

/// A function must not move the cursor of whoever reads its log.
pub fn escape(text: &str) -> Cow<'_, str> {
    let plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if plain || !text.chars().any(steers) {
        return text.into();
    }
    let escape = |c: char| {
        if steers(c) {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(escape).collect::<String>().into()
}

/// Without the sequences that begin with ESC and `[` and end with a letter.
pub fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| ('@'..='~').contains(&c));
        plain.push_str(end.map_or("", |end| &piece[end + 1..]));
    }
    plain
}

/// What fits into so many columns, with a sign where that is not all.
pub fn fit(text: &str, columns: usize) -> Cow<'_, str> {
    if text.chars().count() <= columns {
        return text.into();
    }
    let shown = text.chars().take(columns.saturating_sub(1));
    shown.chain(std::iter::once('…').take(columns)).collect()
}

/// As a word of a shell: in quotes where it would be more words, or mean something else.
pub fn typed(word: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./,:=@%+".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")).into(),
    }
}

/// Whether it acts on what stands beside it: control characters, ends of lines, and those that turn the
/// direction of writing or are not seen.
fn steers(c: char) -> bool {
    let unseen = matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    (c.is_control() && c != '\t') || unseen
}

/// A time as people say it.
pub fn elapsed(time: Duration) -> String {
    match time.as_micros() {
        micros @ 0..1_000 => format!("{micros}µs"),
        micros @ 1_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        micros => format!("{:.1}s", micros as f64 / 1e6),
    }
}

/// Text that matters less.
pub fn dim(text: &str) -> String {
    format!("{DIM}{text}{DIM:#}")
}

/// The line for lines that were dropped.
pub fn dropped(lines: u64) -> String {
    format!("warning: {lines} lines were dropped, whoever reads them is too slow")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_cannot_steer_the_terminal() {
        let address = protos::Address::new(1).unwrap();
        let line = "\x1b[2Jhello\tyou";
        let event = Event::Log {
            function: "f",
            address,
            stream: "stdout",
            level: None,
            line,
            request_id: None,
        };
        assert_eq!(render(&event, false).unwrap(), "f | \\u{1b}[2Jhello\tyou");
        let mut event = event;
        if let Event::Log { level, .. } = &mut event {
            *level = Some(Level::Warn);
        }
        let line = "f | warning: \\u{1b}[2Jhello\tyou";
        assert_eq!(render(&event, false).unwrap(), line);
        assert_eq!(escape("a\u{202e}b\u{2028}é"), "a\\u{202e}b\\u{2028}é");
    }

    #[test]
    fn a_line_is_cut_to_the_columns_that_there_are() {
        let cut = |columns| fit("héllo", columns).into_owned();
        assert_eq!([cut(5), cut(4), cut(1), cut(0)], ["héllo", "hél…", "…", ""]);
    }

    #[test]
    fn a_word_is_typed_in_quotes_where_a_shell_would_read_something_else() {
        for (word, shown) in [
            ("/srv/shop-1.0", "/srv/shop-1.0"),
            ("/srv/my shop", "'/srv/my shop'"),
            ("it's", r"'it'\''s'"),
            ("~/$a", "'~/$a'"),
            ("", "''"),
        ] {
            assert_eq!(typed(word), shown);
        }
    }

    #[test]
    fn times_are_short() {
        assert_eq!(elapsed(Duration::from_micros(7)), "7µs");
        assert_eq!(elapsed(Duration::from_micros(1_250)), "1.2ms");
        assert_eq!(elapsed(Duration::from_millis(61_000)), "61.0s");
    }
}
