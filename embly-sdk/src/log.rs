//! Lines for the log that say how much they matter.
//!
//! ```no_run
//! # use embly_sdk as embly;
//! use embly::log;
//!
//! log::info!("{} orders", 3);
//! log::error!("the queue is gone");
//! ```
//!
//! What a function prints counts as [`Level::Info`] on stdout and as [`Level::Warn`] on stderr.
//! `log_level` in the project file says what is kept: without it all but [`Level::Debug`].

use crate::sys;
use std::fmt;

#[doc(inline)]
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_warn as warn,
};

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Level {
    /// Something has failed.
    Error,
    /// Something needs a look.
    Warn,
    /// The ordinary course of things.
    Info,
    /// For whoever looks for a mistake.
    Debug,
}

impl Level {
    /// As the project file says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// As the host takes it: a severity of syslog.
    const fn severity(self) -> i32 {
        match self {
            Self::Error => 3,
            Self::Warn => 4,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Writes to the log, a line for each of the text. Lines beyond the limit `log` are dropped.
pub fn write(level: Level, text: &str) {
    // Each level is one that the host knows.
    let _ = sys::log(level.severity(), text);
}

/// A line of [`Level::Error`], as with `format!`.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_error {
    ($($text:tt)+) => {
        $crate::log::write($crate::log::Level::Error, &::std::format!($($text)+))
    };
}

/// A line of [`Level::Warn`], as with `format!`.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_warn {
    ($($text:tt)+) => {
        $crate::log::write($crate::log::Level::Warn, &::std::format!($($text)+))
    };
}

/// A line of [`Level::Info`], as with `format!`.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_info {
    ($($text:tt)+) => {
        $crate::log::write($crate::log::Level::Info, &::std::format!($($text)+))
    };
}

/// A line of [`Level::Debug`], as with `format!`.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_debug {
    ($($text:tt)+) => {
        $crate::log::write($crate::log::Level::Debug, &::std::format!($($text)+))
    };
}
