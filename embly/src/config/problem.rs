//! A list of problems with their places in a file.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use serde::{Serialize, Serializer};

use super::codes::{self, Code};
use super::fields::Field;
use super::tree::Value;

/// Problems of one file that are kept with their places; the rest is counted. Nobody reads
/// more, and showing each takes as long as its line is.
const KEPT: usize = 1000;

/// One problem. Places are byte ranges of the text that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind it is.
    pub code: &'static Code,
    /// What happened, in one line.
    pub message: String,
    /// The underlined piece; `None` when the file as a whole is meant.
    pub span: Option<Range<usize>>,
    /// Another place that belongs to it, and what is there.
    pub related: Option<(Range<usize>, String)>,
    /// What to write instead.
    pub help: Option<String>,
}

impl Problem {
    pub(super) fn new(code: &'static Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Problem {
            span: Some(span),
            ..Problem::of_file(code, message)
        }
    }

    pub(super) fn of_file(code: &'static Code, message: impl Into<String>) -> Self {
        Problem {
            code,
            message: message.into(),
            span: None,
            related: None,
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn related(mut self, span: Range<usize>, label: &str) -> Self {
        self.related = Some((span, label.to_owned()));
        self
    }
}

/// The form of a problem for `--format json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record<'a> {
    /// `E101` …, `W101` … are warnings.
    pub code: &'static str,
    /// What happened, in one line.
    pub message: &'a str,
    /// Absolute path of the file.
    pub file: &'a Path,
    /// Line, from 1; absent when the file as a whole is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// Characters underlined in this line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<&'a str>,
    /// The one of the file's environments in which it is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<&'a str>,
}

/// All problems of one file, in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    pub(super) file: Box<Path>,
    pub(super) text: Box<str>,
    /// Where each line begins.
    line_starts: Box<[usize]>,
    list: Vec<Problem>,
    /// Where something may stand that nobody should read; its lines are not shown.
    private: Vec<Range<usize>>,
    /// Errors beyond [`KEPT`].
    more: u32,
    /// The one of the file's environments that was asked for.
    environment: Option<Box<str>>,
    /// The project runs on another machine.
    elsewhere: bool,
}

impl Problems {
    /// The lines of this place are not shown, whatever problem is in them.
    pub(super) fn hide(&mut self, span: Range<usize>) {
        self.private.push(span);
    }

    /// Whether something in these bytes is not to be shown.
    pub(super) fn hidden(&self, bytes: &Range<usize>) -> bool {
        let touches = |span: &Range<usize>| span.start < bytes.end && bytes.start < span.end;
        self.private.iter().any(touches)
    }

    /// No problems yet in `text`, the content of `file`.
    pub(super) fn new(file: impl Into<Box<Path>>, text: String) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after_breaks).collect();
        Problems {
            file: file.into(),
            text: text.into(),
            line_starts,
            list: Vec::new(),
            private: Vec::new(),
            more: 0,
            environment: None,
            elsewhere: false,
        }
    }

    /// They are those of a file that people know by another name: where it lies is a place for a while.
    #[must_use]
    pub fn of(mut self, file: impl Into<Box<Path>>) -> Self {
        self.file = file.into();
        self
    }

    /// Of a file with secrets in it: places are told, and none of the text.
    pub(super) fn secret(mut self) -> Self {
        self.hide(0..usize::MAX);
        self
    }

    pub(super) fn push(&mut self, mut problem: Problem) {
        if self.list.len() >= KEPT {
            self.more += u32::from(!problem.code.is_warning());
            return;
        }
        problem.span = problem.span.map(|span| self.in_one_line(span));
        problem.related = problem
            .related
            .map(|(span, label)| (self.in_one_line(span), label));
        self.list.push(problem);
    }

    pub(super) fn sort(&mut self) {
        self.list
            .sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
    }

    /// They are those of the file with what it says for this environment.
    pub(super) fn choose(&mut self, environment: Option<&str>) {
        self.environment = environment.map(Box::from);
    }

    /// They are those of the file for another machine.
    pub(super) fn elsewhere(&mut self, elsewhere: bool) {
        self.elsewhere = elsewhere;
    }

    /// Whether this file is one of the machine where the project runs, and not here: that is worth a
    /// warning, and nothing else can be said of it.
    pub(super) fn lies_elsewhere(&mut self, field: Field<'_>, file: &Path) -> bool {
        // One of the project would have been here.
        let Value::Scalar(written) = &field.entry.value.value else {
            return false;
        };
        let text = written.text.as_str();
        let lies = self.elsewhere && Path::new(text).is_absolute() && File::open(file).is_err();
        if lies {
            let message = format!("{} is not on this machine", quote(text));
            let problem = Problem::new(&codes::ELSEWHERE, field.span(), message);
            self.push(problem.help("it has to be there where the project runs"));
        }
        lies
    }

    /// The one of the file's environments that was asked for.
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// Without those that are among others as well.
    pub fn without(mut self, others: &Self) -> Self {
        self.list.retain(|problem| !others.list.contains(problem));
        self
    }

    /// The file they are in, absolute.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The problems, warnings included; of a hopeless file the first thousand.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many of them stop the project, and how many are warnings.
    pub fn count(&self) -> (usize, usize) {
        let warnings = self.iter().filter(|p| p.code.is_warning()).count();
        (self.list.len() - warnings + self.more as usize, warnings)
    }

    /// The problems as data; the same as serializing `self`.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.iter().map(|problem| {
            let place = problem.span.clone().map(|span| self.place(span));
            Record {
                code: problem.code.id,
                message: &problem.message,
                file: &self.file,
                line: place.map(|(line, _, _)| line),
                column: place.map(|(_, column, _)| column),
                length: place.map(|(_, _, length)| length),
                help: problem.help.as_deref(),
                environment: self.environment(),
            }
        })
    }

    /// Line and column from 1 and length, in characters.
    pub(super) fn place(&self, span: Range<usize>) -> (usize, usize, usize) {
        let line = self.line_of(span.start);
        let before = &self.text[self.line_starts[line]..span.start];
        let length = self.text[span].chars().count();
        (line + 1, before.chars().count() + 1, length)
    }

    /// Number, from 0, of the line that `at` is in.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at) - 1
    }

    /// A line's bytes, without the end of line.
    pub(super) fn line(&self, line: usize) -> Range<usize> {
        let start = self.line_starts[line];
        let end = self.line_starts.get(line + 1).copied();
        let text = &self.text[start..end.unwrap_or(self.text.len())];
        start..start + text.trim_end_matches(['\r', '\n']).len()
    }

    /// What of `span` is in its first line, at whole characters.
    fn in_one_line(&self, span: Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        let line = self.line(self.line_of(start));
        let start = start.min(line.end);
        let end = self
            .text
            .ceil_char_boundary(span.end.clamp(start, line.end));
        start..end
    }
}

impl Serialize for Problems {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.records())
    }
}

/// The plain form of [`Problems::render`].
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false, None))
    }
}

impl std::error::Error for Problems {}

/// `text` in backticks for a message: shortened, and nothing in it acts on a terminal.
pub(super) fn quote(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut quoted = String::from("`");
    for (count, c) in text.chars().enumerate() {
        if count == SHOWN {
            quoted.push('…');
            break;
        }
        match c {
            '"' | '\'' | '\\' => quoted.push(c),
            c => quoted.extend(c.escape_debug()),
        }
    }
    quoted.push('`');
    quoted
}
