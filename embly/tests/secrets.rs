//! Secrets: who gets them, where they come from, and where they are never seen.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use support::client::{Connection, get};
use support::secrets::{LISTED, Place, confides, finish, not_in};
use support::{Embly, Project, command, eventually};

const VALUE: &str = "sk_live \"51\" & more/";

/// All that a master has said.
fn said(embly: &Embly) -> String {
    let events: Vec<String> = embly.events().iter().map(Value::to_string).collect();
    format!("{}\n{}", events.join("\n"), embly.stderr())
}

#[test]
fn a_secret_is_given_to_the_functions_that_list_it_and_to_no_other() {
    let place = Place::new(
        confides("    secrets: [KEY, OTHER]\n    env: {KEY: of the file, OTHER: x}")
            .guest_with("confides-too", "    secrets: [OTHER]")
            .http("confides-too")
            .guest("knows-nothing")
            .http("knows-nothing"),
    );
    place.set("KEY", VALUE);
    let embly = place.start(
        "run",
        &[("OTHER", "from the environment"), ("KEY", "loses")],
        &[],
    );
    let tell = |function: &str, name: &str| {
        let answer = get(embly.at(function), &format!("/tell/{name}"));
        (answer.status, answer.text())
    };
    assert_eq!(tell("confides", "KEY"), (200, VALUE.to_owned()));
    assert_eq!(
        tell("confides", "OTHER"),
        (200, "from the environment".to_owned())
    );
    assert_eq!(
        tell("confides-too", "OTHER"),
        (200, "from the environment".to_owned())
    );
    for (function, name) in [
        ("confides-too", "KEY"),
        ("knows-nothing", "KEY"),
        ("knows-nothing", "OTHER"),
    ] {
        let (status, text) = tell(function, name);
        assert_eq!(status, 500);
        assert!(text.contains(&format!("add `secrets: [{name}]`")), "{text}");
    }
}

#[test]
fn a_spawner_cannot_put_another_value_in_the_place_of_a_secret() {
    let place = Place::new(confides(LISTED).guest_with("shows-environment", LISTED));
    place.set("KEY", VALUE);
    let embly = place.run();
    assert_eq!(
        get(embly.at("confides"), "/spawn/KEY").text(),
        format!("KEY={VALUE}\n")
    );
}

#[test]
fn a_secret_is_masked_in_the_log_in_endings_in_paths_and_in_what_parents_and_developers_read() {
    for what in ["run", "dev"] {
        let place = Place::new(
            confides(LISTED)
                .guest_with("panics-with-secret", LISTED)
                .guest_with("garbles-secret", LISTED)
                .http("garbles-secret"),
        );
        place.set("KEY", VALUE);
        let embly = place.start(what, &[], &[]);
        let at = embly.at("confides");
        assert_eq!(get(at, "/print/KEY").status, 200);
        embly.event("log", |event| {
            event["line"] == "it is [secret KEY], not [secret KEY]"
        });
        embly.event("log", |event| {
            event["line"] == "as \"[secret KEY]\" and [secret KEY]"
        });
        assert_eq!(get(at, "/pieces/KEY").status, 200);
        embly.event("log", |event| event["line"] == "pieces [secret KEY]");

        let panicked = get(at, "/panic/KEY");
        assert_eq!(panicked.status, 500);
        not_in(&panicked.text(), VALUE);
        let ending = embly.event("invocation_ended", |event| event["reason"] == "trap");
        let detail = ending["detail"].as_str().unwrap();
        assert!(detail.contains("the key [secret KEY] is wrong"), "{detail}");
        if what == "dev" {
            assert!(
                panicked.text().contains("[secret KEY]"),
                "{}",
                panicked.text()
            );
        }
        not_in(&get(at, "/fail/KEY").text(), VALUE);
        let child = get(at, "/child/KEY").text();
        assert!(child.contains("the key [secret KEY] is wrong"), "{child}");
        let garbled = get(embly.at("garbles-secret"), "/");
        assert_eq!(garbled.status, 502);
        not_in(&garbled.text(), VALUE);

        // Of a client that knows it, as it is sent and as it is meant.
        assert_eq!(
            get(at, "/tell/none?key=sk_live%20%2251%22%20%26%20more%2F&x").status,
            500
        );
        let access = embly.event("access", |event| {
            event["path"].as_str().unwrap().starts_with("/tell/none")
        });
        assert_eq!(access["path"], "/tell/none?key=[secret KEY]&x");
        eventually("all have ended", || {
            let count = |kind: &str| {
                let events = embly.events();
                events.iter().filter(|event| event["event"] == kind).count()
            };
            count("invocation_started") == count("invocation_ended")
        });
        not_in(&said(&embly), VALUE);
    }
}

#[test]
fn a_secret_of_the_environment_is_masked_as_well_also_as_text() {
    let place = Place::new(confides(LISTED));
    let runtime = tempfile::tempdir().unwrap();
    let mut command = command(
        &["run", place.path(), "--bind", "127.0.0.1:0"],
        runtime.path(),
    );
    command
        .env("KEY", VALUE)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let mut next = |words: &str| {
        let line = lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains(words));
        line.unwrap_or_else(|| panic!("no line with {words}"))
    };
    let listening = next("http://");
    let at = listening.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
    assert_eq!(get(at, "/print/KEY").status, 200);
    assert_eq!(
        next("it is"),
        "confides | it is [secret KEY], not [secret KEY]"
    );
    assert_eq!(
        next("as "),
        "confides | as \"[secret KEY]\" and [secret KEY]"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_secret_that_is_set_while_the_master_runs_is_there_within_a_second_and_the_old_one_is_still_masked()
 {
    for isolation in ["invocation", "function"] {
        let keys = format!("{LISTED}\n    isolation: {isolation}");
        let place = Place::new(confides(&keys));
        place.set("KEY", "the old value");
        let embly = place.run();
        let at = embly.at("confides");
        // Some wait for the next request now.
        assert_eq!(get(at, "/tell/KEY").text(), "the old value");
        eventually("wrappers wait", || !embly.wrappers("confides").is_empty());
        let mut runs = Connection::new(at);
        runs.send("POST /later/KEY HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\n");
        embly.event("log", |event| event["line"] == "begun");
        place.set("KEY", "the new value");
        let since = Instant::now();
        eventually("the new value", || {
            get(at, "/tell/KEY").text() == "the new value"
        });
        assert!(
            since.elapsed() < Duration::from_secs(1),
            "{:?}",
            since.elapsed()
        );
        runs.send("x");
        // It goes on with what it began with, and that is masked.
        assert_eq!(runs.response().body, b"the old value");
        embly.event("log", |event| event["line"] == "at last [secret KEY]");
        get(at, "/tell/KEY?the%20old%20value");
        embly.event("access", |event| event["path"] == "/tell/KEY?[secret KEY]");
        not_in(&said(&embly), "the old value");
        not_in(&said(&embly), "the new value");
    }
}

#[test]
fn a_secret_that_is_removed_while_the_master_runs_is_an_answer_that_says_what_to_type() {
    let place = Place::new(confides(LISTED));
    place.set("KEY", VALUE);
    let embly = place.start("dev", &[], &[]);
    let at = embly.at("confides");
    assert_eq!(get(at, "/tell/KEY").status, 200);
    let (code, _, stderr) = place.embly(&["secrets", "remove", "KEY", place.path()], b"");
    assert_eq!(code, 0);
    assert!(
        stderr.contains("`KEY` is still listed by confides"),
        "{stderr}"
    );
    eventually("it is gone", || get(at, "/tell/KEY").status == 503);
    let answer = get(at, "/tell/KEY");
    assert_eq!(answer.reason(), "starting");
    assert!(
        answer.text().contains("`embly secrets set KEY`"),
        "{}",
        answer.text()
    );
    embly.event("message", |event| {
        event["level"] == "warn"
            && event["text"]
                .as_str()
                .unwrap()
                .contains("embly secrets set KEY")
    });
    place.set("KEY", "another value");
    eventually("it is back", || {
        get(at, "/tell/KEY").text() == "another value"
    });
}

#[test]
fn a_file_that_is_broken_while_the_master_runs_changes_nothing_and_is_told() {
    let place = Place::new(confides(LISTED));
    place.set("KEY", VALUE);
    let embly = place.run();
    let at = embly.at("confides");
    fs::write(place.project.path().join("data/secrets.enc"), "broken").unwrap();
    embly.event("message", |event| {
        event["text"]
            .as_str()
            .unwrap()
            .ends_with("; secrets stay as they were")
    });
    assert_eq!(get(at, "/tell/KEY").text(), VALUE);
}

#[test]
fn a_reload_takes_secrets_from_the_new_project_and_dev_those_of_the_file_env() {
    let place = Place::new(confides("    env: {A: b}"));
    place.project.path();
    let embly = place.start("dev", &[], &[]);
    let at = embly.at("confides");
    assert_eq!(get(at, "/tell/KEY").status, 500);
    place.project.write(".env", "KEY='in the file'\n");
    place.project.edit("    env: {A: b}", LISTED);
    eventually("the secret", || {
        get(at, "/tell/KEY").text() == "in the file"
    });
    place.project.write(".env", "KEY='changed in the file'\n");
    eventually("the change", || {
        get(at, "/tell/KEY").text() == "changed in the file"
    });
    get(at, "/print/KEY");
    embly.event("log", |event| {
        event["line"] == "it is [secret KEY], not [secret KEY]"
    });
    not_in(&said(&embly), "changed in the file");
    // Without it the project is served as it was.
    place.project.write(".env", "");
    embly.event("problems", |_| true);
    assert_eq!(get(at, "/tell/KEY").text(), "changed in the file");
}

/// The words of a process that others can see, and its environment.
fn words_of(pid: i32) -> String {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let all = ["cmdline", "comm", "environ", "stat", "status"].map(read);
    String::from_utf8_lossy(&all.concat()).into_owned()
}

/// All files below a folder that hold this text.
fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), text));
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            if bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
            {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_secret_of_the_file_is_in_no_argument_name_environment_log_or_file_of_any_process() {
    // Nothing else on this machine has it.
    let value = format!("nowhere-{}-to-be-seen", std::process::id());
    for wrappers in ["fork", "exec"] {
        let place = Place::new(
            Project::unparked()
                .guest_with("confides", LISTED)
                .http("confides"),
        );
        place.set("KEY", &value);
        let embly = place.start("run", &[], &["--wrappers", wrappers]);
        let mut runs = Connection::new(embly.at("confides"));
        runs.send("POST /later/KEY HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\n");
        embly.event("log", |event| event["line"] == "begun");
        let processes = embly.processes();
        assert!(!processes.is_empty());
        // Whoever else runs on this machine was not told either.
        let all = fs::read_dir("/proc").unwrap().flatten();
        let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let all: Vec<i32> = all.collect();
        assert!(processes.iter().all(|process| all.contains(&process.pid)));
        for pid in all {
            not_in(&words_of(pid), &value);
        }
        // What a crash of the master writes is too small for anything.
        let limits = fs::read_to_string(format!("/proc/{}/limits", embly.pid())).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let soft = core.unwrap().split_whitespace().nth(4).unwrap();
        assert!(["0", "1"].contains(&soft), "{core:?}");
        let artefacts = support::cache_home().join("embly/artefacts");
        let folders = [
            place.project.path(),
            place.keys.path(),
            embly.runtime.path(),
            &artefacts,
        ];
        for folder in folders {
            assert_eq!(files_with(folder, &value), Vec::<PathBuf>::new());
        }
        runs.send("x");
        assert_eq!(runs.response().body, value.as_bytes());
        not_in(&said(&embly), &value);
    }
}

#[test]
fn a_secret_of_the_environment_is_in_no_other_process_and_not_in_what_a_build_says() {
    let value = format!("environment-{}-only", std::process::id());
    // What the compiler says of it is masked, and neither it nor a build script has the variable.
    let program = format!(
        "#[deprecated(note = \"it was {value}\")]\nfn old() {{}}\n\
         const _: () = assert!(option_env!(\"KEY\").is_none());\nfn main() {{ old() }}\n"
    );
    let place = Place::new(Project::new().rust("front", &program).http("front"));
    place.project.edit(
        "    language: rust",
        "    language: rust\n    secrets: [KEY]",
    );
    place.project.write(
        "front/build.rs",
        "fn main() { assert!(std::env::var_os(\"KEY\").is_none()) }\n",
    );
    let mut command = place.command(&["build", place.path()]);
    command.env("KEY", &value);
    let (code, _, stderr) = finish(command, b"");
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("it was [secret KEY]"), "{stderr}");
    not_in(&stderr, &value);
    let embly = place.start("run", &[("KEY", &value)], &[]);
    get(embly.at("front"), "/");
    for process in embly.processes() {
        not_in(&words_of(process.pid), &value);
    }
}

#[test]
fn a_reload_with_a_missing_secret_leaves_what_is_served() {
    let place = Place::new(confides(LISTED));
    place.set("KEY", VALUE);
    let runtime = tempfile::tempdir().unwrap();
    let mut command = support::environment(Command::new("setsid"), runtime.path());
    command
        .arg(support::EMBLY)
        .args(support::arguments("run", place.project.path()))
        .env("EMBLY_SECRETS_KEY_FILE", place.key());
    let embly = Embly::spawn(command, runtime, place.project.gateways());
    let at = embly.at("confides");
    place.project.edit(LISTED, "    secrets: [KEY, ANOTHER]");
    embly.signal(Signal::HUP);
    embly.event("problems", |event| event["problems"][0]["code"] == "E181");
    assert_eq!(get(at, "/tell/KEY").text(), VALUE);
    place.set("ANOTHER", "is there now");
    embly.signal(Signal::HUP);
    eventually("the reload", || embly.messages("reloaded") == 1);
    assert_eq!(get(at, "/tell/ANOTHER").text(), "is there now");
}
