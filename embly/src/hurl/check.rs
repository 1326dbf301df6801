//! What is looked at in an answer, and what is expected of it: a line of `[Captures]` or `[Asserts]`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex_lite::Regex;

use super::Wrong;
use super::cursor::Cursor;
use super::json_path::JsonPath;
use super::script::{Filter, Kind, Literal, Looked, Predicate, Query};
use super::template::Part;

/// What of Hurl is known and not supported, so that it is said in these words.
const OTHER_QUERIES: [&str; 7] = [
    "xpath",
    "certificate",
    "sha256",
    "md5",
    "rawbytes",
    "ip",
    "redirects",
];

/// A query and its filters, up to the end of the line or a predicate.
pub(super) fn looked(cursor: &mut Cursor<'_>) -> Result<Looked, Wrong> {
    let query = query(cursor)?;
    let mut filters = Vec::new();
    loop {
        cursor.spaces();
        match filter(cursor)? {
            Some(filter) => filters.push(filter),
            None => return Ok(Looked { query, filters }),
        }
    }
}

fn word<'t>(cursor: &mut Cursor<'t>) -> &'t str {
    cursor.take(|letter| letter.is_ascii_alphanumeric())
}

fn query(cursor: &mut Cursor<'_>) -> Result<Query, Wrong> {
    let at = cursor.at;
    let name = word(cursor);
    cursor.spaces();
    Ok(match name {
        "status" => Query::Status,
        "version" => Query::Version,
        "url" => Query::Url,
        "body" => Query::Body,
        "bytes" => Query::Bytes,
        "duration" => Query::Duration,
        "header" => Query::Header(cursor.quoted()?),
        "cookie" => {
            let name = cursor.quoted()?;
            if name.literal().is_some_and(|name| name.contains('[')) {
                return Err(Wrong::new(at, "attributes of cookies are not supported"));
            }
            Query::Cookie(name)
        }
        "jsonpath" => Query::JsonPath(json_path(cursor)?),
        "regex" => Query::Regex(regex(cursor)?),
        "variable" => Query::Variable(literal_text(cursor)?),
        name if OTHER_QUERIES.contains(&name) => {
            return Err(Wrong::new(
                at,
                format!("the query `{name}` is not supported"),
            ));
        }
        _ => {
            let known = "status, version, url, header, cookie, body, bytes, jsonpath, regex, \
                         variable, duration";
            return Err(Wrong::new(
                at,
                format!("one of these is expected here: {known}"),
            ));
        }
    })
}

/// A filter, or nothing where a predicate, or the end of the line, comes.
fn filter(cursor: &mut Cursor<'_>) -> Result<Option<Filter>, Wrong> {
    let start = cursor.clone();
    let name = word(cursor);
    cursor.spaces();
    Ok(Some(match name {
        "count" => Filter::Count,
        "first" => Filter::Nth(0),
        "last" => Filter::Nth(-1),
        "nth" => {
            let at = cursor.at;
            let number = cursor.take(|letter| letter.is_ascii_digit() || letter == '-');
            let number = number.parse();
            Filter::Nth(number.map_err(|_| Wrong::new(at, "a number is expected here"))?)
        }
        "jsonpath" => Filter::JsonPath(json_path(cursor)?),
        "regex" => Filter::Regex(regex(cursor)?),
        "replace" => {
            let what = cursor.quoted()?;
            cursor.spaces();
            Filter::Replace(what, cursor.quoted()?)
        }
        "split" => Filter::Split(cursor.quoted()?),
        "toInt" => Filter::ToInt,
        "toFloat" => Filter::ToFloat,
        "toString" => Filter::ToText,
        _ => {
            *cursor = start;
            return Ok(None);
        }
    }))
}

/// What is expected, and whether the opposite is.
pub(super) fn predicate(cursor: &mut Cursor<'_>) -> Result<(bool, Predicate), Wrong> {
    cursor.spaces();
    let mut start = cursor.clone();
    let mut name = word(cursor);
    let not = name == "not";
    if not {
        cursor.spaces();
        start = cursor.clone();
        name = word(cursor);
    }
    if name.is_empty() {
        name = cursor.take(|letter| matches!(letter, '=' | '!' | '<' | '>'));
    }
    cursor.spaces();
    let predicate = match name {
        "==" => Predicate::Equal(literal(cursor)?),
        "!=" => Predicate::NotEqual(literal(cursor)?),
        ">" => Predicate::Greater(literal(cursor)?),
        ">=" => Predicate::AtLeast(literal(cursor)?),
        "<" => Predicate::Less(literal(cursor)?),
        "<=" => Predicate::AtMost(literal(cursor)?),
        "startsWith" => Predicate::StartsWith(literal(cursor)?),
        "endsWith" => Predicate::EndsWith(literal(cursor)?),
        "contains" => Predicate::Contains(literal(cursor)?),
        "matches" => Predicate::Matches(regex(cursor)?),
        "exists" => Predicate::Exists,
        "isEmpty" => Predicate::IsEmpty,
        "isInteger" => Predicate::Is(Kind::Integer),
        "isFloat" => Predicate::Is(Kind::Float),
        "isNumber" => Predicate::Is(Kind::Number),
        "isBoolean" => Predicate::Is(Kind::Boolean),
        "isString" => Predicate::Is(Kind::Text),
        "isList" => Predicate::Is(Kind::List),
        "isObject" => Predicate::Is(Kind::Object),
        "isCollection" => Predicate::Is(Kind::Collection),
        "" => {
            return start
                .wrong("what is expected? For example `== 200`, `contains \"a\"`, `exists`");
        }
        _ => {
            return start.wrong(format!(
                "`{name}` is not supported here: filters are count, nth, first, last, jsonpath, regex, \
                 replace, split, toInt, toFloat, toString; predicates ==, !=, >, >=, <, <=, startsWith, \
                 endsWith, contains, matches, exists, isEmpty and is… (Integer, Float, Number, Boolean, \
                 String, List, Object, Collection)"
            ));
        }
    };
    Ok((not, predicate))
}

/// Text in quotes without variables.
fn literal_text(cursor: &mut Cursor<'_>) -> Result<String, Wrong> {
    let at = cursor.at;
    let text = cursor.quoted()?;
    match text.literal() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Wrong::new(at, "variables are not supported here")),
    }
}

fn json_path(cursor: &mut Cursor<'_>) -> Result<JsonPath, Wrong> {
    let at = cursor.at;
    let path = literal_text(cursor)?;
    JsonPath::parse(&path).map_err(|message| Wrong::new(at, message))
}

/// `/…/`, or text in quotes.
fn regex(cursor: &mut Cursor<'_>) -> Result<Regex, Wrong> {
    let at = cursor.at;
    let text = match cursor.eat("/") {
        false => literal_text(cursor)?,
        true => {
            let mut text = String::new();
            loop {
                match cursor.next() {
                    Some('/') => break text,
                    Some('\\') if cursor.eat("/") => text.push('/'),
                    // Two that belong together.
                    Some('\\') => {
                        text.push('\\');
                        text.extend(cursor.next());
                    }
                    Some(letter) if letter != '\n' => text.push(letter),
                    _ => return Err(Wrong::new(at, "this expression has no closing `/`")),
                }
            }
        }
    };
    Regex::new(&text).map_err(|error| Wrong::new(at, format!("not a regular expression: {error}")))
}

/// A value.
fn literal(cursor: &mut Cursor<'_>) -> Result<Literal, Wrong> {
    let at = cursor.at;
    if let Some(part) = cursor.variable()? {
        return match part {
            Part::Variable(at, name) => Ok(Literal::Variable(at, name)),
            Part::Text(text) => Err(Wrong::new(at, text)),
        };
    }
    if let Some(bytes) = bytes(cursor)? {
        return Ok(Literal::Bytes(bytes));
    }
    if cursor.rest().starts_with("```") {
        return Ok(Literal::Text(multiline(cursor)?.1));
    }
    match cursor.peek() {
        Some('"') => return Ok(Literal::Text(cursor.quoted()?)),
        Some('`') => return Ok(Literal::Text(cursor.between('`')?)),
        _ => {}
    }
    let word =
        cursor.take(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '+' | '.'));
    match serde_json::from_str(word) {
        Ok(serde_json::Value::Null) => Ok(Literal::Null),
        Ok(serde_json::Value::Bool(value)) => Ok(Literal::Bool(value)),
        Ok(serde_json::Value::Number(number)) => Ok(Literal::Number(number)),
        _ => Err(Wrong::new(
            at,
            "a value is expected: a text in double quotes, a number, `true`, `false`, `null`, `{{name}}`",
        )),
    }
}

/// `hex,…;` or `base64,…;`, if one of them comes next.
pub(super) fn bytes(cursor: &mut Cursor<'_>) -> Result<Option<Vec<u8>>, Wrong> {
    let at = cursor.at;
    let hex = cursor.eat("hex,");
    if !hex && !cursor.eat("base64,") {
        return Ok(None);
    }
    let text = cursor.take(|letter| letter != ';');
    let text: String = text.split_whitespace().collect();
    let bytes = match hex {
        false => STANDARD.decode(&text).ok(),
        true => {
            let pairs = text.as_bytes().chunks(2);
            let byte = |pair: &[u8]| match pair {
                [_, _] => u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok(),
                _ => None,
            };
            pairs.map(byte).collect()
        }
    };
    match bytes {
        Some(bytes) if cursor.eat(";") => Ok(Some(bytes)),
        _ => Err(Wrong::new(
            at,
            "these are no bytes: `hex,00ff;` or `base64,AP8=;`",
        )),
    }
}

/// Text between two lines of three backticks, and the word behind the first of them.
pub(super) fn multiline<'t>(
    cursor: &mut Cursor<'t>,
) -> Result<(&'t str, super::template::Template), Wrong> {
    cursor.eat("```");
    let at = cursor.at;
    let word = cursor.take(|letter| letter.is_ascii_alphanumeric());
    if !matches!(word, "" | "json" | "xml" | "graphql" | "raw") || cursor.peek() == Some(',') {
        return Err(Wrong::new(
            at,
            "of texts of several lines only ```, ```json, ```xml are supported",
        ));
    }
    if word == "graphql" {
        return Err(Wrong::new(at, "GraphQL is not supported: write its JSON"));
    }
    cursor.spaces();
    cursor.eat("\r");
    match cursor.eat("\n") {
        true => Ok((word, cursor.until("```", word != "raw")?)),
        false => cursor.wrong("the text begins on the next line"),
    }
}
