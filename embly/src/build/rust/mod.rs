//! Rust functions: one `cargo build` per cargo workspace, its wasm files copied out under the functions' names.

mod cargo;
mod depinfo;
mod error;
mod inputs;
mod lines;
mod message;
mod metadata;
mod plan;

use std::path::{Path, PathBuf};

pub use cargo::folder_of_tests;
pub use error::RustError;

use self::plan::Plan;
use super::toolchain::Toolchain;
use super::{Cancel, Observer, folder};

/// A function whose code is a crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RustFunction {
    /// The function's name in the project file; the crate's may differ.
    pub name: String,
    /// The crate's folder.
    pub path: PathBuf,
    /// The folder that the build may read; `path` lies in it.
    pub context: PathBuf,
}

/// What became of one function.
#[derive(Clone, Debug)]
pub struct RustOutcome {
    /// The function's name.
    pub function: String,
    /// The wasm file, or why there is none. After a failure the file of an earlier build may still be there: it belongs
    /// to the earlier sources.
    pub result: Result<RustOutput, RustError>,
    /// Files whose change calls for another build, and folders where a new file does; sorted. Also after a failure.
    pub inputs: Vec<PathBuf>,
}

/// A function's wasm file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RustOutput {
    /// `<project>/.embly/wasm/<function>.wasm`; with line tables in `lines/` there.
    pub wasm: PathBuf,
    /// Whether this build has changed it.
    pub changed: bool,
}

/// How the Rust functions of a project are built.
#[derive(Clone, Copy)]
pub struct RustBuild<'a> {
    /// The project's folder; output goes to `.embly` in it.
    pub project: &'a Path,
    /// What compiles.
    pub toolchain: &'a Toolchain,
    /// Whether cargo writes colours; true when its diagnostics end on a terminal.
    pub color: bool,
    /// Only warnings and errors from cargo, no `Compiling` lines.
    pub quiet: bool,
    /// Whether backtraces are to have files and lines, where the user has not chosen.
    pub lines: bool,
    /// Ends the build early; what was not built by then is reported as [`RustError::Cancelled`].
    pub cancel: &'a Cancel,
    /// Receives what happens.
    pub observer: &'a dyn Observer,
}

impl RustBuild<'_> {
    /// Builds `functions`. `ready` gets the outcomes of each cargo call as soon as it is over, and before the next one
    /// begins; every function appears in exactly one of its calls. A failure of one function does not stop the others.
    pub fn run(&self, functions: &[RustFunction], ready: &mut dyn FnMut(Vec<RustOutcome>)) {
        if functions.is_empty() {
            return;
        }
        let folder = match folder::prepare(self.project) {
            Ok(folder) => folder,
            Err(error) => {
                let error = RustError::output(&self.project.join(".embly"), &error);
                return ready(
                    functions
                        .iter()
                        .map(|one| RustOutcome::failed(one, &error))
                        .collect(),
                );
            }
        };
        let (plans, failed) = Plan::make(self, functions);
        if !failed.is_empty() {
            ready(failed);
        }
        for plan in plans {
            ready(cargo::build(self, functions, &plan, &folder));
        }
    }
}

impl RustOutcome {
    fn failed(function: &RustFunction, error: &RustError) -> Self {
        Self {
            function: function.name.clone(),
            result: Err(error.clone()),
            inputs: inputs::of_broken_crate(&function.path),
        }
    }
}
