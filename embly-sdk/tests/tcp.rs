//! Connections to other servers, which are handlers here.

#![cfg(feature = "tcp")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use embly_sdk::{
    self as embly, Conn, Error, Reason, join, mock,
    prelude::*,
    tcp::{self, ErrorKind, Tls},
};
use std::time::Duration;

/// Answers each line with the same one in capitals, until the end.
fn shouts(mut conn: Conn) -> Result<(), Error> {
    loop {
        let bytes = conn.bytes()?;
        if bytes.is_empty() {
            return Ok(());
        }
        conn.write_all(&bytes.to_ascii_uppercase())?;
    }
}

#[test]
fn a_connection_reads_and_writes_and_closes_each_direction() {
    mock::tcp::listen("a.example:7", shouts);
    let test = mock::spawn(|mut conn: Conn| -> Result<(), Error> {
        let mut stream = tcp::connect("A.example:7").wait()?;
        assert_eq!(stream.peer(), "192.0.2.1:7");
        assert_eq!(stream.alpn(), None);
        stream.write_all(b"one")?;
        assert_eq!(stream.conn().bytes()?, b"ONE");
        stream.write_all(b"two")?;
        stream.close_write()?;
        let mut rest = String::new();
        (&stream).read_to_string(&mut rest)?;
        assert_eq!(rest, "TWO");
        Ok(conn.write_all(b"done")?)
    });
    assert_eq!(test.string().unwrap(), "done");
}

#[test]
fn reading_and_writing_go_on_at_once() {
    mock::tcp::listen("echo:7", shouts);
    let test = mock::spawn(|mut conn: Conn| async move {
        let stream = tcp::connect_tls("echo:7").await?;
        let payload = vec![b'x'; 1 << 20];
        let write = async {
            stream.send(&payload).await?;
            stream.close_write()
        };
        let read = async {
            let mut count = 0;
            loop {
                match stream.receive().await?.len() {
                    0 => return Ok::<_, Error>(count),
                    n => count += n,
                }
            }
        };
        let (written, read) = join!(write, read);
        written?;
        write!(conn, "{}", read?)?;
        Ok::<_, Error>(())
    });
    assert_eq!(test.string().unwrap(), (1 << 20).to_string());
}

#[test]
fn why_there_is_no_connection_has_a_kind() {
    let kinds = |addresses: &'static [&'static str]| {
        let test = mock::spawn(move |mut conn: Conn| -> Result<(), Error> {
            for address in addresses {
                let error = tcp::connect(address).wait().unwrap_err();
                let text = error.to_string();
                assert!(text.contains(address), "{text}");
                writeln!(conn, "{:?}", error.kind())?;
            }
            Ok(())
        });
        let mut text = String::new();
        let mut test = test;
        test.read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(kinds(&["nobody.example:7"]), "Refused\n");
    assert_eq!(
        kinds(&["x", "x:", "x:0", "x:y", "x:70000"]),
        "Invalid\n".repeat(5)
    );
    for (reason, code, kind) in [
        (Reason::Refused, 2, ErrorKind::NotAllowed),
        (Reason::Refused, 6, ErrorKind::NoRoom),
        (Reason::Refused, 28, ErrorKind::Invalid),
        (Reason::Wall, 0, ErrorKind::Timeout),
        (Reason::Trap, 134, ErrorKind::Other),
    ] {
        mock::function("embly/tcp", move |_: Conn| {
            mock::end(reason, code, "said why")
        });
        let test = mock::spawn(move |_: Conn| {
            let error = tcp::connect("a:1").wait().unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains("said why"), "{error}");
            let io: std::io::Error = error.into();
            assert!(io.to_string().contains("said why"));
        });
        assert!(test.status().unwrap().is_ok());
    }
}

#[test]
fn a_connection_that_broke_never_looks_whole() {
    mock::tcp::listen("breaks:1", |mut conn: Conn| {
        conn.write_all(b"half of").unwrap();
        mock::end(Reason::Exit, 1, "cut")
    });
    let test = mock::spawn(|_: Conn| {
        let mut stream = tcp::connect("breaks:1").wait().unwrap();
        let mut text = Vec::new();
        let error = stream.read_to_end(&mut text).unwrap_err();
        assert_eq!(text, b"half of");
        assert!(error.to_string().contains("cut"), "{error}");
    });
    assert!(test.status().unwrap().is_ok());
}

/// Says `S` to the request, then speaks in capitals.
fn upgrades(mut conn: Conn) -> Result<(), Error> {
    assert_eq!(conn.bytes()?, b"tls?");
    conn.write_all(b"S")?;
    shouts(conn)
}

#[test]
fn a_connection_changes_to_tls_or_stays_without() {
    mock::tcp::listen("up:1", upgrades);
    let test = mock::spawn(|mut conn: Conn| async move {
        for tls in [true, false] {
            let mut plain = tcp::connect_starttls("up:1").await?;
            plain.send(b"tls?").await?;
            assert_eq!(plain.receive().await?, b"S");
            let stream = match tls {
                true => plain.start_tls(&Tls::new().server_name("x")).await?,
                false => plain.stay_plain().await?,
            };
            stream.send(b"secret").await?;
            conn.write_all(&stream.receive().await?)?;
        }
        Ok::<_, Error>(())
    });
    let mut test = test;
    let mut text = String::new();
    test.read_to_string(&mut text).unwrap();
    assert_eq!(text, "SECRETSECRET");
}

#[test]
fn what_came_before_tls_is_not_taken_for_what_comes_after() {
    mock::tcp::listen("stuffs:1", |mut conn: Conn| -> Result<(), Error> {
        conn.bytes()?;
        conn.write_all(b"S")?;
        embly::sleep(Duration::from_secs(1)).wait();
        conn.write_all(b"stuffed")?;
        shouts(conn)
    });
    let test = mock::spawn(|_: Conn| async move {
        let mut plain = tcp::connect_starttls("stuffs:1").await.unwrap();
        plain.send(b"tls?").await.unwrap();
        assert_eq!(plain.receive().await.unwrap(), b"S");
        embly::sleep(Duration::from_secs(2)).await;
        let error = plain.start_tls(&Tls::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls);
    });
    assert!(test.status().unwrap().is_ok());
}

#[test]
fn a_stream_that_is_dropped_is_closed_and_one_that_is_aborted_breaks() {
    mock::tcp::listen("waits:1", |conn: Conn| -> Result<(), Error> {
        while !conn.bytes()?.is_empty() {}
        Ok(())
    });
    let test = mock::spawn(|_: Conn| {
        let stream = tcp::connect("waits:1").wait().unwrap();
        let conn = stream.conn();
        drop(stream);
        assert!(conn.status().unwrap().is_ok());
        let stream = tcp::connect("waits:1").wait().unwrap();
        let conn = stream.conn();
        stream.abort();
        assert_eq!(conn.status().unwrap().reason, Reason::Killed);
        // Given up before it was there.
        drop(tcp::connect("waits:1"));
    });
    assert!(test.status().unwrap().is_ok());
}
