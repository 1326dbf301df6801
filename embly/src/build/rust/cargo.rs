//! One cargo call, from its arguments to the copied outputs.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::message::{self, Artifact, Line, Lines};
use super::plan::{Crate, Kind, Plan};
use super::{RustBuild, RustError, RustFunction, RustOutcome, RustOutput, inputs, lines};
use crate::build::event::BuildEvent;
use crate::build::folder;
use crate::build::process::{self, RunError, Stream};
use crate::build::toolchain::TARGET;

/// Runs the call and reports on each of its functions. `embly` is the project's `.embly` folder.
pub(super) fn build(
    build: &RustBuild<'_>,
    functions: &[RustFunction],
    plan: &Plan,
    embly: &Path,
) -> Vec<RustOutcome> {
    let names = plan.names(functions);
    let began = Instant::now();
    build.observer.on(BuildEvent::CargoStarted {
        functions: names.clone(),
    });
    let target = target_folder(embly, &plan.workspace.workspace_root);
    let made = run(build, &mut command(build, plan, &target));
    build.observer.on(BuildEvent::CargoFinished {
        functions: names,
        elapsed: began.elapsed(),
    });

    // cargo says what it has read only where all went well.
    let said = |artifacts: &[Artifact]| {
        let mut crates = plan.crates.iter();
        crates.all(|one| find(artifacts, one, plan.kind).is_some())
    };
    let said = made.as_ref().is_ok_and(|artifacts| said(artifacts));
    let mut outcomes: Vec<(usize, RustOutcome)> = Vec::new();
    for one in &plan.crates {
        let (result, inputs) = match &made {
            Err(error) => (
                Err(error.clone()),
                one.broken_inputs(build, &plan.workspace),
            ),
            Ok(artifacts) => match find(artifacts, one, plan.kind) {
                Some(wasm) if said => (
                    Ok(wasm),
                    inputs::after_success(wasm, &plan.workspace.workspace_root, &target),
                ),
                Some(wasm) => (Ok(wasm), one.broken_inputs(build, &plan.workspace)),
                None => {
                    let error = RustError::Compile {
                        package: one.package.name.clone(),
                    };
                    (Err(error), one.broken_inputs(build, &plan.workspace))
                }
            },
        };
        for &position in &one.functions {
            let function = functions[position].name.clone();
            let result = result.clone();
            let result = result.and_then(|wasm| copy(wasm, embly, &function, build.lines));
            outcomes.push((
                position,
                RustOutcome {
                    function,
                    result,
                    inputs: inputs.clone(),
                },
            ));
        }
    }
    outcomes.sort_by_key(|(position, _)| *position);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn command(build: &RustBuild<'_>, plan: &Plan, target: &Path) -> Command {
    let mut cargo = build.toolchain.cargo_command();
    // Without `--keep-going` an error in one function would leave others unbuilt.
    cargo.args(["build", "--release", "--keep-going", "--target", TARGET]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    cargo.args(["--color", if build.color { "always" } else { "never" }]);
    if build.quiet {
        cargo.arg("--quiet");
    }
    cargo.arg("--target-dir").arg(target);
    if build.lines {
        cargo.args(lines::arguments(&plan.workspace));
    }
    for one in &plan.crates {
        cargo.args(["--package", &one.package.id]);
        if plan.kind == Kind::Bin {
            cargo.args(["--bin", &one.target]);
        }
    }
    if plan.kind == Kind::Library {
        cargo.arg("--lib");
    }
    cargo.current_dir(&plan.workspace.workspace_root);
    cargo
}

/// The files that are ready after the call, also if it failed.
fn run(build: &RustBuild<'_>, command: &mut Command) -> Result<Vec<Artifact>, RustError> {
    let mut lines = Lines::default();
    let artifacts = RefCell::new(Vec::new());
    let each = &mut |stream, bytes: Vec<u8>| match stream {
        Stream::Err => build.observer.on(BuildEvent::Diagnostics(bytes)),
        Stream::Out => lines.push(&bytes, |line| match message::parse(line) {
            Line::Artifact(artifact) => artifacts.borrow_mut().push(artifact),
            Line::Other => {}
            Line::Foreign => build
                .observer
                .on(BuildEvent::Diagnostics([line, b"\n"].concat())),
        }),
    };
    match process::run(command, None, build.cancel, each) {
        Ok(_) => Ok(artifacts.into_inner()),
        Err(RunError::Cancelled) => Err(RustError::Cancelled),
        Err(RunError::NotFound) => Err(RustError::NoCargo),
        Err(error) => Err(RustError::Cargo(error.to_string())),
    }
}

fn find<'a>(artifacts: &'a [Artifact], one: &Crate, kind: Kind) -> Option<&'a Path> {
    artifacts
        .iter()
        .filter(|artifact| artifact.package_id == one.package.id && artifact.target.is(kind.word()))
        .filter(|artifact| artifact.target.name == one.target)
        .find_map(Artifact::wasm)
}

fn copy(wasm: &Path, embly: &Path, function: &str, lines: bool) -> Result<RustOutput, RustError> {
    let mut folder = embly.join("wasm");
    if lines {
        // A bundle that is made meanwhile must not find them.
        folder.push("lines");
    }
    let copy = folder.join(format!("{function}.wasm"));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| RustError::output(&path, &error)
    };
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let content = fs::read(wasm)
        .map_err(|error| RustError::Cargo(format!("left no {}: {error}", wasm.display())))?;
    let changed = folder::write_if_new(&copy, &content).map_err(failed(&copy))?;
    Ok(RustOutput {
        wasm: copy,
        changed,
    })
}

/// cargo's folder for the tests of a crate, beside that of the builds of its workspace, so that neither they
/// nor an editor wait for each other; `None` where the project cannot be written to.
pub fn folder_of_tests(project: &Path, path: &Path) -> Option<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["locate-project", "--workspace", "--message-format", "plain"]);
    let said = cargo.current_dir(path).output().ok()?;
    let manifest = PathBuf::from(String::from_utf8(said.stdout).ok()?.trim_end());
    // `cargo test` says what is wrong with it.
    let workspace = manifest.parent()?;
    let embly = folder::prepare(project).ok()?;
    Some(target_folder(&embly, workspace))
}

/// cargo's folder for a workspace: equal crate names in two workspaces must not meet.
fn target_folder(embly: &Path, workspace: &Path) -> PathBuf {
    // FNV-1a: short, and the same with every compiler.
    let bytes = workspace.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    embly.join("target").join(format!("{hash:016x}"))
}
