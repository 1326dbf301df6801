//! Where a function was when it ended, and the lines of its source around that place.
//!
//! Places are what the module, or its panic, says of itself. So a file is shown only where the build
//! of the function has read it, and it lies in the project.

use std::ffi::OsStr;
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::super::super::workbench::{Code, Project};

/// Lines above and below the one that is meant.
const AROUND: u32 = 5;

/// A file larger than this is no source that somebody reads, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// The most lines of an error that are shown with it; the rest is shown with the log.
const ERROR_LINES: usize = 20;

/// The most lines of a message above a backtrace.
const MESSAGE_LINES: usize = 66;

/// How lines of a backtrace begin, beside those of functions.
const AT: &str = "        at ";
const FOLDED: &str = "      …";

/// A line of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As the compiler has named it.
    pub file: String,
    /// From 1.
    pub line: u32,
}

impl Place {
    /// `FILE:LINE`, or `FILE:LINE:COLUMN`.
    pub fn parse(text: &str) -> Option<Self> {
        let (before, last) = text.rsplit_once(':')?;
        let last: u32 = last.parse().ok()?;
        let (file, line) = match before.rsplit_once(':') {
            Some((file, line)) => match line.parse() {
                Ok(line) => (file, line),
                Err(_) => (before, last),
            },
            None => (before, last),
        };
        (!file.is_empty()).then(|| Self {
            file: file.to_owned(),
            line,
        })
    }

    /// That of a panic: `panicked at FILE:LINE:COLUMN: …`.
    pub fn of_panic(detail: &str) -> Option<Self> {
        let rest = detail.strip_prefix("panicked at ")?;
        let end = rest.find(": ").unwrap_or(rest.len());
        Self::parse(rest[..end].trim_end_matches(':'))
    }

    /// The first one that a compiler names: `  --> FILE:LINE:COLUMN`.
    pub fn of_error(said: &str) -> Option<Self> {
        let from = said.find("error").unwrap_or_default();
        let mut lines = said[from..].lines();
        lines.find_map(|line| Self::parse(line.trim().strip_prefix("--> ")?))
    }
}

/// What cargo has said of all that it was asked to build, with what is in this folder, as cargo names it, first.
pub fn own_first(said: &str, folder: &Path) -> String {
    let is_own = |part: &&str| {
        let places = part
            .lines()
            .filter_map(|line| line.trim().strip_prefix("--> "));
        let mut places = places.filter_map(Place::parse);
        places.any(|place| Path::new(&place.file).starts_with(folder))
    };
    let (own, others): (Vec<_>, Vec<_>) = said.split("\n\n").partition(is_own);
    [own, others].concat().join("\n\n")
}

/// A function that was running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub name: String,
    /// `FILE:LINE`, where that is known.
    pub place: Option<String>,
    /// It stands for some that are not the project's own, which the name says.
    pub folded: bool,
}

/// The last backtrace in a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Backtrace {
    /// Its lines.
    pub lines: Range<usize>,
    /// What stands above it, without the reason.
    pub message: String,
    /// Innermost first.
    pub frames: Vec<Frame>,
}

/// Finds it, for an ending with this reason.
pub fn backtrace(log: &[&str], reason: &str) -> Backtrace {
    let reason = format!("{reason}: ");
    let is_part = |n: &usize| is_of_backtrace(log[*n]);
    let Some(last) = (0..log.len()).rev().find(is_part) else {
        return Backtrace::default();
    };
    let first = (0..=last).rev().take_while(is_part).last().unwrap_or(last);
    let above = (first.saturating_sub(MESSAGE_LINES)..first).rev();
    let head = above.map(|n| (n, log[n].strip_prefix(&reason)));
    let head = head.into_iter().find_map(|(n, said)| Some((n, said?)));
    let Some((head, said)) = head else {
        return Backtrace::default();
    };
    let mut frames: Vec<Frame> = Vec::new();
    for line in &log[first..=last] {
        if let Some(place) = line.strip_prefix(AT) {
            if let Some(frame) = frames.last_mut() {
                frame.place = Some(place.to_owned());
            }
            continue;
        }
        let (name, folded) = match name(line) {
            Some(name) => (name, false),
            None => (line.trim(), true),
        };
        frames.push(Frame {
            name: name.to_owned(),
            place: None,
            folded,
        });
    }
    let message = std::iter::once(said).chain(log[head + 1..first].iter().copied());
    Backtrace {
        lines: head..last + 1,
        message: message.collect::<Vec<_>>().join("\n"),
        frames,
    }
}

/// The error that the SDK has written last, which may have several lines.
pub fn error(log: &[&str]) -> Range<usize> {
    let start = log.iter().rposition(|line| line.starts_with("error: "));
    start.map_or(0..0, |start| start..log.len().min(start + ERROR_LINES))
}

/// Whether a line is one of a backtrace.
pub fn is_of_backtrace(line: &str) -> bool {
    name(line).is_some() || line.starts_with(AT) || line.starts_with(FOLDED)
}

/// `   3: NAME`.
fn name(line: &str) -> Option<&str> {
    let (number, name) = line.split_at_checked(4)?;
    number.trim_start().parse::<u32>().ok()?;
    name.strip_prefix(": ")
}

/// Lines of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The file, as seen from the project.
    pub file: String,
    /// The number of the first line.
    pub first: u32,
    pub lines: Vec<String>,
    /// The number of the line that is meant.
    pub line: u32,
}

/// The lines around a place, where they may be shown.
pub fn excerpt(project: &Project, code: &Code, place: &Place) -> Option<Excerpt> {
    let root = project.root.canonicalize().ok()?;
    let path = find(&root, code, Path::new(&place.file))?;
    let shown = path.strip_prefix(&root).ok()?.display().to_string();
    if path.metadata().ok()?.len() > LARGEST {
        return None;
    }
    let text = String::from_utf8_lossy(&fs::read(path).ok()?).into_owned();
    let first = place.line.saturating_sub(AROUND).max(1);
    let lines = text.lines().zip(1..);
    let lines = lines.filter(|(_, n)| (first..=place.line + AROUND).contains(n));
    let lines: Vec<String> = lines.map(|(line, _)| line.to_owned()).collect();
    // What was saved since may be shorter.
    (lines.len() > (place.line - first) as usize).then_some(Excerpt {
        file: shown,
        first,
        lines,
        line: place.line,
    })
}

fn find(root: &Path, code: &Code, file: &Path) -> Option<PathBuf> {
    // A compiler names files from the root of the workspace, which is the function's folder or above.
    let folders = code.path.ancestors();
    let top = project_of(root, code);
    let folders = folders.take_while(|folder| folder.starts_with(&top));
    let mut candidates = folders.filter_map(|folder| folder.join(file).canonicalize().ok());
    candidates.find(|path| may_be_shown(root, code, path))
}

/// As the paths of the function begin: the root may be reached in more than one way.
fn project_of(root: &Path, code: &Code) -> PathBuf {
    let above = code.path.ancestors();
    let same = |folder: &&Path| folder.canonicalize().is_ok_and(|folder| folder == root);
    above.filter(same).last().unwrap_or(root).to_owned()
}

fn may_be_shown(root: &Path, code: &Code, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(root) else {
        return false;
    };
    let hidden = |part: &OsStr| part.as_bytes().starts_with(b".");
    if inside.iter().any(hidden) || !path.is_file() {
        return false;
    }
    let is_source = path.extension() == Some(OsStr::new("rs"));
    let mut sources = code.sources.iter().filter_map(|s| s.canonicalize().ok());
    // After a failed build its folders are known, not its files.
    sources.any(|source| source == path || (is_source && path.parent() == Some(&source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file: &str, line: u32) -> Option<Place> {
        let file = file.to_owned();
        Some(Place { file, line })
    }

    #[test]
    fn what_is_wrong_with_a_function_stands_before_what_is_with_others() {
        let of = |folder: &str| {
            format!("error: {folder}\n --> {folder}/src/main.rs:2:5\n  |\n2 | what\n  |")
        };
        let end = "error: could not compile";
        let said = [&of("fetch"), &of("api"), &of("api2"), end].map(str::to_owned);
        assert_eq!(
            own_first(&said.join("\n\n"), Path::new("api")),
            [&of("api"), &of("fetch"), &of("api2"), end]
                .map(str::to_owned)
                .join("\n\n")
        );
        // A module in text form is a file, and has one error.
        let module = "new.wat:2:4: unknown";
        assert_eq!(own_first(module, Path::new("new.wat")), module);
    }

    #[test]
    fn places_are_read_as_compilers_and_panics_write_them() {
        assert_eq!(Place::parse("src/main.rs:5"), place("src/main.rs", 5));
        assert_eq!(Place::parse("/a:b/c.rs:5:17"), place("/a:b/c.rs", 5));
        assert_eq!(Place::parse("src/main.rs"), None);
        assert_eq!(Place::parse(":5"), None);
        let of = Place::of_panic;
        assert_eq!(
            of("panicked at src/a.rs:3:9: no: 7:8"),
            place("src/a.rs", 3)
        );
        assert_eq!(of("panicked at src/a.rs:3:9:"), place("src/a.rs", 3));
        assert_eq!(of("wasm `unreachable` instruction executed"), None);
        let said = "warning: x\n --> a.rs:1:1\nerror[E0425]: y\n   --> two/src/b.rs:2:13\n";
        assert_eq!(Place::of_error(said), place("two/src/b.rs", 2));
        assert_eq!(Place::of_error("expected `(`"), None);
    }

    #[test]
    fn the_last_backtrace_is_found_among_other_lines() {
        let log = [
            "trap: panicked",
            "said by the function",
            "trap: panicked at a.rs:1:1: boo",
            "  left: 1",
            "      … 2 frames of std",
            "   0: f",
            "        at a.rs:1",
            "   1: <a as b>::g",
            "      …",
            "later",
        ];
        let Backtrace {
            lines,
            message,
            frames,
        } = backtrace(&log, "trap");
        assert_eq!(lines, 2..9);
        assert_eq!(message, "panicked at a.rs:1:1: boo\n  left: 1");
        let frame = |name: &str, place: Option<&str>, folded| Frame {
            name: name.to_owned(),
            place: place.map(str::to_owned),
            folded,
        };
        assert_eq!(
            frames,
            [
                frame("… 2 frames of std", None, true),
                frame("f", Some("a.rs:1"), false),
                frame("<a as b>::g", None, false),
                frame("…", None, true),
            ]
        );
        assert_eq!(backtrace(&log, "cpu"), Backtrace::default());
        let odd = ["trap: é", "éé: x"];
        assert_eq!(backtrace(&odd, "trap"), Backtrace::default());
    }

    #[test]
    fn only_what_the_build_has_read_in_the_project_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        fs::create_dir_all(root.join("f/src")).unwrap();
        let text: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        for file in ["f/src/main.rs", "f/src/other.rs", "f/.env", "f/note"] {
            fs::write(root.join(file), &text).unwrap();
        }
        let mut code = Code {
            path: root.join("f"),
            sources: vec![root.join("f/src/main.rs"), root.join("f/.env")],
            failed: None,
        };
        let project = Project {
            root: root.clone(),
            ..Project::default()
        };
        let ask =
            |code: &Code, file: &str, line| excerpt(&project, code, &place(file, line).unwrap());
        let found = ask(&code, "src/main.rs", 10).unwrap();
        assert_eq!((&*found.file, found.first), ("f/src/main.rs", 5));
        assert_eq!(found.lines.len(), 11);
        assert_eq!(ask(&code, "f/src/main.rs", 10), Some(found.clone()));
        let whole = root.join("f/src/main.rs").display().to_string();
        assert_eq!(ask(&code, &whole, 10), Some(found));
        assert_eq!(ask(&code, "src/main.rs", 1).unwrap().first, 1);
        for (file, line) in [
            ("src/main.rs", 21),
            ("src/other.rs", 1),
            (".env", 1),
            ("note", 1),
            ("../f/note", 1),
            ("/etc/passwd", 1),
            ("/proc/self/environ", 1),
        ] {
            assert_eq!(ask(&code, file, line), None, "{file}:{line}");
        }
        code.sources = vec![root.join("f"), root.join("f/src")];
        assert!(ask(&code, "src/other.rs", 1).is_some());
        assert_eq!(ask(&code, "note", 1), None);
        assert_eq!(ask(&code, ".env", 1), None);
    }
}
