//! The page that `embly dev` shows in a browser in place of an answer: what happened, where, what was
//! said; and that it loads itself anew.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use support::client::{Response, request};
use support::project::{answering, writing};
use support::{Embly, Project};

/// What a browser asks for when somebody goes to a page.
const BROWSER: &str = "accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";

fn ask(at: SocketAddr, path: &str, headers: &str) -> Response {
    let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n");
    request(at, head)
}

fn browse(at: SocketAddr, path: &str) -> Response {
    ask(at, path, BROWSER)
}

/// Waits as a page does, until there is another build.
fn next_build(at: SocketAddr, page: &str) {
    let (_, rest) = page.split_once("data-since=\"").unwrap();
    let since = rest.split('"').next().unwrap();
    let path = format!("/.embly/dev/reload?since={since}");
    loop {
        let answer = ask(at, &path, "");
        match answer.status {
            200 => return assert_ne!(answer.text(), since),
            status => assert_eq!(status, 204),
        }
    }
}

const SECRET: &str = "correct-horse-battery";

const FALLS: &str = r#"use std::io::Write as _;
use embly::http::{Body, Request, ResponseWriter};

fn main() -> Result<(), embly::Error> {
    embly::http::run_catch_error(|request: Request<Body>, mut w: ResponseWriter| {
        println!("asked for <{}>", request.uri().path());
        eprintln!("with {}", std::env::var("TOKEN").unwrap_or_default());
        match request.uri().path() {
            "/trap" => fall("<b>bold & brave</b>"),
            "/panic" => panic!("no <i>luck</i>"),
            "/err" => "<7>".parse::<u8>().map(drop).map_err(Unread)?,
            "/exit" => Err(exit("error: as `run`\nsays it"))?,
            "/file" => drop(std::fs::read("data.txt")?),
            "/socket" => drop(std::net::TcpStream::connect("127.0.0.1:1")?),
            _ => w.write_all(b"<!doctype html><p>fine</p>")?,
        }
        Ok::<(), embly::Error>(())
    })
}

#[inline(never)]
fn fall(text: &str) {
    std::hint::black_box(text); // correct-horse-battery <u>
    core::arch::wasm32::unreachable()
}

fn exit(text: &str) -> std::fmt::Error {
    eprintln!("{text}");
    std::process::exit(1)
}

#[derive(Debug)]
struct Unread(std::num::ParseIntError);

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the number <b> cannot be read,\nsays {}", std::env::var("TOKEN").unwrap_or_default())
    }
}

impl std::error::Error for Unread {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
"#;

/// Answers as the SDK does in place of a handler that has failed.
fn failing() -> String {
    let fields = "embly-handler: failed\\0d\\0acontent-length: 5\\0d\\0a\\0d\\0asorry";
    let response = format!("HTTP/1.1 500 Internal Server Error\\0d\\0a{fields}");
    writing(&response)
}

/// Each of these stands in the page.
#[track_caller]
fn has(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "no `{part}` in\n{page}");
    }
}

#[test]
fn a_browser_sees_why_where_and_what_was_said_until_the_next_build_works() {
    let project = Project::new().rust("falls", FALLS).http("falls");
    project.write(".env", &format!("TOKEN={SECRET}\n"));
    project.edit("language: rust\n", "language: rust\n    secrets: [TOKEN]\n");
    let embly = Embly::dev(&project);
    let at = embly.at("falls");

    // A page of a function is as the function has made it.
    let fine = browse(at, "/");
    assert_eq!(fine.text(), "<!doctype html><p>fine</p>");
    assert_eq!(fine.header("content-security-policy"), None);

    let answer = browse(at, "/trap?a=%3Cs%3E");
    assert_eq!((answer.status, answer.reason()), (500, "trap"));
    let trap = answer.text();
    has(
        &trap,
        &[
            "A WebAssembly trap or a panic",
            "wasm `unreachable` instruction executed",
            // What `embly explain` says.
            "The function did what WebAssembly does not allow (<code>unreachable</code>",
            "<code>falls::fall</code><span class=\"place\">falls/src/main.rs:24</span>",
            "<span class=\"here\"><i>24</i>    core::arch::wasm32::unreachable()</span>",
            "<i>9</i>            &quot;/trap&quot; =&gt; fall(&quot;&lt;b&gt;bold &amp; brave&lt;/b&gt;&quot;)",
            "asked for &lt;/trap&gt;\n",
            answer.header("x-request-id").unwrap(),
            "GET /trap?a=%3Cs%3E",
        ],
    );
    // It has a script and a style of its own, which its policy names, and nothing else is allowed.
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    let (_, nonce) = policy.split_once("script-src 'nonce-").unwrap();
    let nonce = nonce.split('\'').next().unwrap();
    assert_eq!(trap.matches("<script").count(), 1);
    has(&trap, &[&format!("<script nonce=\"{nonce}\"")]);
    assert!(!trap.contains("<b>") && !trap.contains("<u>"));
    assert!(!trap.contains(SECRET), "{trap}");
    assert_ne!(
        policy,
        browse(at, "/trap")
            .header("content-security-policy")
            .unwrap()
    );

    let panic = browse(at, "/panic").text();
    has(
        &panic,
        &[
            "panicked at falls/src/main.rs:10:25: no &lt;i&gt;luck&lt;/i&gt;",
            "<span class=\"here\"><i>10</i>",
        ],
    );

    // An `Err` of the handler, which answers by itself for all others.
    let answer = browse(at, "/err");
    assert_eq!((answer.status, answer.reason()), (500, "exit"));
    let failed = answer.text();
    has(
        &failed,
        &[
            "The handler has returned an error",
            "error: the number &lt;b&gt; cannot be read,\nsays [secret TOKEN]: invalid digit found in string</code>",
            "asked for &lt;/err&gt;\n",
            answer.header("x-request-id").unwrap(),
            "GET /err",
        ],
    );
    assert!(!failed.contains("<b>") && !failed.contains(SECRET));
    // Its own lines come before those of others.
    let place = |words: &str| {
        failed
            .find(words)
            .unwrap_or_else(|| panic!("{words}: {failed}"))
    };
    assert!(place("asked for &lt;/err&gt;") < place("What others have said"));
    assert!(place("What others have said") < place("asked for &lt;/trap&gt;"));
    let curl = ask(at, "/err", "accept: */*\r\n");
    assert_eq!(curl.status, 500);
    let kind = curl.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain"), "{kind}");
    let said = curl.text();
    has(
        &said,
        &[
            "error: the number <b> cannot be read,\nsays [secret TOKEN]: invalid digit",
            "which only `embly dev` shows",
            "`embly logs --function falls` shows it",
        ],
    );
    assert!(!said.contains(SECRET), "{said}");
    assert_eq!(curl.header("embly-handler"), None);
    let file = ask(at, "/file", "accept: */*\r\n").text();
    has(
        &file,
        &[
            "error: ",
            "(os error 44)",
            "note: a function has no files: `include_str!`",
        ],
    );
    let socket = ask(at, "/socket", "accept: */*\r\n").text();
    has(&socket, &["note: a function has no sockets, threads"]);
    let exit = browse(at, "/exit").text();
    has(
        &exit,
        &[
            "Exit with the code 1",
            "<code>error: as `run`\nsays it</code>",
            "asked for &lt;/exit&gt;\n",
        ],
    );

    // Others get what they always got.
    let json = ask(at, "/trap", "accept: application/json\r\n");
    let body: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(body["error"], "trap");
    assert!(body["detail"].as_str().unwrap().contains("unreachable"));
    let advice = body["advice"].as_str().unwrap();
    assert!(advice.contains("`embly explain trap`"), "{advice}");
    let script = format!("{BROWSER}sec-fetch-mode: cors\r\n");
    for headers in ["", "accept: */*\r\n", &script] {
        let small = ask(at, "/trap", headers).text();
        assert!(!small.contains("<script") && small.len() < 500, "{small}");
    }

    // A mistake: whoever looks at a page sees it, programs get what was built before.
    let wrong = FALLS.replace("fall(\"", "no_such_function(\"");
    project.write("falls/src/main.rs", &wrong);
    next_build(at, &trap);
    let answer = browse(at, "/");
    assert_eq!((answer.status, answer.reason()), (500, "refused"));
    let unbuilt = answer.text();
    has(
        &unbuilt,
        &[
            "<code>falls</code> does not compile",
            "<code>falls/src/main.rs:9</code>",
            "<span class=\"error\">error[E0425]",
            "&quot;/trap&quot; =&gt; no_such_function(&quot;&lt;b&gt;",
        ],
    );
    assert!(!unbuilt.contains('\u{1b}') && !unbuilt.contains("<b>"));
    let json = ask(at, "/", "accept: application/json\r\n");
    assert_eq!((json.status, json.body), (200, fine.body.clone()));

    project.write("falls/src/main.rs", &FALLS.replace("fine", "mended"));
    next_build(at, &unbuilt);
    let mended = browse(at, "/");
    assert_eq!(mended.text(), "<!doctype html><p>mended</p>");
    assert_eq!(mended.header("content-security-policy"), None);

    // What waits for a build is no request of the project's.
    let lines = embly.events().into_iter();
    let mut lines = lines.filter(|event| event["event"] == "access");
    assert!(!lines.any(|line| line["path"].as_str().unwrap().contains(".embly")));
}

#[test]
fn a_function_that_was_never_built_says_why_also_to_who_sends_a_form() {
    let project = Project::new()
        .wat("new", "(module\n  (funk))\n")
        .gateway_with(
            "new",
            "    port: 0\n    function: new\n    headers: {set: {content-security-policy: \"script-src 'none'\"}}",
        );
    let mut embly = Embly::dev(&project);
    let at = embly.at("new");
    let form = format!(
        "POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 1\r\n{BROWSER}\r\nx"
    );
    let answer = request(at, form);
    let page = answer.text();
    has(
        &page,
        &["does not compile", "new.wat:2", "data-again=\"no\""],
    );
    // To others in a line.
    let line = ask(at, "/", "").text();
    assert!(line.contains("`new` does not compile"), "{line}");
    // The project's own headers do not keep the page from working.
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'nonce-"), "{policy}");
    let mended = std::thread::spawn(move || next_build(at, &page));
    project.write("new.wat", &answering("built"));
    mended.join().unwrap();
    assert_eq!(browse(at, "/").text(), "built");

    // Who waits does not hold up the end.
    let page = browse(at, "/.embly/dev/reload");
    let since = page.text();
    let waits =
        std::thread::spawn(move || ask(at, &format!("/.embly/dev/reload?since={since}"), ""));
    embly.stops_with_nothing_left();
    // Its connection may be closed before it has sent anything.
    let _ = waits.join();
}

#[test]
fn while_the_project_file_is_wrong_a_browser_sees_what_is_and_programs_what_was_served() {
    let project = Project::new().wat("says", &answering("fine")).http("says");
    let embly = Embly::dev(&project);
    let at = embly.at("says");
    assert_eq!(browse(at, "/").text(), "fine");
    let build = browse(at, "/.embly/dev/reload").text();
    project.edit("language: wasm", "langauge: \"<b>\"");
    next_build(at, &format!("data-since=\"{build}\""));
    let answer = browse(at, "/nowhere?a=b");
    assert_eq!(answer.status, 500);
    let wrong = answer.text();
    has(
        &wrong,
        &[
            "<h1><code>embly-project.yml</code> is wrong, and not served</h1>",
            "<span class=\"error\">error[E110]: unknown key `langauge` in function `says`</span>",
            "langauge: &quot;&lt;b&gt;&quot;",
            "<span class=\"advice\">",
            "<code>embly explain E110</code> says more",
            "data-again=\"yes\"",
            answer.header("x-request-id").unwrap(),
        ],
    );
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'nonce-"), "{policy}");
    assert_eq!(ask(at, "/", "").text(), "fine");
    // Building something else does not make it right.
    project.write("says.wat", &answering("new"));
    next_build(at, &wrong);
    let still = browse(at, "/").text();
    has(&still, &["is wrong, and not served"]);
    assert_eq!(ask(at, "/", "").text(), "new");

    project.edit("langauge: \"<b>\"", "language: wasm");
    next_build(at, &still);
    assert_eq!(browse(at, "/").text(), "new");
}

#[test]
fn a_browser_loads_the_page_anew_once_the_mistake_is_mended() {
    let (Some(node), Some(chromium)) = (support::program("node"), support::program("chromium"))
    else {
        return;
    };
    let project = Project::new()
        .wat("page", "(module\n  (funk))\n")
        .http("page");
    let embly = Embly::dev(&project);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dev_page/browser.mjs");
    let url = format!("http://{}/", embly.at("page"));
    let mut browser = Command::new(node)
        .arg(script)
        .arg(url)
        .arg(chromium)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(browser.stdout.take().unwrap()).lines();
    let shown = said.next().and_then(Result::ok);
    project.write("page.wat", &answering("mended"));
    let rest: Vec<String> = said.map_while(Result::ok).collect();
    assert!(browser.wait().unwrap().success());
    assert_eq!(shown.as_deref(), Some("shown"));
    assert_eq!(rest, ["as it should be"]);
}

#[test]
fn embly_run_has_neither_the_page_nor_its_path() {
    let project = Project::new()
        .wat(
            "traps",
            "(module (memory (export \"memory\") 1) (func (export \"_start\") unreachable))",
        )
        .wat("says", &answering("its own"))
        .wat("fails", &failing())
        .http("traps")
        .http("says")
        .http("fails");
    let embly = Embly::run(&project);
    // Whoever asks, and however.
    for headers in [
        "",
        "accept: */*\r\n",
        "accept: application/json\r\n",
        BROWSER,
    ] {
        let answer = ask(embly.at("fails"), "/", headers);
        assert_eq!((answer.status, answer.text()), (500, "sorry".to_owned()));
        assert_eq!(answer.header("embly-handler"), None);
    }
    let answer = browse(embly.at("traps"), "/");
    assert_eq!(answer.reason(), "trap");
    assert_eq!(answer.header("content-security-policy"), None);
    assert!(!answer.text().contains("unreachable") && !answer.text().contains("<script"));
    let own = browse(embly.at("says"), "/.embly/dev/reload?since=x");
    assert_eq!(own.text(), "its own");
}
