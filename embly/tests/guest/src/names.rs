//! Functions that take names, and look them up; and those that end in their own ways.

use std::io::{Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use embly::http::{Body, Request, ResponseWriter};
use embly::{
    Conn, Error, SpawnOptions, accept, block_on, kill, lookup, monitor, register, sleep,
    spawn_and_send, spawn_with, unregister,
};

/// Takes the name `board`, keeps the lines that visitors bring, and shows each of them all.
/// `do STEP` is done instead.
pub fn board(_: Conn) -> Result<(), Error> {
    register("board")?;
    println!("open");
    let mut lines = String::new();
    loop {
        let mut visitor = accept().wait();
        let mut line = String::new();
        visitor.read_to_string(&mut line)?;
        match line.trim().strip_prefix("do ") {
            Some("trap") => core::arch::wasm32::unreachable(),
            Some("panic") => panic!("no luck"),
            Some("exit") => std::process::exit(3),
            Some("end") => return Ok(()),
            Some("leave") => unregister("board")?,
            Some(other) => panic!("no such step: {other}"),
            None => lines += &line,
        }
        // One that has left does not mind.
        let _ = visitor.write_all(lines.as_bytes());
        let _ = visitor.close();
    }
}

/// Looks up the name in the path, brings it the body, and says what it answered and how it ended.
pub fn visits(mut request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let body = request.body_mut().bytes()?;
    let mut host = match lookup(&request.uri().path()[1..]) {
        Ok(host) => host,
        Err(error) => return Ok(write!(w, "not looked up: {error}")?),
    };
    let sent = host.write_all(&body).and_then(|()| Ok(host.close()?));
    let mut answer = String::new();
    let read = host.read_to_string(&mut answer);
    writeln!(w, "answer: {answer}")?;
    if let Err(error) = sent.and(read.map(drop)) {
        writeln!(w, "error: {error}")?;
    }
    let exit = host.status()?;
    writeln!(w, "status: {} {} {}", exit.reason, exit.code, exit.detail)?;
    Ok(())
}

/// A long talk with the one who answers as `echo-host`: as many bytes as the query says.
pub fn talks(request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let bytes: usize = request.uri().query().unwrap_or("0").parse()?;
    let host = lookup("echo-host")?;
    let back = block_on(async {
        let feed = async {
            host.send(&vec![7; bytes]).await?;
            host.close()
        };
        let drink = async {
            let mut back = 0;
            loop {
                host.await?;
                match host.bytes()?.len() {
                    0 => return Ok::<usize, Error>(back),
                    n => back += n,
                }
            }
        };
        let (fed, back) = embly::join!(feed, drink);
        fed?;
        back
    })?;
    write!(w, "{back}")?;
    Ok(())
}

/// Gives each visitor back what it says, one after the other.
pub async fn echo_host(_: Conn) -> Result<(), Error> {
    register("echo-host")?;
    println!("open");
    loop {
        let visitor = accept().await;
        loop {
            visitor.await?;
            let bytes = visitor.bytes()?;
            if bytes.is_empty() {
                break;
            }
            visitor.send(&bytes).await?;
        }
        visitor.close()?;
    }
}

/// Takes the name in the path and says whether it could; holds it as long as the query says, in
/// milliseconds.
pub fn registers(request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let name = &request.uri().path()[1..];
    match register(name) {
        Ok(()) => {
            println!("held");
            write!(w, "mine")?;
        }
        Err(error) => write!(w, "{error}")?,
    }
    embly::http::Flusher::flush_response(&mut w)?;
    let hold: u64 = request.uri().query().unwrap_or("0").parse()?;
    block_on(sleep(Duration::from_millis(hold)));
    Ok(())
}

/// Ends a child that would go on, and says how it ended; then tries it with others.
pub fn kills(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let child = spawn_and_send("script", b"x-do: write 41; sleep 60000\r\n\r\n")?;
    child.bytes()?;
    kill(child)?;
    let exit = child.status()?;
    writeln!(w, "{} {}", exit.reason, exit.detail)?;
    kill(child)?;
    writeln!(w, "again: {}", child.status()?.reason)?;
    let board = lookup("board")?;
    writeln!(w, "board: {}", kill(board).unwrap_err())?;
    Ok(())
}

/// Visits the board and leaves; then has it end, and says how it did.
pub fn monitors(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let mut board = lookup("board")?;
    let end = monitor(board);
    board.write_all(b"hello")?;
    board.close()?;
    board.read_to_end(&mut Vec::new())?;
    let mut last = lookup("board")?;
    last.write_all(b"do exit")?;
    last.close()?;
    let exit = end.wait()?;
    writeln!(w, "{} {}", exit.reason, exit.code)?;
    let late = monitor(last).wait()?;
    writeln!(w, "{} {}", late.reason, late.code)?;
    Ok(())
}

/// Starts a child that outlives it.
pub fn detaches(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let child = spawn_with(&SpawnOptions::new("lingers").detached())?;
    write!(w, "{}", child.string()?)?;
    Ok(())
}

/// Stays when its parent has ended, tells how, and answers one visitor.
pub fn lingers(mut parent: Conn) -> Result<(), Error> {
    register("lingers")?;
    parent.write_all(b"here")?;
    let exit = parent.status()?;
    println!("parent: {}", exit.reason);
    let mut visitor = accept().wait();
    visitor.read_to_end(&mut Vec::new())?;
    write!(visitor, "parent: {}", exit.reason)?;
    Ok(())
}

/// Starts `bare` with options, and says what that says.
pub fn opts(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let options = SpawnOptions::new("bare")
        .arg("one")
        .arg("two")
        .env("COLOUR", "blue")
        .memory(3 << 20)
        .levels(0);
    write!(w, "{}", spawn_with(&options)?.string()?)?;
    Ok(())
}

/// Starts `hello` with too little memory to begin, again and again; says how it ended.
pub fn starves(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    for _ in 0..8 {
        let child = spawn_with(&SpawnOptions::new("hello").memory(1))?;
        write!(w, "{} ", child.status()?.reason)?;
    }
    Ok(())
}

/// Says what it was started with.
pub fn bare(mut parent: Conn) -> Result<(), Error> {
    let args: Vec<String> = std::env::args().collect();
    let colour = std::env::var("COLOUR").unwrap_or_default();
    let child = embly::spawn_function("bare").unwrap_err();
    // In one frame, since it is read by one `string`.
    parent.write_all(format!("{} {colour}; {child}", args.join(" ")).as_bytes())?;
    Ok(())
}

/// Prints a line, and ends as its environment says.
pub fn beats(mut parent: Conn) -> Result<(), Error> {
    println!("beat");
    match std::env::var("CODE").as_deref() {
        Ok("trap") => core::arch::wasm32::unreachable(),
        Ok("stay") => {
            let end = parent.bytes()?;
            println!("parent said {}", end.len());
            parent.write_all(b"into the void")?;
            block_on(sleep(Duration::from_secs(600)));
        }
        Ok("nap") => block_on(sleep(Duration::from_millis(2500))),
        Ok(code) => std::process::exit(code.parse()?),
        Err(_) => {}
    }
    Ok(())
}

/// Fails at its start, before it has read anything, until the time in its environment.
pub fn crashes() -> Result<(), Error> {
    let until: u128 = std::env::var("UNTIL_MS")?.parse()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    assert!(now >= until, "the database is not there");
    embly::http::run(|_: Request<Body>, mut w: ResponseWriter| w.write_all(b"well"))
}
