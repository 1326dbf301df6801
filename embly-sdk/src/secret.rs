//! Values that a function gets and does not show.

use crate::error::Error;
use std::fmt;

/// The value of a secret, which does not print itself.
///
/// `Debug` and `Display` show `[secret NAME]`. Embly masks the value in the log all the same; what a
/// function sends to others is its own affair.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    name: String,
    value: String,
}

/// A secret that the project file lists under `secrets` of this function.
///
/// ```
/// # use embly_sdk as embly;
/// # fn main() -> Result<(), embly::Error> {
/// # embly::mock::secret("STRIPE_KEY", "sk_test_42");
/// let key = embly::secret("STRIPE_KEY")?;
/// let header = format!("Bearer {}", key.expose());
/// # assert_eq!(header, "Bearer sk_test_42");
/// # assert_eq!(format!("{key} {key:?}"), "[secret STRIPE_KEY] [secret STRIPE_KEY]");
/// # Ok(()) }
/// ```
///
/// It is an environment variable of that name, so other languages read it there. In a test it is what
/// `mock::secret` has set.
///
/// # Errors
/// The function does not list it; the text says which line to add.
pub fn secret(name: &str) -> Result<Secret, Error> {
    match value(name) {
        Some(value) => Ok(Secret {
            name: name.to_owned(),
            value,
        }),
        None => Err(Error::msg(format!(
            "there is no secret `{name}`: add `secrets: [{name}]` to this function in the project file"
        ))),
    }
}

impl Secret {
    /// The value. Whoever has it must not print it.
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[secret {}]", self.name)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(target_arch = "wasm32")]
fn value(name: &str) -> Option<String> {
    // std panics on names that no variable can have.
    let possible = !name.is_empty() && !name.contains(['=', '\0']);
    possible.then(|| std::env::var(name).ok()).flatten()
}

/// What runs the tests has an environment of its own, which is none of the function's.
#[cfg(not(target_arch = "wasm32"))]
fn value(name: &str) -> Option<String> {
    crate::sys::mock::guest::me().world.secret(name)
}
