//! `environments` of the project file, and `--environment`.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::admin::objects;
use support::client::get;
use support::{Embly, Project, eventually, output};

const ENVIRONMENTS: &str = "environments:
  production:
    functions: [{name: tells, env: {GREETING: production, LEFT: ~}, limits: {wall: 5s}}]
    gateways: [{name: tells, hosts: [example.test]}]
  test:
    functions: [{name: tells, env: {GREETING: test}}]";

/// A function that tells its environment, with these environments of the project.
fn project(environments: &str) -> Project {
    let keys = "    env: {GREETING: base, LEFT: \"yes\"}";
    let project = Project::new().guest_with("tells", keys).http("tells");
    project.top(environments)
}

/// `embly check` on a project: exit code, stdout, stderr.
fn check(project: &Project, more: &[&str]) -> (i32, String, String) {
    let mut arguments = vec!["check", project.path().to_str().unwrap()];
    arguments.extend(more);
    output(&arguments)
}

#[test]
fn what_an_environment_says_takes_the_place_of_what_the_file_says_also_after_a_reload() {
    let project = project(ENVIRONMENTS);
    let embly = Embly::start("run", &project, &["--environment", "test"]);
    let told = |embly: &Embly| get(embly.at("tells"), "/").text();
    let text = told(&embly);
    assert!(
        text.contains("GREETING=test") && text.contains("LEFT=yes"),
        "{text}"
    );
    project.edit("GREETING: test", "GREETING: tested");
    embly.signal(Signal::HUP);
    eventually("the file that was read again", || {
        told(&embly).contains("GREETING=tested")
    });
    drop(embly);

    // `embly dev` sees it as it is saved.
    let embly = Embly::start("dev", &project, &["--environment", "test"]);
    assert!(told(&embly).contains("GREETING=tested"));
    project.edit("GREETING: tested", "GREETING: seen");
    eventually("the file that was saved", || {
        told(&embly).contains("GREETING=seen")
    });
    drop(embly);

    let embly = Embly::start("run", &project, &["--environment", "production"]);
    let refused = get(embly.at("tells"), "/");
    assert_eq!(refused.status, 421, "another host");
    let request = "GET / HTTP/1.1\r\nhost: example.test\r\nconnection: close\r\n\r\n";
    let text = support::client::request(embly.at("tells"), request).text();
    assert!(
        text.contains("GREETING=production") && !text.contains("LEFT="),
        "{text}"
    );
    drop(embly);

    let embly = Embly::run(&project);
    assert!(told(&embly).contains("GREETING=base"));
}

#[test]
fn what_runs_for_a_moment_has_the_environment_as_well() {
    let project = project(ENVIRONMENTS);
    let path = project.path().to_str().unwrap();
    let body = "GET {{tells}}/\nHTTP 200\n[Asserts]\nbody contains \"GREETING=test\"\n";
    project.write("tests/greeting.hurl", body);
    for (more, code) in [(&["--environment", "test"][..], 0), (&[], 1)] {
        let (ended, _, err) = output(&[&["test", path][..], more].concat());
        assert_eq!(ended, code, "{err}");
    }
    let invoke = ["invoke", "tells", path, "--http", "GET", "/"];
    let (code, out, err) = output(&[&invoke[..], &["--environment", "test"]].concat());
    assert!(code == 0 && out.contains("GREETING=test"), "{out}{err}");
}

#[test]
fn an_unknown_environment_is_an_error_that_names_those_that_are_there() {
    let project = project(ENVIRONMENTS);
    let path = project.path().to_str().unwrap();
    for command in [
        &["check"][..],
        &["run"],
        &["dev"],
        &["build"],
        &["test"],
        &["invoke", "tells"],
    ] {
        let (code, _, err) = output(&[command, &[path, "--environment", "staging"]].concat());
        assert_eq!(code, 2, "{command:?}: {err}");
        assert!(
            err.contains("E224") && err.contains("there is no environment `staging`"),
            "{err}"
        );
        assert!(err.contains("`production` and `test`"), "{err}");
    }
    let (_, _, err) = check(&project, &["--environment", "prodution"]);
    assert!(
        err.contains("did you mean `--environment production`?"),
        "{err}"
    );
}

#[test]
fn check_looks_at_all_environments_and_says_in_which_one_and_where_something_is_wrong() {
    let right = project(ENVIRONMENTS);
    let (code, _, err) = check(&right, &[]);
    assert_eq!(code, 0, "{err}");
    for said in [
        "environment production: 1 function",
        "environment test: 1 function",
        "all is right",
    ] {
        assert!(err.contains(said), "{err}");
    }

    let environments = ENVIRONMENTS.replace("wall: 5s", "wall: soon");
    let wrong = project(&environments.replace("GREETING: test", "GRE=ETING: test"));
    let (code, out, err) = check(&wrong, &["--format", "json"]);
    assert_eq!(code, 2, "{err}");
    let events = objects(&out);
    let problems: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "problems")
        .flat_map(|event| event["problems"].as_array().unwrap())
        .collect();
    let text = wrong.read("embly-project.yml");
    let line_of = |piece: &str| 1 + text.lines().position(|line| line.contains(piece)).unwrap();
    let place = |problem: &Value| (problem["environment"].clone(), problem["line"].clone());
    let places: Vec<_> = problems.iter().map(|problem| place(problem)).collect();
    let expected = [
        (json!("production"), json!(line_of("soon"))),
        (json!("test"), json!(line_of("GRE=ETING"))),
    ];
    assert_eq!(places, expected);
    // One of them alone.
    let (code, _, err) = check(&wrong, &["--environment", "test"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("environment `test`: 1 error") && !err.contains("soon"),
        "{err}"
    );
}

#[test]
fn files_of_the_machine_that_serves_are_missed_there_and_not_where_others_are_chosen_or_bundled() {
    let keys = "functions: [{name: tells, env: {GREETING: base}}]";
    let tls = "tls: {cert: /nowhere/web.pem, key: /nowhere/web.key}";
    let jwt = "auth: {jwt: {keys: /nowhere/keys.json, issuer: us, audience: all}}";
    let gateway = format!("gateways: [{{name: tells, {tls}, {jwt}}}]");
    let environments = format!("environments: {{production: {{{keys}, {gateway}}}}}");
    let project = project(&environments);
    let (code, _, err) = check(&project, &[]);
    assert_eq!(code, 0, "{err}");
    for file in ["web.pem", "web.key", "keys.json"] {
        let told = format!("warning[W104]: `/nowhere/{file}` is not on this machine");
        assert!(err.contains(&told), "{err}");
    }
    assert!(err.contains("environment production: 1 function"), "{err}");

    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("all.embly");
    let path = project.path().to_str().unwrap();
    let (code, _, err) = output(&["bundle", path, "-o", file.to_str().unwrap()]);
    assert!(code == 0 && err.contains("W104"), "{err}");

    // Where it is to run they have to be there.
    for command in [&["check", path][..], &["run", file.to_str().unwrap()]] {
        let (code, _, err) = output(&[command, &["--environment", "production"]].concat());
        assert_eq!(code, 2, "{command:?} {err}");
        assert!(
            err.contains("error[E184]") && err.contains("error[E207]"),
            "{err}"
        );
    }
    // What is relative would be here.
    project.edit("/nowhere/web", "nowhere/web");
    let (code, _, err) = check(&project, &[]);
    assert!(code == 2 && err.contains("error[E184]"), "{err}");
}

#[test]
fn the_resolved_file_is_shown_and_is_a_project_file_itself() {
    let project = project(ENVIRONMENTS);
    let more = ["--environment", "production", "--resolved"];
    let (code, out, err) = check(&project, &[&more[..], &["--format", "json"]].concat());
    assert_eq!(code, 0, "{err}");
    let events = objects(&out);
    let event = events
        .iter()
        .find(|event| event["event"] == "resolved")
        .unwrap();
    assert_eq!(event["environment"], "production");
    let function = &event["project"]["functions"][0];
    assert_eq!(function["env"], json!({"GREETING": "production"}));
    assert_eq!(function["limits"], json!({"wall": "5s"}));
    let gateway = &event["project"]["gateways"][0];
    assert_eq!(
        (&gateway["hosts"], &gateway["port"]),
        (&json!(["example.test"]), &json!(0))
    );
    assert!(event["project"].get("environments").is_none());

    let (code, yaml, err) = check(&project, &more);
    assert_eq!(code, 0, "{err}");
    project.write("embly-project.yml", &yaml);
    let (code, again, err) = check(&project, &["--resolved"]);
    assert_eq!((code, &again), (0, &yaml), "{err}");
}
