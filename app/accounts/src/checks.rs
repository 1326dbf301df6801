//! What a name, an address and a password have to be.

use serde::Serialize;

/// What is wrong with what was sent: which field, and why.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Wrong {
    pub field: &'static str,
    pub msg: &'static str,
}

/// Characters of a name.
const NAME: std::ops::RangeInclusive<usize> = 3..=32;

/// Bytes of an address (RFC 5321, section 4.5.3.1.3, without its brackets).
const EMAIL: usize = 254;

/// Characters of a password, and the bytes that are worth hashing.
const PASSWORD: usize = 8;
const PASSWORD_BYTES: usize = 1024;

/// None of them is missing.
pub fn all_there(fields: &[(&'static str, &str)]) -> Result<(), Wrong> {
    match fields.iter().find(|(_, value)| value.is_empty()) {
        Some((field, _)) => Err(Wrong {
            field,
            msg: "is missing",
        }),
        None => Ok(()),
    }
}

/// Whether somebody may register with them; the first that is wrong.
pub fn new_user(username: &str, email: &str, password: &str) -> Result<(), Wrong> {
    all_there(&[
        ("username", username),
        ("email", email),
        ("password", password),
    ])?;
    let wrong = |field, msg| Err(Wrong { field, msg });
    if !is_email(email) {
        return wrong("email", "is not an email address");
    }
    let length = username.chars().count();
    if length < *NAME.start() {
        return wrong("username", "must have at least 3 characters");
    }
    if length > *NAME.end() {
        return wrong("username", "must have at most 32 characters");
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    if !username.chars().all(allowed) {
        return wrong("username", "may have a to z, 0 to 9, _ and - only");
    }
    if password.chars().count() < PASSWORD {
        return wrong("password", "must have at least 8 characters");
    }
    if password.len() > PASSWORD_BYTES {
        return wrong("password", "must have at most 1024 bytes");
    }
    Ok(())
}

/// What can be one: only a letter that arrives shows more.
fn is_email(text: &str) -> bool {
    let visible = |c: char| !c.is_whitespace() && !c.is_control();
    let Some((name, host)) = text.rsplit_once('@') else {
        return false;
    };
    let labels: Vec<_> = host.split('.').collect();
    text.len() <= EMAIL
        && text.chars().all(visible)
        && !name.is_empty()
        && !name.contains('@')
        && labels.len() > 1
        && labels.iter().all(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_wrong_is_told_in_a_fixed_order() {
        let long = "n".repeat(33);
        for (username, email, password, field, msg) in [
            ("", "", "", "username", "is missing"),
            ("x", "", "", "email", "is missing"),
            ("x", "x", "", "password", "is missing"),
            ("x", "x", "x", "email", "is not an email address"),
            (
                "x",
                "a@b.test",
                "x",
                "username",
                "must have at least 3 characters",
            ),
            (
                &long,
                "a@b.test",
                "x",
                "username",
                "must have at most 32 characters",
            ),
            (
                "Ann",
                "a@b.test",
                "x",
                "username",
                "may have a to z, 0 to 9, _ and - only",
            ),
            (
                "ann",
                "a@b.test",
                "1234567",
                "password",
                "must have at least 8 characters",
            ),
        ] {
            let wrong = new_user(username, email, password);
            assert_eq!(wrong, Err(Wrong { field, msg }), "{username} {email}");
        }
        assert_eq!(new_user("ann_1-x", "a@b.test", "12345678"), Ok(()));
    }

    #[test]
    fn an_address_has_a_name_and_a_host() {
        for right in ["a@b.c", "first.last+tag@sub.example.test"] {
            assert!(is_email(right), "{right}");
        }
        for wrong in [
            "a", "a@b", "@b.c", "a@.c", "a@b.", "a b@c.d", "a@b@c.d", "a@b..c",
        ] {
            assert!(!is_email(wrong), "{wrong}");
        }
    }
}
