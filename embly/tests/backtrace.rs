//! Where a function was when it ended, in its log.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use support::client::get;
use support::{Embly, Project};

/// The lines on stderr up to the ending of the first invocation of a function.
fn log(embly: &Embly, function: &str) -> Vec<String> {
    embly.ending(function);
    let events = embly.events();
    let lines = events.iter().filter(|event| {
        event["event"] == "log" && event["function"] == function && event["stream"] == "stderr"
    });
    lines
        .map(|event| event["line"].as_str().unwrap().to_owned())
        .collect()
}

/// Where a line with these words stands.
#[track_caller]
fn place(lines: &[String], words: &str) -> usize {
    let place = lines.iter().position(|line| line.contains(words));
    place.unwrap_or_else(|| panic!("no `{words}` in {lines:#?}"))
}

#[test]
fn a_trap_a_panic_and_a_limit_show_in_the_log_where_the_function_was() {
    for (how, first) in [
        ("/trap", "trap: wasm `unreachable` instruction executed"),
        ("/panic", "trap: panicked at src/falls.rs:"),
        ("/spin", "cpu: "),
        ("/eat", "memory: memory limit reached: "),
    ] {
        let project = Project::new()
            .guest_with("falls", "    limits: {cpu: 200ms, memory: 8MiB}")
            .http("falls");
        let embly = Embly::run(&project);
        let answer = get(embly.at("falls"), how);
        assert!(answer.status >= 500, "{how}");
        // Nothing of it is for the client.
        assert!(!answer.text().contains("guest::"), "{}", answer.text());
        let lines = log(&embly, "falls");
        let head = place(&lines, first);
        let second = place(&lines, "guest::falls::second");
        let caller = place(&lines, "guest::falls::first");
        assert!(head < second && second < caller, "{how}: {lines:#?}");
        // Names as they were written, and nothing of the machinery above and below.
        assert!(!lines.iter().any(|line| line.contains("17h")), "{lines:#?}");
        assert!(lines[head + 1].starts_with("   0: "), "{lines:#?}");
        if how != "/eat" {
            assert_eq!(second, head + 1, "{how}: {lines:#?}");
        }
        let ending = embly.ending("falls");
        assert!(
            !ending["detail"].as_str().unwrap().contains("guest::"),
            "{ending}"
        );
    }
}

#[test]
fn an_exit_has_no_backtrace() {
    let embly = Embly::run(&Project::new().guest("falls").http("falls"));
    assert_eq!(get(embly.at("falls"), "/exit").status, 500);
    assert_eq!(log(&embly, "falls"), [""; 0]);
}

#[test]
fn a_text_modules_names_are_in_the_log_and_a_deep_recursion_is_cut() {
    let text = "(module (memory (export \"memory\") 1)
      (func $dive (param i32) (result i32)
        (i32.add (call $dive (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
      (func $begin (export \"_start\") (drop (call $dive (i32.const 0)))))";
    let embly = Embly::run(&Project::new().wat("dives", text).http("dives"));
    assert_eq!(get(embly.at("dives"), "/").reason(), "trap");
    let lines = log(&embly, "dives");
    assert_eq!(place(&lines, "trap: call stack exhausted"), 0);
    assert_eq!(lines[1], "   0: dive");
    assert!((10..70).contains(&lines.len()), "{}", lines.len());
}

#[test]
fn a_module_without_names_shows_numbers() {
    // `(func unreachable)` without a name, exported as the entry's helper.
    let text = "(module (memory (export \"memory\") 1)
      (func unreachable)
      (func (export \"_start\") (call 0) (call 0)))";
    let embly = Embly::run(&Project::new().wat("anonymous", text).http("anonymous"));
    assert_eq!(get(embly.at("anonymous"), "/").reason(), "trap");
    let lines = log(&embly, "anonymous");
    place(&lines, "   0: function 0");
}

#[test]
fn with_line_tables_files_and_lines_are_in_the_log() {
    let project = Project::new()
        .rust(
            "places",
            "use embly::http::{Body, Request, ResponseWriter};\n\
             fn handle(_: Request<Body>, _: ResponseWriter) { fall(); }\n\
             #[inline(never)]\n\
             fn fall() {\n\
             \x20   core::arch::wasm32::unreachable()\n\
             }\n\
             fn main() -> Result<(), embly::Error> { embly::http::run(handle) }\n",
        )
        .http("places");
    let manifest = project.read("Cargo.toml");
    project.write(
        "Cargo.toml",
        &format!("{manifest}\n[profile.release]\ndebug = \"line-tables-only\"\n"),
    );
    let embly = Embly::run(&project);
    assert_eq!(get(embly.at("places"), "/").reason(), "trap");
    let lines = log(&embly, "places");
    let fall = place(&lines, "places::fall");
    assert!(lines[fall + 1].contains("src/main.rs:5"), "{lines:#?}");
}
