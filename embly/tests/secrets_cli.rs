//! The commands that set, list and remove secrets, and what is said where one is missing.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::client::get;
use support::secrets::{LISTED, Place, confides, finish, not_in};

const VALUE: &str = "sk_live \"51\" & more/";

#[test]
fn a_missing_secret_is_an_error_at_its_place_that_says_what_to_type() {
    let place = Place::new(confides("    secrets: [KEY, OTHER]"));
    for what in ["check", "run", "dev"] {
        let (code, stdout, stderr) = place.embly(&[what, place.path()], b"");
        assert_eq!((code, stdout.as_str()), (2, ""), "{what}");
        for words in [
            "error[E181]: there is no secret `KEY`",
            "error[E181]: there is no secret `OTHER`",
            "secrets: [KEY, OTHER]",
            "help: type `embly secrets set KEY`, or set it before you start `embly`: `export KEY=…`",
        ] {
            assert!(stderr.contains(words), "{what}: {stderr}");
        }
    }
    // A build needs none.
    assert_eq!(place.embly(&["build", place.path()], b"").0, 0);
    place.set("KEY", VALUE);
    let mut check = place.command(&["check", place.path()]);
    check.env("OTHER", "there");
    let (code, _, stderr) = finish(check, b"");
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.ends_with("all is right: 1 function, 1 gateway, 2 secrets\n"),
        "{stderr}"
    );
    // Elsewhere they are not there.
    let elsewhere = tempfile::tempdir().unwrap();
    let state = elsewhere.path().join("state");
    let (code, _, stderr) = place.embly(
        &["check", place.path(), "--state", state.to_str().unwrap()],
        b"",
    );
    assert_eq!(code, 2, "{stderr}");
    assert!(!state.exists());
    let typed = format!(
        "help: type `embly secrets set KEY --state {}`",
        state.display()
    );
    assert!(stderr.contains(&typed), "{stderr}");
    // As a shell reads it.
    let state = elsewhere.path().join("my state");
    let state = state.to_str().unwrap();
    let (_, _, stderr) = place.embly(&["check", place.path(), "--state", state], b"");
    let typed = format!("`embly secrets set KEY --state '{state}'`");
    assert!(stderr.contains(&typed), "{stderr}");
    // In a bundle it is the file of the bundle, and not where that is unpacked for a while.
    let bundle = elsewhere.path().join("shop.embly");
    let bundle = bundle.to_str().unwrap();
    let (code, _, stderr) = place.embly(&["bundle", place.path(), "-o", bundle], b"");
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) = place.embly(&["run", bundle, "--state", state], b"");
    assert_eq!(code, 2, "{stderr}");
    let at = format!("--> {bundle}/embly-project.yml:");
    assert!(stderr.contains("E181") && stderr.contains(&at), "{stderr}");
}

#[test]
fn where_only_a_state_folder_is_secrets_are_set_listed_and_removed_all_the_same() {
    let place = Place::new(confides(LISTED));
    let server = tempfile::tempdir().unwrap();
    let secrets = |what: &[&str]| {
        let mut command = place.command(&[&["secrets"], what, &["--state", "state"]].concat());
        command.current_dir(server.path());
        let (code, stdout, stderr) = finish(command, VALUE.as_bytes());
        assert_eq!(code, 0, "{stderr}");
        stdout
    };
    secrets(&["set", "KEY"]);
    assert!(secrets(&["list"]).contains("KEY"));
    // What is served there gets it.
    let state = server.path().join("state");
    let check = ["check", place.path(), "--state", state.to_str().unwrap()];
    assert_eq!(place.embly(&check, b"").0, 0);
    secrets(&["remove", "KEY"]);
    assert_eq!(place.embly(&check, b"").0, 2);
}

#[test]
fn where_the_project_file_is_wrong_secrets_are_listed_without_who_uses_them() {
    let place = Place::new(confides(LISTED));
    assert_eq!(
        place
            .embly(&["secrets", "set", "KEY", place.path()], VALUE.as_bytes())
            .0,
        0
    );
    std::fs::write(
        std::path::Path::new(place.path()).join("embly-project.yml"),
        "functions:\n  - {name: hello, path: ./none, language: rust}\n",
    )
    .unwrap();
    let (code, stdout, stderr) = place.embly(&["secrets", "list", place.path()], b"");
    assert!(code == 0 && stdout.contains("KEY"), "{stderr}");
    assert!(stderr.contains("`embly check` says why"), "{stderr}");
}

#[test]
fn a_line_of_the_file_env_that_cannot_be_read_is_told_by_its_place_and_not_shown() {
    let place = Place::new(confides(LISTED));
    place
        .project
        .write(".env", "A=b\nKEY=\"sk_live_of_the_file\n");
    for format in ["text", "json"] {
        let arguments = ["dev", place.path(), "--format", format];
        let (code, stdout, stderr) = place.embly(&arguments, b"");
        assert_eq!(code, 2, "{stderr}");
        not_in(&stdout, "sk_live");
        not_in(&stderr, "sk_live");
        assert!(stderr.contains("error[E153]: the quote"), "{stderr}");
        assert!(stderr.contains(".env:2:1"), "{stderr}");
    }
}

#[test]
fn secrets_that_cannot_be_read_are_one_error_with_the_reason() {
    let place = Place::new(confides("    secrets: [KEY, OTHER]"));
    place.set("KEY", VALUE);
    let check = |key: Option<&Path>| {
        let mut command = place.command(&["check", place.path()]);
        match key {
            Some(key) => command.env("EMBLY_SECRETS_KEY_FILE", key),
            None => command.env_remove("EMBLY_SECRETS_KEY_FILE"),
        };
        command.env("XDG_CONFIG_HOME", "/no/such/folder");
        let (code, _, stderr) = finish(command, b"");
        assert_eq!(code, 2, "{stderr}");
        assert_eq!(stderr.matches("error[E182]").count(), 1, "{stderr}");
        stderr
    };
    let usual = "`/no/such/folder/embly/secrets.key` is not there: put the one back";
    assert!(check(None).contains(usual));
    assert!(check(Some(Path::new("/no/such/key"))).contains("`/no/such/key` is not there"));
    let open = place.keys.path().join("open");
    fs::copy(place.key(), &open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(check(Some(&open)).contains("type `chmod 600 "));
    let other = Place::new(confides(LISTED));
    other.set("KEY", VALUE);
    assert!(check(Some(&other.key())).contains("encrypted with another key"));
    let file = place.project.path().join("data/secrets.enc");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 3]).unwrap();
    assert!(check(Some(&place.key())).contains("damaged, cut or changed"));
}

#[test]
fn set_makes_the_key_once_and_list_and_remove_show_no_value() {
    let place = Place::new(
        confides("    secrets: [KEY, FROM_ENV, NOWHERE, IN_DOTENV]").guest_with("hello", LISTED),
    );
    let path = place.path().to_owned();
    let embly = |arguments: &[&str], input: &str| place.embly(arguments, input.as_bytes());
    let (code, stdout, stderr) = embly(&["secrets", "set", "KEY", &path], "with a newline\n");
    assert_eq!((code, stdout.as_str()), (0, ""));
    let key = place.key().display().to_string();
    let expected = format!(
        "made the key file `{key}`: keep a copy of it elsewhere, nothing can be read without it\n\
         set `KEY` in `{path}/data/secrets.enc`\n"
    );
    assert_eq!(stderr, expected);
    assert_eq!(
        fs::metadata(place.key()).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let (_, _, stderr) = embly(&["secrets", "set", "UNUSED", &path], "unused");
    let expected = format!(
        "set `UNUSED` in `{path}/data/secrets.enc`\n\
         no function gets it yet: add `secrets: [UNUSED]` to one\n"
    );
    assert_eq!(stderr, expected);
    let (_, _, stderr) = embly(&["secrets", "set", "KEY", &path], "replaced");
    assert_eq!(
        stderr,
        format!("replaced `KEY` in `{path}/data/secrets.enc`\n")
    );
    place.project.write(".env", "IN_DOTENV=abcdef\n");

    let list = |format: &str| {
        let mut command = place.command(&["secrets", "list", &path, "--format", format]);
        command.env("FROM_ENV", "of the environment");
        let (code, stdout, stderr) = finish(command, b"");
        assert_eq!((code, stderr.as_str()), (0, ""));
        not_in(&stdout, "replaced");
        not_in(&stdout, "of the environment");
        stdout
    };
    let objects: BTreeMap<String, Value> = list("json")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|object| (object["name"].as_str().unwrap().to_owned(), object))
        .collect();
    assert!(objects.values().all(|object| object["event"] == "secret"));
    let from = objects
        .values()
        .map(|object| object["from"].as_str().unwrap());
    assert_eq!(
        from.collect::<Vec<_>>(),
        ["environment", ".env", "file", "missing", "file"]
    );
    assert_eq!(
        objects["KEY"]["functions"],
        serde_json::json!(["confides", "hello"])
    );
    assert_eq!(objects["UNUSED"]["functions"], serde_json::json!([]));
    assert_eq!(objects["NOWHERE"]["set_at"], Value::Null);
    let set_at = objects["KEY"]["set_at"].as_str().unwrap();
    assert!(
        set_at.starts_with("20") && set_at.ends_with('Z'),
        "{set_at}"
    );
    let unused = objects["UNUSED"]["set_at"].as_str().unwrap();
    let blank = "                    ";
    let expected = format!(
        "NAME       FROM         SET                   FUNCTIONS\n\
         FROM_ENV   environment  -{}  confides\n\
         IN_DOTENV  .env         -{}  confides\n\
         KEY        file         {set_at}  confides, hello\n\
         NOWHERE    missing      -{}  confides\n\
         UNUSED     file         {unused}  -\n",
        &blank[1..],
        &blank[1..],
        &blank[1..],
    );
    assert_eq!(list("text"), expected);

    let (code, stdout, stderr) = embly(&["secrets", "remove", "UNUSED", &path], "");
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert_eq!(
        stderr,
        format!("removed `UNUSED` from `{path}/data/secrets.enc`\n")
    );
    let (code, _, stderr) = embly(&["secrets", "remove", "UNUSED", &path], "");
    assert_eq!(code, 1);
    assert!(
        stderr.contains("there is no secret `UNUSED`") && stderr.contains("embly secrets list")
    );
    assert!(!list("json").contains("UNUSED"));
}

#[test]
fn a_value_is_never_taken_from_the_command_line_nor_shown_when_it_is_typed_there() {
    let place = Place::new(confides(LISTED));
    for arguments in [
        vec!["secrets", "set", "KEY=sk_live_51"],
        vec!["secrets", "set", "KEY", "sk_live_51"],
        vec!["secrets", "set", "sk-live-51"],
        vec!["secrets", "remove", "sk-live-51"],
    ] {
        let (code, stdout, stderr) = place.embly(&arguments, b"");
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert!(!stderr.contains("live"), "{stderr}");
    }
    assert!(!place.project.path().join("data").exists());
}

#[test]
fn values_that_cannot_be_secrets_are_refused_in_words() {
    let place = Place::new(confides(LISTED));
    for (value, words) in [
        (&b""[..], "there is no value on standard input"),
        (b"\n", "there is no value on standard input"),
        (b"abc\n", "fewer than 4 bytes"),
        (&[b'x'; 40_000], "more than 32768 bytes"),
        (b"ab\0cd", "NUL"),
        (b"\xff\xfe\xfd\xfc", "not UTF-8"),
    ] {
        let (code, _, stderr) = place.embly(&["secrets", "set", "KEY", place.path()], value);
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
    let mut check = place.command(&["check", place.path()]);
    check.env("KEY", "abc");
    let (code, _, stderr) = finish(check, b"");
    assert_eq!(code, 2);
    assert!(
        stderr.contains("error[E183]: the secret `KEY` has fewer than 4 bytes"),
        "{stderr}"
    );
    // An end of line is the terminal's, two are the value's.
    place.set("KEY", "lines\n\n");
    assert_eq!(
        get(place.run().at("confides"), "/tell/KEY").text(),
        "lines\n"
    );
}

#[test]
fn without_a_name_the_key_has_its_usual_place_and_one_beside_the_secrets_is_warned_of() {
    let place = Place::new(confides(LISTED));
    let home = tempfile::tempdir().unwrap();
    let plain = |arguments: &[&str], input: &str| {
        let mut command = place.command(arguments);
        command
            .env_remove("EMBLY_SECRETS_KEY_FILE")
            .env_remove("XDG_CONFIG_HOME")
            .env("HOME", home.path());
        let (code, stdout, stderr) = finish(command, input.as_bytes());
        assert_eq!(code, 0, "{stderr}");
        stdout + &stderr
    };
    let key = home.path().join(".config/embly/secrets.key");
    let said = plain(&["secrets", "set", "KEY", place.path()], VALUE);
    assert!(said.contains(key.to_str().unwrap()), "{said}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&key), mode(key.parent().unwrap())), (0o600, 0o700));
    // Nobody has to name it anywhere else.
    assert!(plain(&["secrets", "list", place.path()], "").contains("KEY"));
    plain(&["check", place.path()], "");

    let data = place.project.path().join("data");
    fs::remove_file(data.join("secrets.enc")).unwrap();
    let mut command = place.command(&["secrets", "set", "KEY", place.path()]);
    command.env("EMBLY_SECRETS_KEY_FILE", data.join("key"));
    let (code, _, stderr) = finish(command, VALUE.as_bytes());
    assert_eq!(code, 0);
    assert!(
        stderr.contains("warning: the key lies in the state folder"),
        "{stderr}"
    );
}

#[test]
fn a_value_that_is_typed_is_not_shown_and_a_signal_leaves_the_terminal_as_it_was() {
    let place = Place::new(confides(LISTED));
    let script = |interrupt: bool| {
        let embly = support::EMBLY;
        let path = place.path();
        // A shell that is interrupted together with what it runs, goes on to say how that went.
        let line = format!(
            "trap : INT; {embly} secrets set KEY {path}; echo code $?; stty -a | grep -o -- '-*echo '"
        );
        let runtime = tempfile::tempdir().unwrap();
        let mut command = support::environment(Command::new("script"), runtime.path());
        command
            .args(["-qec", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("EMBLY_SECRETS_KEY_FILE", place.key())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut seen = Vec::new();
        let mut buffer = [0; 1024];
        while !String::from_utf8_lossy(&seen).contains("not shown as you type") {
            let read = std::io::Read::read(&mut out, &mut buffer).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..read]);
        }
        let mut keys = child.stdin.take().unwrap();
        let typed: &[u8] = if interrupt {
            b"hunter2\x03"
        } else {
            b"hunter2\r"
        };
        keys.write_all(typed).unwrap();
        std::io::Read::read_to_end(&mut out, &mut seen).unwrap();
        child.wait().unwrap();
        String::from_utf8_lossy(&seen).into_owned()
    };
    let seen = script(true);
    assert!(
        seen.contains("code 1") && seen.contains("\necho "),
        "{seen}"
    );
    assert!(!seen.contains("hunter2"), "{seen}");
    assert!(!place.project.path().join("data/secrets.enc").exists());
    let seen = script(false);
    assert!(
        seen.contains("set `KEY`") && seen.contains("code 0"),
        "{seen}"
    );
    assert!(
        seen.contains("\necho ") && !seen.contains("hunter2"),
        "{seen}"
    );
    assert_eq!(
        get(place.run().at("confides"), "/tell/KEY").text(),
        "hunter2"
    );
}

#[test]
fn secrets_that_are_set_at_the_same_time_are_all_kept() {
    let place = Place::new(confides("    secrets: [S0, S1, S2, S3, S4, S5, S6, S7]"));
    place.project.path();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let place = &place;
            scope.spawn(move || place.set(&format!("S{n}"), "value"));
        }
    });
    let (code, _, stderr) = place.embly(&["check", place.path()], b"");
    assert_eq!(code, 0, "{stderr}");
}
