//! `embly hash`: what the project file has instead of a password or a token.

use std::io::{self, IsTerminal, Read};

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{Exit, secrets};
use crate::report::Reporter;

/// The longest password, in bytes: a gateway takes no longer one.
const LONGEST: usize = 512;

/// Prints a hash of a password, or a new token and its hash.
pub fn run(token: bool, reporter: &Reporter) -> Exit {
    let done = match token {
        true => self::token(reporter),
        false => password(reporter),
    };
    done.err().unwrap_or(Exit::Done)
}

fn token(reporter: &Reporter) -> Result<(), Exit> {
    let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let hash = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    let hex: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // First, so that the two come in one order where both go to one terminal.
    println!("{}\nsha256:{hex}", *token);
    reporter.info("the token is for the client, its hash for `auth: {bearer: [\u{2026}]}`; the token is not kept");
    Ok(())
}

fn password(reporter: &Reporter) -> Result<(), Exit> {
    let password = read(reporter)?;
    let failed = |why: &dyn std::fmt::Display| {
        reporter.error(format!("cannot make a hash: {why}"));
        Exit::Failed
    };
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
    let salt = rand::random::<[u8; 16]>();
    let hash = argon2.hash_password_with_salt(&password, &salt);
    let hash = hash.map_err(|error| failed(&error))?;
    // First, as above.
    println!("{hash}");
    reporter.info("write it in quotes: `auth: {basic: {users: {NAME: \"HASH\"}}}`");
    Ok(())
}

fn read(reporter: &Reporter) -> Result<Zeroizing<Vec<u8>>, Exit> {
    let typed = io::stdin().is_terminal();
    let read = if typed {
        secrets::ask("password", reporter)?
    } else {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 3));
        let mut input = io::stdin().lock().take(LONGEST as u64 + 3);
        input.read_to_end(&mut bytes).map(|_| bytes)
    };
    let bytes = read.map_err(|error| {
        reporter.error(format!("cannot read the password: {error}"));
        Exit::Failed
    })?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || line.len() > LONGEST {
        reporter.error(format!(
            "a password has 1 to {LONGEST} bytes: type `embly hash`, or `embly hash <FILE`"
        ));
        return Err(Exit::Failed);
    }
    // Nobody has seen what was typed.
    if typed && !secrets::ask("the same again", reporter)?.is_ok_and(|again| again == bytes) {
        reporter.error("the two are not the same: type `embly hash` to begin anew");
        return Err(Exit::Failed);
    }
    Ok(Zeroizing::new(line.to_vec()))
}
