//! What is said of a line that cannot be read: proposals that are near, in lines that fit.

use std::env;
use std::io::{self, Write as _};

use clap::error::{ContextKind, ContextValue};
use clap::{Command, CommandFactory as _, Error};

use super::Cli;
use crate::config::nearest;
use crate::report::{Options, columns_of, wrapped};

/// Says it, and ends the program; help that was asked for is no mistake.
pub fn exit(error: Error) -> ! {
    let error = with_what_is_near(error);
    let Some(columns) = columns_of(io::stderr()).filter(|_| error.use_stderr()) else {
        error.exit();
    };
    let text = error.render();
    let text = match Options::terminal_color(false) {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    // There is nobody else to tell.
    let _ = io::stderr().write_all(wrapped(&text, columns).as_bytes());
    std::process::exit(error.exit_code());
}

/// Without proposals that share a few letters with what was typed, and nothing else.
fn with_what_is_near(mut error: Error) -> Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let typed = typed.clone();
    let is_near =
        |name: &String| name.starts_with(&typed) || nearest(&typed, [name.as_str()]).is_some();
    let mut names = match error.remove(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(names)) => names,
        _ => Vec::new(),
    };
    names.retain(is_near);
    // Clap does not see letters that changed places in a short word.
    if names.is_empty() && env::args().nth(1).as_ref() == Some(&typed) {
        let all = Cli::command();
        let all = all.get_subcommands().map(Command::get_name);
        names.extend(nearest(&typed, all).map(str::to_owned));
    }
    if !names.is_empty() {
        error.insert(
            ContextKind::SuggestedSubcommand,
            ContextValue::Strings(names),
        );
    }
    error
}
