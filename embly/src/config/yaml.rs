//! The only module that knows the YAML parser: text in, a tree with places out.
//!
//! Never more than the text says: anchors, aliases and tags are refused, so a small file
//! cannot become a big tree, and a value is always where it is used.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, StrInput, StructureStyle};

use super::codes;
use super::problem::{Problem, Problems, quote};
use super::tree::{Entry, Node, Scalar, Value};

/// Levels of lists and maps, of each of YAML's two notations. A project file needs six.
const DEPTH: usize = 16;

/// Reads `problems.text`. `None`: it cannot be read, or there is nothing in it; said in
/// `problems`.
pub(super) fn parse(problems: &mut Problems) -> Option<Node> {
    let text = problems.text.clone();
    let options = granit_parser::options! {
        flow_nesting_limit: DEPTH as _,
        block_nesting_limit: DEPTH as _,
    };
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(&text, options),
        text: &text,
        problems,
    };
    match reader.document() {
        Ok(node) => node,
        Err(error) => {
            let problem = syntax(&text, &error);
            problems.push(problem);
            None
        }
    }
}

struct Reader<'t, 'p> {
    events: Parser<'t, StrInput<'t>>,
    text: &'t str,
    problems: &'p mut Problems,
}

impl<'t> Reader<'t, '_> {
    fn next(&mut self) -> Result<(Event<'t>, Range<usize>), ScanError> {
        match self.events.next_event() {
            Some(Ok((event, span))) => {
                let end = self.text.len();
                let range = span.byte_range().unwrap_or(end..end);
                if let Some(tag) = span.tag_span().and_then(|tag| tag.byte_range()) {
                    self.refuse(
                        tag,
                        "tag",
                        "remove it; text that looks like a number needs quotes",
                    );
                }
                Ok((event, range))
            }
            Some(Err(error)) => Err(error),
            None => Ok((Event::StreamEnd, self.text.len()..self.text.len())),
        }
    }

    fn document(&mut self) -> Result<Option<Node>, ScanError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    self.refuse(span, "second document", "keep one; remove the line `---`");
                    break;
                }
                Event::DocumentStart(..) => {}
                event => root = Some(self.node(event, span)?),
            }
        }
        if root.as_ref().is_none_or(|node| node.is_null()) {
            self.problems.push(
                Problem::of_file(&codes::EMPTY, "there is nothing in this file")
                    .help("`embly new NAME` makes a project to start from"),
            );
            return Ok(None);
        }
        Ok(root)
    }

    /// The node that begins with `event`. The parser's nesting limits bound the recursion.
    fn node(&mut self, event: Event<'t>, span: Range<usize>) -> Result<Node, ScanError> {
        let anchor = event.anchor_id().is_some();
        let mut node = match event {
            Event::Scalar(text, style, ..) => Node {
                value: Value::Scalar(Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain,
                }),
                span,
            },
            Event::SequenceStart(style, ..) => self.list(style, span)?,
            Event::MappingStart(style, ..) => self.map(style, span)?,
            Event::Alias(_) => {
                self.refuse(span.clone(), "alias", "write the value out");
                Node::broken(span)
            }
            // No other event can stand where a node begins.
            _ => Node::broken(span),
        };
        if anchor {
            let before = self.text[..node.span.start].rfind('&');
            let start = before.unwrap_or(node.span.start);
            let name = self.text[start..].find(char::is_whitespace);
            let end = name.map_or(self.text.len(), |length| start + length);
            self.refuse(start..end, "anchor", "remove it");
            node.value = Value::Broken;
        }
        Ok(node)
    }

    fn list(&mut self, style: StructureStyle, start: Range<usize>) -> Result<Node, ScanError> {
        let mut items: Vec<Node> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                let last = items.last().map_or(start.end, |item| item.span.end);
                let end = end_of(style, last, span);
                return Ok(Node {
                    span: start.start..end,
                    value: Value::List(items),
                });
            }
            items.push(self.node(event, span)?);
        }
    }

    fn map(&mut self, style: StructureStyle, start: Range<usize>) -> Result<Node, ScanError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut last = start.end;
        let mut seen = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Node {
                    span: start.start..end_of(style, last, span),
                    value: Value::Map(entries),
                });
            }
            let key = self.node(event, span)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            last = value.span.end.max(key.span.end);
            let key_span = key.span;
            match key.value {
                Value::Scalar(Scalar { text: key, .. }) => {
                    if let Some(first) = seen.get(&key).cloned() {
                        self.twice(&key, key_span, first);
                        continue;
                    }
                    seen.insert(key.clone(), key_span.clone());
                    entries.push(Entry {
                        key,
                        key_span,
                        value,
                    });
                }
                Value::Broken => {}
                _ => self.problems.push(Problem::new(
                    &codes::WRONG_TYPE,
                    key_span,
                    "a key must be text, not a list or map",
                )),
            }
        }
    }

    fn twice(&mut self, key: &str, span: Range<usize>, first: Range<usize>) {
        let problem = Problem::new(
            &codes::DUPLICATE_KEY,
            span,
            format!("the key {} is here twice", quote(key)),
        );
        self.problems.push(
            problem
                .related(first, "the first one")
                .help("remove one of the two; a further list item begins with `-`"),
        );
    }

    fn refuse(&mut self, span: Range<usize>, what: &str, help: &str) {
        let article = if what.starts_with('a') { "an" } else { "a" };
        let message = format!("{article} {what} is not allowed in a project file");
        self.problems
            .push(Problem::new(&codes::YAML_FEATURE, span, message).help(help));
    }
}

/// The end event of a block stands at whatever comes next, that of `[]` and `{}` at the bracket.
fn end_of(style: StructureStyle, last: usize, end_event: Range<usize>) -> usize {
    match style {
        StructureStyle::Flow => end_event.end,
        StructureStyle::Block => last,
    }
}

/// The parser's error, with what the user can do about the usual ones.
fn syntax(text: &str, error: &ScanError) -> Problem {
    let at = error.marker().byte_offset().unwrap_or(text.len());
    // An end that comes too early is shown at the last thing that is there.
    let last = text.trim_end().char_indices().next_back();
    let start = text.floor_char_boundary(at.min(last.map_or(0, |(at, _)| at)));
    let end = text.ceil_char_boundary(start + 1);
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        let message = format!("more than {DEPTH} levels of lists and maps");
        return Problem::new(&codes::TOO_BIG, start..end, message);
    }

    if let Some(tab) = tab_before(text, start) {
        let problem = Problem::new(&codes::SYNTAX, tab..tab + 1, "a tab in the indentation");
        return problem.help("indent with spaces; YAML allows no tabs there");
    }
    let problem = Problem::new(&codes::SYNTAX, start..end, error.kind().to_string());
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    if line.contains("${") {
        return problem.help("put the value in quotes: `\"${NAME}\"`");
    }
    if let Some(value) = with_braces(line) {
        return problem.help(format!(
            "a value with `{{` in it needs quotes here: `\"{value}\"`"
        ));
    }
    let before = text[line_start..start].trim_start();
    match error.kind() {
        ErrorKind::MappingValueNotAllowed if before.contains(": ") => {
            problem.help("a value that has `: ` in it needs quotes")
        }
        // The colon behind the key itself.
        ErrorKind::MappingValueNotAllowed => problem.help(
            "it is further in than the line above: put both in one column, or `- ` in front of that one if an \
             item of a list begins there",
        ),
        ErrorKind::ExpectedBlockSequenceEntry => problem.help(
            "put `- ` in front if an item of a list begins here, or else put it in the column of the keys above",
        ),
        ErrorKind::SimpleKeyExpected => problem.help("a key has `: ` behind it: `port: 8082`"),
        _ => problem,
    }
}

/// The first tab that a line begins with, up to the line below this place: that is what the parser has
/// stumbled over, here or further up.
fn tab_before(text: &str, place: usize) -> Option<usize> {
    let rest = text[place..].match_indices('\n').nth(1);
    let until = rest.map_or(text.len(), |(at, _)| place + at);
    let mut at = 0;
    for line in text[..until].split_inclusive('\n') {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line[..indent].find('\t')
            && !line.trim().is_empty()
        {
            return Some(at + tab);
        }
        at += line.len();
    }
    None
}

/// A value with braces in it on a line of a map in braces, such as a path with a parameter.
fn with_braces(line: &str) -> Option<&str> {
    let within = line.match_indices('{').find(|(at, _)| {
        let before = line[..*at].chars().next_back();
        before.is_some_and(|before| !before.is_whitespace() && !"{[:,\"'$".contains(before))
    });
    let (brace, _) = within?;
    let start = line[..brace]
        .rfind([' ', ',', '{', '['])
        .map_or(0, |at| at + 1);
    let closed = line[brace..]
        .find('}')
        .map_or(line.len(), |at| brace + at + 1);
    let more = line[closed..].find([' ', ',', '}', ']']);
    let end = more.map_or(line.len(), |at| closed + at);
    let value = &line[start..end];
    let is_plain = |letter: char| letter.is_ascii_graphic() && !"\"'`\\".contains(letter);
    value.chars().all(is_plain).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn tree(text: &str) -> (Option<Node>, Problems) {
        let mut problems = Problems::new(PathBuf::from("/x.yml"), text.to_owned());
        (parse(&mut problems), problems)
    }

    fn pieces<'t>(node: &Node, text: &'t str, into: &mut Vec<&'t str>) {
        into.push(&text[node.span.clone()]);
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| pieces(item, text, into)),
            Value::Map(entries) => entries.iter().for_each(|entry| {
                into.push(&text[entry.key_span.clone()]);
                pieces(&entry.value, text, into);
            }),
            _ => {}
        }
    }

    #[test]
    fn a_tab_is_shown_where_it_is_and_braces_in_a_value_are_told_to_be_quoted() {
        let first = |text: &str| {
            let (_, problems) = tree(text);
            let mut all = problems.iter();
            let problem = all.next().expect("it is no YAML");
            let span = problem.span.clone().expect("it has a place");
            (span.start, problem.help.clone().unwrap_or_default())
        };
        for (text, at) in [
            ("\tfoo: 1\nfunctions:\n  - a\n", 0),
            ("a:\n  - b: 1\n\t  c: 2\n", 12),
        ] {
            let (start, help) = first(text);
            assert_eq!(start, at, "{text:?}");
            assert!(help.contains("no tabs"), "{help}");
        }
        for (text, value) in [
            (
                "r:\n  - {path: /price/{item}, function: a}\n",
                "/price/{item}",
            ),
            ("r:\n  - {function: a, path: /p/{item}}\n", "/p/{item}"),
            ("r: [{path: /p/{a}/x, function: b}]\n", "/p/{a}/x"),
        ] {
            let (_, help) = first(text);
            assert!(help.contains(&format!("`\"{value}\"`")), "{text:?}: {help}");
        }
    }

    #[test]
    fn every_key_and_value_knows_its_bytes() {
        let text = "a: [1, 'zwei'] # x\r\nü:\r\n  - b: {c: \"d\"}   # y\r\n    e:   f g  \r\n";
        let (node, problems) = tree(text);
        assert!(problems.is_empty());
        let mut found = Vec::new();
        pieces(&node.expect("it is YAML"), text, &mut found);
        assert_eq!(
            found[1..],
            [
                "a",
                "[1, 'zwei']",
                "1",
                "'zwei'",
                "ü",
                "- b: {c: \"d\"}   # y\r\n    e:   f g",
                "b: {c: \"d\"}   # y\r\n    e:   f g",
                "b",
                "{c: \"d\"}",
                "c",
                "\"d\"",
                "e",
                "f g",
            ]
        );
    }

    #[test]
    fn values_are_told_apart_as_in_yaml() {
        let (node, _) = tree("[a, 1, -1.5e3, 0x1F, 1.2.3, '1', true, ~, null]");
        let Some(Value::List(items)) = node.map(|node| node.value) else {
            panic!("a list");
        };
        let kinds: Vec<_> = items.iter().map(Node::kind).collect();
        assert_eq!(
            kinds[..8],
            [
                "text",
                "a number",
                "a number",
                "a number",
                "text",
                "text",
                "true or false",
                "nothing"
            ]
        );
    }
}
