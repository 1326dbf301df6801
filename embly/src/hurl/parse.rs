//! From the text of a file to its requests.

use std::time::Duration;

use super::check;
use super::cursor::Cursor;
use super::script::{Assert, Body, Capture, Entry, Expected, Options, Pair, Request, Script};
use super::{Wrong, template::Template};

/// How long it is waited before a request is sent again, where the file does not say.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Reads a file.
///
/// # Errors
/// The first thing that is wrong, or that is of a part of Hurl that is not supported.
pub fn parse(text: &str) -> Result<Script, Wrong> {
    let text_without_mark = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut cursor = Cursor {
        text,
        at: text.len() - text_without_mark.len(),
    };
    let mut entries = Vec::new();
    loop {
        cursor.blank_lines();
        if cursor.rest().is_empty() {
            return Ok(Script { entries });
        }
        entries.push(entry(&mut cursor)?);
    }
}

/// What a line begins with.
#[derive(Debug, PartialEq, Eq)]
enum Begins<'t> {
    End,
    Method,
    Response,
    Section(&'t str),
    Header,
    Body,
}

fn begins<'t>(cursor: &Cursor<'t>) -> Begins<'t> {
    let line = cursor.rest().lines().next().unwrap_or_default();
    let first = line.split([' ', '\t']).next().unwrap_or_default();
    let capitals = !first.is_empty() && first.chars().all(|c| c.is_ascii_uppercase());
    let section = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    if let Some((name, _)) = section
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphabetic())
    {
        return Begins::Section(name);
    }
    let body = ["{", "[", "\"", "`", "<", "hex,", "base64,", "file,"];
    match line.chars().next() {
        None => Begins::End,
        _ if first == "HTTP" || first.starts_with("HTTP/") => Begins::Response,
        _ if capitals => Begins::Method,
        _ if body.iter().any(|body| line.starts_with(body)) && !line.starts_with("{{") => {
            Begins::Body
        }
        _ if matches!(first, "true" | "false" | "null") => Begins::Body,
        Some(_) => Begins::Header,
    }
}

fn entry(cursor: &mut Cursor<'_>) -> Result<Entry, Wrong> {
    let at = cursor.at;
    let method = cursor.take(|letter| letter.is_ascii_uppercase()).to_owned();
    if method.is_empty()
        || begins(&Cursor {
            at,
            ..cursor.clone()
        }) != Begins::Method
    {
        return Err(Wrong::new(
            at,
            "a request is expected: `GET {{gateway}}/path`",
        ));
    }
    cursor.spaces();
    let url = url(cursor)?;
    cursor.end_of_line()?;
    let mut request = Request {
        method,
        url,
        headers: pairs(cursor)?,
        query: Vec::new(),
        form: Vec::new(),
        cookies: Vec::new(),
        basic_auth: None,
        body: None,
    };
    let mut options = Options {
        retry_interval: RETRY_INTERVAL,
        ..Options::default()
    };
    while let Begins::Section(name) = begins(cursor) {
        let at = cursor.at;
        section(cursor)?;
        match name {
            "Query" | "QueryStringParams" => request.query = pairs(cursor)?,
            "Form" | "FormParams" => request.form = pairs(cursor)?,
            "Cookies" => request.cookies = pairs(cursor)?,
            "BasicAuth" => request.basic_auth = pairs(cursor)?.into_iter().next(),
            "Options" => read_options(cursor, &mut options)?,
            _ => {
                return Err(unknown(
                    at,
                    name,
                    "Query, Form, Cookies, BasicAuth, Options",
                ));
            }
        }
    }
    if begins(cursor) == Begins::Body {
        request.body = Some(body(cursor)?);
        cursor.blank_lines();
    }
    let expected = match begins(cursor) {
        Begins::Response => Some(expected(cursor)?),
        _ => None,
    };
    match begins(cursor) {
        Begins::End | Begins::Method => Ok(Entry {
            at,
            request,
            options,
            expected,
        }),
        _ => cursor.wrong("a request is expected here, or the end; a body has one value"),
    }
}

fn unknown(at: usize, name: &str, known: &str) -> Wrong {
    Wrong::new(
        at,
        format!("the section `[{name}]` is not supported here: only {known}"),
    )
}

/// Up to a space.
fn url(cursor: &mut Cursor<'_>) -> Result<Template, Wrong> {
    let url = cursor.words(char::is_whitespace)?;
    match url.0.is_empty() {
        true => cursor.wrong("a URL is expected: `{{gateway}}/path`"),
        false => Ok(url),
    }
}

fn section(cursor: &mut Cursor<'_>) -> Result<(), Wrong> {
    cursor.take(|letter| letter != ']');
    cursor.eat("]");
    cursor.end_of_line()?;
    cursor.blank_lines();
    Ok(())
}

/// Lines of `name: value`, up to something else.
fn pairs(cursor: &mut Cursor<'_>) -> Result<Vec<Pair>, Wrong> {
    let mut pairs = Vec::new();
    loop {
        cursor.blank_lines();
        if begins(cursor) != Begins::Header {
            return Ok(pairs);
        }
        let (at, name) = name(cursor)?;
        let value = cursor.words(|_| false)?;
        cursor.end_of_line()?;
        pairs.push(Pair { at, name, value });
    }
}

/// A name, its colon, and the spaces after it.
fn name(cursor: &mut Cursor<'_>) -> Result<(usize, Template), Wrong> {
    let at = cursor.at;
    let usual = |letter: char| letter.is_alphanumeric() || "_-.[]@$\\{".contains(letter);
    let name = cursor.words(|letter| !usual(letter))?;
    if name.0.is_empty() || !cursor.eat(":") {
        return Err(Wrong::new(at, "`name: value` is expected here"));
    }
    cursor.spaces();
    Ok((at, name))
}

fn read_options(cursor: &mut Cursor<'_>, options: &mut Options) -> Result<(), Wrong> {
    for Pair { at, name, value } in pairs(cursor)? {
        let name = name.literal().unwrap_or_default();
        let plain = value.literal();
        let known = match (name, plain) {
            ("delay", Some(value)) => time(value).map(|time| options.delay = time),
            ("retry-interval", Some(value)) => {
                time(value).map(|time| options.retry_interval = time)
            }
            ("retry", Some(value)) => value.parse().ok().map(|retry| options.retry = retry),
            ("skip", Some(value)) => value.parse().ok().map(|skip| options.skip = skip),
            ("variable", _) => {
                let mut parts = value.0.clone();
                let first = match parts.first_mut() {
                    Some(super::template::Part::Text(text)) => text.split_once('='),
                    _ => None,
                };
                let first = first.map(|(name, rest)| (name.trim().to_owned(), rest.to_owned()));
                first.map(|(name, rest)| {
                    parts[0] = super::template::Part::Text(rest);
                    options.variables.push((name, Template(parts)));
                })
            }
            _ => {
                let known = "delay, retry, retry-interval, skip, variable";
                let message = format!("the option `{name}` is not supported: only {known}");
                return Err(Wrong::new(at, message));
            }
        };
        if known.is_none() {
            let message = format!("not a value of the option `{name}`");
            return Err(Wrong::new(at, message));
        }
    }
    Ok(())
}

/// `200`, `200ms`, `2s` or `1m`; without a unit milliseconds.
fn time(text: &str) -> Option<Duration> {
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let number: u64 = number.parse().ok()?;
    match unit {
        "" | "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

fn body(cursor: &mut Cursor<'_>) -> Result<Body, Wrong> {
    let at = cursor.at;
    let body = if let Some(bytes) = check::bytes(cursor)? {
        Body::Bytes(bytes)
    } else if cursor.eat("file,") {
        Body::File(cursor.until(";", true)?)
    } else if cursor.rest().starts_with("```") {
        match check::multiline(cursor)? {
            ("json", text) => Body::Json(text),
            ("xml", text) => Body::Xml(text),
            (_, text) => Body::Text(text),
        }
    } else if cursor.peek() == Some('`') {
        Body::Text(cursor.between('`')?)
    } else if cursor.peek() == Some('<') {
        return Err(Wrong::new(
            at,
            "XML without quotes is not supported: put it between lines of ```",
        ));
    } else if matches!(cursor.peek(), Some('t' | 'f' | 'n')) {
        Body::Json(cursor.words(|_| false)?)
    } else {
        Body::Json(cursor.json()?)
    };
    cursor.end_of_line()?;
    Ok(body)
}

fn expected(cursor: &mut Cursor<'_>) -> Result<Expected, Wrong> {
    let at = cursor.at;
    cursor.eat("HTTP");
    let version = match cursor.eat("/") {
        false => None,
        true => match cursor.take(|letter| letter.is_ascii_digit() || letter == '.') {
            "1.0" => Some((at, "HTTP/1.0")),
            "1.1" => Some((at, "HTTP/1.1")),
            _ => {
                return Err(Wrong::new(
                    at,
                    "only HTTP/1.1 is spoken here: write `HTTP 200`",
                ));
            }
        },
    };
    cursor.spaces();
    let at = cursor.at;
    let status = match cursor.eat("*") {
        true => None,
        false => {
            let status = cursor.take(|letter| letter.is_ascii_digit()).parse();
            Some((
                at,
                status.map_err(|_| Wrong::new(at, "a status is expected: `HTTP 200`"))?,
            ))
        }
    };
    cursor.end_of_line()?;
    let mut expected = Expected {
        version,
        status,
        headers: pairs(cursor)?,
        captures: Vec::new(),
        asserts: Vec::new(),
        body: None,
    };
    while let Begins::Section(name) = begins(cursor) {
        let at = cursor.at;
        section(cursor)?;
        match name {
            "Captures" => expected.captures = captures(cursor)?,
            "Asserts" => expected.asserts = asserts(cursor)?,
            _ => return Err(unknown(at, name, "Captures, Asserts")),
        }
    }
    if begins(cursor) == Begins::Body {
        let at = cursor.at;
        expected.body = Some((at, body(cursor)?));
        cursor.blank_lines();
    }
    Ok(expected)
}

fn captures(cursor: &mut Cursor<'_>) -> Result<Vec<Capture>, Wrong> {
    let mut captures = Vec::new();
    loop {
        cursor.blank_lines();
        if begins(cursor) != Begins::Header {
            return Ok(captures);
        }
        let (at, name) = name(cursor)?;
        let Some(name) = name.literal().map(str::to_owned) else {
            return Err(Wrong::new(at, "variables are not supported here"));
        };
        let looked = check::looked(cursor)?;
        if cursor.rest().starts_with("redact") {
            return cursor.wrong("`redact` is not supported");
        }
        cursor.end_of_line()?;
        captures.push(Capture { at, name, looked });
    }
}

fn asserts(cursor: &mut Cursor<'_>) -> Result<Vec<Assert>, Wrong> {
    let mut asserts = Vec::new();
    loop {
        cursor.blank_lines();
        if begins(cursor) != Begins::Header {
            return Ok(asserts);
        }
        let at = cursor.at;
        let looked = check::looked(cursor)?;
        let words = cursor.text[at..cursor.at].trim_end().to_owned();
        let (not, predicate) = check::predicate(cursor)?;
        cursor.end_of_line()?;
        asserts.push(Assert {
            at,
            words,
            looked,
            not,
            predicate,
        });
    }
}
