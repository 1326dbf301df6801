//! What the kernel takes, with nothing of a server around it: a small static C program.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::systems::{compile_c, output};

/// How long each is measured, in seconds.
const SECONDS: &str = "1";

pub struct Floor {
    /// As `floor.c` calls it.
    pub id: &'static str,
    pub name: &'static str,
    /// A second, with one parent per core; a value for each round.
    pub rates: Vec<f64>,
    /// Microseconds, one by one; a value for each round.
    pub times: Vec<f64>,
}

impl Floor {
    pub fn measure(&mut self, program: &Path) -> Result<(), String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let run = |parents: usize| -> Result<f64, String> {
            let parents = parents.to_string();
            let said = output(Command::new(program).args([self.id, SECONDS, &parents]))?;
            said.trim().parse().map_err(|_| format!("floor: {said}"))
        };
        let (all, one) = (run(cores)?, run(1)?);
        self.rates.push(all);
        self.times.push(1e6 / one);
        Ok(())
    }

    pub fn json(&self) -> Value {
        json!({
            "name": self.name,
            "per_second_with_a_parent_per_core": self.rates,
            "us_one_by_one": self.times,
        })
    }
}

/// The floors without values, and the program that finds them; nothing where there is no C
/// compiler.
pub fn all(folder: &Path) -> Result<(Vec<Floor>, PathBuf), String> {
    let program = folder.join("floor");
    compile_c("floor.c", &program)?;
    let floor = |(id, name)| Floor {
        id,
        name,
        rates: Vec::new(),
        times: Vec::new(),
    };
    let names = [
        ("fork", "fork, exit, wait"),
        ("filter", "the same, with an inherited seccomp filter"),
        ("socket", "a byte to a process that waits, and one back"),
    ];
    Ok((names.map(floor).into(), program))
}
