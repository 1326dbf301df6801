//! Wasm to native code, in a process of its own: wasm may be hostile, and a compiler is large.

mod supervise;

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use wasmtime::{Engine, Module};

use crate::artefact::Draft;
use crate::jail::compiler::Limits;
use crate::{artefact, engine, jail, preflight, process, sys};

/// The largest module that is compiled, in bytes. Interpreters as modules have 5 to 50 MB.
pub const MAX_WASM: u64 = 256 << 20;

/// A compiler that takes longer is killed. It is twice what its CPU time takes with one core.
const WITHIN: Duration = Duration::from_secs(2 * jail::COMPILER_CPU);

/// A compiled function version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// Its artefact.
    pub artefact: PathBuf,
    /// Whether it was compiled just now, or found from an earlier time.
    pub fresh: bool,
}

/// Why there is no artefact.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The wasm file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A text module with a mistake in it.
    #[error("`{}` is not a valid text module: {text}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with line and column.
        text: String,
    },
    /// A component instead of a module.
    #[error(
        "it is a component (WASI preview 2), Embly runs core modules: build it for `wasm32-wasip1`"
    )]
    Component,
    /// Not valid wasm, or it uses what the engine does not offer.
    #[error("it is not valid WebAssembly: {0}")]
    Invalid(String),
    /// It can be compiled, but not run.
    #[error("{}", .0.join("\n"))]
    Preflight(Vec<String>),
    /// The artefact cannot be written.
    #[error("cannot write the artefact `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It takes more than a module may.
    #[error(
        "compiling it takes more than {0}, which is all that one module may take: make it smaller, or split it into several functions"
    )]
    TooMuch(String),
    /// More than [`MAX_WASM`].
    #[error("it is larger than {} MiB: make it smaller, or split it into several functions", MAX_WASM >> 20)]
    TooLarge,
    /// The compiler's own jail.
    #[error(transparent)]
    Jail(#[from] jail::JailError),
    /// Somebody has killed the compiler.
    #[error(
        "the compiler process was killed; where memory ran out, the kernel has done so: build again with more of it free"
    )]
    Killed,
    /// The compiler process could not be started, or died.
    #[error("the compiler process failed: {0}")]
    Process(String),
}

/// Compiles `wasm` (binary or text) into the cache folder, in a process of its own, unless its
/// artefact is there already. Waits for it. The artefact can run `entry`.
///
/// # Errors
/// See [`CompileError`]; nothing is left that a later one would trust.
pub fn compile(wasm: &Path, cache: &Path, entry: &str) -> Result<Compiled, CompileError> {
    compile_within(wasm, cache, entry, Limits::default(), WITHIN)
}

/// The same with other limits.
///
/// # Errors
/// The same.
pub fn compile_within(
    wasm: &Path,
    cache: &Path,
    entry: &str,
    limits: Limits,
    within: Duration,
) -> Result<Compiled, CompileError> {
    let failed = |error: io::Error| CompileError::Process(error.to_string());
    let mut command = process::wrapper_command("compile");
    command
        .args([wasm.as_os_str(), cache.as_os_str(), OsStr::new(entry)])
        .args(["--memory", &limits.memory.to_string()])
        .args(["--cpu", &limits.cpu.to_string()])
        .stdin(Stdio::null());
    let output = supervise::run(&mut command, within).map_err(failed)?;
    let mut said = output.said.lines();
    // Said before it had looked at the module: from then on its word counts for nothing.
    let plan = said.next().and_then(Plan::parse);
    let compiled = match (&plan, said.next(), output.status.code()) {
        (Some(plan), Some(FRESH), Some(0)) => plan.adopt(cache).map(|artefact| Compiled {
            artefact,
            fresh: true,
        }),
        (Some(plan), Some(FOUND), Some(0)) => Ok(Compiled {
            artefact: plan.artefact(cache),
            fresh: false,
        }),
        _ => Err(output.error(limits, within)),
    };
    if let Some(plan) = plan {
        plan.clean_up(cache);
    }
    compiled
}

const FRESH: &str = "compiled";
const FOUND: &str = "found";

/// What a compiler is about to write, as names in the folder of artefacts.
struct Plan {
    artefact: String,
    /// Empty where the folder cannot be written.
    draft: String,
}

impl Plan {
    /// From the first line that a compiler says.
    fn parse(line: &str) -> Option<Self> {
        let (artefact, draft) = line.split_once(' ')?;
        Some(Self {
            artefact: artefact.to_owned(),
            draft: draft.to_owned(),
        })
    }

    fn artefact(&self, cache: &Path) -> PathBuf {
        artefact::folder(cache).join(&self.artefact)
    }

    /// Gives the draft its name: not the compiler's to do, which could take another's.
    fn adopt(&self, cache: &Path) -> Result<PathBuf, CompileError> {
        let path = self.artefact(cache);
        let folder = artefact::folder(cache);
        match std::fs::rename(folder.join(&self.draft), &path) {
            Ok(()) => {
                artefact::prune(&folder, &path, artefact::CACHE_CAP);
                Ok(path)
            }
            Err(source) => Err(CompileError::Write { path, source }),
        }
    }

    fn clean_up(&self, cache: &Path) {
        if !self.draft.is_empty() {
            // After a rename there is nothing to remove; what stays is never trusted.
            let _ = std::fs::remove_file(artefact::folder(cache).join(&self.draft));
        }
    }
}

/// The role `compile`: what [`compile`] starts. Two lines on standard output: what it is about to
/// write, and what came of it.
///
/// # Errors
/// See [`CompileError`].
pub fn role(wasm: &Path, cache: &Path, entry: &str, limits: Limits) -> Result<(), CompileError> {
    let engine = engine().map_err(|error| CompileError::Process(format!("{error:#}")))?;
    let not_written = |path: &Path| {
        let path = path.to_owned();
        |source| CompileError::Write { path, source }
    };
    artefact::prepare_folder(cache).map_err(not_written(&artefact::folder(cache)))?;
    let bytes = read_file(wasm)?;
    let path = artefact::path(cache, &bytes, &engine);
    let found = artefact::open(&path).ok();
    let draft = Draft::new(&path);
    let name = draft.as_ref().map_or("", |draft| &draft.name);
    println!("{} {name}", artefact::name(&path));
    if let Some(found) = &found {
        artefact::touch(&found.file);
    }
    // Nobody has looked at these bytes yet.
    jail::compiler::enter(limits)?;
    let bytes = module_of(wasm, bytes)?;
    // One that was damaged is made again.
    let found = found.and_then(|found| sys::module::load(&engine, found.file).ok());
    if let Some(module) = found {
        check(&engine, &module, entry)?;
        println!("{FOUND}");
        return Ok(());
    }
    let draft = draft.map_err(not_written(&path))?;
    let module = Module::from_binary(&engine, &bytes)
        .map_err(|error| CompileError::Invalid(format!("{:#}", error.root_cause())))?;
    check(&engine, &module, entry)?;
    let image = module
        .serialize()
        .map_err(|error| CompileError::Process(format!("{error:#}")))?;
    let filled = draft.fill(&image, artefact::has_start(&bytes));
    filled.map_err(not_written(&path))?;
    println!("{FRESH}");
    Ok(())
}

fn engine() -> wasmtime::Result<Engine> {
    engine::engine()
}

fn check(engine: &Engine, module: &Module, entry: &str) -> Result<(), CompileError> {
    let problems = preflight::problems(engine, module, entry)
        .map_err(|error| CompileError::Process(format!("{error:#}")))?;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(CompileError::Preflight(problems))
    }
}

/// The module's bytes, whether the file holds a binary or a text module.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CompileError> {
    module_of(path, read_file(path)?)
}

fn read_file(path: &Path) -> Result<Vec<u8>, CompileError> {
    let error = |source| CompileError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_WASM + 1).read_to_end(&mut bytes))
        .map_err(error)?;
    if bytes.len() as u64 > MAX_WASM {
        return Err(CompileError::TooLarge);
    }
    Ok(bytes)
}

fn module_of(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, CompileError> {
    // `\0asm`, then version and layer as u16: layer 1 is a component.
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Err(CompileError::Component),
        Some([0, b'a', b's', b'm', ..]) => Ok(bytes),
        _ if path.extension() == Some(OsStr::new("wat")) => wat::parse_bytes(&bytes)
            .map(std::borrow::Cow::into_owned)
            .map_err(|mut error| {
                error.set_path(path);
                CompileError::Text {
                    path: path.to_owned(),
                    text: error.to_string(),
                }
            }),
        _ => Err(CompileError::Invalid(
            "the file does not begin with `\\0asm`".to_owned(),
        )),
    }
}
