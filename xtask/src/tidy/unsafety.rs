//! `unsafe` stands in two folders, and in one file of a test that attacks. The lints of each crate
//! forbid it elsewhere; this sees that nobody switches them off.

use super::{code, has_word, in_lines, none, tree};

const SYS: [&str; 2] = ["embly-wrapper/src/sys", "embly-sdk/src/sys"];

/// An attacker makes system calls that no safe function makes.
const ATTACKER: &str = "embly/tests/jail/sys.rs";

/// Where the lint is lifted for those.
const LIFTED: [&str; 3] = ["embly-wrapper/src/lib.rs", "embly-sdk/src/lib.rs", ATTACKER];

fn is_ours(file: &tree::File) -> bool {
    !file.under("xtask") && !SYS.iter().any(|sys| file.under(sys)) && file.path != ATTACKER
}

#[test]
fn unsafe_stands_in_the_sys_modules_only() {
    let files = tree::ending(".rs");
    let elsewhere = files.iter().filter(|file| is_ours(file));
    none(
        "`unsafe` outside of the `sys` modules: give it a safe function there",
        in_lines(elsewhere, |_, line| {
            // In a string it is the source of some other program.
            let outside = code(line)
                .split('"')
                .step_by(2)
                .any(|part| has_word(part, "unsafe"));
            outside.then(|| line.trim().to_owned())
        }),
    );
}

#[test]
fn the_lint_is_lifted_for_the_sys_modules_only() {
    let files = tree::ending(".rs");
    let sources = files.iter().filter(|file| !file.under("xtask"));
    none(
        "the lint `unsafe_code` is lifted",
        in_lines(sources, |file, line| {
            let line = code(line);
            let lifted = [
                "allow(unsafe_code",
                "expect(unsafe_code",
                "warn(unsafe_code",
            ];
            let found = lifted.iter().any(|text| line.contains(text));
            let place =
                LIFTED.contains(&file.path.as_str()) || SYS.iter().any(|sys| file.under(sys));
            (found && !place).then(|| line.trim().to_owned())
        }),
    );
}
