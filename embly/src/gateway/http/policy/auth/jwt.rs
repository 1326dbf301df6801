//! Signed tokens (RFC 7519), checked with a set of keys (RFC 7517) that may change while it is used.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};

use super::super::User;
use super::{Refused, provider, token_challenge};
use crate::config::{self, Algorithm, usable_keys};
use crate::file;
use crate::report::Reporter;

/// How often it is looked whether the file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Clocks differ so much, in seconds.
const LEEWAY: u64 = 60;

/// What stands in a header as it is; the rest is percent-encoded, so that a name is one line.
const IN_HEADER: &AsciiSet = &CONTROLS.add(b'%').add(b' ');

/// Who may have signed what.
#[derive(Debug)]
pub struct Jwt {
    config: config::Jwt,
    keys: Mutex<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    keys: Arc<[Key]>,
    /// Of the file that was read, or could not be.
    seen: Option<Seen>,
    looked: Option<Instant>,
}

/// Changes whenever the file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen(Option<(u64, u64, i64, i64)>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Jwt {
    /// What the project file says. The keys are read when they are first needed.
    pub fn new(config: &config::Jwt) -> Self {
        provider::install();
        Self {
            config: config.clone(),
            keys: Mutex::default(),
        }
    }

    /// Who has shown this.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn user(&self, shown: Option<&str>, reporter: &Reporter) -> Result<User, Refused> {
        let token = shown.ok_or_else(|| token_challenge(false))?;
        let keys = self.keys(reporter).await;
        let claims = self.claims(token, &keys);
        let claims = claims.ok_or_else(|| token_challenge(true))?;
        // Signed as it stands there.
        let signed = token.split('.').nth(1).unwrap_or_default().to_owned();
        let mut user = vec![("embly-claims".to_owned(), signed)];
        if let Some(Value::String(subject)) = claims.get("sub") {
            let subject = utf8_percent_encode(subject, IN_HEADER).to_string();
            user.push(("embly-user".to_owned(), subject));
        }
        Ok(user)
    }

    /// What a token says, if it holds.
    fn claims(&self, token: &str, keys: &[Key]) -> Option<Map<String, Value>> {
        let header = decode_header(token).ok()?;
        let fits = |key: &&Key| {
            signed_with(key.algorithm) == header.alg
                && (header.kid.is_none() || header.kid == key.id)
        };
        // The algorithm is that of the key: a token does not choose.
        keys.iter().filter(fits).find_map(|key| {
            let validation = self.validation(signed_with(key.algorithm));
            let decoded = decode::<Map<String, Value>>(token, &key.key, &validation);
            decoded.ok().map(|data| data.claims)
        })
    }

    fn validation(&self, algorithm: jsonwebtoken::Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        if !self.config.issuer.is_empty() {
            validation.set_issuer(&self.config.issuer);
            required.push("iss");
        }
        validation.validate_aud = !self.config.audience.is_empty();
        if validation.validate_aud {
            validation.set_audience(&self.config.audience);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    /// Those of the file as it is now, or as it was when it could last be read.
    async fn keys(&self, reporter: &Reporter) -> Arc<[Key]> {
        {
            let mut loaded = self.loaded();
            if loaded.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
                return Arc::clone(&loaded.keys);
            }
            // One looks, the others go on. The first ones wait for it: they have no keys yet.
            if loaded.seen.is_some() {
                loaded.looked = Some(Instant::now());
            }
        }
        let (file, algorithms) = (self.config.keys.clone(), self.config.algorithms.clone());
        let before = self.loaded().seen;
        let look = move || {
            let seen = Seen::of(std::fs::metadata(&file).ok().as_ref());
            (Some(seen) != before).then(|| (seen, load(&file, &algorithms)))
        };
        // A panic was printed.
        let changed = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        let mut loaded = self.loaded();
        loaded.looked = Some(Instant::now());
        if let Some((seen, read)) = changed {
            loaded.seen = Some(seen);
            match read {
                Ok(keys) => loaded.keys = keys,
                Err(why) => {
                    let file = self.config.keys.display();
                    reporter.warn(format!("the key set `{file}` stays as it was: {why}"));
                }
            }
        }
        Arc::clone(&loaded.keys)
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, Loaded> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn of(file: Option<&Metadata>) -> Self {
        Self(file.map(|file| (file.ino(), file.len(), file.mtime(), file.mtime_nsec())))
    }
}

fn load(path: &Path, algorithms: &[Algorithm]) -> Result<Arc<[Key]>, String> {
    let bytes = file::small(path).map_err(|error| error.to_string())?;
    let keys = usable_keys(&String::from_utf8_lossy(&bytes), algorithms)?.into_iter();
    let keys = keys.filter_map(|(algorithm, jwk)| {
        Some(Key {
            key: DecodingKey::from_jwk(&jwk).ok()?,
            id: jwk.common.key_id,
            algorithm,
        })
    });
    Ok(keys.collect())
}

fn signed_with(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
    }
}
