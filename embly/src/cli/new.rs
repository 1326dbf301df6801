//! `embly new`: makes a project.

use std::path::Path;

use super::{Exit, context};
use crate::report::Reporter;
use crate::scaffold;

/// Makes a project and says what to do next.
pub fn run(path: &Path, reporter: &Reporter) -> Exit {
    match scaffold::new(path) {
        Ok(created) => {
            let folder = context::shown(&created.folder);
            let enter = if folder.is_empty() {
                String::new()
            } else {
                format!("cd {folder} && ")
            };
            let place = if folder.is_empty() {
                "this folder".to_owned()
            } else {
                format!("`{folder}`")
            };
            reporter.info(format!(
                "made the project `{}` in {place}\n\n  {enter}embly dev\n\n\
                 then open http://127.0.0.1:8082 and change `listener/src/main.rs`",
                created.name
            ));
            Exit::Done
        }
        Err(error) => {
            reporter.error(error.to_string());
            Exit::Failed
        }
    }
}
