//! "did you mean": the nearest of the words that would have been right.

/// Longer words than this are not names, and comparing takes the product of the lengths.
const LONGEST: usize = 64;

/// More candidates than this are not compared.
const MOST: usize = 1000;

/// The candidate that `word` is a misspelling of: at most a third of it wrong.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let length = word.chars().count();
    if length > LONGEST {
        return None;
    }
    let allowed = (length / 3).max(1);
    let measured = candidates.into_iter().take(MOST).filter_map(|candidate| {
        let near = candidate.len().abs_diff(word.len()) <= 4 * allowed;
        let distance = near.then(|| distance(word, candidate))?;
        // All of a short word wrong is another word.
        (distance <= allowed && distance < length).then_some((distance, candidate))
    });
    measured
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// "`a`, `b` and `c`".
pub(super) fn list<'c>(words: impl IntoIterator<Item = &'c str>) -> String {
    let words: Vec<_> = words.into_iter().map(super::problem::quote).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_the_word_and_other_words_do_not() {
        let known = ["name", "path", "language", "context"];
        for (word, meant) in [
            ("nmae", Some("name")),
            ("Name", Some("name")),
            ("pth", Some("path")),
            ("langauge", Some("language")),
            ("contxt", Some("context")),
            ("secrets", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest(&"n".repeat(100_000), known), None);
    }

    #[test]
    fn distances_count_swaps_once() {
        assert_eq!(distance("abcd", "abcd"), 0);
        assert_eq!(distance("abcd", "abdc"), 1);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("hello", "yellow"), 2);
    }
}
