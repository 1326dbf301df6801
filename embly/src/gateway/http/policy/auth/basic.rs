//! Names and passwords (RFC 7617).
//!
//! A hash that is slow to check is checked on a thread beside, a few at once, and what was right is
//! remembered by a keyed digest. A name that is not there costs as much as a wrong password.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::{Argon2, PasswordVerifier as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use ring::hmac;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::super::User;
use super::Refused;
use crate::config;

/// Passwords that are checked at once, of all gateways: each takes a processor and, by default, 19 MiB.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// Who waits longer for its turn is told to come back.
const TURN_WITHIN: Duration = Duration::from_secs(5);

/// The longest name and password, in bytes as they are sent; longer ones are wrong unread.
const LONGEST: usize = 1024;

/// Passwords that are remembered; beyond, all are forgotten.
const REMEMBERED: usize = 1024;

/// Names and passwords.
pub struct Basic {
    users: BTreeMap<String, Arc<str>>,
    challenge: HeaderValue,
    key: hmac::Key,
    /// Digests of what was right.
    right: Mutex<HashSet<[u8; 32]>>,
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Basic").finish_non_exhaustive()
    }
}

impl Basic {
    /// Those of the project file.
    pub fn new(config: &config::Basic) -> Self {
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", config.realm);
        let users = config.users.iter();
        Self {
            users: users
                .map(|(name, hash)| (name.clone(), hash.as_str().into()))
                .collect(),
            challenge: HeaderValue::try_from(challenge)
                .unwrap_or(HeaderValue::from_static("Basic realm=\"restricted\"")),
            key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
            right: Mutex::default(),
        }
    }

    /// Who has shown this.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn user(&self, shown: Option<&str>) -> Result<User, Refused> {
        let refused = || Refused::Unknown(self.challenge.clone());
        let shown = shown.filter(|shown| shown.len() <= LONGEST);
        let plain = shown.and_then(|shown| STANDARD.decode(shown).ok());
        let plain = Zeroizing::new(plain.ok_or_else(refused)?);
        let colon = plain.iter().position(|byte| *byte == b':');
        let (name, password) = plain.split_at(colon.ok_or_else(refused)?);
        let password = Zeroizing::new(password[1..].to_vec());
        let name = std::str::from_utf8(name).map_err(|_| refused())?;
        let known = self.users.get(name);
        // Any will do for a name that is not there: it is checked, and wrong whatever comes out.
        let hash = known.or_else(|| self.users.values().next());
        let hash = Arc::clone(hash.ok_or_else(refused)?);
        let digest = self.digest(&hash, name, &password);
        let user = vec![("embly-user".to_owned(), name.to_owned())];
        if known.is_some() && self.right().contains(&digest) {
            return Ok(user);
        }
        let turn = timeout(TURN_WITHIN, AT_ONCE.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Refused::Busy);
        };
        let check = move || Argon2::default().verify_password(&password, &*hash).is_ok();
        let right = tokio::task::spawn_blocking(check).await.unwrap_or(false);
        if !right || known.is_none() {
            return Err(refused());
        }
        let mut remembered = self.right();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(digest);
        Ok(user)
    }

    /// Nobody who sees it can try passwords against it, or choose what has the same.
    fn digest(&self, hash: &str, name: &str, password: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [hash.as_bytes(), name.as_bytes(), password] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn right(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
