//! What is said about users.

use serde::{Deserialize, Serialize};

/// What the function `credentials` is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// A new user.
    Add {
        name: String,
        email: String,
        password: String,
    },
    /// Is this the user's password?
    Check { name: String, password: String },
    /// What is known of a user.
    Tell { name: String },
}

/// What it answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Added, or right.
    Yes { name: String, email: String },
    /// Wrong, or nobody.
    No,
    /// Somebody else has this already: `username` or `email`.
    Taken(String),
}
