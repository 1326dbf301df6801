//! Who may use which service: each kind of entry of `allow`, both ways. What is allowed works, what is
//! not is refused, the refusal names a line, and with this line in the project file it works.
//!
//! A service without rows fails the test. A new one adds rows here and a line in
//! `guest/src/permissions.rs`.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

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

/// In a row: the address of a server of this test, of another one, and the port of the first.
const PLACES: [&str; 3] = ["HERE", "THERE", "PORT"];

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
    // What changes and tells at once, several changes at once, and a condition of them.
    cell(KV, "default:swap:a-swap", "kv: [default]", true),
    cell(
        KV,
        "default:swap:a-swap",
        "kv: [{store: default, access: read}]",
        false,
    ),
    cell(
        KV,
        "default:swap:a-swap",
        "kv: [{store: default, access: read-write}]",
        true,
    ),
    cell(
        KV,
        "default:swap:a-swap",
        "kv: [{store: default, prefix: a}]",
        true,
    ),
    cell(
        KV,
        "default:swap:b-swap",
        "kv: [{store: default, prefix: a}]",
        false,
    ),
    cell(
        KV,
        "default:swap:b-swap",
        "kv: [{store: default, prefix: b, access: read}, {store: default, prefix: a}]",
        false,
    ),
    cell(KV, "default:increment:a-increment", "kv: [default]", true),
    cell(
        KV,
        "default:increment:a-increment",
        "kv: [{store: default, access: read}]",
        false,
    ),
    cell(
        KV,
        "default:increment:a-increment",
        "kv: [{store: default, access: read-write}]",
        true,
    ),
    cell(
        KV,
        "default:increment:a-increment",
        "kv: [{store: default, prefix: a}]",
        true,
    ),
    cell(
        KV,
        "default:increment:b-increment",
        "kv: [{store: default, prefix: a}]",
        false,
    ),
    cell(
        KV,
        "default:increment:b-increment",
        "kv: [{store: default, prefix: b, access: read}, {store: default, prefix: a}]",
        false,
    ),
    cell(KV, "default:expire:a-expire", "kv: [default]", true),
    cell(
        KV,
        "default:expire:a-expire",
        "kv: [{store: default, access: read}]",
        false,
    ),
    cell(
        KV,
        "default:expire:a-expire",
        "kv: [{store: default, access: read-write}]",
        true,
    ),
    cell(
        KV,
        "default:expire:a-expire",
        "kv: [{store: default, prefix: a}]",
        true,
    ),
    cell(
        KV,
        "default:expire:b-expire",
        "kv: [{store: default, prefix: a}]",
        false,
    ),
    cell(
        KV,
        "default:expire:b-expire",
        "kv: [{store: default, prefix: b, access: read}, {store: default, prefix: a}]",
        false,
    ),
    cell(KV, "default:batch:a-batch", "kv: [default]", true),
    cell(
        KV,
        "default:batch:a-batch",
        "kv: [{store: default, access: read}]",
        false,
    ),
    cell(
        KV,
        "default:batch:a-batch",
        "kv: [{store: default, access: read-write}]",
        true,
    ),
    cell(
        KV,
        "default:batch:a-batch",
        "kv: [{store: default, prefix: a}]",
        true,
    ),
    cell(
        KV,
        "default:batch:b-batch",
        "kv: [{store: default, prefix: a}]",
        false,
    ),
    cell(
        KV,
        "default:batch:b-batch",
        "kv: [{store: default, prefix: b, access: read}, {store: default, prefix: a}]",
        false,
    ),
    cell(KV, "default:check:a2", "kv: [default]", true),
    cell(
        KV,
        "default:check:a2",
        "kv: [{store: default, access: read}]",
        false,
    ),
    cell(
        KV,
        "default:check:a2",
        "kv: [{store: default, access: read}, {store: default, prefix: a}]",
        true,
    ),
    cell(
        KV,
        "default:check:b",
        "kv: [{store: default, prefix: b, access: read}, {store: default, prefix: a}]",
        true,
    ),
    cell(
        KV,
        "default:check:b",
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
    // A wildcard: names below it, on the internet unless the entry says more.
    cell(
        HTTP,
        "http://a.localhost:PORT/a",
        "http: [\"http://*.localhost:PORT/\"]",
        false,
    ),
    cell(
        HTTP,
        "http://a.localhost:PORT/a",
        "http: [{url: \"http://*.localhost:PORT/\", private: true}]",
        true,
    ),
    cell(
        HTTP,
        "http://a.localhost:PORT/a",
        "http: [{url: \"http://*.localhost:PORT/b/\", private: true}]",
        false,
    ),
    cell(
        HTTP,
        "http://localhost:PORT/a",
        "http: [{url: \"http://*.localhost:PORT/\", private: true}]",
        false,
    ),
    cell(
        HTTP,
        "http://a.localhost:PORT/a",
        "http: [\"http://*.localhost:PORT/\", \"http://a.localhost:PORT/\"]",
        true,
    ),
    // A redirect to the same place, and to another.
    cell(
        HTTP,
        "http://HERE/302?http://HERE/a",
        "http: [\"http://HERE/\"]",
        true,
    ),
    cell(
        HTTP,
        "http://HERE/302?http://HERE/a",
        "http: [\"http://HERE/302\"]",
        false,
    ),
    cell(
        HTTP,
        "http://HERE/302?http://THERE/a",
        "http: [\"http://HERE/\"]",
        false,
    ),
    cell(
        HTTP,
        "http://HERE/302?http://THERE/a",
        "http: [\"http://HERE/\", \"http://THERE/b/\"]",
        false,
    ),
    cell(
        HTTP,
        "http://HERE/302?http://THERE/a",
        "http: [\"http://HERE/\", \"http://THERE/\"]",
        false,
    ),
    cell(
        HTTP,
        "http://HERE/302?http://THERE/a",
        "http: [\"http://HERE/\", {url: \"http://THERE/a\", private: false}]",
        false,
    ),
    cell(
        HTTP,
        "http://HERE/302?http://THERE/a",
        "http: [\"http://HERE/\", {url: \"http://THERE/\", private: true}]",
        true,
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
    // A wildcard.
    cell(
        TCP,
        "a.localhost:PORT",
        "tcp: [\"*.localhost:PORT\"]",
        false,
    ),
    cell(
        TCP,
        "a.localhost:PORT",
        "tcp: [{address: \"*.localhost:PORT\", private: true}]",
        true,
    ),
    cell(
        TCP,
        "a.localhost:PORT",
        "tcp: [{address: \"*.localhost:1\", private: true}]",
        false,
    ),
    cell(
        TCP,
        "localhost:PORT",
        "tcp: [{address: \"*.localhost:PORT\", private: true}]",
        false,
    ),
    // Only with TLS.
    cell(TCP, "HERE", "tcp: [{address: \"HERE\", tls: true}]", false),
    cell(TCP, "HERE", "tcp: [{address: \"HERE\", tls: false}]", true),
    cell(
        TCP,
        "a.localhost:PORT",
        "tcp: [{address: \"*.localhost:PORT\", private: true, tls: true}]",
        false,
    ),
    cell(
        TCP,
        "a.localhost:PORT",
        "tcp: [{address: \"*.localhost:PORT\", tls: true}]",
        false,
    ),
];

/// The places in a text.
fn placed(text: &str, places: [SocketAddr; 2]) -> String {
    let [here, there] = places;
    let places = [here.to_string(), there.to_string(), here.port().to_string()];
    // `HERE` is in `THERE`.
    let order = [1, 0, 2];
    order.into_iter().fold(text.to_owned(), |text, n| {
        text.replace(PLACES[n], &places[n])
    })
}

/// One master with a function for each of these entries of `allow`; the answer to each.
fn asked(cells: &[(&Cell, String)], places: [SocketAddr; 2]) -> Vec<Response> {
    let mut project = Project::new();
    for (n, (_, allow)) in cells.iter().enumerate() {
        let allow = placed(allow, places);
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
        let what = placed(cell.what, places);
        get(at, &format!("/{}?{what}", cell.service))
    });
    answers.collect()
}

/// The pieces between commas that stand in no brackets.
fn pieces(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let pieces = text.split(|c| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    pieces
        .map(str::trim)
        .filter(|piece| !piece.is_empty())
        .collect()
}

/// `allow` with the line that a refusal says to add, or to write in the place of what is there. Nothing
/// that was there is lost by it.
fn followed(n: usize, allow: &str, text: &str) -> String {
    let at = format!("` under `allow` of function `permits-{n}`");
    let before = text.split_once(&at).map(|(before, _)| before);
    let before = before.unwrap_or_else(|| panic!("no line to add: {text}"));
    let (verb, line) = before.rsplit_once('`').unwrap();
    let (key, items) = line.split_once(": ").unwrap();
    let own = pieces(allow);
    let is_key = |piece: &&str| piece.split_once(':').unwrap().0 == key;
    let (there, mut others): (Vec<&str>, Vec<&str>) = own.into_iter().partition(is_key);
    let verb = verb.trim_end().rsplit(' ').next().unwrap();
    assert_eq!(
        verb,
        if there.is_empty() { "add" } else { "write" },
        "{text}"
    );
    for there in there {
        let had = there.split_once(": ").unwrap().1;
        let list = |text: &str| text[1..text.len() - 1].to_owned();
        let (had, items) = (list(had), list(items));
        let (had, has) = (pieces(&had), pieces(&items));
        let changed = had.iter().filter(|item| !has.contains(item)).count();
        // All are there, and one more; or one of them is another one.
        let kept =
            (changed, has.len()) == (0, had.len() + 1) || (changed, has.len()) == (1, had.len());
        assert!(kept, "`{line}` instead of `{there}`");
    }
    others.push(line);
    others.join(", ")
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

    let serve = |mut stream: TcpStream| {
        let mut head = [0; 1024];
        // Who connects and says nothing gets nothing.
        let Ok(length @ 1..) = stream.read(&mut head) else {
            return;
        };
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        let to = head
            .split(' ')
            .nth(1)
            .and_then(|at| at.strip_prefix("/302?"));
        let answer = match to {
            Some(to) => format!("302 Found\r\nLocation: {to}"),
            None => "200 OK".to_owned(),
        };
        let _ = write!(
            stream,
            "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    };
    let places = [server(serve), server(serve)];
    let cells: Vec<(&Cell, String)> = MATRIX
        .iter()
        .map(|cell| (cell, placed(cell.allow, places)))
        .collect();
    let mut wrong = Vec::new();
    let mut advised = Vec::new();
    for (n, (answer, (cell, allow))) in asked(&cells, places).iter().zip(&cells).enumerate() {
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
            advised.push((*cell, followed(n, allow, &answer.text())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A service that learns only later what it is asked for may name a second line then.
    for round in 1.. {
        let mut again = Vec::new();
        for (n, (answer, (cell, allow))) in asked(&advised, places).iter().zip(&advised).enumerate()
        {
            let text = answer.text();
            if answer.status != 200 {
                let Cell { service, what, .. } = cell;
                let told = format!("{service} {what} with `{allow}`: {text}");
                assert!(round < LINES, "{told}");
                let next = followed(n, allow, &text);
                assert!(next != *allow, "{told}");
                again.push((*cell, next));
            }
        }
        if again.is_empty() {
            return;
        }
        advised = again;
    }
}
