//! From start to stop: signals, reloads, and starts that fail.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use support::client::{Response, connect, pause};
use support::process::{Process, children, descendants, time_until_gone};
use support::project::WAITS;
use support::{EMBLY, Embly, PATIENCE, Project, command, eventually, get, output};

fn meanwhile(at: SocketAddr, path: &'static str) -> JoinHandle<Response> {
    thread::spawn(move || get(at, path))
}

/// Waits until a guest has begun.
fn begun(embly: &Embly) {
    embly.event("log", |event| event["line"] == "begun");
}

fn assert_slept(answer: JoinHandle<Response>) {
    let answer = answer.join().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "slept"));
}

/// No process, no socket.
fn assert_clean(embly: &Embly, processes: &[Process]) {
    time_until_gone(processes);
    assert_no_sockets(embly.runtime.path());
}

fn assert_no_sockets(runtime: &std::path::Path) {
    let left: Vec<_> = fs::read_dir(runtime.join("embly"))
        .into_iter()
        .flatten()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// `embly run` in a terminal of its own, if one can be had; and its master.
fn in_a_terminal(project: &Project) -> Option<(Embly, Process)> {
    if Command::new("script")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        support::skipped("script (util-linux)");
        return None;
    }
    let runtime = tempfile::tempdir().unwrap();
    // `exec`, or a shell that waits for the master would die of the same keys.
    let line = ["exec", EMBLY]
        .iter()
        .copied()
        .chain(support::arguments("run", project.path()));
    let line: Vec<&str> = line.collect();
    let mut terminal = support::environment(Command::new("script"), runtime.path());
    terminal
        .args(["-q", "-e", "-c", &line.join(" "), "/dev/null"])
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped());
    let embly = Embly::spawn(terminal, runtime, project.gateways());
    // The shell that `script` starts may have become the master, or have it as a child.
    let master = descendants(embly.pid())
        .into_iter()
        .find(|process| process.name == "embly");
    Some((embly, master.unwrap()))
}

#[test]
fn ctrl_c_lets_requests_finish_and_leaves_nothing() {
    let project = Project::unparked().guest("sleeps").http("sleeps");
    let Some((mut embly, master)) = in_a_terminal(&project) else {
        return;
    };
    let answer = meanwhile(embly.at("sleeps"), "/700");
    begun(&embly);
    let processes = children(master.pid);
    assert_eq!(processes.len(), 2, "{processes:?}");
    embly.type_keys(b"\x03");
    assert_slept(answer);
    assert_eq!(embly.wait().code(), Some(0));
    assert_clean(&embly, &[processes, vec![master]].concat());
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let project = Project::unparked().guest("sleeps").http("sleeps");
    let Some((mut embly, master)) = in_a_terminal(&project) else {
        return;
    };
    let answer = meanwhile(embly.at("sleeps"), "/9000");
    begun(&embly);
    let processes = children(master.pid);
    embly.type_keys(b"\x03");
    eventually("that no more connections are taken", || {
        std::net::TcpStream::connect(embly.at("sleeps")).is_err()
    });
    let second = Instant::now();
    embly.type_keys(b"\x03");
    let answer = answer.join().unwrap();
    assert_eq!((answer.status, answer.reason()), (503, "shutdown"));
    assert_eq!(embly.wait().code(), Some(0));
    assert!(
        second.elapsed() < Duration::from_secs(3),
        "{:?}",
        second.elapsed()
    );
    assert_clean(&embly, &[processes, vec![master]].concat());
}

#[test]
fn term_lets_requests_finish_and_closes_idle_connections() {
    let mut embly = Embly::run(&Project::unparked().guest("sleeps").http("sleeps"));
    let mut idle = support::Session::new(embly.at("sleeps"));
    assert_eq!(idle.get("/0").unwrap().text(), "slept");
    let answer = meanwhile(embly.at("sleeps"), "/700");
    embly.nth_event("log", 1, |event| event["line"] == "begun");
    let processes = embly.processes();
    embly.signal(Signal::TERM);
    assert_slept(answer);
    assert_eq!(embly.wait().code(), Some(0));
    assert_clean(&embly, &processes);
}

#[test]
fn what_does_not_finish_within_10_s_is_ended() {
    let mut embly = Embly::run(&Project::unparked().guest("sleeps").http("sleeps"));
    let answer = meanwhile(embly.at("sleeps"), "/25000");
    begun(&embly);
    let processes = embly.processes();
    embly.signal(Signal::TERM);
    let since = Instant::now();
    let answer = answer.join().unwrap();
    assert_eq!((answer.status, answer.reason()), (503, "shutdown"));
    assert_eq!(embly.wait().code(), Some(0));
    let time = since.elapsed().as_secs_f64();
    assert!((10.0..14.0).contains(&time), "{time}");
    assert_clean(&embly, &processes);
}

/// A function that answers with this text.
fn says(text: &str) -> String {
    support::project::answering(text)
}

#[test]
fn a_hang_up_reloads_the_project_and_requests_under_way_finish_on_the_old_code() {
    // The gateway keeps its name, its function is another one.
    let project = Project::unparked()
        .guest("sleeps")
        .wat("new", &says("new"))
        .gateway("index", "http", "sleeps");
    let embly = Embly::start_detached("run", &project);
    let answer = meanwhile(embly.at("index"), "/1000");
    begun(&embly);
    let old = embly.fork_server("sleeps");
    project.edit("function: sleeps", "function: new");
    embly.signal(Signal::HUP);
    eventually("the new function", || {
        get(embly.at("index"), "/0").text() == "new"
    });
    assert!(!answer.is_finished());
    assert_slept(answer);
    assert!(!old.is_gone(), "it is still a function of the project");
    // Now without the old one.
    project.edit("- name: sleeps", "- name: unused");
    embly.signal(Signal::HUP);
    time_until_gone(&[old]);
    assert_eq!(get(embly.at("index"), "/0").text(), "new");
}

#[test]
fn a_hang_up_with_a_broken_project_changes_nothing() {
    let project = Project::unparked()
        .guest("sleeps")
        .gateway("index", "http", "sleeps");
    let embly = Embly::start_detached("run", &project);
    get(embly.at("index"), "/0");
    let server = embly.fork_server("sleeps");
    for (old, new) in [
        ("function: sleeps", "function: slept"),
        ("language: wasm", "language: cobol"),
    ] {
        let heard = || {
            let said = embly.stderr();
            said.matches("the project is served as it was").count()
        };
        let before = heard();
        project.edit(old, new);
        embly.signal(Signal::HUP);
        eventually("the complaint", || heard() > before);
        assert_eq!(get(embly.at("index"), "/0").text(), "slept");
    }
    assert_eq!(embly.fork_server("sleeps"), server);
}

#[test]
fn in_a_terminal_a_hang_up_stops() {
    let project = Project::unparked().guest("sleeps").http("sleeps");
    let Some((mut embly, master)) = in_a_terminal(&project) else {
        return;
    };
    master.signal(Signal::HUP);
    assert_eq!(embly.wait().code(), Some(0));
    assert_clean(&embly, &[master]);
}

/// Runs to its end a start that must fail, and returns the one line that says why.
fn failing(mut command: Command, runtime: &std::path::Path) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let errors: Vec<&str> = stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{stderr}");
    if fs::metadata(runtime.join("embly"))
        .is_ok_and(|meta| meta.permissions().mode() & 0o777 == 0o700)
    {
        assert_no_sockets(runtime);
    }
    errors[0].to_owned()
}

#[test]
fn a_port_that_is_taken_is_named_and_nothing_stays() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let project = Project::unparked().guest("hello").http("hello");
    let path = project.path().to_owned();
    project.edit("port: 0", &format!("port: {port}\n    bind: 127.0.0.1"));
    let runtime = tempfile::tempdir().unwrap();
    let why = failing(
        command(&["run", path.to_str().unwrap()], runtime.path()),
        runtime.path(),
    );
    assert!(
        why.contains(&format!("port {port} is taken")) && why.contains("`hello`"),
        "{why}"
    );
    assert!(
        why.contains(&format!("`ss -ltnp 'sport = :{port}'` shows by whom")),
        "{why}"
    );
}

#[test]
fn all_ports_that_are_taken_are_named_before_anything_is_built() {
    let taken = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = taken
        .each_ref()
        .map(|taken| taken.local_addr().unwrap().port());
    let project = Project::unparked().wat("hello", "(module");
    let gateways = ports
        .map(|port| format!("  - {{name: at-{port}, type: tcp, port: {port}, function: hello}}\n"));
    let project = project.top(&format!("gateways:\n{}", gateways.concat()));
    for what in ["run", "dev"] {
        let (code, _, err) = output(&[what, project.path().to_str().unwrap()]);
        assert_eq!(code, 1, "{err}");
        for port in ports {
            let said = format!("error: gateway `at-{port}`: port {port} is taken on 127.0.0.1");
            assert!(err.contains(&said), "{what}: {err}");
        }
        // Its one function cannot be.
        assert!(!err.contains("was not built"), "{what}: {err}");
    }
}

#[test]
fn a_port_that_another_master_has_names_its_project_and_what_stops_it() {
    let project = Project::unparked().wat("hello", WAITS).http("hello");
    let embly = Embly::run(&project);
    let port = embly.at("hello").port();
    let second = Project::unparked().wat("hello", WAITS).http("hello");
    let path = second.path().to_owned();
    second.edit("port: 0", &format!("port: {port}\n    bind: 127.0.0.1"));
    let runtime = embly.runtime.path();
    let output = command(&["run", path.to_str().unwrap()], runtime).output();
    let stderr = String::from_utf8(output.unwrap().stderr).unwrap();
    let (_, master) = embly.asks("GET", "/v1/master");
    let expected = format!(
        "error: gateway `hello`: port {port} is taken on 127.0.0.1, by the master of `{}`: \
         `embly stop --master {}` stops it",
        master["project"].as_str().unwrap(),
        master["id"].as_str().unwrap()
    );
    assert!(stderr.contains(&expected), "{stderr}");
}

#[test]
fn a_socket_folder_that_cannot_be_had_is_named() {
    let project = Project::unparked().guest("hello").http("hello");
    let path = project.path().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("embly");

    // Somebody else has made it first, and can change what is in it.
    fs::create_dir(&base).unwrap();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o777)).unwrap();
    let why = failing(command(&["run", path], folder.path()), folder.path());
    assert!(
        why.contains(base.to_str().unwrap()) && why.contains("is not private"),
        "{why}"
    );
    assert_no_sockets(folder.path());

    fs::remove_dir(&base).unwrap();
    fs::write(&base, "").unwrap();
    let why = failing(command(&["run", path], folder.path()), folder.path());
    assert!(
        why.contains(base.to_str().unwrap()) && why.contains("XDG_RUNTIME_DIR"),
        "{why}"
    );

    let nowhere = std::path::Path::new("/dev/null/run");
    let why = failing(command(&["run", path], nowhere), nowhere);
    assert!(
        why.contains("/dev/null/run/embly") && why.contains("XDG_RUNTIME_DIR"),
        "{why}"
    );
}

#[test]
fn a_cache_folder_that_cannot_be_had_is_named() {
    let project = Project::unparked().guest("hello").http("hello");
    let runtime = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    fs::write(cache.path().join("embly"), "").unwrap();
    for (cache, named) in [
        ("/dev/null", "/dev/null/embly"),
        (cache.path().to_str().unwrap(), "embly"),
    ] {
        let mut command = command(&["run", project.path().to_str().unwrap()], runtime.path());
        command.env("XDG_CACHE_HOME", cache);
        let why = failing(command, runtime.path());
        assert!(
            why.contains(named) && why.contains("XDG_CACHE_HOME"),
            "{why}"
        );
    }
}

#[test]
fn what_a_killed_master_left_is_swept_by_the_next() {
    let project = Project::unparked().guest("hello").http("hello");
    let mut first = Embly::run(&project);
    let folders = |embly: &Embly| {
        fs::read_dir(embly.runtime.path().join("embly"))
            .unwrap()
            .count()
    };
    first.signal(Signal::KILL);
    first.wait();
    assert_eq!(folders(&first), 1);
    let mut again = command(
        &support::arguments("run", project.path()),
        first.runtime.path(),
    );
    let mut again = again
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let pid = i32::try_from(again.id()).unwrap();
    let name = |embly: &Embly| -> Vec<_> {
        fs::read_dir(embly.runtime.path().join("embly"))
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .collect()
    };
    let old = name(&first);
    while name(&first) == old || folders(&first) != 1 {
        assert!(Instant::now() < deadline, "{:?}", name(&first));
        pause(10, "the second master starts");
    }
    support::kill(pid, Signal::TERM);
    again.wait().unwrap();
    assert_no_sockets(first.runtime.path());
}

#[test]
fn a_client_that_never_sends_its_head_does_not_hold_up_the_end() {
    use std::io::Write;
    let mut embly = Embly::run(&Project::unparked().guest("hello").http("hello"));
    let mut client = connect(embly.at("hello"));
    client.write_all(b"GET / HTTP/1.1\r\nhost:").unwrap();
    pause(50, "the master has read it");
    embly.signal(Signal::TERM);
    let since = Instant::now();
    assert_eq!(embly.wait().code(), Some(0));
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "{:?}",
        since.elapsed()
    );
}

#[test]
fn term_during_a_build_stops_it_and_leaves_no_process() {
    // A build that takes as long as one likes.
    let project = Project::unparked()
        .rust("slow", "fn main() {}\n")
        .http("slow");
    let script = "fn main() {\n    std::thread::sleep(std::time::Duration::from_secs(60));\n}\n";
    project.write("slow/build.rs", script);
    for what in ["dev", "run", "build"] {
        let runtime = tempfile::tempdir().unwrap();
        let path = project.path().to_str().unwrap();
        let mut embly = Embly::spawn(command(&[what, path], runtime.path()), runtime, 0);
        let mut below = Vec::new();
        eventually("the build script", || {
            below = descendants(embly.pid());
            below
                .iter()
                .any(|process| process.name.starts_with("build-script"))
        });
        embly.signal(Signal::TERM);
        // A build that was asked for and stopped has failed; a master has only stopped.
        let code = i32::from(what == "build");
        assert_eq!(embly.wait().code(), Some(code), "{what}");
        assert_clean(&embly, &below);
    }
}

#[test]
fn a_signal_to_stop_is_heard_while_a_migration_takes_long() {
    let project = Project::unparked()
        .wat("old", &says("old"))
        .gateway("index", "http", "old");
    project.write(
        "migrations/001-endless.sql",
        "CREATE TABLE t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
         SELECT count(*) AS c FROM n;",
    );
    let mut embly = Embly::start_detached("run", &project);
    let store = "stores:\n  - {name: main, type: sql, migrations: ./migrations}\ngateways:";
    project.edit("gateways:", store);
    embly.signal(Signal::HUP);
    let database = project.folder().join("data/main.db");
    eventually("the migration", || database.exists());
    // What was served before is served meanwhile.
    assert_eq!(get(embly.at("index"), "/").text(), "old");
    embly.signal(Signal::TERM);
    assert_eq!(embly.wait().code(), Some(0));
    assert_eq!(embly.event("stopped", |_| true)["reason"], "signal");
}
