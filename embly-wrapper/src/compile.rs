//! Wasm to native code, in a process of its own: wasm may be hostile, and a compiler is large.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use wasmtime::{Engine, Module};

use crate::{artefact, engine, preflight, process, sys};

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
    let failed = |error: io::Error| CompileError::Process(error.to_string());
    let output = process::wrapper_command("compile")
        .args([wasm.as_os_str(), cache.as_os_str(), OsStr::new(entry)])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .output()
        .map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stdout);
    match (output.status.code(), said.trim_end().split_once(' ')) {
        (Some(0), Some((kind, path))) => Ok(Compiled {
            artefact: PathBuf::from(path),
            fresh: kind == FRESH,
        }),
        (Some(1), _) => {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(CompileError::Preflight(
                text.lines().map(str::to_owned).collect(),
            ))
        }
        _ => {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(CompileError::Process(format!(
                "{}: {}",
                output.status,
                text.trim()
            )))
        }
    }
}

const FRESH: &str = "compiled";
const FOUND: &str = "found";

/// The role `compile`: what [`compile`] starts. One line on standard output.
///
/// # Errors
/// See [`CompileError`].
pub fn role(wasm: &Path, cache: &Path, entry: &str) -> Result<String, CompileError> {
    let engine = engine().map_err(|error| CompileError::Process(format!("{error:#}")))?;
    let bytes = read(wasm)?;
    let path = artefact::path(cache, &bytes, &engine);
    artefact::prepare_folder(cache).map_err(|source| CompileError::Write {
        path: artefact::folder(cache),
        source,
    })?;
    // One that was damaged is made again.
    let found = artefact::open(&path).ok().and_then(|artefact| {
        artefact::touch(&artefact.file);
        sys::module::load(&engine, artefact.file).ok()
    });
    if let Some(module) = found {
        check(&engine, &module, entry)?;
        return Ok(format!("{FOUND} {}", path.display()));
    }
    let module = Module::from_binary(&engine, &bytes)
        .map_err(|error| CompileError::Invalid(format!("{:#}", error.root_cause())))?;
    check(&engine, &module, entry)?;
    let image = module
        .serialize()
        .map_err(|error| CompileError::Process(format!("{error:#}")))?;
    artefact::write(&path, &image, artefact::has_start(&bytes)).map_err(|source| {
        CompileError::Write {
            path: path.clone(),
            source,
        }
    })?;
    artefact::prune(&artefact::folder(cache), &path, artefact::CACHE_CAP);
    Ok(format!("{FRESH} {}", path.display()))
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
    let error = |source| CompileError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(error)?;
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
