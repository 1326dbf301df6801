//! Keys and values, with the stand-in of the mock.

#![cfg(feature = "kv")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use embly_sdk as embly;

use embly::{
    Conn, Error, join_all,
    kv::{self, Change, Expected, Store, Swapped, Ttl},
    mock,
    prelude::*,
};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Runs this as a function, and sees that it ends well.
fn function<F: Future<Output = Result<(), Error>> + 'static>(body: fn() -> F) {
    let conn = mock::spawn(move |_: Conn| body());
    assert_eq!(conn.status().unwrap().reason, embly::Reason::Ok);
}

#[test]
fn every_operation_does_what_its_name_says() {
    function(|| async {
        let store = Store::open("main")?;
        assert_eq!(store.get(b"a").await?, None);
        let version = store.set(b"a", b"1").await?;
        let entry = store.entry(b"a").await?.unwrap();
        assert_eq!(
            (&entry.value[..], entry.version, entry.ttl),
            (&b"1"[..], version, None)
        );
        assert_eq!(store.increment(b"a", -3).await?, -2);
        assert!(store.increment(b"a", i64::MIN).await.is_err());
        assert_eq!(store.increment_for(b"n", 1, SECOND).await?, 1);
        let Swapped::Not(Some(current)) = store.swap(b"a", Expected::Absent, Some(b"x")).await?
        else {
            panic!()
        };
        assert_eq!(current.value, b"-2");
        let Swapped::Done(version) = store.swap(b"a", Expected::Value(b"-2"), Some(b"x")).await?
        else {
            panic!()
        };
        let expected = Expected::Version(version);
        assert_eq!(store.swap(b"a", expected, None).await?, Swapped::Done(0));
        assert_eq!(store.swap(b"a", expected, None).await?, Swapped::Not(None));
        store.swap_for(b"a", Expected::Absent, b"y", SECOND).await?;
        assert_eq!(store.ttl(b"a").await?, Ttl::For(SECOND));
        assert!(store.delete(b"a").await?);
        assert!(!store.delete(b"a").await?);
        Ok(())
    });
    assert_eq!(mock::kv::entries("main"), [(b"n".to_vec(), b"1".to_vec())]);
    assert_eq!(mock::kv::ttl("main", b"n"), Some(SECOND));
    assert_eq!(mock::kv::entries("other"), []);
}

#[test]
fn an_entry_expires_by_the_clock_of_the_mock() {
    function(|| async {
        let store = Store::open("main")?;
        store.set_for(b"a", b"1", SECOND).await?;
        store.set_for(b"b", b"1", SECOND).await?;
        assert_eq!(store.ttl(b"a").await?, Ttl::For(SECOND));
        assert!(store.expire(b"b", None).await?);
        assert!(!store.expire(b"c", Some(SECOND)).await?);
        embly::sleep(SECOND - Duration::from_millis(1)).await;
        assert_eq!(store.get(b"a").await?.unwrap(), b"1");
        embly::sleep(Duration::from_millis(1)).await;
        assert_eq!(store.get(b"a").await?, None);
        assert_eq!(store.ttl(b"a").await?, Ttl::Missing);
        assert_eq!(store.ttl(b"b").await?, Ttl::Forever);
        Ok(())
    });
}

#[test]
fn several_requests_run_at_once_over_one_stream_and_in_plain_functions() {
    function(|| async {
        let store = Store::open("main")?;
        let spawned = mock::calls().spawn;
        let sets = (0..100).map(|n| store.set(format!("{n:02}").as_bytes(), b"ho"));
        for set in join_all(sets.collect::<Vec<_>>()).await {
            set?;
        }
        // Answers may be asked for in any order, or not at all.
        let (first, second) = (store.get(b"00"), store.get(b"01"));
        drop(store.get(b"02"));
        assert!(second.await?.is_some() && first.await?.is_some());
        assert_eq!(mock::calls().spawn, spawned);
        Ok(())
    });
    mock::spawn(|_: Conn| {
        let store = Store::open("main")?;
        let one = store.get(b"00");
        assert_eq!(store.get(b"99").wait()?.unwrap(), b"ho");
        assert_eq!(one.wait()?.unwrap(), b"ho");
        Ok::<_, Error>(())
    })
    .wait()
    .unwrap();
}

#[test]
fn a_list_comes_in_pages() {
    for n in 0..5 {
        mock::kv::set("main", format!("p/{n}").as_bytes(), b"v");
    }
    mock::kv::set("main", b"q", b"v");
    function(|| async {
        let store = Store::open("main")?;
        let (mut keys, mut after) = (Vec::new(), Vec::new());
        loop {
            let page = store.list(b"p/", &after, 2).await?;
            keys.extend(page.entries.into_iter().map(|entry| entry.key));
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        assert_eq!(keys, [b"p/0", b"p/1", b"p/2", b"p/3", b"p/4"]);
        let page = store.keys(b"", b"p/3", 0).await?;
        assert!(page.entries.len() == 2 && page.entries[0].value.is_empty());
        Ok(())
    });
}

#[test]
fn a_batch_and_a_transaction_are_done_whole_or_not_at_all() {
    function(|| async {
        let store = Store::open("main")?;
        let done = store
            .batch()
            .set(b"a", b"1")
            .set_for(b"b", b"2", SECOND)
            .commit()
            .await?;
        assert!(done.applied);
        let version = store.entry(b"a").await?.unwrap().version;
        assert!(
            !store
                .batch()
                .check(b"a", version + 9)
                .delete(b"a")
                .commit()
                .await?
                .applied
        );
        assert!(
            store
                .batch()
                .check(b"a", version)
                .delete(b"b")
                .commit()
                .await?
                .applied
        );

        let mut transaction = store.transaction();
        assert_eq!(transaction.get(b"a").await?.unwrap(), b"1");
        assert_eq!(transaction.get(b"missing").await?, None);
        transaction.set(b"a", b"2");
        assert_eq!(transaction.get(b"a").await?.unwrap(), b"2");
        // Somebody is faster.
        store.set(b"missing", b"no more").await?;
        assert!(!transaction.commit().await?.applied);
        assert_eq!(store.get(b"a").await?.unwrap(), b"1");

        let mut transaction = store.transaction();
        transaction.get(b"a").await?;
        transaction.set_for(b"a", b"3", SECOND);
        transaction.delete(b"missing");
        assert!(transaction.commit().await?.applied);
        assert_eq!(store.get(b"missing").await?, None);
        Ok(())
    });
}

#[test]
fn a_watch_tells_what_others_change_and_what_expires() {
    function(|| async {
        let store = Store::open("main")?;
        let mut watch = store.watch_prefix(b"w/", None).await?;
        let mut one = store.watch_key(b"w/b", None).await?;
        let other = mock::spawn(|_: Conn| async {
            let store = Store::open("main")?;
            store.set_for(b"w/a", b"1", SECOND).await?;
            store.set(b"x", b"1").await?;
            store.set(b"w/b", b"2").await?;
            store.delete(b"w/b").await?;
            Ok::<_, Error>(())
        });
        other.await?;
        let mut changes = Vec::new();
        for _ in 0..4 {
            changes.push(watch.next().await?);
        }
        let what = |at: usize| &changes[at].change;
        assert!(
            matches!(what(0), Change::Set(entry) if entry.key == b"w/a" && entry.value == b"1")
        );
        assert!(matches!(what(1), Change::Set(entry) if entry.key == b"w/b"));
        assert_eq!(*what(2), Change::Deleted(b"w/b".to_vec()));
        assert_eq!(*what(3), Change::Expired(b"w/a".to_vec()));
        assert!(changes.is_sorted_by_key(|event| event.sequence));
        assert!(matches!(one.next().await?.change, Change::Set(_)));
        // One who comes back goes on where it was.
        let mut again = store.watch_prefix(b"w/", Some(changes[1].sequence)).await?;
        assert_eq!(again.next().await?, changes[2]);
        drop((watch, one, again));
        store.set(b"w/a", b"1").await?;
        Ok(())
    });
}

#[test]
fn what_is_refused_says_so_and_leaves_the_stream_as_it_is() {
    function(|| async {
        let store = Store::open("main")?;
        let error = store.get(b"").await.unwrap_err();
        let failure: &kv::Failure = error.downcast_ref().unwrap();
        assert_eq!(
            (failure.errno, &failure.detail[..]),
            (28, "a key is not empty")
        );
        store.set(b"a", b"x").await?;
        assert!(store.increment(b"a", 1).await.is_err());
        assert_eq!(store.get(b"a").await?.unwrap(), b"x");
        Ok(())
    });
    // A store that ends the stream: every answer says how.
    mock::function("embly/kv", |_: Conn| {
        mock::end(embly::Reason::Refused, 2, "not yours")
    });
    function(|| async {
        let store = Store::open("main")?;
        for answer in join_all([store.get(b"a"), store.get(b"b")]).await {
            let error = answer.unwrap_err();
            assert_eq!(error.exit().unwrap().detail, "not yours");
        }
        Ok(())
    });
}

#[test]
fn the_calls_of_the_original_use_the_store_default() {
    mock::kv::set("default", b"a", b"1");
    let conn = mock::spawn(|mut conn: Conn| async move {
        kv::set(b"b", b"2").await?;
        conn.write_all(&kv::get(b"a").await?)?;
        let missing = kv::get(b"c").await.unwrap_err();
        assert_eq!(missing.exit().unwrap().code, 44);
        Ok::<_, Error>(())
    });
    assert_eq!(conn.string().unwrap(), "1");
    assert_eq!(mock::kv::get("default", b"b").unwrap(), b"2");
}
