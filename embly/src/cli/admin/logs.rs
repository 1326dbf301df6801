//! `embly logs`: what functions have written, and go on to write.

use std::io::{self, Write as _};
use std::time::Duration;

use clap::Args;
use http::Method;
use jiff::{Span, Timestamp};
use serde_json::Value;
use tokio::time::timeout;
use url::form_urlencoded::Serializer;

use super::find::{Found, Which};
use super::{Beginning, refused, shown};
use crate::cli::{Exit, output};
use crate::report::{Format, Level, Reporter, escape, word};

/// Lines that are kept come within this time.
const SOON: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub struct Logs {
    #[command(flatten)]
    which: Which,
    /// Go on with the lines that come
    #[arg(short, long)]
    follow: bool,
    /// Only lines of this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Only lines of this invocation; the beginning of its address is enough
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Beginning>,
    /// Only lines that came so long ago or later, or since this time
    #[arg(long, value_name = "10m|TIME", value_parser = parse_since)]
    since: Option<Timestamp>,
}

/// `10m`, `2h30m`, or a time like `2026-11-29T20:00:00Z`.
fn parse_since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago = text.parse::<Span>().ok().filter(|span| !span.is_negative());
    // From days on a span depends on the calendar: a day is one of 24 hours here.
    let ago = ago.and_then(|span| {
        let relative = jiff::SpanRelativeTo::days_are_24_hours();
        span.to_duration(relative).ok()
    });
    ago.and_then(|ago| Timestamp::now().checked_sub(ago).ok())
        .ok_or_else(|| {
            "a time that has passed like 30s, 10m or 2h is expected, or one like \
             2026-11-29T20:00:00Z"
                .to_owned()
        })
}

impl Logs {
    pub async fn run(&self, reporter: &Reporter) -> Result<(), Exit> {
        let Found { client, .. } = self.which.find(reporter).await?;
        let mut query = Serializer::new(String::from("/v1/logs?"));
        if self.follow {
            query.append_key_only("follow");
        }
        if let Some(function) = &self.function {
            query.append_pair("function", function);
        }
        // The master takes whole ones.
        let whole = self.address.as_ref().and_then(Beginning::whole);
        if let Some(address) = whole {
            query.append_pair("address", address);
        }
        let beginning = self.address.as_ref().filter(|_| whole.is_none());
        if let Some(since) = self.since {
            query.append_pair("since", &since.to_string());
        }
        let mut lines = client
            .lines(&Method::GET, &query.finish())
            .await
            .map_err(|refusal| refused(refusal, reporter))?;
        let json = reporter.options().format == Format::Json;
        let mut silent = true;
        loop {
            let next = match silent && self.follow && !json {
                true => timeout(SOON, lines.next()).await,
                false => Ok(lines.next().await),
            };
            let Ok(next) = next else {
                silent = false;
                reporter.info("no line yet: they are shown as they come");
                continue;
            };
            let Some(lines) = next else { break };
            let mut out = String::new();
            for line in lines {
                let Ok(event) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                let address = event["address"].as_str();
                if beginning.is_some_and(|begins| address.is_some_and(|it| !begins.is_of(it))) {
                    continue;
                }
                silent = false;
                if json {
                    out.push_str(&line);
                    out.push('\n');
                } else {
                    show(&event, &mut out, reporter);
                }
            }
            let mut to = io::stdout().lock();
            match to.write_all(out.as_bytes()).and_then(|()| to.flush()) {
                Ok(()) => {}
                // Whoever reads it has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => {
                    reporter.error(format!("cannot write to stdout: {error}"));
                    return Err(Exit::Failed);
                }
            }
        }
        if self.follow {
            reporter.info("the master has ended");
        } else if silent && !json {
            reporter.info(self.nothing());
        }
        Ok(())
    }

    /// What is said where no line was.
    fn nothing(&self) -> &'static str {
        let all = self.function.is_none() && self.address.is_none() && self.since.is_none();
        match all {
            true => "no function has written a line; `embly logs -f` shows those that come",
            false => "no line that is kept is one of those; `embly logs` shows all that are kept",
        }
    }
}

/// A line for people.
fn show(event: &Value, out: &mut String, reporter: &Reporter) {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    if text("event") == "lost" {
        let lines = &event["lines"];
        reporter.warn(format!(
            "{lines} lines were lost: they are not read fast enough"
        ));
        return;
    }
    let (function, address) = (text("function"), text("address"));
    let time = match output::is_looked_at(reporter) {
        true => shown::clock(text("time")),
        false => text("time").to_owned(),
    };
    let line = escape(text("line"));
    let level: Option<Level> = serde_json::from_value(event["level"].clone()).ok();
    let word = level.and_then(word).map(|word| format!("{word} "));
    let word = word.unwrap_or_default();
    out.push_str(&format!("{time} {function} {address} | {word}{line}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_so_long_ago() {
        let time = parse_since("2026-11-29T20:00:00Z").unwrap();
        assert_eq!(time.to_string(), "2026-11-29T20:00:00Z");
        for (text, seconds) in [("30s", 30), ("10m", 600), ("2h30m", 9_000), ("1d", 86_400)] {
            let since = parse_since(text).unwrap();
            let ago = Timestamp::now().duration_since(since);
            assert!((seconds..seconds + 20).contains(&ago.as_secs()), "{text}");
        }
        for wrong in ["", "yesterday", "-5m", "10"] {
            assert!(parse_since(wrong).is_err(), "{wrong}");
        }
    }
}
