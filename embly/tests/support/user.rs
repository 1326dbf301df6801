//! A user whose number of processes can be limited.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{EMBLY, Embly, Project, skipped};

/// Nobody's number nearly everywhere.
const NOBODY: u32 = 65534;

/// Who runs Embly: ourselves, or, since root has no such limit, nobody.
pub struct Limited {
    uid: u32,
    cache: tempfile::TempDir,
    executable: PathBuf,
}

impl Limited {
    /// `None` where root cannot become anybody else.
    pub fn find() -> Option<Self> {
        let cache = tempfile::tempdir().unwrap();
        let me = fs::metadata(cache.path()).unwrap().uid();
        let uid = if me == 0 { NOBODY } else { me };
        let mut limited = Self {
            uid,
            cache,
            executable: EMBLY.into(),
        };
        open(limited.cache.path());
        if !limited.can("true", &[]) {
            skipped("setpriv");
            return None;
        }
        if !limited.can("test", &["-x", EMBLY]) {
            limited.executable = copied(Path::new(EMBLY), limited.cache.path());
        }
        Some(limited)
    }

    fn can(&self, program: &str, arguments: &[&str]) -> bool {
        let status = self.command(program).args(arguments).status();
        status.is_ok_and(|status| status.success())
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
            .arg(&self.executable)
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

/// A program in another folder: that of its own may be in one that only its owner enters.
pub fn copied(program: &Path, folder: &Path) -> PathBuf {
    // Apart from what programs keep there under their own names.
    let folder = folder.join("programs");
    let copy = folder.join(program.file_name().unwrap());
    if !copy.exists() {
        fs::create_dir_all(&folder).unwrap();
        // A link where it can be one: a file that was just written may not be run yet.
        let linked = fs::hard_link(program, &copy);
        linked
            .or_else(|_| fs::copy(program, &copy).map(drop))
            .unwrap();
    }
    copy
}

/// How many processes and threads a user has.
fn tasks_of(uid: u32) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let own = processes.filter(|entry| entry.metadata().is_ok_and(|meta| meta.uid() == uid));
    own.map(|entry| fs::read_dir(entry.path().join("task")).map_or(0, Iterator::count))
        .sum()
}
