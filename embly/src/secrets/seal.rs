//! The form of the file of secrets, version 1:
//!
//! | bytes | what |
//! |---|---|
//! | 16 | `embly-secrets-1\n` |
//! | 8 | which key: HKDF-SHA256 of it, so that a wrong key is told from a damaged file |
//! | 32 | salt, random for each time that the file is written |
//! | the rest | a JSON list of `{"name", "value", "set"}`, with ChaCha20-Poly1305 and its 16 bytes |
//!
//! The cipher's key is HKDF-SHA256 of the key and the salt, so none is used twice, and its nonce is 0.
//! All bytes before are authenticated with it.

use ring::aead::{self, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{self, HKDF_SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::key::Key;

const MAGIC: &[u8; 16] = b"embly-secrets-1\n";

/// What all versions begin with.
const FAMILY: &[u8] = b"embly-secrets-";

const ID: usize = 8;
const SALT: usize = 32;
const HEADER: usize = MAGIC.len() + ID + SALT;

/// Why it is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unopened {
    /// Not one of these files.
    Foreign,
    /// Of another version of Embly.
    Version,
    /// It was closed with another key.
    OtherKey,
    /// It was changed or cut.
    Damaged,
}

/// Closes a text.
///
/// # Errors
/// The system has no random numbers.
pub(super) fn seal(key: &Key, plain: &[u8]) -> Result<Vec<u8>, ring::error::Unspecified> {
    let mut salt = [0; SALT];
    SystemRandom::new().fill(&mut salt)?;
    let mut header = Vec::with_capacity(HEADER + plain.len() + CHACHA20_POLY1305.tag_len());
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&id(key)?);
    header.extend_from_slice(&salt);
    // In place: nothing of the plain text is left.
    let mut sealed = Vec::with_capacity(plain.len() + CHACHA20_POLY1305.tag_len());
    sealed.extend_from_slice(plain);
    cipher(key, &salt)?.seal_in_place_append_tag(nonce(), Aad::from(&header), &mut sealed)?;
    header.append(&mut sealed);
    Ok(header)
}

/// Opens it.
///
/// # Errors
/// See [`Unopened`].
pub(super) fn open(key: &Key, mut file: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    if !file.starts_with(MAGIC) {
        let family = file.starts_with(FAMILY) && file.len() >= MAGIC.len();
        return Err(match family {
            true => Unopened::Version,
            // What was cut is called so.
            false if MAGIC.starts_with(&file) => Unopened::Damaged,
            false => Unopened::Foreign,
        });
    }
    if file.len() < HEADER {
        return Err(Unopened::Damaged);
    }
    let mut sealed = file.split_off(HEADER);
    let salt = &file[MAGIC.len() + ID..];
    let damaged = |_| Unopened::Damaged;
    if file[MAGIC.len()..MAGIC.len() + ID] != id(key).map_err(damaged)? {
        return Err(Unopened::OtherKey);
    }
    let cipher = cipher(key, salt).map_err(damaged)?;
    let plain = cipher.open_in_place(nonce(), Aad::from(&file), &mut sealed);
    let length = plain.map_err(damaged)?.len();
    sealed.truncate(length);
    Ok(Zeroizing::new(sealed))
}

/// Each key is used for one text.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn cipher(key: &Key, salt: &[u8]) -> Result<LessSafeKey, ring::error::Unspecified> {
    let prk = hkdf::Salt::new(HKDF_SHA256, salt).extract(&*key.0);
    let okm = prk.expand(&[b"embly secrets, cipher"], &CHACHA20_POLY1305)?;
    Ok(LessSafeKey::new(UnboundKey::from(okm)))
}

/// Tells keys apart, and tells nothing of them.
fn id(key: &Key) -> Result<[u8; ID], ring::error::Unspecified> {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            ID
        }
    }
    let prk = hkdf::Salt::new(HKDF_SHA256, b"").extract(&*key.0);
    let mut id = [0; ID];
    prk.expand(&[b"embly secrets, which key"], Length)?
        .fill(&mut id)?;
    Ok(id)
}

// The text that a file holds is longer by this.
const _: () = assert!(aead::MAX_TAG_LEN == 16, "the form of the file says so");

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn what_was_sealed_is_opened_with_the_same_key_only() {
        let sealed = seal(&key(1), b"a text").unwrap();
        assert_eq!(sealed.len(), HEADER + 6 + 16);
        assert_eq!(**open(&key(1), sealed.clone()).unwrap(), *b"a text");
        assert_eq!(open(&key(2), sealed.clone()), Err(Unopened::OtherKey));
        // Equal texts do not look equal.
        assert_ne!(
            seal(&key(1), b"a text").unwrap()[HEADER..],
            sealed[HEADER..]
        );
    }

    #[test]
    fn a_change_of_any_bit_and_a_cut_anywhere_are_noticed() {
        let sealed = seal(&key(1), b"a text").unwrap();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut other = sealed.clone();
                other[at] ^= 1 << bit;
                assert!(open(&key(1), other).is_err(), "{at}");
            }
            let cut = open(&key(1), sealed[..at].to_vec());
            assert_eq!(cut, Err(Unopened::Damaged), "{at}");
        }
        let longer = [&sealed[..], b"x"].concat();
        assert_eq!(open(&key(1), longer), Err(Unopened::Damaged));
    }

    #[test]
    fn other_files_and_other_versions_are_told_apart() {
        assert_eq!(
            open(&key(1), b"STRIPE_KEY=abc".to_vec()),
            Err(Unopened::Foreign)
        );
        let newer = b"embly-secrets-2\nxxxxxxxxx".to_vec();
        assert_eq!(open(&key(1), newer), Err(Unopened::Version));
    }

    /// The form is for good: this file was written by the first version.
    #[test]
    fn a_file_of_the_first_version_is_still_opened() {
        let plain = open(&key(7), GOLDEN.to_vec()).unwrap();
        assert_eq!(**plain, *br#"[{"name":"A","value":"golden","set":1}]"#);
    }

    const GOLDEN: &[u8] = include_bytes!("golden.enc");
}
