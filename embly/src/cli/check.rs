//! `embly check`: reads the project file and says whether it is right, in each of its environments.

use std::io::{self, Write as _};

use clap::Args;
use serde_json::json;

use super::context::{self, Need};
use super::{Exit, Kept, output};
use crate::config::{self, Project};
use crate::report::{Format, Reporter};

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    kept: Kept,
    /// Print the project file with what it says for the environment in its place
    #[arg(long)]
    resolved: bool,
}

/// Checks the project file.
pub fn run(check: &Check, reporter: &Reporter) -> Exit {
    let Kept { chosen, state } = &check.kept;
    let need = Need::Secrets(state.as_deref());
    let done = || {
        let project = context::project(chosen, false, need, reporter)?;
        // Where none was chosen, all of them.
        let others = match chosen.named() {
            Some(_) => &[][..],
            None => &project.environments[..],
        };
        let mut wrong = Ok(());
        for name in others {
            wrong = wrong.and(in_environment(&project, name, need, reporter));
        }
        wrong?;
        if check.resolved {
            return resolved(&project, chosen.named(), reporter);
        }
        reporter.info(format!("all is right: {}", there(&project)));
        Ok(())
    };
    done().err().unwrap_or(Exit::Done)
}

/// What is wrong with an environment, or what there is in it.
fn in_environment(
    project: &Project,
    name: &str,
    need: Need<'_>,
    reporter: &Reporter,
) -> Result<(), Exit> {
    let said = &project.warnings;
    let read = context::read_again(&project.file, Some(name), said, false, need, reporter);
    let project = read.map_err(|_| Exit::Usage)?;
    reporter.info(format!("environment {name}: {}", there(&project)));
    Ok(())
}

fn there(project: &Project) -> String {
    let count = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    let mut there = vec![
        count(project.functions.len(), "function"),
        count(project.gateways.len() + project.crons.len(), "gateway"),
    ];
    if !project.secrets.is_empty() {
        there.push(count(project.secrets.len(), "secret"));
    }
    there.join(", ")
}

fn resolved(project: &Project, environment: Option<&str>, reporter: &Reporter) -> Result<(), Exit> {
    // It was read a moment ago.
    let written = config::written(&project.file, environment).map_err(|problems| {
        reporter.error(problems.to_string());
        Exit::Usage
    })?;
    if reporter.options().format == Format::Json {
        let event = json!({
            "event": "resolved",
            "environment": environment,
            "project": written.json(),
        });
        return output::json(std::iter::once(event), reporter);
    }
    let mut out = io::stdout().lock();
    let printed = out.write_all(written.yaml().as_bytes());
    output::done(printed.and_then(|()| out.flush()), reporter)
}
