//! Functions that mean harm, each in one way.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use embly::{Conn, Error, spawn_function};

/// Their names.
pub const NAMES: &[&str] = &[
    "loops",
    "calls",
    "waits-for-ever",
    "waits-for-credit",
    "eats-memory",
    "recurses",
    "logs-for-ever",
    "breeds",
    "floods-its-parent",
    "floods",
    "floods-its-child",
    "writes-single-bytes",
    "single-bytes",
    "never-reads",
    "leaves-a-child",
];

/// Runs the function of this name. None of them returns, but for the last.
pub fn run(name: &str) -> Result<(), Error> {
    match name {
        // Who does harm before it has looked at anything is taken for broken, and not started for
        // a while.
        "loops" | "calls" | "eats-memory" | "recurses" => {
            let name = name.to_owned();
            embly::run_catch_error(move |parent: Conn| {
                parent.bytes()?;
                consumes(&name)
            })
        }
        "waits-for-ever" | "never-reads" => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        "waits-for-credit" => writes_for_ever(&[7; 1000], spawn_function("never-reads")?),
        "floods-its-child" => writes_for_ever(&[7; 100_000], spawn_function("never-reads")?),
        "floods" => embly::run_catch_error(|parent: Conn| writes_for_ever(&[7; 100_000], parent)),
        "single-bytes" => embly::run_catch_error(|parent: Conn| writes_for_ever(b"x", parent)),
        "floods-its-parent" => reads_nothing_of("floods"),
        "writes-single-bytes" => reads_nothing_of("single-bytes"),
        "logs-for-ever" => loop {
            println!("and another thing");
        },
        "breeds" => loop {
            // Its children do the same; refusals change nothing.
            let _ = spawn_function("breeds");
        },
        "leaves-a-child" => embly::run_catch_error(leaves_a_child),
        _ => std::process::exit(3),
    }
}

fn consumes(name: &str) -> Result<(), Error> {
    match name {
        "loops" => loop {
            black_box(0);
        },
        "calls" => loop {
            black_box(Instant::now());
        },
        "eats-memory" => {
            let mut eaten = Vec::new();
            loop {
                eaten.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        _ => {
            black_box(deeper(0));
            Ok(())
        }
    }
}

fn writes_for_ever(bytes: &[u8], mut to: Conn) -> Result<(), Error> {
    loop {
        to.write_all(bytes)?;
    }
}

/// Computes while its child writes.
fn reads_nothing_of(child: &str) -> Result<(), Error> {
    let _child = spawn_function(child)?;
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn deeper(level: u64) -> u64 {
    let here = black_box([level; 64]);
    deeper(level + 1) + here[1]
}

/// Starts a child that does not end, answers, and ends.
fn leaves_a_child(mut parent: Conn) -> Result<(), Error> {
    let child = spawn_function("loops")?;
    child.close()?;
    parent.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nleft")?;
    Ok(())
}
