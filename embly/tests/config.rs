//! The project file, as a user meets it: each `config/NAME.yml` is checked in a folder
//! with a few functions, and what is said about it is compared with `config/NAME.txt`.
//! `EMBLY_UPDATE=1` writes the expectations anew.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use embly::allow::Allow;
use embly::config::{self, Environment, Machine, Problems, Project};
use embly::limits::{self, Isolation, Limits, Parked, Span};

const MACHINE: Machine = Machine {
    memory: Some(2 << 30),
    processes: Some(1000),
};

/// A new folder with a project to be: crates, modules, a crate outside.
fn folder(name: &str) -> PathBuf {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("config")
        .join(name);
    let _ = fs::remove_dir_all(&base);
    for package in ["project/listener", "project/hello", "shared/outside"] {
        fs::create_dir_all(base.join(package)).unwrap();
        fs::write(base.join(package).join("Cargo.toml"), "[package]").unwrap();
    }
    let project = base.join("project");
    fs::create_dir_all(project.join("empty")).unwrap();
    fs::write(project.join("add.wat"), "(module)").unwrap();
    fs::write(project.join("add.wasm"), "\0asm\x01\0\0\0").unwrap();
    fs::write(project.join("notes.txt"), "").unwrap();
    let key = r#"{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "1"}"#;
    let keys = format!(r#"{{"keys": [{key}, {{"kty": "other"}}]}}"#);
    fs::write(project.join("jwks.json"), keys).unwrap();
    for migration in [
        "migrations/001-first.sql",
        "migrations/002_second.sql",
        "migrations/.hidden",
        "gaps/001-first.sql",
        "gaps/003-third.sql",
        "gaps/3-again.sql",
        "gaps/README.md",
    ] {
        let file = project.join(migration);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "SELECT 1;").unwrap();
    }
    project.canonicalize().unwrap()
}

fn environment() -> Environment<'static> {
    let known = BTreeMap::from([("HOME_PAGE", "https://example.org"), ("EMPTY", "")]);
    Environment::new(move |name| known.get(name).map(|value| (*value).to_owned()))
}

fn load_in(folder: &Path, yml: impl AsRef<[u8]>) -> Result<Project, Problems> {
    let file = folder.join(config::FILE_NAME);
    fs::write(&file, yml).unwrap();
    config::load_for(&file, &environment(), &MACHINE)
}

fn codes(problems: &Problems) -> BTreeSet<&'static str> {
    problems.iter().map(|problem| problem.code.id).collect()
}

/// Code, line, column and length of each problem.
fn places(problems: &Problems) -> Vec<(&'static str, usize, usize, usize)> {
    let place = |record: config::Record<'_>| {
        let (line, column) = (record.line.unwrap(), record.column.unwrap());
        (record.code, line, column, record.length.unwrap())
    };
    problems.records().map(place).collect()
}

fn problems(name: &str, yml: impl AsRef<[u8]>) -> Problems {
    load_in(&folder(name), yml).unwrap_err()
}

const ONE: &str = "functions:\n  - {name: hello, path: ./hello, language: rust}\n";

#[test]
fn an_environment_is_put_together_key_by_key_and_by_name() {
    let file = folder("overridden").join(config::FILE_NAME);
    fs::write(&file, include_str!("config/overrides.yml")).unwrap();
    let load = |name| config::load_for(&file, &environment().choose(name), &MACHINE).unwrap();
    let base = load(None);
    assert_eq!(base.environments, ["production", "test", "empty"]);
    let project = load(Some("production"));
    let function = &project.functions[0];
    let env = BTreeMap::from([("B".to_owned(), "three".to_owned())]);
    assert_eq!(function.env, env);
    assert_eq!(function.limits.memory, Some(limits::MEMORY));
    assert_eq!(function.limits.cpu, Some(Duration::from_secs(5)));
    let gateway = &project.gateways[0];
    assert_eq!((gateway.port, gateway.hosts.len()), (80, 1));
    assert_eq!(gateway.function.as_deref(), Some("hello"));
    assert_eq!((project.stores.len(), project.logs.len()), (1, 1));
    for name in ["test", "empty"] {
        let same = load(Some(name));
        assert_eq!(same.functions, base.functions);
        assert_eq!(same.gateways, base.gateways);
    }
}

#[test]
fn what_an_environment_says_of_something_that_is_not_there_is_seen_unless_it_is_whole() {
    let file = folder("misspelled").join(config::FILE_NAME);
    let text = "functions:
  - {name: hello, path: ./hello, language: rust}
gateways:
  - {name: index, type: http, port: 8082, function: hello}
environments:
  slips:
    functions: [{name: hallo, env: {A: b}}, {name: worker, env: {A: b}}]
    gateways: [{name: indx, port: 80}, {name: hello, type: ~}]
    stores: [{name: default}]
  nearly:
    gateways: [{name: idnex, type: http, port: 80, function: hello}]
  adds:
    functions: [{name: other, path: ./listener, language: rust}]
    gateways: [{name: admin, type: http, port: 81, function: other}]
    stores: [{name: default, type: kv}]
";
    fs::write(&file, text).unwrap();
    let load = |name| config::load_for(&file, &environment().choose(Some(name)), &MACHINE);
    let slips = load("slips").unwrap_err();
    assert_eq!(
        places(&slips),
        [
            ("E225", 7, 24, 5),
            ("E225", 7, 52, 6),
            ("E225", 8, 23, 4),
            ("E225", 8, 47, 5),
            ("E111", 9, 14, 15),
        ]
    );
    let help: Vec<_> = slips.records().map(|record| record.help.unwrap()).collect();
    assert_eq!(
        help[..4],
        [
            "did you mean `name: hello`? one that is added here needs `path` and `language` as well",
            "it has `hello`; one that is added here needs `path` and `language` as well",
            "did you mean `name: index`? one that is added here needs `type` as well",
            "it has `index`; one that is added here needs `type` as well",
        ]
    );
    let nearly = load("nearly").unwrap();
    assert_eq!(places(&nearly.warnings), [("W103", 11, 23, 5)]);
    assert_eq!(nearly.gateways.len(), 2);
    let adds = load("adds").unwrap();
    assert!(adds.warnings.is_empty(), "{}", adds.warnings);
    assert_eq!(
        (adds.functions.len(), adds.gateways.len(), adds.stores.len()),
        (2, 2, 1)
    );
}

#[test]
fn each_file_is_answered_as_expected() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let update = std::env::var_os("EMBLY_UPDATE").is_some();
    let mut seen = BTreeSet::new();
    let mut different = Vec::new();
    let mut files: Vec<_> = fs::read_dir(&here)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "yml"))
    {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let folder = folder(name);
        let (answer, said) = match load_in(&folder, fs::read(file).unwrap()) {
            Ok(project) if project.warnings.is_empty() => (String::from("ok\n"), None),
            Ok(project) => (project.warnings.to_string(), Some(project.warnings)),
            Err(problems) => (problems.to_string(), Some(problems)),
        };
        seen.extend(said.iter().flat_map(codes));
        let root = folder.parent().unwrap().display().to_string();
        let answer = answer.replace(&root, "ROOT");
        let expected = file.with_extension("txt");
        if update {
            fs::write(&expected, &answer).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != answer {
            different.push(format!("{name}:\n{answer}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));

    // What no text file can show has tests of its own below, or where bundles are made.
    seen.extend([
        "E101", "E102", "E107", "E153", "E182", "E220", "E224", "E225", "W103", "W104",
    ]);
    let all: BTreeSet<_> = config::CODES.iter().map(|code| code.id).collect();
    let missing: Vec<_> = all.difference(&seen).collect();
    assert!(missing.is_empty(), "no test for {missing:?}");
}

#[test]
fn secrets_that_cannot_be_read_are_one_problem_and_those_that_are_kept_need_no_variable() {
    let yml = "functions:
  - {name: listener, path: ./listener, language: rust, secrets: [HOME_PAGE, KEPT]}
  - {name: hello, path: ./hello, language: rust, secrets: [KEPT]}
";
    let folder = folder("secrets-kept");
    let file = folder.join(config::FILE_NAME);
    fs::write(&file, yml).unwrap();
    let load = |secrets| {
        let environment = environment().with_secrets(secrets);
        config::load_for(&file, &environment, &MACHINE)
    };
    let unreadable = |_: &str| Err("the file is broken".to_owned());
    let problems = load(config::Secrets::Kept {
        is_kept: Box::new(unreadable),
        option: String::new(),
    })
    .unwrap_err();
    assert_eq!(places(&problems), [("E182", 2, 66, 9)]);
    assert!(
        problems.to_string().contains("the file is broken"),
        "{problems}"
    );
    let kept = |name: &str| Ok(name == "KEPT");
    let project = load(config::Secrets::Kept {
        is_kept: Box::new(kept),
        option: String::new(),
    })
    .unwrap();
    let secrets: Vec<_> = project.secrets.iter().collect();
    assert_eq!(secrets.len(), 2);
    assert_eq!(
        secrets[0].1.as_ref().unwrap().expose(),
        "https://example.org"
    );
    assert_eq!(secrets[1], (&"KEPT".to_owned(), &None));
    assert!(!format!("{project:?}").contains("example.org"));
    assert_eq!(
        project.functions[1].secrets,
        BTreeSet::from(["KEPT".to_owned()])
    );
    // Who only builds needs none.
    assert!(load(config::Secrets::Unneeded).is_ok());
}

#[test]
fn the_smallest_project_is_complete() {
    let folder = folder("smallest");
    let yml = "functions:
  - name: listener
    path: ./listener
    language: rust
gateways:
  - name: index
    type: http
    port: 8082
    function: listener
";
    let project = load_in(&folder, yml).unwrap();
    assert!(project.warnings.is_empty());
    assert_eq!(project.root, folder);
    assert_eq!(project.file, folder.join("embly-project.yml"));
    let function = config::Function {
        name: "listener".to_owned(),
        path: folder.join("listener"),
        context: folder.clone(),
        language: config::Language::Rust,
        entry: "_start".to_owned(),
        env: BTreeMap::new(),
        secrets: BTreeSet::new(),
        isolation: Isolation::Invocation,
        parked: Parked::of(Isolation::Invocation, None),
        limits: Limits::default(),
        allow: Allow::default(),
        start: None,
    };
    assert_eq!(project.functions, [function]);
    let gateway = config::Gateway {
        name: "index".to_owned(),
        kind: config::GatewayKind::Http,
        bind: config::Bind::Ip("127.0.0.1".parse().unwrap()),
        port: 8082,
        tls: None,
        proxies: config::Proxies::default(),
        proxy_protocol: false,
        hosts: Vec::new(),
        function: Some("listener".to_owned()),
        routes: Vec::new(),
        websocket: None,
        timeouts: config::Timeouts::default(),
        access_log: None,
        health: None,
        policy: config::Policy::default(),
    };
    assert_eq!(project.gateways, [gateway]);
}

#[test]
fn every_key_is_read() {
    let folder = folder("every-key");
    let yml = "functions:
  - name: outside
    path: ./shared/outside
    context: ..
    language: rust
    entry: run
    env:
      PAGE: \"<${HOME_PAGE}/$${x}${EMPTY}>\"
      PORT: 08080
      DEBUG: true
      NOTHING: \"\"
    limits:
      memory: 256MiB
      cpu: 500ms
      wall: 1h30m
      idle: none
      request_head: 16KiB
      request_body: none
      concurrency: 8
      children: 1
      depth: none
      total: 1d
      queue: {length: 7, wait: none}
      tree: none
      response_body: 1KB
      window: 4KiB
      log: {lines: 5/s, line: 1KiB}
      background: none
      tcp: {connect: 3s, idle: none, connections: 7}
      http: {connect: 3s, head: none, time: 1m, idle: 2s, request_body: 1KiB, response_head: 8KiB,
             response_body: none, redirects: 0, connections: 5}
      kv: {batch: 10, page: 20, watches: 1, pending: 1024}
      sql: {time: none, rows: 9}
  - {name: add, path: add.wat, language: wasm}
gateways:
  - {name: a, type: tcp, bind: '::1', port: 0, function: add}
  - {name: b, type: tcp, bind: ::1, port: 0, function: outside}
";
    let project = load_in(&folder, yml).unwrap();
    let function = &project.functions[0];
    let above = folder.parent().unwrap();
    assert_eq!(function.context, above);
    assert_eq!(function.path, above.join("shared/outside"));
    assert_eq!(function.entry, "run");
    let env = [
        ("DEBUG", "true"),
        ("NOTHING", ""),
        ("PAGE", "<https://example.org/${x}>"),
        ("PORT", "08080"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(function.env, BTreeMap::from(env));
    let limits = Limits {
        memory: Some(256 << 20),
        cpu: Some(Duration::from_millis(500)),
        wall: Span::Of(Duration::from_secs(5400)),
        idle: Span::None,
        request_head: 16 << 10,
        request_body: None,
        concurrency: Some(8),
        children: Some(1),
        depth: None,
        total: Some(Duration::from_secs(24 * 3600)),
        queue: limits::Queue {
            length: Some(7),
            wait: None,
        },
        tree: None,
        response_body: Some(1000),
        window: 4096,
        log: limits::Log {
            lines: Some(5),
            line: 1024,
            severity: protos::Severity::Info,
        },
        background: None,
        tcp: limits::TcpLimits {
            connect: Some(Duration::from_secs(3)),
            idle: None,
            connections: Some(7),
        },
        http: limits::HttpLimits {
            connect: Some(Duration::from_secs(3)),
            head: None,
            time: Some(Duration::from_secs(60)),
            idle: Some(Duration::from_secs(2)),
            request_body: Some(1024),
            response_head: 8192,
            response_body: None,
            redirects: 0,
            connections: Some(5),
        },
        kv: limits::Kv {
            batch: 10,
            page: 20,
            watches: 1,
            pending: 1024,
        },
        sql: limits::Sql {
            time: None,
            rows: Some(9),
            ..limits::Sql::default()
        },
    };
    assert_eq!(function.limits, limits);
    assert_eq!(project.functions[1].path, folder.join("add.wat"));
    assert_eq!(project.functions[1].language, config::Language::Wasm);
    let bind = config::Bind::Ip("::1".parse().unwrap());
    assert_eq!(project.gateways[1].bind, bind);
    assert_eq!(project.gateways[1].kind, config::GatewayKind::Tcp);
}

#[test]
fn the_defaults_are_as_documented() {
    let limits = Limits::default();
    assert_eq!(limits.memory, Some(128 << 20));
    assert_eq!(limits.cpu, Some(Duration::from_secs(10)));
    assert_eq!(limits::CPU_WINDOW, Duration::from_secs(60));
    assert_eq!((limits.wall, limits.idle), (Span::Default, Span::Default));
    assert_eq!(limits::WALL_HTTP, Duration::from_secs(30));
    assert_eq!(limits::IDLE, Duration::from_secs(60));
    assert_eq!(
        (limits.request_head, limits.request_body),
        (65536, Some(10 << 20))
    );
    assert_eq!(limits.concurrency, Some(256));
    assert_eq!((limits.children, limits.depth), (Some(64), Some(16)));
    assert_eq!((limits.total, limits.response_body), (None, None));
    let tcp = limits::TcpLimits {
        connect: Some(Duration::from_secs(10)),
        idle: Some(Duration::from_secs(300)),
        connections: Some(256),
    };
    assert_eq!(limits.tcp, tcp);
    let http = limits::HttpLimits {
        connect: Some(Duration::from_secs(10)),
        head: Some(Duration::from_secs(30)),
        time: None,
        idle: Some(Duration::from_secs(60)),
        request_body: Some(100 << 20),
        response_head: 65536,
        response_body: Some(100 << 20),
        redirects: 10,
        connections: Some(64),
    };
    assert_eq!(limits.http, http);
    let queue = limits.queue;
    assert_eq!(
        (queue.length, queue.wait),
        (Some(1024), Some(Duration::from_secs(5)))
    );
    assert_eq!((limits.tree, limits.window), (Some(1000), 256 << 10));
    assert_eq!((limits.log.lines, limits.log.line), (Some(1000), 16 << 10));
    assert_eq!(limits.background, Some(Duration::from_secs(10)));
    assert_eq!(limits.sql.memory, 64 << 20);
    assert_eq!(limits.sql.time, Some(Duration::from_secs(5)));
    assert_eq!(limits.sql.transaction, Some(Duration::from_secs(5)));
    assert_eq!(limits.sql.read, Some(Duration::from_secs(60)));
    assert_eq!(limits.sql.wait, Some(Duration::from_secs(10)));
    assert_eq!((limits.sql.rows, limits.sql.connections), (None, 8));
}

#[test]
fn defaults_hold_key_by_key_where_a_function_says_nothing_else() {
    let folder = folder("defaults");
    let yml = "defaults:
  limits: {memory: 64MiB, cpu: none, queue: {length: 5}, log: {line: 1KiB}}
  env: {A: \"1\", PAGE: \"${HOME_PAGE}\"}
functions:
  - {name: plain, path: ./hello, language: rust}
  - name: own
    path: ./hello
    language: rust
    env: {A: \"2\", B: \"3\"}
    limits: {memory: none, queue: {wait: 1s}}
";
    let project = load_in(&folder, yml).unwrap();
    let [plain, own] = &project.functions[..] else {
        panic!("two functions")
    };
    assert_eq!(
        (plain.limits.memory, plain.limits.cpu),
        (Some(64 << 20), None)
    );
    assert_eq!((own.limits.memory, own.limits.cpu), (None, None));
    assert_eq!(plain.limits.queue.length, Some(5));
    assert_eq!(plain.limits.queue.wait, Some(limits::QUEUE_WAIT));
    assert_eq!(own.limits.queue.length, Some(5));
    assert_eq!(own.limits.queue.wait, Some(Duration::from_secs(1)));
    assert_eq!((own.limits.log.line, own.limits.tree), (1024, Some(1000)));
    let text = |env: &BTreeMap<String, String>| format!("{env:?}");
    let page = "\"PAGE\": \"https://example.org\"";
    assert_eq!(text(&plain.env), format!("{{\"A\": \"1\", {page}}}"));
    assert_eq!(
        text(&own.env),
        format!("{{\"A\": \"2\", \"B\": \"3\", {page}}}")
    );
}

#[test]
fn columns_count_characters_whatever_the_ends_of_lines() {
    let yml = "functions:\r\n  - {name: hello, path: ./hello, language: rust, 'ü\tö': 1}\r\n\
               # ｆｕｌｌ\r\ngateways:\r\n  - {\"größe\": 1, nme: ä, port: 1, type: http, function: hello}\r\n";
    let found = problems("columns", yml);
    let expected = [("E110", 2, 50, 5), ("E110", 5, 6, 7), ("E110", 5, 18, 3)];
    assert_eq!(places(&found), expected);
    // The text form counts as the data does.
    let text = found.to_string();
    for (_, line, column, _) in expected {
        assert!(
            text.contains(&format!("embly-project.yml:{line}:{column}\n")),
            "{text}"
        );
    }

    // A byte order mark is not a column.
    let marked = problems("marked", format!("\u{feff}fuctions: 1\n{ONE}"));
    assert_eq!(places(&marked), [("E110", 1, 1, 8)]);
}

#[test]
fn json_has_every_problem_with_its_place() {
    let found = problems("json", format!("{ONE}gatways: []\n"));
    let json = serde_json::to_value(&found).unwrap();
    let expected = serde_json::json!([{
        "code": "E110",
        "message": "unknown key `gatways` in a project",
        "file": found.file(),
        "line": 3,
        "column": 1,
        "length": 7,
        "help": "did you mean `gateways`?",
    }]);
    assert_eq!(json, expected);
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem() {
    let folder = folder("unreadable");
    let missing = folder.join("nothing.yml");
    let found = config::load_for(&missing, &environment(), &MACHINE).unwrap_err();
    assert_eq!(codes(&found), BTreeSet::from(["E101"]));
    let text = found.to_string();
    assert!(text.contains("No such file"), "{text}");
    assert!(text.contains("nothing.yml"), "{text}");
    let found = config::load_for(&folder, &environment(), &MACHINE).unwrap_err();
    assert_eq!(codes(&found), BTreeSet::from(["E101"]));
}

#[test]
fn a_file_that_is_not_utf8_shows_the_first_wrong_byte() {
    let found = problems("latin1", b"functions:\n  - name: \xe4\xf6\n    path: x\n");
    assert_eq!(places(&found), [("E102", 2, 11, 1)]);
    assert!(found.to_string().contains("0xe4"), "{found}");
    let found = problems("utf16", b"\xff\xfef\0u\0");
    assert_eq!(places(&found), [("E102", 1, 1, 1)]);
    assert!(found.to_string().contains("UTF-16"), "{found}");
}

#[test]
fn files_too_big_or_too_deep_are_refused() {
    let found = problems("big", format!("{ONE}{}", "# x\n".repeat(300_000)));
    assert_eq!(codes(&found), BTreeSet::from(["E107"]));
    let found = problems("deep", format!("functions: {}", "[".repeat(100_000)));
    assert_eq!(codes(&found), BTreeSet::from(["E107"]));
    let found = problems("deep-block", format!("{}x", "- ".repeat(100_000)));
    assert_eq!(codes(&found), BTreeSet::from(["E107"]));
}

#[test]
fn a_hopeless_file_is_answered_in_time() {
    let keys: Vec<_> = (0..60_000).map(|number| format!("k{number}: 1")).collect();
    for yml in [keys.join("\n"), format!("{{{}}}", keys.join(", "))] {
        let found = problems("hopeless", yml);
        // And `functions` is missing.
        assert_eq!(found.count(), (60_001, 0));
        assert_eq!(found.iter().count(), 1000);
        assert!(
            found
                .to_string()
                .ends_with("60001 errors, 1000 of them shown\n")
        );
    }
}

#[test]
fn dotenv_is_below_the_environment_and_its_problems_have_places() {
    let folder = folder("dotenv");
    let file = folder.join(config::DOTENV);
    assert_eq!(config::dotenv(&file).unwrap(), BTreeMap::new());
    fs::write(&file, "# secrets\nHOME_PAGE=no\r\nexport KEY='a b'\n").unwrap();
    let both = environment().or(config::dotenv(&file).unwrap());
    assert_eq!(
        both.get("HOME_PAGE").as_deref(),
        Some("https://example.org")
    );
    assert_eq!(both.get("KEY").as_deref(), Some("a b"));
    assert_eq!(both.get("A=B"), None);

    fs::write(&file, "KEY\n\n  1X=y\n").unwrap();
    let found = config::dotenv(&file).unwrap_err();
    // Where, and not how much: what is there may be a secret.
    assert_eq!(places(&found), [("E153", 1, 1, 0), ("E153", 3, 3, 0)]);
}

#[test]
fn the_nearest_file_upward_is_the_project() {
    let folder = folder("find");
    let file = folder.join(config::FILE_NAME);
    fs::write(&file, ONE).unwrap();
    let inner = folder.join("hello/src");
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("main.rs"), "").unwrap();
    for start in [
        &folder,
        &file,
        &inner,
        &inner.join("main.rs"),
        &inner.join(".."),
    ] {
        assert_eq!(
            config::find(start).as_ref(),
            Ok(&file),
            "{}",
            start.display()
        );
    }
    // A folder of that name is not a project file.
    fs::create_dir_all(folder.join("hello").join(config::FILE_NAME)).unwrap();
    assert_eq!(config::find(&inner).as_ref(), Ok(&file));
}

#[test]
fn without_a_file_every_folder_that_was_looked_in_is_named() {
    // No folder above the system's temporary one has a project.
    let base = std::env::temp_dir().join(format!("embly-find-{}", std::process::id()));
    fs::create_dir_all(base.join("a/b")).unwrap();
    let base = base.canonicalize().unwrap();
    let text = config::find(&base.join("a/b")).unwrap_err().to_string();
    for folder in base.join("a/b").ancestors() {
        assert!(
            text.contains(&format!("\n  {}\n", folder.display())),
            "{text}"
        );
    }
    assert!(
        text.ends_with("hint: give the folder of a project, or make one with `embly new NAME`")
    );

    fs::write(base.join("a/embly-project.yaml"), ONE).unwrap();
    let text = config::find(&base.join("a/b")).unwrap_err().to_string();
    assert!(text.contains("rename it to `embly-project.yml`"), "{text}");

    let text = config::find(&base.join("c")).unwrap_err().to_string();
    assert!(text.contains("there is nothing at"), "{text}");
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn what_a_file_says_does_not_act_on_the_terminal() {
    let name = "\x1b[31mred\x07\u{202e}";
    let text = problems(
        "terminal",
        format!("{ONE}\"\\e[31mred\\a\": 1\n? {name}\n: 1\n"),
    );
    // ESC and `[` in one, beyond ASCII.
    let beyond = problems("beyond", format!("{ONE}{{a \u{9b}31m: b, c\n"));
    assert!(beyond.to_string().contains("31m"), "the line is shown");
    let shown = [&text, &beyond].map(|it| [it.to_string(), it.render(false, Some(20))]);
    for text in shown.as_flattened() {
        let bad = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(bad, None, "{text:?}");
    }
}

#[test]
fn colour_and_narrow_terminals_say_the_same_words() {
    let found = problems("colour", format!("{ONE}gatways: []\n"));
    let colour = found.render(true, Some(80));
    assert!(colour.contains("\x1b["));
    let mut plain = String::new();
    let mut rest = colour.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert_eq!(plain, found.to_string());
    assert!(found.render(false, Some(1)).contains("gatways"));
}

/// Small random numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

#[test]
fn no_file_makes_it_panic() {
    let folder = folder("mutations");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let files = fs::read_dir(here)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let seeds: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|end| end == "yml"))
        .map(|file| fs::read(file).unwrap())
        .collect();
    let pieces: [&[u8]; 22] = [
        b"\t",
        b"\r",
        b"\n",
        b"\r\n",
        b": ",
        b"- ",
        b"[",
        b"{",
        b"}",
        b"&a ",
        b"*a",
        b"!!x ",
        b"\"",
        b"'",
        b"|\n",
        b"${",
        b"#",
        b"---\n",
        b"? ",
        b"\xff",
        "ü\u{301}🦀".as_bytes(),
        b"\0",
    ];
    let mut dice = Dice(0x5eed);
    for _ in 0..3000 {
        let mut text = seeds[dice.roll(seeds.len())].clone();
        for _ in 0..=dice.roll(6) {
            let at = dice.roll(text.len() + 1);
            let end = at + dice.roll(text.len() - at + 1).min(dice.roll(20));
            match dice.roll(4) {
                0 => drop(text.splice(at..at, pieces[dice.roll(pieces.len())].iter().copied())),
                1 => drop(text.drain(at..end)),
                2 => drop(text.splice(at..at, text[at..end].to_vec())),
                _ => drop(text.splice(at..end, [dice.roll(256) as u8])),
            }
        }
        let said = match load_in(&folder, &text) {
            Ok(project) => project.warnings,
            Err(problems) => {
                assert!(!problems.is_empty());
                problems
            }
        };
        said.render(true, Some(dice.roll(200)));
        let starts: Vec<_> = said
            .iter()
            .map(|p| p.span.as_ref().map(|s| s.start))
            .collect();
        assert!(starts.is_sorted());
        serde_json::to_string(&said).unwrap();
    }
}
