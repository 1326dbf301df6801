//! The admin API of a running master, and the commands that ask it.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../support/mod.rs"]
mod support;
mod top;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::admin::{Lines, ask, folders, objects, outcome};
use support::client::{connect, request, script};
use support::project::answering;
use support::user::{Limited, open};
use support::{EMBLY, Embly, PATIENCE, Project, arguments, command, eventually, get, skipped};

/// A request for this script that goes on.
fn begin(embly: &Embly, gateway: &str, steps: &str) -> TcpStream {
    let mut stream = connect(embly.at(gateway));
    stream.write_all(script(steps).as_bytes()).unwrap();
    stream
}

/// The only invocation of a function, once it runs.
fn running(embly: &Embly, function: &str) -> Value {
    let mut found = Vec::new();
    eventually("an invocation that runs", || {
        found = embly.invocations(function);
        found.len() == 1 && found[0]["state"] == "running"
    });
    found.remove(0)
}

fn waits() -> Project {
    Project::new().guest("script").http("script")
}

#[test]
fn a_master_says_who_it_is_and_what_it_serves() {
    let project = waits();
    let embly = Embly::run(&project);
    let (status, master) = embly.asks("GET", "/v1/master");
    assert_eq!(status, 200);
    let folder = folders(embly.runtime.path()).remove(0);
    assert_eq!(master["id"], folder.file_name().unwrap().to_str().unwrap());
    assert_eq!(master["pid"], embly.pid());
    let file = project.path().join("embly-project.yml");
    assert_eq!(
        master["project"],
        file.canonicalize().unwrap().to_str().unwrap()
    );
    assert_eq!(
        (&master["state"], &master["command"]),
        (&json!("serving"), &json!("run"))
    );
    let url = format!("http://{}", embly.at("script"));
    assert_eq!(master["gateways"], json!([{"name": "script", "url": url}]));

    let (code, out, _) = embly.told(&["masters", "--format", "json"]);
    assert_eq!(code, 0);
    let listed = objects(&out);
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["event"], &listed[0]["id"]),
        (&json!("master"), &master["id"])
    );
}

#[test]
fn ps_shows_what_runs_with_what_it_uses_and_who_has_started_it() {
    let embly = Embly::run(&waits().guest("spawns").http("spawns"));
    let body = "x".repeat(5_000);
    let steps = "write 485454; burn 500; sleep 600000";
    let mut stream = connect(embly.at("script"));
    let head = format!(
        "POST / HTTP/1.1\r\nhost: test\r\nx-do: {steps}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut one = Value::Null;
    eventually("bytes both ways, and time", || {
        one = embly.invocations("script").pop().unwrap_or_default();
        let number = |key: &str| one[key].as_u64().unwrap_or_default();
        number("bytes_in") > 5_000 && number("bytes_out") == 3 && number("cpu_us") >= 10_000
    });
    let started = embly.event("invocation_started", |_| true);
    for key in ["address", "parent", "function", "gateway", "request_id"] {
        assert_eq!(one[key], started[key], "{key}");
    }
    assert_eq!(one["state"], "running");
    assert!(one["age_us"].as_u64().unwrap() >= one["cpu_us"].as_u64().unwrap() / 2);
    assert!(one["memory_bytes"].as_u64().unwrap() > 100_000);
    let pid = one["pid"].as_i64().unwrap();
    assert!(
        embly
            .wrappers("script")
            .iter()
            .any(|wrapper| i64::from(wrapper.pid) == pid)
    );

    let (code, out, _) = embly.told(&["ps"]);
    assert_eq!(code, 0);
    let row = out.lines().nth(1).unwrap();
    assert!(row.starts_with(one["address"].as_str().unwrap()), "{out}");
    assert!(row.contains("script") && row.contains("running"), "{out}");
    let (_, out, _) = embly.told(&["ps", "--format", "json"]);
    let shown = objects(&out);
    assert_eq!(shown[0]["event"], "invocation");
    assert_eq!(shown[0]["address"], one["address"]);
}

#[test]
fn functions_show_what_runs_and_waits_and_what_was_refused() {
    let keys = "    limits: {concurrency: 1, queue: {length: 1, wait: 10m}}";
    let project = Project::new().guest_with("script", keys).http("script");
    let embly = Embly::run(&project);
    let _first = begin(&embly, "script", "sleep 600000");
    running(&embly, "script");
    let _second = begin(&embly, "script", "sleep 600000");
    let mut shown = Value::Null;
    eventually("one waits", || {
        shown = embly.asks("GET", "/v1/functions").1["functions"][0].clone();
        shown["waiting"] == 1
    });
    let refused = request(embly.at("script"), script("exit 0"));
    assert_eq!(refused.reason(), "overloaded");
    eventually("a refusal is counted", || {
        shown = embly.asks("GET", "/v1/functions").1["functions"][0].clone();
        shown["refused"] == 1
    });
    assert_eq!(
        (&shown["name"], &shown["live"]),
        (&json!("script"), &json!(1))
    );
    eventually("a process is parked", || {
        let (_, shown) = embly.asks("GET", "/v1/functions");
        shown["functions"][0]["parked"].as_u64().unwrap() > 0
    });
    let (code, out, _) = embly.told(&["ps", "--functions"]);
    assert_eq!(code, 0);
    assert!(out.lines().nth(1).unwrap().starts_with("script"), "{out}");
}

#[test]
fn kill_ends_an_invocation_and_an_unknown_address_is_named() {
    let embly = Embly::run(&waits());
    let mut stream = begin(&embly, "script", "sleep 600000");
    let address = running(&embly, "script")["address"].clone();
    let address = address.as_str().unwrap();
    // It runs alone, so that the first digits are enough.
    let (code, _, err) = embly.told(&["kill", &address[..8]]);
    assert_eq!(code, 0, "{err}");
    let ended = embly.ending("script");
    assert_eq!(
        (&ended["address"], &ended["reason"]),
        (&json!(address), &json!("killed"))
    );
    let mut answer = String::new();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(embly.invocations("script").is_empty());

    let (code, _, err) = embly.told(&["kill", address]);
    assert_eq!(code, 1);
    assert!(err.contains(address) && err.contains("embly ps"), "{err}");
    let (code, _, err) = embly.told(&["kill", &address[..8]]);
    assert_eq!(code, 1);
    let begins = format!("begins with {}", &address[..8]);
    assert!(err.contains(&begins) && err.contains("embly ps"), "{err}");
    let path = format!("/v1/invocations/{address}/kill");
    let (status, answer) = embly.asks("POST", &path);
    assert_eq!(
        (status, &answer["error"]["code"]),
        (404, &json!("unknown_address"))
    );
    let (status, answer) = embly.asks("POST", "/v1/invocations/zz/kill");
    assert_eq!(
        (status, &answer["error"]["code"]),
        (400, &json!("bad_address"))
    );
}

#[test]
fn what_cannot_be_asked_is_answered_with_a_code_and_what_to_do() {
    let embly = Embly::run(&waits());
    for (method, path, status, code) in [
        ("GET", "/", 404, "unknown_path"),
        ("GET", "/v1/master/", 404, "unknown_path"),
        ("POST", "/v1/master", 405, "wrong_method"),
        ("GET", "/v1/stop", 405, "wrong_method"),
        ("GET", "/v1/events", 400, "bad_parameter"),
        ("GET", "/v1/events?follow=yes", 400, "bad_parameter"),
        ("GET", "/v1/events?follow&since=now", 400, "bad_parameter"),
        ("GET", "/v1/logs?since=yesterday", 400, "bad_parameter"),
        ("GET", "/v1/logs?function=nobody", 404, "unknown_function"),
        ("GET", "/v1/logs?address=0", 400, "bad_address"),
        ("GET", "/v1/master?verbose", 400, "bad_parameter"),
    ] {
        let (got, answer) = embly.asks(method, path);
        assert_eq!(
            (got, &answer["error"]["code"]),
            (status, &json!(code)),
            "{path}"
        );
        for key in ["message", "help"] {
            let text = answer["error"][key].as_str().unwrap();
            assert!(!text.is_empty(), "{path}");
        }
    }
    let response = ask(&embly.admin(), "POST", "/v1/functions");
    assert_eq!(response.header("allow"), Some("GET"));
    // It serves all the same.
    assert_eq!(embly.asks("GET", "/v1/master").0, 200);
}

#[test]
fn a_reload_answers_when_it_is_done_with_the_problems_of_the_project_file() {
    let project = Project::new().wat("site", &answering("one")).http("site");
    let embly = Embly::run(&project);
    assert_eq!(get(embly.at("site"), "/").text(), "one");
    project.write("site.wat", &answering("two"));
    let (status, answer) = embly.asks("POST", "/v1/reload");
    assert_eq!((status, answer), (200, json!({"problems": []})));
    assert_eq!(get(embly.at("site"), "/").text(), "two");

    project.write("site.wat", "(module");
    let (status, answer) = embly.asks("POST", "/v1/reload");
    let error = &answer["error"];
    assert_eq!((status, &error["code"]), (422, &json!("build_failed")));
    assert!(error["message"].as_str().unwrap().contains("`site`"));
    let (code, _, err) = embly.told(&["reload"]);
    assert_eq!(code, 1);
    assert!(err.contains("`site`"), "{err}");

    project.write("site.wat", &answering("three"));
    project.edit("function: site", "fumction: site");
    let (status, answer) = embly.asks("POST", "/v1/reload");
    let error = &answer["error"];
    assert_eq!((status, &error["code"]), (422, &json!("project_file")));
    let problems = error["problems"].as_array().unwrap();
    let unknown = |problem: &&Value| problem["message"].as_str().unwrap().contains("fumction");
    let problem = problems.iter().find(unknown).unwrap();
    assert!(problem["line"].is_u64() && problem["code"].is_string());
    let (code, _, err) = embly.told(&["reload"]);
    assert_eq!(code, 2);
    assert!(err.contains("fumction") && err.contains(".yml:"), "{err}");
    assert_eq!(get(embly.at("site"), "/").text(), "two");

    project.edit("fumction: site", "function: site");
    let (code, _, err) = embly.told(&["reload"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(get(embly.at("site"), "/").text(), "three");
}

#[test]
fn a_reload_of_dev_answers_as_well() {
    let project = Project::new().wat("site", &answering("one")).http("site");
    let embly = Embly::dev(&project);
    assert_eq!(embly.asks("POST", "/v1/reload").0, 200);
    project.edit("function: site", "fumction: site");
    let (status, answer) = embly.asks("POST", "/v1/reload");
    assert_eq!(
        (status, &answer["error"]["code"]),
        (422, &json!("project_file"))
    );
}

#[test]
fn stop_returns_when_the_master_has_ended_and_twice_is_at_once() {
    let mut embly = Embly::run(&waits());
    let admin = embly.admin();
    let _stream = begin(&embly, "script", "sleep 600000");
    running(&embly, "script");
    let (code, _, err) = embly.told(&["ready"]);
    assert!(code == 0 && err.contains("is serving"), "{err}");
    let mut waiting = command(&["stop"], embly.runtime.path()).spawn().unwrap();
    eventually("the master stops", || {
        embly.asks("GET", "/v1/master").1["state"] == "stopping"
    });
    assert_eq!(waiting.try_wait().unwrap(), None);
    let (code, _, err) = embly.told(&["ready"]);
    assert!(code == 1 && err.contains("is stopping"), "{err}");
    let (status, answer) = embly.asks("POST", "/v1/reload");
    assert_eq!(
        (status, &answer["error"]["code"]),
        (503, &json!("stopping"))
    );
    let (status, answer) = embly.asks("POST", "/v1/stop");
    assert_eq!((status, answer), (202, json!({"running": 1})));
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    assert_eq!(embly.wait().code(), Some(0));
    assert_eq!(embly.ending("script")["reason"], "shutdown");
    let stopped = embly.event("stopped", |_| true);
    assert_eq!(stopped["reason"], "request");
    assert_eq!(
        (&stopped["addresses"], &stopped["wrappers"]),
        (&json!(0), &json!(0))
    );
    assert!(!admin.exists());
}

#[test]
fn of_two_masters_the_one_of_the_folder_is_meant_or_the_one_that_is_named() {
    let project = Project::new().wat("site", &answering("one")).http("site");
    let other = Project::new().wat("else", &answering("two")).http("else");
    let first = Embly::run(&project);
    let runtime = first.runtime.path();
    let start = |project: &Project| {
        let mut started = command(&[], runtime);
        started.args(arguments("run", project.path()));
        Embly::spawn(started, tempfile::tempdir().unwrap(), 1)
    };
    let _second = start(&other);
    let (_, out, _) = first.told(&["masters", "--format", "json"]);
    let masters = objects(&out);
    assert_eq!(masters.len(), 2);
    let id = |pid: i32| {
        let found = masters.iter().find(|master| master["pid"] == pid);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let names = |out: &str| {
        let shown = objects(out);
        shown[0]["name"].as_str().unwrap().to_owned()
    };
    let ps = ["ps", "--functions", "--format", "json"];
    let asked = |more: &[&str]| first.told(&[&ps[..], more].concat());

    // Both are listed with what to type.
    let (code, _, err) = asked(&[]);
    assert_eq!(code, 1);
    for master in &masters {
        let id = master["id"].as_str().unwrap();
        assert!(err.contains(&format!("--master {id}")), "{err}");
    }
    // By the name, by the folder, and by the current folder.
    let (code, out, _) = asked(&["--master", &id(first.pid())]);
    assert_eq!((code, names(&out).as_str()), (0, "site"));
    let (code, out, _) = asked(&[other.path().to_str().unwrap()]);
    assert_eq!((code, names(&out).as_str()), (0, "else"));
    let here = command(&ps, runtime)
        .current_dir(other.path())
        .output()
        .unwrap();
    assert_eq!(names(&String::from_utf8_lossy(&here.stdout)), "else");
    let (code, _, err) = asked(&["--master", "nobody"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("nobody") && err.contains(&id(first.pid())),
        "{err}"
    );

    // Two of one project.
    let _third = start(&project);
    let (code, _, err) = asked(&[project.path().to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(err.contains(&id(first.pid())), "{err}");
    assert!(!err.contains(other.path().to_str().unwrap()), "{err}");
}

#[test]
fn in_the_folder_of_another_project_the_only_master_is_meant_and_named() {
    let project = Project::new().wat("site", &answering("one")).http("site");
    let other = Project::new().wat("else", &answering("two")).http("else");
    let embly = Embly::run(&project);
    let asked = |folder: &Path| {
        let mut ps = command(&["ps"], embly.runtime.path());
        let output = ps.current_dir(folder).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(!asked(project.path()).contains("no master of"));
    assert!(!asked(embly.runtime.path()).contains("no master of"));
    let said = asked(other.path());
    let of = format!("this is the one of {}", project.path().display());
    assert!(
        said.contains("no master of") && said.contains(&of),
        "{said}"
    );
}

#[test]
fn a_master_that_was_killed_is_not_listed_and_its_folder_is_cleared() {
    let mut embly = Embly::run(&waits());
    let folder = folders(embly.runtime.path()).remove(0);
    embly.signal(Signal::KILL);
    embly.wait();
    assert!(folder.exists());
    let (code, out, err) = embly.told(&["masters"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("no master runs"), "{err}");
    assert!(!folder.exists());
    let (code, _, err) = embly.told(&["ps"]);
    assert_eq!(code, 1);
    assert!(err.contains("embly run"), "{err}");
}

#[test]
fn who_asks_for_a_master_that_is_still_being_built_is_told_so() {
    let project = Project::new().rust("slow", "fn main() {}").http("slow");
    // A compiler that does not answer.
    let tools = tempfile::tempdir().unwrap();
    let rustc = tools.path().join("rustc");
    std::fs::write(&rustc, "#!/bin/sh\nexec sleep 600\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&rustc, mode).unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let asked = |arguments: &[&str], folder: &Path| {
        let asked = command(arguments, runtime.path())
            .current_dir(folder)
            .output();
        let output = asked.unwrap();
        assert!(output.stdout.is_empty(), "{output:?}");
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let file = project.path().join("embly-project.yml");
    let said = format!("`{}` is still being built", file.display());
    for what in ["dev", "run"] {
        let mut builds = command(&arguments(what, project.path()), runtime.path());
        let mut builds = builds.env("RUSTC", &rustc).spawn().unwrap();
        eventually("a master that is to come", || {
            asked(&["masters"], runtime.path()).1.contains(&said)
        });
        for (arguments, folder) in [
            (&["ps"][..], project.path()),
            (&["logs"], runtime.path()),
            (&["ready", project.path().to_str().unwrap()], runtime.path()),
        ] {
            let (code, err) = asked(arguments, folder);
            assert_eq!(code, Some(1), "{err}");
            let said = match folder == project.path() {
                true => "`embly-project.yml` is still being built",
                false => said.as_str(),
            };
            assert!(err.contains(said), "{arguments:?}: {err}");
        }
        // Another one is not taken for it.
        let other = waits();
        let (_, err) = asked(&["ps", other.path().to_str().unwrap()], runtime.path());
        assert!(
            err.contains("start one with") && !err.contains("still"),
            "{err}"
        );
        builds.kill().unwrap();
        builds.wait().unwrap();
        let (_, err) = asked(&["ps"], project.path());
        assert!(err.contains("no master runs"), "{err}");
    }
    assert_eq!(
        std::fs::read_dir(runtime.path().join("embly"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_master_with_a_wrapper_socket_elsewhere_is_not_taken_for_one_that_was_killed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let socket = elsewhere.path().join("s");
    let project = waits();
    let embly = Embly::start("run", &project, &["--socket", socket.to_str().unwrap()]);
    let folder = folders(embly.runtime.path()).remove(0);
    // As if it had been started long ago.
    let old = std::time::SystemTime::now() - 10 * PATIENCE;
    std::fs::File::open(&folder)
        .unwrap()
        .set_modified(old)
        .unwrap();
    let (_, out, _) = embly.told(&["masters", "--format", "json"]);
    assert_eq!(objects(&out).len(), 1);
    assert!(folder.exists());
}

#[test]
fn another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return skipped("root");
    }
    let Some(limited) = Limited::find() else {
        return;
    };
    let project = Project::new().wat("site", &answering("one")).http("site");
    open(project.path());
    let embly = limited.run(&project, 200);
    // Root may enter any folder.
    for (method, path) in [("GET", "/v1/master"), ("POST", "/v1/stop")] {
        let (status, answer) = embly.asks(method, path);
        assert_eq!(
            (status, &answer["error"]["code"]),
            (403, &json!("other_user"))
        );
    }
    assert_eq!(get(embly.at("site"), "/").text(), "one");
    // Folders of somebody else are not looked into by the commands.
    let (code, _, err) = embly.told(&["masters"]);
    assert_eq!(code, 1);
    assert!(err.contains("not private to this user"), "{err}");
}

#[test]
fn logs_are_kept_by_function_address_and_time_and_go_on() {
    let project = Project::new().guest("script").guest("echo");
    let embly = Embly::run(&project.http("script"));
    let said = |text: &str| {
        request(
            embly.at("script"),
            script(&format!("say {text}; write 4f4b")),
        );
        let line = embly.event("log", |event| event["line"] == text);
        line["address"].as_str().unwrap().to_owned()
    };
    let none = embly.told(&["logs"]);
    let nothing = "no function has written a line; `embly logs -f` shows those that come\n";
    assert_eq!(none, (0, String::new(), nothing.to_owned()));
    let first = said("first");
    let between = jiff::Timestamp::now();
    said("second");
    let lines = |arguments: &[&str]| {
        let (code, out, err) = embly.told(&[&["logs", "--format", "json"], arguments].concat());
        assert_eq!(code, 0, "{err}");
        let lines = objects(&out);
        let lines = lines.iter().map(|event| {
            assert!(
                event["time"]
                    .as_str()
                    .unwrap()
                    .parse::<jiff::Timestamp>()
                    .is_ok()
            );
            event["line"].as_str().unwrap().to_owned()
        });
        lines.collect::<Vec<_>>()
    };
    assert_eq!(lines(&[]), ["first", "second"]);
    assert_eq!(lines(&["--function", "script"]), ["first", "second"]);
    assert_eq!(lines(&["--function", "echo"]), [""; 0]);
    assert_eq!(lines(&["--address", &first]), ["first"]);
    // A terminal has room for the first digits, and another address begins like them once in 4 billion.
    assert_eq!(lines(&["--address", &first[..8]]), ["first"]);
    assert_eq!(lines(&["--since", &between.to_string()]), ["second"]);
    assert_eq!(lines(&["--since", "1h"]), ["first", "second"]);
    let (_, out, err) = embly.told(&["logs"]);
    assert!(out.contains(&format!("script {first} | first\n")), "{out}");
    assert_eq!(err, "");
    // What is not there is said to people, and not where the lines are.
    let none = embly.told(&["logs", "--since", "2100-01-01T00:00:00Z"]);
    let nothing = "no line that is kept is one of those; `embly logs` shows all that are kept\n";
    assert_eq!(none, (0, String::new(), nothing.to_owned()));
    let (code, _, err) = embly.told(&["logs", "--function", "scripts"]);
    assert_eq!(code, 1);
    assert!(err.contains("`script`"), "{err}");

    let mut followed = Lines::ask(&embly.admin(), "/v1/logs?follow&function=script");
    assert_eq!(followed.event("log")["line"], "first");
    assert_eq!(followed.event("log")["line"], "second");
    said("third");
    assert_eq!(followed.event("log")["line"], "third");
}

#[test]
fn logs_follow_until_the_master_ends() {
    let mut embly = Embly::run(&waits());
    request(embly.at("script"), script("say one; write 4f4b"));
    let mut follows = command(&["logs", "-f"], embly.runtime.path());
    follows.stdout(std::process::Stdio::piped());
    let mut follows = follows.spawn().unwrap();
    let mut out = std::io::BufReader::new(follows.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        line
    };
    assert!(line().ends_with("| one\n"));
    request(embly.at("script"), script("say two; write 4f4b"));
    assert!(line().ends_with("| two\n"));
    embly.stops_with_nothing_left();
    assert_eq!(line(), "");
    assert_eq!(follows.wait().unwrap().code(), Some(0));
}

#[test]
fn events_are_followed_as_they_come_each_with_its_time() {
    let embly = Embly::run(&waits());
    let mut all = Lines::ask(&embly.admin(), "/v1/events?follow");
    request(embly.at("script"), script("say hello; write 4f4b"));
    let kinds = ["invocation_started", "log", "invocation_ended"];
    let address = embly.ending("script")["address"].clone();
    for kind in kinds {
        let event = all.event(kind);
        assert_eq!(event["address"], address);
        assert!(event["time"].is_string());
    }
}

#[test]
fn who_follows_and_does_not_read_loses_lines_is_told_how_many_and_holds_nobody_up() {
    let keys = "    limits: {log: {lines: none}}";
    let project = Project::new().guest_with("script", keys).http("script");
    let mut embly = Embly::run(&project);
    let mut slow = Lines::ask(&embly.admin(), "/v1/logs?follow");
    // More than its queue and the buffers of its socket take.
    let say = format!("say {}", "x".repeat(500));
    let steps = vec![say.as_str(); 100].join("; ");
    let mut lines = 0;
    let mut send = || {
        let answer = request(embly.at("script"), script(&format!("{steps}; write 4f4b")));
        assert_eq!(answer.status, 502, "no head was written");
        lines += 100;
    };
    for _ in 0..200 {
        send();
    }
    let ended = |count| {
        embly.nth_event("invocation_ended", count, |_| true);
    };
    ended(199);
    let (mut got, mut lost) = (0, 0);
    while got + lost < lines {
        let event = slow.next().unwrap();
        match event["event"].as_str() {
            Some("log") => got += 1,
            Some("lost") => lost += event["lines"].as_u64().unwrap(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got + lost, lines);
    assert!(lost > 0 && got > 4_000, "{got} {lost}");
    drop(slow);
    embly.stops_with_nothing_left();
}

#[test]
fn the_openapi_document_is_that_of_the_answers() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path().to_str().unwrap();
    let embly = Embly::start("run", &waits(), &["--state", state]);
    let _stream = begin(&embly, "script", "sleep 600000");
    let address = running(&embly, "script")["address"].clone();
    let (status, document) = embly.asks("GET", "/v1/openapi.json");
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        // Some have only POST, and some are elsewhere.
        let Some(get) = methods.get("get") else {
            continue;
        };
        if methods.get("servers").is_some() {
            continue;
        }
        let content = &get["responses"]["200"]["content"];
        let Some(reference) = content["application/json"]["schema"]["$ref"].as_str() else {
            assert!(content["application/x-ndjson"].is_object(), "{path}");
            continue;
        };
        let name = reference.rsplit('/').next().unwrap();
        let schema = &document["components"]["schemas"][name];
        let asked = path.replace("{id}", address.as_str().unwrap());
        fits(schema, &embly.asks("GET", &asked).1, path);
        seen += 1;
    }
    assert!(seen >= 6);
    let deploys = &document["paths"]["/v1/versions"]["post"]["requestBody"]["content"];
    assert!(
        deploys["application/vnd.embly.bundle"].is_object(),
        "{deploys}"
    );
    let failed = &document["components"]["schemas"]["Failed"];
    fits(failed, &embly.asks("GET", "/nothing").1, "/nothing");
}

/// Whether a value is what a schema says, with all of its fields and no others.
fn fits(schema: &Value, value: &Value, place: &str) {
    if let Some(any) = schema["anyOf"].as_array() {
        if !value.is_null() {
            fits(&any[0], value, place);
        }
        return;
    }
    let is = match schema["type"].as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        other => panic!("{other}"),
    };
    assert!(is, "{place}: {value} is not {schema}");
    if let Some(properties) = schema["properties"].as_object() {
        let fields = value.as_object().unwrap();
        assert!(fields.keys().eq(properties.keys()), "{place}: {value}");
        for (name, schema) in properties {
            fits(schema, &fields[name], &format!("{place}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        fits(&schema["items"], item, place);
    }
}

#[test]
fn commands_say_what_they_take() {
    let runtime = tempfile::tempdir().unwrap();
    let (code, _, err) = outcome(&mut command(&["kill", "nothex"], runtime.path()));
    assert_eq!(code, 2);
    assert!(err.contains("hex digits"), "{err}");
    let (code, _, err) = outcome(&mut command(
        &["logs", "--since", "yesterday"],
        runtime.path(),
    ));
    assert_eq!(code, 2);
    assert!(err.contains("10m"), "{err}");
    let (code, _, err) = outcome(&mut command(&["stop"], runtime.path()));
    assert_eq!(code, 1);
    assert!(err.contains("no master runs"), "{err}");
    let nowhere = tempfile::tempdir().unwrap();
    let path = nowhere.path().to_str().unwrap();
    let (code, _, _) = outcome(&mut command(&["ps", path], runtime.path()));
    assert_eq!(code, 2);
}

#[test]
fn in_the_folder_of_one_project_the_only_master_of_another_is_asked_and_not_changed() {
    let embly = Embly::run(&waits());
    let other = Project::new().wat("says", &answering("x")).http("says");
    let here = |arguments: &[&str]| {
        let mut command = command(arguments, embly.runtime.path());
        let output = command.current_dir(other.path()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), err)
    };
    let (code, err) = here(&["ps"]);
    assert!(code == 0 && err.contains("this is the one of"), "{err}");
    let id = embly.asks("GET", "/v1/master").1["id"].clone();
    let id = format!("--master {}", id.as_str().unwrap());
    for what in [
        &["stop"][..],
        &["reload"],
        &["kill", "8b3e0f6d2f1c9a47"],
        &["rollback"],
    ] {
        let (code, err) = here(what);
        assert_eq!(code, 1, "{what:?}: {err}");
        assert!(
            err.contains("no master of `embly-project.yml` runs"),
            "{err}"
        );
        assert!(err.contains(&id), "{err}");
    }
    assert_eq!(embly.asks("GET", "/v1/master").0, 200);
}

/// Who comes by `sudo` or `ssh` has not the variables of the service.
#[test]
fn the_master_of_a_service_is_found_without_its_variables() {
    if rustix::process::geteuid().as_raw() != 0 {
        return skipped("root, for mounts of its own");
    }
    let project = Project::new().wat("says", &answering("x")).http("says");
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir /run/embly && cd / || exit 1
        XDG_RUNTIME_DIR=/run/embly {EMBLY} run {} --bind 127.0.0.1:0 & master=$!
        unset XDG_RUNTIME_DIR
        until {EMBLY} ready; do sleep 0.1; kill -0 $master || exit 1; done 2>/dev/null
        {EMBLY} stop && wait $master",
        project.path().display()
    );
    let nowhere = tempfile::tempdir().unwrap();
    let mut command = support::environment(std::process::Command::new("unshare"), nowhere.path());
    command.args(["-m", "sh", "-c", &script]);
    let (code, out, err) = outcome(&mut command);
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.contains("stopped /"), "{err}");
}
