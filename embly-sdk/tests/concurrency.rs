//! Several things at once, in async style and mixed with blocking calls.

use embly_sdk as embly;

use embly::{Conn, Error, join, join_all, mock, prelude::*, sleep, spawn_function};
use std::time::Duration;

const MB: usize = 1024 * 1024;

fn after(seconds: u64) -> impl Fn(Conn) -> Result<(), Error> {
    move |mut conn| {
        sleep(Duration::from_secs(seconds)).wait();
        write!(conn, "after {seconds} s")?;
        Ok(())
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

async fn answer(name: &str) -> Result<String, Error> {
    let conn = spawn_function(name)?;
    conn.await?;
    conn.string()
}

#[test]
fn two_children_that_take_2_s_and_1_s_take_2_s() {
    mock::reset();
    mock::function("two", after(2));
    mock::function("one", after(1));
    let (two, one) = embly::block_on(async { join!(answer("two"), answer("one")) });
    assert_eq!(
        (two.unwrap(), one.unwrap()),
        ("after 2 s".into(), "after 1 s".into())
    );
    assert_eq!(mock::now(), Duration::from_secs(2));
}

#[test]
fn the_join_of_the_futures_crate_does_as_well() {
    mock::reset();
    mock::function("two", after(2));
    mock::function("one", after(1));
    let (two, one) = embly::block_on(async { futures::join!(answer("two"), answer("one")) });
    assert!(two.is_ok() && one.is_ok());
    assert_eq!(mock::now(), Duration::from_secs(2));
}

#[test]
fn writing_10_mb_to_an_echo_while_reading_from_it_does_not_deadlock() {
    let conn = mock::spawn(echo);
    let data: Vec<u8> = (0..10 * MB).map(|n| (n % 251) as u8).collect();
    let writes = async {
        conn.send(&data).await?;
        conn.close()
    };
    let reads = async {
        let mut all = Vec::new();
        loop {
            conn.await?;
            match conn.bytes()? {
                bytes if bytes.is_empty() => return Ok::<_, Error>(all),
                bytes => all.extend(bytes),
            }
        }
    };
    let (wrote, read) = embly::block_on(async { join!(writes, reads) });
    wrote.unwrap();
    assert!(read.unwrap() == data);
}

#[test]
fn the_same_with_the_traits_of_futures() {
    use futures::{AsyncReadExt, AsyncWriteExt};
    let conn = mock::spawn(echo);
    let data = vec![7; 10 * MB];
    let (mut writer, mut reader, mut all) = (conn, conn, Vec::new());
    embly::block_on(async {
        let writes = async {
            AsyncWriteExt::write_all(&mut writer, &data).await?;
            AsyncWriteExt::close(&mut writer).await
        };
        let reads = AsyncReadExt::read_to_end(&mut reader, &mut all);
        let (wrote, read) = futures::join!(writes, reads);
        wrote.unwrap();
        read.unwrap();
    });
    assert!(all == data);
}

#[test]
fn a_blocking_call_loses_no_event_of_the_others() {
    mock::reset();
    mock::function("two", after(2));
    mock::function("one", after(1));
    embly::block_on(async {
        let one = spawn_function("one").unwrap();
        let blocks = async {
            one.await.unwrap();
            // Blocks: what happens to `two` meanwhile arrives in here.
            assert!(one.status().unwrap().is_ok());
            spawn_function("two").unwrap().string().unwrap()
        };
        let (blocked, two) = join!(blocks, answer("two"));
        assert_eq!(
            (blocked, two.unwrap()),
            ("after 2 s".into(), "after 2 s".into())
        );
    });
    assert_eq!(mock::now(), Duration::from_secs(3));
}

#[test]
fn many_children_at_once() {
    mock::reset();
    mock::function("one", after(1));
    let answers = embly::block_on(join_all((0..60).map(|_| answer("one"))));
    assert!(answers.into_iter().all(|it| it.unwrap() == "after 1 s"));
    assert_eq!(mock::now(), Duration::from_secs(1));
}

#[test]
fn several_futures_may_wait_for_one_stream() {
    let conn = mock::spawn(|mut conn: Conn| conn.write_all(b"x"));
    let (a, b) = embly::block_on(async { join!(conn, conn) });
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(conn.bytes().unwrap(), b"x");
}

#[test]
fn waiting_does_not_spin() {
    mock::reset();
    let conn = mock::spawn(after(3600));
    embly::block_on(async {
        for _ in 0..10 {
            sleep(Duration::from_secs(1)).await;
        }
        conn.await.unwrap();
    });
    let calls = mock::calls();
    assert!(calls.events < 20 && calls.read < 10, "{calls:?}");
}

#[test]
#[should_panic(expected = "all wait for each other")]
fn a_deadlock_is_told() {
    let conn = mock::spawn(|conn: Conn| conn.wait());
    let _ = conn.wait();
}

#[test]
#[should_panic(expected = "can never go on")]
fn a_future_that_nothing_can_wake_is_told() {
    mock::reset();
    embly::block_on(std::future::pending::<()>());
}
