//! What every command shows: exit code, stdout and stderr, without a terminal, in one of 80 columns
//! with colour, and in one of 40 without. `screens/cases.txt` says what is typed, `screens/placeholders.txt`
//! what is different each time. `EMBLY_UPDATE=1` writes the expectations beside them anew.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use regex_lite::Regex;
use support::project::{WAITS, answering};
use support::terminal::{Running, colours_named, shown};
use support::{EMBLY, admin, eventually, output, skipped};

/// How a command is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Plain,
    Wide,
    Narrow,
}

const WAYS: [Way; 3] = [Way::Plain, Way::Wide, Way::Narrow];

/// A command as it is typed.
#[derive(Default)]
struct Case {
    /// The file that it stands in.
    command: String,
    /// Where it is typed, below the folder of the test.
    folder: String,
    line: String,
    /// What has happened before, where that is not to be seen.
    about: String,
    before: Vec<String>,
    after: Vec<String>,
    /// A prompt, and what is typed then.
    asked: Vec<(String, String)>,
    /// What is to be seen before it is ended, and the keys that do so in a terminal.
    ended: Option<(String, Option<String>)>,
    /// So many lines of stdout are kept; 0 is all.
    lines: usize,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens")
}

/// A file with a line for each of something, and comments.
fn lines(name: &str) -> Vec<String> {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    let lines = text.lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// All, in the order in which they are typed.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in lines("cases.txt") {
        if let Some(rest) = line.strip_prefix('[') {
            let (command, rest) = rest.split_once("] ").unwrap();
            let (folder, line) = rest.split_once(": ").unwrap();
            cases.push(Case {
                command: command.to_owned(),
                folder: folder.to_owned(),
                line: line.to_owned(),
                ..Case::default()
            });
            continue;
        }
        let case = cases.last_mut().unwrap();
        let (what, text) = line.trim_start().split_once(": ").unwrap();
        let text = text.to_owned();
        let pair = || {
            let (seen, typed) = text.split_once(" =>").unwrap();
            (seen.to_owned(), typed.trim_start().to_owned())
        };
        match what {
            "about" => case.about = text,
            "before" => case.before.push(text),
            "after" => case.after.push(text),
            "asked" => case.asked.push(pair()),
            "stopped" => case.ended = Some((text, None)),
            "quits" => {
                let (seen, keys) = pair();
                case.ended = Some((seen, Some(keys)));
            }
            "lines" => case.lines = text.parse().unwrap(),
            other => panic!("{other}"),
        }
    }
    cases
}

/// What was seen.
struct Seen {
    code: i32,
    out: String,
    err: String,
}

/// A folder with a project, and all that commands find around them.
struct World {
    folder: tempfile::TempDir,
    way: Way,
    /// Masters that cases have left running.
    masters: Vec<Child>,
}

/// Answers, and writes a line to the log before.
fn hello() -> String {
    let log = "(import \"wasi_snapshot_preview1\" \"fd_write\" (func $log (param i32 i32 i32 i32) (result i32)))
          (import \"embly\" \"_write\"";
    let said = "(func (export \"_start\")
            (drop (call $log (i32.const 1) (i32.const 1024) (i32.const 1) (i32.const 1036)))";
    let data = "(data (i32.const 1024) \"\\10\\04\\00\\00\\06\\00\\00\\00\")(data (i32.const 1040) \"asked\\0a\")
          (func (export \"_start\")";
    let text = answering("hello");
    let text = text.replace("(import \"embly\" \"_write\"", log);
    text.replace("(func (export \"_start\")", data)
        .replace("(func (export \"_start\")", said)
}

const TRAPS: &str =
    "(module (memory (export \"memory\") 1) (func (export \"_start\") unreachable))";

/// Says a word to whoever connects, and is done.
const GREETS: &str = "(module
  (import \"embly\" \"_write\" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export \"memory\") 1)
  (data (i32.const 16) \"\\01\\05\\00\\00\\00hello\")
  (func (export \"_start\")
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 10) (i32.const 0)))))";

const PROJECT: &str = "functions:
  - {name: hello, path: ./hello.wat, language: wasm, secrets: [STRIPE_KEY]}
  - {name: waits, path: ./waits.wat, language: wasm}
  - {name: traps, path: ./traps.wat, language: wasm}
  - {name: chat, path: ./chat.wat, language: wasm}
gateways:
  - {name: web, type: http, port: 0, function: hello}
  - {name: slow, type: http, port: 0, function: waits}
  - {name: chat, type: websocket, port: 0, function: chat}
stores:
  - {name: default, type: kv}
  - {name: main, type: sql}
";

impl World {
    fn new(way: Way) -> Self {
        // Where it is does not change what is shown in narrow columns.
        let folder = tempfile::Builder::new()
            .prefix("embly-")
            .rand_bytes(6)
            .tempdir_in("/tmp")
            .unwrap();
        let world = Self {
            folder,
            way,
            masters: Vec::new(),
        };
        world.write("shop/embly-project.yml", PROJECT);
        for (name, text) in [
            ("hello", hello().as_str()),
            ("waits", WAITS),
            ("traps", TRAPS),
            ("chat", GREETS),
        ] {
            world.write(&format!("shop/{name}.wat"), text);
        }
        world.write(
            "shop/tests/hello.hurl",
            "GET http://{{web}}/\nHTTP 200\n[Asserts]\nbody == \"hello\"\n",
        );
        world.write("broken/embly-project.yml", "functions:\n  - {name: hello, path: ./hello.wat, language: wasn}\ngateways:\n  - {name: web, type: http, function: helo}\n");
        world.write("broken/hello.wat", "(module)");
        world.write("unlinked/embly-project.yml", "functions:\n  - {name: hello, path: ./hello.wat, language: wasm}\n  - {name: fine, path: ./fine.wat, language: wasm}\n");
        world.write("unlinked/hello.wat", "(module (import \"x\" \"y\" (func)))");
        world.write("unlinked/fine.wat", WAITS);
        world.write("unlinked/tests/none.hurl", "GET http://{{web}}/\n");
        world.write("failing/embly-project.yml", "functions:\n  - {name: hello, path: ./hello.wat, language: wasm}\ngateways:\n  - {name: web, type: http, port: 0, function: hello}\n");
        world.write("failing/hello.wat", &answering("hello"));
        world.write(
            "failing/tests/hello.hurl",
            "GET http://{{web}}/\nHTTP 201\n[Asserts]\nbody == \"helo\"\n",
        );
        world.write(
            "rust/embly-project.yml",
            "functions:\n  - {name: hello, path: ./hello, language: rust}\n",
        );
        world.write("rust/hello/Cargo.toml", "[package]\nname = \"hello\"\n");
        world.write("rust/hello/src/main.rs", "fn main() {}\n");
        world.write("empty/note.txt", "nothing\n");
        world.write("bad.embly", "no bundle\n");
        fs::create_dir_all(world.path("bin")).unwrap();
        fs::create_dir_all(world.path("run")).unwrap();
        symlink(EMBLY, world.path("bin/embly")).unwrap();
        // A compiler that has the target for functions, one that does not, and none.
        world.write("libdir/libstd-1.rlib", "");
        for (name, libdir) in [
            ("rustc", world.path("libdir")),
            ("rustc-without", "/nonexistent".into()),
        ] {
            let script = format!(
                "#!/bin/sh\ncase \"$*\" in\n*target-libdir*) echo {};;\n*) exec \"$REAL\" \"$@\";;\nesac\n",
                libdir.display()
            );
            world.write(&format!("bin/{name}"), &script);
            fs::set_permissions(
                world.path(&format!("bin/{name}")),
                fs::Permissions::from_mode(0o755),
            )
            .unwrap();
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// A shell in a folder of it, which finds `embly`.
    fn command(&self, program: &str, folder: &str) -> Command {
        let mut command = support::environment(Command::new(program), &self.path("run"));
        let path = std::env::var("PATH").unwrap();
        command
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("REAL", real_rustc())
            .env("RUSTC", "rustc")
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("EMBLY_SECRETS_KEY_FILE", self.path("secrets.key"))
            .env("TZ", "UTC")
            .current_dir(self.path(folder));
        for name in ["EMBLY_BIND", "STRIPE_KEY", "COLUMNS"] {
            command.env_remove(name);
        }
        match self.way {
            Way::Wide => command.env_remove("NO_COLOR"),
            Way::Plain | Way::Narrow => command.env("NO_COLOR", "1"),
        };
        for (name, value) in self.addresses() {
            command.env(name, value);
        }
        command
    }

    /// What cases call `$WEB` and so on, of the master that runs.
    fn addresses(&self) -> Vec<(String, String)> {
        let folders = admin::folders(&self.path("run"));
        let mut sockets = folders.iter().map(|folder| folder.join("admin.sock"));
        // It is there a moment before anybody listens.
        let Some(socket) = sockets.find(|socket| UnixStream::connect(socket).is_ok()) else {
            return Vec::new();
        };
        if self.masters.is_empty() {
            return Vec::new();
        }
        let read = |path: &str| -> serde_json::Value {
            serde_json::from_slice(&admin::ask(&socket, "GET", path).body).unwrap()
        };
        let master = read("/v1/master");
        let mut found = vec![("ID".to_owned(), master["id"].as_str().unwrap().to_owned())];
        for gateway in master["gateways"].as_array().unwrap() {
            let name = gateway["name"].as_str().unwrap().to_uppercase();
            let url = gateway["url"].as_str().unwrap();
            found.push((name, url.split_once("://").unwrap().1.to_owned()));
        }
        let runs = read("/v1/invocations");
        if let Some(one) = runs["invocations"].as_array().unwrap().first() {
            found.push((
                "ADDRESS".to_owned(),
                one["address"].as_str().unwrap().to_owned(),
            ));
        }
        found
    }

    /// Something that is done before a case, and not shown.
    fn prepare(&mut self, folder: &str, line: &str) {
        if let Some(line) = line.strip_prefix("master: ") {
            let mut command = self.command("/bin/sh", folder);
            let log = fs::File::create(self.path("master.log")).unwrap();
            command
                .args(["-c", &format!("exec {line}")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log);
            self.masters.push(command.spawn().unwrap());
            eventually("a master that serves", || {
                let ready = self.command("embly", folder).arg("ready").output().unwrap();
                ready.status.success()
            });
            return;
        }
        let output = self
            .command("/bin/sh", folder)
            .args(["-ec", line])
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }

    fn run(&mut self, case: &Case) -> Seen {
        let Case { folder, line, .. } = case;
        for line in &case.before {
            self.prepare(folder, line);
        }
        let mut running = match self.way {
            Way::Plain => {
                let mut command = self.command("/bin/sh", folder);
                command.args(["-c", line]);
                Running::plain(command)
            }
            Way::Wide => Running::in_terminal(self.command("script", folder), line, 80),
            Way::Narrow => Running::in_terminal(self.command("script", folder), line, 40),
        };
        let terminal = self.way != Way::Plain;
        for (prompt, typed) in &case.asked {
            if terminal {
                running.sees(prompt);
            }
            running.types(&format!("{typed}\n"));
            if !terminal {
                // Nobody asks twice there.
                break;
            }
        }
        match &case.ended {
            Some((seen, keys)) => {
                let seen = running.sees(seen);
                match keys {
                    Some(keys) if terminal => running.types(keys),
                    _ if seen => self.prepare(folder, "embly stop -q"),
                    _ => {}
                }
            }
            None if terminal => {}
            None => running.closes_input(),
        }
        let (code, out, err) = running.ends();
        for line in &case.after {
            self.prepare(folder, line);
        }
        let out = if terminal { shown(&out) } else { out };
        Seen {
            code,
            out: self.placeholders(&cut(case, out)),
            err: self.placeholders(&err),
        }
    }

    /// What is different each time, by its name.
    fn placeholders(&self, text: &str) -> String {
        let mut text = text.replace(self.folder.path().to_str().unwrap(), "[FOLDER]");
        text = text.replace(Path::new(EMBLY).to_str().unwrap(), "embly");
        let mut varies = false;
        for line in lines("placeholders.txt") {
            let (pattern, name) = line.split_once(" =>").unwrap();
            let pattern = Regex::new(pattern).unwrap();
            let new = pattern.replace_all(&text, name.trim_start()).into_owned();
            varies |= new != text;
            text = new;
        }
        for master in &self.masters {
            let pid = Regex::new(&format!(r"\b{}\b", master.id())).unwrap();
            text = pid.replace_all(&text, "[PID]").into_owned();
        }
        if varies {
            // Columns are as wide as what is in them.
            let gap = Regex::new(r"(\S)  +").unwrap();
            text = gap.replace_all(&text, "$1  ").into_owned();
        }
        text
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for master in &mut self.masters {
            let _ = master.kill();
            let _ = master.wait();
        }
    }
}

/// The compiler, as it is called elsewhere.
fn real_rustc() -> PathBuf {
    let named = std::env::var_os("RUSTC").map(PathBuf::from);
    named.or_else(|| support::program("rustc")).unwrap()
}

/// Long texts that are not for reading are cut.
fn cut(case: &Case, text: String) -> String {
    if case.lines == 0 || text.lines().count() <= case.lines {
        return text;
    }
    let first = text.lines().take(case.lines);
    first
        .chain(["[and so on]"])
        .fold(String::new(), |text, line| text + line + "\n")
}

/// Text below a heading; one that does not end its last line says so.
fn section(text: &mut String, heading: &str, shown: &str) {
    writeln!(text, "[{heading}]").unwrap();
    text.push_str(shown);
    if !shown.is_empty() && !shown.ends_with('\n') {
        text.push_str("[no end of line]\n");
    }
}

fn without_colour(text: &str) -> String {
    Regex::new("\x1b\\[[0-9;]*m")
        .unwrap()
        .replace_all(text, "")
        .into_owned()
}

/// A case as it stands in its file.
fn described(case: &Case, seen: &[&Seen; 3]) -> String {
    let mut text = String::new();
    let [plain, wide, narrow] = seen;
    if !case.about.is_empty() {
        writeln!(text, "# {}", case.about).unwrap();
    }
    writeln!(text, "$ {}", case.line).unwrap();
    writeln!(text, "[exit code {}]", plain.code).unwrap();
    for (name, shown) in [("stdout", &plain.out), ("stderr", &plain.err)] {
        if !shown.is_empty() {
            section(&mut text, name, shown);
        }
    }
    let together = [
        format!("{}{}", plain.err, plain.out),
        format!("{}{}", plain.out, plain.err),
    ];
    let mut before = together.to_vec();
    for (name, seen) in [("80 columns", wide), ("40 columns, NO_COLOR", narrow)] {
        let code = match seen.code == plain.code {
            true => String::new(),
            false => format!(", exit code {}", seen.code),
        };
        let bare = without_colour(&seen.out);
        let coloured = bare != seen.out;
        if coloured && before.contains(&bare) {
            let lines = seen.out.lines().filter(|line| line.contains('\x1b'));
            let lines: String = lines.map(|line| format!("{line}\n")).collect();
            section(
                &mut text,
                &format!("{name}{code}: the same, with colour in"),
                &colours_named(&lines),
            );
        } else if before.contains(&bare) {
            section(&mut text, &format!("{name}{code}: the same"), "");
        } else {
            section(
                &mut text,
                &format!("{name}{code}"),
                &colours_named(&seen.out),
            );
            before.push(bare);
        }
    }
    text
}

#[test]
fn what_every_command_shows_is_as_expected_with_and_without_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        return skipped("script (util-linux)");
    }
    let threads = WAYS.map(|way| {
        thread::spawn(move || {
            let mut world = World::new(way);
            cases()
                .iter()
                .map(|case| world.run(case))
                .collect::<Vec<_>>()
        })
    });
    let [plain, wide, narrow] = threads.map(|thread| thread.join().unwrap());
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let cases = cases();
    for (at, case) in cases.iter().enumerate() {
        let file = files.entry(&case.command).or_default();
        if !file.is_empty() {
            file.push('\n');
        }
        file.push_str(&described(case, &[&plain[at], &wide[at], &narrow[at]]));
    }
    let folder = folder();
    let mut wrong = String::new();
    for (command, text) in &files {
        let file = folder.join(format!("{}.txt", command.replace(' ', "-")));
        if std::env::var_os("EMBLY_UPDATE").is_some() {
            fs::write(&file, text).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if *text != expected {
            let mut lines = text.lines().zip(expected.lines()).enumerate();
            let differs = lines.find(|(_, (is, was))| is != was);
            let (number, (is, was)) = differs.unwrap_or((0, ("", "")));
            writeln!(
                wrong,
                "{}:{}:\n  is  {is}\n  was {was}\nall of it:\n{text}",
                file.display(),
                number + 1
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "EMBLY_UPDATE=1 writes it anew\n{wrong}");
}

#[test]
fn every_command_of_the_help_has_its_screens() {
    let cases = cases();
    let mut open = vec![String::new()];
    while let Some(words) = open.pop() {
        let arguments: Vec<&str> = words.split_whitespace().chain(["--help"]).collect();
        let (_, help, _) = output(&arguments);
        let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let lines = lines.take_while(|line| !line.is_empty());
        let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        let below: Vec<String> = names
            .filter(|name| !name.is_empty())
            .map(|name| format!("{words} {name}").trim().to_owned())
            .collect();
        if below.is_empty() {
            let of = cases.iter().filter(|case| case.command == words).count();
            assert!(
                of >= 2,
                "`embly {words}` has {of} screens: add its case, and its most likely error, to tests/screens/cases.txt"
            );
        }
        open.extend(below);
    }
}
