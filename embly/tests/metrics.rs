//! Metrics and health of a running master, as Prometheus and an orchestrator ask for them.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::admin::{ask, folders};
use support::client::{connect, post, request, script};
use support::project::answering;
use support::{Embly, Project, command, eventually, get, skipped};

const LISTEN: [&str; 2] = ["--admin-listen", "127.0.0.1:0"];

fn start(project: &Project) -> (Embly, SocketAddr) {
    let embly = Embly::start("run", project, &LISTEN);
    let listening = embly.event("admin_listening", |_| true);
    let url = listening["url"].as_str().unwrap();
    let at = url.strip_prefix("http://").unwrap().parse().unwrap();
    (embly, at)
}

/// Every sample, by its name and labels as they are written.
fn samples(at: SocketAddr) -> BTreeMap<String, f64> {
    let response = get(at, "/metrics");
    assert_eq!(response.status, 200);
    let text = response.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

/// Waits until a sample has this value.
fn says(at: SocketAddr, sample: &str, value: f64) {
    let mut last = None;
    for _ in 0..1_000 {
        last = samples(at).get(sample).copied();
        if last == Some(value) {
            return;
        }
        support::client::pause(10, "what is counted is counted a moment later");
    }
    panic!("{sample} is {last:?} and not {value}");
}

/// Waits until a sample is more than this.
fn exceeds(at: SocketAddr, sample: &str, value: f64) {
    eventually(sample, || {
        samples(at).get(sample).is_some_and(|now| *now > value)
    });
}

fn begin(embly: &Embly, gateway: &str, steps: &str) -> TcpStream {
    let mut stream = connect(embly.at(gateway));
    stream.write_all(script(steps).as_bytes()).unwrap();
    stream
}

/// The names of all metrics, as the reference has them.
fn names() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/admin.md");
    let reference = std::fs::read_to_string(path).unwrap();
    let rows = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `embly_"));
    let names = rows.map(|row| format!("embly_{}", row.split('`').next().unwrap()));
    names.collect()
}

#[test]
fn every_metric_moves_with_what_it_counts() {
    let limits = "    limits: {concurrency: 1, queue: {length: 1, wait: 10m}, log: {lines: 10/s}, memory: 8MiB}";
    let project = Project::new()
        .guest_with("script", limits)
        .http("script")
        .guest("spawns")
        .http("spawns")
        .guest_with("calls-services", "    allow: {kv: [{store: default}]}")
        .http("calls-services")
        .store("name: default, type: kv");
    let (embly, at) = start(&project);
    let before = samples(at);
    let version = env!("CARGO_PKG_VERSION");
    let build = format!("embly_build_info{{version=\"{version}\"}}");
    assert_eq!(before[&build], 1.0);
    let now = jiff::Timestamp::now().as_second() as f64;
    let since = before["embly_start_time_seconds"];
    assert!((now - since).abs() < 600.0, "{since}");
    // Counters of what is there begin with 0.
    for zero in [
        "embly_http_requests_total{gateway=\"script\",status=\"5xx\"}",
        "embly_http_request_duration_seconds_count{gateway=\"script\"}",
        "embly_http_response_bytes_total{gateway=\"script\"}",
        "embly_invocation_run_seconds_count{function=\"script\"}",
        "embly_messages_refused_total{function=\"spawns\"}",
        "embly_log_lines_dropped_total{function=\"script\"}",
        "embly_forks_total{function=\"script\"}",
        "embly_fork_servers",
        "embly_processes_live{function=\"script\"}",
        "embly_processes_parked{function=\"script\"}",
        "embly_requests_waiting{function=\"script\"}",
    ] {
        assert_eq!(before[zero], 0.0, "{zero}");
    }

    // Requests, invocations, payload, and time of processors.
    let answer = request(embly.at("script"), script("burn 30; exit 3"));
    assert_eq!(answer.status, 500);
    says(
        at,
        "embly_http_requests_total{gateway=\"script\",status=\"5xx\"}",
        1.0,
    );
    says(
        at,
        "embly_http_request_duration_seconds_count{gateway=\"script\"}",
        1.0,
    );
    says(
        at,
        "embly_http_response_bytes_total{gateway=\"script\"}",
        answer.body.len() as f64,
    );
    says(
        at,
        "embly_invocations_total{function=\"script\",reason=\"exit\"}",
        1.0,
    );
    for kind in ["queue", "start", "run"] {
        let count = format!("embly_invocation_{kind}_seconds_count{{function=\"script\"}}");
        says(at, &count, 1.0);
    }
    let after = samples(at);
    let event = embly.ending("script");
    for (name, key, unit) in [
        ("run_seconds_sum", "run_us", 1e6),
        ("start_seconds_sum", "start_us", 1e6),
        ("cpu_seconds_total", "cpu_us", 1e6),
        ("received_bytes_total", "bytes_in", 1.0),
    ] {
        let sample = format!("embly_invocation_{name}{{function=\"script\"}}");
        let told = event[key].as_f64().unwrap() / unit;
        assert!((after[&sample] - told).abs() < 1e-9, "{sample} {told}");
    }
    exceeds(at, "embly_forks_total{function=\"script\"}", 0.0);
    exceeds(at, "embly_fork_servers", 0.0);
    exceeds(at, "embly_processes_parked{function=\"script\"}", 0.0);

    // What runs and waits, and what there is no room for.
    let first = begin(&embly, "script", "sleep 600000");
    says(at, "embly_processes_live{function=\"script\"}", 1.0);
    let second = begin(&embly, "script", "sleep 600000");
    says(at, "embly_requests_waiting{function=\"script\"}", 1.0);
    let refused = request(embly.at("script"), script("exit 0"));
    assert_eq!(refused.reason(), "overloaded");
    says(
        at,
        "embly_invocations_refused_total{function=\"script\",reason=\"overloaded\"}",
        1.0,
    );
    says(
        at,
        "embly_limits_hit_total{function=\"script\",limit=\"room\"}",
        1.0,
    );
    for stream in [second, first] {
        support::client::reset(stream);
    }
    says(at, "embly_processes_live{function=\"script\"}", 0.0);
    says(at, "embly_requests_waiting{function=\"script\"}", 0.0);
    exceeds(
        at,
        "embly_invocation_queue_seconds_count{function=\"script\"}",
        1.0,
    );

    // Limits, lines of the log, and what functions may not do.
    assert_eq!(
        request(embly.at("script"), script("eat")).reason(),
        "memory"
    );
    says(
        at,
        "embly_limits_hit_total{function=\"script\",limit=\"memory\"}",
        1.0,
    );
    let lines = vec!["say x"; 50].join("; ");
    request(embly.at("script"), script(&lines));
    exceeds(
        at,
        "embly_log_lines_dropped_total{function=\"script\"}",
        20.0,
    );
    get(embly.at("spawns"), "/nobody");
    says(at, "embly_messages_refused_total{function=\"spawns\"}", 1.0);
    exceeds(
        at,
        "embly_invocation_sent_bytes_total{function=\"spawns\"}",
        0.0,
    );

    // Services.
    post(embly.at("calls-services"), "/embly/kv/get", b"a");
    says(
        at,
        "embly_service_calls_total{service=\"embly/kv/get\",reason=\"refused\"}",
        1.0,
    );
    says(
        at,
        "embly_service_call_duration_seconds_count{service=\"embly/kv/get\"}",
        1.0,
    );

    // All of them were met, except for the one of the next test.
    let after = samples(at);
    for name in names() {
        let moved = after.iter().any(|(sample, value)| {
            sample.starts_with(&name) && before.get(sample).is_none_or(|before| before != value)
        });
        let stays = ["embly_build_info", "embly_start_time_seconds"].contains(&&*name)
            || name == "embly_report_lines_dropped_total"
            || name == "embly_log_sink_lines_dropped_total"
            || name.ends_with("_live")
            || name.ends_with("_waiting");
        assert!(moved || stays, "{name} does not move");
    }
}

#[test]
fn lines_that_nobody_reads_are_counted() {
    let keys = "    limits: {log: {lines: none}}";
    let project = Project::new().guest_with("script", keys).http("script");
    let runtime = tempfile::tempdir().unwrap();
    let mut command = command(&support::arguments("run", project.path()), runtime.path());
    let mut child = command
        .args(LISTEN)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut master = Value::Null;
    eventually("the master serves", || {
        let socket = folders(runtime.path())
            .pop()
            .map(|it| it.join("admin.sock"));
        if let Some(socket) = socket.filter(|socket| socket.exists()) {
            let answer = ask(&socket, "GET", "/v1/master");
            master = serde_json::from_slice(&answer.body).unwrap();
        }
        master["state"] == "serving"
    });
    let address = |url: &Value| -> SocketAddr {
        let url = url.as_str().unwrap();
        url.strip_prefix("http://").unwrap().parse().unwrap()
    };
    let at = address(&master["admin_listen"]);
    let gateway = address(&master["gateways"][0]["url"]);
    assert_eq!(samples(at)["embly_report_lines_dropped_total"], 0.0);
    let lines = vec!["say x"; 200].join("; ");
    eventually("lines are dropped", || {
        request(gateway, script(&lines));
        samples(at)["embly_report_lines_dropped_total"] > 0.0
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_text_is_read_by_the_client_of_prometheus() {
    let python = ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let mut command = Command::new(python);
        let found = command.args(["-c", "import prometheus_client"]).output();
        found.is_ok_and(|found| found.status.success())
    });
    let Some(python) = python else {
        return skipped("python3-prometheus-client");
    };
    let project = Project::new().wat("site", &answering("one")).http("site");
    let (embly, at) = start(&project);
    get(embly.at("site"), "/");
    embly.ending("site");
    let response = get(at, "/metrics");
    assert_eq!(
        response.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let program = r"
import sys
from prometheus_client.parser import text_string_to_metric_families
seen = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.name not in seen, family.name
    assert family.documentation and family.type != 'unknown', family
    seen[family.name] = family
    labels = {}
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        assert key not in labels, key
        labels[key] = sample.value
    if family.type == 'histogram':
        by = {}
        for sample in family.samples:
            rest = tuple(sorted((k, v) for k, v in sample.labels.items() if k != 'le'))
            by.setdefault(rest, []).append(sample)
        for samples in by.values():
            buckets = [s for s in samples if s.name.endswith('_bucket')]
            bounds = [float(s.labels['le']) for s in buckets]
            assert bounds == sorted(bounds) and bounds[-1] == float('inf'), bounds
            counts = [s.value for s in buckets]
            assert counts == sorted(counts), counts
            count = [s.value for s in samples if s.name.endswith('_count')]
            assert count == [counts[-1]], (count, counts)
            assert len([s for s in samples if s.name.endswith('_sum')]) == 1
print(len(seen))
";
    let mut child = Command::new(python)
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&response.body).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let seen: usize = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap();
    assert_eq!(seen, names().len());
}

#[test]
fn ready_is_said_while_the_project_is_served_and_nothing_else_is_offered() {
    let project = Project::new().guest("script").http("script");
    let (mut embly, at) = start(&project);
    let ready = get(at, "/readyz");
    assert_eq!((ready.status, ready.text().as_str()), (200, "ready\n"));
    assert_eq!(get(at, "/healthz").status, 200);
    for path in ["/", "/v1/master", "/v1/invocations", "/v1/openapi.json"] {
        assert_eq!(get(at, path).status, 404, "{path}");
    }
    for path in ["/v1/stop", "/v1/reload"] {
        assert_eq!(post(at, path, b"").status, 404, "{path}");
    }
    let refused = post(at, "/metrics", b"");
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("GET, HEAD"))
    );
    let _stream = begin(&embly, "script", "sleep 600000");
    embly.event("invocation_started", |_| true);
    embly.signal(rustix::process::Signal::TERM);
    eventually("it is not ready any more", || {
        get(at, "/readyz").status == 503
    });
    assert_eq!(get(at, "/healthz").status, 200);
    embly.signal(rustix::process::Signal::TERM);
    embly.wait();
}

#[test]
fn metrics_are_off_by_default() {
    let project = Project::new().wat("site", &answering("one")).http("site");
    let embly = Embly::run(&project);
    let (_, master) = embly.asks("GET", "/v1/master");
    assert_eq!(master["admin_listen"], Value::Null);
    let events = embly.events();
    assert!(
        events
            .iter()
            .all(|event| event["event"] != "admin_listening")
    );
    assert_eq!(get(embly.at("site"), "/metrics").text(), "one");
    // An address that is taken is named.
    let taken = embly.at("site").to_string();
    let (code, _, err) = support::output(&[
        "run",
        project.path().to_str().unwrap(),
        "--bind",
        "127.0.0.1:0",
        "--admin-listen",
        &taken,
    ]);
    assert_eq!(code, 1);
    assert!(
        err.contains(&taken) && err.contains("--admin-listen"),
        "{err}"
    );
}

#[test]
fn a_reload_keeps_counters_and_forgets_what_is_gone() {
    let project = Project::new()
        .wat("stays", &answering("one"))
        .http("stays")
        .wat("goes", &answering("two"));
    let (embly, at) = start(&project);
    get(embly.at("stays"), "/");
    let stays = "embly_invocations_total{function=\"stays\",reason=\"ok\"}";
    says(at, stays, 1.0);
    assert!(samples(at).contains_key("embly_forks_total{function=\"goes\"}"));
    project.edit("name: goes", "name: came");
    assert_eq!(embly.asks("POST", "/v1/reload").0, 200);
    let after = samples(at);
    assert_eq!(after[stays], 1.0);
    assert!(!after.keys().any(|sample| sample.contains("\"goes\"")));
    assert_eq!(after["embly_forks_total{function=\"came\"}"], 0.0);
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() {
    let names = names();
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../app/deploy/");
    let read = |file: &str| std::fs::read_to_string(format!("{deploy}{file}")).unwrap();
    let (alerts, dashboard) = (read("alerts.yml"), read("grafana/dashboards/embly.json"));
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    assert_eq!(parsed["uid"], "embly");
    for text in [alerts, dashboard] {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let asked: Vec<_> = words.filter(|word| word.starts_with("embly_")).collect();
        assert!(asked.len() > 5);
        for name in asked {
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }
}
