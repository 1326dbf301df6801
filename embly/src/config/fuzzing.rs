//! The project file.

use std::path::PathBuf;

use super::machine::Machine;
use super::problem::Problems;
use super::{Environment, project as reader};

/// A machine of some size, so that an input means the same on each.
const MACHINE: Machine = Machine {
    memory: Some(8 << 30),
    processes: Some(32_768),
};

/// A project file is read, or every problem of it has a code, a text and a place, and can be shown.
pub fn project(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    // A folder that is there, and never has functions in it.
    let file = PathBuf::from("/proc/sys/embly-project.yml");
    let problems = Problems::new(file, text.to_owned());
    let environment = Environment::new(|name| (name == "SET").then(|| "value".to_owned()));
    let problems = match reader::read(problems, &environment, &MACHINE) {
        Ok(project) => project.warnings,
        Err(problems) => {
            assert!(problems.count().0 > 0, "it is refused for nothing");
            problems
        }
    };
    for problem in problems.iter() {
        assert!(super::CODES.contains(&problem.code));
        assert!(!problem.message.is_empty());
        assert!(!problem.message.contains('\n'), "{}", problem.message);
    }
    for record in problems.records() {
        let lines = text.split('\n').count();
        assert!(record.line.is_none_or(|line| (1..=lines).contains(&line)));
    }
    let shown = problems.render(false, Some(80));
    // Nothing of the file acts on a terminal.
    let acts = |letter: char| letter.is_control() && letter != '\n';
    assert!(!shown.contains(acts), "{shown:?}");
}
