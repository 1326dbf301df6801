//! Takes secrets out of what is reported: each is replaced by `[secret NAME]`.
//!
//! A value is found as it is, line by line where it has several; as JSON, Rust or a URL write it; and
//! in base64 and hexadecimal digits, also within a longer text that was encoded as a whole. One pass
//! over the text, in linear time, looks for all of them. A function that wants to give a secret away
//! can: it has other ways to write it, and clients to tell. This is against accidents.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::AhoCorasick;

use super::{Given, SHORTEST, Secret};

/// Shorter forms of a secret, and shorter lines of one, are not looked for: they would be found
/// where they are not.
const SHORTEST_FORM: usize = 8;

/// Longer secrets are not looked for in other forms: each takes memory for each of its bytes.
const LONGEST_ENCODED: usize = 4096;

/// The two alphabets of base64.
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FOR_URLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What is taken out of all output. Where there are no secrets it costs one look.
#[derive(Debug, Default)]
pub struct Masks {
    any: AtomicBool,
    masker: RwLock<Option<Arc<Masker>>>,
}

impl Masks {
    /// The text without secrets.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.any.load(Ordering::Acquire) {
            return Cow::Borrowed(text);
        }
        let masker = self.masker.read().unwrap_or_else(PoisonError::into_inner);
        let masker = masker.clone();
        masker.map_or(Cow::Borrowed(text), |masker| masker.mask(text))
    }

    /// The same for a text that is kept.
    pub fn mask_in(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.mask(text) {
            *text = masked;
        }
    }

    /// Masks what the environment has, and nothing else: for who builds, and gives out none.
    pub fn only(&self, given: &Given) {
        let values = given.iter();
        let values = values.filter_map(|(name, value)| Some((&**name, value.as_ref()?)));
        if let Ok(masker) = Masker::new(values) {
            self.set(masker);
        }
    }

    pub(super) fn set(&self, masker: Masker) {
        let any = !masker.names.is_empty();
        let mut current = self.masker.write().unwrap_or_else(PoisonError::into_inner);
        *current = any.then(|| Arc::new(masker));
        self.any.store(any, Ordering::Release);
    }
}

/// Looks for certain secrets.
#[derive(Debug)]
pub(super) struct Masker {
    forms: AhoCorasick,
    /// The name of the secret of each form.
    names: Vec<Arc<str>>,
}

impl Masker {
    /// For these secrets.
    ///
    /// # Errors
    /// More than can be looked for; its bounds are far beyond what [`super::Vault`] takes.
    pub fn new<'s>(
        secrets: impl IntoIterator<Item = (&'s str, &'s Secret)>,
    ) -> Result<Self, aho_corasick::BuildError> {
        let mut forms: BTreeMap<Vec<u8>, Arc<str>> = BTreeMap::new();
        for (name, secret) in secrets {
            let name: Arc<str> = Arc::from(name);
            for form in forms_of(secret.expose()) {
                forms.entry(form).or_insert_with(|| Arc::clone(&name));
            }
        }
        Ok(Self {
            forms: AhoCorasick::new(forms.keys())?,
            names: forms.into_values().collect(),
        })
    }

    fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut masked = String::new();
        // Up to where the text is told already, and the piece that is being looked at: all that
        // overlaps is one, with the name of its longest.
        let mut told = 0;
        let mut piece: Option<Piece> = None;
        let tell = |masked: &mut String, told: &mut usize, piece: Piece| {
            // Forms are whole characters, but of an encoded text they may be parts of one.
            let start = text.floor_char_boundary(piece.start).max(*told);
            masked.push_str(&text[*told..start]);
            // Writing to a string cannot fail.
            let _ = write!(masked, "[secret {}]", self.names[piece.form]);
            *told = text.ceil_char_boundary(piece.end);
        };
        // Ordered by their ends, so one that begins before may still come.
        let mut pieces: Vec<Piece> = Vec::new();
        for found in self.forms.find_overlapping_iter(text) {
            let mut new = Piece {
                start: found.start(),
                end: found.end(),
                form: found.pattern().as_usize(),
                longest: found.end() - found.start(),
            };
            while let Some(last) = pieces.pop_if(|last| new.start < last.end) {
                if last.longest > new.longest {
                    (new.form, new.longest) = (last.form, last.longest);
                }
                new.start = new.start.min(last.start);
                new.end = new.end.max(last.end);
            }
            pieces.push(new);
        }
        if pieces.is_empty() {
            return Cow::Borrowed(text);
        }
        for next in pieces {
            if let Some(piece) = piece.replace(next) {
                tell(&mut masked, &mut told, piece);
            }
        }
        if let Some(piece) = piece {
            tell(&mut masked, &mut told, piece);
        }
        masked.push_str(&text[told..]);
        Cow::Owned(masked)
    }
}

/// A stretch of the text that is not shown.
struct Piece {
    start: usize,
    end: usize,
    form: usize,
    longest: usize,
}

/// All that is looked for.
fn forms_of(secret: &str) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = vec![secret.into()];
    let lines = secret.lines().map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| *line != secret).collect();
    // What a secret of one line has around it is not needed to recognise it.
    let least = if secret.trim().contains('\n') {
        SHORTEST_FORM
    } else {
        SHORTEST
    };
    let lines = lines.into_iter().filter(|line| line.len() >= least);
    forms.extend(lines.map(|line| line.as_bytes().to_vec()));
    if secret.len() <= LONGEST_ENCODED {
        let mut encoded = vec![
            json(secret),
            secret.escape_debug().to_string(),
            secret.escape_default().to_string(),
            percent(secret, true),
            percent(secret, false),
            percent(secret, true).replace("%20", "+"),
            hex(secret, "0123456789abcdef"),
            hex(secret, "0123456789ABCDEF"),
        ];
        for alphabet in [STANDARD, FOR_URLS] {
            encoded.extend((0..3).map(|offset| base64(secret, alphabet, offset)));
        }
        let encoded = encoded
            .into_iter()
            .filter(|form| form.len() >= SHORTEST_FORM);
        forms.extend(encoded.map(String::into_bytes));
    }
    forms
}

/// Between the quotes.
fn json(secret: &str) -> String {
    let quoted = serde_json::to_string(secret).expect("a text has a JSON form");
    quoted[1..quoted.len() - 1].to_owned()
}

/// All but what RFC 3986 calls unreserved.
fn percent(secret: &str, upper: bool) -> String {
    let mut out = String::new();
    for byte in secret.bytes() {
        // Writing to a string cannot fail.
        let _ = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.write_char(byte.into())
            }
            _ if upper => write!(out, "%{byte:02X}"),
            _ => write!(out, "%{byte:02x}"),
        };
    }
    out
}

fn hex(secret: &str, digits: &str) -> String {
    let digit = |value: u8| char::from(digits.as_bytes()[usize::from(value)]);
    let pair = |byte: u8| [digit(byte >> 4), digit(byte & 15)];
    secret.bytes().flat_map(pair).collect()
}

/// What is the same in the base64 of every text that has the secret at an offset with this
/// remainder by three.
fn base64(secret: &str, alphabet: &[u8; 64], offset: usize) -> String {
    // Six bits each; those that also have bits of what stands around it are left out.
    let bits = 8 * secret.len();
    let first = (8 * offset).next_multiple_of(6) - 8 * offset;
    let bytes = secret.as_bytes();
    let bit = |at: usize| (bytes[at / 8] >> (7 - at % 8)) & 1;
    let mut out = String::new();
    let mut at = first;
    while at + 6 <= bits {
        let value = (at..at + 6).fold(0, |value, at| value << 1 | bit(at));
        out.push(alphabet[usize::from(value)].into());
        at += 6;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(secrets: &[(&str, &str)]) -> Masks {
        let secrets: Vec<(&str, Secret)> = secrets
            .iter()
            .map(|(name, value)| (*name, Secret::new((*value).to_owned()).unwrap()))
            .collect();
        let masks = Masks::default();
        let each = secrets.iter().map(|(name, secret)| (*name, secret));
        masks.set(Masker::new(each).unwrap());
        masks
    }

    #[test]
    fn without_secrets_a_text_is_as_it_was() {
        let masks = masks(&[]);
        assert!(matches!(masks.mask("hunter2"), Cow::Borrowed("hunter2")));
        assert!(matches!(
            Masks::default().mask("hunter2"),
            Cow::Borrowed("hunter2")
        ));
    }

    #[test]
    fn each_secret_is_replaced_by_its_name_wherever_it_stands() {
        let masks = masks(&[("A", "hunter2"), ("B", "sésame")]);
        for (text, masked) in [
            ("hunter2", "[secret A]"),
            ("hunter", "hunter"),
            (
                "xhunter2y hunter2hunter2",
                "x[secret A]y [secret A][secret A]",
            ),
            ("öhunter2ö: sésame!", "ö[secret A]ö: [secret B]!"),
            ("", ""),
        ] {
            assert_eq!(masks.mask(text), masked);
        }
    }

    #[test]
    fn nothing_is_left_of_secrets_that_overlap_or_contain_each_other() {
        let masks = masks(&[
            ("A", "abcdef"),
            ("B", "defghijk"),
            ("C", "cdef"),
            ("D", "aaaa"),
        ]);
        for (text, masked) in [
            ("-abcdef-", "-[secret A]-"),
            ("-cdef-", "-[secret C]-"),
            ("-abcdefghijk-", "-[secret B]-"),
            ("-bcdefghijk-", "-b[secret B]-"),
            ("-aaaaaaa-", "-[secret D]-"),
            ("-aaa-", "-aaa-"),
        ] {
            assert_eq!(masks.mask(text), masked);
        }
    }

    #[test]
    fn forms_that_programs_write_are_found() {
        let secret = "pass \"wörd\"/+?&%\\ 42";
        let masks = masks(&[("P", secret)]);
        let json = serde_json::json!({ "password": secret }).to_string();
        for text in [
            format!("{secret:?}"),
            json,
            "/login?p=pass%20%22w%C3%B6rd%22%2F%2B%3F%26%25%5C%2042&x".to_owned(),
            "/login?p=pass%20%22w%c3%b6rd%22%2f%2b%3f%26%25%5c%2042&x".to_owned(),
            "p=pass+%22w%C3%B6rd%22%2F%2B%3F%26%25%5C+42".to_owned(),
            hex(secret, "0123456789abcdef"),
            hex(secret, "0123456789ABCDEF"),
        ] {
            let masked = masks.mask(&text);
            assert!(masked.contains("[secret P]"), "{text}: {masked}");
            for piece in ["w", "42"] {
                assert!(
                    !masked.replace("password", "").contains(piece),
                    "{text}: {masked}"
                );
            }
        }
    }

    #[test]
    fn base64_of_a_text_with_a_secret_in_it_shows_at_most_two_digits_of_it_at_each_end() {
        // As written by others: `printf 'user:correct horse' | base64`.
        let known = masks(&[("P", "correct horse")]);
        assert_eq!(
            known.mask("Basic dXNlcjpjb3JyZWN0IGhvcnNl"),
            "Basic dXNlcjp[secret P]"
        );
        assert_eq!(known.mask("Y29ycmVjdCBob3JzZQ=="), "[secret P]Q==");
        let secret = "?>~ÿ~>?correct";
        let masks = masks(&[("P", secret)]);
        for alphabet in [STANDARD, FOR_URLS] {
            for before in 0..6 {
                for after in 0..3 {
                    let text = format!("{}{secret}{}", "u".repeat(before), "v".repeat(after));
                    let encoded = base64(&text, alphabet, 0);
                    let masked = masks.mask(&encoded);
                    let (start, end) = masked.split_once("[secret P]").expect("is found");
                    assert!(start.len() <= before * 8 / 6 + 2, "{encoded}: {masked}");
                    assert!(end.len() <= after * 8 / 6 + 2, "{encoded}: {masked}");
                }
            }
        }
    }

    #[test]
    fn each_line_of_a_secret_of_several_is_found_by_itself() {
        let secret = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n  kqhkiG9w0BAQ\n}\n-----END KEY-----\n";
        let masks = masks(&[("K", secret)]);
        assert_eq!(masks.mask("key: kqhkiG9w0BAQ, {}"), "key: [secret K], {}");
        assert_eq!(masks.mask("MIIEvQIBADANBg"), "[secret K]");
        assert_eq!(masks.mask(secret), "[secret K]");
        let masks = self::masks(&[("S", " spaced\n")]);
        assert_eq!(masks.mask("spaced out"), "[secret S] out");
    }

    #[test]
    fn a_long_text_of_near_misses_takes_linear_time() {
        let secret = format!("{}b", "a".repeat(1000));
        let masks = masks(&[("L", &secret)]);
        let text = "a".repeat(4 << 20);
        // A search that begins anew at each place would compare 4 · 10^9 times.
        let since = std::time::Instant::now();
        assert!(matches!(masks.mask(&text), Cow::Borrowed(_)));
        assert!(since.elapsed().as_secs() < 5);
    }
}
