//! The board in `app/`, as its users have it: in a browser, in a terminal, by the clock, and
//! elsewhere by its webhook.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::{Value, json};
use support::client::{self, connect, get};
use support::{Embly, PATIENCE};

/// The board with a digest each second, whose webhook is a server of the test.
struct Board {
    embly: Embly,
    hooks: Receiver<Value>,
    // The project file, and what the board keeps.
    _folder: tempfile::TempDir,
}

fn app() -> PathBuf {
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("../app");
    app.canonicalize().unwrap()
}

impl Board {
    fn open() -> Self {
        let (hook, hooks) = webhook();
        let folder = tempfile::tempdir().unwrap();
        let app = app();
        let app = app.display();
        let mut file = fs::read_to_string(app.to_string() + "/embly-project.yml").unwrap();
        for (what, with) in [
            ("    path: ./", format!("    context: {app}\n    path: ./")),
            (
                "WEBHOOK_URL: \"\"",
                format!("WEBHOOK_URL: 'http://{hook}/x'"),
            ),
            ("http: []", format!("http: ['http://{hook}/']")),
            ("\"@hourly\"", "\"* * * * * *\"".to_owned()),
        ] {
            assert!(file.contains(what), "{what} is not in {file}");
            file = file.replace(what, &with);
        }
        fs::write(folder.path().join("embly-project.yml"), file).unwrap();
        let mut copy = Command::new("cp");
        copy.arg("-r")
            .args(["migrations", "public"].map(|name| format!("{app}/{name}")));
        assert!(copy.arg(folder.path()).status().unwrap().success());
        // What cargo needs to compile for wasm is in the cache from now on.
        support::project::guest();
        // Compiling all that it needs may take longer than a test waits for anything.
        let (code, _, stderr) = support::output(&["build", folder.path().to_str().unwrap()]);
        assert_eq!(code, 0, "{stderr}");
        let runtime = tempfile::tempdir().unwrap();
        let command = support::command(&support::arguments("run", folder.path()), runtime.path());
        Self {
            embly: Embly::spawn(command, runtime, 2),
            hooks,
            _folder: folder,
        }
    }

    fn web(&self) -> SocketAddr {
        self.embly.at("web")
    }

    /// Asks for an account with JSON: the status, and what was said.
    fn ask(&self, what: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let answer = client::request(
            self.web(),
            format!(
                "POST /api/auth/{what} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
        );
        let said = serde_json::from_str(&answer.text()).unwrap();
        (answer.status, said)
    }

    fn hook(&self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let told = self.hooks.recv_timeout(PATIENCE).unwrap();
            if is(&told) {
                return told;
            }
        }
    }
}

/// A server that takes what a webhook sends.
fn webhook() -> (SocketAddr, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                let mut length = 0;
                for line in stream.by_ref().lines() {
                    let line = line.unwrap().to_lowercase();
                    if let Some(bytes) = line.strip_prefix("content-length:") {
                        length = bytes.trim().parse().unwrap();
                    }
                    if line.is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                stream.get_mut().write_all(answer).unwrap();
                // The test may be over.
                let _ = sender.send(serde_json::from_slice(&body).unwrap());
            });
        }
    });
    (at, receiver)
}

/// Somebody in a terminal.
struct Terminal(BufReader<TcpStream>);

impl Terminal {
    fn open(at: SocketAddr) -> Self {
        Self(BufReader::new(connect(at)))
    }

    fn says(&mut self, line: &str) {
        writeln!(self.0.get_mut(), "{line}").unwrap();
    }

    /// Reads on to this line.
    fn sees(&mut self, line: &str) {
        let mut all = String::new();
        while !all.ends_with(&format!("{line}\n")) {
            assert!(self.0.read_line(&mut all).unwrap() > 0, "{all}");
        }
    }
}

#[test]
fn the_board_is_one_for_browsers_terminals_the_clock_and_others() {
    let board = Board::open();

    // Accounts, with what is wrong in a fixed order.
    let (status, said) = board.ask("register", &json!({"username": "x", "email": "x"}));
    assert_eq!(status, 422);
    assert_eq!(said, json!({"field": "password", "msg": "is missing"}));
    let ted = json!({"username": "ted", "email": "ted@example.test", "password": "correct horse"});
    assert_eq!(board.ask("register", &ted).0, 200);
    let (status, said) = board.ask("register", &ted);
    assert_eq!(
        (status, said),
        (422, json!({"field": "username", "msg": "is taken"}))
    );
    let wrong = json!({"username": "ted", "password": "wrong horse"});
    let (status, said) = board.ask("sign-in", &wrong);
    assert_eq!((status, said), (401, json!({"msg": "not allowed"})));

    // In a terminal; whoever looks on sees it, and so does the webhook.
    let mut looks = Terminal::open(board.embly.at("lines"));
    let mut speaks = Terminal::open(board.embly.at("lines"));
    speaks.says("in ted wrong horse");
    speaks.sees("! not allowed");
    speaks.says("in ted correct horse");
    speaks.sees("* you are ted");
    speaks.says("A needle from a terminal");
    looks.sees("ted: A needle from a terminal");
    speaks.sees("ted: A needle from a terminal");
    let told = board.hook(|told| told["author"] == "ted");
    assert_eq!(told["text"], "A needle from a terminal");

    // Later it is found, stands on its author's page, and is counted.
    let found = get(board.web(), "/api/search?q=NEED+terminal").text();
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["posts"][0]["author"], "ted");
    assert_eq!(
        get(board.web(), "/api/search?q=haystack").text(),
        r#"{"posts":[]}"#
    );
    assert!(
        get(board.web(), "/u/ted")
            .text()
            .contains("A needle from a terminal")
    );
    let told = board.hook(|told| told["digest"].is_string());
    assert_eq!(told["digest"], "1 post: ted (1)");
    assert!(
        get(board.web(), "/digest")
            .text()
            .contains("1 post: ted (1)")
    );

    // In a browser.
    let (Some(node), Some(chromium)) = (support::program("node"), support::program("chromium"))
    else {
        return;
    };
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("app");
    let mut browser = Command::new(node);
    browser.arg(app().join("tests/browser.mjs"));
    browser
        .arg(format!("http://{}/", board.web()))
        .args([chromium, pictures]);
    let output = browser.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    looks.sees("ann: Hello from a desk");
}
