//! `embly top`: in a terminal, and where there is none.

use std::io::{Read, Write};
use std::thread;

use super::support::admin::objects;
use super::support::client::pause;
use super::support::project::answering;
use super::support::{self, Done, EMBLY, Embly, Project, eventually, get, skipped};
use super::{begin, running, waits};

/// A command in a terminal of its own, and what its screen has shown.
struct Terminal {
    child: std::process::Child,
    seen: String,
}

impl Terminal {
    /// `None` where there is nothing to make one with.
    fn new(embly: &Embly, command: &str) -> Option<Self> {
        use std::process::{Command, Stdio};
        if Command::new("script").arg("--version").output().is_err() {
            skipped("script (util-linux)");
            return None;
        }
        let mut terminal = support::environment(Command::new("script"), embly.runtime.path());
        let child = terminal
            .args(["-qec", command, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .current_dir("/")
            .spawn()
            .unwrap();
        let seen = String::new();
        Some(Self { child, seen })
    }

    fn press(&mut self, key: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(key).unwrap();
    }

    /// Waits until what was shown is as it is to be.
    #[track_caller]
    fn until(&mut self, what: &str, shows: impl Fn(&str) -> bool) -> &str {
        let out = self.child.stdout.as_mut().unwrap();
        let mut buffer = [0; 4096];
        while !shows(&self.seen) {
            let read = out.read(&mut buffer).unwrap();
            assert!(read > 0, "no {what} in {}", self.seen);
            let new = String::from_utf8_lossy(&buffer[..read]);
            self.seen.push_str(&new);
        }
        &self.seen
    }

    #[track_caller]
    fn until_has(&mut self, text: &str) -> &str {
        self.until(text, |seen| seen.contains(text))
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

#[test]
fn top_shows_what_runs_in_a_terminal_and_leaves_it_as_it_was() {
    let embly = Embly::run(&waits());
    let _stream = begin(&embly, "script", "sleep 600000");
    let address = running(&embly, "script")["address"].clone();
    let Some(mut terminal) = Terminal::new(&embly, &format!("{EMBLY} top; stty -a")) else {
        return;
    };
    terminal.until_has("[c cpu]");
    terminal.until_has(address.as_str().unwrap());
    terminal.press(b"m");
    terminal.until_has("[m memory]");
    terminal.press(b"q");
    let seen = terminal.until_has(" echo ");
    assert!(seen.contains("\x1b[?1049l"), "{seen}");
    assert!(
        seen.contains(" icanon") && !seen.contains("-icanon"),
        "{seen}"
    );
    terminal.end();
}

#[test]
fn top_shows_how_often_functions_are_called() {
    let says = Project::new().wat("says", &answering("x"));
    let project = says.wat("idle", &answering("y")).http("says");
    let embly = Embly::run(&project);
    let Some(mut terminal) = Terminal::new(&embly, &format!("{EMBLY} top")) else {
        return;
    };
    let done = Done::default();
    thread::scope(|scope| {
        let _end = done.at_end();
        scope.spawn(|| {
            while !done.is_set() {
                assert_eq!(get(embly.at("says"), "/").text(), "x");
                pause(10, "some dozens in a second");
            }
        });
        let seen = terminal.until("rate", |seen| {
            let mut rows = seen.lines().filter_map(|line| line.strip_prefix("says "));
            rows.any(|row| {
                let mut cells = row.split_whitespace();
                let rate: Option<f64> = cells.next().and_then(|cell| cell.parse().ok());
                rate.is_some_and(|rate| rate > 1.0 && rate < 1000.0) && cells.next() == Some("0")
            })
        });
        assert!(seen.contains("ENDED/S  REFUSED/S"), "{seen}");
        assert!(!seen.contains("idle"), "{seen}");
    });
    terminal.press(b"q");
    terminal.end();
}

#[test]
fn top_prints_once_where_there_is_no_terminal() {
    let embly = Embly::run(&waits());
    let _streams: Vec<_> = (0..2)
        .map(|n| {
            begin(
                &embly,
                "script",
                &format!("burn {}; sleep 600000", 1 + n * 2_000),
            )
        })
        .collect();
    eventually("one has used more time than the other", || {
        let mut used: Vec<_> = embly.invocations("script");
        used.retain(|one| one["cpu_us"].as_u64().is_some_and(|used| used > 100_000));
        used.len() == 1 && embly.invocations("script").len() == 2
    });
    let (code, out, _) = embly.told(&["top", "--format", "json"]);
    assert_eq!(code, 0);
    let shown = objects(&out);
    let used = |n: usize| shown[n]["cpu_us"].as_u64().unwrap();
    assert!(shown.len() == 2 && used(0) > used(1), "{out}");
    let idle = Embly::run(&waits());
    let (code, out, err) = idle.told(&["top"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("no invocation runs; `embly trace`"), "{err}");
    let (code, out, _) = embly.told(&["top", "--sort", "age"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("ADDRESS") && !out.contains('\x1b'), "{out}");
    assert_eq!(out.lines().count(), 3);
}
