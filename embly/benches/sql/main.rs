//! SQL of a function: `cargo xtask bench sql [ROUNDS]`.
//!
//! A function runs one statement after the other over a stream that it holds open, and times each
//! itself. Beside it, in the same rounds, the library is called directly, with the same settings.

#![allow(clippy::unwrap_used, reason = "a benchmark may")]

#[path = "../own/mod.rs"]
mod own;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use own::Own;
use prost::Message;
use protos::services::sql::request::Request as Asked;
use protos::services::sql::{Access, Execute, Open, Request};
use rusqlite::Connection;

/// Rounds, unless asked for otherwise. Each takes a few seconds.
const ROUNDS: usize = 5;

/// Statements in a round.
const COUNT: u32 = 2000;

const MODULE: &str = include_str!("function.wat");

const PROJECT: &str = "
functions:
  - name: asks
    path: ./function.wat
    language: wasm
    limits: {cpu: none, idle: none, wall: none}
    allow: {sql: [full, relaxed]}
gateways:
  - {name: asks, type: tcp, port: 0, function: asks}
stores:
  - {name: full, type: sql, migrations: ./migrations}
  - {name: relaxed, type: sql, durability: relaxed, migrations: ./migrations}
";

const TABLE: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL);\n\
                     INSERT INTO t VALUES (1, 'a text of some length');\n";

const SELECT: &str = "SELECT id, a FROM t WHERE id = 1";
const INSERT: &str = "INSERT INTO t (a) VALUES ('a text of some length')";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_ref().and_then(|first| first.to_str()) {
        // The executable that is measured is this one: its own processes start it again.
        Some("wrapper") => embly_wrapper::main(arguments),
        Some("run") => embly::cli::main(),
        rounds => {
            let rounds = rounds.and_then(|rounds| rounds.parse().ok());
            measure(rounds.unwrap_or(ROUNDS));
            ExitCode::SUCCESS
        }
    }
}

fn measure(rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("function.wat"), MODULE).unwrap();
    fs::write(folder.join("embly-project.yml"), PROJECT).unwrap();
    fs::create_dir(folder.join("migrations")).unwrap();
    fs::write(folder.join("migrations/001-table.sql"), TABLE).unwrap();
    let own = Own::start(folder, 1).unwrap();
    println!("| statement | p50 | p99 | a second | the library directly: p50 | p99 | a second |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for (name, store, sql) in [
        ("select of one row", "full", SELECT),
        ("insert, `durability: full`", "full", INSERT),
        ("insert, `durability: relaxed`", "relaxed", INSERT),
    ] {
        let direct = open(&folder.join(format!("direct-{store}.db")), store);
        let (mut over, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            over.extend(ask(&own, store, sql));
            beside.extend(call(&direct, sql));
        }
        println!("| {name} | {} | {} |", figures(over), figures(beside));
    }
}

fn frame(asked: Asked) -> Vec<u8> {
    let message = Request {
        request: Some(asked),
    };
    let message = message.encode_to_vec();
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    // The length of the frame, as the function is told it, and then the frame with its own.
    [
        &length(message.len() + 4)[..],
        &length(message.len()),
        &message,
    ]
    .concat()
}

/// What each took in the function, in nanoseconds.
fn ask(own: &Own, store: &str, sql: &str) -> Vec<u64> {
    let mut stream = TcpStream::connect(own.at[0]).unwrap();
    let open = Asked::Open(Open {
        store: store.to_owned(),
        access: Access::ReadWrite.into(),
    });
    let execute = Asked::Execute(Execute {
        sql: sql.to_owned(),
        ..Execute::default()
    });
    let order = [&COUNT.to_le_bytes()[..], &frame(open), &frame(execute)].concat();
    stream.write_all(&order).unwrap();
    let mut times = Vec::new();
    stream.read_to_end(&mut times).unwrap();
    let times = times.as_chunks().0.iter();
    let times: Vec<u64> = times.map(|nanos| u64::from_le_bytes(*nanos)).collect();
    assert_eq!(times.len(), COUNT as usize, "the function has failed");
    times
}

fn open(path: &Path, durability: &str) -> Connection {
    let fresh = !path.exists();
    let connection = Connection::open(path).unwrap();
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .unwrap();
    let synchronous = if durability == "full" {
        "FULL"
    } else {
        "NORMAL"
    };
    connection
        .pragma_update(None, "synchronous", synchronous)
        .unwrap();
    if fresh {
        connection.execute_batch(TABLE).unwrap();
    }
    connection
}

fn call(connection: &Connection, sql: &str) -> Vec<u64> {
    let once = |_| {
        let since = Instant::now();
        let mut statement = connection.prepare_cached(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            std::hint::black_box((
                row.get::<_, i64>(0).unwrap(),
                row.get::<_, String>(1).unwrap(),
            ));
        }
        drop(rows);
        u64::try_from(since.elapsed().as_nanos()).unwrap()
    };
    (0..COUNT).map(once).collect()
}

/// p50, p99 in microseconds, and how many in a second, one after the other.
fn figures(mut nanos: Vec<u64>) -> String {
    nanos.sort_unstable();
    let at = |part: usize| nanos[(nanos.len() - 1) * part / 100] as f64 / 1000.0;
    let mean = nanos.iter().sum::<u64>() as f64 / nanos.len() as f64;
    format!("{:.1} µs | {:.1} µs | {:.0}", at(50), at(99), 1e9 / mean)
}
