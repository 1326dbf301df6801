//! Connections: reading, the end, and what is told apart there.

use embly_sdk as embly;

use embly::{Conn, Error, Reason, mock, prelude::*, sleep, spawn_and_send, spawn_function};
use std::{
    io::ErrorKind,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

fn echo(mut conn: Conn) -> Result<(), Error> {
    loop {
        let bytes = conn.bytes()?;
        if bytes.is_empty() {
            return Ok(());
        }
        conn.write_all(&bytes)?;
    }
}

#[test]
fn an_echo_answers_again_and_again() {
    let mut conn = mock::spawn(echo);
    for text in ["one", "two"] {
        conn.write_all(text.as_bytes()).unwrap();
        assert_eq!(conn.string().unwrap(), text);
    }
    conn.close().unwrap();
    assert_eq!(conn.bytes().unwrap(), b"");
    assert!(conn.status().unwrap().is_ok());
}

#[test]
fn reading_to_the_end_waits_for_the_end() {
    let mut conn = mock::spawn(|mut conn: Conn| async move {
        conn.write_all(b"first ")?;
        sleep(Duration::from_secs(60)).await;
        conn.write_all(b"second")
    });
    let mut text = String::new();
    conn.read_to_string(&mut text).unwrap();
    assert_eq!(text, "first second");
}

#[test]
fn a_split_character_is_held_back() {
    let conn = mock::spawn(|mut conn: Conn| -> Result<(), Error> {
        for piece in [&b"a\xe2"[..], b"\x82", b"\xacb", b"c"] {
            conn.write_all(piece)?;
            sleep(Duration::from_secs(1)).wait();
        }
        Ok(())
    });
    // The second piece alone makes no character.
    let texts: Vec<_> = (0..4).map(|_| conn.string().unwrap()).collect();
    assert_eq!(texts, ["a", "€b", "c", ""]);
}

#[test]
fn a_held_back_piece_is_not_lost() {
    let conn = mock::spawn(|mut conn: Conn| conn.write_all(b"a\xe2\x82"));
    assert_eq!(conn.string().unwrap(), "a");
    let error = conn.string().unwrap_err();
    assert!(error.to_string().contains("utf-8"), "{error}");
    assert_eq!(conn.bytes().unwrap(), b"\xe2\x82");
    assert_eq!(conn.string().unwrap(), "");
}

#[test]
fn what_is_not_text_can_be_read_as_bytes() {
    let conn = mock::spawn(|mut conn: Conn| conn.write_all(b"a\xffb"));
    assert!(conn.string().is_err());
    assert_eq!(conn.bytes().unwrap(), b"a\xffb");
}

#[test]
fn half_close_exit_0_and_a_trap_are_told_apart() {
    let half = mock::spawn(|mut conn: Conn| {
        conn.write_all(b"half")?;
        conn.close()?;
        conn.read_to_end(&mut Vec::new())?; // lives on
        Ok::<(), Error>(())
    });
    assert_eq!(half.bytes().unwrap(), b"half");
    assert_eq!(half.bytes().unwrap(), b"");
    half.close().unwrap();
    assert!(half.status().unwrap().is_ok());

    let exits = mock::spawn(|mut conn: Conn| conn.write_all(b"whole"));
    assert_eq!(exits.bytes().unwrap(), b"whole");
    assert_eq!(exits.bytes().unwrap(), b"");

    let mut traps = mock::spawn(|mut conn: Conn| {
        conn.write_all(b"part").unwrap();
        panic!("on purpose");
    });
    assert_eq!(traps.bytes().unwrap(), b"part");
    for _ in 0..2 {
        let error = traps.bytes().unwrap_err();
        let exit = error.exit().expect("the error carries the ending");
        assert_eq!(
            (exit.reason, exit.detail.as_str()),
            (Reason::Trap, "on purpose")
        );
    }
    assert!(traps.wait().unwrap_err().exit().is_some());
    assert!(traps.read(&mut [0; 8]).unwrap_err().get_ref().is_some());
    assert_eq!(traps.status().unwrap().reason, Reason::Trap);
}

#[test]
fn an_error_of_a_handler_is_exit_1() {
    let conn = mock::spawn(|_: Conn| Err::<(), _>(Error::msg("no")));
    let exit = conn.status().unwrap();
    assert_eq!((exit.reason, exit.code), (Reason::Exit, 1));
    assert_eq!(conn.bytes().unwrap_err().exit(), Some(&exit));
}

#[test]
fn an_unknown_name_is_refused_when_it_is_read() {
    let conn = spawn_function("nobody").unwrap();
    let error = conn.bytes().unwrap_err();
    let exit = error.exit().unwrap();
    assert_eq!((exit.reason, exit.code), (Reason::Refused, 44));
    let error: std::io::Error = error.into();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn too_many_children_are_refused_at_once() {
    mock::function("waits", |conn: Conn| conn.wait());
    let children: Vec<_> = (0..64).map(|_| spawn_function("waits").unwrap()).collect();
    let error = spawn_function("waits").unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
    children[0].close().unwrap();
    children[0].status().unwrap();
    let again = spawn_function("waits").unwrap();
    assert_ne!(again, children[0]);
}

#[test]
fn writing_to_one_that_has_ended_says_how_it_ended() {
    let mut conn = mock::spawn(|_: Conn| mock::end(Reason::Memory, 0, ""));
    conn.status().unwrap();
    let error = Error::from(conn.write_all(b"hello?").unwrap_err());
    assert_eq!(error.exit().unwrap().reason, Reason::Memory);

    let mut conn = mock::spawn(|_: Conn| ());
    conn.status().unwrap();
    assert_eq!(
        conn.write(b"hello?").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[test]
fn a_writer_waits_for_credit() {
    let mut conn = mock::spawn(|conn: Conn| async move {
        sleep(Duration::from_secs(5)).await;
        let mut all = Vec::new();
        { conn }
            .read_to_end(&mut all)
            .map(|n| assert_eq!(n, 1_000_000))
    });
    conn.write_all(&vec![1; 1_000_000]).unwrap();
    assert!(mock::now().as_secs() >= 5);
    conn.close().unwrap();
    assert!(conn.status().unwrap().is_ok());
}

#[test]
fn spawn_and_send_gives_the_child_the_bytes() {
    mock::function("echo", echo);
    let conn = spawn_and_send("echo", b"hi").unwrap();
    assert_eq!(conn.string().unwrap(), "hi");
}

#[test]
fn children_end_with_their_parent() {
    static ENDED: AtomicBool = AtomicBool::new(false);
    struct Flag;
    impl Drop for Flag {
        fn drop(&mut self) {
            ENDED.store(true, Ordering::Relaxed);
        }
    }
    mock::function("grandchild", |mut conn: Conn| {
        let _flag = Flag;
        conn.write_all(b"started")?;
        conn.read_to_end(&mut Vec::new()).map(drop)
    });
    let conn = mock::spawn(|mut conn: Conn| -> Result<(), Error> {
        let grandchild = spawn_function("grandchild")?;
        conn.write_all(&grandchild.bytes()?)?;
        Ok(())
    });
    assert_eq!(conn.string().unwrap(), "started");
    assert!(conn.status().unwrap().is_ok());
    sleep(Duration::from_secs(1)).wait();
    assert!(ENDED.load(Ordering::Relaxed));
}
