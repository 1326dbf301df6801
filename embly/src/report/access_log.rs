//! Access lines for files: as Apache and nginx write them, or as JSON.

use std::borrow::Cow;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::{Access, Lines};
use crate::secrets::Masks;

/// How the lines of a file look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFormat {
    /// That of Apache and nginx, with fields of our own behind it.
    Combined,
    /// One JSON object each.
    Json,
}

/// Where the lines of a gateway go, and how they look.
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// Where.
    pub lines: Lines,
    /// How.
    pub format: LineFormat,
}

/// What a line of a file has beside what the event has.
#[derive(Debug, Clone)]
pub struct Visit<'a> {
    /// When the request came.
    pub time: SystemTime,
    /// The client's address, or `unix`.
    pub host: &'a str,
    /// Who that is, as far as it had to say.
    pub user: Option<&'a str>,
    /// The header.
    pub referer: Option<&'a [u8]>,
    /// The header.
    pub user_agent: Option<&'a [u8]>,
}

impl AccessLog {
    /// Writes the line of a request.
    pub fn write(&self, access: &Access<'_>, visit: &Visit<'_>, masks: &Masks) {
        self.lines.append(match self.format {
            LineFormat::Combined => combined(access, visit, masks),
            LineFormat::Json => json(access, visit, masks),
        });
    }
}

/// `%h - %u [%t] "%r" %>s %b "%{Referer}i" "%{User-agent}i"`, and then `key=value`.
fn combined(access: &Access<'_>, visit: &Visit<'_>, masks: &Masks) -> String {
    let mut line = String::with_capacity(512);
    line.push_str(visit.host);
    line.push_str(" - ");
    match visit.user {
        Some(user) => escape(&mut line, &shown(user.as_bytes(), masks), true),
        None => line.push('-'),
    }
    let time = time(visit).to_zoned(TimeZone::system());
    line.push_str(&time.strftime(" [%d/%b/%Y:%H:%M:%S %z] \"").to_string());
    escape(&mut line, access.method.as_bytes(), false);
    line.push(' ');
    escape(&mut line, &shown(access.path.as_bytes(), masks), false);
    line.push(' ');
    line.push_str(access.version);
    let bytes = match access.bytes {
        0 => "-".to_owned(),
        bytes => bytes.to_string(),
    };
    line.push_str(&format!("\" {} {bytes}", access.status));
    for header in [visit.referer, visit.user_agent] {
        line.push_str(" \"");
        match header {
            Some(value) => escape(&mut line, &shown(value, masks), false),
            None => line.push('-'),
        }
        line.push('"');
    }
    let used = access.used;
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    for (key, value) in [
        ("gateway", Some(access.gateway.to_owned())),
        ("request_id", Some(access.request_id.to_owned())),
        ("function", Some(access.function.to_owned())),
        ("address", access.address.map(|address| address.to_string())),
        ("reason", access.reason.map(|reason| reason.to_string())),
        ("queue_us", number(used.map(|used| used.queue_us))),
        ("start_us", number(used.map(|used| used.start_us))),
        ("run_us", number(used.map(|used| used.run_us))),
        ("total_us", number(Some(access.total_us))),
        ("bytes_in", number(Some(access.bytes_in))),
        ("cpu_us", number(used.map(|used| used.cpu_us))),
        ("memory_bytes", number(used.map(|used| used.memory_bytes))),
    ] {
        line.push(' ');
        line.push_str(key);
        line.push('=');
        let value = value.as_deref().unwrap_or("-");
        escape(&mut line, value.as_bytes(), true);
    }
    line
}

#[derive(Serialize)]
struct Json<'a> {
    time: String,
    #[serde(flatten)]
    access: &'a Access<'a>,
    user: Option<Cow<'a, str>>,
    referer: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
}

fn json(access: &Access<'_>, visit: &Visit<'_>, masks: &Masks) -> String {
    let path = masks.mask(access.path);
    let access = Access {
        path: &path,
        ..access.clone()
    };
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let masked = |text: String| Cow::from(masks.mask(&text).into_owned());
    let line = Json {
        time: format!("{:.3}", time(visit)),
        access: &access,
        user: visit.user.map(|user| masked(user.to_owned())),
        referer: visit.referer.map(text).map(masked),
        user_agent: visit.user_agent.map(text).map(masked),
    };
    // Texts and numbers only.
    serde_json::to_string(&line).unwrap_or_default()
}

/// The time before 1970 that a clock may show is none.
fn time(visit: &Visit<'_>) -> Timestamp {
    Timestamp::try_from(visit.time).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Without secrets.
fn shown<'t>(bytes: &'t [u8], masks: &Masks) -> Cow<'t, [u8]> {
    let text = String::from_utf8_lossy(bytes);
    match masks.mask(&text) {
        Cow::Owned(masked) => masked.into_bytes().into(),
        Cow::Borrowed(_) => bytes.into(),
    }
}

/// As Apache does it, so that nothing that a client says ends a field or a line. In fields without
/// quotes that goes for spaces, too.
fn escape(line: &mut String, bytes: &[u8], bare: bool) {
    for byte in bytes {
        match byte {
            b'"' => line.push_str("\\\""),
            b'\\' => line.push_str("\\\\"),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x08 => line.push_str("\\b"),
            0x0b => line.push_str("\\v"),
            b' ' if bare => line.push_str("\\x20"),
            b' '..=b'~' => line.push(char::from(*byte)),
            _ => line.push_str(&format!("\\x{byte:02x}")),
        }
    }
    if bare && bytes.is_empty() {
        line.push_str("\"\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access<'static> {
        Access {
            gateway: "web",
            client: "192.0.2.1:5000".to_owned(),
            method: "GET",
            path: "/a?b=\"",
            version: "HTTP/1.1",
            status: 200,
            bytes: 0,
            bytes_in: 7,
            total_us: 12,
            function: "-",
            address: None,
            request_id: "id",
            reason: None,
            used: None,
        }
    }

    #[test]
    fn nothing_that_a_client_says_ends_a_field_or_a_line() {
        let visit = Visit {
            time: SystemTime::now(),
            host: "192.0.2.1",
            user: Some("a b\" [x"),
            referer: Some(b"x\" 200 1 \"\n127.0.0.1 \\"),
            user_agent: Some(b"\xff\x1b[2J\r"),
        };
        let line = combined(&access(), &visit, &Masks::default());
        let (begin, rest) = line.split_once(" [").unwrap();
        assert_eq!(begin, "192.0.2.1 - a\\x20b\\\"\\x20[x");
        let (_, rest) = rest.split_once("] ").unwrap();
        assert_eq!(
            rest,
            "\"GET /a?b=\\\" HTTP/1.1\" 200 - \"x\\\" 200 1 \\\"\\n127.0.0.1 \\\\\" \
             \"\\xff\\x1b[2J\\r\" gateway=web request_id=id function=- address=- reason=- \
             queue_us=- start_us=- run_us=- total_us=12 bytes_in=7 cpu_us=- memory_bytes=-"
        );
        let line = json(&access(), &visit, &Masks::default());
        assert!(!line.contains('\n'));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["user"], "a b\" [x");
        assert_eq!(line["referer"], "x\" 200 1 \"\n127.0.0.1 \\");
        assert_eq!(line["cpu_us"], serde_json::Value::Null);
        let time = line["time"].as_str().unwrap();
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
    }
}
