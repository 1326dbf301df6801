//! What is nobody's business stays where it is.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::{Embly, Project, eventually, get};

const SECRET: &str = "correct-horse-battery-staple";

/// The words of a process that others of the machine can see, and those that only its user can.
fn words_of(pid: i32) -> String {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let all = ["cmdline", "comm", "environ", "stat", "status"].map(read);
    String::from_utf8_lossy(&all.concat()).into_owned()
}

#[test]
fn the_environment_of_a_function_is_in_no_argument_name_or_log() {
    for start in ["fork", "exec"] {
        let env = format!("    env: {{PASSWORD: {SECRET}}}");
        let project = Project::unparked()
            .guest_with("sleeps", &env)
            .http("sleeps");
        let embly = Embly::start("run", &project, &["--wrappers", start]);
        let at = embly.at("sleeps");
        let answer = std::thread::spawn(move || get(at, "/500"));
        embly.event("log", |event| event["line"] == "begun");
        let processes = embly.processes();
        assert!(!processes.is_empty());
        for process in &processes {
            let words = words_of(process.pid);
            assert!(!words.contains(SECRET), "{process:?}: {words}");
        }
        assert_eq!(answer.join().unwrap().text(), "slept");
        embly.ending("sleeps");
        let said = format!("{:?}{}", embly.events(), embly.stderr());
        assert!(!said.contains(SECRET), "{said}");
    }
}

#[test]
fn no_process_of_a_function_has_the_environment_of_the_master() {
    let project = Project::unparked().guest("sleeps").http("sleeps");
    let runtime = tempfile::tempdir().unwrap();
    let mut command = support::command(&support::arguments("run", project.path()), runtime.path());
    command.env("MASTERS_OWN", SECRET);
    let embly = Embly::spawn(command, runtime, project.gateways());
    let at = embly.at("sleeps");
    let answer = std::thread::spawn(move || get(at, "/500"));
    embly.event("log", |event| event["line"] == "begun");
    let processes = embly.processes();
    assert_eq!(processes.len(), 2);
    for process in &processes {
        assert!(!words_of(process.pid).contains(SECRET), "{process:?}");
    }
    answer.join().unwrap();
}

#[test]
fn the_folder_of_sockets_is_private_and_never_a_link() {
    let project = Project::unparked().guest("hello").http("hello");
    let embly = Embly::run(&project);
    let base = embly.runtime.path().join("embly");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&base), 0o700);
    for entry in fs::read_dir(&base).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o700);
    }
    // Somebody has made it first, and it leads elsewhere.
    let runtime = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), runtime.path().join("embly")).unwrap();
    let arguments = support::arguments("run", project.path());
    let output = support::command(&arguments, runtime.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("is not private to this user"), "{stderr}");
}

#[test]
fn addresses_cannot_be_guessed() {
    const COUNT: usize = 64;
    let project = Project::unparked().guest("hello").http("hello");
    let embly = Embly::run(&project);
    for _ in 0..COUNT {
        get(embly.at("hello"), "/");
    }
    let mut addresses = HashSet::new();
    eventually("all have ended", || {
        let ended = embly
            .events()
            .into_iter()
            .filter(|event| event["event"] == "invocation_ended");
        addresses = ended
            .map(|event| u64::from_str_radix(event["address"].as_str().unwrap(), 16).unwrap())
            .collect();
        addresses.len() == COUNT
    });
    // Each bit is set in some and clear in others; by chance one is not in 2 of 10^18 runs.
    let (all, any) = addresses
        .iter()
        .fold((u64::MAX, 0), |(all, any), a| (all & a, any | a));
    assert_eq!((all, any), (0, u64::MAX));
}
