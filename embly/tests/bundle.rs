//! Bundles: what is in them, what comes out of them, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::bundle::{Entry, PROJECT, Raw, entry, gzip};
use support::project::answering;
use support::tls::Authority;
use support::{EMBLY, Embly, Project, environment, eventually, get, output};

/// A project with all that goes into a bundle, and some that does not.
fn whole(ca: &str) -> Project {
    let routes = "    port: 0\n    function: hello\n    routes:\n\
                  \x20     - {path: '/s/{file...}', files: {root: ./_site, not_found: 404.html}}";
    let project = Project::new()
        .rust("hello", HELLO)
        .wat_with("text", &answering("text"), CA)
        .gateway_with("web", routes)
        .store("name: main, type: sql, path: main.db, migrations: ./_sql")
        .store("name: empty, type: sql, path: empty.db, migrations: ./_none");
    project.write("_sql/001-first.sql", "CREATE TABLE t (a TEXT);");
    project.write("_none/.keep", "");
    project.write("ca.pem", ca);
    project.write("_site/index.html", "index");
    project.write("_site/404.html", "missing");
    project.write("_site/deep/page.html", "page");
    project.write("_site/.well-known/security.txt", "who");
    project.write("_site/.env", "SECRET=1");
    project.write("_site/.git/config", "secret");
    project.write(".env", "SECRET=1");
    symlink("index.html", project.folder().join("_site/link.html")).unwrap();
    project
}

const CA: &str = "    allow: {http: [{url: 'https://example.test/', ca: ./ca.pem}]}";

const HELLO: &str = "use embly::http::{self, Body, Request, ResponseWriter};\n\
    use std::io::Write;\n\
    fn main() -> Result<(), embly::Error> { http::run(hello) }\n\
    fn hello(_: Request<Body>, mut out: ResponseWriter) {\n\
        let at = std::env::var(\"NOWHERE\").map(|it| it.parse::<usize>().unwrap());\n\
        out.write_all(format!(\"hello {at:?}\").as_bytes()).unwrap();\n\
    }\n";

/// `embly bundle` of this project to this file, after a shell has done this.
fn bundle(project: &Path, to: &Path, before: &str) -> Value {
    let runtime = tempfile::tempdir().unwrap();
    let mut command = environment(Command::new("sh"), runtime.path());
    command
        .args([
            "-c",
            &format!("{before}; exec \"$@\""),
            "sh",
            EMBLY,
            "bundle",
        ])
        .arg(project)
        .arg("-o")
        .arg(to)
        .args(["--format", "json"]);
    let ran = command.output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(ran.status.success(), "{out}{err}");
    let told = out
        .lines()
        .find(|line| line.contains("\"event\":\"bundle\""));
    serde_json::from_str(told.unwrap()).unwrap()
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, all: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, all);
            } else {
                let path = path.strip_prefix(root).unwrap();
                all.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    let mut all = Vec::new();
    walk(folder, folder, &mut all);
    all.sort();
    all
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn line_tables_are_told_with_the_size_and_left_out_on_request() {
    let project = Project::new().wat("hello", &answering("hello"));
    project.path();
    project.write(
        "embly-project.yml",
        "functions: [{name: a, path: ./a, language: rust}]\n",
    );
    let package = "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    let profile = "[profile.release]\ndebug = \"line-tables-only\"\n";
    project.write("a/Cargo.toml", &format!("{package}{profile}"));
    project.write("a/src/main.rs", "fn main() { println!(\"hello\") }\n");
    let place = tempfile::tempdir().unwrap();
    let (to, runtime) = (place.path().join("a.embly"), place.path().join("run"));
    fs::create_dir(&runtime).unwrap();
    let made = |debug: Option<&str>| {
        let mut command = environment(Command::new(EMBLY), &runtime);
        command.args([
            "bundle",
            project.folder().to_str().unwrap(),
            "-o",
            text(&to),
        ]);
        if let Some(debug) = debug {
            command.env("CARGO_PROFILE_RELEASE_DEBUG", debug);
        }
        let ran = command.output().unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert!(ran.status.success(), "{said}");
        (said, fs::metadata(&to).unwrap().len())
    };
    let (said, large) = made(None);
    assert!(
        said.contains(" bytes of that are there for the files and lines of backtraces")
            && said.contains("`CARGO_PROFILE_RELEASE_DEBUG=none embly bundle`"),
        "{said}"
    );
    let (said, small) = made(Some("none"));
    assert!(!said.contains("backtraces"), "{said}");
    assert!(small < large, "{small} {large}");
}

#[test]
fn a_bundle_is_the_same_bit_for_bit_wherever_and_whenever_it_is_made() {
    let place = tempfile::tempdir().unwrap();
    let (first, second) = (place.path().join("a.embly"), place.path().join("b.embly"));
    let ca = Authority::new().pem;
    let (one, other) = (whole(&ca), whole(&ca));
    let told = bundle(one.path(), &first, "umask 022");
    // Other times, other permissions, another order of making.
    for file in [
        "_site/index.html",
        "_sql/001-first.sql",
        "embly-project.yml",
        "text.wat",
    ] {
        let path = other.folder().join(file);
        other.path();
        let text = other.read(file);
        fs::remove_file(&path).unwrap();
        other.write(file, &text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let before = SystemTime::now() - Duration::from_secs(86_400 * 1000);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(before)
            .unwrap();
    }
    let again = bundle(other.path(), &second, "umask 077");
    assert_eq!(told["checksum"], again["checksum"]);
    assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap());
    assert_eq!(told["signed_by"], Value::Null);

    // It has what is needed elsewhere, and nothing else: no source, no native code, nothing hidden.
    let unpacked = place.path().join("unpacked");
    let (code, _, err) = output(&["unbundle", text(&first), "-C", text(&unpacked)]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        files(&unpacked),
        [
            "ca/0.pem",
            "embly-bundle.json",
            "embly-bundle.seal",
            "embly-project.yml",
            "functions/hello.wasm",
            "functions/text.wat",
            "migrations/empty/.keep",
            "migrations/main/001-first.sql",
            "static/0/.well-known/security.txt",
            "static/0/404.html",
            "static/0/deep/page.html",
            "static/0/index.html",
            "static/0/link.html",
        ]
    );
    let wasm = fs::read(unpacked.join("functions/hello.wasm")).unwrap();
    assert!(wasm.starts_with(b"\0asm"));
    let list: Value =
        serde_json::from_slice(&fs::read(unpacked.join("embly-bundle.json")).unwrap()).unwrap();
    assert_eq!(
        (&list["format"], list["files"].as_array().unwrap().len()),
        (&json!(1), 11)
    );
    assert_eq!(told["files"], 11);

    // A folder that was unpacked is a project.
    let (code, _, err) = output(&["check", text(&unpacked)]);
    assert_eq!(code, 0, "{err}");

    // And so is the file itself, whose state lies beside it.
    let mut embly = run(&first, 1);
    let at = embly.at("web");
    assert_eq!(get(at, "/").text(), "hello Err(NotPresent)");
    assert_eq!(get(at, "/s/deep/page.html").text(), "page");
    assert_eq!(get(at, "/s/nothing").text(), "missing");
    assert!(place.path().join("data/main.db").exists());
    embly.stops_with_nothing_left();
}

/// `embly run` of a bundle.
fn run(file: &Path, gateways: usize) -> Embly {
    run_with(file, gateways, &[])
}

fn run_with(file: &Path, gateways: usize, more: &[&str]) -> Embly {
    let runtime = tempfile::tempdir().unwrap();
    let mut command = environment(Command::new("setsid"), runtime.path());
    command.arg(EMBLY).args(support::arguments("run", file));
    command.args(more);
    Embly::spawn(command, runtime, gateways)
}

fn serving(answer: &str) -> Project {
    Project::new()
        .wat("hello", &answering(answer))
        .http("hello")
}

#[test]
fn a_bundle_that_runs_is_reloaded_as_it_is_then_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("shop.embly");
    bundle(serving("one").path(), &file, ":");
    let mut embly = run(&file, 1);
    assert_eq!(get(embly.at("hello"), "/").text(), "one");
    let own = || {
        let mut all: Vec<PathBuf> = fs::read_dir(support::cache_home().join("embly/bundles"))
            .unwrap()
            .map(|entry| entry.unwrap().path().join("project/embly-bundle.json"))
            .collect();
        all.retain(|path| path.exists());
        all
    };
    let during = own();
    assert!(!during.is_empty());
    bundle(serving("two").path(), &file, ":");
    embly.signal(Signal::HUP);
    eventually("the new bundle", || {
        get(embly.at("hello"), "/").text() == "two"
    });

    // One that is broken changes nothing, and its error is the answer.
    fs::write(&file, "no bundle").unwrap();
    let (status, answer) = embly.asks("POST", "/v1/reload");
    assert_eq!(
        (status, &answer["error"]["code"]),
        (422, &json!("bad_bundle"))
    );
    assert_eq!(get(embly.at("hello"), "/").text(), "two");
    // It is known by its file.
    let (code, out, _) = embly.told(&["masters"]);
    assert!(code == 0 && out.contains("shop.embly"), "{out}");
    let (code, _, err) = embly.told(&["stop", text(&file)]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(embly.wait().code(), Some(0));
    assert!(!during.iter().all(|path| path.exists()));
    assert!(!place.path().join("data").exists(), "nothing was kept");
}

#[test]
fn what_is_for_no_other_machine_is_named_with_what_to_write() {
    let place = tempfile::tempdir().unwrap();
    let project = serving("one");
    project.edit("port: 0", "bind: unix:web.sock");
    let to = place.path().join("x.embly");
    let (code, _, err) = output(&["bundle", text(project.path()), "-o", text(&to)]);
    assert_eq!(code, 2, "{err}");
    assert!(
        err.contains("E220") && err.contains("unix:/etc/embly/web.sock"),
        "{err}"
    );
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);

    let project = Project::new().wat("hello", &answering("one")).gateway_with(
        "web",
        "    port: 0\n    routes:\n      - {path: '/{file...}', files: {root: ./site}}",
    );
    project.write("site/Read.me", "1");
    project.write("site/read.me", "2");
    let (code, _, err) = output(&["bundle", text(project.path()), "-o", text(&to)]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("upper and lower case"), "{err}");
    fs::remove_file(project.folder().join("site/read.me")).unwrap();
    symlink("/etc/passwd", project.folder().join("site/passwd")).unwrap();
    let (code, _, err) = output(&["bundle", text(project.path()), "-o", text(&to)]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("passwd") && err.contains("is a link"), "{err}");
}

#[test]
fn nothing_is_overwritten_and_a_failure_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let file = Raw::new([]).write(place.path());
    let target = place.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("mine"), "mine").unwrap();
    let (code, _, err) = output(&["unbundle", text(&file), "-C", text(&target)]);
    assert_eq!(code, 1);
    assert!(
        err.contains("is not empty") && err.contains("-C DIR"),
        "{err}"
    );
    assert_eq!(files(&target), ["mine"]);
    // A folder that is there and empty keeps its permissions.
    fs::remove_file(target.join("mine")).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o750)).unwrap();
    let (code, _, err) = output(&["unbundle", text(&file), "-C", text(&target)]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o750);
    assert_eq!(
        fs::read_to_string(target.join("embly-project.yml")).unwrap(),
        PROJECT
    );

    // Without a name for the folder it is that of the file.
    let runtime = tempfile::tempdir().unwrap();
    let mut command = support::command(&["unbundle", "raw.embly"], runtime.path());
    assert!(
        command
            .current_dir(place.path())
            .status()
            .unwrap()
            .success()
    );
    assert!(place.path().join("raw/embly-project.yml").exists());
    let truncated = &fs::read(&file).unwrap()[..300];
    fs::write(&file, truncated).unwrap();
    let other = place.path().join("other");
    let (code, _, err) = output(&["unbundle", text(&file), "-C", text(&other)]);
    assert_eq!(code, 1, "{err}");
    let mut left: Vec<_> = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["raw", "raw.embly", "target"]);
}

/// What `embly unbundle` says of it, which unpacks nothing.
fn refusal(bytes: &[u8]) -> String {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("raw.embly");
    fs::write(&file, bytes).unwrap();
    let target = place.path().join("a/b/target");
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    let (code, _, err) = output(&["unbundle", text(&file), "-C", text(&target)]);
    assert_eq!(code, 1, "{err}");
    assert_eq!(files(place.path()), ["raw.embly"], "{err}");
    assert!(!target.exists());
    err
}

#[test]
fn no_entry_leaves_the_folder_and_none_is_anything_but_a_plain_file() {
    let link = |kind, to: &str| Entry {
        kind,
        link: to.to_owned(),
        ..entry("static/0/x", "")
    };
    let folder = |path: &str| Entry {
        kind: b'5',
        ..entry(path, "")
    };
    for (raw, why) in [
        (Raw::new([entry("../x", "x")]), "leads out of the folder"),
        (
            Raw::new([entry("static/../../../x", "x")]),
            "leads out of the folder",
        ),
        (Raw::new([entry("/tmp/x", "x")]), "is an absolute path"),
        (Raw::new([entry("static/./x", "x")]), "is not a plain path"),
        (Raw::new([entry("static//x", "x")]), "is not a plain path"),
        (Raw::new([entry("static\\..\\x", "x")]), "has characters"),
        (Raw::new([entry("static/0/a\nb", "x")]), "has characters"),
        (Raw::new([link(b'2', "/etc/passwd")]), "is a symbolic link"),
        (
            Raw::new([link(b'1', "embly-project.yml")]),
            "is a hard link",
        ),
        (Raw::new([link(b'3', "")]), "is a device"),
        (Raw::new([link(b'6', "")]), "is a FIFO"),
        (Raw::new([folder("static/0/x")]), "is a folder"),
        (
            Raw::new([entry("static/0/x", "1"), entry("static/0/x", "2")]),
            "is there twice",
        ),
        (
            Raw::new([entry("static/0/X", "1"), entry("static/0/x", "2")]),
            "upper and lower case",
        ),
        (
            Raw::new([entry("static/A/x", "1"), entry("static/a/y", "2")]),
            "upper and lower case",
        ),
        (
            Raw::new([entry("static/0/x", "1"), entry("static/0/x/y", "2")]),
            "is a file and a folder",
        ),
        // What Embly or cargo would believe, were it in a project's folder.
        (
            Raw::new([entry(".env", "A=1")]),
            "is not where files of a bundle are",
        ),
        (
            Raw::new([entry("data/secrets.enc", "x")]),
            "is not where files of a bundle are",
        ),
        (
            Raw::new([entry("Cargo.toml", "x")]),
            "is not where files of a bundle are",
        ),
        (
            Raw::new([entry(".embly/wasm/hello.wasm", "x")]),
            "is not where files of a bundle are",
        ),
        (
            Raw::new([entry("functions/hello.cwasm", "x")]),
            "is not a module",
        ),
    ] {
        let said = refusal(&raw.bytes());
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn a_list_that_does_not_say_what_comes_is_refused() {
    fn list(change: fn(&mut Value)) -> Raw {
        Raw {
            list: change,
            ..Raw::new([])
        }
    }
    let seal = json!({"sha256": support::bundle::sha256(b"another")});
    let after = |bytes: &[u8]| {
        Raw {
            after: bytes.to_vec(),
            ..Raw::new([])
        }
        .bytes()
    };
    let other_tar = |change: fn(&mut Vec<u8>)| {
        let mut tar = Raw::new([]).tar();
        change(&mut tar);
        gzip(&tar)
    };
    for (bytes, why) in [
        (
            list(|it| it["files"][0]["sha256"] = "0".repeat(64).into()).bytes(),
            "another checksum",
        ),
        (
            list(|it| it["files"][0]["sha256"] = "A".repeat(64).into()).bytes(),
            "has no checksum",
        ),
        (
            list(|it| it["files"][0]["size"] = 1.into()).bytes(),
            "another size than its list",
        ),
        (
            list(|it| it["files"].as_array_mut().unwrap().swap(0, 1)).bytes(),
            "is not in its place",
        ),
        (
            list(|it| drop(it["files"].as_array_mut().unwrap().pop())).bytes(),
            "where nothing should be",
        ),
        (list(|it| it["format"] = 2.into()).bytes(), "format 2"),
        (list(|it| it["format"] = 0.into()).bytes(), "no format 0"),
        (list(|it| it["more"] = 1.into()).bytes(), "its list"),
        (
            list(|it| it["files"] = json!([])).bytes(),
            "has no `embly-project.yml`",
        ),
        (
            Raw {
                seal: Some(seal),
                ..Raw::new([])
            }
            .bytes(),
            "its list has another checksum",
        ),
        (after(b"x"), "follows after its end"),
        (after(&gzip(b"x")), "follows after its end"),
        (
            other_tar(|tar| tar.extend([0; 512])),
            "follows after its end",
        ),
        (
            other_tar(|tar| tar.truncate(tar.len() - 1024)),
            "ends too early",
        ),
        (other_tar(|tar| drop(tar.drain(..1024))), "is not a bundle"),
        (other_tar(|tar| tar[100] = b'1'), "is not a bundle"),
        (gzip(b""), "is not a bundle"),
        (Vec::new(), "is not a bundle"),
        (b"PK\x03\x04 something else".to_vec(), "is not a bundle"),
    ] {
        let said = refusal(&bytes);
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn sizes_and_numbers_have_bounds_that_hold_before_anything_is_unpacked() {
    fn list(change: fn(&mut Value)) -> Vec<u8> {
        let raw = Raw {
            list: change,
            ..Raw::new([])
        };
        raw.bytes()
    }
    let many = list(|it| {
        let one = it["files"][0].clone();
        let more = (0..10_001).map(|n| {
            let mut one = one.clone();
            one["path"] = format!("static/0/{n:05}").into();
            one
        });
        it["files"] = more.collect();
    });
    let large = list(|it| it["files"][0]["size"] = (2_u64 << 30).into());
    let huge = list(|it| it["files"][0]["size"] = u64::MAX.into());
    let long = list(|it| it["made_by"] = "x".repeat(9 << 20).into());
    let bomb = Raw::new([entry("static/0/x", vec![0; 64 << 20])]).bytes();
    assert!(bomb.len() < 100_000);
    for (bytes, why) in [
        (many, "more than 10000 files"),
        (large, "larger than 1024 MiB"),
        (huge, "larger than 1024 MiB"),
        (long, "larger than it ever is"),
        (bomb, "grows more than 200-fold"),
    ] {
        let said = refusal(&bytes);
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn a_bundle_that_is_broken_cut_or_signed_by_another_is_refused_wherever_it_is_read() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let project = serving("one");
    for key in ["mine", "other"] {
        let (code, _, err) = output(&["bundle", "--new-key", text(&at(key))]);
        assert!(
            code == 0 && err.contains("keep the first one secret"),
            "{err}"
        );
        assert_eq!(fs::metadata(at(key)).unwrap().mode() & 0o777, 0o600);
    }
    // A key is never made over another one.
    let (code, _, err) = output(&["bundle", "--new-key", text(&at("mine"))]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("name another one, or move it away"), "{err}");
    let signed = |key: &str, to: &str| {
        let (to, key) = (at(to), at(key));
        let path = project.path();
        let arguments = [
            "bundle",
            text(path),
            "-o",
            text(&to),
            "--sign-key",
            text(&key),
        ];
        let (code, _, err) = output(&arguments);
        assert_eq!(code, 0, "{err}");
        to
    };
    let mine = signed("mine", "mine.embly");
    let theirs = signed("other", "theirs.embly");
    let unsigned = at("unsigned.embly");
    bundle(project.path(), &unsigned, ":");
    let whole = fs::read(&mine).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(at("flipped.embly"), flipped).unwrap();
    fs::write(at("cut.embly"), &whole[..whole.len() - 20]).unwrap();
    let newer = Raw {
        list: |it| it["format"] = 7.into(),
        ..Raw::new([])
    };
    fs::write(at("newer.embly"), newer.bytes()).unwrap();
    // The seal of another bundle of the same signer.
    let forged = Raw {
        seal: Some(seal_of(&mine)),
        ..Raw::new([])
    };
    fs::write(at("forged.embly"), forged.bytes()).unwrap();
    let key = at("mine.pub");
    for (file, why) in [
        (&theirs, "another key than the one of `--verify-key`"),
        (&unsigned, "it is not signed"),
        (&at("flipped.embly"), ""),
        (&at("cut.embly"), "ends too early: copy it again"),
        (&at("newer.embly"), "it is of format 7"),
        (&at("forged.embly"), "its list has another checksum"),
        (&at("none.embly"), "cannot read"),
    ] {
        let target = at("target");
        let (runs, file, key) = (at("runs"), text(file), text(&key));
        for arguments in [
            &["unbundle", file, "--verify-key", key, "-C", text(&target)][..],
            &["run", file, "--verify-key", key, "--state", text(&runs)],
            &["deploy", file, "--verify-key", key],
        ] {
            let (code, _, err) = output(arguments);
            assert!(code == 1 || code == 2, "{arguments:?}: {err}");
            assert!(err.contains(why), "{arguments:?}: {why}: {err}");
        }
        assert!(!target.exists() && !runs.exists());
    }
    let (target, key) = (at("target"), text(&key));
    let (code, _, err) = output(&[
        "unbundle",
        text(&mine),
        "--verify-key",
        key,
        "-C",
        text(&target),
    ]);
    assert!(code == 0 && err.contains("signed by"), "{err}");
    // A key that others may read, and one of the other kind, are refused with what to type.
    let secret = at("mine");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, err) = output(&["bundle", "--sign-key", text(&secret), text(project.path())]);
    assert!(code == 1 && err.contains("chmod 600"), "{err}");
    let (code, _, err) = output(&["unbundle", text(&mine), "--verify-key", text(&secret)]);
    assert!(code == 1 && err.contains("--new-key"), "{err}");
}

/// The seal of a bundle, which is its second file.
fn seal_of(file: &Path) -> Value {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("x");
    let (code, _, err) = output(&["unbundle", text(file), "-C", text(&target)]);
    assert_eq!(code, 0, "{err}");
    serde_json::from_slice(&fs::read(target.join("embly-bundle.seal")).unwrap()).unwrap()
}

#[test]
fn a_project_file_that_leads_out_of_its_bundle_or_has_something_built_is_refused() {
    let place = tempfile::tempdir().unwrap();
    fs::write(
        place.path().join("x.wat"),
        "(module (func (export \"_start\")))",
    )
    .unwrap();
    let outside = format!(
        "functions:\n  - {{name: hello, path: {0}/x.wat, context: {0}, language: wasm}}\n",
        place.path().display()
    );
    let served = format!(
        "{PROJECT}gateways:\n  - {{name: web, type: http, port: 0, routes: [{{path: '/{{f...}}', files: {{root: /etc}}}}]}}\n"
    );
    let crate_of = env!("CARGO_MANIFEST_DIR");
    let built =
        format!("functions:\n  - {{name: hello, path: {crate_of}, context: /, language: rust}}\n");
    for (project, why) in [
        (outside, "which is not in the bundle"),
        (served, "`/etc`, which is not in the bundle"),
        (built, "a bundle has modules only"),
    ] {
        let file = Raw::new([]).project(&project).write(place.path());
        let (code, _, err) = output(&["run", text(&file), "--bind", "127.0.0.1:0"]);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(why), "{why}: {err}");
    }
}

#[test]
fn native_code_is_compiled_on_arrival_and_never_taken_from_a_bundle() {
    let place = tempfile::tempdir().unwrap();
    // What a compiler has made of one, perhaps of another machine.
    let mine = tempfile::tempdir().unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let project = serving("one");
    let mut build = support::command(&["build", text(project.path())], runtime.path());
    let ran = build.env("XDG_CACHE_HOME", mine.path()).output().unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let artefacts = files(&mine.path().join("embly/artefacts"));
    let artefact = artefacts
        .iter()
        .find(|name| name.ends_with(".cwasm"))
        .unwrap();
    let native = fs::read(mine.path().join("embly/artefacts").join(artefact)).unwrap();
    let project = PROJECT.replace(".wat", ".wasm");
    let mut raw = Raw::new([entry("functions/hello.wasm", native)]).project(&project);
    raw.entries.retain(|it| it.path != "functions/hello.wat");
    let file = raw.write(place.path());
    let (code, _, err) = output(&["run", text(&file), "--bind", "127.0.0.1:0"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("is not valid WebAssembly"), "{err}");
}

#[test]
fn a_bundle_is_for_all_environments_and_where_it_runs_one_is_chosen() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("all.embly");
    let routes = "    port: 0\n    function: hello\n    routes:\n\
                  \x20     - {path: '/s/{file...}', files: {root: ./_site}}";
    let project = Project::new()
        .wat("hello", &answering("base"))
        .gateway_with("web", routes)
        .top(
            "environments:
  live:
    functions:
      - {name: hello, path: ./_live.wat} # another module
      - {name: more, path: ./_more.wat, language: wasm}
    gateways:
      - name: web
        routes:
          - {path: '/s/{file...}', files: {root: ./_live}}
          - {path: /more, function: more}
  plain:",
        );
    project.write("_live.wat", &answering("live"));
    project.write("_more.wat", &answering("more"));
    project.write("_sub/hello.wat", &answering("elsewhere"));
    project.write("_site/a.txt", "site");
    project.write("_live/a.txt", "other site");
    bundle(project.path(), &file, "true");
    let asked =
        |embly: &Embly| ["/", "/s/a.txt", "/more"].map(|path| get(embly.at("web"), path).text());
    for (more, expected) in [
        (&[][..], ["base", "site", "base"]),
        (&["--environment", "plain"], ["base", "site", "base"]),
        (&["--environment", "live"], ["live", "other site", "more"]),
    ] {
        assert_eq!(asked(&run_with(&file, 1, more)), expected, "{more:?}");
    }
    let (code, _, err) = output(&["run", text(&file), "--environment", "alive"]);
    assert!(
        code == 2 && err.contains("did you mean `--environment live`?"),
        "{code} {err}"
    );

    // It is unpacked to a project that has them as well.
    let into = place.path().join("unpacked");
    let (code, _, err) = output(&["unbundle", text(&file), "-C", text(&into)]);
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = output(&["check", text(&into)]);
    assert!(
        code == 0 && err.contains("environment live: 2 functions"),
        "{err}"
    );
    assert!(into.join("functions/hello.live.wat").exists());

    // What has no place of its own is refused, and so is what is wrong in one of them.
    for (old, new, said) in [
        (
            "path: ./_live.wat}",
            "context: ./_sub}",
            "function `hello` is built in another way in environment `live`",
        ),
        (
            "path: ./_more.wat",
            "path: ./_none.wat",
            "environment `live`: 1 error",
        ),
    ] {
        project.edit(old, new);
        let (code, _, err) = output(&["bundle", text(project.path()), "-o", text(&file)]);
        assert!(code == 2 && err.contains(said), "{code} {err}");
        project.edit(new, old);
    }
}
