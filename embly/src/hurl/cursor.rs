//! A place in a text: what every part of the format is read with.

use super::Wrong;
use super::template::{Part, Template};

/// Reads on from a place.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'t> {
    pub text: &'t str,
    pub at: usize,
}

impl<'t> Cursor<'t> {
    pub fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    pub fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    /// Passes over this text if it comes next.
    pub fn eat(&mut self, text: &str) -> bool {
        let is = self.rest().starts_with(text);
        if is {
            self.at += text.len();
        }
        is
    }

    pub fn wrong<T>(&self, message: impl Into<String>) -> Result<T, Wrong> {
        Err(Wrong::new(self.at, message))
    }

    pub fn spaces(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.at += 1;
        }
    }

    /// Letters for which this holds.
    pub fn take(&mut self, is: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|letter| !is(letter)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// The rest of a line, in which there is at most a comment.
    pub fn end_of_line(&mut self) -> Result<(), Wrong> {
        self.spaces();
        if self.peek() == Some('#') {
            self.take(|letter| letter != '\n');
        }
        self.eat("\r");
        match self.next() {
            None | Some('\n') => Ok(()),
            Some(letter) => {
                self.at -= letter.len_utf8();
                let rest = self.rest().lines().next().unwrap_or_default();
                self.wrong(format!("`{rest}` is not expected here"))
            }
        }
    }

    /// Passes over lines with nothing but a comment.
    pub fn blank_lines(&mut self) {
        while !self.rest().is_empty() {
            let mut line = self.clone();
            if line.end_of_line().is_err() {
                break;
            }
            *self = line;
        }
        self.spaces();
    }

    /// `{{name}}`, if that comes next.
    pub fn variable(&mut self) -> Result<Option<Part>, Wrong> {
        let at = self.at;
        if !self.eat("{{") {
            return Ok(None);
        }
        self.spaces();
        let name = self.take(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-'));
        self.spaces();
        match !name.is_empty() && self.eat("}}") {
            true => Ok(Some(Part::Variable(at, name.to_owned()))),
            false => self.wrong("a variable is written `{{name}}`; nothing else may stand there"),
        }
    }

    /// Text with variables, up to a letter for which this holds, or the end of the line. `#` begins a
    /// comment.
    pub fn words(&mut self, end: impl Fn(char) -> bool) -> Result<Template, Wrong> {
        let mut template = Template::default();
        // Spaces at the end are none of it.
        let mut spaces = String::new();
        while let Some(letter) = self.peek() {
            if end(letter) || matches!(letter, '\n' | '#') || self.rest().starts_with("\r\n") {
                break;
            }
            if matches!(letter, ' ' | '\t') {
                spaces.push(letter);
                self.at += 1;
                continue;
            }
            spaces.drain(..).for_each(|space| template.push(space));
            match self.variable()? {
                Some(part) => template.0.push(part),
                None if letter == '\\' => template.push(self.escaped()?),
                None => {
                    template.push(letter);
                    self.next();
                }
            }
        }
        Ok(template)
    }

    /// Text in double quotes, with variables.
    pub fn quoted(&mut self) -> Result<Template, Wrong> {
        match self.peek() {
            Some('"') => self.between('"'),
            _ => self.wrong("a text in double quotes is expected"),
        }
    }

    /// Text with variables between this letter, which comes next, and the next one of it in the line.
    pub fn between(&mut self, quote: char) -> Result<Template, Wrong> {
        let start = self.at;
        let mut template = Template::default();
        self.next();
        loop {
            if let Some(part) = self.variable()? {
                template.0.push(part);
                continue;
            }
            match self.peek() {
                Some(letter) if letter == quote => {
                    self.at += 1;
                    return Ok(template);
                }
                Some('\\') => template.push(self.escaped()?),
                Some(letter) if letter != '\n' => {
                    template.push(letter);
                    self.next();
                }
                _ => return Err(Wrong::new(start, "this text has no closing quote")),
            }
        }
    }

    /// What a `\` and the next letter stand for.
    fn escaped(&mut self) -> Result<char, Wrong> {
        let at = self.at;
        self.at += 1;
        let letter = match self.next() {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some(letter @ ('"' | '\\' | '#' | '/' | ':' | '`')) => letter,
            Some('u') if self.eat("{") => {
                let digits = self.take(|letter| letter.is_ascii_hexdigit());
                let letter = u32::from_str_radix(digits, 16)
                    .ok()
                    .and_then(char::from_u32);
                match letter {
                    Some(letter) if self.eat("}") => letter,
                    _ => return Err(Wrong::new(at, "`\\u{…}` has the number of a character")),
                }
            }
            _ => return Err(Wrong::new(at, "this `\\` stands for nothing that is known")),
        };
        Ok(letter)
    }

    /// Text as it is, up to this text, which is passed over; `{{name}}` is a variable where `variables`
    /// says so.
    pub fn until(&mut self, end: &str, variables: bool) -> Result<Template, Wrong> {
        let start = self.at;
        let mut template = Template::default();
        while !self.eat(end) {
            if variables && let Some(part) = self.variable()? {
                template.0.push(part);
                continue;
            }
            match self.next() {
                Some(letter) => template.push(letter),
                None => return Err(Wrong::new(start, format!("there is no `{end}` after this"))),
            }
        }
        Ok(template)
    }

    /// A value of JSON with variables: up to where its brackets are closed.
    pub fn json(&mut self) -> Result<Template, Wrong> {
        let start = self.at;
        let mut template = Template::default();
        let (mut open, mut quoted) = (0_usize, false);
        loop {
            if let Some(part) = self.variable()? {
                template.0.push(part);
                continue;
            }
            let Some(letter) = self.next() else {
                return Err(Wrong::new(start, "this JSON is not closed"));
            };
            template.push(letter);
            match letter {
                '\\' if quoted => self.next().into_iter().for_each(|next| template.push(next)),
                '"' => quoted = !quoted,
                '{' | '[' if !quoted => open += 1,
                '}' | ']' if !quoted => open = open.saturating_sub(1),
                _ => {}
            }
            if open == 0 && !quoted && matches!(letter, '}' | ']' | '"') {
                return Ok(template);
            }
        }
    }
}
