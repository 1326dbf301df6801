//! Real servers, from the packages of the system, each on a free port and with nothing in it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::{eventually, skipped};

/// Nobody's number nearly everywhere.
const NOBODY: u32 = 65534;

/// A server that runs until this is dropped.
pub struct Server {
    child: Child,
    ended_by: Signal,
    /// Where it listens, at 127.0.0.1.
    pub port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        super::kill(pid, self.ended_by);
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A Redis server; `None` where there is none.
pub fn redis() -> Option<Server> {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--appendonly", "no", "--dir"]);
    let child = command.arg(folder.path()).stdout(Stdio::null()).spawn();
    let Ok(child) = child else {
        skipped("redis-server");
        return None;
    };
    let server = Server {
        child,
        // It has no children, and a shell may have told it to ignore other signals.
        ended_by: Signal::KILL,
        port,
        _folder: folder,
    };
    eventually("Redis listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    Some(server)
}

/// A PostgreSQL server whose user `embly` has this password, with TLS where there is a certificate
/// with its key, in PEM; `None` where there is none.
pub fn postgres(password: &str, tls: Option<(String, String)>) -> Option<Server> {
    let Some(programs) = postgres_programs() else {
        skipped("initdb of PostgreSQL");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        own(&path);
        path
    };
    own(folder.path());
    let data = folder.path().join("data");
    let password = file("password", password);
    let mut init = as_somebody(&programs.join("initdb"));
    init.arg("-D").arg(&data).arg("--pwfile").arg(password);
    init.args(["-U", "embly", "--auth=scram-sha-256", "--no-sync"]);
    init.args(["--locale=C", "--encoding=UTF8"]);
    let output = init.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let port = free_port();
    let mut command = as_somebody(&programs.join("postgres"));
    command.arg("-D").arg(&data).arg("-k").arg(folder.path());
    command.args(["-p", &port.to_string(), "-c", "fsync=off"]);
    if let Some((certificate, key)) = tls {
        let (certificate, key) = (file("server.crt", &certificate), file("server.key", &key));
        command.args(["-c", "ssl=on", "-c"]);
        command.arg(format!("ssl_cert_file={}", certificate.display()));
        command.arg("-c");
        command.arg(format!("ssl_key_file={}", key.display()));
    }
    let child = command.stderr(Stdio::null()).spawn().unwrap();
    let server = Server {
        child,
        // At this it ends its children.
        ended_by: Signal::QUIT,
        port,
        _folder: folder,
    };
    let ready = programs.join("pg_isready");
    eventually("PostgreSQL is ready", || {
        let mut command = Command::new(&ready);
        command.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
        command.status().is_ok_and(|status| status.success())
    });
    Some(server)
}

/// Where Debian has them, or the path.
fn postgres_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql");
    let versions = versions.into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = folders.chain(std::env::split_paths(&path));
    all.find(|folder| folder.join("initdb").exists())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// It does not run as root.
fn as_somebody(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let id = NOBODY.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    command.arg(program);
    // Root's own folder is closed to it.
    command.current_dir("/");
    command
}

fn own(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}
