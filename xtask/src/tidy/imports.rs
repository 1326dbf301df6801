//! Who may know whom: inside of `embly`, and between the crates.

use super::{code, in_lines, none, tree};

/// A module of `embly` may use those that stand after it.
const CHAIN: [&str; 9] = [
    "cli",
    "master",
    "admin",
    "gateway",
    "supervisor",
    "service",
    "switchboard",
    "pool",
    "wrapper",
];

/// Everybody may use these; they know each other in this order only.
const LEAVES: [&str; 16] = [
    "config",
    "report",
    "router",
    "routes",
    "schedule",
    "secrets",
    "state",
    "versions",
    "bundle",
    "limits",
    "allow",
    "backoff",
    "tls",
    "telemetry",
    "file",
    "exploring",
];

/// It feeds what others read, whoever that is, and nobody uses it.
const FUZZING: &str = "fuzzing";

/// Only the command line builds, makes projects, tests them, and copies stores.
const OF_THE_CLI: [&str; 4] = ["build", "scaffold", "hurl", "store"];

#[test]
fn imports_run_one_way() {
    let files = tree::ending(".rs");
    let sources = files.iter().filter(|file| file.under("embly/src"));
    none(
        "a module of `embly` uses one that it must not know (docs/architecture.md, code map)",
        in_lines(sources, |file, line| {
            let own = module_of(&file.path)?;
            let used = used(code(line));
            let wrong: Vec<_> = used.into_iter().filter(|other| !may(own, other)).collect();
            (!wrong.is_empty()).then(|| format!("`{own}` uses `{}`", wrong.join("`, `")))
        }),
    );
}

/// What services share, in `embly/src/service`; all else there is one service each.
const SHARED: [&str; 4] = ["mod", "frames", "outbound", FUZZING];

#[test]
fn no_service_knows_another() {
    let files = tree::ending(".rs");
    let own = |file: &tree::File| service_of(&file.path).map(str::to_owned);
    let mut services: Vec<String> = files.iter().filter_map(own).collect();
    services.sort();
    services.dedup();
    services.retain(|name| !SHARED.contains(&name.as_str()));
    assert!(services.len() >= 4, "{services:?}");
    let sources = files.iter().filter(|file| {
        // The list of all services stands there.
        service_of(&file.path).is_some_and(|name| name != "mod" && name != FUZZING)
    });
    none(
        "a service uses another one, or what all share uses one",
        in_lines(sources, |file, line| {
            let own = service_of(&file.path)?;
            let mut used = siblings(code(line));
            used.retain(|name| name != own && services.iter().any(|service| service == name));
            (!used.is_empty()).then(|| format!("`{own}` uses `{}`", used.join("`, `")))
        }),
    );
}

#[test]
fn every_module_has_its_place() {
    let known = |name: &str| {
        CHAIN.contains(&name)
            || LEAVES.contains(&name)
            || OF_THE_CLI.contains(&name)
            || name == FUZZING
    };
    let lib = tree::file("embly/src/lib.rs");
    let modules = lib.lines().filter_map(|line| {
        let line = line.trim_start_matches("pub ");
        line.strip_prefix("mod ")?.strip_suffix(';')
    });
    let strange: Vec<_> = modules
        .filter(|name| !known(name))
        .map(str::to_owned)
        .collect();
    none(
        "a new module of `embly`: give it a place in xtask/src/tidy/imports.rs",
        strange,
    );
}

/// `main.rs` chooses the role of the process and knows nothing else.
#[test]
fn main_knows_the_command_line_only() {
    let main = tree::file("embly/src/main.rs");
    let found = main.lines().map(code).filter_map(|line| {
        let (_, after) = line.split_once("embly::")?;
        (!after.starts_with("cli::")).then(|| line.trim().to_owned())
    });
    none(
        "embly/src/main.rs uses more than `embly::cli`",
        found.collect(),
    );
}

#[test]
fn only_the_wrapper_knows_the_engine() {
    let files = tree::files();
    let elsewhere = files.iter().filter(|file| {
        (file.is(".rs") || file.is("Cargo.toml"))
            && !file.under("embly-wrapper")
            && !file.under("xtask")
            // There its own server is one that Embly is measured beside.
            && !file.under("embly/benches/compare")
    });
    none(
        "the engine is known outside of embly-wrapper",
        in_lines(elsewhere, |file, line| {
            let line = if file.is(".rs") { code(line) } else { line };
            line.contains("wasmtime").then(|| line.trim().to_owned())
        }),
    );
}

/// The messages are plain data, so that they can be tested and fuzzed as such.
#[test]
fn protos_does_no_io() {
    let files = tree::files();
    let protos = files
        .iter()
        .filter(|file| file.under("protos/src") || file.path == "protos/Cargo.toml");
    none(
        "`protos` does I/O, waits, or reads a clock",
        in_lines(protos, |_, line| {
            let io = [
                "std::io",
                "std::fs",
                "std::net",
                "std::time",
                "std::env",
                "tokio",
                "async fn",
            ];
            let found = io.into_iter().find(|word| code(line).contains(word))?;
            Some(found.to_owned())
        }),
    );
}

fn module_of(path: &str) -> Option<&str> {
    let path = path.strip_prefix("embly/src/")?;
    let first = path.split('/').next()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (module != "lib" && module != "main").then_some(module)
}

/// The modules of this crate that a line names: `crate::a::…`, `crate::{a, b::c}`.
fn used(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, path) in line.match_indices("crate::") {
        // `$crate::`, and another crate whose name ends so, are somebody else.
        if line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let after = &line[at + path.len()..];
        match after.strip_prefix('{') {
            Some(list) => found.extend(list.split(',').filter_map(name)),
            None => found.extend(name(after)),
        }
    }
    found
}

/// The module of `embly/src/service` that a file belongs to.
fn service_of(path: &str) -> Option<&str> {
    let path = path.strip_prefix("embly/src/service/")?;
    let first = path.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

/// The modules that a line names by way of `service` or of a module around it.
fn siblings(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for path in ["service::", "super::"] {
        for (at, _) in line.match_indices(path) {
            if line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let after = &line[at + path.len()..];
            match after.strip_prefix('{') {
                Some(list) => found.extend(list.split(',').filter_map(name)),
                None => found.extend(name(after)),
            }
        }
    }
    found.into_iter().map(str::to_owned).collect()
}

fn name(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_');
    Some(&text[..end.unwrap_or(text.len())]).filter(|name| !name.is_empty())
}

fn may(own: &str, other: &str) -> bool {
    let place = |list: &[&str], name: &str| list.iter().position(|one| *one == name);
    if own == other || own == FUZZING {
        return true;
    }
    match (place(&CHAIN, own), place(&LEAVES, own)) {
        (Some(at), _) => {
            place(&CHAIN, other).is_some_and(|there| there > at)
                || LEAVES.contains(&other)
                || (own == "cli" && OF_THE_CLI.contains(&other))
        }
        (None, Some(at)) => place(&LEAVES, other).is_some_and(|there| there > at),
        // They know the leaves, and not each other.
        (None, None) => LEAVES.contains(&other),
    }
}

#[test]
fn the_rule_itself() {
    assert!(may("cli", "pool") && may("cli", "build") && may("gateway", "limits"));
    assert!(may("config", "limits") && may("build", "report"));
    assert!(!may("pool", "switchboard") && !may("master", "build") && !may("limits", "config"));
    assert!(may("fuzzing", "hurl") && !may("cli", "fuzzing"));
    assert!(!may("router", "pool") && !may("scaffold", "build") && !may("wrapper", "embly"));
    assert_eq!(used("use crate::{a::b, c}; crate::d::E"), ["a", "c", "d"]);
    assert_eq!(used("use mycrate::a; use super::b"), [""; 0]);
    assert_eq!(
        service_of("embly/src/service/kv/engine/file.rs"),
        Some("kv")
    );
    assert_eq!(service_of("embly/src/service/frames.rs"), Some("frames"));
    let lines = "use crate::service::{frames, sql::Sql}; use super::super::tcp::Tcp;";
    assert_eq!(siblings(lines), ["frames", "sql", "super", "tcp"]);
    assert_eq!(siblings("use protos::services::kv as proto;"), [""; 0]);
}
