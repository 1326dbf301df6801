//! Clients that people use: curl, Python, Node and Chromium, each over what it speaks best.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Embly, Project, program};

/// A client that has not ended by then never does.
const WITHIN: Duration = Duration::from_secs(120);

/// How often a killed client is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// All kinds of answers behind one gateway; in TLS where `tls` says so.
fn routes(tls: &str) -> String {
    let mut keys = format!("    port: 0\n    compress: true\n{tls}    routes:\n");
    keys.push_str("      - {path: '/files/{file...}', files: {root: ./public}}\n");
    keys.push_str("      - {path: /socket, function: socket, websocket: true}\n");
    for function in [
        "hello", "shows", "measures", "mirrors", "says", "events", "reports",
    ] {
        writeln!(keys, "      - {{path: /{function}, function: {function}}}").unwrap();
    }
    keys
}

fn project(tls: &str) -> Project {
    let mut project = Project::new();
    for function in [
        "hello", "shows", "measures", "mirrors", "says", "events", "reports", "socket",
    ] {
        project = project.guest_with(function, "    limits: {request_body: none}");
    }
    let project = project.gateway_with("web", &routes(tls));
    let numbers: String = (0..1000).map(|n| format!("{n:04} ")).collect();
    project.write("public/numbers.txt", &numbers);
    project
}

/// Runs a program to its end: what it has printed. It must succeed in time.
fn run(command: &mut Command) -> String {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = reader(child.stdout.take().unwrap());
    let err = reader(child.stderr.take().unwrap());
    let since = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if since.elapsed() > WITHIN {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("does not end: {}", err.join().unwrap());
        }
        std::thread::sleep(LOOK);
    };
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    assert!(status.success(), "{status}: {out}{err}");
    out
}

fn reader(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A master that serves in plain text.
fn plain() -> (Embly, Project, String) {
    let project = project("");
    let embly = Embly::run(&project);
    let url = format!("http://{}", embly.at("web"));
    (embly, project, url)
}

fn curl(arguments: &[&str]) -> String {
    run(Command::new("curl")
        .args(["-sS", "--max-time", "60"])
        .args(arguments))
}

#[test]
fn curl_uploads_with_and_without_expect_and_in_chunks() {
    let Some(_) = program("curl") else { return };
    let (_embly, project, url) = plain();
    let body = "x".repeat(3 << 20);
    project.write("body", &body);
    let from = format!("@{}", project.folder().join("body").display());
    for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"] {
        for more in [
            &["-H", "expect:"][..],
            &["-H", "expect: 100-continue", "--expect100-timeout", "60"],
            &["-H", "transfer-encoding: chunked"],
        ] {
            // An old client knows neither chunks nor 100.
            if version == "--http1.0" && !more[1].ends_with(':') {
                continue;
            }
            let to = format!("{url}/measures");
            let mut arguments = [&[version, "--data-binary", &from, &to], more].concat();
            if version.starts_with("--http2") && more[1].ends_with("continue") {
                // Nobody says 100 there, and curl goes on by itself.
                arguments.extend(["--expect100-timeout", "1"]);
            }
            assert_eq!(curl(&arguments), body.len().to_string(), "{arguments:?}");
        }
        // What comes back is what was sent, while it is sent.
        if version != "--http1.0" {
            let to = format!("{url}/mirrors");
            let got = curl(&[version, "-T", &from[1..], "-X", "POST", &to]);
            assert!(got == body, "{} bytes over {version}", got.len());
        }
    }
}

#[test]
fn curl_takes_parts_heads_and_packed_answers() {
    let Some(_) = program("curl") else { return };
    let (_embly, _project, url) = plain();
    let file = format!("{url}/files/numbers.txt");
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let end = "\n%{http_code} %{size_download}";
        assert_eq!(
            curl(&[version, "-r", "5-13", "-w", end, &file]),
            "0001 0002\n206 9"
        );
        assert_eq!(curl(&[version, "-r", "-5", &file]), "0999 ");
        let head = curl(&[version, "-I", &file]).to_lowercase();
        assert!(head.contains("content-length: 5000\r\n"), "{head}");
        assert!(head.contains("accept-ranges: bytes\r\n"), "{head}");
        let packed = curl(&[version, "--compressed", "-w", end, &file]);
        let (text, end) = packed.rsplit_once('\n').unwrap();
        assert_eq!(text.len(), 5000);
        let (status, bytes) = end.split_once(' ').unwrap();
        assert_eq!(status, "200");
        assert!(bytes.parse::<usize>().unwrap() < 4000, "{end}");
        // The head of a function's answer as well.
        let head = curl(&[version, "-I", "-w", "%{http_code}", &format!("{url}/hello")]);
        assert!(head.ends_with("200"), "{head}");
        let events = curl(&[version, "-N", &format!("{url}/events")]);
        assert_eq!(events, "data: 1\n\ndata: 2\n\ndata: 3\n\n");
    }
}

#[test]
fn curl_keeps_one_connection_over_many_requests() {
    let Some(_) = program("curl") else { return };
    // In TLS: without it some versions of curl cannot use a connection in HTTP/2 a second time.
    let project = project("    tls: {dev: true}\n");
    let embly = Embly::dev(&project);
    let url = format!("https://localhost:{}", embly.at("web").port());
    let authority = support::cache_home().join("embly/authority/authority.pem");
    let authority = authority.to_str().unwrap().to_owned();
    for version in ["--http1.1", "--http2"] {
        let mut arguments = vec![version.to_owned()];
        let paths = [
            "/hello",
            "/nothing",
            "/files/numbers.txt",
            "/files/none",
            "/events",
            "/shows",
        ];
        for path in paths {
            let out = ["-o", "/dev/null", "-w", "%{num_connects} %{http_code}\n"];
            if arguments.len() > 1 {
                arguments.push("--next".to_owned());
                arguments.extend(["-sS".to_owned(), version.to_owned()]);
            }
            arguments.extend(["--cacert".to_owned(), authority.clone()]);
            arguments.extend(out.map(str::to_owned));
            arguments.push(format!("{url}{path}"));
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let expected = "1 200\n0 404\n0 200\n0 404\n0 200\n0 200\n";
        assert_eq!(curl(&arguments), expected, "{version}");
        let version = match version {
            "--http2" => "HTTP/2.0",
            _ => "HTTP/1.1",
        };
        embly.event("access", |event| event["version"] == version);
    }
}

#[test]
fn curl_upgrades_where_that_is_offered_and_goes_on_where_not() {
    let Some(_) = program("curl") else { return };
    let (_embly, _project, url) = plain();
    // In plain text it asks for h2c, which nobody answers (RFC 9113, section 3.1).
    let end = "\n%{http_version} %{http_code}";
    let got = curl(&["--http2", "-w", end, &format!("{url}/hello")]);
    assert_eq!(got, "hello\n1.1 200");
}

#[test]
fn python_sends_chunks_and_keeps_its_connection() {
    let Some(python) = program("python3") else {
        return;
    };
    let (_embly, _project, url) = plain();
    let script = r"
import http.client, json, sys, urllib.request, urllib.error
url = sys.argv[1]
c = http.client.HTTPConnection(url.split('//')[1], timeout=60)
def ask(method, path, body=None, headers={}, **more):
    c.request(method, path, body, headers, **more)
    answer = c.getresponse()
    return answer, answer.read()
socket = None
for n in range(5):
    answer, body = ask('GET', '/hello')
    assert (answer.status, body) == (200, b'hello'), (answer.status, body)
    socket = socket or c.sock
    # Not one that was made anew.
    assert c.sock is socket and c.sock is not None
answer, body = ask('POST', '/measures', (b'x' * n for n in [1, 10, 100000]), encode_chunked=True)
assert body == b'100011', body
answer, body = ask('POST', '/shows', 'some text', {'x-own': 'a'})
assert body.endswith(b'\r\n\r\nsome text') and b'\r\nx-own: a\r\n' in body, body
answer, body = ask('HEAD', '/files/numbers.txt')
assert (answer.status, body, answer.getheader('content-length')) == (200, b'', '5000')
answer, body = ask('GET', '/nothing')
assert answer.status == 404
said = 'HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-type: application/json\r\n\r\n[1]'
answer, body = ask('POST', '/says', said)
assert answer.headers.get_all('set-cookie') == ['a=1', 'b=2'], answer.headers
assert json.loads(body) == [1]
answer, body = ask('GET', '/events')
assert body == b'data: 1\n\ndata: 2\n\ndata: 3\n\n', body
assert c.sock is socket
with urllib.request.urlopen(url + '/hello', timeout=60) as answer:
    assert answer.read() == b'hello'
with urllib.request.urlopen(url + '/measures', b'12345', timeout=60) as answer:
    assert answer.read() == b'5'
part = urllib.request.Request(url + '/files/numbers.txt', headers={'range': 'bytes=5-8'})
with urllib.request.urlopen(part, timeout=60) as answer:
    assert (answer.status, answer.read()) == (206, b'0001')
try:
    urllib.request.urlopen(url + '/nothing', timeout=60)
    raise SystemExit('404 is no error')
except urllib.error.HTTPError as error:
    assert error.code == 404
print('all is well')
";
    let out = run(Command::new(python).args(["-c", script, &url]));
    assert_eq!(out, "all is well\n");
}

#[test]
fn node_streams_both_ways_and_takes_events() {
    let Some(node) = program("node") else { return };
    let (_embly, project, url) = plain();
    let script = r"
const assert = require('assert'), http = require('http'), url = process.argv[2];
async function* pieces() { for (let n = 0; n < 50; n++) yield Buffer.from(`piece ${n} `); }
async function main() {
  let answer = await fetch(url + '/hello');
  assert.equal(await answer.text(), 'hello');
  const said = 'HTTP/1.1 201 x\r\ncontent-type: application/json\r\n\r\n{\'a\':[1,2]}'.replaceAll('\'', '\x22');
  answer = await fetch(url + '/says', {method: 'POST', body: said});
  assert.deepEqual([answer.status, await answer.json()], [201, {a: [1, 2]}]);
  answer = await fetch(url + '/mirrors', {method: 'POST', body: pieces(), duplex: 'half'});
  let text = '';
  for await (const piece of answer.body) text += Buffer.from(piece).toString();
  assert(text.startsWith('piece 0 ') && text.endsWith('piece 49 '), text);
  answer = await fetch(url + '/files/numbers.txt');
  assert.equal((await answer.text()).length, 5000);
  assert.equal(answer.headers.get('content-encoding') !== null, true);
  answer = await fetch(url + '/events');
  let events = [];
  for await (const piece of answer.body) events.push(Buffer.from(piece).toString());
  assert.equal(events.join(''), 'data: 1\n\ndata: 2\n\ndata: 3\n\n');
  assert(events.length > 1, 'they come as they happen');
  const stop = new AbortController();
  const gone = fetch(url + '/mirrors', {method: 'POST', body: 'x', signal: stop.signal});
  stop.abort();
  await assert.rejects(gone, {name: 'AbortError'});
  // One connection, with pieces that are seen before the next ones are sent.
  const agent = new http.Agent({keepAlive: true, maxSockets: 1});
  const sockets = new Set();
  for (let round = 0; round < 3; round++) {
    await new Promise((done, failed) => {
      const request = http.request(url + '/mirrors', {method: 'POST', agent}, (response) => {
        sockets.add(response.socket.localPort);
        let n = 0, all = '';
        response.on('data', (data) => {
          all += data;
          if (n++ < 5) request.write(`${n} `); else request.end();
        });
        response.on('end', () => { assert.equal(all, '0 1 2 3 4 5 '); done(); });
      });
      request.on('error', failed);
      request.write('0 ');
    });
  }
  assert.equal(sockets.size, 1);
  agent.destroy();
  console.log('all is well');
}
main().catch((error) => { console.error(error); process.exit(1); });
";
    project.write("client.js", script);
    let file = project.folder().join("client.js");
    let out = run(Command::new(node).arg(file).arg(&url));
    assert_eq!(out, "all is well\n");
}

/// A browser, and what it keeps. Killed when dropped.
struct Browser {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Browser {
    /// Opens a page, and takes the server's certificate for good, whose key has this hash.
    fn open(program: &Path, url: &str, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--no-first-run"])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args(["--disable-sync", "--disable-extensions", "--mute-audio"])
            // Nobody but the gateway is asked for anything.
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost")
            .arg(format!("--ignore-certificate-errors-spki-list={key}"))
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .arg("--remote-debugging-port=0")
            .arg(url)
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            _folder: folder,
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the browser runs, and what comes of it is sent to the function that reports.
const PAGE: &str = r"<!doctype html><meta charset=utf-8><title>a test</title><script type=module>
const told = {};
const wait = (name, work) => new Promise((done, failed) => {
  setTimeout(() => failed(new Error(name + ' takes too long')), 20000);
  work(done, failed);
});
try {
  told.page = performance.getEntriesByType('navigation')[0].nextHopProtocol;
  const said = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[1,2]';
  told.json = await (await fetch('/says', {method: 'POST', body: said})).json();
  told.fetch = performance.getEntriesByName(location.origin + '/says')[0].nextHopProtocol;
  told.file = (await (await fetch('/files/numbers.txt')).text()).length;
  told.missing = (await fetch('/nothing')).status;
  told.many = (await Promise.all(Array.from({length: 40}, async () =>
    (await fetch('/hello')).text()))).filter((text) => text === 'hello').length;
  told.socket = await wait('the socket', (done, failed) => {
    const socket = new WebSocket(location.origin.replace('http', 'ws') + '/socket');
    const got = [];
    socket.onopen = () => { socket.send('one'); socket.send('zw\u00f6lf'); };
    socket.onmessage = (event) => { got.push(event.data); if (got.length === 2) socket.close(1000); };
    socket.onclose = (event) => done([...got, event.code, event.wasClean]);
    socket.onerror = failed;
  });
  told.events = await wait('the events', (done) => {
    const source = new EventSource('/events'), got = [];
    source.onmessage = (event) => got.push(event.data);
    source.onerror = () => { source.close(); done(got); };
  });
} catch (error) { told.error = String(error); }
await fetch('/reports', {method: 'POST', body: JSON.stringify(told)});
</script>";

/// The hash of the public key of a gateway, as Chromium wants it.
fn key_of(at: std::net::SocketAddr) -> String {
    let script = format!(
        "openssl s_client -connect {at} -servername localhost </dev/null 2>/dev/null \
         | openssl x509 -pubkey -noout | openssl pkey -pubin -outform der \
         | openssl dgst -sha256 -binary | openssl base64"
    );
    run(Command::new("sh").args(["-c", &script]))
        .trim()
        .to_owned()
}

#[test]
fn a_browser_loads_pages_over_http2_and_uses_sockets_and_events() {
    let (Some(chromium), Some(_)) = (program("chromium"), program("openssl")) else {
        return;
    };
    let project = project("    tls: {dev: true}\n");
    project.write("public/page.html", PAGE);
    let embly = Embly::dev(&project);
    let at = embly.at("web");
    let url = format!("https://localhost:{}/files/page.html", at.port());
    let browser = Browser::open(&chromium, &url, &key_of(at));
    // The first start of a browser takes its time, on a machine that has others to do.
    let told = eventually_logged(&embly);
    drop(browser);
    let expected = serde_json::json!({
        "page": "h2",
        "json": [1, 2],
        "fetch": "h2",
        "file": 5000,
        "missing": 404,
        "many": 40,
        "socket": ["one", "zw\u{f6}lf", 1000, true],
        "events": ["1", "2", "3"],
    });
    assert_eq!(told, expected);
}

/// What the page has sent at its end.
fn eventually_logged(embly: &Embly) -> serde_json::Value {
    let since = Instant::now();
    loop {
        let events = embly.events();
        let logged = events
            .iter()
            .find(|event| event["event"] == "log" && event["function"] == "reports");
        if let Some(event) = logged {
            let line = event["line"].as_str().unwrap();
            let body = line.rsplit_once(r"\r\n\r\n").unwrap().1;
            let body = body.replace("\\\"", "\"").replace(r"\xc3\xb6", "\u{f6}");
            return serde_json::from_str(&body).unwrap();
        }
        assert!(since.elapsed() < WITHIN, "no page was shown: {events:?}");
        std::thread::sleep(LOOK);
    }
}

#[test]
fn a_browser_shows_the_example_site() {
    let (Some(chromium), Some(_)) = (program("chromium"), program("openssl")) else {
        return;
    };
    // What cargo needs to compile for wasm is in the cache from now on.
    support::project::guest();
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/site");
    // Compiling all that it needs may take longer than a test waits for anything.
    let (code, _, stderr) = support::output(&["build", site.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    let runtime = tempfile::tempdir().unwrap();
    let mut command = support::command(&support::arguments("dev", &site), runtime.path());
    command.arg("--state").arg(runtime.path().join("data"));
    let embly = Embly::spawn(command, runtime, 2);
    let at = embly.at("site");
    let url = format!("https://localhost:{}/", at.port());
    let browser = Browser::open(&chromium, &url, &key_of(at));
    // All that the page asks for, the last of it by its script.
    for path in ["/", "/style.css", "/site.js", "/ticks"] {
        let access = embly.event("access", |event| event["path"] == path);
        let got = (&access["status"], &access["version"]);
        assert_eq!(got, (&200.into(), &"HTTP/2.0".into()), "{path}");
    }
    let access = embly.event("invocation_started", |event| event["function"] == "echo");
    assert_eq!(access["gateway"], "site");
    drop(browser);
}
