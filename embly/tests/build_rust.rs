//! Rust functions are built for wasm by real cargo calls.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use embly::build::rust::{RustBuild, RustError, RustFunction, RustOutcome};
use embly::build::{BuildEvent, Cancel, Observer};

#[derive(Default)]
struct Seen(RefCell<Vec<BuildEvent>>);

impl Observer for Seen {
    fn on(&self, event: BuildEvent) {
        self.0.borrow_mut().push(event);
    }
}

impl Seen {
    fn text(&self) -> String {
        let events = self.0.borrow();
        let bytes = events.iter().filter_map(|event| match event {
            BuildEvent::Diagnostics(bytes) => Some(bytes.as_slice()),
            _ => None,
        });
        String::from_utf8_lossy(&bytes.collect::<Vec<_>>().concat()).into_owned()
    }

    fn calls(&self) -> Vec<Vec<String>> {
        let events = self.0.borrow();
        let started = events.iter().filter_map(|event| match event {
            BuildEvent::CargoStarted { functions } => Some(functions.clone()),
            _ => None,
        });
        started.collect()
    }
}

/// A project in a temporary folder; None where there is no wasm target.
struct Project {
    folder: tempfile::TempDir,
    cancel: Cancel,
}

impl Project {
    fn new() -> Option<Self> {
        common::toolchain()?;
        Some(Self {
            folder: tempfile::tempdir().unwrap(),
            cancel: Cancel::new(),
        })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn program(&self, folder: &str, name: &str, body: &str) {
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        self.write(&format!("{folder}/Cargo.toml"), &manifest);
        self.write(
            &format!("{folder}/src/main.rs"),
            &format!("fn main() {{ {body} }}\n"),
        );
    }

    fn build(&self, functions: &[(&str, &str)]) -> (Vec<RustOutcome>, Seen) {
        let functions: Vec<RustFunction> = functions
            .iter()
            .map(|(name, path)| RustFunction {
                name: (*name).to_owned(),
                path: self.path(path),
                context: self.path(""),
            })
            .collect();
        let seen = Seen::default();
        let build = RustBuild {
            project: &self.path(""),
            toolchain: common::toolchain().unwrap(),
            color: false,
            quiet: false,
            lines: false,
            cancel: &self.cancel,
            observer: &seen,
        };
        let mut outcomes = Vec::new();
        build.run(&functions, &mut |ready| outcomes.extend(ready));
        outcomes.sort_by_key(|outcome| {
            functions
                .iter()
                .position(|function| function.name == outcome.function)
        });
        (outcomes, seen)
    }
}

fn wasm(outcome: &RustOutcome) -> Vec<u8> {
    let output = outcome.result.as_ref().unwrap();
    assert!(
        output
            .wasm
            .ends_with(format!(".embly/wasm/{}.wasm", outcome.function)),
        "{}",
        output.wasm.display()
    );
    let bytes = fs::read(&output.wasm).unwrap();
    assert!(
        bytes.starts_with(b"\0asm"),
        "{} is not wasm",
        output.wasm.display()
    );
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn crates_of_one_name_in_two_folders_do_not_clash_and_crates_may_be_shared() {
    let Some(project) = Project::new() else {
        return;
    };
    project.program("one", "same", r#"println!("the first of them")"#);
    project.program("two", "same", r#"println!("the second of them")"#);
    let functions = [("a", "one"), ("b", "two"), ("again", "one")];
    let (outcomes, seen) = project.build(&functions);
    assert!(holds(&wasm(&outcomes[0]), "the first of them"));
    assert!(holds(&wasm(&outcomes[1]), "the second of them"));
    assert_eq!(wasm(&outcomes[0]), wasm(&outcomes[2]));
    assert_eq!(seen.calls(), [vec!["a", "again"], vec!["b"]]);
    assert!(
        project.path(".embly/.gitignore").is_file()
            && project.path(".embly/CACHEDIR.TAG").is_file()
    );

    let (again, _) = project.build(&functions);
    assert!(
        again
            .iter()
            .all(|outcome| !outcome.result.as_ref().unwrap().changed)
    );
}

#[test]
fn an_error_in_one_function_leaves_the_others_and_shows_cargos_words() {
    let Some(project) = Project::new() else {
        return;
    };
    project.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"good\", \"bad\"]\n",
    );
    project.program("good", "good", r#"println!("hello")"#);
    project.program("bad", "bad", r#"println!("old code")"#);
    let functions = [("bad", "bad"), ("good", "good")];
    let (outcomes, seen) = project.build(&functions);
    assert_eq!(seen.calls(), [["bad", "good"]], "one call per workspace");
    let old = wasm(&outcomes[0]);

    project.program("bad", "bad", "missing_thing()");
    project.program("good", "good", r#"println!("new code")"#);
    project.write("good/src/more.rs", "");
    let (outcomes, seen) = project.build(&functions);
    assert_eq!(
        outcomes[0].result,
        Err(RustError::Compile {
            package: "bad".to_owned()
        })
    );
    assert_eq!(fs::read(project.path(".embly/wasm/bad.wasm")).unwrap(), old);
    assert!(holds(&wasm(&outcomes[1]), "new code") && outcomes[1].result.as_ref().unwrap().changed);
    assert!(
        seen.text().contains("cannot find function `missing_thing`"),
        "{}",
        seen.text()
    );
    // cargo does not say what it has read then, also of the other one.
    let more = project.path("good/src/more.rs");
    assert!(outcomes[1].inputs.contains(&more), "{outcomes:?}");
    for input in [
        "bad/src/main.rs",
        "bad/src",
        "bad/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        assert!(
            outcomes[0].inputs.contains(&project.path(input)),
            "{input}: {:?}",
            outcomes[0].inputs
        );
    }
}

#[test]
fn inputs_are_all_that_went_into_the_function() {
    let Some(project) = Project::new() else {
        return;
    };
    project.program("fn one", "another-name", r#"println!("{}", shared::TEXT)"#);
    let manifest = project.path("fn one/Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap()
        + "[dependencies]\nshared = { path = \"../shared\" }\n";
    fs::write(manifest, text).unwrap();
    project.write(
        "fn one/build.rs",
        "fn main() { println!(\"cargo::rerun-if-changed=words.txt\") }",
    );
    project.write("fn one/words.txt", "words");
    project.write(
        "shared/Cargo.toml",
        "[package]\nname = \"shared\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    );
    project.write(
        "shared/src/lib.rs",
        "pub const TEXT: &str = include_str!(\"text.txt\");",
    );
    project.write("shared/src/text.txt", "included text");
    let (outcomes, _) = project.build(&[("f", "fn one")]);
    assert!(holds(&wasm(&outcomes[0]), "included text"));
    let expected = [
        "fn one/Cargo.lock",
        "fn one/Cargo.toml",
        "fn one/build.rs",
        "fn one/src/main.rs",
        "fn one/words.txt",
        "shared/Cargo.toml",
        "shared/src/lib.rs",
        "shared/src/text.txt",
    ];
    assert_eq!(outcomes[0].inputs, expected.map(|path| project.path(path)));
}

#[test]
fn a_crate_that_is_no_function_says_what_to_do() {
    let Some(project) = Project::new() else {
        return;
    };
    project.program("several", "several", "");
    project.write("several/src/bin/other.rs", "fn main() {}");
    project.write(
        "library/Cargo.toml",
        "[package]\nname = \"library\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    );
    project.write("library/src/lib.rs", "");
    project.write("odd/Cargo.toml", "[package\n");
    project.write(
        "whole/Cargo.toml",
        "[workspace]\nmembers = [\"member\"]\nresolver = \"3\"\n",
    );
    project.program("whole/member", "member", "");
    fs::create_dir(project.path("empty")).unwrap();
    let folders = ["several", "library", "odd", "whole", "empty", "nowhere"];
    let (outcomes, seen) = project.build(&folders.map(|folder| (folder, folder)));
    let words = [
        "several programs: other, several\nhint: write `default-run = \"other\"`",
        "has no program\nhint: add `src/main.rs`",
        "cargo cannot read the crate",
        "one of its members: member",
        "no `Cargo.toml` in",
        "no `Cargo.toml` in",
    ];
    for (outcome, words) in outcomes.iter().zip(words) {
        let error = outcome.result.as_ref().unwrap_err().to_string();
        assert!(error.contains(words), "{}: {error}", outcome.function);
        assert!(!outcome.inputs.is_empty());
    }
    assert!(seen.calls().is_empty());
}

#[test]
fn flags_of_the_users_are_kept() {
    let Some(project) = Project::new() else {
        return;
    };
    project.program(
        "f",
        "f",
        r#"println!("{}", if cfg!(of_user) { "with the flag" } else { "without" })"#,
    );
    project.write(
        "f/.cargo/config.toml",
        "[build]\nrustflags = [\"--cfg\", \"of_user\"]\n",
    );
    let (outcomes, _) = project.build(&[("f", "f")]);
    assert!(holds(&wasm(&outcomes[0]), "with the flag"));
}

#[test]
fn a_library_of_type_cdylib_and_programs_of_one_name_in_a_workspace_are_built() {
    let Some(project) = Project::new() else {
        return;
    };
    project.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"a\", \"b\", \"c\"]\n",
    );
    for name in ["a", "b"] {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[[bin]]\nname = \"main\"\npath = \"m.rs\"\n"
        );
        project.write(&format!("{name}/Cargo.toml"), &manifest);
        project.write(
            &format!("{name}/m.rs"),
            &format!("fn main() {{ println!(\"this is {name}\") }}"),
        );
    }
    let manifest = "[package]\nname = \"c\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n";
    project.write("c/Cargo.toml", manifest);
    project.write(
        "c/src/lib.rs",
        "#[unsafe(no_mangle)] pub extern \"C\" fn start_here() {}",
    );
    let (outcomes, seen) = project.build(&[("a", "a"), ("b", "b"), ("c", "c")]);
    assert!(holds(&wasm(&outcomes[0]), "this is a"));
    assert!(holds(&wasm(&outcomes[1]), "this is b"));
    assert!(holds(&wasm(&outcomes[2]), "start_here"));
    assert_eq!(seen.calls().len(), 3);
}

#[test]
fn a_cancel_ends_cargo_and_what_it_has_started() {
    let Some(project) = Project::new() else {
        return;
    };
    project.program("slow", "slow", "");
    let marker = project.path("begun");
    project.write(
        "slow/build.rs",
        &format!("fn main() {{ std::fs::write({marker:?}, std::process::id().to_string()).unwrap(); std::thread::sleep(std::time::Duration::from_secs(60)); }}"),
    );
    let cancel = project.cancel.clone();
    let watched = marker.clone();
    let other = std::thread::spawn(move || {
        let began = Instant::now();
        while !fs::read_to_string(&watched).is_ok_and(|pid| !pid.is_empty())
            && began.elapsed() < Duration::from_secs(30)
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        cancel.cancel();
        Instant::now()
    });
    let (outcomes, _) = project.build(&[("slow", "slow")]);
    let waited = other.join().unwrap().elapsed();
    assert_eq!(outcomes[0].result, Err(RustError::Cancelled));
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    let pid = fs::read_to_string(&marker).unwrap();
    let gone = || !Path::new("/proc").join(pid.trim()).join("exe").exists();
    let began = Instant::now();
    while !gone() && began.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(gone(), "the build script still runs");
}
