//! The jail, seen from the master: what it lacks on this system is said once, not per function.

use std::io;
use std::sync::{Mutex, PoisonError};

use embly_wrapper::control::Reply;
use embly_wrapper::jail::{Missing, Policy};
use embly_wrapper::process;

use crate::report::Reporter;

/// What processes are kept in, and what of it is known to be missing.
#[derive(Debug)]
pub struct Jail {
    /// How they are kept.
    pub policy: Policy,
    said: Mutex<Vec<Missing>>,
    reporter: Reporter,
}

/// A jail that does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Incomplete {
    /// Nobody knows.
    #[error("cannot see whether the jail is complete: {0}; leave out `--require-jail` to go on")]
    Unknown(#[source] io::Error),
    /// A step failed, or one that is required is missing.
    #[error("{0}")]
    Failed(String),
}

impl Jail {
    /// A jail of which nothing is known yet.
    pub fn new(policy: Policy, reporter: Reporter) -> Self {
        Self {
            policy,
            said: Mutex::default(),
            reporter,
        }
    }

    /// Closes one around a process that does nothing, and says what is missing. Waits for it.
    ///
    /// # Errors
    /// See [`Incomplete`].
    pub fn check(self) -> Result<Self, Incomplete> {
        match process::probe_jail(&self.policy) {
            Ok(Reply::Ready(missing)) => self.note(&missing),
            Ok(Reply::Failed(why)) => return Err(Incomplete::Failed(why)),
            Ok(Reply::ForkFailed(..)) => {}
            Err(error) if self.policy.required => return Err(Incomplete::Unknown(error)),
            // The fork servers say it, too.
            Err(_) => {}
        }
        Ok(self)
    }

    /// Says that a fork server was stopped.
    pub fn stopped(&self, function: &str) {
        self.reporter.error(format!(
            "the jail stopped a system call of the fork server of `{function}`: \
             the kernel's log (`dmesg`) may name it, and `embly explain violation` says more"
        ));
    }

    /// Says what was not said before.
    pub fn note(&self, missing: &[Missing]) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news: Vec<&str> = Vec::new();
        for one in missing {
            if !said.iter().any(|known| known.step == one.step) {
                news.push(&one.step);
                said.push(one.clone());
            }
        }
        if !news.is_empty() {
            let news = news.join(", ");
            self.reporter.warn(format!(
                "jail: not available here: {news}; see `embly doctor`"
            ));
        }
    }
}
