//! Gateways on Unix sockets, and on sockets that systemd has opened.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use support::client::get;
use support::{EMBLY, Embly, Project};

/// A gateway `web` of this type on `web.sock` in its project.
fn project(kind: &str, function: &str, more: &str) -> Project {
    let keys = format!("    bind: unix:web.sock\n    function: {function}\n{more}");
    let project = Project::new().guest(function).gateway_with("web", &keys);
    project.path();
    project.edit("type: http\n    bind", &format!("type: {kind}\n    bind"));
    project
}

fn curl(socket: &Path, arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "30", "--unix-socket"])
        .arg(socket)
        .args(arguments)
        .arg("http://web.test/path")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_gateway_serves_on_a_unix_socket_and_removes_it_as_it_stops() {
    let project = project("http", "shows", "");
    let socket = project.folder().join("web.sock");
    // One that was left behind is replaced.
    drop(UnixListener::bind(&socket).unwrap());
    let mut embly = Embly::run(&project);
    let folder = project.folder().canonicalize().unwrap();
    let event = embly.event("listening", |_| true);
    assert_eq!(
        event["url"],
        format!("unix:{}", folder.join("web.sock").display())
    );
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let text = curl(&socket, &[version, "-d", "body"]);
        assert!(text.starts_with("POST /path HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("\r\nembly-client: 127.0.0.1\r\n"), "{text}");
        assert!(text.ends_with("body"), "{text}");
    }
    assert_eq!(embly.event("access", |_| true)["client"], "unix");
    embly.signal(Signal::TERM);
    embly.stops_with_nothing_left();
    assert!(!socket.exists());
}

#[test]
fn a_proxy_on_a_unix_socket_is_believed_if_the_project_says_so() {
    let said = &["-H", "x-forwarded-for: 192.0.2.7"];
    for (more, expected) in [
        ("    proxies: [unix]\n", "192.0.2.7"),
        ("    proxies: [127.0.0.1]\n", "127.0.0.1"),
    ] {
        let project = project("http", "shows", more);
        let _embly = Embly::run(&project);
        let text = curl(&project.folder().join("web.sock"), said);
        let expected = format!("\r\nembly-client: {expected}\r\n");
        assert!(text.contains(&expected), "{text}");
    }
}

#[test]
fn a_tcp_gateway_serves_on_a_unix_socket() {
    let project = project("tcp", "echo", "");
    let _embly = Embly::run(&project);
    let mut stream = UnixStream::connect(project.folder().join("web.sock")).unwrap();
    stream.write_all(b"some bytes").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"some bytes");
}

#[test]
fn what_somebody_else_has_there_is_left_alone() {
    let project = project("http", "shows", "");
    let socket = project.folder().join("web.sock");
    let run = || support::output(&["run", project.path().to_str().unwrap()]);
    let theirs = UnixListener::bind(&socket).unwrap();
    let (code, _, text) = run();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("web.sock`: somebody listens there"), "{text}");
    UnixStream::connect(&socket).unwrap();
    drop(theirs);
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "text").unwrap();
    let (code, _, text) = run();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("something that is not a socket"), "{text}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "text");
}

#[test]
fn a_reload_keeps_the_socket_of_a_gateway() {
    let project = project("http", "shows", "");
    let socket = project.folder().join("web.sock");
    let embly = Embly::start_detached("run", &project);
    let before = inode(&socket);
    embly.signal(Signal::HUP);
    embly.event("message", |event| event["text"] == "reloaded");
    assert_eq!(inode(&socket), before);
    assert!(curl(&socket, &[]).starts_with("GET /path "));
}

fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())
}

/// Starts a program as systemd does: with a port as descriptor 3 and a file as descriptor 4.
const LAUNCHER: &str = "
import fcntl, os, socket, sys
port = socket.socket()
port.bind(('127.0.0.1', 0))
port.listen()
file = socket.socket(socket.AF_UNIX)
file.bind(sys.argv[1])
file.listen()
for number, opened in [(3, port), (4, file)]:
    high = fcntl.fcntl(opened.fileno(), fcntl.F_DUPFD, 20)
    globals()['high%d' % number] = high
for number in [3, 4]:
    os.dup2(globals()['high%d' % number], number, inheritable=True)
    os.close(globals()['high%d' % number])
os.environ['LISTEN_PID'] = str(os.getpid() + int(os.environ.pop('OTHER', '0')))
os.environ['LISTEN_FDS'] = '2'
os.environ['LISTEN_FDNAMES'] = 'web:file'
os.execv(sys.argv[2], sys.argv[2:])
";

fn activated(project: &Project) -> (Command, tempfile::TempDir) {
    let runtime = tempfile::tempdir().unwrap();
    let mut command = support::environment(Command::new("python3"), runtime.path());
    command.args(["-c", LAUNCHER]);
    command.arg(project.folder().join("theirs.sock")).arg(EMBLY);
    command.args(support::arguments("run", project.path()));
    (command, runtime)
}

fn systemd() -> Project {
    Project::new()
        .guest("shows")
        .gateway_with("web", "    bind: systemd:web\n    function: shows\n")
        .gateway_with("file", "    bind: systemd:file\n    function: shows\n")
}

#[test]
fn gateways_serve_on_the_sockets_that_systemd_has_opened() {
    let project = systemd();
    let (command, runtime) = activated(&project);
    let mut embly = Embly::spawn(command, runtime, 2);
    assert_eq!(get(embly.at("web"), "/").status, 200);
    let socket = project.folder().join("theirs.sock");
    assert!(curl(&socket, &[]).starts_with("GET /path "));
    // Children get neither of the two.
    for number in [3, 4] {
        let info = format!("/proc/{}/fdinfo/{number}", embly.pid());
        let info = fs::read_to_string(info).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
        assert_ne!(flags & 0o2_000_000, 0, "{info}");
    }
    // A reload uses them again.
    embly.signal(Signal::HUP);
    embly.event("message", |event| event["text"] == "reloaded");
    assert_eq!(get(embly.at("web"), "/").status, 200);
    embly.signal(Signal::TERM);
    embly.stops_with_nothing_left();
    // The file is systemd's.
    assert!(socket.exists());
}

#[test]
fn a_socket_that_systemd_has_not_opened_is_an_error() {
    let project = systemd();
    let said = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let path = project.path().to_str().unwrap();
    let (_, _, text) = support::output(&["run", path]);
    assert!(text.contains("no socket was passed on"), "{text}");
    // Those of another process are not ours.
    let (mut command, _runtime) = activated(&project);
    let text = said(command.env("OTHER", "1"));
    assert!(text.contains("no socket was passed on"), "{text}");
    project.edit("systemd:file", "systemd:other");
    fs::remove_file(project.folder().join("theirs.sock")).unwrap();
    let (mut command, _runtime) = activated(&project);
    let text = said(&mut command);
    assert!(
        text.contains("no socket is called `other`, there is `web`, `file`"),
        "{text}"
    );
}
