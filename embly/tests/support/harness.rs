//! Runs the tests of a program that has a `main` of its own, since it plays a role of Embly's as
//! well: with the arguments and the words of the usual harness.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// A name, and what it stands for.
pub type Test = (&'static str, fn());

/// The tests of a program, by their paths; the last part is the name.
#[allow(unused_macros, reason = "few test programs have a `main` of their own")]
macro_rules! tests {
    ($($($part:ident)::+),+ $(,)?) => {
        [$((stringify!($($part)::+), $($part)::+ as fn())),+]
    };
}
pub(crate) use tests;

/// Runs those that the arguments name, one after the other: they look at the whole machine.
pub fn run(tests: &[Test]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trial = |(path, test): &Test| {
        let name = path.rsplit(':').next().unwrap_or(path).trim();
        let test = *test;
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    libtest_mimic::run(&arguments, tests.iter().map(trial).collect()).exit_code()
}
