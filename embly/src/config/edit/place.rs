//! Where a new item goes in the text of a project file, and how it is written there: as those beside it.

use std::ops::Range;

use super::super::tree::{Entry, Node, Scalar, Value};
use super::{Given, Item};

/// Levels are indented by so much where the file does not show how.
const INDENT: &str = "  ";

/// Pieces of the text to replace.
type Edits = Vec<(Range<usize>, String)>;

/// As a person can write it.
pub(super) fn by_hand(list: &str, item: &Item) -> String {
    let lines = block(INDENT, "- ", item);
    format!("{list}:\n{}", lines.join("\n"))
}

/// What to replace so that the item is at the end of the list. `None`: no way is known.
pub(super) fn edits(text: &str, root: &Node, list: &str, item: &Item) -> Option<Edits> {
    let Value::Map(entries) = &root.value else {
        return None;
    };
    let file = Text {
        text,
        json: serde_json::from_str::<serde_json::Value>(text).is_ok(),
    };
    let flow = text[root.span.clone()].starts_with('{');
    match entries.iter().find(|entry| entry.key == list) {
        None if flow => {
            let last = entries.last().map(|entry| entry.value.span.end);
            let list = format!("{}: [{}]", file.word(list), file.flow(item));
            file.add_in_brackets(&root.span, last, &list)
        }
        None => Some(file.new_list(entries, list, item)),
        Some(entry) => match &entry.value.value {
            _ if flow && entry.value.is_null() => {
                let span = entry.value.span.clone();
                let list = format!("[{}]", file.flow(item));
                (!span.is_empty()).then(|| vec![(span, list)])
            }
            _ if entry.value.is_null() => file.first_item(entry, item),
            Value::List(items) => file.add_to_list(entry, items, flow, item),
            _ => None,
        },
    }
}

struct Text<'t> {
    text: &'t str,
    /// It is JSON and stays so.
    json: bool,
}

impl Text<'_> {
    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |at| at + 1)
    }

    /// Where the line of this place ends, its end of line included.
    fn line_end(&self, at: usize) -> usize {
        let end = self.text[at..].find('\n');
        end.map_or(self.text.len(), |length| at + length + 1)
    }

    /// The spaces that the line of this place begins with.
    fn indent(&self, at: usize) -> &str {
        let line = &self.text[self.line_start(at)..];
        &line[..line.len() - line.trim_start_matches(' ').len()]
    }

    /// As the file ends its lines.
    fn newline(&self) -> &'static str {
        match self.text.find('\n') {
            Some(at) if self.text[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        }
    }

    /// Lines at a place where one begins, or at the end of the text.
    fn lines(&self, at: usize, lines: &[String]) -> (Range<usize>, String) {
        let newline = self.newline();
        let lines = lines.join(newline);
        let text = match at == 0 || self.text[..at].ends_with('\n') {
            true => format!("{lines}{newline}"),
            false => format!("{newline}{lines}"),
        };
        (at..at, text)
    }

    /// Passes over lines that are comments indented by more than this: they belong to what is above.
    fn after_comments(&self, mut at: usize, indent: usize) -> usize {
        while at < self.text.len() && self.text[..at].ends_with('\n') {
            let line = &self.text[at..self.line_end(at)];
            let content = line.trim_start_matches(' ');
            if !content.starts_with('#') || line.len() - content.len() <= indent {
                break;
            }
            at = self.line_end(at);
        }
        at
    }

    /// Whether there is an empty line in these bytes.
    fn has_gap(&self, bytes: Range<usize>) -> bool {
        let mut lines = self.text[bytes].split('\n').skip(1).peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_some() && line.trim().is_empty() {
                return true;
            }
        }
        false
    }

    /// The list is not there: a new one at the end of the file.
    fn new_list(&self, entries: &[Entry], list: &str, item: &Item) -> Edits {
        let indent = entries.first().map_or("", |entry| {
            let before = self.line_start(entry.key_span.start)..entry.key_span.start;
            &self.text[before]
        });
        let mut lines = vec![format!("{indent}{list}:")];
        lines.extend(block(&format!("{indent}{INDENT}"), "- ", item));
        if let [.., one, other] = entries
            && self.has_gap(one.value.span.end..other.key_span.start)
        {
            lines.insert(0, String::new());
        }
        vec![self.lines(self.text.len(), &lines)]
    }

    /// There is nothing below the key, or `~`, or `[]`: items of their own lines take its place.
    fn first_item(&self, entry: &Entry, item: &Item) -> Option<Edits> {
        let after_colon = entry.key_span.end + self.text[entry.key_span.end..].find(':')? + 1;
        let mut edits = Vec::new();
        let mut line = after_colon;
        let value = &entry.value.span;
        if !value.is_empty() && value.start >= after_colon {
            edits.push((after_colon..value.end, String::new()));
            line = value.end;
        }
        let indent = self.indent(entry.key_span.start);
        let at = self.after_comments(self.line_end(line), indent.len());
        let lines = block(&format!("{indent}{INDENT}"), "- ", item);
        edits.push(self.lines(at, &lines));
        Some(edits)
    }

    fn add_to_list(&self, entry: &Entry, items: &[Node], flow: bool, item: &Item) -> Option<Edits> {
        let span = &entry.value.span;
        let written = &self.text[span.clone()];
        if !written.starts_with('[') {
            return self.after_last(items, item);
        }
        let empty = written[1..written.len() - 1].trim().is_empty();
        if empty && !flow {
            return self.first_item(entry, item);
        }
        let last = items.last().map(|item| item.span.end);
        self.add_in_brackets(span, last, &self.flow(item))
    }

    /// Below the last item of a list whose items have lines of their own.
    fn after_last(&self, items: &[Node], item: &Item) -> Option<Edits> {
        let last = items.last()?;
        let dash = self.text[..items.first()?.span.start].rfind('-')?;
        let indent = &self.text[self.line_start(dash)..dash];
        if !indent.trim_matches(' ').is_empty() {
            return None;
        }
        let end = last.span.end;
        // What is a text of several lines ends where the next line begins.
        let at = match end > 0 && self.text[..end].ends_with('\n') {
            true => end,
            false => self.line_end(end),
        };
        let at = self.after_comments(at, indent.len());
        // From the dash to what follows it, as in the item above.
        let before = &self.text[self.line_start(last.span.start)..last.span.start];
        let before = match before.is_empty() || before.trim() == "" {
            // The item begins with the dash itself.
            true => {
                let after = &self.text[last.span.start..];
                let after = after.strip_prefix('-').unwrap_or(after);
                let spaces = after.len() - after.trim_start_matches(' ').len();
                format!("-{}", " ".repeat(spaces.max(1)))
            }
            false => before.trim_start().to_owned(),
        };
        let plain = before.starts_with('-') && before[1..].trim().is_empty();
        let before = if plain { before } else { "- ".to_owned() };
        let one_line = self.text[last.span.clone()]
            .trim_start_matches(['-', ' '])
            .starts_with('{');
        let mut lines = match one_line {
            true => vec![format!("{indent}{before}{}", self.flow(item))],
            false => block(indent, &before, item),
        };
        if let [.., one, other] = items
            && self.has_gap(one.span.end..other.span.start)
        {
            lines.insert(0, String::new());
        }
        Some(vec![self.lines(at, &lines)])
    }

    /// Into `[…]` or `{…}`, behind what ends at `last`.
    fn add_in_brackets(
        &self,
        all: &Range<usize>,
        last: Option<usize>,
        item: &str,
    ) -> Option<Edits> {
        let close = all.end.checked_sub(1)?;
        let Some(last) = last else {
            return Some(vec![(close..close, item.to_owned())]);
        };
        let comma = self.comma(last..close);
        let several = self.text[all.start..last].contains('\n');
        if !several {
            let edit = match comma {
                Some(comma) => (comma..comma, format!(" {item},")),
                None => (last..last, format!(", {item}")),
            };
            return Some(vec![edit]);
        }
        let (indent, newline) = (self.indent(last), self.newline());
        let line = self.line_end(comma.unwrap_or(last));
        Some(match (comma, line <= close) {
            (Some(_), true) => vec![(line..line, format!("{indent}{item},{newline}"))],
            (Some(comma), false) => vec![(comma..comma, format!(" {item},"))],
            (None, true) => vec![
                (last..last, ",".to_owned()),
                (line..line, format!("{indent}{item}{newline}")),
            ],
            (None, false) => vec![(last..last, format!(",{newline}{indent}{item}"))],
        })
    }

    /// Where a comma in these bytes ends, in which there is otherwise nothing but comments.
    fn comma(&self, bytes: Range<usize>) -> Option<usize> {
        let mut comment = false;
        for (at, letter) in self.text[bytes.clone()].char_indices() {
            match letter {
                '\n' => comment = false,
                '#' => comment = true,
                ',' if !comment => return Some(bytes.start + at + 1),
                _ => {}
            }
        }
        None
    }

    /// The item in one line.
    fn flow(&self, item: &Item) -> String {
        let pairs = item.iter().map(|(key, given)| {
            let value = match given {
                Given::Number(number) => number.to_string(),
                Given::Text(text) => self.word(text),
            };
            format!("{}: {value}", self.word(key))
        });
        format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
    }

    fn word(&self, text: &str) -> String {
        if self.json { quoted(text) } else { word(text) }
    }
}

/// The lines of an item; `before` is its dash and what follows it.
fn block(indent: &str, before: &str, item: &Item) -> Vec<String> {
    let below = " ".repeat(before.len());
    let lines = item.iter().enumerate().map(|(n, (key, given))| {
        let before = if n == 0 { before } else { &below };
        let value = match given {
            Given::Number(number) => number.to_string(),
            Given::Text(text) => word(text),
        };
        format!("{indent}{before}{key}: {value}")
    });
    lines.collect()
}

/// Text, in quotes where it would mean something else without.
fn word(text: &str) -> String {
    let first = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_');
    let usual = |c: char| first(c) || c == '-';
    let node = Node {
        span: 0..0,
        value: Value::Scalar(Scalar {
            text: text.to_owned(),
            plain: true,
        }),
    };
    match text.starts_with(first) && text.chars().all(usual) && node.kind() == "text" {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// In double quotes, which JSON and YAML read alike.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
