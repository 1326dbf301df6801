//! Commands for the people who work on Embly: `cargo xtask COMMAND`.

#![forbid(unsafe_code)]

mod codegen;
mod dist;
mod fuzz;
#[cfg(test)]
mod tidy;

use std::path::Path;

use anyhow::{Result, bail};

const USAGE: &str = "usage:
  cargo xtask codegen                 make protos/src/comms.rs from its schema
  cargo xtask dist [FOLDER]           the static executable and its checksum, default target/dist
  cargo xtask fuzz [TARGET] [--seconds N]
                                      feed the parsers with whatever comes, N seconds each
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
                                      faults drawn from seeds on the real system, against its promises";

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("codegen") => codegen::write(root()),
        Some("dist") => {
            let folder = std::env::args_os().nth(2);
            let folder = folder.map_or_else(|| root().join("target/dist"), Into::into);
            dist::build(root(), &folder)
        }
        Some("fuzz") => fuzz::run(root(), std::env::args().skip(2)),
        Some("bench") => bench(),
        Some("faults") => faults(),
        _ => bail!(USAGE),
    }
}

/// Runs a program of `embly/benches`, or the measurement among the tests of that name.
fn bench() -> Result<()> {
    let mut arguments = std::env::args().skip(2);
    let mut cargo = std::process::Command::new(env!("CARGO"));
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
    if !cargo.current_dir(root()).status()?.success() {
        bail!("the measurement failed");
    }
    Ok(())
}

/// Runs the command that the test program of seeded faults has in it.
fn faults() -> Result<()> {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["test", "--quiet", "--workspace", "--test", "seeded_faults"]);
    cargo
        .args(["--", "many-faults"])
        .args(std::env::args().skip(2));
    if !cargo.current_dir(root()).status()?.success() {
        bail!("a promise was broken, or could not be checked: see above");
    }
    Ok(())
}

/// The workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}
