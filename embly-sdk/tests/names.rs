//! Names: who is found, who finds, and what becomes of the streams between them.

#![allow(clippy::unwrap_used, reason = "a test may")]

use embly_sdk as embly;

use embly::{
    Conn, Error, Reason, SpawnOptions, accept, kill, lookup, mock, monitor, prelude::*, register,
    sleep, spawn_function, spawn_with, unregister,
};
use std::{io::ErrorKind, time::Duration};

/// Adds each line to those that there are, and answers with all of them.
async fn board(mut parent: Conn) -> Result<(), Error> {
    register("board")?;
    parent.write_all(b"here")?;
    let mut lines = String::new();
    loop {
        let mut visitor = accept().await;
        visitor.read_to_string(&mut lines)?;
        visitor.write_all(lines.as_bytes())?;
        visitor.close()?;
    }
}

/// A board that has its name.
fn start_board() -> Conn {
    let board = mock::spawn(board);
    assert_eq!(board.string().unwrap(), "here");
    board
}

fn post(line: &str) -> Result<String, Error> {
    let mut board = lookup("board")?;
    board.write_all(line.as_bytes())?;
    board.close()?;
    let mut lines = String::new();
    board.read_to_string(&mut lines)?;
    Ok(lines)
}

fn kind(result: Result<impl Sized, Error>) -> ErrorKind {
    let error = result.map(drop).unwrap_err();
    std::io::Error::from(error).kind()
}

#[test]
fn who_takes_a_name_is_found_by_it() {
    let _board = start_board();
    assert_eq!(post("one ").unwrap(), "one ");
    assert_eq!(post("two ").unwrap(), "one two ");
    // From another invocation as well.
    mock::function("visitor", |mut conn: Conn| -> Result<(), Error> {
        Ok(conn.write_all(post("three")?.as_bytes())?)
    });
    let visitor = spawn_function("visitor").unwrap();
    assert_eq!(visitor.string().unwrap(), "one two three");
}

#[test]
fn a_plain_function_accepts_as_well() {
    let host = mock::spawn(|mut parent: Conn| -> Result<(), Error> {
        register("host")?;
        parent.write_all(b"here")?;
        accept().wait().write_all(b"welcome")?;
        Ok(())
    });
    host.wait().unwrap();
    let mut visit = lookup("host").unwrap();
    visit.write_all(b"hello?").unwrap();
    assert_eq!(visit.string().unwrap(), "welcome");
    assert!(visit.status().unwrap().is_ok());
}

#[test]
fn a_taken_name_is_an_error_and_free_again_at_the_end() {
    let first = start_board();
    assert_eq!(kind(register("board")), ErrorKind::AlreadyExists);
    kill(first).unwrap();
    assert_eq!(first.status().unwrap().reason, Reason::Killed);
    register("board").unwrap();
    register("board").unwrap();
    unregister("board").unwrap();
    assert_eq!(kind(unregister("board")), ErrorKind::NotFound);
}

#[test]
fn a_name_that_nobody_has_is_refused_when_it_is_read() {
    let nobody = lookup("nobody").unwrap();
    let exit = nobody.status().unwrap();
    assert_eq!((exit.reason, exit.code), (Reason::Refused, 44));
    register("itself").unwrap();
    assert_eq!(lookup("itself").unwrap().status().unwrap().code, 28);
}

#[test]
fn what_is_no_name_is_an_error() {
    for name in ["", "Board", "a b", "embly/kv", &"a".repeat(64)] {
        assert_eq!(kind(register(name)), ErrorKind::InvalidInput, "{name}");
        assert_eq!(kind(lookup(name)), ErrorKind::InvalidInput, "{name}");
    }
}

#[test]
fn a_visit_is_over_when_both_have_closed_it() {
    let _board = start_board();
    let mut visit = lookup("board").unwrap();
    visit.write_all(b"x").unwrap();
    visit.close().unwrap();
    assert!(visit.status().unwrap().is_ok());
    assert_eq!(visit.string().unwrap(), "x");
}

#[test]
fn the_end_of_who_was_looked_up_reaches_the_visitor() {
    mock::function("host", |mut parent: Conn| -> Result<(), Error> {
        register("host")?;
        parent.write_all(b"here")?;
        drop(accept().wait().bytes()?);
        mock::end(Reason::Memory, 0, "too many visitors")
    });
    let host = spawn_function("host").unwrap();
    host.wait().unwrap();
    let mut visit = lookup("host").unwrap();
    let silent = lookup("host").unwrap();
    visit.write_all(b"hi").unwrap();
    let error = visit.bytes().unwrap_err();
    assert_eq!(error.exit().unwrap().reason, Reason::Memory);
    assert_eq!(silent.status().unwrap().reason, Reason::Memory);
}

#[test]
fn who_monitors_learns_of_the_end_after_the_visit() {
    let board = start_board();
    let mut visit = lookup("board").unwrap();
    let end = monitor(visit);
    visit.write_all(b"x").unwrap();
    visit.close().unwrap();
    assert_eq!(visit.string().unwrap(), "x");
    sleep(Duration::from_secs(1)).wait();
    kill(board).unwrap();
    assert_eq!(end.wait().unwrap().reason, Reason::Killed);
}

#[test]
fn a_child_is_awaited_with_others() {
    mock::function("slow", |_: Conn| async {
        sleep(Duration::from_secs(5)).await;
        mock::end(Reason::Wall, 0, "")
    });
    let child = spawn_function("slow").unwrap();
    let exit = embly::block_on(async {
        let (exit, ()) = embly::join!(monitor(child), sleep(Duration::from_secs(2)));
        exit
    });
    assert_eq!(exit.unwrap().reason, Reason::Wall);
}

#[test]
fn only_a_child_is_killed() {
    let _board = start_board();
    let visit = lookup("board").unwrap();
    assert_eq!(kind(kill(visit)), ErrorKind::PermissionDenied);
    let parents = mock::spawn(|parent: Conn| {
        assert_eq!(kind(kill(parent)), ErrorKind::PermissionDenied);
    });
    assert!(parents.status().unwrap().is_ok());
    // One that has ended stays as it was.
    kill(parents).unwrap();
    assert!(parents.status().unwrap().is_ok());
}

#[test]
fn a_detached_child_outlives_its_parent() {
    mock::function("worker", |_: Conn| async {
        register("worker").unwrap();
        accept().await.write_all(b"still here")
    });
    let parent = mock::spawn(|_: Conn| -> Result<(), Error> {
        spawn_with(&SpawnOptions::new("worker").detached())?;
        sleep(Duration::from_secs(1)).wait();
        Ok(())
    });
    assert!(parent.status().unwrap().is_ok());
    let mut visit = lookup("worker").unwrap();
    visit.write_all(b"?").unwrap();
    assert_eq!(visit.string().unwrap(), "still here");
}

#[test]
fn sixty_four_streams_by_name_are_the_most() {
    let _board = start_board();
    let visits: Vec<_> = (0..64).map(|_| lookup("board").unwrap()).collect();
    assert_eq!(kind(lookup("board")), ErrorKind::ResourceBusy);
    visits[0].close().unwrap();
    assert!(visits[0].status().unwrap().is_ok());
    lookup("board").unwrap();
}
