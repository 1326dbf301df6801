//! `embly wrapper ROLE …`: not for people, but what the master starts.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use protos::Slot;

use crate::instance::Prepared;
use crate::jail::Policy;
use crate::jail::compiler::Limits;
use crate::server::{self, Options, Program};
use crate::{artefact, child, compile, engine, sql, sys};

const USAGE: &str =
    "usage: embly wrapper compile|serve|connect|probe|sql|exec (started by `embly`, not by hand)";

/// Runs the role that the arguments (after `wrapper`) name. Exit codes: 0, 1 for what is wrong
/// with the function, 2 for what is wrong with the call.
///
/// Call it before any thread exists.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    main_as(&Program::default(), arguments)
}

/// The same with another program in the wrappers: for tests and measurements.
pub fn main_as(program: &Program, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let role = arguments.first().and_then(|role| role.to_str());
    let result = match (role, arguments.get(1..).unwrap_or_default()) {
        (Some("compile"), [wasm, cache, entry, rest @ ..]) => {
            compile(wasm.as_ref(), cache.as_ref(), entry, &Flags(rest))
        }
        (Some("serve"), rest) => serve(program, &Flags(rest)),
        (Some("connect"), rest) => connect(program, &Flags(rest)),
        (Some("probe"), rest) => probe(&Flags(rest)),
        (Some("sql"), rest) => sql(&Flags(rest)),
        (Some("exec"), []) => exec(),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

type RoleResult = Result<ExitCode, Box<dyn Error>>;

fn compile(wasm: &Path, cache: &Path, entry: &OsString, flags: &Flags<'_>) -> RoleResult {
    let entry = entry.to_str().ok_or("the entry is not UTF-8")?;
    let mut limits = Limits::default();
    if let Ok(memory) = flags.text("--memory") {
        limits.memory = memory.parse()?;
    }
    if let Ok(cpu) = flags.text("--cpu") {
        limits.cpu = cpu.parse()?;
    }
    match compile::role(wasm, cache, entry, limits) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            match error.source() {
                Some(source) => eprintln!("{error}: {source}"),
                None => eprintln!("{error}"),
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

/// `--NAME VALUE` pairs, in any order.
struct Flags<'a>(&'a [OsString]);

impl<'a> Flags<'a> {
    fn path(&self, name: &str) -> Result<&'a Path, String> {
        let at = self.0.iter().position(|argument| argument == name);
        let value = at.and_then(|at| self.0.get(at + 1));
        value
            .map(Path::new)
            .ok_or_else(|| format!("{name} is missing"))
    }

    fn text(&self, name: &str) -> Result<&'a str, String> {
        self.path(name)?
            .to_str()
            .ok_or_else(|| format!("{name} is not UTF-8"))
    }

    fn options(&self) -> Result<Options, Box<dyn Error>> {
        Ok(Options {
            master: self.text("--master")?.parse()?,
            function: self.text("--function")?.to_owned(),
            artefact: self.path("--artefact")?.to_owned(),
            entry: self.text("--entry")?.to_owned(),
            memory: match self.text("--memory") {
                Ok(memory) => Some(memory.parse()?),
                Err(_) => None,
            },
            reuse: self.text("--reuse")? == "yes",
            policy: self.policy()?,
        })
    }

    fn policy(&self) -> Result<Policy, Box<dyn Error>> {
        Ok(Policy {
            user: self.text("--jail-user")?.parse()?,
            required: self.text("--require-jail")? == "yes",
        })
    }
}

fn probe(flags: &Flags<'_>) -> RoleResult {
    server::probe(flags.text("--master")?.parse()?, &flags.policy()?)?;
    Ok(ExitCode::SUCCESS)
}

fn serve(program: &Program, flags: &Flags<'_>) -> RoleResult {
    server::serve(&flags.options()?, program)?;
    Ok(ExitCode::SUCCESS)
}

fn connect(program: &Program, flags: &Flags<'_>) -> RoleResult {
    let slot = Slot(flags.text("--slot")?.parse()?);
    server::connect(&flags.options()?, program, flags.path("--socket")?, slot)?;
    Ok(ExitCode::SUCCESS)
}

fn sql(flags: &Flags<'_>) -> RoleResult {
    let number = |name: &str| -> Result<u64, Box<dyn Error>> { Ok(flags.text(name)?.parse()?) };
    let optional = |name: &str| match number(name)? {
        0 => Ok::<_, Box<dyn Error>>(None),
        some => Ok(Some(some)),
    };
    let options = sql::Options {
        database: flags.path("--database")?.to_owned(),
        access: flags.text("--access")?.parse()?,
        full: flags.text("--durability")? == "full",
        size: number("--size")?,
        memory: number("--memory")?,
        time: optional("--time")?.map(std::time::Duration::from_micros),
        rows: optional("--rows")?,
    };
    sql::role(flags.text("--master")?.parse()?, &options)?;
    Ok(ExitCode::SUCCESS)
}

/// One invocation on an inherited socket, unjailed: for tests, and to see what a wrapper says.
///
/// `EMBLY_ADDR` is the slot number (decimal), `EMBLY_SOCKET_FD` the descriptor, `EMBLY_MODULE`
/// the wasm file.
fn exec() -> RoleResult {
    let variable = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let slot = Slot(variable("EMBLY_ADDR")?.parse()?);
    let socket = sys::fd::take(variable("EMBLY_SOCKET_FD")?.parse()?)?;
    let module = compile::read(Path::new(&variable("EMBLY_MODULE")?))?;
    let engine = engine::engine()?;
    let has_start = artefact::has_start(&module);
    let module = wasmtime::Module::from_binary(&engine, &module)?;
    let mut prepared = Prepared::new(engine, &module, "_start", has_start)?;
    child::run(socket, slot, &mut prepared)?;
    Ok(ExitCode::SUCCESS)
}
