//! Who is signed in: a cookie with a token, and a store that knows whose it is. The store has only
//! a hash of it, so whoever reads the store is not signed in.

use embly::{
    Error,
    http::{HeaderMap, header},
    kv::Store,
};
use sha2::{Digest, Sha256};
use std::time::Duration;

const NAME: &str = "session";
const DAYS: u64 = 30;

/// Signs in, and says what the header `Set-Cookie` has to be.
///
/// # Errors
/// Of the store.
pub async fn begin(user: &str, secure: bool) -> Result<String, Error> {
    let mut token = [0; 32];
    getrandom::fill(&mut token).map_err(|error| Error::msg(error.to_string()))?;
    let token = crate::hex(&token);
    let time = Duration::from_secs(DAYS * 24 * 60 * 60);
    sessions()?
        .set_for(&key(&token), user.as_bytes(), time)
        .await?;
    Ok(cookie(&token, time.as_secs(), secure))
}

/// Signs out.
///
/// # Errors
/// Of the store.
pub async fn end(headers: &HeaderMap, secure: bool) -> Result<String, Error> {
    if let Some(token) = token(headers) {
        sessions()?.delete(&key(token)).await?;
    }
    Ok(cookie("", 0, secure))
}

/// Who has sent the request.
///
/// # Errors
/// Of the store.
pub async fn user(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let Some(token) = token(headers) else {
        return Ok(None);
    };
    let user = sessions()?.get(&key(token)).await?;
    Ok(user.and_then(|user| String::from_utf8(user).ok()))
}

fn sessions() -> Result<Store, Error> {
    Store::open("sessions")
}

fn key(token: &str) -> Vec<u8> {
    crate::hex(&Sha256::digest(token)).into_bytes()
}

fn cookie(token: &str, seconds: u64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{NAME}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE);
    let cookies = cookies.iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::block_on;

    fn sent(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let pair = cookie.split(';').next().unwrap();
        headers.append(header::COOKIE, "theme=dark".parse().unwrap());
        headers.append(header::COOKIE, format!("a=b; {pair}").parse().unwrap());
        headers
    }

    #[test]
    fn a_session_is_somebody_s_until_it_ends() {
        block_on(async {
            let cookie = begin("ann", true).await.unwrap();
            for part in ["HttpOnly", "SameSite=Strict", "Secure", "Max-Age=2592000"] {
                assert!(cookie.contains(part), "{cookie}");
            }
            let headers = sent(&cookie);
            assert_eq!(user(&headers).await.unwrap().as_deref(), Some("ann"));
            assert_eq!(user(&sent("session=other")).await.unwrap(), None);
            let gone = end(&headers, false).await.unwrap();
            assert!(gone.starts_with("session=;") && gone.contains("Max-Age=0"));
            assert_eq!(user(&headers).await.unwrap(), None);
        });
    }

    #[test]
    fn the_store_does_not_have_what_the_client_sends() {
        block_on(async {
            let cookie = begin("ann", false).await.unwrap();
            let headers = sent(&cookie);
            let token = token(&headers).unwrap().to_owned();
            let keys = sessions().unwrap().keys(b"", b"", 10).await.unwrap();
            assert!(
                keys.entries
                    .iter()
                    .all(|entry| entry.key != token.as_bytes())
            );
        });
    }
}
