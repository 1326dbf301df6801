//! Secrets: values that only those functions get that list them, and that no output shows.
//!
//! They lie in an encrypted file of the state folder ([`Vault`]), whose key lies elsewhere
//! ([`KEY_FILE`]); what the file does not have is taken from the environment. [`Secrets`] holds what a running
//! master gives out, and follows the file. [`Masks`] takes the values out of whatever is reported.

mod key;
mod live;
mod mask;
mod seal;
mod vault;

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

pub use key::{KEY_FILE, KeyError};
pub use live::{Given, Handed, Secrets};
pub use mask::Masks;
pub use vault::{Entry, Stored, Vault, VaultError};

/// Fewer bytes than this cannot be taken out of a log: they are in every other line.
pub const SHORTEST: usize = 4;

/// More bytes are not a password, a token or a private key. All that a function has in its
/// environment must fit in one frame.
pub const LONGEST: usize = 32 * 1024;

/// A value that is not to be seen. It is wiped when the last copy goes, and does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

/// Why a text cannot be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Less than [`SHORTEST`].
    #[error("has fewer than {SHORTEST} bytes, which cannot be kept out of the log")]
    Short,
    /// More than [`LONGEST`].
    #[error("has more than {LONGEST} bytes")]
    Long,
    /// Environment variables end there.
    #[error("has a NUL character, which no environment variable can have")]
    Nul,
}

impl Secret {
    /// Takes a value.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn new(value: String) -> Result<Self, Unfit> {
        let value = Zeroizing::new(value);
        match value.len() {
            0..SHORTEST => Err(Unfit::Short),
            SHORTEST..=LONGEST if value.contains('\0') => Err(Unfit::Nul),
            SHORTEST..=LONGEST => Ok(Self(Arc::new(value))),
            _ => Err(Unfit::Long),
        }
    }

    /// The value. Whoever has it must not print it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The longest name, in bytes: it stands in messages, and beside the value in the environment.
pub const LONGEST_NAME: usize = 128;

/// Whether a secret can have this name: that of an environment variable, as `${NAME}` takes it.
pub fn is_name(name: &str) -> bool {
    let first = name.bytes().next();
    name.len() <= LONGEST_NAME
        && first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What to type so that there is a secret of this name.
pub fn advice(name: &str, option: &str) -> String {
    format!(
        "type `embly secrets set {name}{option}`, or set it before you start `embly`: `export {name}=…`; \
         `embly dev` also reads `.env`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_neither_itself_nor_its_length() {
        let secret = Secret::new("correct horse".to_owned()).unwrap();
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "[secret] Some([secret])"
        );
        assert_eq!(secret.expose(), "correct horse");
    }

    #[test]
    fn what_cannot_be_masked_or_be_a_variable_is_no_secret() {
        let unfit = |value: &str| Secret::new(value.to_owned()).err();
        assert_eq!(unfit(""), Some(Unfit::Short));
        assert_eq!(unfit("abc"), Some(Unfit::Short));
        assert_eq!(unfit("abcd"), None);
        assert_eq!(unfit("ab\0cd"), Some(Unfit::Nul));
        assert_eq!(unfit(&"a".repeat(LONGEST)), None);
        assert_eq!(unfit(&"a".repeat(LONGEST + 1)), Some(Unfit::Long));
    }

    #[test]
    fn names_are_those_of_variables() {
        for name in ["A", "_", "STRIPE_KEY", "a1", &"A".repeat(LONGEST_NAME)] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "1A",
            "A-B",
            "A B",
            "ä",
            "A=B",
            &"A".repeat(LONGEST_NAME + 1),
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
