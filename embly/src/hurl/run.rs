//! Sends the requests of a file, one after the other, until one is not answered as expected.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::Url;

use super::Wrong;
use super::client::{self, Answer, Asks};
use super::look::{self, Found};
use super::script::{Body, Entry, Expected, Pair, Request, Script};
use super::template::Variables;

/// Bytes of a body that a message shows.
const SHOWN: usize = 500;

/// What came of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Requests that were answered as expected.
    pub requests: usize,
    /// Requests that it has, without those that are skipped.
    pub of: usize,
    /// What was not as expected, of one request; the rest was not tried.
    pub wrong: Vec<Wrong>,
    /// How long it took.
    pub took: Duration,
}

/// Runs a file with these variables. Files that it names are below `folder`.
pub async fn run(script: &Script, variables: BTreeMap<String, Value>, folder: &Path) -> Ran {
    let began = Instant::now();
    let mut runner = Runner {
        variables,
        cookies: Vec::new(),
        folder,
    };
    let (mut requests, mut wrong) = (0, Vec::new());
    let entries = || script.entries.iter().filter(|entry| !entry.options.skip);
    for entry in entries() {
        wrong = runner.entry(entry).await;
        if !wrong.is_empty() {
            break;
        }
        requests += 1;
    }
    Ran {
        requests,
        of: entries().count(),
        wrong,
        took: began.elapsed(),
    }
}

struct Runner<'f> {
    variables: Variables,
    cookies: Vec<Cookie>,
    folder: &'f Path,
}

/// A cookie that was set, for whoever has set it.
struct Cookie {
    host: String,
    path: String,
    name: String,
    value: String,
}

impl Runner<'_> {
    async fn entry(&mut self, entry: &Entry) -> Vec<Wrong> {
        let options = &entry.options;
        for (name, value) in &options.variables {
            match value.fill(&self.variables) {
                Ok(value) => drop(self.variables.insert(name.clone(), value.into())),
                Err(wrong) => return vec![wrong],
            }
        }
        tokio::time::sleep(options.delay).await;
        let mut left = options.retry;
        loop {
            let wrong = self.once(entry).await;
            if wrong.is_empty() || left == 0 {
                return wrong;
            }
            left -= 1;
            tokio::time::sleep(options.retry_interval).await;
        }
    }

    async fn once(&mut self, entry: &Entry) -> Vec<Wrong> {
        let asks = match self.asks(entry.at, &entry.request) {
            Ok(asks) => asks,
            Err(wrong) => return vec![wrong],
        };
        let url = asks.url.clone();
        let answer = match client::send(asks).await {
            Ok(answer) => answer,
            Err(message) => return vec![Wrong::new(entry.at, message)],
        };
        self.keep(&url, &answer.headers);
        match &entry.expected {
            Some(expected) => self.compare(expected, &answer),
            None => Vec::new(),
        }
    }

    fn asks(&self, at: usize, request: &Request) -> Result<Asks, Wrong> {
        let text = request.url.fill(&self.variables)?;
        let mut url = Url::parse(&text)
            .map_err(|error| Wrong::new(at, format!("`{text}` is no URL: {error}")))?;
        if !request.query.is_empty() {
            let pairs = self.pairs(&request.query)?;
            let encoded = encoded(&pairs);
            let query = match url.query() {
                Some(query) if !query.is_empty() => format!("{query}&{encoded}"),
                _ => encoded,
            };
            url.set_query(Some(&query));
        }
        let mut headers = self.pairs(&request.headers)?;
        let mut usual = |name: &str, value: String| {
            if !headers
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(name))
            {
                headers.push((name.to_owned(), value));
            }
        };
        let mut body = Vec::new();
        if !request.form.is_empty() {
            body = encoded(&self.pairs(&request.form)?).into_bytes();
            usual(
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            );
        }
        if let Some(asked) = &request.body {
            match asked {
                Body::Json(_) => usual("content-type", "application/json".to_owned()),
                Body::Xml(_) => usual("content-type", "application/xml".to_owned()),
                Body::Text(_) | Body::Bytes(_) | Body::File(_) => {}
            }
            body = self.body(at, asked)?;
        }
        if let Some(Pair { name, value, .. }) = &request.basic_auth {
            let name = name.fill(&self.variables)?;
            let value = value.fill(&self.variables)?;
            let word = STANDARD.encode(format!("{name}:{value}"));
            usual("authorization", format!("Basic {word}"));
        }
        let mut cookies: Vec<(String, String)> = Vec::new();
        let host = url.host_str().unwrap_or_default();
        for cookie in &self.cookies {
            if cookie.host == host && url.path().starts_with(&cookie.path) {
                cookies.push((cookie.name.clone(), cookie.value.clone()));
            }
        }
        for (name, value) in self.pairs(&request.cookies)? {
            cookies.retain(|(other, _)| *other != name);
            cookies.push((name, value));
        }
        if !cookies.is_empty() {
            let cookies = cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            usual("cookie", cookies.collect::<Vec<_>>().join("; "));
        }
        Ok(Asks {
            method: request.method.clone(),
            url,
            headers,
            body,
        })
    }

    fn pairs(&self, pairs: &[Pair]) -> Result<Vec<(String, String)>, Wrong> {
        let fill = |pair: &Pair| {
            let name = pair.name.fill(&self.variables)?;
            Ok((name, pair.value.fill(&self.variables)?))
        };
        pairs.iter().map(fill).collect()
    }

    fn body(&self, at: usize, body: &Body) -> Result<Vec<u8>, Wrong> {
        match body {
            Body::Text(text) | Body::Xml(text) => Ok(text.fill(&self.variables)?.into_bytes()),
            Body::Json(json) => Ok(json.fill_json(&self.variables)?.into_bytes()),
            Body::Bytes(bytes) => Ok(bytes.clone()),
            Body::File(name) => {
                let name = name.fill(&self.variables)?;
                let name = Path::new(name.trim());
                let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
                if !name.components().all(inside) {
                    let message =
                        format!("`{}` is not below the folder of the tests", name.display());
                    return Err(Wrong::new(at, message));
                }
                let path = self.folder.join(name);
                std::fs::read(&path).map_err(|error| {
                    Wrong::new(at, format!("cannot read `{}`: {error}", path.display()))
                })
            }
        }
    }

    /// Remembers cookies for later requests of the file.
    fn keep(&mut self, url: &Url, headers: &HeaderMap) {
        for header in headers.get_all("set-cookie") {
            let Ok(header) = header.to_str() else {
                continue;
            };
            let mut parts = header.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            let mut cookie = Cookie {
                host: url.host_str().unwrap_or_default().to_owned(),
                path: "/".to_owned(),
                name: name.trim().to_owned(),
                value: value.trim().to_owned(),
            };
            let mut gone = false;
            for part in parts {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                match key.to_ascii_lowercase().as_str() {
                    "path" if value.starts_with('/') => cookie.path = value.to_owned(),
                    "max-age" => gone = value.parse().is_ok_and(|age: i64| age <= 0),
                    "expires" => gone |= is_past(value),
                    _ => {}
                }
            }
            self.cookies.retain(|other| {
                (&other.host, &other.path, &other.name)
                    != (&cookie.host, &cookie.path, &cookie.name)
            });
            if !gone {
                self.cookies.push(cookie);
            }
        }
    }

    /// What is not as expected. Captured values are variables from then on.
    fn compare(&mut self, expected: &Expected, answer: &Answer) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if let Some((at, status)) = expected.status
            && status != answer.status
        {
            let body = String::from_utf8_lossy(&answer.body);
            let body = shown(&body);
            let message = format!("the status is {}, expected: {status}{body}", answer.status);
            wrong.push(Wrong::new(at, message));
        }
        if let Some((at, version)) = expected.version
            && version != answer.version
        {
            let message = format!("the version is {}, expected: {version}", answer.version);
            wrong.push(Wrong::new(at, message));
        }
        // What follows would only say the same in other words.
        if !wrong.is_empty() {
            return wrong;
        }
        for capture in &expected.captures {
            match look::look(&capture.looked, capture.at, answer, &self.variables) {
                Ok(Some(Found::Json(value))) => {
                    drop(self.variables.insert(capture.name.clone(), value))
                }
                Ok(Some(Found::Bytes(_))) => {
                    wrong.push(Wrong::new(capture.at, "bytes cannot be captured"));
                }
                Ok(None) => {
                    let message = format!("there is nothing for `{}`", capture.name);
                    wrong.push(Wrong::new(capture.at, message));
                }
                Err(other) => wrong.push(other),
            }
        }
        for pair in &expected.headers {
            wrong.extend(self.header(pair, answer).err());
        }
        for assert in &expected.asserts {
            wrong.extend(look::check(assert, answer, &self.variables).err());
        }
        if let Some((at, body)) = &expected.body {
            match self.body(*at, body) {
                Ok(body) if body == *answer.body => {}
                Ok(body) => {
                    let is = shown(&String::from_utf8_lossy(&answer.body));
                    let should = shown(&String::from_utf8_lossy(&body));
                    let message = format!("the body is{is}\nexpected:{should}");
                    wrong.push(Wrong::new(*at, message));
                }
                Err(other) => wrong.push(other),
            }
        }
        wrong
    }

    /// One of the headers of this name has this value.
    fn header(&self, pair: &Pair, answer: &Answer) -> Result<(), Wrong> {
        let name = pair.name.fill(&self.variables)?;
        let value = pair.value.fill(&self.variables)?;
        let values = answer.headers.get_all(name.as_str()).iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        if values.iter().any(|other| *other == value) {
            return Ok(());
        }
        let is = match values.as_slice() {
            [] => "is not there".to_owned(),
            values => format!("is `{}`", values.join("`, `")),
        };
        let message = format!("the header `{name}` {is}; expected: `{value}`");
        Err(Wrong::new(pair.at, message))
    }
}

/// A body below a message.
fn shown(body: &str) -> String {
    let body = body.trim_end();
    let end = body.floor_char_boundary(SHOWN.min(body.len()));
    let more = if end < body.len() { "…" } else { "" };
    match body.is_empty() {
        true => " (nothing)".to_owned(),
        false => format!("\n{}{more}", &body[..end]),
    }
}

/// As a form: `a=b&c=d`.
fn encoded(pairs: &[(String, String)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = pairs.iter();
    let pairs = pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Whether a time of HTTP has passed.
fn is_past(text: &str) -> bool {
    let time = jiff::fmt::rfc2822::parse(text);
    time.is_ok_and(|time| time.timestamp() <= jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_json_stays_inside_of_its_quotes() {
        let script =
            super::super::parse("POST http://x/\n{\"a\": \"{{v}}\", \"b\": {{n}}}\n").unwrap();
        let Some(Body::Json(json)) = &script.entries[0].request.body else {
            panic!("{script:?}");
        };
        let variables = BTreeMap::from([
            ("v".to_owned(), Value::from("\"x\"\n")),
            ("n".to_owned(), Value::from(5)),
        ]);
        let json: Value = serde_json::from_str(&json.fill_json(&variables).unwrap()).unwrap();
        assert_eq!(json, serde_json::json!({"a": "\"x\"\n", "b": 5}));
    }

    #[test]
    fn times_that_have_passed_are_known() {
        assert!(is_past("Thu, 01 Jan 1970 00:00:00 GMT"));
        assert!(!is_past("Thu, 01 Jan 2970 00:00:00 GMT"));
        assert!(!is_past("soon"));
    }
}
