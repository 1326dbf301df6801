//! `embly check`: reads the project file and says whether it is right.

use super::context::{self, Need};
use super::{Exit, Kept};
use crate::report::Reporter;

/// Checks the project file.
pub fn run(kept: &Kept, reporter: &Reporter) -> Exit {
    let need = Need::Secrets(kept.state.as_deref());
    match context::project(&kept.place.path, false, need, reporter) {
        Ok(project) => {
            let count = |number: usize, what: &str| {
                format!("{number} {what}{}", if number == 1 { "" } else { "s" })
            };
            let mut there = vec![
                count(project.functions.len(), "function"),
                count(project.gateways.len(), "gateway"),
            ];
            if !project.secrets.is_empty() {
                there.push(count(project.secrets.len(), "secret"));
            }
            reporter.info(format!("all is right: {}", there.join(", ")));
            Exit::Done
        }
        Err(exit) => exit,
    }
}
