//! `embly dev`: what is saved is served, and nothing is lost on the way.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeSet;
use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use support::client::{connect, pause};
use support::process::time_until_gone;
use support::project::answering;
use support::{Embly, Project, Session, eventually, get};

/// A function that says what it was built with, after the milliseconds in the path.
fn rust(text: &str) -> String {
    let unique = tempfile::tempdir().unwrap().path().display().to_string();
    format!(
        "use std::io::Write;
        use embly::http::{{Body, Request, ResponseWriter}};

        fn main() -> Result<(), embly::Error> {{
            embly::http::run(|request: Request<Body>, mut w: ResponseWriter| {{
                println!(\"begun\");
                // So that nobody has compiled this before.
                eprintln!(\"{unique}\");
                let time = request.uri().path()[1..].parse().unwrap_or(0);
                std::thread::sleep(std::time::Duration::from_millis(time));
                w.write_all(b\"{text}\").unwrap();
            }})
        }}\n"
    )
}

/// How often a function was compiled. cargo may have been asked and found nothing to do.
fn builds(embly: &Embly, function: &str) -> usize {
    let events = embly.events();
    let built = events
        .iter()
        .filter(|event| event["event"] == "build" && event["state"] == "compiled");
    built.filter(|event| event["function"] == function).count()
}

#[test]
fn a_change_of_a_source_rebuilds_its_function_only_and_a_mistake_leaves_the_old_code() {
    let project = Project::unparked()
        .rust("one", &rust("1"))
        .rust("two", &rust("2"))
        .http("one")
        .http("two");
    let embly = Embly::dev(&project);
    let (one, two) = (embly.at("one"), embly.at("two"));
    assert_eq!(
        (get(one, "/").text(), get(two, "/").text()),
        ("1".to_owned(), "2".to_owned())
    );
    let (old, other) = (embly.fork_server("one"), embly.fork_server("two"));

    let under_way = thread::spawn(move || get(one, "/3000"));
    embly.nth_event("log", 2, |event| event["line"] == "begun");
    project.write("one/src/main.rs", &rust("one"));
    eventually("the new code", || get(one, "/").text() == "one");
    assert_eq!(under_way.join().unwrap().text(), "1");
    time_until_gone(&[old]);
    assert_eq!((builds(&embly, "one"), builds(&embly, "two")), (2, 1));
    assert_eq!(embly.fork_server("two"), other);

    project.write("one/src/main.rs", "fn main() { no_such_function() }\n");
    eventually("the compiler's words", || {
        embly.stderr().contains("no_such_function")
    });
    embly.event("build", |event| event["state"] == "failed");
    assert_eq!(get(one, "/").text(), "one");
    assert!(
        embly.stderr().contains("error[E0425]"),
        "{}",
        embly.stderr()
    );

    project.write("one/src/main.rs", &rust("eins"));
    eventually("the cure", || get(one, "/").text() == "eins");
    assert_eq!(builds(&embly, "two"), 1);
    assert_eq!(embly.fork_server("two"), other);
}

#[test]
fn no_request_fails_while_code_is_replaced_all_the_time() {
    let project = Project::unparked()
        .wat("says", &answering("0"))
        .http("says");
    let embly = Embly::dev(&project);
    let at = embly.at("says");
    let done = support::Done::default();
    let answers = thread::scope(|scope| {
        let at_end = done.at_end();
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let (mut session, mut answers) = (Session::new(at), Vec::new());
                    while !done.is_set() {
                        let answer = session.get("/").unwrap();
                        answers.push((answer.status, answer.text()));
                    }
                    answers
                })
            })
            .collect();
        let since = Instant::now();
        let mut version = 0;
        while since.elapsed() < Duration::from_secs(5) {
            pause(300, "a version is served for a while");
            version += 1;
            project.write("says.wat", &answering(&version.to_string()));
        }
        let last = version.to_string();
        eventually("the last version", || get(at, "/").text() == last);
        drop(at_end);
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect::<Vec<_>>()
    });
    let failed: Vec<_> = answers
        .iter()
        .filter(|(status, _)| *status != 200)
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {}: {failed:?}",
        failed.len(),
        answers.len()
    );
    let versions: BTreeSet<&str> = answers.iter().map(|(_, text)| text.as_str()).collect();
    assert!(versions.len() >= 5, "{versions:?}");
    eventually("the end of the other versions", || {
        embly.processes().len() == 1
    });
}

#[test]
fn the_next_connection_gets_the_new_code() {
    let talks = |text: &str| answering(text).replace("HTTP/1.1 200 OK", "HELLO WORLD 0K!");
    let project = Project::unparked().wat("talks", &talks("old")).tcp("talks");
    let embly = Embly::dev(&project);
    let said = || {
        let mut text = String::new();
        connect(embly.at("talks"))
            .read_to_string(&mut text)
            .unwrap();
        text
    };
    assert!(said().ends_with("old"));
    let old = embly.fork_server("talks");
    project.write("talks.wat", &talks("new"));
    embly.nth_event("build", 1, |_| true);
    time_until_gone(&[old]);
    assert!(said().ends_with("new"));
}

#[test]
fn a_text_module_with_a_mistake_is_shown_and_the_old_one_served() {
    let project = Project::unparked()
        .wat("says", &answering("right"))
        .http("says");
    let embly = Embly::dev(&project);
    project.write("says.wat", "(module\n  (funk))\n");
    let failed = embly.event("build", |event| event["state"] == "failed");
    let detail = failed["detail"].as_str().unwrap();
    assert!(detail.contains("says.wat:2:4"), "{detail}");
    assert_eq!(get(embly.at("says"), "/").text(), "right");
    project.write("says.wat", &answering("right again"));
    eventually("the cure", || {
        get(embly.at("says"), "/").text() == "right again"
    });
}

#[test]
fn gateways_come_go_and_change_with_the_project_file_and_a_broken_one_changes_nothing() {
    let project = Project::unparked()
        .wat("a", &answering("a"))
        .wat("b", &answering("b"));
    let project = project.gateway("first", "http", "a");
    let embly = Embly::dev(&project);
    let first = embly.at("first");
    assert_eq!(get(first, "/").text(), "a");
    let server = embly.fork_server("a");

    project.edit("function: a", "function: b");
    eventually("the other function", || get(first, "/").text() == "b");

    project.edit(
        "gateways:\n",
        "gateways:\n  - {name: second, type: http, port: 0, function: a}\n",
    );
    let listening = embly.event("listening", |event| event["gateway"] == "second");
    let second = listening["url"]
        .as_str()
        .unwrap()
        .trim_start_matches("http://")
        .parse()
        .unwrap();
    assert_eq!(get(second, "/").text(), "a");
    assert_eq!(embly.fork_server("a"), server, "nothing of it has changed");

    project.edit("type: http\n    port", "type: smtp\n    port");
    eventually("the complaint", || {
        embly.stderr().contains("the project is served as it was")
    });
    assert_eq!(
        (get(first, "/").text(), get(second, "/").text()),
        ("b".to_owned(), "a".to_owned())
    );
    project.edit("type: smtp", "type: http");

    project.edit("  - {name: second, type: http, port: 0, function: a}\n", "");
    eventually("the end of a gateway", || {
        TcpStream::connect(second).is_err()
    });
    assert_eq!(get(first, "/").text(), "b");

    project.edit("- name: a\n", "- name: c\n");
    time_until_gone(&[server]);
    assert_eq!(get(first, "/").text(), "b");
}

#[test]
fn no_request_fails_while_a_gateway_changes_its_function_all_the_time() {
    // Each function is gone from the project as the other one takes its place.
    let project = Project::unparked()
        .wat("even", &answering("fine"))
        .gateway("index", "http", "even");
    let embly = Embly::start_detached("run", &project);
    let at = embly.at("index");
    let done = support::Done::default();
    thread::scope(|scope| {
        let at_end = done.at_end();
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut session = Session::new(at);
                    while !done.is_set() {
                        let answer = session.get("/").unwrap();
                        assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
                    }
                })
            })
            .collect();
        for round in 0..30 {
            let (old, new) = if round % 2 == 0 {
                ("even", "odd")
            } else {
                ("odd", "even")
            };
            let file = project.read("embly-project.yml");
            let file = file.replace(&format!("name: {old}\n"), &format!("name: {new}\n"));
            project.write(
                "embly-project.yml",
                &file.replace(&format!("function: {old}\n"), &format!("function: {new}\n")),
            );
            let reloaded = || embly.messages("reloaded");
            let before = reloaded();
            embly.signal(rustix::process::Signal::HUP);
            eventually("the reload", || reloaded() > before);
        }
        drop(at_end);
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
    });
}
