//! `auth`: who asks. What fails is answered with 401, which never says why beyond "invalid".

mod basic;
mod bearer;
mod jwt;
mod provider;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::User;
use crate::config;
use crate::report::Reporter;

/// How it is known who asks.
#[derive(Debug)]
pub enum Auth {
    /// By name and password.
    Basic(basic::Basic),
    /// By a token.
    Bearer(bearer::Bearer),
    /// By a token that somebody has signed.
    Jwt(jwt::Jwt),
}

/// Why a request does not pass.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// 401, with this challenge.
    Unknown(HeaderValue),
    /// 503: too many passwords are being checked.
    Busy,
}

impl Auth {
    /// These rules.
    pub fn new(config: &config::Auth) -> Self {
        match config {
            config::Auth::Basic(basic) => Self::Basic(basic::Basic::new(basic)),
            config::Auth::Bearer(hashes) => Self::Bearer(bearer::Bearer::new(hashes)),
            config::Auth::Jwt(jwt) => Self::Jwt(jwt::Jwt::new(jwt)),
        }
    }

    /// What the function is told of who asks. What was shown to prove it is not for the function.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn user(
        &self,
        headers: &mut HeaderMap,
        reporter: &Reporter,
    ) -> Result<User, Refused> {
        let user = match self {
            Self::Basic(basic) => basic.user(shown(headers, "basic")).await,
            Self::Bearer(bearer) => bearer.user(shown(headers, "bearer")),
            Self::Jwt(jwt) => jwt.user(shown(headers, "bearer"), reporter).await,
        };
        if user.is_ok() {
            headers.remove(AUTHORIZATION);
        }
        user
    }
}

/// What was shown under this scheme: of two headers nobody knows which one counts.
fn shown<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(one), None) = (all.next(), all.next()) else {
        return None;
    };
    let (named, shown) = one.to_str().ok()?.split_once(' ')?;
    named
        .eq_ignore_ascii_case(scheme)
        .then(|| shown.trim_matches(' '))
}

/// The challenge for tokens (RFC 6750, section 3).
fn token_challenge(invalid: bool) -> Refused {
    Refused::Unknown(HeaderValue::from_static(match invalid {
        true => "Bearer error=\"invalid_token\"",
        false => "Bearer",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_is_that_of_one_header_with_the_scheme() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            shown(&headers, "basic").map(str::to_owned)
        };
        assert_eq!(of(&["Basic abc"]), Some("abc".to_owned()));
        assert_eq!(of(&["bAsIc  abc "]), Some("abc".to_owned()));
        for values in [
            &["Bearer abc"][..],
            &["Basic"],
            &["Basicabc"],
            &[],
            &["Basic a", "Basic a"],
        ] {
            assert_eq!(of(values), None, "{values:?}");
        }
    }
}
