//! What `embly new` makes passes its own test and builds for wasm, wherever it lies.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use embly::build::rust::{RustBuild, RustFunction};
use embly::build::{BuildEvent, Cancel, Observer};
use embly::scaffold;

struct ToStderr;

impl Observer for ToStderr {
    fn on(&self, event: BuildEvent) {
        if let BuildEvent::Diagnostics(bytes) = event {
            eprint!("{}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn a_new_project_inside_of_another_workspace_passes_its_test_and_builds() {
    let Some(toolchain) = common::toolchain() else {
        return;
    };
    let around = tempfile::tempdir().unwrap();
    fs::write(
        around.path().join("Cargo.toml"),
        "[workspace]\nresolver = \"3\"\nmembers = [\"none\"]\n",
    )
    .unwrap();
    let project = scaffold::new(&around.path().join("my project/fresh"))
        .unwrap()
        .folder;
    if !project.join("vendor/embly-sdk/src/http").is_dir() {
        eprintln!("skipped: needs the SDK");
        return;
    }

    let mut cargo = Command::new(&toolchain.cargo);
    cargo
        .args(["test", "--quiet", "--target-dir"])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-project"));
    let tested = cargo.current_dir(&project).output().unwrap();
    let text = String::from_utf8_lossy(&[tested.stdout, tested.stderr].concat()).into_owned();
    assert!(tested.status.success(), "{text}");
    assert!(
        text.contains("1 passed") && !text.contains("warning"),
        "{text}"
    );

    let function = RustFunction {
        name: "listener".to_owned(),
        path: project.join("listener"),
        context: project.clone(),
    };
    let build = RustBuild {
        project: &project,
        toolchain,
        color: false,
        quiet: false,
        cancel: &Cancel::new(),
        observer: &ToStderr,
    };
    let mut outcomes = Vec::new();
    build.run(&[function], &mut |ready| outcomes.extend(ready));
    let wasm = &outcomes[0].result.as_ref().unwrap().wasm;
    assert!(fs::read(wasm).unwrap().starts_with(b"\0asm"));
    assert!(
        outcomes[0].inputs.contains(
            &project
                .canonicalize()
                .unwrap()
                .join("vendor/embly-sdk/src/lib.rs")
        )
    );
}
