//! One executable, two roles: `embly wrapper …` is what the master starts, everything else is
//! the command line. The role is chosen before any thread exists, since wrappers are forked.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments
        .next_if(|argument| argument == "wrapper")
        .is_some()
    {
        embly_wrapper::main(arguments)
    } else {
        embly::cli::main()
    }
}
