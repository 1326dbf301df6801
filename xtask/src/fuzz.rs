//! `cargo xtask fuzz`: feeds the targets of `fuzz/` with a compiler that counts what is reached, and
//! keeps the inputs that reach most.

mod modules;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::host;

/// How long each target is fed, where nobody says, in seconds.
const SECONDS: u64 = 60;

/// Bytes of the inputs that are kept of a target, and how many there may be: each test run feeds them.
const KEPT_BYTES: u64 = 96 * 1024;
const KEPT_FILES: usize = 100;

/// An input is never longer, in bytes: long enough for everything that the targets read, and short
/// enough for thousands of them in a second.
const LONGEST: u32 = 4096;

/// What counts edges, and the operands of comparisons, for libFuzzer; as `cargo fuzz` has it.
const COUNTING: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// The engine has its own way with a guest's faults; an input that takes so many seconds is a finding.
const FEEDING: [&str; 4] = [
    "-timeout=20",
    "-handle_segv=0",
    "-handle_bus=0",
    "-handle_fpe=0",
];

/// `[TARGET] [--seconds N]`, or `modules [--seconds N | --modules N] [--seed N]`.
pub fn run(root: &Path, mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let (mut only, mut seconds, mut count, mut seed) = (None, SECONDS, None, None);
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u64> {
            let number = arguments.next().and_then(|number| number.parse().ok());
            number.with_context(|| format!("`{argument}` needs a number"))
        };
        match argument.as_str() {
            "--seconds" => seconds = number()?,
            "--modules" => count = Some(number()?),
            "--seed" => seed = Some(number()?),
            name => only = Some(name.to_owned()),
        }
    }
    if only.as_deref() == Some(modules::NAME) {
        return modules::run(root, count.unwrap_or(seconds * modules::PER_SECOND), seed);
    }
    let only_there = count.is_none() && seed.is_none();
    ensure!(only_there, "`--modules` and `--seed` are for `modules`");
    let all = targets(root)?;
    let chosen: Vec<_> = match &only {
        None => all,
        Some(name) => {
            let known = all.contains(name);
            let all = all.join(", ");
            ensure!(
                known,
                "no target `{name}`; there are {all}, {}",
                modules::NAME
            );
            vec![name.clone()]
        }
    };
    let programs = build(root, &chosen)?;
    println!("| target | executions | edges | features | inputs kept | findings |");
    println!("|---|---:|---:|---:|---:|---:|");
    let mut findings = 0;
    for name in &chosen {
        let fed = feed(root, &programs.join(name), name, seconds)?;
        println!("{}", fed.row(name));
        findings += fed.findings.len();
        for path in &fed.findings {
            eprintln!(
                "a finding: {}\nrepeat it: {} {}",
                path.display(),
                programs.join(name).display(),
                path.display()
            );
        }
    }
    ensure!(
        findings == 0,
        "{findings} findings: mend each, and copy its input to fuzz/corpus/TARGET/ with a name that says what it was"
    );
    Ok(())
}

/// The targets, by the names of their sources.
pub fn targets(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

/// Builds the targets; the folder of their programs.
fn build(root: &Path, names: &[String]) -> Result<PathBuf> {
    // The versions that the product has, and beside them the fuzzer's own.
    fs::copy(root.join("Cargo.lock"), root.join("fuzz/Cargo.lock"))?;
    let (host, folder) = (host()?, root.join("target/fuzz"));
    let mut cargo = Command::new("rustup");
    cargo
        .args(["run", "nightly", "cargo", "build", "--release"])
        // With a target, flags are not for what runs while others are compiled.
        .args(["--target", &host])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", COUNTING.join(" "))
        // That of the toolchain that runs this program.
        .env_remove("RUSTC")
        .current_dir(root.join("fuzz"));
    for name in names {
        cargo.args(["--bin", name]);
    }
    crate::run(
        &mut cargo,
        "the targets do not build; they need a nightly toolchain: `rustup toolchain list`",
    )?;
    Ok(folder.join(host).join("release"))
}

/// What came of a target.
struct Fed {
    executions: u64,
    edges: u64,
    features: u64,
    kept: usize,
    findings: Vec<PathBuf>,
}

impl Fed {
    fn row(&self, name: &str) -> String {
        let Self {
            executions,
            edges,
            features,
            kept,
            findings,
        } = self;
        let findings = findings.len();
        format!("| `{name}` | {executions} | {edges} | {features} | {kept} | {findings} |")
    }
}

fn feed(root: &Path, program: &Path, name: &str, seconds: u64) -> Result<Fed> {
    let work = root.join("target/fuzz/work").join(name);
    let (found, failed) = (work.join("found"), work.join("failed"));
    for folder in [&found, &failed] {
        fs::create_dir_all(folder)?;
    }
    let kept = root.join("fuzz/corpus").join(name);
    let before = files(&failed)?;
    let mut fuzzer = Command::new(program);
    fuzzer
        .args([&found, &kept])
        .arg(format!("-artifact_prefix={}/", failed.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={LONGEST}"))
        .args(["-rss_limit_mb=3000", "-print_final_stats=1"])
        .args(FEEDING)
        .current_dir(&work);
    let said = fuzzer.output()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    fs::write(work.join("log"), &said)?;
    let after = files(&failed)?;
    let findings: Vec<_> = after
        .keys()
        .filter(|path| !before.contains_key(*path))
        .cloned()
        .collect();
    let (edges, features) = reached(&said);
    let executions = number_behind(&said, "stat::number_of_executed_units:");
    if executions == 0 && findings.is_empty() {
        let log = work.join("log");
        bail!("`{name}` did not run, see {}", log.display());
    }
    let kept = keep(program, &work, &kept)?;
    Ok(Fed {
        executions,
        edges,
        features,
        kept,
        findings,
    })
}

/// Keeps of the fewest inputs that reach as much a part, short and long ones, beside those with names that
/// people have given.
fn keep(program: &Path, work: &Path, kept: &Path) -> Result<usize> {
    let least = work.join("least");
    if least.exists() {
        fs::remove_dir_all(&least)?;
    }
    fs::create_dir_all(&least)?;
    let merged = Command::new(program)
        .arg("-merge=1")
        .args([&least, kept, &work.join("found")])
        .args(FEEDING)
        .current_dir(work)
        .output()?;
    ensure!(merged.status.success(), "the inputs cannot be merged");
    let named = |path: &Path| !is_hash(path);
    let mut bytes: u64 = 0;
    let mut count = 0;
    for (path, size) in files(kept)? {
        if named(&path) {
            (bytes, count) = (bytes + size, count + 1);
        } else {
            fs::remove_file(path)?;
        }
    }
    let own: Vec<_> = files(kept)?.into_keys().collect();
    let own: Vec<_> = own.iter().map(fs::read).collect::<Result<_, _>>()?;
    let mut found: Vec<_> = files(&least)?.into_iter().collect();
    found.sort_by_key(|(path, size)| (*size, path.clone()));
    // Of all lengths: the longest ones reach what short ones cannot.
    let every = found.len().div_ceil(KEPT_FILES).max(1);
    for (path, size) in found.into_iter().rev().step_by(every) {
        if bytes + size > KEPT_BYTES || count >= KEPT_FILES {
            continue;
        }
        let input = fs::read(&path)?;
        if own.contains(&input) {
            continue;
        }
        let name = path.file_name().context("a file has a name")?;
        fs::write(kept.join(name), input)?;
        (bytes, count) = (bytes + size, count + 1);
    }
    Ok(count)
}

/// Whether an input has the name that libFuzzer gives.
fn is_hash(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn files(folder: &Path) -> Result<BTreeMap<PathBuf, u64>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            found.insert(entry.path(), entry.metadata()?.len());
        }
    }
    Ok(found)
}

/// Edges and features of the last line that says them: `#12 DONE cov: 34 ft: 56 corp: …`.
fn reached(said: &str) -> (u64, u64) {
    let line = said.lines().rfind(|line| line.contains(" cov: "));
    let line = line.unwrap_or_default();
    (number_behind(line, " cov: "), number_behind(line, " ft: "))
}

fn number_behind(text: &str, word: &str) -> u64 {
    let (_, rest) = text.split_once(word).unwrap_or_default();
    let digits = rest.trim_start();
    let end = digits.find(|letter: char| !letter.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_target_is_built_and_has_a_corpus_that_is_small() {
        let root = crate::root();
        let targets = targets(root).unwrap();
        assert!(!targets.is_empty());
        let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        for name in &targets {
            let named = format!("name = \"{name}\"");
            assert!(manifest.contains(&named), "fuzz/Cargo.toml lacks `{name}`");
        }
        let mut fed = BTreeSet::from([modules::NAME.to_owned()]);
        fed.extend(targets);
        let mut kept = BTreeSet::new();
        for folder in fs::read_dir(root.join("fuzz/corpus")).unwrap() {
            let folder = folder.unwrap();
            let name = folder.file_name().into_string().unwrap();
            let bytes: u64 = files(&folder.path()).unwrap().values().sum();
            assert!(
                bytes <= 2 * KEPT_BYTES,
                "fuzz/corpus/{name} has {bytes} bytes"
            );
            kept.insert(name);
        }
        assert_eq!(kept, fed, "a target without inputs, or inputs without one");
    }

    #[test]
    fn what_the_fuzzer_says_is_read() {
        let said = "#2 INITED cov: 1 ft: 2 corp: 1\n#900\tDONE   cov: 34 ft: 56 corp: 7/8b\n\
                    stat::number_of_executed_units: 900\n";
        assert_eq!(reached(said), (34, 56));
        assert_eq!(number_behind(said, "stat::number_of_executed_units:"), 900);
        assert!(is_hash(Path::new(&format!("x/{}", "0a".repeat(20)))));
        assert!(!is_hash(Path::new("x/a-name")));
    }
}
