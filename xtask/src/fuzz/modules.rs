//! `cargo xtask fuzz modules`: what `fuzz/modules` makes, compiled and run in the jail. It starts processes,
//! so it is no target for libFuzzer.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Result, ensure};

pub const NAME: &str = "modules";

/// So many are compiled and run in a second, about, by two cores.
pub const PER_SECOND: u64 = 12;

/// So many modules; the seed is that of the first, and counts up. Other ones each time, where none is given.
pub fn run(root: &Path, count: u64, seed: Option<u64>) -> Result<()> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let seed = seed.unwrap_or(since.as_secs());
    let folder = root.join("target/fuzz/work").join(NAME);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    println!(
        "seeds {seed} to {}, in {}",
        seed + count.saturating_sub(1),
        folder.display()
    );
    let mut make = Command::new(env!("CARGO"));
    // Another version of the generator makes others of the same seeds.
    make.args(["run", "--locked", "--release", "--quiet", "--manifest-path"])
        .arg(root.join("fuzz/modules/Cargo.toml"))
        .arg("--target-dir")
        .arg(root.join("target/fuzz/made"))
        .arg("--")
        .arg(&folder)
        .args([seed.to_string(), count.to_string()]);
    crate::run(&mut make, "the modules cannot be made")?;
    let status = Command::new(env!("CARGO"))
        .args(["test", "--workspace", "--test", NAME])
        .args(["--", "--nocapture"])
        .env("EMBLY_MODULES", &folder)
        .current_dir(root)
        .status()?;
    ensure!(
        status.success(),
        "a finding: mend it, and copy its module to fuzz/corpus/{NAME}/ with a name of its ending and what it was"
    );
    Ok(())
}
