//! The tutorial does what it says: its blocks are run, in their order, as a reader would.
//!
//! A block of `sh` is run. A block of `text` behind it has lines that it has to print, `…` being
//! anything. `<!-- file: PATH -->` in front of a block writes it to that file; `<!-- background -->`
//! runs it beside all that follows.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use support::{EMBLY, PATIENCE};

/// The port that `embly new` writes, and the page speaks of.
const PORT: &str = "8082";

/// A block of code and what stands in front of it.
#[derive(Debug, PartialEq)]
struct Block {
    kind: String,
    note: Option<String>,
    text: String,
    line: usize,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut open, mut note) = (None, None);
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => block.text.push_str(&format!("{line}\n")),
            (None, Some(kind)) => {
                open = Some(Block {
                    kind: kind.to_owned(),
                    note: note.take(),
                    text: String::new(),
                    line: number + 1,
                });
            }
            (None, None) => {
                let comment = line.strip_prefix("<!-- ");
                let comment = comment.and_then(|comment| comment.strip_suffix(" -->"));
                note = comment
                    .map(str::to_owned)
                    .or(note.filter(|_| line.is_empty()));
            }
        }
    }
    blocks
}

/// Whether each line of what is expected stands in what was said, in this order.
fn says(said: &str, expected: &str) -> Result<(), String> {
    let mut lines = said.lines();
    for wanted in expected.lines().filter(|line| !line.trim().is_empty()) {
        let parts: Vec<_> = wanted.trim().split('…').collect();
        let fits = |line: &str| {
            let mut rest = line.trim();
            parts.iter().all(|part| match rest.find(part) {
                Some(at) => {
                    rest = &rest[at + part.len()..];
                    true
                }
                None => false,
            })
        };
        if !lines.any(fits) {
            return Err(format!("`{wanted}` is not in:\n{said}"));
        }
    }
    Ok(())
}

/// A reader with a folder, a cache and a shell.
struct Reader {
    home: tempfile::TempDir,
    runtime: tempfile::TempDir,
    programs: tempfile::TempDir,
    /// Where `cd` has led.
    folder: PathBuf,
    running: Vec<Child>,
}

impl Reader {
    fn new() -> Self {
        let programs = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(EMBLY, programs.path().join("embly")).unwrap();
        let home = tempfile::tempdir().unwrap();
        Self {
            folder: home.path().to_owned(),
            home,
            runtime: tempfile::tempdir().unwrap(),
            programs,
            running: Vec::new(),
        }
    }

    fn shell(&self, text: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = support::environment(Command::new("sh"), self.runtime.path());
        command
            // The next block begins where this one has ended.
            .args(["-ec", &format!("{text}\npwd >\"$WHERE\"")])
            .current_dir(&self.folder)
            .env("PATH", format!("{}:{path}", self.programs.path().display()))
            .env("WHERE", self.home.path().join(".where"))
            .process_group(0);
        command
    }

    /// Runs it: whether it went well, and what it said.
    fn run(&mut self, block: &Block) -> (bool, String) {
        let output = self.shell(&block.text).output().unwrap();
        if let Ok(folder) = fs::read_to_string(self.home.path().join(".where")) {
            self.folder = folder.trim().into();
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for child in &mut self.running {
            let id = rustix::process::Pid::from_child(child);
            // It may have ended.
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::TERM);
            let _ = child.wait();
        }
    }
}

fn read(page: &Path) {
    let text = fs::read_to_string(page).unwrap();
    // A port that nobody has, in the place of the one that the page speaks of.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let text = text.replace(PORT, &port);
    let mut reader = Reader::new();
    let blocks = blocks(&text);
    let mut at = 0;
    while let Some(block) = blocks.get(at) {
        at += 1;
        let file = block
            .note
            .as_deref()
            .and_then(|note| note.strip_prefix("file: "));
        if let Some(file) = file {
            let file = reader.folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, &block.text).unwrap();
            continue;
        }
        if block.kind != "sh" {
            continue;
        }
        let expected = blocks.get(at).filter(|next| next.kind == "text");
        at += usize::from(expected.is_some());
        if block.note.as_deref() == Some("background") {
            let mut command = reader.shell(&block.text);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            // It says where it is when it ends, and others are elsewhere then.
            command.env("WHERE", "/dev/null");
            reader.running.push(command.spawn().unwrap());
            continue;
        }
        let since = Instant::now();
        loop {
            let (well, said) = reader.run(block);
            let fits = match expected {
                // What runs beside it may still be at work.
                Some(expected) => says(&said, &expected.text),
                None => {
                    assert!(well, "line {}: {said}", block.line);
                    Ok(())
                }
            };
            // What was made just now speaks of that port, too.
            let project = reader.folder.join("embly-project.yml");
            if let Ok(text) = fs::read_to_string(&project)
                && text.contains(PORT)
            {
                fs::write(&project, text.replace(PORT, &port)).unwrap();
            }
            match fits {
                Ok(()) => break,
                Err(why) => assert!(since.elapsed() < 4 * PATIENCE, "line {}: {why}", block.line),
            }
            support::client::pause(200, "a reader tries again");
        }
    }
}

#[test]
fn blocks_are_found_with_what_stands_in_front_of_them() {
    let text = "a\n<!-- file: x.rs -->\n\n```rust\nfn\n```\n<!-- other -->\nb\n```sh\nls\n```\n";
    let block = |kind: &str, note: Option<&str>, text: &str, line| Block {
        kind: kind.to_owned(),
        note: note.map(str::to_owned),
        text: text.to_owned(),
        line,
    };
    assert_eq!(
        blocks(text),
        [
            block("rust", Some("file: x.rs"), "fn\n", 4),
            block("sh", None, "ls\n", 9)
        ]
    );
}

#[test]
fn what_is_said_is_compared_line_by_line() {
    let said = "built hello in 3.1s\nother\nhttp://127.0.0.1:1 → hello\n";
    says(said, "built hello in …s\nhttp://… → hello\n").unwrap();
    says(said, "http://… → hello\nbuilt hello\n").unwrap_err();
}

#[test]
fn the_tutorial_does_what_it_says() {
    // What cargo needs to compile for wasm is in the cache from now on.
    support::project::guest();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tutorial.md"));
}
