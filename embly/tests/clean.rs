//! `embly clean`: what can be made again, and only that.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::project::answering;
use support::{Embly, Project, command, get};

/// A project that was built, a cache of its own, and a folder for sockets.
struct Place {
    project: Project,
    cache: tempfile::TempDir,
    runtime: tempfile::TempDir,
}

/// What a command did: exit code, stdout, stderr.
type Ran = (i32, String, String);

impl Place {
    fn new() -> Self {
        let place = Self {
            project: Project::new()
                .wat("hello", &answering("hello"))
                .http("hello"),
            cache: tempfile::tempdir().unwrap(),
            runtime: tempfile::tempdir().unwrap(),
        };
        let (code, _, stderr) = place.embly(&["build", place.path()]);
        assert_eq!(code, 0, "{stderr}");
        for (folder, bytes) in [
            (place.kept("toolchain/1.0"), 100_000),
            (place.kept("authority"), 1000),
            (place.kept("bundles/8b3e"), 1000),
            (place.project.folder().join(".embly/target/x"), 3_000_000),
            (place.project.folder().join("data"), 1000),
        ] {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("file"), vec![1; bytes]).unwrap();
        }
        place
    }

    fn path(&self) -> &str {
        self.project.path().to_str().unwrap()
    }

    /// A folder in the cache.
    fn kept(&self, name: &str) -> PathBuf {
        self.cache.path().join("embly").join(name)
    }

    fn build(&self) -> PathBuf {
        self.project.folder().join(".embly")
    }

    fn embly(&self, arguments: &[&str]) -> Ran {
        let mut command = command(arguments, self.runtime.path());
        let ran = command
            .env("XDG_CACHE_HOME", self.cache.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            ran.status.code().unwrap(),
            text(ran.stdout),
            text(ran.stderr),
        )
    }

    fn clean(&self, flags: &[&str]) -> Ran {
        self.embly(&[&["clean", self.path()], flags].concat())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn without_a_choice_it_shows_sizes_and_removes_nothing() {
    let place = Place::new();
    let (code, stdout, stderr) = place.clean(&[]);
    assert_eq!(code, 0, "{stderr}");
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let lines: Vec<Vec<String>> = stdout.lines().map(words).collect();
    let first: Vec<&str> = lines.iter().map(|line| &*line[0]).collect();
    assert_eq!(
        first,
        [
            "WHAT",
            "build",
            "cache",
            "toolchain",
            "bundles",
            "authority"
        ]
    );
    assert_eq!(lines[1][2], "MiB", "{stdout}");
    assert_eq!(
        lines[1][3],
        place.build().canonicalize().unwrap().to_str().unwrap()
    );
    assert!(stderr.ends_with("what functions keep stays\n"), "{stderr}");
    assert_eq!(
        names(&place.cache.path().join("embly")),
        ["artefacts", "authority", "bundles", "toolchain"]
    );
    assert!(place.build().exists());
}

#[test]
fn what_is_chosen_goes_and_the_rest_stays() {
    let place = Place::new();
    let (code, stdout, stderr) = place.clean(&["--build"]);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert!(
        stderr.starts_with("freed 2.9 MiB: build\n") || stderr.starts_with("freed 3."),
        "{stderr}"
    );
    assert!(!place.build().exists() && place.kept("artefacts").exists());
    let (code, stdout, stderr) = place.clean(&["--all", "--format", "json"]);
    assert_eq!(code, 0, "{stderr}");
    let told: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<(&str, bool)> = told
        .iter()
        .map(|one| {
            (
                one["what"].as_str().unwrap(),
                one["removed"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("cache", true),
            ("toolchain", true),
            ("bundles", true),
            ("authority", false)
        ]
    );
    assert_eq!(names(&place.cache.path().join("embly")), ["authority"]);
    // What functions keep is never touched, nor is the project.
    assert_eq!(
        names(place.project.folder()),
        ["data", "embly-project.yml", "hello.wat"]
    );
    let (code, _, stderr) = place.clean(&["--all"]);
    assert_eq!(
        (code, stderr.as_str()),
        (0, "there was nothing to remove\n")
    );
    // It is all made again.
    assert_eq!(place.embly(&["build", place.path()]).0, 0);
}

#[test]
fn links_are_not_followed() {
    let place = Place::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), vec![1; 5_000_000]).unwrap();
    symlink(outside.path(), place.build().join("link")).unwrap();
    let (_, stdout, _) = place.clean(&["--format", "json"]);
    let build: Value = serde_json::from_str(stdout.lines().next().unwrap()).unwrap();
    assert!(build["bytes"].as_u64().unwrap() < 5_000_000, "{build}");
    assert_eq!(place.clean(&["--build"]).0, 0);
    assert_eq!(names(outside.path()), ["precious"]);
    // One in the place of the folder itself is somebody's own doing.
    symlink(outside.path(), place.build()).unwrap();
    let (code, _, stderr) = place.clean(&["--all"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("it is a link, or no folder"), "{stderr}");
    assert_eq!(names(outside.path()), ["precious"]);
    assert!(place.kept("artefacts").exists(), "nothing, or all of it");
}

#[test]
fn what_a_master_or_a_build_needs_is_refused() {
    let place = Place::new();
    let runtime = tempfile::tempdir().unwrap();
    let arguments = support::arguments("run", place.project.path());
    let mut run = command(&arguments, runtime.path());
    run.env("XDG_CACHE_HOME", place.cache.path());
    let sockets = runtime.path().to_owned();
    let embly = Embly::spawn(run, runtime, 1);
    let clean = |flag: &str| {
        let mut clean = command(&["clean", place.path(), flag], &sockets);
        let ran = clean
            .env("XDG_CACHE_HOME", place.cache.path())
            .output()
            .unwrap();
        (
            ran.status.code().unwrap(),
            String::from_utf8(ran.stderr).unwrap(),
        )
    };
    for flag in ["--cache", "--toolchain", "--all"] {
        let (code, stderr) = clean(flag);
        assert_eq!(code, 1, "{flag}");
        assert!(stderr.contains("a master runs"), "{stderr}");
    }
    assert!(place.kept("artefacts").exists() && place.build().exists());
    // The build output it does not need.
    assert_eq!(clean("--build").0, 0);
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    drop(embly);
    // Cargo holds such a lock as long as it builds.
    let profile = place.build().join("target/wasm32-wasip1/release");
    fs::create_dir_all(&profile).unwrap();
    let lock = File::create(profile.join(".cargo-lock")).unwrap();
    lock.lock().unwrap();
    let (code, stderr) = clean("--build");
    assert_eq!(code, 1);
    assert!(stderr.contains("a build is under way"), "{stderr}");
    drop(lock);
    assert_eq!(clean("--build").0, 0);
}

#[test]
fn outside_of_a_project_there_is_the_cache() {
    let place = Place::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut clean = command(&["clean"], place.runtime.path());
    clean
        .env("XDG_CACHE_HOME", place.cache.path())
        .current_dir(elsewhere.path());
    let ran = clean.output().unwrap();
    let stdout = String::from_utf8(ran.stdout).unwrap();
    assert!(
        stdout.contains("\ncache ") && !stdout.contains("\nbuild "),
        "{stdout}"
    );
    let (code, _, stderr) = place.embly(&["clean", elsewhere.path().to_str().unwrap(), "--build"]);
    assert_eq!(code, 2, "{stderr}");
}
