//! Every function that the end-to-end tests run: one crate, and a function does what its name
//! says (the name is the first argument).

mod asks;
mod attacks;
mod falls;
mod faults;
mod kv;
mod names;
mod permissions;
mod script;
mod secrets;
mod services;
mod spawn;
mod sql;
mod tcp;
mod warnings;
mod wasi;
mod web;
mod websocket;

use std::io::Write;

use embly::{Conn, Error, http, websocket as ws};

fn main() -> Result<(), Error> {
    let name = std::env::args().next().unwrap_or_default();
    match name.as_str() {
        "hello" => http::run(web::hello),
        "counts" => http::run(web::counts),
        "forwards" => http::run_catch_error(web::forwards),
        "guards" | "guards-too" => http::run_catch_error(web::guards),
        "goes-astray" => embly::run_catch_error(web::goes_astray),
        "fails" => http::run(web::fails),
        "fails-caught" => http::run_catch_error(web::fails),
        "fails-late" => http::run_catch_error(web::fails_late),
        "measures" => http::run(web::measures),
        "mirrors" => http::run(web::mirrors),
        "pours" => http::run(web::pours),
        "trailers" => http::run(web::trailers),
        "shows" => embly::run(web::shows),
        "reports" => embly::run(web::reports),
        "says" => embly::run(web::says),
        "events" => http::run(web::events),
        "tells" => http::run(wasi::tells),
        "calls-services" => http::run(services::calls),
        "digs" => embly::run(services::digs),
        "opens" => http::run(services::opens),
        "echo" => embly::run(echo),
        "greets" => embly::run(greets),
        "script" => embly::run(script::run),
        "socket" | "socket-too" => ws::run(websocket::socket),
        "deaf" => ws::run(websocket::deaf),
        "mirror" => ws::run(websocket::mirror),
        "spawns" => http::run(spawn::spawns),
        "asks-many" => http::run(spawn::asks_many),
        "nests" => embly::run(spawn::nests),
        "crowds" => http::run(spawn::crowds),
        "writes-to-the-dead" => http::run(spawn::writes_to_the_dead),
        "joins" => http::run(spawn::joins),
        "feeds" => http::run(spawn::feeds),
        "ignores" => http::run(spawn::ignores),
        "abandons" => http::run(spawn::abandons),
        "asks" | "asks-too" => http::run(asks::asks),
        "asks-through" => http::run(asks::relays),
        "repeats" => http::run(asks::repeats),
        "board" => embly::run(names::board),
        "keeps" | "keeps-too" => http::run(kv::keeps),
        "dials" | "dials-too" => http::run(tcp::dials),
        "tunnels" => embly::run(tcp::tunnels),
        "confides" | "confides-too" | "knows-nothing" => http::run(secrets::confides),
        "panics-with-secret" => embly::run(secrets::panics),
        "garbles-secret" => embly::run(secrets::garbles),
        "shows-environment" => embly::run(secrets::environment),
        permits if permits.starts_with("permits-") => http::run(permissions::permits),
        "relays" | "relays-too" => embly::run(kv::relays),
        "stores" | "stores-too" => http::run(kv::stores),
        "queries" | "queries-too" => embly::run_catch_error(sql::queries),
        "values" => http::run_catch_error(sql::values),
        "raw-sql" => embly::run_catch_error(sql::raw),
        "falls" => http::run(falls::falls),
        "visits" => http::run(names::visits),
        "talks" => http::run(names::talks),
        "echo-host" => embly::run(names::echo_host),
        "registers" | "registers-too" => http::run(names::registers),
        "kills" => http::run(names::kills),
        "monitors" => http::run(names::monitors),
        "detaches" => http::run(names::detaches),
        "lingers" => embly::run(names::lingers),
        "starves" => http::run(names::starves),
        "opts" => http::run(names::opts),
        "bare" => embly::run(names::bare),
        "beats" | "beats-too" => embly::run(names::beats),
        "crashes" => names::crashes(),
        "says-goodbye" => http::run(warnings::says_goodbye),
        "waves" => embly::run(warnings::waves),
        "computes" => http::run(warnings::computes),
        "panics" => panic!("no luck"),
        other if attacks::NAMES.contains(&other) => attacks::run(other),
        other if faults::NAMES.contains(&other) => faults::run(other),
        other => {
            eprintln!("there is no guest {other}");
            std::process::exit(70)
        }
    }
}

fn echo(mut conn: Conn) -> Result<(), Error> {
    loop {
        let bytes = conn.bytes()?;
        if bytes.is_empty() {
            return Ok(());
        }
        conn.write_all(&bytes)?;
    }
}

fn greets(mut conn: Conn) -> Result<(), Error> {
    conn.write_all(b"Embly\n")?;
    Ok(())
}
