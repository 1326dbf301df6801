//! A user whose number of processes can be limited.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use super::{EMBLY, Embly, Project, skipped};

/// Nobody's number nearly everywhere.
const NOBODY: u32 = 65534;

/// Who runs Embly: ourselves, or, since root has no such limit, nobody.
pub struct Limited {
    uid: u32,
    cache: tempfile::TempDir,
}

impl Limited {
    /// `None` where root cannot become anybody else.
    pub fn find() -> Option<Self> {
        let cache = tempfile::tempdir().unwrap();
        let me = fs::metadata(cache.path()).unwrap().uid();
        let uid = if me == 0 { NOBODY } else { me };
        let limited = Self { uid, cache };
        open(limited.cache.path());
        let can = limited.command("true").arg(EMBLY).status();
        let can_read = limited.command("test").args(["-x", EMBLY]).status();
        if [can, can_read]
            .iter()
            .all(|status| status.as_ref().is_ok_and(|status| status.success()))
        {
            return Some(limited);
        }
        skipped("setpriv, and a target folder that everybody can read");
        None
    }

    fn command(&self, program: &str) -> Command {
        if rustix::process::geteuid().as_raw() == self.uid {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", program]);
        command
    }

    /// `embly run` with room for so many processes and threads.
    pub fn run(&self, project: &Project, room: usize) -> Embly {
        let runtime = tempfile::tempdir().unwrap();
        open(runtime.path());
        open(project.path());
        let limit = tasks_of(self.uid) + room;
        // `-p` in dash, `-u` in the others.
        let script = format!("ulimit -u {limit} 2>/dev/null || ulimit -p {limit}");
        let mut command = self.command("sh");
        command
            .args(["-c", &format!("{script}\nexec \"$@\""), "sh"])
            .arg(EMBLY)
            .args(super::arguments("run", project.path()))
            .env("XDG_CACHE_HOME", self.cache.path())
            .env("XDG_RUNTIME_DIR", runtime.path());
        Embly::spawn(command, runtime, project.gateways())
    }
}

/// Lets everybody in.
pub fn open(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
}

/// How many processes and threads a user has.
fn tasks_of(uid: u32) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let own = processes.filter(|entry| entry.metadata().is_ok_and(|meta| meta.uid() == uid));
    own.map(|entry| fs::read_dir(entry.path().join("task")).map_or(0, Iterator::count))
        .sum()
}
