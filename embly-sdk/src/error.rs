//! The one error type of this crate.

use crate::reason::Exit;
use std::{error::Error as StdError, fmt, io};

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, whatever it was.
///
/// Every error type converts into it with `?`. It is no `std::error::Error` itself
/// (that is what makes the conversion possible), but it turns into a `Box<dyn Error>`
/// or an [`io::Error`].
///
/// ```
/// # use embly_sdk as embly;
/// fn parse(text: &str) -> Result<u32, embly::Error> {
///     Ok(text.trim().parse()?)
/// }
/// assert_eq!(parse("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
pub struct Error(Box<dyn StdError + Send + Sync>);

impl Error {
    /// An error that is only a text.
    pub fn msg(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// How the other side ended, where that is what went wrong.
    ///
    /// ```no_run
    /// # use embly_sdk as embly;
    /// # fn f(child: embly::Conn) {
    /// match child.bytes() {
    ///     Ok(answer) => println!("{} bytes", answer.len()),
    ///     Err(error) => match error.exit() {
    ///         Some(exit) => println!("no answer, reason {}", exit.reason),
    ///         None => println!("{error}"),
    ///     },
    /// }
    /// # }
    /// ```
    pub fn exit(&self) -> Option<&Exit> {
        self.downcast_ref::<Exit>()
    }

    /// The error as it was before it became this one; looks inside of an [`io::Error`] too.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref::<E>().or_else(|| {
            let inner = self.0.downcast_ref::<io::Error>()?.get_ref()?;
            inner.downcast_ref::<E>()
        })
    }
}

impl fmt::Display for Error {
    /// The error and, after colons, what caused it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some errors repeat their cause in their own text.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    /// As `Display`: this is what a `main` that returns an error prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl From<Error> for Box<dyn StdError + Send + Sync> {
    fn from(error: Error) -> Self {
        error.0
    }
}

impl From<Error> for Box<dyn StdError> {
    fn from(error: Error) -> Self {
        error.0
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error.0.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn trap() -> Exit {
        Exit {
            reason: Reason::Trap,
            code: 0,
            detail: String::new(),
        }
    }

    #[test]
    fn the_ending_is_found_however_it_was_wrapped() {
        assert_eq!(Error::from(trap()).exit(), Some(&trap()));
        let error = Error::from(io::Error::other(trap()));
        assert_eq!(error.exit(), Some(&trap()));
        assert_eq!(Error::from(io::Error::from(error)).exit(), Some(&trap()));
        assert_eq!(Error::msg("x").exit(), None);
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = Error::from(io::Error::other(trap()));
        assert_eq!(error.to_string(), "the other side ended: trap");
    }
}
