//! Native code is trusted code: what is not as Embly has written it is never run.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use embly_wrapper::artefact;
use support::project::{answering, guest};
use support::{EMBLY, Project, command};

/// A project with a cache of its own.
struct Cached {
    project: Project,
    cache: tempfile::TempDir,
}

impl Cached {
    fn new() -> Self {
        Self {
            project: Project::unparked().wat("says", &answering("hello")),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    fn build_command(&self) -> Command {
        let path = self.project.path().to_str().unwrap();
        let mut command = command(&["build", path, "--format", "json"], self.cache.path());
        command.env("XDG_CACHE_HOME", self.cache.path());
        command
    }

    /// Builds; what it says of the function: `compiled` or `unchanged`.
    fn build(&self) -> String {
        let output = self.build_command().output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut events = serde_json::Deserializer::from_slice(&output.stdout)
            .into_iter::<serde_json::Value>()
            .map(Result::unwrap);
        let built = events.find(|event| event["event"] == "build").unwrap();
        built["state"].as_str().unwrap().to_owned()
    }

    fn folder(&self) -> PathBuf {
        self.cache.path().join("embly/artefacts")
    }

    /// The only artefact.
    fn artefact(&self) -> PathBuf {
        let mut found = names(&self.folder());
        assert_eq!(found.len(), 1, "{found:?}");
        self.folder().join(found.remove(0))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

type Damage<'a> = &'a dyn Fn(&Path);

/// Changes a file that is read-only.
fn change(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    set_mode(path, 0o400);
}

#[test]
fn an_artefact_that_is_not_as_it_was_written_is_compiled_again() {
    let cached = Cached::new();
    assert_eq!(cached.build(), "compiled");
    assert_eq!(cached.build(), "unchanged");
    let elsewhere = cached.cache.path().join("elsewhere");
    fs::copy(cached.artefact(), &elsewhere).unwrap();
    set_mode(&elsewhere, 0o400);

    // Whole, trusted, and that of another function.
    let other = Cached {
        project: Project::unparked().wat("says", &answering("another")),
        ..Cached::new()
    };
    other.build();
    let other = fs::read(other.artefact()).unwrap();

    let truncate = |path: &Path| change(path, |bytes| bytes.truncate(bytes.len() / 2));
    let cut_the_end = |path: &Path| change(path, |bytes| bytes.truncate(bytes.len() - 1));
    let add = |path: &Path| change(path, |bytes| bytes.push(0));
    let empty = |path: &Path| change(path, Vec::clear);
    let flip = |path: &Path| change(path, |bytes| bytes[1000] ^= 1);
    let replace = |path: &Path| change(path, |bytes| bytes.clone_from(&other));
    let let_others_write = |path: &Path| set_mode(path, 0o420);
    let link = |path: &Path| {
        fs::remove_file(path).unwrap();
        symlink(&elsewhere, path).unwrap();
    };
    let give_away = |path: &Path| {
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(path, Some(65534), None).unwrap();
        } else {
            truncate(path);
        }
    };
    let damages: [(&str, Damage<'_>); 9] = [
        ("cut in half", &truncate),
        ("cut by a byte", &cut_the_end),
        ("a byte more", &add),
        ("empty", &empty),
        ("a bit flipped", &flip),
        ("another's", &replace),
        ("writable by its group", &let_others_write),
        ("a link", &link),
        ("somebody else's", &give_away),
    ];
    let whole = fs::read(&elsewhere).unwrap();
    for (what, damage) in damages {
        let path = cached.artefact();
        damage(&path);
        assert_eq!(cached.build(), "compiled", "{what}");
        assert_eq!(fs::read(&path).unwrap(), whole, "{what}");
        assert!(fs::symlink_metadata(&path).unwrap().is_file(), "{what}");
        assert_eq!(cached.build(), "unchanged", "{what}");
    }
}

#[test]
fn artefacts_are_read_only_in_a_folder_for_this_user_alone() {
    let cached = Cached::new();
    cached.build();
    let me = rustix::process::geteuid().as_raw();
    assert_eq!(fs::metadata(cached.artefact()).unwrap().uid(), me);
    assert_eq!(
        (mode(&cached.folder()), mode(&cached.artefact())),
        (0o700, 0o400)
    );
    assert_eq!(mode(&cached.cache.path().join("embly")), 0o700);
    // Also one that was opened to others, and also when there is nothing to compile.
    set_mode(&cached.folder(), 0o777);
    assert_eq!(cached.build(), "unchanged");
    assert_eq!(mode(&cached.folder()), 0o700);
}

#[test]
fn a_compiler_that_is_killed_leaves_nothing_that_is_trusted() {
    let cache = tempfile::tempdir().unwrap();
    let wasm = guest();
    let mut compile = Command::new(EMBLY);
    compile
        .args(["wrapper", "compile"])
        .args([wasm, cache.path()])
        .arg("_start");
    compile.stdout(Stdio::null()).stderr(Stdio::null());
    let folder = artefact::folder(cache.path());
    let (mut killed, mut wait) = (0, Duration::ZERO);
    loop {
        let mut compiler = compile.spawn().unwrap();
        std::thread::sleep(wait);
        wait += Duration::from_millis(20);
        compiler.kill().unwrap();
        if compiler.wait().unwrap().success() {
            break;
        }
        killed += 1;
    }
    assert!(killed > 2, "{killed}");
    // One that has ended well does not either: its file gets its name from whoever has asked.
    assert!(!names(&folder).is_empty());
    assert!(names(&folder).iter().all(|name| name.ends_with(".tmp")));
}

#[test]
fn what_a_killed_compiler_left_is_removed_when_it_is_old() {
    let cached = Cached::new();
    cached.build();
    let (old, young) = (
        cached.folder().join("old.1-1.tmp"),
        cached.folder().join("young.1-2.tmp"),
    );
    fs::write(&young, "").unwrap();
    let file = fs::File::create(&old).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(2 * 60 * 60))
        .unwrap();
    cached
        .project
        .write("says.wat", &answering("something else"));
    assert_eq!(cached.build(), "compiled");
    assert!(young.exists() && !old.exists());
}

#[test]
fn two_builds_at_once_make_one_whole_artefact() {
    for _ in 0..5 {
        let cached = Cached::new();
        let builds: Vec<_> = (0..3)
            .map(|_| {
                cached
                    .build_command()
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut build in builds {
            assert!(build.wait().unwrap().success());
        }
        artefact::open(&cached.artefact()).unwrap();
        assert_eq!(cached.build(), "unchanged");
    }
}

#[test]
fn a_running_master_refuses_an_artefact_that_was_changed_and_a_reload_mends_it() {
    let project = Project::unparked()
        .wat("says", &answering("hello"))
        .http("says");
    let cache = tempfile::tempdir().unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let mut command = support::environment(Command::new("setsid"), runtime.path());
    command
        .arg(EMBLY)
        .args(support::arguments("run", project.path()))
        .env("XDG_CACHE_HOME", cache.path());
    let embly = support::Embly::spawn(command, runtime, 1);
    let folder = cache.path().join("embly/artefacts");
    let artefact = folder.join(names(&folder).remove(0));
    change(&artefact, |bytes| bytes[1000] ^= 1);
    let answer = support::get(embly.at("says"), "/");
    assert_eq!((answer.status, answer.reason()), (503, "starting"));
    let ending = embly.ending("says");
    assert!(
        ending["detail"].as_str().unwrap().contains("checksum"),
        "{ending}"
    );
    embly.signal(rustix::process::Signal::HUP);
    support::eventually("a new artefact", || {
        support::get(embly.at("says"), "/").status == 200
    });
}

/// What a compiler could make that was taken over: an artefact that hides its start section, so
/// that the fork server runs guest code.
#[test]
fn the_fork_server_is_in_the_jail_before_it_loads_an_artefact() {
    let loops = "(module (func $start (loop (br 0))) (start $start) (func (export \"_start\")))";
    let project = Project::unparked().wat("loops", loops).http("loops");
    let cache = tempfile::tempdir().unwrap();
    let cached = Cached { project, cache };
    cached.build();
    let path = cached.artefact();
    let whole = fs::read(&path).unwrap();
    let image = &whole[..whole.len() - 48];
    let draft = artefact::Draft::new(&path).unwrap();
    let name = cached.folder().join(&draft.name);
    draft.fill(image, false).unwrap();
    fs::rename(name, &path).unwrap();

    let runtime = tempfile::tempdir().unwrap();
    let mut command = support::command(
        &support::arguments("run", cached.project.path()),
        runtime.path(),
    );
    command.env("XDG_CACHE_HOME", cached.cache.path());
    let embly = support::Embly::spawn(command, runtime, 1);
    let at = embly.at("loops");
    std::thread::spawn(move || support::get(at, "/"));
    let server = embly.fork_server("loops");
    support::eventually("it runs guest code", || {
        support::process::cpu_time(server.pid) > Duration::from_millis(200)
    });
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid)).unwrap();
    let fields = [
        "NoNewPrivs:\t1\n",
        "CapEff:\t0000000000000000\n",
        "Seccomp:\t0\n",
    ];
    for field in fields {
        assert!(status.contains(field), "{field} in {status}");
    }
    if rustix::process::geteuid().is_root() {
        assert!(!status.contains("Uid:\t0\t"), "{status}");
    }
}
