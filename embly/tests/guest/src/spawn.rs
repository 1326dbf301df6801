//! Functions that start others.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use embly::http::{Body, Request, ResponseWriter};
use embly::{Conn, Error, block_on, join, join_all, sleep, spawn_and_send, spawn_function};

use crate::script;

/// Starts the function that the path names, passes it the body, and says what it answered and
/// how it ended.
pub fn spawns(mut request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let body = request.body_mut().bytes()?;
    let mut child = match spawn_function(&request.uri().path()[1..]) {
        Ok(child) => child,
        Err(error) => return Ok(write!(w, "not spawned: {error}")?),
    };
    let written = child.write_all(&body).and_then(|()| Ok(child.close()?));
    let mut answer = Vec::new();
    let read = child.read_to_end(&mut answer);
    writeln!(w, "answer: {}", String::from_utf8_lossy(&answer))?;
    writeln!(w, "written: {}", said(&written))?;
    writeln!(w, "read: {}", said(&read.map(drop)))?;
    let exit = child.status()?;
    writeln!(w, "status: {} {} {}", exit.reason, exit.code, exit.detail)?;
    Ok(())
}

fn said(result: &std::io::Result<()>) -> String {
    match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// As many children as the query says, fifty at a time, each read as soon as it has written and
/// then waited for.
pub fn asks_many(request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let count: usize = request.uri().query().unwrap_or("1").parse()?;
    for n in 0..count / 50 {
        let start = |_| spawn_and_send("script", b"x-do: write 41; sleep 20\r\n\r\n");
        let children: Vec<_> = (0..50).map(start).collect::<Result<_, _>>()?;
        let batch = |error: Error| Error::msg(format!("batch {n}: {error}"));
        for child in &children {
            assert_eq!(child.bytes().map_err(batch)?, b"A");
        }
        for child in children {
            assert!(child.status()?.is_ok());
        }
    }
    write!(w, "{count} answers")?;
    Ok(())
}

/// Starts itself, and says how many levels there are below and why no more.
pub fn nests(mut conn: Conn) -> Result<(), Error> {
    // Only the first one is asked something.
    let http = !script::head(&mut conn)?.is_empty();
    let below = match spawn_function("nests") {
        Ok(mut child) => {
            child.close()?;
            let mut text = String::new();
            child.read_to_string(&mut text)?;
            let (levels, why) = text.split_once(' ').expect("a number and a text");
            format!("{} {why}", levels.parse::<u32>()? + 1)
        }
        Err(error) => format!("1 {error}"),
    };
    if http {
        let length = below.len();
        write!(conn, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")?;
    }
    conn.write_all(below.as_bytes())?;
    Ok(())
}

/// Starts children that stay until one is refused; says how many and why.
pub fn crowds(request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let most: u32 = request.uri().query().unwrap_or("1000").parse()?;
    let mut children = Vec::new();
    let why = loop {
        if children.len() as u32 == most {
            break "all are there".to_owned();
        }
        let child = match spawn_and_send("script", b"x-do: write 41; read\r\n\r\n") {
            Ok(child) => child,
            Err(error) => break error.to_string(),
        };
        // A refusal by the master shows at the first read.
        match child.bytes() {
            Ok(_) => children.push(child),
            Err(error) => break error.to_string(),
        }
    };
    write!(w, "{} {why}", children.len())?;
    Ok(())
}

/// Writes to children that have ended, or are about to.
pub fn writes_to_the_dead(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let mut failed = 0;
    let mut written = 0;
    for round in 0..100u64 {
        let mut child = spawn_function("greets")?;
        if round % 3 == 0 {
            child.status()?;
        }
        let failure = loop {
            match child.write(&[1; 4096]) {
                Ok(bytes) => written += bytes,
                Err(error) => break error,
            }
        };
        assert_eq!(failure.kind(), std::io::ErrorKind::BrokenPipe, "{failure}");
        failed += 1;
        // Reading goes on as if nothing had been written.
        let mut answer = String::new();
        child.read_to_string(&mut answer)?;
        assert_eq!(answer, "Embly\n");
    }
    assert!(written > 0);
    write!(w, "{failed} failed")?;
    Ok(())
}

/// Two children that answer after some time, at once.
pub fn joins(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let ask = |milliseconds: u64, answer: char| async move {
        let steps = format!(
            "x-do: sleep {milliseconds}; write {:x}\r\n\r\n",
            answer as u32
        );
        let child = spawn_function("script")?;
        child.send(steps.as_bytes()).await?;
        child.await?;
        child.string()
    };
    let since = Instant::now();
    let (a, b) = block_on(async { join!(ask(1200, 'a'), ask(600, 'b')) });
    write!(w, "{}{} {}", a?, b?, since.elapsed().as_millis())?;
    Ok(())
}

/// Writes to an echoing child while it reads from it, many at once: `?CHILDREN,BYTES`.
pub fn feeds(request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let query = request.uri().query().unwrap_or_default();
    let (children, bytes) = query.split_once(',').expect("two numbers");
    let payload = vec![7; bytes.parse()?];
    let one = || async {
        let child = spawn_function("echo")?;
        let feed = async {
            child.send(&payload).await?;
            child.close()
        };
        let drink = async {
            let mut back = 0;
            loop {
                child.await?;
                match child.bytes()?.len() {
                    0 => return Ok::<usize, Error>(back),
                    n => back += n,
                }
            }
        };
        let (fed, back) = join!(feed, drink);
        fed?;
        back
    };
    let all = (0..children.parse::<usize>()?).map(|_| one());
    let mut sum = 0;
    for back in block_on(join_all(all)) {
        sum += back?;
    }
    write!(w, "{sum}")?;
    Ok(())
}

/// Starts children that write and end, and never reads; says when it is stopped.
pub fn ignores(request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let query = request.uri().query().unwrap_or_default();
    let (most, steps) = query.split_once(',').expect("a number and steps");
    let task = format!("x-do: {}\r\n\r\n", steps.replace('+', " "));
    for n in 0..most.parse()? {
        let child = match spawn_and_send("script", task.as_bytes()) {
            Ok(child) => child,
            Err(error) => return Ok(write!(w, "{n} {error}")?),
        };
        let exit = child.status()?;
        if !exit.is_ok() {
            return Ok(write!(w, "{n} {exit}")?);
        }
    }
    write!(w, "{most} never stopped")?;
    Ok(())
}

/// Ends while a child still runs.
pub fn abandons(_: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let child = spawn_and_send("script", b"x-do: write 41; sleep 60000\r\n\r\n")?;
    child.bytes()?;
    block_on(sleep(Duration::from_millis(1)));
    w.write_all(b"gone")?;
    Ok(())
}
