//! Where a guest was when it ended, as lines for the log.
//!
//! Names come from the module's name section, files and lines from its DWARF, where it has some. All
//! of it is the guest's own claim: it is text, cut to a length, and nothing is done with it.

use protos::{Ending, Reason};
use wasmtime::{Error, FrameInfo, WasmBacktrace};

use crate::host::log::Panic;

/// The longest line, in characters: names of generic functions can be endless.
const MAX_LINE: usize = 300;

/// The most lines. Each frame may stand for several that were inlined.
const MAX_LINES: usize = 64;

/// How the functions begin that report a panic; whoever called them is of interest.
const OF_A_PANIC: [&str; 10] = [
    "__rust",
    "rust_panic",
    "rust_begin_unwind",
    "panic_abort::",
    "abort",
    "std::panicking::",
    "std::process::abort",
    "std::sys::",
    "core::panicking::",
    "<std::",
];

/// What runs before a program's own `main` has this in its name.
const BEFORE_MAIN: &str = "__rust_begin_short_backtrace";

/// Crates of std, and what is only ever below them.
const STD: [&str; 8] = [
    "std",
    "core",
    "alloc",
    "dlmalloc",
    "compiler_builtins",
    "panic_abort",
    "__rustc",
    "wasi",
];

/// Where crates were that std depends on, as it is given to others.
const STD_DEPENDENCIES: &str = "/rust/deps/";

/// The crate that functions are written with.
const SDK: &str = "embly_sdk";

/// The folder of its sources, in a project or in a cache of cargo.
const SDK_FOLDER: &str = "/embly-sdk";

/// Where sources of std lie in a path, wherever it was compiled.
const LIBRARY: &str = "/library/";

/// The lines, with the ending first, or the panic that it was; none where the end of the run is no
/// surprise. Which function it was is not always known. What runs of std and of the SDK stand between the function's own, one line says.
pub fn lines(error: &Error, ending: &Ending, panic: Option<&Panic>) -> Vec<String> {
    match ending.reason {
        Reason::Trap | Reason::Memory | Reason::Cpu | Reason::Wall => {}
        _ => return Vec::new(),
    }
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let frames = backtrace.map_or(&[][..], WasmBacktrace::frames);
    let frames: Vec<Frame> = frames.iter().flat_map(Frame::of).collect();
    let frames = interesting(&frames);
    let mut lines = match panic {
        Some(panic) => panic.lines(),
        None => vec![cut(&ending.detail)],
    };
    lines[0].insert_str(0, &format!("{}: ", ending.reason));
    lines.extend(shown(frames).iter().map(|line| cut(line)));
    lines
}

/// A line or two for each frame, and one for those that are nobody's own.
fn shown(frames: &[Frame]) -> Vec<String> {
    let mut lines = Vec::new();
    // Where nothing is the function's own, all of it is of interest.
    let folds = frames.iter().any(|frame| frame.origin() == Origin::Own);
    let mut number = 0;
    // What calls `main` is of no interest.
    let end = frames
        .iter()
        .rposition(|frame| frame.origin() != Origin::Std);
    let frames = match end {
        Some(end) if folds => &frames[..=end],
        _ => frames,
    };
    for run in frames.chunk_by(|one, other| one.is_own() == other.is_own()) {
        if folds && !run[0].is_own() {
            lines.push(folded(run));
            continue;
        }
        // A recursion without an end has nothing else.
        for same in run.chunk_by(|one, other| one == other) {
            let frame = &same[0];
            lines.push(format!("{number:4}: {}", frame.name));
            let place = frame.place.as_deref();
            lines.extend(place.map(|place| format!("        at {}", shorten(place))));
            if let more @ 1.. = same.len() - 1 {
                lines.push(format!("      … {more} more of the same"));
            }
            number += same.len();
        }
    }
    if lines.len() > MAX_LINES {
        lines.truncate(MAX_LINES);
        lines.push("      …".to_owned());
    }
    lines
}

/// The line for frames that are not the function's own.
fn folded(frames: &[Frame]) -> String {
    let has = |origin| frames.iter().any(|frame| frame.origin() == origin);
    let of = match (has(Origin::Std), has(Origin::Sdk)) {
        (true, true) => "std and the SDK",
        (_, false) => "std",
        (false, true) => "the SDK",
    };
    let (count, s) = (frames.len(), if frames.len() == 1 { "" } else { "s" });
    format!("      … {count} frame{s} of {of}")
}

/// A path, without where std was compiled.
pub fn shorten(text: &str) -> String {
    let Some(at) = of_library(text) else {
        return text.to_owned();
    };
    let start = text[..at].rfind(' ').map_or(0, |space| space + 1);
    [&text[..start], &text[at + 1..]].concat()
}

/// Where `/library/` begins, in the path of a source of std.
fn of_library(text: &str) -> Option<usize> {
    let at = text.find(LIBRARY)?;
    let crates = ["std/src/", "core/src/", "alloc/src/"];
    let rest = &text[at + LIBRARY.len()..];
    crates.iter().any(|one| rest.starts_with(one)).then_some(at)
}

/// Whose code a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Own,
    Std,
    Sdk,
}

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    name: String,
    /// File and line.
    place: Option<String>,
}

impl Frame {
    fn is_own(&self) -> bool {
        self.origin() == Origin::Own
    }

    /// By its file, where that says it, or by the crate that its name begins with: those that were
    /// inlined may have their own name only.
    fn origin(&self) -> Origin {
        let place = self.place.as_deref().unwrap_or_default();
        if of_library(place).is_some() || place.contains(STD_DEPENDENCIES) {
            return Origin::Std;
        }
        if place.contains(SDK_FOLDER) {
            return Origin::Sdk;
        }
        match crate_of(&self.name) {
            Some(SDK) => Origin::Sdk,
            Some(name) if STD.contains(&name) => Origin::Std,
            // What a compiler makes for allocators and panics has no crate.
            _ if self.name.starts_with("__r") || self.name.starts_with("rust_") => Origin::Std,
            _ => Origin::Own,
        }
    }

    /// The functions of one frame: more than one where some were inlined.
    fn of(frame: &FrameInfo) -> Vec<Self> {
        let name = || {
            let index = frame.func_index();
            frame
                .func_name()
                .map_or_else(|| format!("function {index}"), demangle)
        };
        let symbols: Vec<_> = frame.symbols().iter().collect();
        if symbols.is_empty() {
            return vec![Self {
                name: name(),
                place: None,
            }];
        }
        // The last one is the function itself; its name in the name section has its modules.
        let of = |(n, symbol): (usize, &&wasmtime::FrameSymbol)| {
            let itself = n + 1 == symbols.len();
            let inlined = symbol.name().filter(|_| !itself);
            let line = symbol.line().map(|line| format!(":{line}"));
            let line = line.unwrap_or_default();
            Self {
                name: inlined.map_or_else(name, demangle),
                place: symbol.file().map(|file| format!("{file}{line}")),
            }
        };
        symbols.iter().enumerate().map(of).collect()
    }
}

/// Without what reports a panic above, and what runs before `main` below.
fn interesting(frames: &[Frame]) -> &[Frame] {
    let of_a_panic = |frame: &Frame| OF_A_PANIC.iter().any(|begin| frame.name.starts_with(begin));
    let first = frames.iter().position(|frame| !of_a_panic(frame));
    let rest = frames.get(first.unwrap_or(0)..).unwrap_or_default();
    let end = rest
        .iter()
        .position(|frame| frame.name.contains(BEFORE_MAIN));
    match end {
        Some(end) if end > 0 => &rest[..end],
        _ => rest,
    }
}

/// The crate of a function: of `<T as Trait>::f` that of `T`, or of the trait where `T` is only a letter.
fn crate_of(name: &str) -> Option<&str> {
    let mut rest = name;
    loop {
        rest = rest.trim_start_matches(['<', '&', '*', '(', '[', ' ']);
        let mut words = ["mut ", "const ", "dyn ", "impl ", "fn"].iter();
        let Some(word) = words.find(|word| rest.starts_with(**word)) else {
            break;
        };
        rest = &rest[word.len()..];
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    if rest[end..].starts_with("::") {
        return Some(&rest[..end]);
    }
    // The hash of a crate, in a name that is mangled as it is now.
    if let Some(after) = rest[end..].strip_prefix('[')
        && after
            .split_once(']')
            .is_some_and(|(_, after)| after.starts_with("::"))
    {
        return Some(&rest[..end]);
    }
    let (_, of_trait) = rest.split_once(" as ")?;
    crate_of(of_trait)
}

fn demangle(name: &str) -> String {
    // `#`: without the hash.
    format!("{:#}", rustc_demangle::demangle(name))
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(MAX_LINE) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(names: &[&str]) -> Vec<Frame> {
        let frame = |name: &&str| Frame {
            name: (*name).to_owned(),
            place: None,
        };
        names.iter().map(frame).collect()
    }

    #[test]
    fn a_panic_begins_where_it_was_called_and_ends_at_main() {
        let all = frames(&[
            "__rust_abort",
            "std::panicking::rust_panic",
            "core::panicking::panic_fmt",
            "app::handle",
            "std::io::copy",
            "app::main",
            "std::sys::backtrace::__rust_begin_short_backtrace::<x>",
            "main",
        ]);
        assert_eq!(interesting(&all), &all[3..6]);
        // What has nothing else is shown as it is.
        let only = frames(&["abort"]);
        assert_eq!(interesting(&only), &only[..]);
        assert_eq!(interesting(&[]), &[]);
    }

    #[test]
    fn frames_of_std_and_of_the_sdk_are_one_line() {
        let all = frames(&[
            "core::slice::index::slice_index_fail",
            "app::handle",
            "<app::Row as core::fmt::Display>::fmt",
            "<F as embly_sdk::entry::Outcome<embly_sdk::entry::Async>>::outcome",
            "<&mut W as core::fmt::Write>::write_str",
            "__rust_alloc",
            "other::each",
            "embly_sdk::http::run::serve",
            "core::ops::function::FnOnce::call_once",
        ]);
        assert_eq!(
            shown(&all),
            [
                "      … 1 frame of std",
                "   0: app::handle",
                "   1: <app::Row as core::fmt::Display>::fmt",
                "      … 3 frames of std and the SDK",
                "   2: other::each",
                "      … 1 frame of the SDK",
            ]
        );
        // By their files.
        let mut all = frames(&["unwrap<u32>", "find<x>", "outcome<x>", "{closure#0}"]);
        let files = [
            "/r/library/core/src/option.rs:1",
            "/rust/deps/hashbrown-0.16.1/src/raw.rs:1",
            "/p/vendor/embly-sdk/src/entry.rs:1",
            "src/main.rs:1",
        ];
        for (frame, file) in all.iter_mut().zip(files) {
            frame.place = Some(file.to_owned());
        }
        let lines = [
            "      … 3 frames of std and the SDK",
            "   0: {closure#0}",
            "        at src/main.rs:1",
        ];
        assert_eq!(shown(&all), lines);
        // A recursion is shown once.
        let deep = frames(&["app::deep", "app::deep", "app::deep", "app::main"]);
        let lines = [
            "   0: app::deep",
            "      … 2 more of the same",
            "   3: app::main",
        ];
        assert_eq!(shown(&deep), lines);
        // Where there is nothing else.
        let only = frames(&["core::f", "embly_sdk::g"]);
        assert_eq!(shown(&only), ["   0: core::f", "   1: embly_sdk::g"]);
    }

    #[test]
    fn whose_a_function_is_says_its_name() {
        for (name, of) in [
            ("app::main", Some("app")),
            (
                "<alloc::vec::Vec<app::X> as core::ops::Drop>::drop",
                Some("alloc"),
            ),
            ("<dyn core::any::Any>::is", Some("core")),
            ("<&mut app::X as core::fmt::Write>::f", Some("app")),
            ("<F as core::ops::FnOnce>::call_once", Some("core")),
            ("<(A, B) as std::x::Y>::z", Some("std")),
            ("app[0123456789abcdef]::main", Some("app")),
            ("dive", None),
        ] {
            assert_eq!(crate_of(name), of, "{name}");
        }
    }

    #[test]
    fn where_std_was_compiled_is_not_said() {
        for (path, short) in [
            (
                "/rustc/0123/library/core/src/option.rs:1",
                "library/core/src/option.rs:1",
            ),
            (
                "panicked at /c/partial-7/work/x/library/alloc/src/vec.rs:1:2:",
                "panicked at library/alloc/src/vec.rs:1:2:",
            ),
            (
                "/w/library/books/src/main.rs:3",
                "/w/library/books/src/main.rs:3",
            ),
        ] {
            assert_eq!(shorten(path), short);
        }
    }

    #[test]
    fn names_are_shown_as_they_were_written_and_cut() {
        assert_eq!(
            demangle("_ZN5guest6script3run17h0123456789abcdefE"),
            "guest::script::run"
        );
        assert_eq!(demangle("boom"), "boom");
        assert_eq!(cut(&"é".repeat(MAX_LINE + 5)).chars().count(), MAX_LINE + 1);
        assert_eq!(cut("short"), "short");
    }
}
