//! `cors`: pages of which other sites may ask.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use url::Url;

use super::super::fields::{Field, Fields};
use super::super::limit;
use super::super::machine::Machine;
use super::super::problem::{Problem, Problems, quote};
use super::super::route::scalar;
use super::super::{codes, schema};

/// Some names, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names<T> {
    /// `*`.
    All,
    /// These.
    Some(Vec<T>),
}

/// What pages of other sites may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages.
    pub origins: Names<HeaderValue>,
    /// With which methods.
    pub methods: Names<Method>,
    /// With which headers, beside those that every page may send.
    pub headers: Names<HeaderName>,
    /// Headers of answers that they may read, beside those that every page may.
    pub expose: Names<HeaderName>,
    /// Whether cookies and the like come along.
    pub credentials: bool,
    /// How long a browser need not ask again.
    pub max_age: Option<Duration>,
}

/// Methods that a form may use anyway.
const METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];

pub(super) fn read(field: Field<'_>, machine: &Machine, problems: &mut Problems) -> Option<Cors> {
    let fields = Fields::read(&field.entry.value, &schema::CORS_RULES, problems)?;
    let credentials = match fields.get("credentials") {
        Some(field) => field.flag(problems)?,
        None => false,
    };
    let mut all = Vec::new();
    let mut names = |name: &str, problems: &mut Problems| {
        let field = fields.get(name)?;
        let texts = texts(field, problems);
        if texts == ["*"] {
            all.push(field);
        }
        Some((field, texts))
    };
    let origins = names("origins", problems);
    let methods = names("methods", problems);
    let headers = names("headers", problems);
    let expose = names("expose", problems);
    let max_age = match fields.get("max_age") {
        Some(field) => limit::time(field, machine, problems)?,
        None => None,
    };
    for field in all.into_iter().filter(|_| credentials) {
        let message = format!("with `credentials`, `{}` cannot be `*`", field.key.name);
        let problem = Problem::new(&codes::CORS, field.span(), message);
        problems.push(problem.help(format!("list what is meant: `{}`", field.key.example)));
    }
    let header = |text: &str| HeaderName::from_bytes(text.as_bytes()).ok();
    let method = |text: &str| Method::from_bytes(text.as_bytes()).ok();
    let some = |names, problems: &mut Problems| {
        parsed(
            names,
            header,
            (&codes::HEADER, "not the name of a header"),
            problems,
        )
    };
    Some(Cors {
        origins: parsed(
            origins?,
            origin,
            (&codes::ORIGIN, "not an origin"),
            problems,
        ),
        methods: methods.map_or(Names::Some(METHODS.to_vec()), |names| {
            parsed(names, method, (&codes::METHOD, "not a method"), problems)
        }),
        headers: headers.map_or(Names::Some(Vec::new()), |names| some(names, problems)),
        expose: expose.map_or(Names::Some(Vec::new()), |names| some(names, problems)),
        credentials,
        max_age,
    })
}

fn texts<'t>(field: Field<'t>, problems: &mut Problems) -> Vec<&'t str> {
    let items = field.list(problems).iter();
    items
        .filter_map(|item| scalar(item, field, problems))
        .collect()
}

fn parsed<T>(
    (field, texts): (Field<'_>, Vec<&str>),
    parse: impl Fn(&str) -> Option<T>,
    (code, why): (&'static codes::Code, &str),
    problems: &mut Problems,
) -> Names<T> {
    if texts == ["*"] {
        return Names::All;
    }
    let mut names = Vec::new();
    for text in texts {
        // Beside others it would be taken as a name.
        match parse(text).filter(|_| text != "*") {
            Some(name) => names.push(name),
            None => {
                let message = format!("{} is {why}", quote(text));
                let problem = Problem::new(code, field.span(), message);
                problems.push(problem.help(format!("write `{}`", field.key.example)));
            }
        }
    }
    Names::Some(names)
}

/// As browsers send it: `null`, which any page can be, is none.
fn origin(text: &str) -> Option<HeaderValue> {
    let url = Url::parse(text).ok()?;
    let same = url.origin().ascii_serialization() == text && url.origin().is_tuple();
    HeaderValue::from_str(text).ok().filter(|_| same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for text in [
            "https://a.test",
            "http://localhost:3000",
            "http://[::1]:80801",
        ] {
            assert_eq!(origin(text).is_some(), !text.contains("80801"), "{text}");
        }
        for text in [
            "null",
            "*",
            "a.test",
            "https://a.test/",
            "https://a.test:443",
            "https://A.test",
            "https://u@a.test",
            "file:///x",
        ] {
            assert_eq!(origin(text), None, "{text}");
        }
    }
}
