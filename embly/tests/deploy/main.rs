//! Deployments: all or nothing, without a failed request, kept, rolled back, and by way of `ssh`.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod health;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::admin::{objects, outcome};
use support::bundle::{PROJECT, Raw};
use support::project::answering;
use support::{Done, EMBLY, Embly, Project, Session, command, eventually, get, output};

/// A project that answers this, at a gateway that has to be healthy.
fn serving(answer: &str) -> Project {
    Project::new()
        .wat("hello", &answering(answer))
        .gateway_with(
            "web",
            "    port: 0\n    function: hello\n    health: /healthz?why",
        )
}

/// A folder for bundles and for the state of a master.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn state(&self) -> String {
        self.path("state").to_str().unwrap().to_owned()
    }

    /// A bundle of this project.
    fn bundle(&self, name: &str, project: &Project, more: &[&str]) -> String {
        let file = self.path(&format!("{name}.embly"));
        let file = file.to_str().unwrap();
        let path = project.path().to_str().unwrap();
        let arguments = [&["bundle", path, "-o", file][..], more].concat();
        let (code, _, err) = output(&arguments);
        assert_eq!(code, 0, "{err}");
        file.to_owned()
    }

    /// What is in the folder of versions.
    fn versions(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("state/versions"))
            .into_iter()
            .flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

fn answer(embly: &Embly) -> String {
    get(embly.at("web"), "/").text()
}

fn deploy(embly: &Embly, file: &str) {
    let (code, _, err) = embly.told(&["deploy", file]);
    assert_eq!(code, 0, "{err}");
}

/// A project that answers this, and in its environments also their names.
fn in_environments(answer: &str, environments: &[&str]) -> Project {
    let mut keys = String::from("environments:\n");
    for name in environments {
        keys += &format!("  {name}: {{functions: [{{name: hello, path: ./_{name}.wat}}]}}\n");
    }
    let project = serving(answer).top(keys.trim_end());
    for name in environments {
        let text = answering(&format!("{answer} {name}"));
        project.write(&format!("_{name}.wat"), &text);
    }
    project
}

#[test]
fn the_environment_of_a_master_outlives_deployments_rollbacks_and_restarts() {
    let place = Place::new();
    let state = place.state();
    let both = |answer| in_environments(answer, &["live", "trial"]);
    let project = both("folder");
    let start = |more: &[&str]| {
        let arguments = [&["--state", &state][..], more].concat();
        Embly::start("run", &project, &arguments)
    };
    let environment = |embly: &Embly| embly.asks("GET", "/v1/master").1["environment"].clone();
    let mut embly = start(&["--environment", "live"]);
    assert_eq!(answer(&embly), "folder live");
    for name in ["one", "two"] {
        deploy(&embly, &place.bundle(name, &both(name), &[]));
        assert_eq!(answer(&embly), format!("{name} live"));
    }
    // One that does not know it changes nothing.
    let other = place.bundle("other", &in_environments("other", &["trial"]), &[]);
    let (code, _, err) = embly.told(&["deploy", &other]);
    assert!(
        code == 2 && err.contains("there is no environment `live`") && err.contains("`trial`"),
        "{code} {err}"
    );
    assert_eq!(answer(&embly), "two live");
    embly.signal(Signal::KILL);
    embly.wait();

    // Who starts it again does not have to know.
    let mut embly = start(&[]);
    assert_eq!(
        (answer(&embly).as_str(), environment(&embly)),
        ("two live", json!("live"))
    );
    let (code, _, err) = embly.told(&["rollback"]);
    assert_eq!((code, answer(&embly).as_str()), (0, "one live"), "{err}");
    embly.stops_with_nothing_left();
    let mut embly = start(&["--environment", "trial"]);
    assert_eq!(answer(&embly), "one trial");
    embly.stops_with_nothing_left();
    let embly = start(&[]);
    assert_eq!(
        (answer(&embly).as_str(), environment(&embly)),
        ("one trial", json!("trial"))
    );
    let (code, _, err) = embly.told(&["rollback", "2"]);
    assert_eq!((code, answer(&embly).as_str()), (0, "two trial"), "{err}");
}

#[test]
fn a_version_is_served_and_listed_outlives_the_master_and_is_rolled_back() {
    let place = Place::new();
    let state = place.state();
    let project = serving("folder");
    let start = || Embly::start("run", &project, &["--state", &state]);
    let mut embly = start();
    assert_eq!(answer(&embly), "folder");
    let (code, _, err) = embly.told(&["versions"]);
    assert!(
        code == 0 && err.contains("nothing was deployed yet"),
        "{err}"
    );
    let (code, _, err) = embly.told(&["rollback"]);
    assert!(
        code == 1 && err.contains("nothing was deployed yet"),
        "{err}"
    );
    for name in ["one", "two"] {
        deploy(&embly, &place.bundle(name, &serving(name), &[]));
        assert_eq!(answer(&embly), name);
    }
    let (code, out, _) = embly.told(&["versions", "--format", "json"]);
    assert_eq!(code, 0);
    let shown = objects(&out);
    let numbers: Vec<_> = shown
        .iter()
        .map(|it| (&it["version"], &it["current"]))
        .collect();
    let expected = [(&json!(2), &json!(true)), (&json!(1), &json!(false))];
    assert_eq!(numbers, expected);
    for one in &shown {
        assert_eq!(one["checksum"].as_str().unwrap().len(), 64);
        assert!(one["deployed"].as_str().unwrap().ends_with('Z'), "{one}");
    }
    let (_, out, _) = embly.told(&["versions"]);
    assert!(
        out.lines().nth(1).unwrap().starts_with("2        *"),
        "{out}"
    );

    // Its project goes on being read from there, whatever becomes of the folder.
    project.write("hello.wat", "(");
    let (code, _, err) = embly.told(&["reload"]);
    assert_eq!((code, answer(&embly).as_str()), (0, "two"), "{err}");
    embly.signal(Signal::KILL);
    embly.wait();
    // No master has to run for a look at them.
    let read = output(&["versions", "--state", &state]);
    assert_eq!((read.0, read.1), (0, out));
    let mut embly = start();
    assert_eq!(answer(&embly), "two");
    let (code, _, err) = embly.told(&["rollback"]);
    assert!(
        code == 0 && err.contains("version 1 is served, before it was version 2"),
        "{err}"
    );
    assert_eq!(answer(&embly), "one");
    let (code, _, err) = embly.told(&["rollback"]);
    assert!(code == 1 && err.contains("no version before 1"), "{err}");
    let (code, _, err) = embly.told(&["rollback", "7"]);
    assert!(code == 1 && err.contains("embly versions"), "{err}");
    embly.stops_with_nothing_left();
    let embly = start();
    assert_eq!(answer(&embly), "one");
    let (code, out, _) = embly.told(&["rollback", "2", "--format", "json"]);
    assert_eq!((code, answer(&embly).as_str()), (0, "two"));
    let deployed = &objects(&out)[0];
    assert_eq!(
        (&deployed["event"], &deployed["version"]),
        (&json!("deployed"), &json!(2))
    );

    // Two masters never share what was deployed.
    let path = project.path().to_str().unwrap();
    let (code, _, err) = output(&["run", path, "--state", &state, "--bind", "127.0.0.1:0"]);
    assert!(
        code == 1 && err.contains("in use by another master"),
        "{err}"
    );
}

/// What the versions are: number, whether it is the current one.
fn listed(embly: &Embly) -> Vec<(u64, bool)> {
    let (status, answer) = embly.asks("GET", "/v1/versions");
    assert_eq!(status, 200, "{answer}");
    let versions = answer["versions"].as_array().unwrap().iter();
    let of = |one: &Value| (one["version"].as_u64().unwrap(), one["current"] == true);
    versions.map(of).collect()
}

#[test]
fn a_bundle_that_is_run_is_the_first_version_and_rolled_back_to_also_after_a_restart() {
    let place = Place::new();
    let state = place.state();
    let first = place.bundle("first", &serving("first"), &[]);
    let start = || {
        let runtime = tempfile::tempdir().unwrap();
        let mut run = command(&["run", &first, "--state", &state], runtime.path());
        run.args(["--bind", "127.0.0.1:0", "--format", "json"]);
        Embly::spawn(run, runtime, 1)
    };
    let embly = start();
    assert_eq!(answer(&embly), "first");
    eventually("it is a version", || listed(&embly) == [(1, true)]);
    let (code, _, err) = embly.told(&["rollback"]);
    assert!(code == 1 && err.contains("no version before 1"), "{err}");
    drop(embly);

    // The same bundle is the same version.
    let mut embly = start();
    let two = place.bundle("two", &serving("two"), &[]);
    let (code, out, err) = embly.told(&["deploy", &two, "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        (&objects(&out)[0]["version"], &objects(&out)[0]["before"]),
        (&json!(2), &json!(1))
    );
    embly.signal(Signal::KILL);
    embly.wait();
    let embly = start();
    assert_eq!(answer(&embly), "two");
    let (code, _, err) = embly.told(&["rollback"]);
    assert_eq!((code, answer(&embly).as_str()), (0, "first"), "{err}");
    drop(embly);
    let embly = start();
    assert_eq!(answer(&embly), "first");
    assert_eq!(listed(&embly), [(2, false), (1, true)]);

    // Another bundle in its place counts, as without versions.
    place.bundle("first", &serving("another"), &[]);
    let (code, _, err) = embly.told(&["reload"]);
    assert_eq!((code, answer(&embly).as_str()), (0, "another"), "{err}");
    eventually("it is a version", || {
        listed(&embly).first() == Some(&(3, true))
    });
    drop(embly);
    let embly = start();
    assert_eq!(answer(&embly), "another");
    deploy(&embly, &two);
    drop(embly);
    let embly = start();
    assert_eq!(answer(&embly), "two");
    drop(embly);

    // So does it after a deployment, as with a new image of a container: once.
    place.bundle("first", &serving("a new image"), &[]);
    let embly = start();
    assert_eq!(answer(&embly), "a new image");
    eventually("it is a version", || {
        listed(&embly).first() == Some(&(5, true))
    });
    let (code, _, err) = embly.told(&["rollback"]);
    assert_eq!((code, answer(&embly).as_str()), (0, "two"), "{err}");
    drop(embly);
    // What was typed and is not served is named.
    let embly = start();
    embly.event("message", |event| {
        let text = event["text"].as_str().unwrap();
        text.contains("first.embly` is not served: version 4 was")
    });
    drop(embly);
    fs::write(&first, "no bundle").unwrap();
    let embly = start();
    assert_eq!(answer(&embly), "two");
    embly.event("message", |event| {
        let text = event["text"].as_str().unwrap();
        event["level"] == "warn" && text.contains("version 4 is served")
    });
}

#[test]
fn a_bundle_beside_a_project_file_is_of_that_project() {
    let (place, project) = (Place::new(), serving("one"));
    let bundle = project.path().join("one.embly");
    fs::rename(place.bundle("one", &project, &[]), &bundle).unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let run = command(&support::arguments("run", &bundle), runtime.path());
    let embly = Embly::spawn(run, runtime, 1);
    let asked = |folder: &Path| {
        let mut ps = command(&["ps"], embly.runtime.path());
        let output = ps.current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(!asked(project.path()).contains("no master of"));
    let other = serving("other");
    let said = asked(other.path());
    assert!(said.contains("this is the one of"), "{said}");
}

#[test]
fn where_no_master_runs_commands_for_versions_say_what_to_type() {
    let place = Place::new();
    let file = place.bundle("one", &serving("one"), &[]);
    let run = "no master runs: start one with `embly run --state DIR`";
    for line in [&["deploy", &file][..], &["rollback"]] {
        let (code, _, err) = output(line);
        assert!(code == 1 && err.contains(run), "{line:?} {err}");
    }
    let (code, _, err) = output(&["versions"]);
    let read = "or see what is kept in its folder with `embly versions --state DIR`";
    assert!(
        code == 1 && err.contains(run) && err.contains(read),
        "{err}"
    );
    let (code, _, err) = output(&["versions", "--state", &place.state()]);
    assert!(code == 1 && err.contains("there is no folder"), "{err}");
    fs::create_dir(place.path("state")).unwrap();
    let (code, out, err) = output(&["versions", "--state", &place.state()]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("nothing was deployed yet"), "{err}");
}

#[test]
fn a_bundle_that_cannot_be_kept_is_served_all_the_same_and_that_is_said() {
    let place = Place::new();
    let first = place.bundle("first", &serving("first"), &[]);
    fs::write(place.path("state"), "no folder").unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let mut run = command(&["run", &first, "--state", &place.state()], runtime.path());
    run.args(["--bind", "127.0.0.1:0", "--format", "json"]);
    let embly = Embly::spawn(run, runtime, 1);
    assert_eq!(answer(&embly), "first");
    embly.event("message", |event| {
        let text = event["text"].as_str().unwrap();
        event["level"] == "warn" && text.contains("not kept as a version")
    });
}

#[test]
fn a_master_without_a_state_folder_takes_nothing_and_says_what_to_type() {
    let place = Place::new();
    let project = serving("folder");
    let file = place.bundle("one", &serving("one"), &[]);
    for what in ["run", "dev"] {
        let embly = Embly::start(what, &project, &[]);
        let (code, _, err) = embly.told(&["deploy", &file]);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("embly run --state DIR"), "{err}");
        for (method, path) in [("GET", "/v1/versions"), ("POST", "/v1/rollback")] {
            let (status, answer) = embly.asks(method, path);
            assert_eq!(
                (status, &answer["error"]["code"]),
                (409, &json!("no_state"))
            );
        }
        assert_eq!(answer(&embly), "folder");
    }
}

#[test]
fn what_cannot_be_served_changes_nothing_and_is_not_kept() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let key = place.path("key");
    let key = key.to_str().unwrap();
    assert_eq!(output(&["bundle", "--new-key", key]).0, 0);
    let verify = format!("{key}.pub");
    let state = place.state();
    // Without `--bind`, which would give the taken port another number.
    let arguments = ["--state", &state, "--verify-key", &verify];
    let project = serving("folder");
    let runtime = tempfile::tempdir().unwrap();
    let mut run = command(&["run", project.path().to_str().unwrap()], runtime.path());
    run.args(["--format", "json", "-v"]).args(arguments);
    let embly = Embly::spawn(run, runtime, 1);
    let signed = |name: &str, project: &Project| place.bundle(name, project, &["--sign-key", key]);
    deploy(&embly, &signed("one", &serving("one")));
    let before = place.versions();
    assert_eq!(before, ["1", "current"]);

    let unsigned = place.bundle("unsigned", &serving("two"), &[]);
    let busy = Project::new()
        .wat("hello", &answering("two"))
        .gateway_with("web", &format!("    port: {port}\n    function: hello"));
    let busy = signed("busy", &busy);
    let broken = Project::new()
        .wat("hello", "(module (func (export \"_start\") unreachable))")
        .gateway_with(
            "web",
            "    port: 0\n    function: hello\n    health: /healthz",
        );
    let broken = signed("broken", &broken);
    let secret = Project::new().wat_with("hello", &answering("two"), "    secrets: [NOWHERE]");
    let environment =
        Project::new().wat_with("hello", &answering("two"), "    env: {A: '${HERE}'}");
    let environment = {
        let file = place.path("environment.embly");
        let (path, file) = (environment.path().to_str().unwrap(), file.to_str().unwrap());
        let runtime = tempfile::tempdir().unwrap();
        let mut bundle = command(
            &["bundle", path, "-o", file, "--sign-key", key],
            runtime.path(),
        );
        assert_eq!(outcome(bundle.env("HERE", "1")).0, 0);
        file.to_owned()
    };
    for (file, code, why) in [
        (unsigned, 1, "is not signed"),
        (busy, 1, "is taken"),
        (
            broken,
            1,
            "gateway `web` is not healthy: at `/healthz` it says 500 (trap; `embly logs` has more), 3 times",
        ),
        (signed("secret", &secret), 2, "`NOWHERE`"),
        (environment, 2, "the variable `HERE` is not set"),
    ] {
        let (got, _, err) = embly.told(&["deploy", &file]);
        assert_eq!(got, code, "{err}");
        assert!(err.contains(why), "{why}: {err}");
        assert_eq!(answer(&embly), "one", "{why}");
        assert_eq!(place.versions(), before, "{why}");
    }
}

#[test]
fn a_module_that_does_not_compile_here_changes_nothing() {
    let place = Place::new();
    let state = place.state();
    let project = serving("folder");
    let embly = Embly::start("run", &project, &["--state", &state]);
    let mut raw = Raw::new([]);
    let module = raw
        .entries
        .iter_mut()
        .find(|it| it.path == "functions/hello.wat");
    module.unwrap().content = b"(module (func (export \"_start\") nonsense))".to_vec();
    let broken = raw.write(place.0.path());
    let (code, _, err) = embly.told(&["deploy", broken.to_str().unwrap()]);
    assert!(code == 1 && err.contains("not built: `hello`"), "{err}");
    // Nothing of the files of this machine can be reached with a project file.
    let outside = PROJECT.replace("hello.wat, ", "hello.wat, context: /, ");
    let outside = outside.replace("./functions", "/etc/embly-no-such-folder/../functions");
    let outside = Raw::new([]).project(&outside).write(place.0.path());
    let (code, _, err) = embly.told(&["deploy", outside.to_str().unwrap()]);
    assert!(code != 0, "{err}");
    // Whoever asks without `embly` is told the same.
    let (status, said) = embly.asks("POST", "/v1/versions");
    assert_eq!(
        (status, &said["error"]["code"]),
        (422, &json!("bad_bundle"))
    );
    assert_eq!(answer(&embly), "folder");
    assert_eq!(place.versions(), [""; 0]);
}

#[test]
fn no_request_fails_while_versions_come_and_go() {
    let place = Place::new();
    let state = place.state();
    let first = place.bundle("first", &serving("version 0"), &[]);
    let site = |n: usize| {
        let project = Project::new().wat("hello", &answering(&format!("version {n}"))).gateway_with(
            "web",
            "    port: 0\n    function: hello\n    health: /\n    routes:\n      - {path: '/s/{f...}', files: {root: ./site}}",
        );
        project.write("site/page", &format!("page {n}"));
        project
    };
    let bundles: Vec<String> = (1..=4)
        .map(|n| place.bundle(&format!("v{n}"), &site(n), &[]))
        .collect();
    let runtime = tempfile::tempdir().unwrap();
    let arguments = support::arguments("run", Path::new(&first));
    let mut run = command(&arguments, runtime.path());
    run.args(["--state", &state]);
    let embly = Embly::spawn(run, runtime, 1);
    deploy(&embly, &bundles[0]);
    let (done, answers) = (Done::default(), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _at_end = done.at_end();
        for _ in 0..2 {
            scope.spawn(|| {
                let mut session = Session::new(embly.at("web"));
                while !done.is_set() {
                    for (path, word) in [("/", "version "), ("/s/page", "page ")] {
                        let kept = session.get(path).unwrap();
                        let new = get(embly.at("web"), path);
                        for answer in [kept, new] {
                            assert_eq!(answer.status, 200, "{path}: {answer:?}");
                            assert!(answer.text().starts_with(word), "{answer:?}");
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        for (n, file) in bundles.iter().enumerate().skip(1) {
            deploy(&embly, file);
            assert_eq!(answer(&embly), format!("version {}", n + 1));
            let (code, _, err) = embly.told(&["rollback"]);
            assert_eq!(code, 0, "{err}");
            assert_eq!(answer(&embly), format!("version {n}"));
            let (code, _, err) = embly.told(&["rollback", &(n + 1).to_string()]);
            assert_eq!(code, 0, "{err}");
            let before = answers.load(Ordering::Relaxed);
            eventually("more answers", || {
                answers.load(Ordering::Relaxed) > before + 20
            });
        }
    });
    let answers = answers.into_inner();
    println!("{answers} requests were answered");
    let kept = ["1", "2", "3", "4", "5", "brought", "current"];
    assert_eq!(place.versions(), kept);
}

#[test]
fn a_master_that_is_killed_meanwhile_serves_a_whole_version_afterwards() {
    let place = Place::new();
    let state = place.state();
    let project = serving("folder");
    let start = || Embly::start("run", &project, &["--state", &state]);
    let bundles = ["one", "two"].map(|name| place.bundle(name, &serving(name), &[]));
    let mut embly = start();
    deploy(&embly, &bundles[0]);
    let mut current = "one".to_owned();
    for round in 0..6_u64 {
        let file = &bundles[(round % 2) as usize];
        let mut deploy = command(&["deploy", file], embly.runtime.path());
        let mut deploying = deploy.current_dir("/").spawn().unwrap();
        support::client::pause(5 + 15 * round, "it may be killed at any time");
        embly.signal(Signal::KILL);
        embly.wait();
        let answered = deploying.wait().unwrap().success();
        embly = start();
        let now = answer(&embly);
        let expected = ["one", "two"][(round % 2) as usize];
        // What was said to be served is served.
        assert!(
            now == expected || (now == current && !answered),
            "{now}, {answered}"
        );
        current = now;
    }
    // And what was broken off does not stay once the next one comes.
    deploy(&embly, &bundles[0]);
    let left = place.versions();
    assert!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");
}

#[test]
fn a_bundle_goes_to_another_machine_by_way_of_ssh() {
    let place = Place::new();
    let state = place.state();
    let project = serving("folder");
    let embly = Embly::start("run", &project, &["--state", &state]);
    let file = place.bundle("one", &serving("one"), &[]);
    let bin = place.path("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(EMBLY, bin.join("embly")).unwrap();
    // Runs the command here, by a shell, as the other side does.
    let ssh = bin.join("ssh");
    let script = "#!/bin/sh\necho \"$@\" >\"$0.said\"\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\nexec sh -c \"$*\"\n";
    fs::write(&ssh, script).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let told = |arguments: &[&str], path: &str| {
        let mut command = command(arguments, embly.runtime.path());
        outcome(command.env("PATH", path))
    };
    let id = embly.asks("GET", "/v1/master").1["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let arguments = [
        "deploy",
        &file,
        "--to",
        "ssh://me@example.test:2222",
        "--master",
        &id,
        "--format",
        "json",
    ];
    let (code, out, err) = told(&arguments, &path);
    assert_eq!(code, 0, "{err}");
    assert_eq!(objects(&out)[0]["version"], 1, "{out}");
    assert_eq!(answer(&embly), "one");
    let said = fs::read_to_string(place.path("bin/ssh.said")).unwrap();
    let expected =
        format!("-p 2222 -l me -- example.test embly deploy - --master {id} --format json\n");
    assert_eq!(said, expected);

    // What goes wrong there is heard here.
    let to = [
        "deploy",
        &file,
        "--to",
        "ssh://example.test",
        "--master",
        "none",
    ];
    let (code, _, err) = told(&to, &path);
    assert!(code == 1 && err.contains("no master `none` runs"), "{err}");
    assert!(err.contains("not deployed to `example.test`"), "{err}");
    fs::remove_file(bin.join("embly")).unwrap();
    let to = &to[..4];
    let (code, _, err) = told(to, &path);
    assert!(
        code == 1 && err.contains("there is no `embly` on `example.test`"),
        "{err}"
    );
    let (code, _, err) = told(to, "/nowhere");
    assert!(code == 1 && err.contains("there is no `ssh`"), "{err}");
    // Nothing is sent that could not be served there.
    fs::write(&file, "no bundle").unwrap();
    fs::remove_file(place.path("bin/ssh.said")).unwrap();
    let (code, _, err) = told(to, &path);
    assert!(code == 1 && err.contains("it is not a bundle"), "{err}");
    assert!(!place.path("bin/ssh.said").exists());
    for wrong in [
        "example.test",
        "ssh://-oProxyCommand=x",
        "ssh://a/b",
        "ssh://a:b@c",
    ] {
        let (code, _, err) = told(&["deploy", &file, "--to", wrong], &path);
        assert!(
            code == 2 && err.contains("ssh://[USER@]HOST[:PORT]"),
            "{err}"
        );
    }
    let Value::Object(_) = embly.asks("GET", "/v1/master").1 else {
        panic!("it is there all the same");
    };
}

#[test]
fn what_is_deployed_again_is_no_new_version() {
    let place = Place::new();
    let state = place.state();
    let embly = Embly::start("run", &serving("folder"), &["--state", &state]);
    let one = place.bundle("one", &serving("one"), &[]);
    let two = place.bundle("two", &serving("two"), &[]);
    deploy(&embly, &one);
    for _ in 0..3 {
        deploy(&embly, &two);
        assert_eq!(answer(&embly), "two");
    }
    let (_, _, said) = embly.told(&["deploy", &two]);
    assert!(said.contains("version 2 is served, as before"), "{said}");
    assert_eq!(
        place
            .versions()
            .iter()
            .filter(|name| name.parse::<u64>().is_ok())
            .count(),
        2
    );
    let (code, _, err) = embly.told(&["rollback"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(answer(&embly), "one");
    // It is not the current one any more.
    deploy(&embly, &two);
    assert_eq!(answer(&embly), "two");
    assert!(place.versions().contains(&"3".to_owned()));
}

#[test]
fn stores_of_what_was_deployed_are_found_by_the_state_folder_alone() {
    let place = Place::new();
    let state = place.state();
    let with_store = |answer| serving(answer).top("stores:\n  - {name: kept, type: kv}");
    let mut embly = Embly::start("run", &serving("folder"), &["--state", &state]);
    deploy(&embly, &place.bundle("one", &with_store("one"), &[]));
    let copy = place.path("copy");
    let elsewhere = tempfile::tempdir().unwrap();
    let store = |what: &[&str]| {
        let arguments = [&["store"], what, &["--state", &state]].concat();
        let mut command = command(&arguments, elsewhere.path());
        let done = command.current_dir(elsewhere.path()).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        (done.status.code().unwrap(), said)
    };
    let (code, said) = store(&["backup", "kept", copy.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    embly.stops_with_nothing_left();
    let (code, said) = store(&["restore", "kept", copy.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = store(&["browse", "other"]);
    assert!(code == 2 && said.contains("there are `kept`"), "{said}");
}

#[test]
fn whoever_deploys_where_that_is_not_possible_reads_why_however_long_the_bundle_is() {
    let place = Place::new();
    let embly = Embly::start("dev", &serving("folder"), &[]);
    let mut noise = 1_u64;
    let data: String = std::iter::repeat_with(|| {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        format!("\\{:02x}", noise >> 56)
    })
    .take(1_000_000)
    .collect();
    let long = format!(
        "(module (memory (export \"memory\") 20) (data (i32.const 0) \"{data}\") (func (export \"_start\")))"
    );
    let project = Project::new().wat("hello", &long).http("hello");
    let bundle = place.bundle("long", &project, &[]);
    assert!(fs::metadata(&bundle).unwrap().len() > 500_000);
    for _ in 0..10 {
        let (code, _, err) = embly.told(&["deploy", &bundle]);
        assert!(
            code == 1 && err.contains("serves a folder and keeps no versions"),
            "{code} {err}"
        );
    }
}
