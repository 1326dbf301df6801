//! Every step of the jail, as the kernel shows its effect on real fork servers and wrappers.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use embly_wrapper::jail::Step;

use super::attacker::LACKS;
use super::support::client::connect;
use super::support::process::{Process, time_until_gone};
use super::support::project::WAITS;
use super::support::{EMBLY, Embly, Project};
use super::who::{Who, may_look, me, not_here};

/// A process, as the kernel accounts for it.
struct Account {
    pid: i32,
    status: BTreeMap<String, String>,
    limits: String,
}

impl Account {
    fn of(pid: i32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let lines = status.lines().filter_map(|line| line.split_once(':'));
        Self {
            pid,
            status: lines
                .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
                .collect(),
            limits: fs::read_to_string(format!("/proc/{pid}/limits")).unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.pid).into()
    }

    fn is(&self, key: &str, value: &str) -> bool {
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        self.status
            .get(key)
            .is_some_and(|found| words(found) == words(value))
    }

    /// Soft and hard limit of this name.
    fn limit(&self, name: &str, most: &str) -> bool {
        let line = self.limits.lines().find_map(|line| line.strip_prefix(name));
        line.is_some_and(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(most) && words.next() == Some(most)
        })
    }

    fn namespace_differs(&self, name: &str) -> bool {
        let link = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        link(&self.pid.to_string()) != link("self")
    }

    fn descriptors(&self) -> Vec<String> {
        let mut found: Vec<_> = fs::read_dir(self.path("fd"))
            .unwrap()
            .map(|entry| fs::read_link(entry.unwrap().path()).unwrap())
            .map(|target| {
                let target = target.to_string_lossy().into_owned();
                match target.split_once(':') {
                    Some((kind, _)) => kind.to_owned(),
                    None => target.rsplit('.').next().unwrap().to_owned(),
                }
            })
            .collect();
        found.sort();
        found
    }
}

/// Whether a step shows. A new step does not compile without a line here.
fn shows(step: Step, process: &Account, wrapper: bool, who: &Who, master: &Account) -> bool {
    let uid = who.functions_run_as();
    let four = [uid; 4].map(|uid| uid.to_string()).join(" ");
    match step {
        // That it dies is the test of a killed master; here, that it is the master's child.
        Step::ParentDeath => process.is("PPid", &master.pid.to_string()),
        Step::Session => {
            let stat = fs::read_to_string(process.path("stat")).unwrap();
            let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
            // Process group and session: those of the fork server.
            fields[2] == fields[3] && fields[3] != master.pid.to_string()
        }
        Step::Signals => {
            let ignored = u64::from_str_radix(&process.status["SigIgn"], 16).unwrap();
            let bit = |signal: i32| 1u64 << (signal - 1);
            [1, 2, 3, 13, 15]
                .iter()
                .all(|signal| ignored & bit(*signal) != 0)
        }
        Step::Descriptors | Step::Standard => {
            process.descriptors() == ["/dev/null", "/dev/null", "/dev/null", "cwasm", "socket"]
        }
        Step::Environment => fs::read(process.path("environ")).unwrap().is_empty(),
        Step::OomScore => {
            fs::read_to_string(process.path("oom_score_adj"))
                .unwrap()
                .trim()
                == "1000"
        }
        Step::Limits => {
            let nothing = [
                "Max file size",
                "Max core file size",
                "Max locked memory",
                "Max msgqueue size",
                "Max nice priority",
                "Max realtime priority",
            ];
            let memory = (128u64 << 20) + embly_wrapper::jail::HOST_MEMORY;
            nothing.iter().all(|name| process.limit(name, "0"))
                && process.limit("Max open files", "264")
                && process.limit("Max data size", &memory.to_string())
        }
        Step::IpcNamespace => process.namespace_differs("ipc"),
        Step::UtsNamespace => process.namespace_differs("uts"),
        Step::NetNamespace => process.namespace_differs("net"),
        Step::User => {
            uid != 0 && process.is("Uid", &four) && process.is("Gid", &four)
                // Only root can give up groups.
                && (!process.is("Uid", "65533 65533 65533 65533") || process.is("Groups", ""))
        }
        Step::UserNamespace => {
            let map = format!("{uid} {uid} 1");
            let shown = |name: &str| {
                let text = fs::read_to_string(process.path(name)).unwrap();
                text.split_whitespace().collect::<Vec<_>>().join(" ")
            };
            process.namespace_differs("user") && shown("uid_map") == map && shown("gid_map") == map
        }
        Step::Capabilities => ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
            .iter()
            .all(|set| process.is(set, "0000000000000000")),
        Step::NoNewPrivileges => process.is("NoNewPrivs", "1"),
        // What cannot be dumped belongs to root in the eyes of /proc.
        Step::NotDumpable => fs::metadata(process.path("fd")).unwrap().uid() == 0,
        // The kernel does not show it: `without_the_filter_the_other_steps_hold` does.
        Step::Landlock => true,
        Step::Filter => process.is("Seccomp", "2"),
        Step::NoProcesses => !wrapper || process.limit("Max processes", "0"),
    }
}

/// The steps that do not show at a wrapper of this master, and at its fork server if it has one.
fn not_shown(embly: &Embly, who: &Who, function: &str, forked: bool) -> Vec<String> {
    let mut client = connect(embly.at(function));
    client
        .write_all(b"GET /stay HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let master = Account::of(embly.pid());
    let look = |process: &Process, wrapper: bool| {
        let account = Account::of(process.pid);
        let missing = Step::ALL
            .into_iter()
            .filter(|step| !shows(*step, &account, wrapper, who, &master));
        let what = if wrapper { "wrapper" } else { "fork server" };
        missing
            .map(|step| format!("{what}: {}", step.name()))
            .collect::<Vec<_>>()
    };
    let fork_server = embly.fork_server(function);
    // One that was not forked leads a group of its own.
    let wrapper = if forked {
        embly.wrapper(function)
    } else {
        fork_server.clone()
    };
    // It is there a moment before it has done all.
    let mut found = Vec::new();
    for _ in 0..50 {
        found = look(&wrapper, true);
        if found.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    if forked {
        found.extend(look(&fork_server, false));
    }
    found
}

fn waiting() -> Project {
    Project::unparked().wat("waits", WAITS).http("waits")
}

/// Steps that do not show at Embly itself, run by somebody.
fn not_shown_at(who: &Who, more: &[&str]) -> Vec<String> {
    let project = waiting();
    let embly = who.run(Path::new(EMBLY), &project, more);
    not_shown(&embly, who, "waits", !more.contains(&"exec"))
}

/// Every step shows that the system offers, and where it offers all, Embly agrees.
#[track_caller]
fn all_show_that_are_offered(who: &Who, more: &[&str]) {
    if !may_look() {
        return not_here("root who may look into jailed processes");
    }
    let not_offered = who.not_offered();
    let require: &[&str] = if not_offered.is_empty() {
        &["--require-jail"]
    } else {
        &[]
    };
    let found = not_shown_at(who, &[more, require].concat());
    let mut missing: Vec<&str> = found
        .iter()
        .map(|line| line.split_once(": ").unwrap().1)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    assert_eq!(missing, not_offered, "{found:#?}");
}

pub fn every_step_shows_in_the_kernels_own_account() {
    all_show_that_are_offered(&Who::me(), &[]);
}

pub fn every_step_shows_for_an_ordinary_user() {
    if let Some(who) = Who::ordinary() {
        all_show_that_are_offered(&who, &[]);
    }
}

pub fn every_step_shows_for_a_wrapper_that_was_not_forked() {
    all_show_that_are_offered(&Who::me(), &["--wrappers", "exec"]);
}

/// What was said to be missing is, and nothing else.
#[track_caller]
pub fn only_what_is_not_offered_is_missing(who: &Who, said: &[String]) {
    assert_eq!(said, who.not_offered());
    all_show_that_are_offered(who, &[]);
}

/// What the tests above say is worth something: each step that is left out is seen.
pub fn a_step_that_is_skipped_in_silence_is_noticed() {
    let Some(who) = Who::root().filter(|_| may_look()) else {
        return;
    };
    let skippable = [
        Step::Standard,
        Step::OomScore,
        Step::Limits,
        Step::IpcNamespace,
        Step::UtsNamespace,
        Step::NetNamespace,
        Step::User,
        Step::UserNamespace,
        Step::Capabilities,
        Step::NotDumpable,
        Step::Filter,
        Step::NoProcesses,
    ];
    let name = |step: Step| {
        let number = Step::ALL.iter().position(|one| *one == step).unwrap();
        format!("{LACKS}{number}")
    };
    let mut project = Project::unparked();
    for step in skippable {
        project = project.wat(&name(step), WAITS).http(&name(step));
    }
    let embly = who.run(&me(), &project, &[]);
    for step in skippable {
        let found = not_shown(&embly, &who, &name(step), true);
        let line = format!("wrapper: {}", step.name());
        assert!(found.contains(&line), "{line}: {found:?}");
    }
}

/// A wrapper that works does not look at its socket: only the kernel tells it.
#[track_caller]
fn none_outlives_the_master(who: &Who) {
    let works = "(module (func (export \"_start\") (loop (br 0))))";
    let project = Project::unparked().wat("works", works).http("works");
    let mut embly = who.run(Path::new(EMBLY), &project, &[]);
    let mut client = connect(embly.at("works"));
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let processes = [embly.fork_server("works"), embly.wrapper("works")];
    embly.signal(rustix::process::Signal::KILL);
    embly.wait();
    let time = time_until_gone(&processes);
    assert!(time < Duration::from_secs(1), "{time:?}");
}

pub fn none_outlives_a_killed_master_whoever_runs_it() {
    let ordinary = [Who::ordinary(), Who::ordinary().map(Who::contained)];
    let root = [Some(Who::me()), Some(Who::me().contained())];
    for who in ordinary.into_iter().chain(root).flatten() {
        none_outlives_the_master(&who);
    }
}

pub fn functions_run_as_the_user_that_was_asked_for() {
    let Some(who) = Who::root() else { return };
    let project = waiting();
    let embly = who.run(Path::new(EMBLY), &project, &["--jail-user", "54321:12345"]);
    let mut client = connect(embly.at("waits"));
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let wrapper = Account::of(embly.wrapper("waits").pid);
    assert!(wrapper.is("Uid", "54321 54321 54321 54321"));
    assert!(wrapper.is("Gid", "12345 12345 12345 12345"));
    assert!(wrapper.is("Groups", ""));
}
