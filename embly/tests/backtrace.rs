//! Where a function was when it ended, in its log.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use support::client::get;
use support::{Embly, Project, output};

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
    let (small, short) = ("cpu: 200ms, memory: 8MiB", "wall: 300ms");
    for (how, first, limits) in [
        (
            "/trap",
            "trap: wasm `unreachable` instruction executed",
            small,
        ),
        ("/panic", "trap: panicked at src/falls.rs:", small),
        ("/spin", "cpu: ", small),
        ("/eat", "memory: limit `memory` reached: ", small),
        // These are ended from outside, and asked before.
        ("/spin", "wall: it was here", short),
        ("/wait", "wall: it was here", short),
    ] {
        let project = Project::new()
            .guest_with("falls", &format!("    limits: {{{limits}}}"))
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
        // What the allocator does is one line.
        let first = if how == "/eat" {
            "      … "
        } else {
            "   0: "
        };
        assert!(lines[head + 1].starts_with(first), "{lines:#?}");
        if !["/eat", "/wait"].contains(&how) {
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
fn a_panic_is_told_once_and_whole_and_without_what_means_nothing_here() {
    let project = Project::new().guest("falls").http("falls");
    let embly = Embly::run(&project);
    assert_eq!(get(embly.at("falls"), "/panic").reason(), "trap");
    let lines = log(&embly, "falls");
    assert!(
        lines[0].starts_with("trap: panicked at src/falls.rs:"),
        "{lines:#?}"
    );
    let all = lines.join("\n");
    assert_eq!(all.matches("panicked").count(), 1, "{all}");
    assert!(
        !all.contains("RUST_BACKTRACE") && !all.contains("unreachable"),
        "{all}"
    );
    // Nor that there was no memory, where that is the limit.
    let project = Project::new()
        .guest_with("falls", "    limits: {memory: 8MiB}")
        .http("falls");
    let embly = Embly::run(&project);
    assert_eq!(get(embly.at("falls"), "/eat").reason(), "memory");
    let lines = log(&embly, "falls");
    assert!(
        lines[0].starts_with("memory: limit `memory` reached: 8MiB, "),
        "{lines:#?}"
    );
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
    assert!(lines[2].ends_with(" more of the same"), "{lines:?}");
    assert!(lines.len() < 70, "{}", lines.len());
}

#[test]
fn a_stack_that_is_full_is_said_to_be_so_and_another_bad_address_is_not() {
    let wild = "(module (memory (export \"memory\") 1)
      (func (export \"_start\") (drop (i32.load (i32.const 100000)))))";
    let project = Project::new().guest("falls").wat("wild", wild);
    let embly = Embly::run(&project.http("falls").http("wild"));
    assert_eq!(get(embly.at("falls"), "/dive").reason(), "trap");
    let lines = log(&embly, "falls");
    assert!(
        lines[0].starts_with("trap: out of bounds memory access, with ")
            && lines[0].ends_with("most likely it is full, by a recursion without an end"),
        "{lines:#?}"
    );
    assert_eq!(get(embly.at("wild"), "/").reason(), "trap");
    let lines = log(&embly, "wild");
    assert_eq!(place(&lines, "trap: out of bounds memory access"), 0);
    assert!(!lines[0].contains("stack"), "{lines:#?}");
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

const PLACES: &str = "use embly::http::{Body, Request, ResponseWriter};
async fn handle(_: Request<Body>, _: ResponseWriter) {
    let none: Option<u32> = None;
    none.unwrap();
}
fn main() -> Result<(), embly::Error> { embly::http::run(handle) }
";

#[test]
fn what_is_worked_on_has_files_and_lines_and_what_is_shipped_has_none() {
    let project = Project::new().rust("places", PLACES).http("places");
    let embly = Embly::dev(&project);
    assert_eq!(get(embly.at("places"), "/").reason(), "trap");
    let lines = log(&embly, "places");
    // The function's own, as seen from the project; the rest in a line.
    let [head, std, name, at, sdk, main, begins] = &lines[..] else {
        panic!("{lines:#?}");
    };
    assert!(head.starts_with("trap: panicked at places/src/main.rs:4:10: called `Option"));
    assert!(
        std.starts_with("      … ") && std.ends_with(" of std"),
        "{std}"
    );
    assert_eq!(name, "   0: places::handle::{{closure}}");
    assert_eq!(at, "        at places/src/main.rs:4");
    assert!(
        sdk.ends_with(" of the SDK") || sdk.ends_with(" of std and the SDK"),
        "{sdk}"
    );
    assert_eq!(main, "   1: places::main");
    assert_eq!(begins, "        at places/src/main.rs:6");

    let has_lines = |file: &str| {
        let module = std::fs::read(project.folder().join(file)).unwrap();
        module.windows(11).any(|part| part == b".debug_line")
    };
    assert!(has_lines(".embly/wasm/lines/places.wasm"));
    let (code, _, stderr) = output(&["build", project.folder().to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    assert!(!has_lines(".embly/wasm/places.wasm"));
    // It is not what `embly dev` serves that was replaced.
    assert!(has_lines(".embly/wasm/lines/places.wasm"));
}

#[test]
fn whoever_says_something_about_lines_in_a_profile_has_chosen() {
    let project = Project::new().rust("places", PLACES).http("places");
    let manifest = project.read("Cargo.toml");
    let profile = "[profile.release]\ndebug = false\n";
    project.write("Cargo.toml", &format!("{manifest}\n{profile}"));
    let embly = Embly::dev(&project);
    assert_eq!(get(embly.at("places"), "/").reason(), "trap");
    let lines = log(&embly, "places");
    assert!(
        !lines.iter().any(|line| line.starts_with("        at ")),
        "{lines:#?}"
    );
}
