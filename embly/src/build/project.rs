//! A whole project: sources to wasm, wasm to native code, both at once where that helps.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use embly_wrapper::compile::compile;

use super::rust::{RustBuild, RustFunction};
use super::toolchain::{self, ToolchainError};
use super::{BuildEvent, Cancel, Observer};
use crate::config::{Function, Language, Project};
use crate::report::{BuildState, Event, Reporter};

/// How to build.
#[derive(Debug)]
pub struct Build<'a> {
    /// Where artefacts and the toolchain are kept.
    pub cache: &'a Path,
    /// Whether what is missing may be installed.
    pub install: bool,
    /// Whether cargo shows its progress: a person looks at a terminal.
    pub progress: bool,
    /// Ends the build early.
    pub cancel: &'a Cancel,
    /// Where to say how it goes.
    pub reporter: &'a Reporter,
    /// What cargo has said of a line that is not whole.
    pub said: Mutex<Vec<u8>>,
}

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
    /// Those that failed; why was reported.
    pub failed: Vec<String>,
}

impl Built {
    /// Takes over what a later build has made, of a part of the functions.
    pub fn update(&mut self, later: Self) {
        self.artefacts.extend(later.artefacts);
        self.modules.extend(later.modules);
        self.failed
            .retain(|function| !later.inputs.contains_key(function));
        self.inputs.extend(later.inputs);
        self.failed.extend(later.failed);
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
        self.failed.retain(|name| known(name));
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
        thread::scope(|scope| {
            let (jobs, inbox) = mpsc::channel::<(&Function, PathBuf, Instant)>();
            let native = scope.spawn(move || self.compile_all(inbox));
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
            // It does not panic: whatever fails is reported.
            let compiled = native.join().unwrap_or_default();
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
        let mut say = |line: &str| self.reporter.info(line);
        let (root, cache) = (&project.root, self.cache);
        let mut toolchain = toolchain::ensure(root, cache, self.install, self.cancel, &mut say)?;
        toolchain.hidden = project.secrets.keys().cloned().collect();
        let build = RustBuild {
            project: root,
            toolchain: &toolchain,
            color: self.reporter.options().color,
            quiet: !self.progress,
            cancel: self.cancel,
            observer: self,
        };
        let mut since = Instant::now();
        build.run(rust, &mut |outcomes| {
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
                        built.failed.push(outcome.function);
                    }
                }
            }
            since = Instant::now();
        });
        Ok(())
    }

    fn compile_all(&self, jobs: mpsc::Receiver<(&Function, PathBuf, Instant)>) -> Built {
        let mut built = Built::default();
        for (function, wasm, since) in jobs {
            if self.cancel.is_cancelled() {
                built.failed.push(function.name.clone());
                continue;
            }
            match compile(&wasm, self.cache, &function.entry) {
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
                    self.report(&function.name, since, Err(&error.to_string()));
                    built.failed.push(function.name.clone());
                }
            }
        }
        built
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

impl Observer for Build<'_> {
    fn on(&self, event: BuildEvent) {
        match event {
            BuildEvent::CargoStarted { functions } => {
                self.reporter
                    .status(Some(format!("building {}", functions.join(", "))));
            }
            // They come in pieces, of lines and even of characters.
            BuildEvent::Diagnostics(bytes) => {
                let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                said.extend_from_slice(&bytes);
                if let Some(end) = said.iter().rposition(|byte| *byte == b'\n') {
                    let lines: Vec<u8> = said.drain(..=end).collect();
                    self.reporter.raw(&String::from_utf8_lossy(&lines));
                }
            }
            BuildEvent::CargoFinished { .. } => {
                let said = &mut *self.said.lock().unwrap_or_else(PoisonError::into_inner);
                let rest = std::mem::take(said);
                if !rest.is_empty() {
                    self.reporter.raw(&String::from_utf8_lossy(&rest));
                }
                self.reporter.status(None);
            }
        }
    }
}
