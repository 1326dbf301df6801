//! `embly dev` in a terminal: a last line that stays, keys, and the terminal as it was in the end.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use rustix::process::Signal;
use support::client::{connect, script};
use support::process::descendants;
use support::project::answering;
use support::{EMBLY, Project, eventually, get, skipped};

/// Clears the line that the cursor stands in.
const CLEAR: &str = "\r\x1b[2K";

/// `embly dev` in a terminal of its own.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    seen: Arc<Mutex<String>>,
    // Its folder of sockets.
    _runtime: tempfile::TempDir,
}

impl Terminal {
    /// Prints the modes of the terminal when it has ended; none where there is no `script`.
    fn open(project: &Project, columns: u16, browser: &str) -> Option<Self> {
        if Command::new("script").arg("--version").output().is_err() {
            skipped("script (util-linux)");
            return None;
        }
        let runtime = tempfile::tempdir().unwrap();
        let path = project.path().display();
        // The shell survives the keys that end the master.
        let line = format!(
            "trap : INT QUIT; stty cols {columns}; {EMBLY} dev {path} --bind 127.0.0.1:0; \
             echo exit $?; stty -a; echo end"
        );
        let mut terminal = support::environment(Command::new("script"), runtime.path());
        let mut child = terminal
            .args(["-qec", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env("BROWSER", browser)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let seen: Arc<Mutex<String>> = Arc::default();
        let theirs = Arc::clone(&seen);
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = out.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..read]);
                // A character may have come in two pieces.
                *theirs.lock().unwrap() = String::from_utf8_lossy(&bytes).into_owned();
            }
        });
        Some(Self {
            keys: child.stdin.take().unwrap(),
            child,
            seen,
            _runtime: runtime,
        })
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until this has come so often.
    #[track_caller]
    fn sees_again(&self, text: &str, times: usize) {
        let end = std::time::Instant::now() + support::PATIENCE;
        while self.seen().matches(text).count() < times {
            let seen = self.seen();
            assert!(std::time::Instant::now() < end, "no `{text}` in\n{seen}");
            thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn sees(&self, text: &str) {
        self.sees_again(text, 1);
    }

    /// Waits until the last line begins so.
    #[track_caller]
    fn stands(&self, text: &str) {
        let end = std::time::Instant::now() + support::PATIENCE;
        loop {
            let seen = self.seen();
            let last = seen.rsplit(['\r', '\n']).next().unwrap_or_default();
            if last.trim_start_matches("\x1b[2K").starts_with(text) {
                return;
            }
            assert!(std::time::Instant::now() < end, "no `{text}` in\n{seen}");
            thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Where the gateway of this function listens.
    fn at(&self, function: &str) -> SocketAddr {
        let arrow = format!(" → {function}");
        self.sees(&arrow);
        let seen = self.seen();
        let line = seen.lines().find(|line| line.contains(&arrow)).unwrap();
        let (_, url) = line.split_once("http://").unwrap();
        url.split(' ').next().unwrap().parse().unwrap()
    }

    /// The master has ended as it should, and the terminal is as it was.
    #[track_caller]
    fn ends(mut self, code: i32) -> String {
        self.sees("\nend");
        assert!(self.child.wait().unwrap().success());
        let seen = self.seen();
        let exit = format!("exit {code}\r");
        assert!(seen.contains(&exit), "{seen}");
        let (_, modes) = seen.rsplit_once(&exit).unwrap();
        for mode in ["icanon", "echo", "isig"] {
            assert!(modes.split_whitespace().any(|it| it == mode), "{modes}");
        }
        seen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The terminal goes with it, and the master with the terminal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn keys_choose_open_show_and_build_and_the_last_line_says_what_is_chosen() {
    let project = Project::new()
        .wat("says", &answering("something"))
        .guest("script")
        .http("says")
        .http("script");
    let opened = project.folder().join("opened");
    let browser = project.folder().join("browser");
    let text = format!("#!/bin/sh\necho \"$1\" >>{}\n", opened.display());
    fs::write(&browser, text).unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let Some(mut terminal) = Terminal::open(&project, 100, browser.to_str().unwrap()) else {
        return;
    };
    let (says, at) = (terminal.at("says"), terminal.at("script"));
    terminal.stands(&format!("? help · 2 functions · http://{says}"));

    terminal.types("?");
    terminal.sees("build all functions again");

    // Lines of one function.
    assert_eq!(get(says, "/first").status, 200);
    terminal.sees("GET  /first ");
    terminal.types("ff");
    terminal.stands(&format!("? help · only script · http://{at}"));
    assert_eq!(get(says, "/hidden").status, 200);
    let mut stream = connect(at);
    stream
        .write_all(script("say chosen; sleep 600000").as_bytes())
        .unwrap();
    terminal.sees("script | chosen");
    assert!(!terminal.seen().contains("/hidden"));

    // What runs.
    terminal.types("p");
    terminal.sees("ADDRESS");
    terminal.sees("running");
    drop(stream);

    terminal.types("o");
    let url = format!("http://{at}\n");
    eventually("a browser", || {
        fs::read_to_string(&opened).is_ok_and(|opened| opened == url)
    });

    terminal.types("f");
    terminal.stands("? help · 2 functions");
    let before = terminal.seen().matches("unchanged says").count();
    terminal.types("r");
    terminal.sees_again("unchanged says", before + 1);

    project.write("says.wat", "(module\n  (funk))\n");
    terminal.stands("? help · not built: says · 2 functions");
    project.write("says.wat", &answering("something else"));
    terminal.stands("? help · 2 functions");
    assert_eq!(get(says, "/").text(), "something else");

    terminal.types("q");
    let seen = terminal.ends(0);
    // Without colours there is nothing else for the terminal to do.
    let rest = seen.replace(CLEAR, "");
    assert!(!rest.contains('\x1b'), "{rest:?}");
}

#[test]
fn the_terminal_is_as_it_was_however_the_master_is_stopped_and_may_be_narrow() {
    let project = Project::new()
        .wat("says", &answering("something"))
        .http("says");
    for (how, code) in [("\x03", 0), ("TERM", 0), ("\x1c", 128 + 3)] {
        let Some(mut terminal) = Terminal::open(&project, 12, "true") else {
            return;
        };
        terminal.at("says");
        // One column is left free.
        terminal.stands("? help · 1…");
        match how {
            "\x03" | "\x1c" => terminal.types(how),
            _ => {
                let shell = i32::try_from(terminal.child.id()).unwrap();
                let all = descendants(shell).into_iter();
                let master = all.into_iter().find(|process| process.name == "embly");
                support::kill(master.unwrap().pid, Signal::TERM);
            }
        }
        let seen = terminal.ends(code);
        assert!(!seen.contains("functions"), "{seen}");
    }
}

#[test]
fn without_a_terminal_there_are_lines_and_nothing_else() {
    let project = Project::new()
        .wat("says", &answering("something"))
        .http("says");
    let runtime = tempfile::tempdir().unwrap();
    let path = project.path().to_str().unwrap();
    let mut child = support::command(&["dev", path, "--bind", "127.0.0.1:0"], runtime.path())
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = child.stderr.take().unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    while !seen.contains("→ says") {
        let read = err.read(&mut buffer).unwrap();
        assert!(read > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    support::kill(i32::try_from(child.id()).unwrap(), Signal::TERM);
    err.read_to_string(&mut seen).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!seen.contains('\x1b') && !seen.contains("? help"), "{seen}");
    assert!(!seen.contains("\n\n"), "{seen}");
}
