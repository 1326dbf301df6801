//! Who runs Embly: root, an ordinary user, either of them in a container.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::contained;
use super::support::user::{copied, open};
use super::support::{EMBLY, Embly, Project, arguments, skipped};

/// Nobody's number nearly everywhere.
const NOBODY: u32 = 65534;

/// What a container refuses.
pub const NAMESPACES: [&str; 4] = [
    "a user namespace",
    "an IPC namespace",
    "a UTS namespace",
    "a network namespace",
];

/// Somebody with a cache and a socket folder of their own.
pub struct Who {
    uid: u32,
    contained: bool,
    cache: tempfile::TempDir,
    /// They cannot enter the target folder.
    copies: bool,
}

/// Says that a test does nothing, for want of what no package brings.
pub fn not_here(needs: &str) {
    eprintln!("skipped: needs {needs}");
}

/// Whether whoever runs the tests may look into processes that cannot be dumped: root, outside of a
/// container.
pub fn may_look() -> bool {
    let mine = rustix::thread::capabilities(None).unwrap().effective;
    mine.contains(rustix::thread::CapabilitySet::SYS_PTRACE)
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Who {
    /// Whoever runs the tests.
    pub fn me() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            contained: false,
            cache: tempfile::tempdir().unwrap(),
            copies: false,
        }
    }

    /// Root; `None` where the tests run as somebody else.
    pub fn root() -> Option<Self> {
        if !is_root() {
            not_here("root");
            return None;
        }
        Some(Self::me())
    }

    /// An ordinary user; `None` where root cannot become one.
    pub fn ordinary() -> Option<Self> {
        let mut who = Self::me();
        if is_root() {
            who.uid = NOBODY;
        }
        open(who.cache.path());
        if !who.can("true", &me()) {
            skipped("setpriv");
            return None;
        }
        who.copies = ![&*me(), Path::new(EMBLY)]
            .into_iter()
            .all(|program| who.can("test", program));
        Some(who)
    }

    /// Whether `PROGRAM -x FILE` says yes.
    fn can(&self, program: &str, file: &Path) -> bool {
        let mut command = self.command(Path::new(program));
        let status = command.arg("-x").arg(file).status();
        status.is_ok_and(|status| status.success())
    }

    /// Where this user finds a program.
    fn place(&self, program: &Path) -> PathBuf {
        match self.copies && program.is_absolute() {
            true => copied(program, self.cache.path()),
            false => program.to_owned(),
        }
    }

    /// In a container, as engines make them.
    pub fn contained(self) -> Self {
        Self {
            contained: true,
            ..self
        }
    }

    /// The user that functions run as.
    pub fn functions_run_as(&self) -> u32 {
        if self.uid == 0 {
            embly_wrapper::jail::User::default().uid
        } else {
            self.uid
        }
    }

    /// The steps of the jail that this system does not offer, found out without Embly. Landlock and
    /// filters are in every kernel that is tested on.
    pub fn not_offered(&self) -> Vec<&'static str> {
        let mut leaves = self.command(Path::new("unshare"));
        leaves.args(["--user", "--ipc", "--uts", "--net", "true"]);
        if leaves.output().is_ok_and(|output| output.status.success()) {
            return Vec::new();
        }
        let mut missing = NAMESPACES.to_vec();
        if self.uid != 0 {
            // Who has no privilege cannot give up what might bring one.
            missing.push("an empty capability bounding set");
        }
        missing.sort_unstable();
        missing
    }

    /// `program` as this user.
    pub fn command(&self, program: &Path) -> Command {
        let mut line: Vec<OsString> = Vec::new();
        if self.uid != rustix::process::geteuid().as_raw() {
            let id = self.uid.to_string();
            let words = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
            line.extend(words.map(OsString::from));
        }
        if self.contained {
            line.push(self.place(&me()).into());
            line.push(contained::ROLE.into());
        }
        line.push(self.place(program).into());
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .env("XDG_CACHE_HOME", self.cache.path())
            .env("NO_COLOR", "1");
        command
    }

    /// `PROGRAM run` on a project.
    pub fn run(&self, program: &Path, project: &Project, more: &[&str]) -> Embly {
        let runtime = tempfile::tempdir().unwrap();
        open(runtime.path());
        open(project.path());
        let mut command = self.command(program);
        command
            .args(arguments("run", project.path()))
            .args(more)
            .env("XDG_RUNTIME_DIR", runtime.path());
        Embly::spawn(command, runtime, project.gateways())
    }

    /// The same to its end: exit code and what it says.
    pub fn output(&self, program: &Path, arguments: &[&str]) -> (Option<i32>, String) {
        let runtime = tempfile::tempdir().unwrap();
        open(runtime.path());
        let output = self
            .command(program)
            .args(arguments)
            .env("XDG_RUNTIME_DIR", runtime.path())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.code(), said)
    }
}

/// This program.
pub fn me() -> PathBuf {
    std::env::current_exe().unwrap()
}
