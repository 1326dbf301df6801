//! The Embly that is measured: started, listened to, looked at from outside, stopped.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it answers with in all parts: 200 and five bytes.
pub const HELLO: &str = include_str!("../hello.wat");

/// A master that runs.
pub struct Embly {
    process: Child,
    heard: Arc<Mutex<Heard>>,
}

/// This executable, which plays Embly's roles.
fn own() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// What it has said so far.
#[derive(Default)]
struct Heard {
    gateways: HashMap<String, SocketAddr>,
    /// How many invocations ended with each reason.
    endings: BTreeMap<String, usize>,
    /// Warnings and errors.
    warnings: Vec<String>,
    stopped: Option<Value>,
    over: bool,
}

/// What there is of it from outside.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Outside {
    pub processes: usize,
    pub descriptors: usize,
}

impl Embly {
    /// Serves the project in `folder`, whose file is `project`.
    pub fn start(folder: &Path, project: &str) -> Self {
        Self::spawn(Command::new(own()), folder, project)
    }

    /// The same with a limit, by an option of `prlimit`.
    pub fn limited(folder: &Path, project: &str, limit: &str) -> Self {
        let mut command = Command::new("prlimit");
        command.arg(limit).arg(own());
        Self::spawn(command, folder, project)
    }

    fn spawn(mut command: Command, folder: &Path, project: &str) -> Self {
        fs::write(folder.join("embly-project.yml"), project).unwrap();
        let mut process = command
            .arg("run")
            .arg(folder)
            .args(["--format", "json"])
            .env("XDG_CACHE_HOME", folder)
            .env("XDG_RUNTIME_DIR", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let theirs = Arc::clone(&heard);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                theirs.lock().unwrap().hear(&line);
            }
            theirs.lock().unwrap().over = true;
        });
        Self { process, heard }
    }

    /// Where a gateway listens; waits for it.
    pub fn at(&self, gateway: &str) -> SocketAddr {
        self.wait_for(&format!("gateway `{gateway}`"), |heard| {
            heard.gateways.get(gateway).copied()
        })
    }

    /// Waits until something was heard.
    fn wait_for<T>(&self, what: &str, is: impl Fn(&Heard) -> Option<T>) -> T {
        let since = Instant::now();
        loop {
            let heard = self.heard.lock().unwrap();
            if let Some(found) = is(&heard) {
                return found;
            }
            assert!(
                !heard.over && since.elapsed() < PATIENCE,
                "waited in vain for {what}; {:?}, {:?}",
                heard.endings,
                heard.warnings
            );
            drop(heard);
            sleep(Duration::from_micros(100));
        }
    }

    /// How many invocations have ended.
    pub fn ended(&self) -> usize {
        self.heard.lock().unwrap().endings.values().sum()
    }

    /// Waits until so many have.
    pub fn wait_until_ended(&self, count: usize) {
        let all = |heard: &Heard| heard.endings.values().sum::<usize>() >= count;
        self.wait_for("the end of invocations", |heard| all(heard).then_some(()));
    }

    /// Each reason with which invocations have ended so far, and how often.
    pub fn endings(&self) -> String {
        let endings = self.heard.lock().unwrap().endings.clone();
        let each = endings
            .iter()
            .map(|(reason, count)| format!("{count} `{reason}`"));
        each.collect::<Vec<_>>().join(", ")
    }

    /// The warnings so far.
    pub fn warnings(&self) -> Vec<String> {
        self.heard.lock().unwrap().warnings.clone()
    }

    /// Its processes, itself included, and its own descriptors.
    pub fn outside(&self) -> Outside {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.process.id()));
        Outside {
            processes: 1 + self.children(),
            descriptors: descriptors.unwrap().count(),
        }
    }

    /// All processes whose parent it is, those that nobody has reaped included.
    fn children(&self) -> usize {
        let parent = self.process.id().to_string();
        let is_child = |entry: fs::DirEntry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name, in brackets, may hold anything; then come state and parent.
            let rest = stat.rsplit_once(") ")?.1;
            (rest.split(' ').nth(1)? == parent).then_some(())
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(is_child).count()
    }

    /// Waits until it is again what it was.
    pub fn wait_until(&self, before: Outside) {
        self.wait_to_be(before, |now| now == before);
    }

    /// Waits until there is no more of it than there was.
    pub fn wait_until_at_most(&self, before: Outside) {
        self.wait_to_be(before, |now| {
            now.processes <= before.processes && now.descriptors <= before.descriptors
        });
    }

    fn wait_to_be(&self, before: Outside, is: impl Fn(Outside) -> bool) {
        let since = Instant::now();
        loop {
            let now = self.outside();
            if is(now) {
                return;
            }
            assert!(
                since.elapsed() < PATIENCE,
                "left over: {now:?}, was {before:?}"
            );
            sleep(Duration::from_millis(100));
        }
    }

    /// A line of a file of its process in `/proc`, in bytes.
    pub fn memory(&self, file: &str, line: &str) -> u64 {
        crate::machine::kibibytes(&format!("/proc/{}/{file}", self.process.id()), line)
    }

    /// CPU time of the master so far.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u32 = fields[11..13]
            .iter()
            .map(|field| field.parse::<u32>().unwrap())
            .sum();
        // The kernel counts hundredths of a second.
        Duration::from_millis(10) * ticks
    }

    /// Stops it, and sees that its tables are empty and no process is left.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let left = self.wait_for("its end", |heard| heard.stopped.clone());
        let tables = [
            "addresses",
            "links",
            "unread",
            "bytes",
            "receivers",
            "fork_servers",
            "wrappers",
        ];
        for table in tables {
            assert_eq!(left[table], 0, "{table} in {left}");
        }
        assert!(self.process.wait().unwrap().success());
        assert_eq!(self.children(), 0);
    }
}

impl Drop for Embly {
    fn drop(&mut self) {
        // Fails where it was stopped; what it has started ends with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Heard {
    fn hear(&mut self, line: &str) {
        let event: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str() {
            Some("listening") => {
                let at = text("url").split_once("://").unwrap().1.parse().unwrap();
                self.gateways.insert(text("gateway"), at);
            }
            Some("invocation_ended") => *self.endings.entry(text("reason")).or_default() += 1,
            Some("message") if ["warn", "error"].contains(&&*text("level")) => {
                self.warnings.push(text("text"));
            }
            Some("stopped") => self.stopped = Some(event),
            _ => {}
        }
    }
}
