//! Text in lines that fit into a terminal: broken between words.

use super::text::without_colours;

/// Nothing is broken to fit into fewer columns than this: there would be a word in each line.
const NARROWEST: usize = 20;

/// What goes on of a line that begins with one of these stands behind it: hints, and what was found.
const MARKS: [&str; 4] = ["→ ", "✓ ", "! ", "✗ "];

/// How an indented line begins that is there to be copied: it stays whole.
const COMMANDS: [&str; 2] = ["embly ", "cd "];

/// The text, each of its lines broken between words where it is wider than so many columns. What goes
/// on is as far to the right as its line begins.
pub fn wrapped(text: &str, columns: usize) -> String {
    let mut all = String::with_capacity(text.len() + 16);
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            all.push('\n');
        }
        let words = line.trim_start_matches(' ');
        let spaces = &line[..line.len() - words.len()];
        let begins = |with: &&str| words.starts_with(*with);
        if !spaces.is_empty() && COMMANDS.iter().any(&begins) {
            all.push_str(line);
            continue;
        }
        let mark = MARKS.into_iter().find(begins).unwrap_or_default();
        all.push_str(spaces);
        all.push_str(mark);
        let indent = spaces.len() + width(mark);
        wrap(&words[mark.len()..], columns, indent, &mut all);
    }
    all
}

/// Adds words, of which the first stands behind `indent` columns, in lines that fit; the others begin
/// with as many spaces. What stands between backticks is one word, where a line has room for it: it is
/// there to be typed.
pub fn wrap(words: &str, columns: usize, indent: usize, text: &mut String) {
    let columns = columns.max(NARROWEST);
    let room = columns.saturating_sub(indent);
    let mut column = indent;
    let mut is_begun = false;
    for word in typed(words, room) {
        let length = width(word);
        if is_begun && column + 1 + length > columns {
            if word.is_empty() {
                continue;
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if is_begun {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
        is_begun = true;
    }
}

/// The words; what stands between backticks and is no wider than so many columns is one of them.
fn typed(text: &str, room: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let all = rest?;
        let mut is_code = false;
        let whole = all.char_indices().find(|(_, letter)| {
            is_code ^= *letter == '`';
            *letter == ' ' && !is_code
        });
        let end = whole.map_or(all.len(), |(at, _)| at);
        let fits = width(&all[..end]) <= room;
        let end = match all.find(' ') {
            Some(first) if !fits => first,
            _ => end,
        };
        rest = all.get(end + 1..);
        Some(&all[..end])
    })
}

/// Columns that a text takes: colours take none.
fn width(text: &str) -> usize {
    match text.contains('\x1b') {
        true => without_colours(text).chars().count(),
        false => text.chars().count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_go_on_below_their_beginning() {
        assert_eq!(
            wrapped("one two three four five six", 20),
            "one two three four\nfive six"
        );
        assert_eq!(
            wrapped("error: no\n  → one two three four five", 20),
            "error: no\n  → one two three\n    four five"
        );
        let fits = "a  table  of\n  three  columns\n";
        assert_eq!(wrapped(fits, 20), fits);
        assert_eq!(
            wrapped("a word   at the   end of it", 20),
            "a word   at the\nend of it"
        );
        let word = "a/word/that/is/wider/than/the/terminal";
        assert_eq!(
            wrapped(&format!("in {word} it"), 20),
            format!("in\n{word}\nit")
        );
    }

    #[test]
    fn what_is_to_be_typed_stays_in_one_line_where_it_fits() {
        let text = "say `embly dev --bind :0`, or not";
        assert_eq!(wrapped(text, 24), "say\n`embly dev --bind :0`,\nor not");
        let command = "made it\n\n  embly dev --bind 127.0.0.1:0";
        assert_eq!(wrapped(command, 24), command);
        let long = "type `embly dev --state /srv/shop`";
        assert_eq!(wrapped(long, 20), "type `embly dev\n--state /srv/shop`");
        assert_eq!(
            wrapped("a ` that nobody closes again", 20),
            "a ` that nobody\ncloses again"
        );
    }

    #[test]
    fn colours_take_no_room() {
        let text = "\x1b[1mone two\x1b[0m three four";
        assert_eq!(wrapped(text, 20), text);
    }

    #[test]
    fn the_first_line_of_a_list_stands_behind_its_name() {
        let mut text = "  E101  ".to_owned();
        wrap("one two three four", 20, 8, &mut text);
        assert_eq!(text, "  E101  one two\n        three four");
    }
}
