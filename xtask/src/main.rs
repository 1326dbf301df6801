//! Commands for the people who work on Embly: `cargo xtask COMMAND`.

#![forbid(unsafe_code)]

mod book;
mod codegen;
mod dist;
mod fuzz;
#[cfg(test)]
mod tidy;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage:
  cargo xtask book [FOLDER]           the documents as a book, by mdBook, default target/book
  cargo xtask codegen                 make protos/src/comms.rs from its schema
  cargo xtask dist [FOLDER]           the static executable and its checksum, default target/dist
  cargo xtask fuzz [TARGET] [--seconds N]
                                      feed the parsers with whatever comes, N seconds each
  cargo xtask fuzz modules [--seconds N | --modules N] [--seed N]
                                      run modules that nobody has thought of in the jail
  cargo xtask bench compare [ROUNDS] [--json FILE]
                                      Embly beside others, in one run
  cargo xtask bench curve             Embly with few and many connections, small and large bodies
  cargo xtask bench gateways [ROUNDS]
                                      files beside nginx, TLS beside hyper and rustls, many routes
  cargo xtask bench overload          Embly with more requests than it can answer
  cargo xtask bench spawn [ROUNDS]    from function to function, beside the bare kernel
  cargo xtask bench http-client [ROUNDS]
                                      asking others over HTTP, beside the same in one process
  cargo xtask bench kv [ROUNDS]       keys and values, beside SQLite used directly
  cargo xtask bench sql [ROUNDS]      SQL of a function, beside the library called directly
  cargo xtask bench micro [FILTER]    the parts that every request passes, one by one
  cargo xtask bench jail [ROUNDS]     what each step of the jail costs
  cargo xtask bench scale [PART]      how far one machine goes
  cargo xtask bench attacks [NAME]    how soon attackers are ended, and what others notice
  cargo xtask faults [--seed N] [--runs N] [--seconds N] [--kinds a,b] [--at-once N] [--json FILE]
                                      faults drawn from seeds on the real system, against its promises
  cargo xtask soak [million|hour|overload] [--requests N] [--minutes N] [--seconds N] [--seed N]
                   [--json FILE] [--svg FILE]
                                      a million requests with faults among them; an hour of mixed load;
                                      ten times the requests that can be answered; all three";

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("codegen") => codegen::write(root()),
        Some("book") => book::build(root(), &folder("target/book")),
        Some("dist") => dist::build(root(), &folder("target/dist")),
        Some("fuzz") => fuzz::run(root(), std::env::args().skip(2)),
        Some("bench") => bench(),
        Some("faults") => faults(),
        Some("soak") => soak(),
        _ => bail!(USAGE),
    }
}

/// The folder that was named, or this one.
fn folder(default: &str) -> PathBuf {
    let named = std::env::args_os().nth(2);
    named.map_or_else(|| root().join(default), Into::into)
}

/// Runs a program of `embly/benches`, or the measurement among the tests of that name.
fn bench() -> Result<()> {
    let mut arguments = std::env::args().skip(2);
    let mut cargo = Command::new(env!("CARGO"));
    match arguments.next().as_deref() {
        Some(name @ ("http-client" | "jail" | "kv" | "micro" | "scale" | "spawn" | "sql")) => {
            cargo.args(["bench", "--package", "embly", "--bench", name, "--"]);
            cargo.args(arguments);
        }
        Some(what @ ("compare" | "curve" | "gateways" | "overload")) => {
            cargo.args(["bench", "--package", "embly", "--bench", "compare", "--"]);
            cargo.arg(what).args(arguments);
        }
        Some(name @ "attacks") => {
            cargo.args(["test", "--release", "--package", "embly", "--test", name]);
            cargo.args(["--", "--ignored", "--nocapture"]);
            if let Some(one) = arguments.next() {
                cargo.env("EMBLY_ATTACK", one);
            }
        }
        _ => bail!(USAGE),
    }
    run(cargo.current_dir(root()), "the measurement failed")
}

/// Runs the command that the test program of seeded faults has in it.
fn faults() -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--quiet", "--workspace", "--test", "seeded_faults"]);
    cargo
        .args(["--", "many-faults"])
        .args(std::env::args().skip(2));
    run(
        cargo.current_dir(root()),
        "a promise was broken, or could not be checked: see above",
    )
}

/// Runs one part, or all of them, whatever comes of the first.
fn soak() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(2).collect();
    let mut failed = Vec::new();
    let parts = match arguments.split_first() {
        None => vec![("million", &[][..]), ("hour", &[]), ("overload", &[])],
        Some((part, options)) => vec![(part.as_str(), options)],
    };
    for (part, options) in parts {
        let mut cargo = Command::new(env!("CARGO"));
        match part {
            "million" | "hour" => {
                cargo.args(["test", "--quiet", "--release", "--workspace"]);
                cargo.args(["--test", "seeded_faults", "--", "soak", part]);
            }
            "overload" => {
                cargo.args(["bench", "--workspace", "--bench", "compare"]);
                cargo.args(["--", "tenfold"]);
            }
            _ => bail!(USAGE),
        }
        if let Err(error) = run(cargo.args(options).current_dir(root()), part) {
            failed.push(error.to_string());
        }
    }
    if !failed.is_empty() {
        bail!("not good, see above: {}", failed.join(", "));
    }
    Ok(())
}

/// Runs a command to its end, which shows what it says. `failed` is the error when it fails.
fn run(command: &mut Command, failed: &str) -> Result<()> {
    if !command.status()?.success() {
        bail!("{failed}");
    }
    Ok(())
}

/// The target of this machine, as rustc calls it.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let says = Command::new(rustc).arg("-vV").output()?;
    let says = String::from_utf8(says.stdout)?;
    let host = says.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// The workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}
