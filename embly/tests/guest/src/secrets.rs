//! Functions that get secrets, and are careless with them.

use embly::{
    Conn, Error, SpawnOptions,
    http::{Body, Request, ResponseWriter},
    prelude::*,
    secret, spawn_with,
};

/// `/WHAT/NAME`: does this with the secret NAME. What goes wrong is the body of a 500.
pub async fn confides(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let path = req.uri().path().to_owned();
    let (what, name) = path[1..].split_once('/').unwrap_or_default();
    let key = match secret(name) {
        Ok(key) => key,
        Err(error) => {
            w.status(500);
            return Ok(write!(w, "{error}")?);
        }
    };
    let value = key.expose();
    match what {
        "tell" => write!(w, "{value}")?,
        "print" => {
            println!("it is {value}, not {key}");
            eprintln!("as {value:?} and {key:?}");
        }
        "pieces" => {
            let (first, last) = value.split_at(value.len() / 2);
            print!("pieces {first}");
            println!("{last}");
        }
        "later" => {
            println!("begun");
            // The client sends it when it is time.
            req.body_mut().bytes()?;
            println!("at last {value}");
            write!(w, "{value}")?;
        }
        "panic" => panic!("the key {value} is wrong"),
        "fail" => return Err(Error::msg(format!("the key {value} is wrong"))),
        "spawn" => {
            let options = SpawnOptions::new("shows-environment").env(name, "of the spawner");
            let mut told = Vec::new();
            spawn_with(&options)?.read_to_end(&mut told)?;
            w.write_all(&told)?;
        }
        "child" => {
            // What a child panics with is told to its parent.
            let child = embly::spawn_function("panics-with-secret")?;
            let status = child.status().map(|exit| exit.detail);
            write!(w, "{}", status.unwrap_or_else(|error| error.to_string()))?;
        }
        other => write!(w, "there is no {other}")?,
    }
    Ok(())
}

/// Panics with it.
pub fn panics(_: Conn) -> Result<(), Error> {
    panic!("the key {} is wrong", secret("KEY")?.expose())
}

/// Answers with what is not HTTP.
pub fn garbles(mut conn: Conn) -> Result<(), Error> {
    Ok(write!(conn, "{}\r\n\r\n", secret("KEY")?.expose())?)
}

/// All variables, sorted.
pub fn environment(mut conn: Conn) -> Result<(), Error> {
    let mut all: Vec<_> = std::env::vars().collect();
    all.sort();
    for (name, value) in all {
        writeln!(conn, "{name}={value}")?;
    }
    Ok(())
}
