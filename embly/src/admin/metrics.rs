//! Metrics in the text format of Prometheus, version 0.0.4: what there is, and what it says now.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use protos::Reason;

use crate::switchboard::Switchboard;
use crate::telemetry::{BOUNDS, Function, Histogram};

/// The type of the text.
pub const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric. Its labels stand in the order in which they are written.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub about: &'static str,
}

macro_rules! metrics {
    ($($name:ident = $text:literal, $kind:ident, [$($label:literal),*], $about:literal;)+) => {
        $(const $name: Metric = Metric {
            name: $text,
            kind: Kind::$kind,
            labels: &[$($label),*],
            about: $about,
        };)+

        /// All of them, in the order in which they are shown.
        #[cfg(test)]
        const METRICS: &[Metric] = &[$($name),+];
    };
}

metrics! {
    BUILD_INFO = "embly_build_info", Gauge, ["version"], "Always 1; the version of Embly.";
    START_TIME = "embly_start_time_seconds", Gauge, [], "When the master was started, in seconds since 1970.";
    HTTP_REQUESTS = "embly_http_requests_total", Counter, ["gateway", "status"], "Requests that were answered, or whose client left, by the class of the status.";
    HTTP_DURATION = "embly_http_request_duration_seconds", Histogram, ["gateway"], "From the head of a request to the end of its response.";
    HTTP_BYTES = "embly_http_response_bytes_total", Counter, ["gateway"], "Bytes of bodies of responses.";
    INVOCATIONS = "embly_invocations_total", Counter, ["function", "reason"], "Invocations that have ended, by reason.";
    REFUSED = "embly_invocations_refused_total", Counter, ["function", "reason"], "Requests and spawns of a function that came to no invocation, by reason.";
    LIMITS = "embly_limits_hit_total", Counter, ["function", "limit"], "Limits that ended an invocation, or for which there was none: `memory`, `cpu`, `time` (`wall`, `total`, `background`), `idle`, `log`, `body`, and `room` (`queue`, `concurrency`, and that of the machine).";
    QUEUE = "embly_invocation_queue_seconds", Histogram, ["function"], "Time in the queue before an invocation was started.";
    START = "embly_invocation_start_seconds", Histogram, ["function"], "Time until an invocation had a process.";
    RUN = "embly_invocation_run_seconds", Histogram, ["function"], "Time from there to its end.";
    CPU = "embly_invocation_cpu_seconds_total", Counter, ["function"], "CPU time of invocations that have ended.";
    RECEIVED = "embly_invocation_received_bytes_total", Counter, ["function"], "Payload to invocations that have ended, on all their streams.";
    SENT = "embly_invocation_sent_bytes_total", Counter, ["function"], "Payload from invocations that have ended, on all their streams.";
    MESSAGES_REFUSED = "embly_messages_refused_total", Counter, ["function"], "What invocations of a function asked for and did not get: to start others, to reach them.";
    LIVE = "embly_processes_live", Gauge, ["function"], "Invocations that run.";
    PARKED = "embly_processes_parked", Gauge, ["function"], "Processes that wait for a request.";
    WAITING = "embly_requests_waiting", Gauge, ["function"], "Requests that wait for room.";
    FORK_SERVERS = "embly_fork_servers", Gauge, [], "Fork servers that run.";
    FORKS = "embly_forks_total", Counter, ["function"], "Processes that were forked.";
    SERVICE_CALLS = "embly_service_calls_total", Counter, ["service", "reason"], "Calls of services that have ended, by reason; `parent_ended` where the caller has ended with its call open, as callers usually do.";
    SERVICE_DURATION = "embly_service_call_duration_seconds", Histogram, ["service"], "From a call of a service to its end.";
    LOG_DROPPED = "embly_log_lines_dropped_total", Counter, ["function"], "Lines of logs that were dropped at the limit `log`.";
    SINK_DROPPED = "embly_log_sink_lines_dropped_total", Counter, ["sink"], "Lines that a log of the project file (`logs`) had no room for, since it is too slow or cannot be written.";
    REPORT_DROPPED = "embly_report_lines_dropped_total", Counter, [], "Lines of the output that were dropped, since whoever reads it is too slow.";
}

/// The text, as it is now.
pub fn text(switchboard: &Switchboard, since: Timestamp) -> String {
    let mut out = Text::default();
    let telemetry = switchboard.reporter().telemetry();
    out.begin(&BUILD_INFO);
    out.sample(&[env!("CARGO_PKG_VERSION")], 1);
    out.begin(&START_TIME);
    out.sample(&[], micros(since.as_microsecond().unsigned_abs()));

    let gateways = telemetry.gateways();
    out.begin(&HTTP_REQUESTS);
    for (name, gateway) in &gateways {
        for (class, count) in gateway.classes() {
            out.sample(&[name, class], count);
        }
    }
    out.begin(&HTTP_DURATION);
    for (name, gateway) in &gateways {
        out.histogram(name, &gateway.total);
    }
    out.begin(&HTTP_BYTES);
    for (name, gateway) in &gateways {
        out.sample(&[name], gateway.bytes.get());
    }

    functions(&mut out, &telemetry.functions(), switchboard);

    let services = telemetry.services();
    out.begin(&SERVICE_CALLS);
    for (name, service) in &services {
        for (reason, count) in service.ended.iter() {
            out.sample(&[name, reason.name()], count);
        }
    }
    out.begin(&SERVICE_DURATION);
    for (name, service) in &services {
        out.histogram(name, &service.run);
    }
    out.begin(&SINK_DROPPED);
    for (name, dropped) in &telemetry.logs() {
        out.sample(&[name], dropped.get());
    }
    out.begin(&REPORT_DROPPED);
    out.sample(&[], telemetry.lines_dropped.get());
    out.text
}

type Functions = [(Arc<str>, Arc<Function>)];

fn functions(out: &mut Text, functions: &Functions, switchboard: &Switchboard) {
    out.begin(&INVOCATIONS);
    for (name, function) in functions {
        for (reason, count) in function.ended.iter() {
            out.sample(&[name, reason.name()], count);
        }
    }
    out.begin(&REFUSED);
    for (name, function) in functions {
        for (reason, count) in function.turned_away.iter() {
            out.sample(&[name, reason.name()], count);
        }
    }
    out.begin(&LIMITS);
    for (name, function) in functions {
        let mut hit: BTreeMap<&str, u64> = BTreeMap::new();
        for (reason, count) in function.ended.iter().chain(function.turned_away.iter()) {
            if let Some(limit) = limit(reason) {
                *hit.entry(limit).or_default() += count;
            }
        }
        for (limit, count) in hit {
            out.sample(&[name, limit], count);
        }
    }
    type Of<T> = fn(&Function) -> &T;
    let histograms: [(_, Of<Histogram>); 3] = [
        (&QUEUE, |it| &it.queue),
        (&START, |it| &it.start),
        (&RUN, |it| &it.run),
    ];
    for (metric, of) in histograms {
        out.begin(metric);
        for (name, function) in functions {
            out.histogram(name, of(function));
        }
    }
    out.begin(&CPU);
    for (name, function) in functions {
        out.sample(&[name], micros(function.cpu.get()));
    }
    type Number = fn(&Function) -> u64;
    let counters: [(_, Number); 5] = [
        (&RECEIVED, |it| it.bytes_in.get()),
        (&SENT, |it| it.bytes_out.get()),
        (&MESSAGES_REFUSED, |it| it.refused.get()),
        (&FORKS, |it| it.forks.get()),
        (&LOG_DROPPED, |it| it.log_dropped.get()),
    ];
    for (metric, of) in counters {
        out.begin(metric);
        for (name, function) in functions {
            out.sample(&[name], of(function));
        }
    }
    now(out, functions, switchboard);
}

/// What is there now.
fn now(out: &mut Text, functions: &Functions, switchboard: &Switchboard) {
    let live: HashMap<Arc<str>, usize> = switchboard.live();
    out.begin(&LIVE);
    for (name, _) in functions {
        out.sample(&[name], live.get(name).copied().unwrap_or_default());
    }
    let current = functions.iter();
    let current: Vec<_> = current
        .filter_map(|(name, _)| switchboard.functions().get(name))
        .collect();
    out.begin(&PARKED);
    for function in &current {
        out.sample(&[&function.name], function.parked());
    }
    out.begin(&WAITING);
    for function in &current {
        out.sample(&[&function.name], function.waiting());
    }
    let (fork_servers, _) = switchboard.processes().reaper.processes();
    out.begin(&FORK_SERVERS);
    out.sample(&[], fork_servers);
}

/// The limit behind an ending.
const fn limit(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::Memory => Some("memory"),
        Reason::Cpu => Some("cpu"),
        Reason::Wall => Some("time"),
        Reason::Idle => Some("idle"),
        Reason::Flood => Some("log"),
        Reason::TooLarge => Some("body"),
        Reason::Overloaded | Reason::Refused => Some("room"),
        Reason::Ok
        | Reason::Exit
        | Reason::Trap
        | Reason::Violation
        | Reason::Killed
        | Reason::Lost
        | Reason::NoResponse
        | Reason::BadResponse
        | Reason::Backoff
        | Reason::Starting
        | Reason::ClientGone
        | Reason::ParentEnded
        | Reason::Shutdown
        | Reason::Replaced => None,
    }
}

/// Microseconds as seconds.
fn micros(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// The text as far as it is written.
#[derive(Default)]
struct Text {
    text: String,
    name: &'static str,
    labels: &'static [&'static str],
}

impl Text {
    /// The samples of this metric follow.
    fn begin(&mut self, metric: &Metric) {
        let Metric {
            name,
            kind,
            labels,
            about,
        } = metric;
        (self.name, self.labels) = (name, labels);
        let kind = kind.name();
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(self.text, "# HELP {name} {about}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, values: &[&str], value: impl std::fmt::Display) {
        let labels = self.labels.iter().zip(values);
        let labels: Vec<(&str, &str)> = labels.map(|(name, value)| (*name, *value)).collect();
        self.line("", &labels, value);
    }

    fn histogram(&mut self, value: &str, histogram: &Histogram) {
        let reading = histogram.read();
        let label = (self.labels.first().copied().unwrap_or_default(), value);
        for ((_, bound), count) in BOUNDS.iter().zip(reading.at_most) {
            self.line("_bucket", &[label, ("le", bound)], count);
        }
        self.line("_bucket", &[label, ("le", "+Inf")], reading.count);
        self.line("_sum", &[label], micros(reading.sum));
        self.line("_count", &[label], reading.count);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut before = '{';
        for (name, value) in labels {
            self.text.push(before);
            before = ',';
            self.text.push_str(name);
            self.text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_lists_every_metric_and_no_other() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/admin.md");
        let reference = std::fs::read_to_string(path).unwrap();
        let rows = reference
            .lines()
            .filter(|line| line.starts_with("| `embly_"));
        let rows: Vec<&str> = rows.collect();
        let expected = METRICS.iter().map(|metric| {
            let labels = metric.labels.iter().map(|label| format!("`{label}`"));
            let labels = labels.collect::<Vec<_>>().join(", ");
            let Metric {
                name, kind, about, ..
            } = metric;
            format!("| `{name}` | {} | {labels} | {about} |", kind.name())
        });
        let expected: Vec<String> = expected.collect();
        assert_eq!(rows, expected, "{}", expected.join("\n"));
    }

    #[test]
    fn names_follow_the_conventions() {
        for metric in METRICS {
            let name = metric.name;
            assert!(name.starts_with("embly_"), "{name}");
            assert_eq!(
                name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{name}"
            );
            assert!(
                metric.kind != Kind::Histogram || name.ends_with("_seconds"),
                "{name}"
            );
            let once = METRICS.iter().filter(|other| other.name == name).count();
            assert_eq!(once, 1, "{name}");
        }
    }

    #[test]
    fn what_labels_say_cannot_end_them() {
        let mut text = Text::default();
        text.begin(&BUILD_INFO);
        text.sample(&["a\"b\\c\nd"], 1);
        let line = text.text.lines().last().unwrap();
        assert_eq!(line, r#"embly_build_info{version="a\"b\\c\nd"} 1"#);
    }
}
