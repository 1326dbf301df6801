//! Where a guest was when it ended, as lines for the log.
//!
//! Names come from the module's name section, files and lines from its DWARF, where it has some. All
//! of it is the guest's own claim: it is text, cut to a length, and nothing is done with it.

use protos::{Ending, Reason};
use wasmtime::{Error, FrameInfo, WasmBacktrace};

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

/// The lines, with the ending first; none where the end of the run is no surprise.
pub fn lines(error: &Error, ending: &Ending) -> Vec<String> {
    match ending.reason {
        Reason::Trap | Reason::Memory | Reason::Cpu => {}
        _ => return Vec::new(),
    }
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let frames: Vec<Frame> = backtrace.frames().iter().flat_map(Frame::of).collect();
    let frames = interesting(&frames);
    if frames.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("{}: {}", ending.reason, ending.detail)];
    for (n, frame) in frames.iter().enumerate() {
        lines.push(format!("{n:4}: {}", frame.name));
        lines.extend(
            frame
                .place
                .as_ref()
                .map(|place| format!("        at {place}")),
        );
    }
    if lines.len() > MAX_LINES {
        lines.truncate(MAX_LINES);
        lines.push("      …".to_owned());
    }
    lines.iter().map(|line| cut(line)).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    name: String,
    /// File and line.
    place: Option<String>,
}

impl Frame {
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
