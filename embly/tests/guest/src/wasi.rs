//! What a function gets from WASI.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use embly::Error;
use embly::http::{Body, Request, ResponseWriter};

/// One line for each thing.
pub fn tells(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let args: Vec<String> = std::env::args().collect();
    writeln!(w, "args={}", args.join(","))?;
    for (key, value) in std::env::vars() {
        writeln!(w, "env {key}={value}")?;
    }
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    writeln!(w, "time={seconds}")?;
    let before = Instant::now();
    std::thread::sleep(Duration::from_millis(20));
    writeln!(w, "slept={}", before.elapsed().as_millis())?;
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 1);
    writeln!(w, "random={random:016x}")?;
    let error = |what: &dyn std::fmt::Debug| format!("{what:?}");
    writeln!(w, "open={}", error(&File::open("/etc/passwd").err()))?;
    writeln!(w, "create={}", error(&File::create("x").err()))?;
    writeln!(w, "list={}", error(&std::fs::read_dir("/").err()))?;
    writeln!(w, "connect={}", TcpStream::connect("127.0.0.1:1").is_err())?;
    let read = std::io::stdin().lines().count();
    writeln!(w, "stdin={read}")?;
    println!("to the log");
    eprintln!("to the log as an error");
    print!("without an end of line");
    Ok(())
}
