//! Runs the tests of a program that has a `main` of its own. It takes the names that the usual
//! harness takes, and `--exact`, and prints what that one prints.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// A name, and what it stands for.
pub type Test = (&'static str, fn());

/// The tests of a program, each as `module::name`.
macro_rules! tests {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        [$((stringify!($name), crate::$module::$name as fn())),+]
    };
}
pub(crate) use tests;

/// Runs those that the arguments name, one after the other.
pub fn run(tests: &[Test]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in tests {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let exact = arguments.iter().any(|argument| argument == "--exact");
    let names: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_named = |test: &str| {
        let matches = |name: &&String| {
            if exact {
                test == name.as_str()
            } else {
                test.contains(name.as_str())
            }
        };
        names.is_empty() || names.iter().any(matches)
    };
    let (chosen, others): (Vec<_>, Vec<_>) = tests.iter().partition(|(name, _)| is_named(name));
    println!("\nrunning {} tests", chosen.len());
    let mut failed = Vec::new();
    for (name, test) in &chosen {
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            failed.push(*name);
        }
    }
    println!(
        "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        chosen.len() - failed.len(),
        failed.len(),
        others.len()
    );
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failures:\n    {}", failed.join("\n    "));
    ExitCode::from(101)
}
