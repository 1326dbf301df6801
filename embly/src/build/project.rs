//! A whole project: sources to wasm, wasm to native code, both at once where that helps.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use embly_wrapper::compile::compile;

use super::rust::{RustBuild, RustError, RustFunction};
use super::toolchain::{self, ToolchainError};
use super::{BuildEvent, Cancel, Observer};
use crate::config::{Function, Language, Project};
use crate::report::{BuildState, Event, Reporter, without_colours};

/// How to build.
#[derive(Debug)]
pub struct Build<'a> {
    /// Where artefacts and the toolchain are kept.
    pub cache: &'a Path,
    /// Whether what is missing may be installed.
    pub install: bool,
    /// Whether backtraces are to have files and lines: somebody works on the functions.
    pub lines: bool,
    /// Whether cargo shows its progress: a person looks at a terminal.
    pub progress: bool,
    /// Ends the build early.
    pub cancel: &'a Cancel,
    /// Where to say how it goes.
    pub reporter: &'a Reporter,
    /// What cargo does and says.
    pub talk: Mutex<Talk>,
}

/// What cargo does and says.
#[derive(Debug, Default)]
pub struct Talk {
    /// The functions that it builds now.
    functions: Option<String>,
    /// A line that is not whole.
    half: Vec<u8>,
    /// The beginning of what was said in this call.
    words: String,
}

/// So much of what cargo says in one call is kept, in bytes: the first errors are the ones to mend.
const KEPT_WORDS: usize = 256 * 1024;

/// What a build has made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Built {
    /// The artefact of each function that was built.
    pub artefacts: HashMap<String, PathBuf>,
    /// The module that each artefact was made of.
    pub modules: HashMap<String, PathBuf>,
    /// What went into each function, also into those that failed: a change of it calls for a
    /// new build.
    pub inputs: BTreeMap<String, Vec<PathBuf>>,
    /// Those that failed, in their order; why was reported.
    pub failed: Vec<Failed>,
}

/// A function that was not built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its name.
    pub function: String,
    /// What was said.
    pub why: String,
}

impl Built {
    /// Takes over what a later build has made, of a part of the functions.
    pub fn update(&mut self, later: Self) {
        self.artefacts.extend(later.artefacts);
        self.modules.extend(later.modules);
        self.failed
            .retain(|failed| !later.inputs.contains_key(&failed.function));
        self.inputs.extend(later.inputs);
        self.failed.extend(later.failed);
    }

    /// Names of those that failed.
    pub fn unbuilt(&self) -> Vec<String> {
        let failed = self.failed.iter();
        failed.map(|failed| failed.function.clone()).collect()
    }

    /// Forgets what the project has no more.
    pub fn keep_only(&mut self, project: &Project) {
        let known = |name: &str| {
            project
                .functions
                .iter()
                .any(|function| function.name == name)
        };
        self.artefacts.retain(|name, _| known(name));
        self.modules.retain(|name, _| known(name));
        self.inputs.retain(|name, _| known(name));
        self.failed.retain(|failed| known(&failed.function));
    }
}

impl Build<'_> {
    /// Builds these functions of a project. What failed is reported and listed; the others are
    /// built all the same.
    ///
    /// # Errors
    /// There is no toolchain, so nothing could be tried.
    pub fn run(&self, project: &Project, functions: &[&Function]) -> Result<Built, ToolchainError> {
        let rust: Vec<RustFunction> = functions
            .iter()
            .filter(|function| function.language == Language::Rust)
            .map(|function| RustFunction {
                name: function.name.clone(),
                path: function.path.clone(),
                context: function.context.clone(),
            })
            .collect();
        let mut built = Built::default();
        let (jobs, inbox) = mpsc::channel::<(&Function, PathBuf, Instant)>();
        // Taken by whoever compiles: a thread beside, or this one afterwards where there can be none.
        let inbox = Mutex::new(Some(inbox));
        let compile = || {
            let jobs = inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
            jobs.map(|jobs| self.compile_all(jobs)).unwrap_or_default()
        };
        thread::scope(|scope| {
            let native = thread::Builder::new().spawn_scoped(scope, compile);
            let send = |function, wasm, since| {
                // The receiver works until the last sender is gone.
                let _ = jobs.send((function, wasm, since));
            };
            for function in functions.iter().filter(|f| f.language == Language::Wasm) {
                built
                    .inputs
                    .insert(function.name.clone(), vec![function.path.clone()]);
                send(function, function.path.clone(), Instant::now());
            }
            let result = self.build_rust(project, functions, &rust, &mut built, &send);
            drop(jobs);
            let compiled = match native {
                // It does not panic: whatever fails is reported.
                Ok(native) => native.join().unwrap_or_default(),
                Err(_) => compile(),
            };
            built.artefacts = compiled.artefacts;
            built.modules = compiled.modules;
            built.failed.extend(compiled.failed);
            result
        })?;
        Ok(built)
    }

    fn build_rust<'f>(
        &self,
        project: &Project,
        functions: &[&'f Function],
        rust: &[RustFunction],
        built: &mut Built,
        compile: &impl Fn(&'f Function, PathBuf, Instant),
    ) -> Result<(), ToolchainError> {
        if rust.is_empty() {
            return Ok(());
        }
        // It takes minutes, of which the last line of a terminal counts the seconds.
        let mut say = |line: &str| {
            self.reporter.info(line);
            let status = format!("installing {}", toolchain::TARGET);
            self.reporter.status(Some(status));
        };
        let (root, cache) = (&project.root, self.cache);
        let mut toolchain = toolchain::ensure(root, cache, self.install, self.cancel, &mut say)?;
        self.reporter.status(None);
        toolchain.hidden = project.secrets.keys().cloned().collect();
        let build = RustBuild {
            project: root,
            toolchain: &toolchain,
            color: self.reporter.options().color,
            quiet: !self.progress,
            lines: self.lines,
            cancel: self.cancel,
            observer: self,
        };
        let mut since = Instant::now();
        build.run(rust, &mut |outcomes| {
            let words = std::mem::take(&mut self.talk().words);
            for outcome in outcomes {
                let function = functions.iter().find(|one| one.name == outcome.function);
                built
                    .inputs
                    .insert(outcome.function.clone(), outcome.inputs);
                match (outcome.result, function) {
                    (Ok(output), Some(function)) => compile(function, output.wasm, since),
                    (Ok(_), None) => {}
                    (Err(error), _) => {
                        self.report(&outcome.function, since, Err(&error.to_string()));
                        let why = match error {
                            RustError::Compile { .. } if !words.is_empty() => words.clone(),
                            error => format!("error: {error}\n{words}"),
                        };
                        built.failed.push(Failed {
                            function: outcome.function,
                            why,
                        });
                    }
                }
            }
            since = Instant::now();
        });
        Ok(())
    }

    fn compile_all(&self, jobs: mpsc::Receiver<(&Function, PathBuf, Instant)>) -> Built {
        let mut built = Built::default();
        let fails = |built: &mut Built, function: &Function, why: String| {
            built.failed.push(Failed {
                function: function.name.clone(),
                why,
            });
        };
        for (function, wasm, since) in jobs {
            if self.cancel.is_cancelled() {
                fails(&mut built, function, "the build was stopped".to_owned());
                continue;
            }
            // Of the two, cargo is what takes long.
            let alone = self.talk().functions.is_none();
            if alone {
                let text = format!("compiling {}", function.name);
                self.reporter.status(Some(text));
            }
            let compiled = compile(&wasm, self.cache, &function.entry);
            if alone && self.talk().functions.is_none() {
                self.reporter.status(None);
            }
            match compiled {
                Ok(compiled) => {
                    let state = if compiled.fresh {
                        BuildState::Compiled
                    } else {
                        BuildState::Unchanged
                    };
                    self.report(&function.name, since, Ok(state));
                    let name = function.name.clone();
                    built.artefacts.insert(name.clone(), compiled.artefact);
                    built.modules.insert(name, wasm);
                }
                Err(error) => {
                    let error = error.to_string();
                    self.report(&function.name, since, Err(&error));
                    fails(&mut built, function, format!("error: {error}"));
                }
            }
        }
        built
    }

    fn talk(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what cargo says, in whole lines. How far it is, is for the last line of the terminal.
    fn say(&self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let mut said = String::new();
        for line in text.lines() {
            let Some(what) = self.progress.then(|| progress(line)).flatten() else {
                said.push_str(line);
                said.push('\n');
                continue;
            };
            if let Some(functions) = &self.talk().functions {
                let status = format!("building {functions}: {what}");
                self.reporter.status(Some(status));
            }
        }
        if !said.is_empty() {
            self.reporter.raw(&said);
        }
        let words = &mut self.talk().words;
        let room = KEPT_WORDS.saturating_sub(words.len());
        words.push_str(&said[..said.floor_char_boundary(room)]);
    }

    fn report(&self, function: &str, since: Instant, result: Result<BuildState, &str>) {
        let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (state, detail) = match result {
            Ok(state) => (state, None),
            Err(detail) => (BuildState::Failed, Some(detail)),
        };
        self.reporter.event(&Event::Build {
            function,
            state,
            elapsed_ms,
            detail,
        });
    }
}

/// What cargo does, if this line says that and nothing else.
fn progress(line: &str) -> Option<String> {
    const DOES: [&str; 9] = [
        "Compiling",
        "Fresh",
        "Finished",
        "Updating",
        "Locking",
        "Adding",
        "Downloading",
        "Downloaded",
        "Blocking",
    ];
    let line = without_colours(line);
    let (word, rest) = line.trim().split_once(' ')?;
    let rest = rest.split(" (").next().unwrap_or(rest).trim();
    match word {
        // As most lines do.
        "Compiling" => Some(rest.to_owned()),
        _ if DOES.contains(&word) => Some(format!("{} {rest}", word.to_lowercase())),
        _ => None,
    }
}

impl Observer for Build<'_> {
    fn on(&self, event: BuildEvent) {
        match event {
            BuildEvent::CargoStarted { functions } => {
                let functions = functions.join(", ");
                self.reporter.status(Some(format!("building {functions}")));
                self.talk().functions = Some(functions);
            }
            // They come in pieces, of lines and even of characters.
            BuildEvent::Diagnostics(bytes) => {
                let mut talk = self.talk();
                talk.half.extend_from_slice(&bytes);
                if let Some(end) = talk.half.iter().rposition(|byte| *byte == b'\n') {
                    let lines: Vec<u8> = talk.half.drain(..=end).collect();
                    drop(talk);
                    self.say(&lines);
                }
            }
            BuildEvent::CargoFinished { .. } => {
                let rest = std::mem::take(&mut self.talk().half);
                if !rest.is_empty() {
                    self.say(&rest);
                }
                self.talk().functions = None;
                self.reporter.status(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_does_is_told_from_what_it_says() {
        let told = |line| progress(line).unwrap_or_default();
        assert_eq!(
            told("\x1b[1m\x1b[92m   Compiling\x1b[0m serde v1.0.2 (/w/serde)"),
            "serde v1.0.2"
        );
        assert_eq!(
            told("    Updating crates.io index"),
            "updating crates.io index"
        );
        for line in [
            "warning: unused",
            "error[E0425]: no",
            "  --> src/a.rs:1:1",
            "",
        ] {
            assert_eq!(told(line), "", "{line}");
        }
    }
}
