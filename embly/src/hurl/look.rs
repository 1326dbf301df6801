//! What an answer has, and whether that is what was expected.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::Wrong;
use super::client::Answer;
use super::json_path::nth;
use super::script::{Assert, Filter, Kind, Literal, Looked, Predicate, Query};
use super::template::{Variables, plain, variable};

/// Characters of a value that a message shows.
const SHOWN: usize = 200;

/// Something that was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    Json(Value),
    Bytes(Vec<u8>),
}

impl Found {
    fn text(text: impl Into<String>) -> Self {
        Found::Json(Value::String(text.into()))
    }

    /// In a message.
    pub fn shown(&self) -> String {
        let text = match self {
            Found::Json(value) => value.to_string(),
            Found::Bytes(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("hex,{hex};")
            }
        };
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

/// Looks into an answer. `None`: it has nothing of the kind.
pub(super) fn look(
    looked: &Looked,
    at: usize,
    answer: &Answer,
    variables: &Variables,
) -> Result<Option<Found>, Wrong> {
    let mut found = query(&looked.query, at, answer, variables)?;
    for filter in &looked.filters {
        let Some(value) = found else { return Ok(None) };
        found = filtered(value, filter, at, variables)?;
    }
    Ok(found)
}

fn query(
    query: &Query,
    at: usize,
    answer: &Answer,
    variables: &Variables,
) -> Result<Option<Found>, Wrong> {
    let text = || match str::from_utf8(&answer.body) {
        Ok(text) => Ok(text),
        Err(_) => Err(Wrong::new(at, "the body is no text: look at its `bytes`")),
    };
    Ok(match query {
        Query::Status => Some(Found::Json(answer.status.into())),
        Query::Version => Some(Found::text(answer.version.trim_start_matches("HTTP/"))),
        Query::Url => Some(Found::text(&answer.url)),
        Query::Header(name) => header(answer, &name.fill(variables)?),
        Query::Cookie(name) => {
            let name = name.fill(variables)?;
            let cookies = answer.headers.get_all("set-cookie").iter();
            let mut cookies = cookies.filter_map(|cookie| {
                let pair = cookie.to_str().ok()?.split(';').next()?;
                pair.split_once('=')
            });
            let found = cookies.find(|(other, _)| other.trim() == name);
            found.map(|(_, value)| Found::text(value.trim()))
        }
        Query::Body => Some(Found::text(text()?)),
        Query::Bytes => Some(Found::Bytes(answer.body.to_vec())),
        Query::JsonPath(path) => {
            let json = serde_json::from_slice(&answer.body).map_err(|error| {
                let begins = Found::text(String::from_utf8_lossy(&answer.body)).shown();
                Wrong::new(at, format!("the body is not JSON: {error}: {begins}"))
            })?;
            path.find(&json).map(Found::Json)
        }
        Query::Regex(regex) => group(regex, text()?),
        Query::Variable(name) => variables.get(name).cloned().map(Found::Json),
        Query::Duration => {
            let took = u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX);
            Some(Found::Json(took.into()))
        }
    })
}

/// A header; where there are several of the name, a list.
fn header(answer: &Answer, name: &str) -> Option<Found> {
    let values = answer.headers.get_all(name).iter();
    let mut values: Vec<Value> = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into())
        .collect();
    match values.len() {
        0 => None,
        1 => values.pop().map(Found::Json),
        _ => Some(Found::Json(Value::Array(values))),
    }
}

/// The first group of an expression, where it is found.
fn group(regex: &regex_lite::Regex, text: &str) -> Option<Found> {
    let found = regex.captures(text)?;
    let group = found.get(1).or_else(|| found.get(0))?;
    Some(Found::text(group.as_str()))
}

fn filtered(
    found: Found,
    filter: &Filter,
    at: usize,
    variables: &Variables,
) -> Result<Option<Found>, Wrong> {
    let unfit = |what: &str| {
        let message = format!(
            "{what} is expected before a filter, and it is {}",
            found.shown()
        );
        Err(Wrong::new(at, message))
    };
    let text = match &found {
        Found::Json(Value::String(text)) => Some(text.as_str()),
        _ => None,
    };
    Ok(match (filter, &found) {
        (Filter::Count, Found::Json(Value::Array(items))) => Some(Found::Json(items.len().into())),
        (Filter::Count, Found::Json(Value::Object(map))) => Some(Found::Json(map.len().into())),
        (Filter::Count, Found::Bytes(bytes)) => Some(Found::Json(bytes.len().into())),
        (Filter::Count, _) => return unfit("a list"),
        (Filter::Nth(n), Found::Json(Value::Array(items))) => {
            nth(items, *n).cloned().map(Found::Json)
        }
        (Filter::Nth(_), _) => return unfit("a list"),
        (Filter::JsonPath(path), Found::Json(value)) => {
            let read = text.map(serde_json::from_str::<Value>);
            match read {
                None => path.find(value),
                Some(Ok(value)) => path.find(&value),
                Some(Err(_)) => return unfit("JSON"),
            }
            .map(Found::Json)
        }
        (Filter::ToInt, _) => {
            let number = match &found {
                Found::Json(Value::Number(number)) => number.as_i64().or_else(|| {
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "what is behind the point is cut, as Hurl does"
                    )]
                    number.as_f64().map(|number| number as i64)
                }),
                _ => text.and_then(|text| text.trim().parse().ok()),
            };
            match number {
                Some(number) => Some(Found::Json(number.into())),
                None => return unfit("a number"),
            }
        }
        (Filter::ToFloat, _) => {
            let number = match &found {
                Found::Json(Value::Number(number)) => number.as_f64(),
                _ => text.and_then(|text| text.trim().parse().ok()),
            };
            match number.and_then(Number::from_f64) {
                Some(number) => Some(Found::Json(Value::Number(number))),
                None => return unfit("a number"),
            }
        }
        (Filter::ToText, Found::Json(value)) => Some(Found::text(plain(value))),
        (Filter::ToText, Found::Bytes(bytes)) => Some(Found::text(String::from_utf8_lossy(bytes))),
        (Filter::Regex(_) | Filter::Replace(..) | Filter::Split(_) | Filter::JsonPath(_), _) => {
            let Some(text) = text else {
                return unfit("a text");
            };
            match filter {
                Filter::Regex(regex) => group(regex, text),
                Filter::Replace(what, with) => {
                    let (what, with) = (what.fill(variables)?, with.fill(variables)?);
                    Some(Found::text(text.replace(&what, &with)))
                }
                Filter::Split(by) => {
                    let by = by.fill(variables)?;
                    Some(Found::Json(text.split(&by).collect()))
                }
                _ => None,
            }
        }
    })
}

/// Looks whether an answer is as expected.
pub(super) fn check(assert: &Assert, answer: &Answer, variables: &Variables) -> Result<(), Wrong> {
    let found = look(&assert.looked, assert.at, answer, variables)?;
    let (holds, words) = holds(&assert.predicate, found.as_ref(), variables)?;
    if holds != assert.not {
        return Ok(());
    }
    let not = if assert.not { "not " } else { "" };
    let found = match found {
        Some(found) => format!("is {}", found.shown()),
        None => "is not there".to_owned(),
    };
    let message = format!("`{}` {found}; expected: {not}{words}", assert.words);
    Err(Wrong::new(assert.at, message))
}

/// Whether it holds, and what is expected in words.
fn holds(
    predicate: &Predicate,
    found: Option<&Found>,
    variables: &Variables,
) -> Result<(bool, String), Wrong> {
    let against = |literal: &Literal,
                   words: &str,
                   test: fn(&Found, &Found) -> bool|
     -> Result<(bool, String), Wrong> {
        let expected = value(literal, variables)?;
        let holds = found.is_some_and(|found| test(found, &expected));
        Ok((holds, format!("{words} {}", expected.shown())))
    };
    Ok(match predicate {
        Predicate::Equal(literal) => against(literal, "==", same)?,
        Predicate::NotEqual(literal) => against(literal, "!=", |one, other| !same(one, other))?,
        Predicate::Greater(literal) => against(literal, ">", |one, other| {
            order(one, other) == Some(Ordering::Greater)
        })?,
        Predicate::AtLeast(literal) => against(literal, ">=", |one, other| {
            order(one, other).is_some_and(Ordering::is_ge)
        })?,
        Predicate::Less(literal) => against(literal, "<", |one, other| {
            order(one, other) == Some(Ordering::Less)
        })?,
        Predicate::AtMost(literal) => against(literal, "<=", |one, other| {
            order(one, other).is_some_and(Ordering::is_le)
        })?,
        Predicate::StartsWith(literal) => against(literal, "startsWith", |one, other| {
            bytes(one)
                .zip(bytes(other))
                .is_some_and(|(one, other)| one.starts_with(other))
        })?,
        Predicate::EndsWith(literal) => against(literal, "endsWith", |one, other| {
            bytes(one)
                .zip(bytes(other))
                .is_some_and(|(one, other)| one.ends_with(other))
        })?,
        Predicate::Contains(literal) => against(literal, "contains", contains)?,
        Predicate::Matches(regex) => {
            let text = match found {
                Some(Found::Json(Value::String(text))) => Some(text),
                _ => None,
            };
            let holds = text.is_some_and(|text| regex.is_match(text));
            (holds, format!("matches /{}/", regex.as_str()))
        }
        Predicate::Exists => (found.is_some(), "exists".to_owned()),
        Predicate::IsEmpty => {
            let empty = match found {
                Some(Found::Json(Value::String(text))) => text.is_empty(),
                Some(Found::Json(Value::Array(items))) => items.is_empty(),
                Some(Found::Json(Value::Object(map))) => map.is_empty(),
                Some(Found::Bytes(bytes)) => bytes.is_empty(),
                _ => false,
            };
            (empty, "isEmpty".to_owned())
        }
        Predicate::Is(kind) => {
            let holds = match found {
                Some(Found::Json(value)) => is(value, *kind),
                _ => false,
            };
            let name = match kind {
                Kind::Text => "String".to_owned(),
                kind => format!("{kind:?}"),
            };
            (holds, format!("is{name}"))
        }
    })
}

fn value(literal: &Literal, variables: &Variables) -> Result<Found, Wrong> {
    Ok(match literal {
        Literal::Text(text) => Found::text(text.fill(variables)?),
        Literal::Number(number) => Found::Json(Value::Number(number.clone())),
        Literal::Bool(value) => Found::Json((*value).into()),
        Literal::Null => Found::Json(Value::Null),
        Literal::Bytes(bytes) => Found::Bytes(bytes.clone()),
        Literal::Variable(at, name) => Found::Json(variable(variables, *at, name)?.clone()),
    })
}

/// Equal; a number is one, however it is written.
fn same(one: &Found, other: &Found) -> bool {
    match (one, other) {
        (Found::Json(Value::Number(_)), Found::Json(Value::Number(_))) => {
            order(one, other) == Some(Ordering::Equal)
        }
        _ => one == other,
    }
}

fn order(one: &Found, other: &Found) -> Option<Ordering> {
    match (one, other) {
        (Found::Json(Value::Number(one)), Found::Json(Value::Number(other))) => {
            let whole = one.as_i64().zip(other.as_i64());
            match whole {
                Some((one, other)) => Some(one.cmp(&other)),
                None => one.as_f64()?.partial_cmp(&other.as_f64()?),
            }
        }
        (Found::Json(Value::String(one)), Found::Json(Value::String(other))) => {
            Some(one.cmp(other))
        }
        _ => None,
    }
}

fn bytes(found: &Found) -> Option<&[u8]> {
    match found {
        Found::Json(Value::String(text)) => Some(text.as_bytes()),
        Found::Bytes(bytes) => Some(bytes),
        Found::Json(_) => None,
    }
}

fn contains(one: &Found, other: &Found) -> bool {
    if let (Found::Json(Value::Array(items)), Found::Json(other)) = (one, other) {
        let other = Found::Json(other.clone());
        return items
            .iter()
            .any(|item| same(&Found::Json(item.clone()), &other));
    }
    let Some((one, other)) = bytes(one).zip(bytes(other)) else {
        return false;
    };
    other.is_empty() || one.windows(other.len()).any(|window| window == other)
}

fn is(value: &Value, kind: Kind) -> bool {
    match kind {
        Kind::Integer => value.is_i64() || value.is_u64(),
        Kind::Float => value.is_f64(),
        Kind::Number => value.is_number(),
        Kind::Boolean => value.is_boolean(),
        Kind::Text => value.is_string(),
        Kind::List => value.is_array(),
        Kind::Object => value.is_object(),
        Kind::Collection => value.is_array() || value.is_object(),
    }
}
