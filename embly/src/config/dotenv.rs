//! The file `.env` in the project folder. Only `embly dev` reads it. Its values may be secrets, and are
//! not masked yet where its problems are told: these have a place and show nothing of the text.

use std::collections::BTreeMap;
use std::path::Path;

use super::codes;
use super::environment::is_name;
use super::problem::{Problem, Problems};
use super::read;

/// Name of the file, in the project folder.
pub const DOTENV: &str = ".env";

/// The variables of the file; none if it is not there. The last of two lines for one name wins.
pub fn dotenv(file: &Path) -> Result<BTreeMap<String, String>, Problems> {
    if !file.exists() {
        return Ok(BTreeMap::new());
    }
    let mut problems = read::text(file).map_err(Problems::secret)?.secret();
    let text = problems.text.clone();
    let mut variables = BTreeMap::new();
    let mut at = 0;
    for whole in text.split_inclusive('\n') {
        let line = whole.trim();
        let start = at + (whole.len() - whole.trim_start().len());
        at += whole.len();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match variable(line) {
            Ok((name, value)) => {
                variables.insert(name.to_owned(), value);
            }
            Err(why) => {
                let problem = Problem::new(&codes::DOTENV, start..start, why);
                problems.push(problem.help("write `NAME=value` or `NAME=\"value\"`"));
            }
        }
    }
    match problems.is_empty() {
        true => Ok(variables),
        false => Err(problems),
    }
}

fn variable(line: &str) -> Result<(&str, String), &'static str> {
    let line = match line.strip_prefix("export ") {
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let (name, value) = line.split_once('=').ok_or("a line without `=`")?;
    let name = name.trim_end();
    if !is_name(name) {
        return Err("this is not a name of a variable");
    }
    let value = value.trim_start();
    let (value, rest) = match value.chars().next() {
        Some('\'') => single_quoted(&value[1..])?,
        Some('"') => double_quoted(&value[1..])?,
        _ => return Ok((name, bare(value))),
    };
    let rest = rest.trim_start();
    match rest.is_empty() || rest.starts_with('#') {
        true => Ok((name, value)),
        false => Err("there is more after the closing quote"),
    }
}

/// Up to a `#` that has a space before it.
fn bare(value: &str) -> String {
    let comment = value.char_indices().find(|(at, c)| {
        *c == '#'
            && value[..*at]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace)
    });
    let end = comment.map_or(value.len(), |(at, _)| at);
    value[..end].trim_end().to_owned()
}

fn single_quoted(value: &str) -> Result<(String, &str), &'static str> {
    let (value, rest) = value
        .split_once('\'')
        .ok_or("the quote `'` is not closed")?;
    Ok((value.to_owned(), rest))
}

fn double_quoted(value: &str) -> Result<(String, &str), &'static str> {
    let mut text = String::new();
    let mut chars = value.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((text, &value[at + 1..])),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some(c @ ('"' | '\\' | '$')) => text.push(c),
                _ => return Err("only `\\n`, `\\t`, `\\\"`, `\\\\` and `\\$` may follow a `\\`"),
            },
            c => text.push(c),
        }
    }
    Err("the quote `\"` is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_tells_its_place_and_nothing_of_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(DOTENV);
        for line in [
            &b"STRIPE_KEY=\"sk_live_51"[..],
            b"STRIPE_KEY='sk_live_51",
            b"sk_live_51",
            b"STRIPE_KEY='a'sk_live_51",
            b"STRIPE KEY=sk_live_51",
            b"STRIPE_KEY=\"sk_live_51\\x\"",
            b"STRIPE_KEY=sk_live_51\xff",
        ] {
            std::fs::write(&file, [b"A=b\n", line, b"\n"].concat()).unwrap();
            let problems = dotenv(&file).unwrap_err();
            let json = serde_json::to_string(&problems).unwrap();
            for text in [problems.render(false, None), json.clone()] {
                assert!(
                    !text.contains("sk_live") && !text.contains("STRIPE"),
                    "{text}"
                );
            }
            assert!(json.contains("\"line\":2"), "{json}");
            assert!(problems.to_string().contains(".env:2:"), "{problems}");
        }
    }

    #[test]
    fn lines_are_read_as_in_a_shell() {
        for (line, value) in [
            ("A=b", "b"),
            ("export A = b c # d", "b c"),
            ("A=", ""),
            ("A=# x", ""),
            ("A=b#c", "b#c"),
            ("A='b # $c\\n' # d", "b # $c\\n"),
            ("A=\"b\\n\\\"c\\$\"", "b\n\"c$"),
            ("A=x=y", "x=y"),
        ] {
            assert_eq!(variable(line), Ok(("A", value.to_owned())), "{line}");
        }
        for line in [
            "A",
            "=b",
            "1A=b",
            "A B=c",
            "A='b",
            "A=\"b",
            "A=\"\\x\"",
            "A='b'c",
        ] {
            assert!(variable(line).is_err(), "{line}");
        }
    }
}
