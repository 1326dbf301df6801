//! Levels of lines, and where lines of logs go beside the output: files and syslog.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::client::{get, request, script, write};
use support::secrets::{LISTED, Place, confides, not_in};
use support::{Embly, PATIENCE, Project, eventually};

/// A project with `script` behind a gateway, and these logs.
fn logging(keys: &str, logs: &str) -> Project {
    let project = Project::new().guest_with("script", keys).http("script");
    project.top(&format!("logs:\n{logs}"))
}

/// Has `script` do this, and answer.
fn run(embly: &Embly, steps: &str) {
    let answer = write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    request(embly.at("script"), script(&format!("{steps}; {answer}")));
}

/// The lines of a file of the state folder, once there are so many.
fn lines(project: &Project, name: &str, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    eventually("lines in a file", || {
        let text = fs::read_to_string(project.path().join("data").join(name)).unwrap_or_default();
        lines = text.lines().map(str::to_owned).collect();
        lines.len() >= count
    });
    lines
}

#[test]
fn a_line_has_the_level_that_its_function_says_and_what_is_below_is_left_out() {
    let steps = "debug d; info i; say plain; warn w; complain on stderr; error e";
    let cases = [
        ("", vec!["i", "plain", "w", "on stderr", "e"]),
        (
            "    log_level: debug",
            vec!["d", "i", "plain", "w", "on stderr", "e"],
        ),
        ("    log_level: warn", vec!["w", "on stderr", "e"]),
        ("    log_level: error", vec!["e"]),
    ];
    for (keys, expected) in cases {
        let project = Project::new().guest_with("script", keys).http("script");
        let mut embly = Embly::run(&project);
        run(&embly, steps);
        embly.ending("script");
        embly.signal(Signal::TERM);
        embly.wait();
        let events = embly.events();
        let logged = events.iter().filter(|event| event["event"] == "log");
        let logged: Vec<&Value> = logged.collect();
        let said: Vec<&str> = logged
            .iter()
            .map(|it| it["line"].as_str().unwrap())
            .collect();
        assert_eq!(said, expected, "{keys}");
        let levels: BTreeMap<&str, &Value> = said
            .iter()
            .copied()
            .zip(logged.iter().map(|it| &it["level"]))
            .collect();
        for (line, level) in levels {
            let expected = match line {
                "d" => json!("debug"),
                "i" => json!("info"),
                "w" => json!("warn"),
                "e" => json!("error"),
                _ => Value::Null,
            };
            assert_eq!(*level, expected, "{line}");
        }
    }
}

#[test]
fn the_backtrace_of_a_trap_is_an_error_and_a_level_for_all_functions_is_a_default() {
    let project = Project::new().guest("script").http("script");
    let project = project.top("defaults: {log_level: error}");
    let embly = Embly::run(&project);
    run(&embly, "warn no; trap");
    let first = embly.event("log", |_| true);
    assert_eq!(first["level"], "error");
    assert!(first["line"].as_str().unwrap().contains("trap"), "{first}");
}

#[test]
fn logs_take_what_matters_enough_of_the_functions_that_they_are_for() {
    let logs = "  - {name: all, type: file, path: logs/all.log}\n  \
                - {name: bad, type: file, path: bad.json, format: json, level: warn, functions: [script]}";
    let project = Project::new()
        .guest("script")
        .http("script")
        .guest("says")
        .tcp("says")
        .top(&format!("logs:\n{logs}"));
    let mut embly = Embly::run(&project);
    run(&embly, "info fine; error b\u{202e}ad");
    embly.ending("script");
    embly.signal(Signal::TERM);
    embly.wait();
    let all = lines(&project, "logs/all.log", 1);
    let address = embly.ending("script")["address"]
        .as_str()
        .unwrap()
        .to_owned();
    let has = |level: &str, line: &str| {
        let end = format!(" {level} script {address} | {line}");
        assert!(all.iter().any(|it| it.ends_with(&end)), "{end}: {all:#?}");
    };
    has("info", "fine");
    has("error", "b\\u{202e}ad");
    assert!(
        all.iter().any(|line| line.contains(" info http://")),
        "{all:#?}"
    );
    assert!(
        all.last().unwrap().contains(" info stopped: signal"),
        "{all:#?}"
    );
    for line in &all {
        let time = line.split(' ').next().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert!(!line.contains("\"GET / HTTP"), "an access line: {line}");
    }
    let bad = lines(&project, "bad.json", 1);
    assert_eq!(bad.len(), 1, "{bad:#?}");
    let bad: Value = serde_json::from_str(&bad[0]).unwrap();
    assert_eq!(
        (&bad["event"], &bad["level"], &bad["line"]),
        (&json!("log"), &json!("error"), &json!("b\u{202e}ad"))
    );
    assert!(bad["time"].is_string());
    let mode = fs::metadata(project.path().join("data/bad.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_full_file_is_moved_away_and_the_last_are_kept_without_the_loss_of_a_line() {
    let logs = "  - {name: all, type: file, path: all.log, rotate: {size: 4KiB, keep: 3}, functions: [script]}";
    let project = logging("    limits: {log: {lines: none}}", logs);
    let mut embly = Embly::run(&project);
    let steps: Vec<String> = (0..150)
        .map(|n| format!("say {n:03}{}", "x".repeat(60)))
        .collect();
    run(&embly, &steps.join("; "));
    embly.ending("script");
    embly.signal(Signal::TERM);
    embly.wait();
    let data = project.path().join("data");
    let mut numbers = Vec::new();
    for name in ["all.log.3", "all.log.2", "all.log.1", "all.log"] {
        let text = fs::read_to_string(data.join(name)).unwrap();
        assert!(text.len() <= 4096, "{name} has {}", text.len());
        let said = text.lines().filter_map(|line| line.split(" | ").nth(1));
        numbers.extend(said.map(|line| line[..3].parse::<usize>().unwrap()));
    }
    assert!(!data.join("all.log.4").exists());
    let first = 150 - numbers.len();
    assert!(first > 0, "nothing was removed");
    assert_eq!(numbers, (first..150).collect::<Vec<_>>());
}

#[test]
fn a_file_that_was_moved_away_is_written_anew_after_a_hang_up_and_the_project_may_change_it() {
    let logs = "  - {name: all, type: file, path: all.log}";
    let project = logging("", logs);
    let embly = Embly::start_detached("run", &project);
    run(&embly, "say before");
    lines(&project, "all.log", 2);
    let data = project.path().join("data");
    fs::rename(data.join("all.log"), data.join("moved")).unwrap();
    embly.signal(Signal::HUP);
    let reloaded = |before| {
        embly.nth_event("message", before, |event| event["text"] == "reloaded");
    };
    reloaded(0);
    run(&embly, "say after");
    eventually("a line in it", || {
        fs::read_to_string(data.join("all.log"))
            .unwrap()
            .contains("| after")
    });
    assert!(
        !fs::read_to_string(data.join("moved"))
            .unwrap()
            .contains("| after")
    );
    project.edit("path: all.log}", "path: other.log, level: error}");
    embly.signal(Signal::HUP);
    reloaded(1);
    run(&embly, "say nothing; error elsewhere");
    let other = lines(&project, "other.log", 1);
    assert!(other[0].ends_with("| elsewhere"), "{other:#?}");
    assert!(
        !fs::read_to_string(data.join("all.log"))
            .unwrap()
            .contains("| elsewhere")
    );
}

/// The messages that come, by what they end with; the others are passed over.
fn message(receive: impl Fn(&mut [u8]) -> usize, end: &str) -> String {
    let mut buffer = [0; 10_000];
    loop {
        let bytes = receive(&mut buffer);
        let text = String::from_utf8(buffer[..bytes].to_vec()).unwrap();
        if text.ends_with(end) {
            return text;
        }
    }
}

#[test]
fn syslog_gets_messages_with_severities_over_a_unix_socket_and_over_udp() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    let logs = format!(
        "  - {{name: here, type: syslog, address: \"unix:{}\"}}\n  \
           - {{name: there, type: syslog, address: \"udp:{}\", facility: local0, level: error}}",
        path.display(),
        udp.local_addr().unwrap()
    );
    let project = logging("    log_level: debug", &logs);
    let embly = Embly::run(&project);
    run(&embly, "say early");
    // Whoever listens may come later.
    embly.event("message", |event| {
        let text = event["text"].as_str().unwrap();
        text.contains("log `here` cannot be written") && text.contains("tried again each second")
    });
    let unix = UnixDatagram::bind(&path).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    let here = |buffer: &mut [u8]| unix.recv(buffer).unwrap();
    message(here, "| early");
    run(&embly, "debug d; say plain; warn w; error e");
    let ending = embly.nth_event("invocation_ended", 1, |_| true);
    let address = ending["address"].as_str().unwrap();
    let pid = embly.pid();
    for (severity, line) in [(6, "plain"), (4, "w"), (3, "e")] {
        let end = format!("script {address} | {line}");
        let text = message(here, &end);
        let words: Vec<&str> = text.splitn(8, ' ').collect();
        assert_eq!(words[0], format!("<{}>1", 3 * 8 + severity), "{text}");
        assert!(words[1].parse::<jiff::Timestamp>().is_ok(), "{text}");
        assert_eq!(
            words[3..7],
            ["embly", &pid.to_string(), "log", "-"],
            "{text}"
        );
        assert_eq!(words[7], end);
    }
    let text = message(|buffer| udp.recv(buffer).unwrap(), "| e");
    assert!(text.starts_with("<131>1 "), "{text}");

    // Whoever listens is started anew.
    drop(unix);
    fs::remove_file(&path).unwrap();
    let unix = UnixDatagram::bind(&path).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    run(&embly, "say again");
    message(|buffer| unix.recv(buffer).unwrap(), "| again");
}

#[test]
fn a_log_that_is_too_slow_drops_and_counts_lines_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    // Nobody reads.
    let unix = UnixDatagram::bind(&path).unwrap();
    let logs = format!(
        "  - {{name: slow, type: syslog, address: {}, functions: [script]}}",
        path.display()
    );
    let project = logging("    limits: {log: {lines: none}}", &logs);
    let embly = Embly::start("run", &project, &["--admin-listen", "127.0.0.1:0"]);
    let url = embly.event("admin_listening", |_| true)["url"].clone();
    let metrics = url
        .as_str()
        .unwrap()
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let dropped = || -> u64 {
        let text = get(metrics, "/metrics").text();
        let name = "embly_log_sink_lines_dropped_total{sink=\"slow\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().parse().unwrap()
    };
    assert_eq!(dropped(), 0);
    let steps = vec!["say x"; 1_000].join("; ");
    let mut said = 0;
    // As many as its queue and the socket's take, and more.
    while dropped() == 0 {
        assert!(said < 20_000, "nothing is dropped");
        run(&embly, &steps);
        said += 1_000;
    }
    embly.nth_event("invocation_ended", said / 1_000 - 1, |_| true);
    let lost = dropped();
    // It recovers, and says what was lost: in itself, and to whoever runs the master.
    unix.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut got = 0;
    let mut buffer = [0; 10_000];
    let told = loop {
        let bytes = unix.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..bytes]).into_owned();
        if text.contains("were dropped") {
            break text;
        }
        got += 1;
    };
    assert_eq!(got + lost as usize, said);
    assert!(
        told.contains(&format!("{lost} lines for log `slow` were dropped")),
        "{told}"
    );
    let words = format!("{lost} lines for log `slow` were dropped");
    embly.event("message", |event| {
        event["text"].as_str().unwrap().contains(&words)
    });
}

#[test]
fn a_log_that_cannot_be_written_is_an_error_at_the_start() {
    let project = logging("", "  - {name: all, type: file, path: folder}");
    let folder: &Path = project.path();
    fs::create_dir_all(folder.join("data/folder")).unwrap();
    let (code, _, err) = support::output(&support::arguments("run", folder));
    assert_eq!(code, 1);
    assert!(
        err.contains("log `all`: cannot write `") && err.contains("data/folder`"),
        "{err}"
    );
}

#[test]
fn secrets_are_masked_in_logs() {
    let value = "correct \"horse\" battery";
    let logs = "logs:\n  - {name: all, type: file, path: all.log}\n  \
                - {name: json, type: file, path: all.json, format: json}";
    let place = Place::new(confides(LISTED).top(logs));
    place.set("KEY", value);
    let mut embly = place.run();
    get(embly.at("confides"), "/print/KEY");
    get(embly.at("confides"), "/panic/KEY");
    embly.nth_event("invocation_ended", 1, |_| true);
    embly.signal(Signal::TERM);
    embly.wait();
    for name in ["all.log", "all.json"] {
        let text = lines(&place.project, name, 2).join("\n");
        not_in(&text, value);
        assert!(text.contains("it is [secret KEY]"), "{text}");
    }
}
