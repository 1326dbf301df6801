//! `embly doctor`: what is there, what is missing, what to type.

use std::path::Path;
use std::process::Command;

use embly_wrapper::control::Reply;
use embly_wrapper::jail::{Missing, Policy, Step};
use embly_wrapper::process::{self, Silent};

use super::{Exit, context};
use crate::build::toolchain::{self, TARGET};
use crate::config::{self, Environment, Language};
use crate::master::{Folder, descriptor_limit};
use crate::report::Reporter;

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    /// What is there, or what is wrong with it.
    text: String,
    mark: Mark,
    /// What to type.
    hint: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Fine,
    /// It works, but less would be better.
    Less,
    Wrong,
}

impl Finding {
    fn fine(what: &'static str, text: impl Into<String>) -> Self {
        Self {
            what,
            text: text.into(),
            mark: Mark::Fine,
            hint: None,
        }
    }

    fn wrong(what: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            what,
            text: text.into(),
            mark: Mark::Wrong,
            hint: Some(hint.into()),
        }
    }
}

/// Descriptors that a small server takes: one per live invocation and connection.
const FEW_DESCRIPTORS: u64 = 1024;

/// Looks around and reports.
pub fn run(reporter: &Reporter) -> Exit {
    let cache = context::cache(reporter);
    let builds = is_built_here();
    let findings = [
        Some(kernel()),
        Some(only_to_build(rust(cache.as_deref().ok()), builds)),
        Some(only_to_build(c_compiler(), builds)),
        cache
            .ok()
            .map(|cache| Finding::fine("cache", cache.display().to_string())),
        Some(socket_folder()),
        Some(descriptors()),
    ];
    let findings = findings.into_iter().flatten().chain(jail());
    let mut exit = Exit::Done;
    for finding in findings {
        let Finding {
            what,
            text,
            mark,
            hint,
        } = finding;
        let hint = hint.map(|hint| format!("\n  → {hint}")).unwrap_or_default();
        let line = format!("{what}: {text}{hint}");
        match mark {
            Mark::Fine => reporter.info(format!("✓ {line}")),
            Mark::Less => reporter.info(format!("! {line}")),
            Mark::Wrong => {
                exit = Exit::Failed;
                reporter.info(format!("✗ {line}"));
            }
        }
    }
    exit
}

/// What becomes of a process that enters the jail and does nothing there.
const BY_ITS_FILTER: &str =
    "a filter for system calls ends what enters it (SIGSYS), so no function can run";

/// Why that may be.
const OTHER_BUILD: &str = "the kernel's log (`dmesg`) has the number of the call, in a line with `type=1326`. An \
                           Embly of your own makes other calls where it was built without `--release`, or with \
                           another C library or allocator: build it with `cargo build --release`, or take a \
                           release. In a container the engine's filter may be the one that does it";

/// What a function is kept in, as a process finds that enters it now.
fn jail() -> Vec<Finding> {
    const WHAT: &str = "jail";
    let missing = match process::probe_jail(&Policy::default()) {
        Ok(Reply::Ready(missing)) => missing,
        Ok(Reply::Failed(why)) => return vec![Finding::wrong(WHAT, why, "functions cannot run")],
        Ok(Reply::ForkFailed(..)) => Vec::new(),
        Err(error) if Silent::by_the_jail(&error) => {
            return vec![Finding::wrong(WHAT, BY_ITS_FILTER, OTHER_BUILD)];
        }
        Err(error) => {
            let text = format!("cannot be looked at: {error}");
            return vec![Finding::wrong(WHAT, text, "`embly doctor` again")];
        }
    };
    if missing.is_empty() {
        return vec![Finding::fine(WHAT, "complete")];
    }
    let finding = |Missing { step, why }: &Missing| Finding {
        what: WHAT,
        text: format!("without {step}: {why}"),
        mark: Mark::Less,
        hint: hint(step).map(str::to_owned),
    };
    missing.iter().map(finding).collect()
}

/// What an operator can do about it. In a container the engine decides.
fn hint(step: &str) -> Option<&'static str> {
    if step.ends_with("namespace") {
        Some(
            "`sysctl user.max_user_namespaces` must not be 0; a container engine needs \
             `--security-opt seccomp=FILE` with `unshare` allowed; functions run without it, \
             and the filter for system calls stops what it would stop",
        )
    } else if step == Step::Landlock.name() {
        Some("Linux 5.13 or newer, with `landlock` in `lsm=` on the kernel's command line")
    } else if step == Step::User.name() {
        Some("give root the capabilities SETUID, SETGID and KILL, or run `embly` as another user")
    } else if step == Step::Capabilities.name() {
        Some("it comes with the user namespace, or with root")
    } else if step == Step::Filter.name() {
        Some("a kernel with CONFIG_SECCOMP_FILTER")
    } else {
        None
    }
}

/// Whether the project of this folder has a function that has to be compiled; one whose file is wrong
/// may have.
fn is_built_here() -> bool {
    let Ok(file) = config::find(Path::new(".")) else {
        return false;
    };
    let environment = Environment::of_process().with_secrets(config::Secrets::Unneeded);
    let project = config::load(&file, &environment.elsewhere(true));
    project.map_or(true, |project| {
        let mut languages = project.functions.iter().map(|function| function.language);
        languages.any(|language| language != Language::Wasm)
    })
}

fn kernel() -> Finding {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 9) {
        Finding::fine("kernel", release)
    } else {
        Finding::wrong(
            "kernel",
            release,
            "Linux 5.9 or newer is needed (`close_range`)",
        )
    }
}

fn rust(cache: Option<&Path>) -> Finding {
    let nowhere = Path::new("/nonexistent");
    match toolchain::find(Path::new("."), cache.unwrap_or(nowhere)) {
        Ok(Some(toolchain)) => {
            let place = toolchain.sysroot.map_or_else(
                || "beside rustc".to_owned(),
                |sysroot| sysroot.display().to_string(),
            );
            let version = toolchain.rustc_version;
            Finding::fine("rust", format!("rustc {version}, `{TARGET}` {place}"))
        }
        Ok(None) => Finding::wrong(
            "rust",
            format!("the target `{TARGET}` is missing"),
            "`embly toolchain install`; `embly dev` and `embly build` do it by themselves",
        ),
        Err(error) => {
            let text = error.to_string();
            let (what, hint) = text
                .split_once("\nhint: ")
                .unwrap_or((&text, "https://rustup.rs"));
            Finding::wrong("rust", what, hint)
        }
    }
}

/// What is missing to build functions is no mistake where none is built.
fn only_to_build(finding: Finding, builds: bool) -> Finding {
    if builds || finding.mark == Mark::Fine {
        return finding;
    }
    Finding {
        text: format!("{}; only who builds functions needs it", finding.text),
        mark: Mark::Less,
        ..finding
    }
}

fn c_compiler() -> Finding {
    match Command::new("cc").arg("--version").output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Finding::fine("linker", text.lines().next().unwrap_or("cc").to_owned())
        }
        // Only build scripts and tests on the host need it.
        _ => Finding::wrong(
            "linker",
            "there is no `cc`",
            "`apt install gcc`, or your system's like",
        ),
    }
}

fn socket_folder() -> Finding {
    match Folder::create() {
        Ok(folder) => {
            let parent = folder.path().parent().unwrap_or(Path::new("/"));
            Finding::fine("socket folder", parent.display().to_string())
        }
        Err(error) => Finding::wrong(
            "socket folder",
            error.to_string(),
            "export XDG_RUNTIME_DIR=FOLDER",
        ),
    }
}

fn descriptors() -> Finding {
    match descriptor_limit() {
        Some(limit) if limit < FEW_DESCRIPTORS => Finding::wrong(
            "descriptors",
            format!("at most {limit}, each live invocation takes one"),
            "`ulimit -n 65536`",
        ),
        Some(limit) => Finding::fine("descriptors", format!("at most {limit}")),
        None => Finding::fine("descriptors", "without limit"),
    }
}
