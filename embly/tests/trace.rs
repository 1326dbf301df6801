//! What a master keeps of invocations, and `embly trace`, which shows it.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::Write;

use serde_json::{Value, json};
use support::admin::objects;
use support::client::{Connection, connect, get, post, request, script, write};
use support::project::answering;
use support::secrets::{LISTED, Place};
use support::{Embly, Project, eventually};

/// What is kept under this id, as the command prints it in JSON.
fn traces(embly: &Embly, id: &str) -> Vec<Value> {
    let (code, out, err) = embly.told(&["trace", id, "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    objects(&out)
}

/// The only one, once all of it has ended.
fn trace(embly: &Embly, id: &str) -> Value {
    let mut found = Value::Null;
    eventually("the end of all of it", || {
        let mut all = traces(embly, id);
        assert_eq!(all.len(), 1);
        found = all.remove(0);
        let mut invocations = list(&found, "invocations").iter();
        invocations.all(|one| !one["ended_us"].is_null())
    });
    found
}

fn list<'v>(trace: &'v Value, key: &str) -> &'v Vec<Value> {
    trace[key].as_array().unwrap()
}

/// The messages from one to the other: kind and bytes.
fn between<'v>(trace: &'v Value, from: &Value, to: &Value) -> Vec<(&'v str, u64)> {
    let messages = list(trace, "messages").iter();
    let meant = messages.filter(|one| one["from"] == *from && one["to"] == *to);
    let shown = meant.map(|one| {
        (
            one["kind"].as_str().unwrap(),
            one["bytes"].as_u64().unwrap(),
        )
    });
    shown.collect()
}

/// How many bytes these are.
fn bytes(messages: &[(&str, u64)]) -> u64 {
    messages.iter().map(|(_, bytes)| bytes).sum()
}

#[test]
fn a_trace_has_who_started_whom_and_the_sizes_and_times_of_messages_and_ends() {
    let project = Project::new().guest("spawns").guest("script");
    let embly = Embly::run(&project.http("spawns"));
    let task = script("write 414243; exit 3");
    let answer = post(embly.at("spawns"), "/script", task.as_bytes());
    let id = answer.header("x-request-id").unwrap();
    let found = trace(&embly, id);
    assert_eq!(found["event"], "trace");
    let [parent, child] = &list(&found, "invocations")[..] else {
        panic!("{found}");
    };
    assert_eq!(
        (&parent["function"], &parent["gateway"], &parent["reason"]),
        (&json!("spawns"), &json!("spawns"), &json!("ok"))
    );
    assert_eq!(child["parent"], parent["address"]);
    assert_eq!(
        (&child["function"], &child["reason"], &child["code"]),
        (&json!("script"), &json!("exit"), &json!(3))
    );
    assert_eq!(
        (&child["request_id"], &child["gateway"]),
        (&json!(id), &Value::Null)
    );
    let time = |of: &Value, key: &str| of[key].as_u64().unwrap();
    assert!(time(parent, "at_us") <= time(child, "at_us"));
    assert!(time(child, "at_us") <= time(child, "ended_us"));
    assert!(time(child, "ended_us") <= time(parent, "ended_us"));

    let to_child = between(&found, &parent["address"], &child["address"]);
    assert_eq!(bytes(&to_child), task.len() as u64);
    assert_eq!(to_child.last(), Some(&("close", 0)));
    let to_parent = between(&found, &child["address"], &parent["address"]);
    assert_eq!(bytes(&to_parent), 3);
    assert_eq!(child["bytes_out"], 3);
    let to_client = between(&found, &parent["address"], &parent["parent"]);
    assert_eq!(
        bytes(&to_client) + bytes(&to_child),
        time(parent, "bytes_out")
    );
    let from_client = between(&found, &parent["parent"], &parent["address"]);
    assert_eq!(bytes(&from_client) + 3, time(parent, "bytes_in"));
    let times: Vec<u64> = list(&found, "messages")
        .iter()
        .map(|one| time(one, "at_us"))
        .collect();
    assert!(times.is_sorted(), "{times:?}");

    // By the address of any of them it is the same, and for people it is a tree.
    assert_eq!(trace(&embly, child["address"].as_str().unwrap()), found);
    let (code, out, _) = embly.told(&["trace", id]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].ends_with(&format!("request {id}")), "{out}");
    assert_eq!(lines[1], "POST /script: 200");
    assert!(
        lines[2].starts_with("spawns ") && lines[2].contains(": ok after "),
        "{out}"
    );
    let below = lines
        .iter()
        .position(|line| line.contains(" script "))
        .unwrap();
    assert!(
        lines[below].starts_with("├ +") && lines[below].contains(": exit 3 after "),
        "{out}"
    );
    assert!(lines[below + 1].starts_with("│ ├ +"), "{out}");
    assert!(out.contains("out 3B"), "{out}");
}

#[test]
fn a_handler_that_has_failed_is_not_shown_as_one_that_has_not() {
    let project = Project::new().guest("fails-caught").http("fails-caught");
    let embly = Embly::run(&project);
    let answer = get(embly.at("fails-caught"), "/");
    assert_eq!(answer.status, 500);
    let id = answer.header("x-request-id").unwrap();
    assert_eq!(trace(&embly, id)["failed"], true);
    let (_, out, _) = embly.told(&["trace", id]);
    assert!(
        out.contains("GET /: 500, the handler has returned an `Err`"),
        "{out}"
    );
    let (_, out, _) = embly.told(&["trace"]);
    assert!(out.contains("ok, Err"), "{out}");
}

#[test]
fn a_trace_and_the_list_have_what_was_asked_for_and_the_status_of_the_answer() {
    let place = Place::new(Project::new().guest_with("script", LISTED).http("script"));
    let embly = place.start("run", &[("KEY", "a-value-that-is-secret")], &[]);
    let path = format!("/a-value-that-is-secret/{}?x=y", "long".repeat(200));
    let asked = script("exit 7").replace("GET /", &format!("DELETE {path}"));
    let answer = request(embly.at("script"), asked);
    let found = trace(&embly, answer.header("x-request-id").unwrap());
    assert_eq!(
        (&found["method"], &found["status"]),
        (&json!("DELETE"), &json!(500))
    );
    let kept = found["path"].as_str().unwrap();
    assert!(kept.starts_with("/[secret KEY]/longlong"), "{kept}");
    assert_eq!(kept.len(), 512);
    let (_, out, _) = embly.told(&["trace"]);
    assert!(
        out.contains("  500     ") && out.contains("  DELETE /[secret KEY]/longlong"),
        "{out}"
    );

    // It is there before the answer is over.
    let mut connection = Connection::new(embly.at("script"));
    let head = write("HTTP/1.1 201 Made\r\ncontent-length: 5\r\n\r\n");
    connection.send(script(&format!("{head}; sleep 600000")));
    let answer = connection.head();
    let id = answer.header("x-request-id").unwrap();
    let (_, out, _) = embly.told(&["trace", id]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[1], "GET /: 201", "{out}");
    assert!(lines[2].ends_with(" runs"), "{out}");
}

#[test]
fn the_beginning_of_an_id_is_enough_where_no_other_begins_like_it() {
    let project = Project::new().wat("hello", &answering("hello"));
    let embly = Embly::run(&project.http("hello"));
    let answers = [(); 2].map(|()| get(embly.at("hello"), "/"));
    let [first, second] = answers
        .each_ref()
        .map(|answer| answer.header("x-request-id").unwrap());
    let alike = first.bytes().zip(second.bytes());
    let alike = alike.take_while(|(one, other)| one == other).count();
    let (code, out, err) = embly.told(&["trace", &first[..alike]]);
    assert_eq!((code, out.as_str()), (1, ""));
    let expected = format!(
        "several begin with `{}`: `{second}`, `{first}`: write more of the one that is meant",
        &first[..alike]
    );
    assert!(err.contains(&expected), "{err}");
    assert_eq!(trace(&embly, &first[..=alike]), trace(&embly, first));
    let found = trace(&embly, second);
    let address = list(&found, "invocations")[0]["address"].as_str().unwrap();
    assert_eq!(trace(&embly, &address[..8]), found);
}

#[test]
fn what_runs_is_traced_as_it_goes_on_and_a_refusal_says_why() {
    let keys = "    allow: {spawn: []}";
    let project = Project::new().guest_with("script", keys).http("script");
    let embly = Embly::run(&project);
    let mut stream = connect(embly.at("script"));
    let steps = script("write 485454; call script; sleep 600000");
    stream.write_all(steps.as_bytes()).unwrap();
    let mut found = Value::Null;
    eventually("a refusal in a trace", || {
        let running = embly.invocations("script");
        let Some(address) = running.first().map(|one| one["address"].as_str().unwrap()) else {
            return false;
        };
        found = traces(&embly, address).remove(0);
        !list(&found, "refusals").is_empty()
    });
    let one = &list(&found, "invocations")[0];
    assert_eq!(
        (&one["reason"], &one["ended_us"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(one["bytes_out"], 3);
    let refusal = &list(&found, "refusals")[0];
    assert_eq!(refusal["address"], one["address"]);
    let what = refusal["what"].as_str().unwrap();
    assert!(what.contains("spawn of `script`: not allowed"), "{what}");
    let (_, out, _) = embly.told(&["trace", one["address"].as_str().unwrap()]);
    assert!(
        out.contains(" runs\n") && out.contains("refused: spawn of `script`"),
        "{out}"
    );
}

#[test]
fn calls_of_services_and_streams_by_name_are_in_a_trace() {
    let host = "    start: true\n    restart: always\n    allow: {register: [board]}";
    let project = Project::new()
        .guest_with("board", host)
        .guest_with("visits", "    allow: {reach: [board]}")
        .http("visits")
        .guest_with("calls-services", "    allow: {kv: [{store: default}]}")
        .http("calls-services")
        .store("name: default, type: kv");
    let embly = Embly::run(&project);
    embly.event("log", |event| event["line"] == "open");
    let answer = post(embly.at("visits"), "/board", b"one\n");
    let visitor = trace(&embly, answer.header("x-request-id").unwrap());
    let own = &list(&visitor, "invocations")[0]["address"];
    // The host is in a trace of its own, which has the same.
    let board = embly.invocations("board").remove(0)["address"].clone();
    let of_host = traces(&embly, board.as_str().unwrap()).remove(0);
    for trace in [&visitor, &of_host] {
        assert_eq!(bytes(&between(trace, own, &board)), 4, "{trace}");
        assert_eq!(bytes(&between(trace, &board, own)), 4, "{trace}");
    }
    let (_, out, _) = embly.told(&["trace", own.as_str().unwrap()]);
    let to = format!("out 4B, by name to {}", board.as_str().unwrap());
    assert!(out.contains(&to), "{out}");

    let answer = post(embly.at("calls-services"), "/embly/kv/get", b"a");
    let found = trace(&embly, answer.header("x-request-id").unwrap());
    let [caller, call] = &list(&found, "invocations")[..] else {
        panic!("{found}");
    };
    assert_eq!(call["parent"], caller["address"]);
    assert_eq!(
        (&call["function"], &call["reason"]),
        (&json!("embly/kv/get"), &json!("refused"))
    );
    let asked = between(&found, &caller["address"], &call["address"]);
    assert_eq!(bytes(&asked), 1);
}

/// A request that goes on, once its function runs.
fn begins(embly: &Embly, steps: &str) -> Connection {
    let mut connection = Connection::new(embly.at("script"));
    connection.send(script(steps));
    embly.event("log", |event| event["line"] == "begun");
    connection
}

#[test]
fn what_is_kept_is_listed_and_what_is_not_is_said_to_be_unknown() {
    let project = Project::new().guest("script").guest("greets");
    let embly = Embly::run(&project.http("script").tcp("greets"));
    let (code, out, err) = embly.told(&["trace"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("nothing has run yet"), "{err}");
    request(embly.at("script"), script("exit 7"));
    embly.ending("script");
    drop(connect(embly.at("greets")));
    embly.ending("greets");
    let (_, out, _) = embly.told(&["trace", "--format", "json"]);
    let listed = objects(&out);
    assert_eq!(listed.len(), 2);
    assert_eq!(
        (
            &listed[0]["event"],
            &listed[0]["function"],
            &listed[0]["reason"]
        ),
        (&json!("traced"), &json!("script"), &json!("exit"))
    );
    assert_eq!(listed[1]["gateway"], "greets");
    let (_, out, _) = embly.told(&["trace", "--function", "greets"]);
    assert_eq!(out.lines().count(), 2, "{out}");
    let id = listed[0]["request_id"].as_str().unwrap();
    assert!(!out.contains(id), "{out}");
    // As they began, and not as they ended: one that goes on stays where it is.
    let _long = begins(&embly, "say begun; sleep 600000");
    request(embly.at("script"), script("exit 8"));
    let (_, out, _) = embly.told(&["trace", "--format", "json", "--function", "script"]);
    let reasons: Vec<Value> = objects(&out)
        .iter()
        .map(|one| one["reason"].clone())
        .collect();
    assert_eq!(reasons, [json!("exit"), Value::Null, json!("exit")]);
    let (code, _, err) = embly.told(&["trace", "nothing here"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("nothing is kept of an invocation or a request `nothing here`"),
        "{err}"
    );
    assert!(err.contains("`embly trace` lists"), "{err}");
    let (code, _, err) = embly.told(&["trace", "--function", "nobody"]);
    assert_eq!(code, 1);
    assert!(err.contains("there is no function `nobody`"), "{err}");
}
