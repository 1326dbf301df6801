//! `embly completions` and `embly man`: the command line as shells and `man` know it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::{CommandFactory as _, ValueEnum};

use super::{Cli, Exit, context, output};
use crate::report::Reporter;

/// Shells that complete words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints a script for a shell.
pub fn completions(shell: Shell, reporter: &Reporter) -> Exit {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "embly", &mut script);
    print(&script, reporter)
}

/// Prints the page `embly(1)`, or makes it and one for each command in a folder.
pub fn man(folder: Option<&Path>, reporter: &Reporter) -> Exit {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
        return match rendered {
            Ok(()) => print(&page, reporter),
            Err(error) => failed(&format!("cannot make the page: {error}"), reporter),
        };
    };
    let place = context::shown(folder);
    let made =
        fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    match made {
        Ok(()) => {
            reporter.info(format!(
                "made `embly.1` and a page for each command in `{place}`"
            ));
            Exit::Done
        }
        Err(error) => failed(
            &format!("cannot write to `{place}`: {error}; name another folder"),
            reporter,
        ),
    }
}

fn print(text: &[u8], reporter: &Reporter) -> Exit {
    let mut out = io::stdout().lock();
    let written = out.write_all(text).and_then(|()| out.flush());
    output::done(written, reporter).err().unwrap_or(Exit::Done)
}

fn failed(text: &str, reporter: &Reporter) -> Exit {
    reporter.error(text);
    Exit::Failed
}
