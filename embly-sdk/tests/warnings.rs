//! Limits that are nearly reached, as a function hears of them.

#![allow(clippy::unwrap_used, reason = "a test may")]

use embly_sdk as embly;

use embly::{Conn, Limit, join, mock, on_warning, prelude::*, warned, warning};
use std::time::Duration;

#[test]
fn a_warning_calls_back_while_the_function_waits_for_something_else() {
    let conn = mock::spawn(|mut conn: Conn| {
        on_warning(move |limit| writeln!(conn, "goodbye at {limit}").unwrap());
        assert!(conn.bytes().unwrap().is_empty());
    });
    for limit in [Limit::Wall, Limit::Total] {
        mock::warn(conn, limit);
        assert_eq!(conn.string().unwrap(), format!("goodbye at {limit}\n"));
    }
    conn.close().unwrap();
    assert!(conn.status().unwrap().is_ok());
}

#[test]
fn a_warning_is_a_future_beside_others() {
    let conn = mock::spawn(|mut conn: Conn| async move {
        let (limit, ()) = join!(warning(), embly::sleep(Duration::from_secs(5)));
        write!(conn, "{limit} after {:?}", mock::now()).unwrap();
    });
    mock::warn(conn, Limit::Background);
    assert_eq!(conn.string().unwrap(), "background after 5s");
}

#[test]
fn a_loop_that_computes_can_look_and_hears_each_warning_once() {
    let conn = mock::spawn(|mut conn: Conn| {
        assert_eq!(warned(), None);
        conn.write_all(b"ready").unwrap();
        assert!(conn.bytes().unwrap().is_empty());
        assert_eq!(warned(), Some(Limit::Cpu));
        assert_eq!(warned(), None);
    });
    assert_eq!(conn.string().unwrap(), "ready");
    mock::warn(conn, Limit::Cpu);
    conn.close().unwrap();
    assert!(conn.status().unwrap().is_ok());
}
