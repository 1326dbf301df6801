//! Problems as a person reads them: message, place, the underlined piece, what to write.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::problem::{Problem, Problems};
use crate::report::wrapped;

/// Columns when the terminal's are not known.
const WIDTH: usize = 120;

/// What stands before a message, and before what to write.
const BEFORE_MESSAGE: &str = "warning[W000]: ";
const BEFORE_HELP: &str = "    = help: ";

/// Bytes of the file that are shown for one problem; finding the columns takes as long as
/// they are many. Beyond it the place is only named.
const LONGEST: usize = 16 * 1024;

/// Stands for a control character of those that the renderer shows as they are. It has as many bytes.
const CONTROL: &str = "\u{b7}";

/// The text without what acts on a terminal and the renderer leaves: U+0080 to U+009F, of which one begins
/// a command as ESC does. All places in it stay the same.
fn harmless(text: &str) -> Cow<'_, str> {
    let acts = |letter: char| matches!(letter, '\u{80}'..='\u{9f}');
    match text.contains(acts) {
        true => Cow::Owned(text.replace(acts, CONTROL)),
        false => Cow::Borrowed(text),
    }
}

impl Problems {
    /// All problems, and a last line that counts them. `width` is the terminal's, in columns: what is
    /// wider than that is broken between words.
    pub fn render(&self, color: bool, width: Option<usize>) -> String {
        let renderer = match color {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        let renderer = renderer.term_width(width.unwrap_or(WIDTH));
        let path = shown(&self.file);
        let mut text = String::new();
        for problem in self.iter() {
            text.push_str(&renderer.render(&[self.group(problem, &path, width)]));
            text.push_str("\n\n");
        }
        text.push_str(&self.summary(&path));
        text
    }

    fn group<'a>(&'a self, problem: &'a Problem, path: &'a str, width: Option<usize>) -> Group<'a> {
        let within = |text: &'a str, before: &str| match width {
            Some(columns) => {
                let room = columns.saturating_sub(before.len());
                Cow::Owned(wrapped(text, room))
            }
            None => Cow::Borrowed(text),
        };
        let level = match problem.code.is_warning() {
            true => Level::WARNING,
            false => Level::ERROR,
        };
        let title = level
            .primary_title(within(&problem.message, BEFORE_MESSAGE))
            .id(problem.code.id);
        let mut group = match self.snippet(problem, path) {
            Some(snippet) => title.element(snippet),
            None => title.element(self.origin(problem, path)),
        };
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(within(help, BEFORE_HELP)));
        }
        group
    }

    /// The lines that the problem touches, and no others: a snippet is scanned whole.
    /// `None` if there are none or too much, or nobody may see them.
    fn snippet<'a>(
        &'a self,
        problem: &'a Problem,
        path: &'a str,
    ) -> Option<Snippet<'a, Annotation<'a>>> {
        let span = problem.span.clone()?;
        let mut lines = self.whole_lines(&span);
        let related = problem.related.as_ref().filter(|(other, _)| {
            let other = self.whole_lines(other);
            let both = lines.start.min(other.start)..lines.end.max(other.end);
            let shown = both.len() <= LONGEST;
            if shown {
                lines = both;
            }
            shown
        });
        if lines.len() > LONGEST || self.hidden(&lines) {
            return None;
        }

        let start = lines.start;
        let annotation = AnnotationKind::Primary.span(span.start - start..span.end - start);
        let mut snippet = Snippet::source(harmless(&self.text[lines]))
            .line_start(self.line_of(start) + 1)
            .path(path)
            .annotation(annotation);
        if let Some((other, label)) = related {
            let other = AnnotationKind::Context.span(other.start - start..other.end - start);
            snippet = snippet.annotation(other.label(label));
        }
        Some(snippet)
    }

    fn whole_lines(&self, span: &Range<usize>) -> Range<usize> {
        let first = self.line(self.line_of(span.start));
        first.start..self.line(self.line_of(span.end)).end
    }

    /// The place alone.
    fn origin<'a>(&self, problem: &Problem, path: &'a str) -> Origin<'a> {
        let origin = Origin::path(path);
        match problem.span.clone().map(|span| self.place(span)) {
            Some((line, column, _)) => origin.line(line).char_column(column),
            None => origin,
        }
    }

    fn summary(&self, path: &str) -> String {
        let (errors, warnings) = self.count();
        let count = |number: usize, what: &str| match number {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{number} {what}s")),
        };
        let counts = [count(errors, "error"), count(warnings, "warning")];
        let counts: Vec<_> = counts.into_iter().flatten().collect();
        let shown = self.iter().count();
        let rest = match errors + warnings > shown {
            true => format!(", {shown} of them shown"),
            false => String::new(),
        };
        let of = self.environment();
        let of = of.map(|name| format!(", environment `{name}`"));
        let of = of.unwrap_or_default();
        format!("{path}{of}: {}{rest}\n", counts.join(", "))
    }
}

/// A path as the user would type it: from the current folder where it is below it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    short
        .unwrap_or_else(|| path.to_owned())
        .display()
        .to_string()
}
