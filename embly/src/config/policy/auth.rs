//! `auth`: who asks. The file has hashes only; what looks like a secret in it is not repeated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use argon2::PasswordHash;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse,
};
use serde_json::Value as Json;

use super::super::fields::{Field, Fields};
use super::super::problem::{Problem, Problems, quote};
use super::super::route::scalar;
use super::super::tree::{Entry, Value};
use super::super::{codes, schema, suggest};
use crate::file;

/// How it is known who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// A name and a password.
    Basic(Basic),
    /// One of some tokens, by their SHA-256.
    Bearer(Vec<[u8; 32]>),
    /// A token that somebody has signed.
    Jwt(Jwt),
}

impl std::fmt::Debug for Auth {
    /// Without hashes: they are not for a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Basic(_) => "Basic",
            Self::Bearer(_) => "Bearer",
            Self::Jwt(_) => "Jwt",
        })
    }
}

/// Names and passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Basic {
    /// What a browser shows.
    pub realm: String,
    /// The hash of each user's password, a PHC string.
    pub users: BTreeMap<String, String>,
}

/// Signed tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// A file with a key set; absolute.
    pub keys: PathBuf,
    /// Who has signed, if that matters.
    pub issuer: Vec<String>,
    /// Whom they are for.
    pub audience: Vec<String>,
    /// How they may be signed.
    pub algorithms: Vec<Algorithm>,
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5.
    Rs256,
    /// ECDSA with P-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// A secret that both sides have.
    Hs256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rs256, Self::Es256, Self::EdDsa, Self::Hs256];

    /// As tokens say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }

    /// The one that a key is for; `None` for a key that is of no use.
    fn of(key: &Jwk) -> Option<Self> {
        let signs =
            !matches!(&key.common.public_key_use, Some(kind) if *kind != PublicKeyUse::Signature);
        let (algorithm, named) = match &key.algorithm {
            AlgorithmParameters::RSA(_) => (Self::Rs256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Self::Es256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (Self::EdDsa, KeyAlgorithm::EdDSA)
            }
            // Shorter ones can be guessed from a token (RFC 7518, section 3.2); 43 characters are 32
            // bytes.
            AlgorithmParameters::OctetKey(key) if key.value.trim_end_matches('=').len() >= 43 => {
                (Self::Hs256, KeyAlgorithm::HS256)
            }
            _ => return None,
        };
        let fits = key.common.key_algorithm.is_none_or(|other| other == named);
        (signs && fits).then_some(algorithm)
    }
}

/// The keys of a set that can check a signature of these algorithms, each with its own.
///
/// # Errors
/// Why there are none.
pub fn usable_keys(text: &str, algorithms: &[Algorithm]) -> Result<Vec<(Algorithm, Jwk)>, String> {
    let set: Json = serde_json::from_str(text).map_err(|error| {
        // The text of the error has no piece of the file.
        let (line, column) = (error.line(), error.column());
        format!("it is not JSON, at line {line}, column {column}")
    })?;
    if !set["keys"].is_array() {
        return Err("it has no list `keys`".to_owned());
    }
    // Keys of kinds that nobody knows here are passed over (RFC 7517, section 5).
    let keys = set["keys"].as_array().into_iter().flatten();
    let keys = keys.filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok());
    let set = JwkSet {
        keys: keys.collect(),
    };
    let usable = set.keys.into_iter().filter_map(|key| {
        let algorithm = Algorithm::of(&key)?;
        algorithms.contains(&algorithm).then_some((algorithm, key))
    });
    let usable: Vec<_> = usable.collect();
    match usable.is_empty() {
        true => Err("it has no key for these algorithms".to_owned()),
        false => Ok(usable),
    }
}

pub(super) fn read(field: Field<'_>, root: &Path, problems: &mut Problems) -> Option<Auth> {
    let before = problems.count();
    let auth = known(field, root, problems);
    // What is wrong here may be a password.
    if problems.count() != before {
        problems.hide(field.span());
    }
    auth
}

fn known(field: Field<'_>, root: &Path, problems: &mut Problems) -> Option<Auth> {
    let fields = Fields::read(&field.entry.value, &schema::AUTH_RULES, problems)?;
    let there: Vec<_> = fields.iter().collect();
    let ways = there.iter().map(|field| match field.key.name {
        "basic" => basic(*field, problems).map(Auth::Basic),
        "bearer" => bearer(*field, problems).map(Auth::Bearer),
        _ => jwt(*field, root, problems).map(Auth::Jwt),
    });
    let mut ways: Vec<_> = ways.collect();
    if ways.len() != 1 {
        let message = "`auth` has one of `basic`, `bearer` and `jwt`";
        let problem = Problem::new(&codes::AUTH, field.span(), message);
        problems.push(problem.help(format!("write `{}`", schema::AUTH_RULES.keys[0].example)));
    }
    ways.pop()?
}

fn basic(field: Field<'_>, problems: &mut Problems) -> Option<Basic> {
    let fields = Fields::read(&field.entry.value, &schema::AUTH_BASIC, problems)?;
    let realm = match fields.get("realm") {
        Some(field) => realm(field, problems),
        None => Some("restricted".to_owned()),
    };
    let field = fields.get("users")?;
    let entries = field.map(problems);
    if entries.is_empty() {
        wrong(field, "there is nobody who may ask", problems);
    }
    let users = entries.iter().filter_map(|entry| user(entry, problems));
    Some(Basic {
        users: users.collect(),
        realm: realm?,
    })
}

/// It stands in a header, in quotes.
fn realm(field: Field<'_>, problems: &mut Problems) -> Option<String> {
    let text = field.text(problems)?;
    let fits = |byte: u8| (b' '..=b'~').contains(&byte) && !b"\"\\".contains(&byte);
    if !text.bytes().all(fits) {
        wrong(field, "a realm is ASCII text without quotes", problems);
        return None;
    }
    Some(text.to_owned())
}

fn user(entry: &Entry, problems: &mut Problems) -> Option<(String, String)> {
    let name = &entry.key;
    // It stands in front of a colon (RFC 7617), and in a header of the function.
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| (b'!'..=b'~').contains(&b) && b != b':')
    {
        let message = format!("{} cannot be the name of a user", quote(name));
        let problem = Problem::new(&codes::AUTH, entry.key_span.clone(), message);
        problems.push(problem.help("use ASCII characters without space and colon"));
        return None;
    }
    let hash = match &entry.value.value {
        Value::Scalar(scalar) => scalar.text.as_str(),
        _ => "",
    };
    if is_password_hash(hash) {
        return Some((name.clone(), hash.to_owned()));
    }
    let message = format!("this is no hash of a password of {}", quote(name));
    let span = entry.value.span.clone();
    problems.push(
        Problem::new(&codes::AUTH_HASH, span, message)
            .help("type `embly hash`, and write what it prints"),
    );
    None
}

/// Argon2id in the form of the Password Hashing Competition, which costs no more than can be given.
fn is_password_hash(text: &str) -> bool {
    let Ok(hash) = PasswordHash::new(text) else {
        return false;
    };
    let params = argon2::Params::try_from(&hash);
    // More would let whoever asks take the memory of the machine.
    let bearable =
        params.is_ok_and(|params| params.m_cost() <= 256 * 1024 && params.t_cost() <= 16);
    hash.algorithm == argon2::ARGON2ID_IDENT && hash.hash.is_some() && bearable
}

fn bearer(field: Field<'_>, problems: &mut Problems) -> Option<Vec<[u8; 32]>> {
    let items = field.list(problems);
    if items.is_empty() {
        wrong(field, "there is nobody who may ask", problems);
    }
    let mut hashes = Vec::new();
    for item in items {
        let Some(text) = scalar(item, field, problems) else {
            continue;
        };
        match text.strip_prefix("sha256:").and_then(digest) {
            Some(hash) => hashes.push(hash),
            None => {
                let message = "this is no hash of a token";
                let problem = Problem::new(&codes::AUTH_HASH, item.span.clone(), message);
                problems.push(problem.help("type `embly hash --token`, and write what it prints"));
            }
        }
    }
    Some(hashes)
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let ascii = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    for (at, byte) in digest.iter_mut().enumerate().filter(|_| ascii) {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    ascii.then_some(digest)
}

fn jwt(field: Field<'_>, root: &Path, problems: &mut Problems) -> Option<Jwt> {
    let fields = Fields::read(&field.entry.value, &schema::AUTH_JWT, problems)?;
    let mut texts = |name| {
        fields
            .get(name)
            .map_or(Some(Vec::new()), |field| one_or_more(field, problems))
    };
    let (issuer, audience, named) = (texts("issuer")?, texts("audience")?, texts("algorithms")?);
    let mut algorithms = Vec::new();
    for name in &named {
        match Algorithm::ALL
            .iter()
            .find(|algorithm| algorithm.name() == name)
        {
            Some(algorithm) => algorithms.push(*algorithm),
            None => {
                let field = fields.get("algorithms")?;
                let names = Algorithm::ALL.map(Algorithm::name);
                let problem = Problem::new(
                    &codes::AUTH,
                    field.span(),
                    format!("{} is not an algorithm that is supported", quote(name)),
                );
                problems.push(problem.help(format!("they are {}", suggest::list(names))));
            }
        }
    }
    if named.is_empty() {
        // A secret that both sides have is meant only where somebody says so.
        algorithms = vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
    }
    let field = fields.get("keys")?;
    let text = field.text(problems)?;
    let keys = root.join(text);
    let read = || file::small(&keys).map_err(|error| format!("it cannot be read: {error}"));
    let usable = |bytes: Vec<u8>| usable_keys(&String::from_utf8_lossy(&bytes), &algorithms);
    if !problems.lies_elsewhere(field, &keys)
        && let Err(why) = read().and_then(usable)
    {
        let message = format!("{} is no key set: {why}", quote(text));
        let problem = Problem::new(&codes::JWKS, field.span(), message);
        problems.push(
            problem.help("write the path of a file `{\"keys\": […]}`, from the project's folder"),
        );
        return None;
    }
    Some(Jwt {
        keys,
        issuer,
        audience,
        algorithms,
    })
}

/// A text or a list of texts.
fn one_or_more(field: Field<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    if let Value::Scalar(_) = field.entry.value.value {
        return field.text(problems).map(|text| vec![text.to_owned()]);
    }
    let items = field.list(problems).iter();
    let texts = items.map(|item| scalar(item, field, problems).map(str::to_owned));
    texts.collect()
}

fn wrong(field: Field<'_>, why: &str, problems: &mut Problems) {
    let problem = Problem::new(&codes::AUTH, field.span(), why);
    problems.push(problem.help(format!("write `{}`", field.key.example)));
}
