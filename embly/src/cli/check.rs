//! `embly check`: reads the project file and says whether it is right.

use super::{Exit, Where, context};
use crate::report::Reporter;

/// Checks the project file.
pub fn run(place: &Where, reporter: &Reporter) -> Exit {
    match context::project(&place.path, false, reporter) {
        Ok(project) => {
            let count = |number: usize, what: &str| {
                format!("{number} {what}{}", if number == 1 { "" } else { "s" })
            };
            reporter.info(format!(
                "all is right: {}, {}",
                count(project.functions.len(), "function"),
                count(project.gateways.len(), "gateway"),
            ));
            Exit::Done
        }
        Err(exit) => exit,
    }
}
