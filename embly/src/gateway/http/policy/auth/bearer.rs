//! Tokens of which only hashes are known (RFC 6750).

use subtle::{Choice, ConstantTimeEq};

use super::super::User;
use super::{Refused, token_challenge};

/// The hashes.
pub struct Bearer(Vec<[u8; 32]>);

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bearer").finish_non_exhaustive()
    }
}

impl Bearer {
    /// Those of the project file.
    pub fn new(hashes: &[[u8; 32]]) -> Self {
        Self(hashes.to_vec())
    }

    /// Whoever has one of the tokens; it has no name.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn user(&self, shown: Option<&str>) -> Result<User, Refused> {
        let token = shown.ok_or_else(|| token_challenge(false))?;
        let hash = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
        let any = self.0.iter().fold(Choice::from(0), |any, known| {
            any | known.as_slice().ct_eq(hash.as_ref())
        });
        match bool::from(any) {
            true => Ok(Vec::new()),
            false => Err(token_challenge(true)),
        }
    }
}
