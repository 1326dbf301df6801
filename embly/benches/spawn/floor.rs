//! The program in C that does the same without Embly.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The program, compiled.
pub struct Floor(PathBuf);

impl Floor {
    /// Nothing where no C compiler is there.
    pub fn build(folder: &Path) -> Option<Self> {
        let program = folder.join("floor");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/spawn/floor.c");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-static", "-o"]).arg(&program).arg(source);
        match cc.status() {
            Ok(status) if status.success() => Some(Self(program)),
            Ok(status) => {
                eprintln!("left out: the floor in C: cc: {status}");
                None
            }
            Err(why) => {
                eprintln!("left out: the floor in C: cc: {why}");
                None
            }
        }
    }

    /// Forks that say one byte over a socket pair.
    pub fn fork(&self, count: u32, in_a_row: u32, pause: Duration) -> Vec<u64> {
        let pause = u64::try_from(pause.as_nanos()).unwrap();
        self.run("fork", [count.into(), in_a_row.into(), pause])
    }

    /// Messages there and back, through a third process.
    pub fn trips(&self, count: u32, size: u32) -> Vec<u64> {
        self.run("relay-trip", [count.into(), size.into(), 0])
    }

    /// One stream, through a third process.
    pub fn stream(&self, size: u32, bytes: u64) -> Vec<u64> {
        self.run("relay-stream", [1, size.into(), bytes])
    }

    /// What each took, in nanoseconds.
    fn run(&self, what: &str, arguments: [u64; 3]) -> Vec<u64> {
        let arguments = arguments.map(|argument| argument.to_string());
        let output = Command::new(&self.0).arg(what).args(arguments).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{what}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}
