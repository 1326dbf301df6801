//! Embly itself: the executable of this build, with a project for each measurement.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{System, free_addresses};

/// Answers 200 and five bytes.
pub const HELLO: &str = include_str!("../../hello.wat");

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    Invocation,
    Function,
}

impl Isolation {
    pub const BOTH: [Self; 2] = [Self::Invocation, Self::Function];

    /// In the project file.
    pub fn key(self) -> &'static str {
        match self {
            Self::Invocation => "invocation",
            Self::Function => "function",
        }
    }
}

/// A function, with a gateway of its own.
pub struct Function {
    /// As text.
    pub module: String,
    pub isolation: Isolation,
    /// Further keys of the project file, such as `parked: {max: 1}`.
    pub keys: &'static str,
}

impl Function {
    pub fn hello(isolation: Isolation) -> Self {
        Self {
            module: HELLO.to_owned(),
            isolation,
            keys: "",
        }
    }
}

/// Embly with these functions. `shown` is the isolation that its name says.
pub fn embly(folder: &Path, shown: Isolation, functions: &[Function]) -> io::Result<System> {
    fs::create_dir(folder)?;
    let at = free_addresses(functions.len())?;
    let (mut list, mut gateways) = (String::new(), String::new());
    for (number, (function, at)) in functions.iter().zip(&at).enumerate() {
        fs::write(folder.join(format!("f{number}.wat")), &function.module)?;
        let isolation = function.isolation.key();
        let keys = match function.keys {
            "" => String::new(),
            keys => format!(", {keys}"),
        };
        writeln!(
            list,
            "  - {{name: f{number}, path: ./f{number}.wat, language: wasm, isolation: {isolation}{keys}}}"
        )
        .unwrap();
        let port = at.port();
        writeln!(
            gateways,
            "  - {{name: g{number}, type: http, port: {port}, function: f{number}}}"
        )
        .unwrap();
    }
    let project = format!("functions:\n{list}gateways:\n{gateways}");
    let id = match shown {
        Isolation::Invocation => "embly_invocation",
        Isolation::Function => "embly_function",
    };
    let name = format!("Embly, `isolation: {}`", shown.key());
    project_of(folder, id, name, at, &project)
}

/// Embly with a project of which all other files are there.
pub fn project_of(
    folder: &Path,
    id: &'static str,
    name: String,
    at: Vec<SocketAddr>,
    project: &str,
) -> io::Result<System> {
    fs::write(folder.join("embly-project.yml"), project)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_embly"));
    command
        .args(["run", "--quiet"])
        .arg(folder)
        .env("XDG_CACHE_HOME", folder)
        .env("XDG_RUNTIME_DIR", folder);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Ok(System::new(id, name, version, at, command))
}
