//! The state folder: one master at a time, where the operator says.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::client::{get, put};
use support::{Embly, Project, output};

fn project() -> Project {
    let keys = "    allow: {kv: [default]}";
    let project = Project::new().guest_with("keeps", keys).http("keeps");
    project.store("name: default, type: kv")
}

#[test]
fn the_second_master_on_a_state_folder_says_so_and_stops() {
    let project = project();
    let first = Embly::run(&project);
    assert_eq!(put(first.at("keeps"), "/a", b"1").text(), "set");
    let path = project.path().to_str().unwrap();
    let (code, said, told) = output(&["run", path, "--bind", "127.0.0.1:0", "--format", "json"]);
    assert_eq!(code, 1, "{told}");
    assert!(!said.contains("listening"), "{said}");
    let who = format!("in use by another master, process {}", first.pid());
    assert!(
        told.contains(&who) && told.contains("--state DIR"),
        "{told}"
    );
    // The first goes on, and a third with a folder of its own stands beside it.
    assert_eq!(get(first.at("keeps"), "/a").text(), "1");
    let other = tempfile::tempdir().unwrap();
    let other = other.path().join("deep/state");
    let third = Embly::start("run", &project, &["--state", other.to_str().unwrap()]);
    assert_eq!(get(third.at("keeps"), "/a").status, 500);
    assert_eq!(put(third.at("keeps"), "/a", b"3").text(), "set");
    assert_eq!(get(first.at("keeps"), "/a").text(), "1");
    assert!(other.join("default.kv").exists());
    let mode = fs::metadata(&other).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // A folder that was left is free, however its master has ended.
    drop(first);
    let again = Embly::run(&project);
    assert_eq!(get(again.at("keeps"), "/a").text(), "1");
}

#[test]
fn a_project_that_cannot_be_written_works_with_a_state_folder_elsewhere() {
    let project = project();
    let folder = project.path().to_owned();
    let set_mode = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o555);
    let state = tempfile::tempdir().unwrap();
    let state = state.path().join("state");
    let embly = Embly::start("run", &project, &["--state", state.to_str().unwrap()]);
    assert_eq!(put(embly.at("keeps"), "/a", b"1").text(), "set");
    drop(embly);
    let embly = Embly::start("run", &project, &["--state", state.to_str().unwrap()]);
    assert_eq!(get(embly.at("keeps"), "/a").text(), "1");
    drop(embly);
    assert!(!folder.join("data").exists());
    set_mode(0o755);
}

#[test]
fn a_state_folder_that_cannot_be_made_stops_the_start_with_what_to_do() {
    let project = project();
    let file = project.path().join("guest.wasm");
    let state = file.join("state");
    let path = project.path().to_str().unwrap();
    let (code, _, told) = output(&[
        "run",
        path,
        "--bind",
        "127.0.0.1:0",
        "--state",
        state.to_str().unwrap(),
    ]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("cannot use the state folder"), "{told}");
    assert!(
        told.contains("give another one with `--state DIR`"),
        "{told}"
    );
}
