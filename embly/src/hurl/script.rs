//! What a file says.

use std::time::Duration;

use regex_lite::Regex;
use serde_json::Number;

use super::json_path::JsonPath;
use super::template::Template;

/// Requests, one after the other.
#[derive(Clone, Debug)]
pub struct Script {
    pub(super) entries: Vec<Entry>,
}

/// A request, and what is expected.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub at: usize,
    pub request: Request,
    pub options: Options,
    pub expected: Option<Expected>,
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub method: String,
    pub url: Template,
    pub headers: Vec<Pair>,
    pub query: Vec<Pair>,
    pub form: Vec<Pair>,
    pub cookies: Vec<Pair>,
    pub basic_auth: Option<Pair>,
    pub body: Option<Body>,
}

#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub at: usize,
    pub name: Template,
    pub value: Template,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub delay: Duration,
    /// How often a request is sent again while what is expected does not come.
    pub retry: u32,
    pub retry_interval: Duration,
    /// Variables from here on.
    pub variables: Vec<(String, Template)>,
    pub skip: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    /// As it is.
    Text(Template),
    Json(Template),
    Xml(Template),
    Bytes(Vec<u8>),
    /// A file beside the test.
    File(Template),
}

#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub version: Option<(usize, &'static str)>,
    /// `None` for `*`.
    pub status: Option<(usize, u16)>,
    pub headers: Vec<Pair>,
    pub captures: Vec<Capture>,
    pub asserts: Vec<Assert>,
    pub body: Option<(usize, Body)>,
}

#[derive(Clone, Debug)]
pub(super) struct Capture {
    pub at: usize,
    pub name: String,
    pub looked: Looked,
}

#[derive(Clone, Debug)]
pub(super) struct Assert {
    pub at: usize,
    /// As it is written, up to what is expected of it.
    pub words: String,
    pub looked: Looked,
    pub not: bool,
    pub predicate: Predicate,
}

/// A part of the answer, and what is made of it.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    pub query: Query,
    pub filters: Vec<Filter>,
}

#[derive(Clone, Debug)]
pub(super) enum Query {
    Status,
    Version,
    Url,
    Header(Template),
    Cookie(Template),
    Body,
    Bytes,
    JsonPath(JsonPath),
    Regex(Regex),
    Variable(String),
    Duration,
}

#[derive(Clone, Debug)]
pub(super) enum Filter {
    Count,
    Nth(i64),
    JsonPath(JsonPath),
    Regex(Regex),
    Replace(Template, Template),
    Split(Template),
    ToInt,
    ToFloat,
    ToText,
}

#[derive(Clone, Debug)]
pub(super) enum Predicate {
    Equal(Literal),
    NotEqual(Literal),
    Greater(Literal),
    AtLeast(Literal),
    Less(Literal),
    AtMost(Literal),
    StartsWith(Literal),
    EndsWith(Literal),
    Contains(Literal),
    Matches(Regex),
    Exists,
    IsEmpty,
    Is(Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Float,
    Number,
    Boolean,
    Text,
    List,
    Object,
    Collection,
}

/// A value that is written in the file.
#[derive(Clone, Debug)]
pub(super) enum Literal {
    Text(Template),
    Number(Number),
    Bool(bool),
    Null,
    Bytes(Vec<u8>),
    /// The value of a variable, as it is.
    Variable(usize, String),
}
