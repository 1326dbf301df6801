//! Bundles: a project in one file, as it is taken to another machine. `docs/bundles.md` is the format.
//!
//! [`Bundle`] is what goes in, [`unpack`] and [`examine`] read one, [`key`] signs. Whatever is read is
//! checked before it is used: [`manifest`] says which names and sizes there can be, `tar` knows plain
//! files only, and no more is unpacked than the manifest has promised.

mod debug;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod key;
pub mod manifest;
mod read;
mod tar;
mod write;

use std::io;

pub use debug::dwarf;
pub use key::{KeyError, SigningKey, VerifyKey};
pub use manifest::{MANIFEST, PROJECT};
pub use read::{examine, unpack};
pub use write::{Bundle, Content, WriteError};

/// How the name of a bundle ends.
pub const ENDING: &str = "embly";

/// What a bundle may have at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files.
    pub files: usize,
    /// Bytes of all files together, unpacked.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A site with a photo for each day of a life has fewer.
            files: 10_000,
            // Disks have room for several versions of that.
            bytes: 1 << 30,
        }
    }
}

/// Why a bundle is not used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Something else.
    #[error("it is not a bundle: `embly bundle` makes one of a project")]
    Other,
    /// Of a later format.
    #[error(
        "it is of format {0}, and this version of Embly reads format 1: install the version that has made it"
    )]
    Newer(u64),
    /// It was not copied to its end.
    #[error("it ends too early: copy it again")]
    Truncated,
    /// Something in it is not what it says itself.
    #[error("it is damaged: {0}; copy it again")]
    Damaged(String),
    /// An entry that `embly bundle` does not write.
    #[error("its entry `{}` {why}: somebody has made it by other means, do not use it", path.escape_debug())]
    Entry {
        /// What it is called.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Too many files.
    #[error("it has more than {0} files")]
    TooMany(usize),
    /// Too much in it.
    #[error("unpacked it is larger than {} MiB", .0 >> 20)]
    TooLarge(u64),
    /// It was made to fill a disk.
    #[error(
        "it grows more than {}-fold as it is unpacked: somebody has made it by other means, do not use it",
        read::EXPANSION
    )]
    Expands,
    /// Nobody has signed it, and somebody must have.
    #[error(
        "it is not signed, and `--verify-key` wants that: make it with `embly bundle --sign-key FILE`"
    )]
    Unsigned,
    /// Somebody else has signed it.
    #[error("another key than the one of `--verify-key` has signed it: {0}")]
    WrongSigner(String),
    /// The signature is not of this bundle.
    #[error("its signature is wrong: somebody has changed it, do not use it")]
    BadSignature,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// It cannot be unpacked.
    #[error("cannot write `{path}`: {source}")]
    Write {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// What a bundle is, once all of it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// SHA-256 of its manifest, in hex, which has those of all files: two with the same one have the same
    /// in them.
    pub checksum: String,
    /// The key that has signed it, in hex, if any has.
    pub signed_by: Option<String>,
    /// How many files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digit = |digit: u8| char::from_digit(digit.into(), 16).expect("less than 16");
    digits.map(digit).collect()
}

/// So many bytes of lower-case hex, and nothing else.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digit = |at: usize| match pair[at] {
            digit @ (b'0'..=b'9' | b'a'..=b'f') => char::from(digit).to_digit(16),
            _ => None,
        };
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}
