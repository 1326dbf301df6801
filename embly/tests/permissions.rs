//! Who may use which service: each kind of entry of `allow`, both ways. What is allowed works, what is
//! not is refused, the refusal names a line, and with this line in the project file it works.
//!
//! A service without rows fails the test. A new one adds rows here and a line in
//! `guest/src/permissions.rs`.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;

use embly::service;
use support::client::{Response, get};
use support::outbound::server;
use support::{Embly, Project};

/// A cell of the matrix.
struct Cell {
    service: &'static str,
    /// What it is asked for, as `guest/src/permissions.rs` reads it.
    what: &'static str,
    /// The entries of `allow`, without the braces; empty: nothing.
    allow: &'static str,
    /// Whether it may.
    may: bool,
}

const fn cell(service: &'static str, what: &'static str, allow: &'static str, may: bool) -> Cell {
    Cell {
        service,
        what,
        allow,
        may,
    }
}

/// So many lines are named one after the other, at most.
const LINES: u32 = 2;

const GET: &str = "embly/kv/get";
const SET: &str = "embly/kv/set";
const KV: &str = "embly/kv";
const SQL: &str = "embly/sql";
const HTTP: &str = "embly/http";
const TCP: &str = "embly/tcp";

/// In a row: the address of a server of this test.
const HERE: &str = "HERE";

/// Stores that entries name.
const STORES: [&str; 4] = [
    "name: default, type: kv",
    "name: other, type: kv",
    "name: main, type: sql",
    "name: more, type: sql",
];

const MATRIX: &[Cell] = &[
    // No list, an empty one, and one of something else.
    cell(GET, "a1", "", false),
    cell(GET, "a1", "kv: []", false),
    cell(GET, "a1", "spawn: [], register: [a], reach: [a]", false),
    cell(SET, "a1", "", false),
    cell(SET, "a1", "kv: []", false),
    cell(SET, "a1", "spawn: [], register: [a], reach: [a]", false),
    // All of the store.
    cell(GET, "a1", "kv: [default]", true),
    cell(SET, "a1", "kv: [default]", true),
    cell(GET, "a1", "kv: [{store: default}]", true),
    cell(SET, "a1", "kv: [{store: default}]", true),
    // Access.
    cell(GET, "a1", "kv: [{store: default, access: read}]", true),
    cell(SET, "a1", "kv: [{store: default, access: read}]", false),
    cell(
        GET,
        "a1",
        "kv: [{store: default, access: read-write}]",
        true,
    ),
    cell(
        SET,
        "a1",
        "kv: [{store: default, access: read-write}]",
        true,
    ),
    // Another store.
    cell(GET, "a1", "kv: [other]", false),
    cell(SET, "a1", "kv: [other]", false),
    // A prefix, and others.
    cell(GET, "a1", "kv: [{store: default, prefix: a}]", true),
    cell(SET, "a1", "kv: [{store: default, prefix: a}]", true),
    cell(GET, "a1", "kv: [{store: default, prefix: a1}]", true),
    cell(GET, "a1", "kv: [{store: default, prefix: a10}]", false),
    cell(SET, "a1", "kv: [{store: default, prefix: a10}]", false),
    cell(GET, "b", "kv: [{store: default, prefix: a}]", false),
    cell(SET, "b", "kv: [{store: default, prefix: a}]", false),
    // Several entries add up, each with its own access.
    cell(
        GET,
        "b",
        "kv: [{store: default, prefix: a}, {store: default, prefix: b, access: read}]",
        true,
    ),
    cell(
        SET,
        "b",
        "kv: [{store: default, prefix: a}, {store: default, prefix: b, access: read}]",
        false,
    ),
    cell(
        SET,
        "a1",
        "kv: [{store: default, access: read}, {store: default, prefix: a}]",
        true,
    ),
    cell(
        SET,
        "b",
        "kv: [{store: default, access: read}, {store: default, prefix: a}]",
        false,
    ),
    // One stream for all that a store can do.
    cell(KV, "default:get:a1", "", false),
    cell(KV, "default:set:a1", "kv: []", false),
    cell(KV, "other:get:a1", "kv: [default]", false),
    cell(KV, "other:set:a1", "kv: [other]", true),
    cell(KV, "default:get:a1", "kv: [default]", true),
    cell(
        KV,
        "default:get:a1",
        "kv: [{store: default, access: read}]",
        true,
    ),
    cell(
        KV,
        "default:get:a1",
        "kv: [{store: default, prefix: a}]",
        true,
    ),
    cell(
        KV,
        "default:get:b",
        "kv: [{store: default, prefix: a}]",
        false,
    ),
    cell(KV, "default:list:a1", "kv: [default]", true),
    cell(
        KV,
        "default:list:a1",
        "kv: [{store: default, access: read}]",
        true,
    ),
    cell(
        KV,
        "default:list:a1",
        "kv: [{store: default, prefix: a}]",
        true,
    ),
    cell(
        KV,
        "default:list:b",
        "kv: [{store: default, prefix: a}]",
        false,
    ),
    cell(KV, "default:watch:a1", "kv: [default]", true),
    cell(
        KV,
        "default:watch:a1",
        "kv: [{store: default, access: read}]",
        true,
    ),
    cell(
        KV,
        "default:watch:a1",
        "kv: [{store: default, prefix: a}]",
        true,
    ),
    cell(
        KV,
        "default:watch:b",
        "kv: [{store: default, prefix: a}]",
        false,
    ),
    cell(KV, "default:set:a1", "kv: [default]", true),
    cell(
        KV,
        "default:set:a1",
        "kv: [{store: default, access: read}]",
        false,
    ),
    cell(
        KV,
        "default:set:a1",
        "kv: [{store: default, prefix: a}]",
        true,
    ),
    cell(
        KV,
        "default:set:b",
        "kv: [{store: default, prefix: a}]",
        false,
    ),
    cell(KV, "default:delete:a1", "kv: [default]", true),
    cell(
        KV,
        "default:delete:a1",
        "kv: [{store: default, access: read}]",
        false,
    ),
    cell(
        KV,
        "default:delete:a1",
        "kv: [{store: default, prefix: a}]",
        true,
    ),
    cell(
        KV,
        "default:delete:b",
        "kv: [{store: default, prefix: a}]",
        false,
    ),
    // All keys are more than those that begin with `a`.
    cell(
        KV,
        "default:list:",
        "kv: [{store: default, prefix: a}]",
        false,
    ),
    cell(
        KV,
        "default:watch:",
        "kv: [{store: default, prefix: a}]",
        false,
    ),
    cell(SQL, "main:read", "", false),
    cell(SQL, "main:write", "", false),
    cell(SQL, "main:read", "sql: []", false),
    cell(SQL, "main:write", "kv: [default]", false),
    cell(SQL, "main:read", "sql: [main]", true),
    cell(SQL, "main:write", "sql: [main]", true),
    cell(SQL, "main:read", "sql: [more]", false),
    cell(SQL, "main:write", "sql: [more]", false),
    cell(SQL, "main:read", "sql: [{store: main, access: read}]", true),
    cell(
        SQL,
        "main:write",
        "sql: [{store: main, access: read}]",
        false,
    ),
    cell(
        SQL,
        "main:read",
        "sql: [{store: main, access: read-write}]",
        true,
    ),
    cell(
        SQL,
        "main:write",
        "sql: [{store: main, access: read-write}]",
        true,
    ),
    cell(
        SQL,
        "more:write",
        "sql: [{store: main}, {store: more, access: read}]",
        false,
    ),
    cell(
        SQL,
        "more:read",
        "sql: [{store: main}, {store: more, access: read}]",
        true,
    ),
    cell(HTTP, "http://HERE/a/b", "", false),
    cell(HTTP, "http://HERE/a/b", "http: []", false),
    cell(HTTP, "http://HERE/a/b", "tcp: [\"HERE\"]", false),
    cell(HTTP, "http://HERE/a/b", "http: [\"http://HERE/\"]", true),
    cell(
        HTTP,
        "http://HERE/a/b",
        "http: [{url: \"http://HERE/\", private: true}]",
        true,
    ),
    // A path, and others.
    cell(HTTP, "http://HERE/a/b", "http: [\"http://HERE/a/\"]", true),
    cell(HTTP, "http://HERE/a/b", "http: [\"http://HERE/b/\"]", false),
    cell(HTTP, "http://HERE/ab", "http: [\"http://HERE/a\"]", false),
    // Another scheme, port, host.
    cell(HTTP, "http://HERE/a", "http: [\"https://HERE/\"]", false),
    cell(
        HTTP,
        "http://HERE/a",
        "http: [\"http://127.0.0.1:1/\"]",
        false,
    ),
    cell(
        HTTP,
        "http://HERE/a",
        "http: [\"http://example.com/\"]",
        false,
    ),
    cell(TCP, "HERE", "", false),
    cell(TCP, "HERE", "tcp: []", false),
    cell(TCP, "HERE", "http: [\"http://HERE/\"]", false),
    cell(TCP, "HERE", "tcp: [\"HERE\"]", true),
    cell(
        TCP,
        "HERE",
        "tcp: [{address: \"HERE\", private: true}]",
        true,
    ),
    // Another port, another host.
    cell(TCP, "HERE", "tcp: [\"127.0.0.1:1\"]", false),
    cell(TCP, "HERE", "tcp: [\"example.com:443\"]", false),
];

/// One master with a function for each of these entries of `allow`; the answer to each.
fn asked(cells: &[(&Cell, String)], here: SocketAddr) -> Vec<Response> {
    let here = here.to_string();
    let mut project = Project::new();
    for (n, (_, allow)) in cells.iter().enumerate() {
        let allow = allow.replace(HERE, &here);
        let name = format!("permits-{n}");
        let keys = match allow.is_empty() {
            true => String::new(),
            false => format!("    allow: {{{allow}}}"),
        };
        project = project.guest_with(&name, &keys).http(&name);
    }
    for store in STORES {
        project = project.store(store);
    }
    let embly = Embly::run(&project);
    let answers = cells.iter().enumerate().map(|(n, (cell, _))| {
        let at = embly.at(&format!("permits-{n}"));
        let what = cell.what.replace(HERE, &here);
        get(at, &format!("/{}?{what}", cell.service))
    });
    answers.collect()
}

/// The line that a refusal says to add.
fn line(n: usize, text: &str) -> String {
    let at = format!("` under `allow` of function `permits-{n}`");
    let line = text
        .split_once("add `")
        .and_then(|(_, rest)| rest.split_once(&at));
    line.unwrap_or_else(|| panic!("no line to add: {text}"))
        .0
        .to_owned()
}

#[test]
fn each_service_does_what_allow_says_and_its_refusal_names_the_line_with_which_it_does() {
    let with: BTreeSet<&str> = MATRIX
        .iter()
        .filter(|cell| cell.may)
        .map(|cell| cell.service)
        .collect();
    let without: BTreeSet<&str> = MATRIX
        .iter()
        .filter(|cell| !cell.may)
        .map(|cell| cell.service)
        .collect();
    let all: BTreeSet<&str> = service::names().into_iter().collect();
    assert_eq!(
        with, all,
        "services that are allowed in some row, and all there are"
    );
    assert_eq!(
        without, all,
        "services that are refused in some row, and all there are"
    );

    let here = server(|mut stream| {
        let mut head = [0; 1024];
        // Who connects and says nothing gets nothing.
        if matches!(stream.read(&mut head), Ok(1..)) {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.write_all(answer);
        }
    });
    let cells: Vec<(&Cell, String)> = MATRIX
        .iter()
        .map(|cell| (cell, cell.allow.to_owned()))
        .collect();
    let mut wrong = Vec::new();
    let mut advised = Vec::new();
    for (n, (answer, (cell, _))) in asked(&cells, here).iter().zip(&cells).enumerate() {
        let may = match answer.status {
            200 => true,
            403 => false,
            status => panic!("{status}: {}", answer.text()),
        };
        if may != cell.may {
            wrong.push(format!(
                "{} {} with `{}`: {}",
                cell.service,
                cell.what,
                cell.allow,
                answer.text()
            ));
        } else if !may {
            advised.push((*cell, line(n, &answer.text())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A service that learns only later what it is asked for may name a second line then.
    for round in 1.. {
        let mut again = Vec::new();
        for (n, (answer, (cell, line))) in asked(&advised, here).iter().zip(&advised).enumerate() {
            let Cell {
                service,
                what,
                allow,
                ..
            } = cell;
            let text = answer.text();
            if answer.status != 200 {
                let told = format!("{service} {what}, `{line}` instead of `{allow}`: {text}");
                let next = self::line(n, &text);
                assert!(round < LINES && next != *line, "{told}");
                again.push((*cell, next));
            }
        }
        if again.is_empty() {
            return;
        }
        advised = again;
    }
}
