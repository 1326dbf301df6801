//! What `embly/kv` says on its stream: order, permission, limits, watches, callers that do not speak
//! its protocol.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use protos::services::kv as proto;
use protos::services::kv::event::What as Told;
use protos::services::kv::{request::What as Ask, response::What as Answer};
use support::kv::{Call, get, keys, list, set};
use support::{Embly, Project, eventually};

const EACCES: u32 = 2;
const EINVAL: u32 = 28;
const E2BIG: u32 = 1;
const EAGAIN: u32 = 6;

/// A project with functions that let their clients speak to services.
fn project(keys: &str) -> Project {
    let project = Project::new().guest_with("relays", keys).tcp("relays");
    let all = "    allow: {kv: [main, default]}";
    let project = project.guest_with("relays-too", all).tcp("relays-too");
    project
        .store("name: main, type: kv")
        .store("name: default, type: kv")
}

fn run(keys: &str) -> Embly {
    Embly::run(&project(keys))
}

const MAIN: &str = "    allow: {kv: [main]}";

#[test]
fn answers_come_in_the_order_of_requests_and_see_the_changes_before_them() {
    let embly = run(MAIN);
    let mut call = Call::store(embly.at("relays"), "main");
    let mut asked = Vec::new();
    for n in 0..200_u32 {
        let value = n.to_string();
        asked.push(call.ask(set(b"n", value.as_bytes())));
        if n % 7 == 0 {
            asked.push(call.ask(get(b"n")));
            asked.push(call.ask(get(b"")));
        }
    }
    for (at, id) in asked.iter().enumerate() {
        let response = call.response().unwrap();
        assert_eq!(response.id, *id);
        match response.what.unwrap() {
            Answer::Changed(_) => {}
            // Seven are set, and after the first of them two requests change nothing.
            Answer::Found(found) => {
                assert_eq!(found.entry.unwrap().value, (at / 9 * 7).to_string());
            }
            Answer::Error(error) => assert_eq!(error.errno, EINVAL),
            other => panic!("{other:?}"),
        }
    }
    call.close();
    assert_eq!(call.end(), (Vec::new(), "ok 0 ".to_owned()));
}

#[test]
fn what_a_function_may_do_with_a_store_holds_for_every_operation() {
    let put = |key: &str| {
        let what = proto::Set {
            key: key.to_owned().into(),
            ..proto::Set::default()
        };
        proto::Write {
            what: Some(proto::write::What::Set(what)),
        }
    };
    let batch = |checks: &[&str], writes: &[&str]| {
        let check = |key: &&str| proto::Check {
            key: (*key).to_owned().into(),
            version: 99_999,
        };
        Ask::Batch(proto::Batch {
            checks: checks.iter().map(check).collect(),
            writes: writes.iter().map(|key| put(key)).collect(),
        })
    };
    let watch = |what: proto::watch::What| {
        let what = Some(what);
        Ask::Watch(proto::Watch { what, after: None })
    };
    // Each operation on a key, or all keys that begin so; whether it reads, and writes.
    type Operation<'a> = (&'a str, Box<dyn Fn(&str) -> Ask + 'a>, bool, bool);
    let key = |key: &str| key.to_owned().into();
    let operations: Vec<Operation<'_>> = vec![
        ("get", Box::new(|it| get(it.as_bytes())), true, false),
        (
            "list",
            Box::new(|it| list(it.as_bytes(), b"", 1)),
            true,
            false,
        ),
        (
            "watch",
            Box::new(|it| watch(proto::watch::What::Key(key(it)))),
            true,
            false,
        ),
        (
            "watches",
            Box::new(|it| watch(proto::watch::What::Prefix(key(it)))),
            true,
            false,
        ),
        ("checks", Box::new(|it| batch(&[it], &[])), true, false),
        ("set", Box::new(|it| set(it.as_bytes(), b"v")), false, true),
        (
            "delete",
            Box::new(|it| Ask::Delete(proto::Delete { key: key(it) })),
            false,
            true,
        ),
        (
            "expire",
            Box::new(|it| {
                Ask::Expire(proto::Expire {
                    key: key(it),
                    ttl_ms: Some(9),
                })
            }),
            false,
            true,
        ),
        ("batch", Box::new(|it| batch(&[], &[it])), false, true),
        (
            "transaction",
            Box::new(|it| batch(&[it], &[it])),
            true,
            true,
        ),
        (
            "increment",
            Box::new(|it| {
                Ask::Increment(proto::Increment {
                    key: key(it),
                    by: 1,
                    ttl_ms: None,
                })
            }),
            true,
            true,
        ),
        (
            "swap",
            Box::new(|it| {
                Ask::Swap(proto::Swap {
                    key: key(it),
                    expected: Some(proto::swap::Expected::Version(99_999)),
                    ..proto::Swap::default()
                })
            }),
            true,
            true,
        ),
    ];
    for (allow, prefix, reads, writes) in [
        ("{store: main, access: read}", "", true, false),
        ("{store: main, access: read-write}", "", true, true),
        ("{store: main, prefix: a/, access: read}", "a/", true, false),
        ("{store: main, prefix: a/}", "a/", true, true),
        ("{store: default}", "", false, false),
    ] {
        let embly = run(&format!("    allow: {{kv: [{allow}]}}"));
        let mut call = Call::store(embly.at("relays"), "main");
        if !reads {
            let (_, ending) = call.end();
            assert!(ending.starts_with("refused 2 "), "{ending}");
            let line = format!(
                "write `kv: [{allow}, {{store: main, access: read}}]` under `allow` of function \
                 `relays`"
            );
            assert!(ending.contains(&line), "{ending}");
            continue;
        }
        for (name, operation, does_read, does_write) in &operations {
            for key in ["a/key", "b/key", "a"] {
                let may =
                    key.starts_with(prefix) && (reads || !does_read) && (writes || !does_write);
                let answer = call.answer(operation(key));
                let what = format!("{name} {key} with {allow}: {answer:?}");
                match answer {
                    Answer::Error(error) if !may => {
                        assert_eq!(error.errno, EACCES, "{what}");
                        assert!(
                            error.detail.contains(&format!(
                                "write `kv: [{allow}, {{store: main, prefix: {key}, access: "
                            )),
                            "{what}"
                        );
                    }
                    Answer::Error(error) => {
                        // `v` is no number.
                        assert_eq!(
                            (may, *name, error.errno),
                            (true, "increment", EINVAL),
                            "{what}"
                        );
                    }
                    _ => assert!(may, "{what}"),
                }
                if let Ask::Watch(_) = operation(key) {
                    // It would tell of what the others do.
                    let watch = call.last_id();
                    call.answer(Ask::Unwatch(proto::Unwatch { watch }));
                }
            }
        }
        // One that may not is one of a batch that is not done at all.
        let mixed = call.answer(batch(&[], &["a/new", "b/new"]));
        assert_eq!(
            matches!(mixed, Answer::Committed(_)),
            writes && prefix.is_empty()
        );
        let mut all = Call::store(embly.at("relays-too"), "main");
        let there = keys(&mut all).contains(&b"a/new".to_vec());
        assert_eq!(there, writes && prefix.is_empty());
    }
}

#[test]
fn a_store_that_is_not_there_is_named_with_the_lines_to_add() {
    let embly = run(MAIN);
    let mut call = Call::store(embly.at("relays"), "orders");
    let (_, ending) = call.end();
    assert!(ending.starts_with("refused 44 "), "{ending}");
    for line in [
        "`- {name: orders, type: kv}` to `stores`",
        "`kv: [main, {store: orders, access: read-write}]`",
    ] {
        assert!(ending.contains(line), "{ending}");
    }
    let (_, ending) = Call::store(embly.at("relays"), "No such name").end();
    assert!(ending.starts_with("refused 28 "), "{ending}");
    // No store at all in the project, and nothing allowed.
    let project = Project::new().guest_with("relays", "").tcp("relays");
    let embly = Embly::run(&project);
    for (service, errno) in [("embly/kv/get", 44), ("embly/kv/set", 44), ("embly/kv", 2)] {
        let (_, ending) = Call::of(embly.at("relays"), service).end();
        assert!(ending.starts_with(&format!("refused {errno} ")), "{ending}");
        assert!(
            ending.contains("under `allow` of function `relays`"),
            "{ending}"
        );
    }
}

#[test]
fn whoever_does_not_speak_the_protocol_is_told_so_and_nothing_else_happens() {
    let embly = run(MAIN);
    let at = embly.at("relays");
    let frame = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap();
        [&length.to_le_bytes(), bytes].concat()
    };
    let open = frame(&[10, 4, b'm', b'a', b'i', b'n']);
    for (bytes, says) in [
        (vec![], "ended before its `Open`"),
        (vec![1, 0], "ends within a message"),
        (open[..8].to_vec(), "ends within a message"),
        (u32::MAX.to_le_bytes().to_vec(), "is too long"),
        (frame(&[0xff; 30]), "cannot be read"),
        ([&open[..], &frame(&[0xff; 30])].concat(), "cannot be read"),
        (
            [&open[..], &(256_u32 * 1024 + 1).to_le_bytes()].concat(),
            "is too long",
        ),
    ] {
        let mut call = Call::of(at, "embly/kv");
        if !bytes.is_empty() {
            call.write(&bytes).unwrap();
        }
        call.close();
        let (said, ending) = call.end();
        assert!(
            said.is_empty() && ending.starts_with("refused 28 "),
            "{ending}"
        );
        assert!(ending.contains(says), "{bytes:?}: {ending}");
    }
    // Byte by byte is as good as at once.
    let mut call = Call::of(at, "embly/kv");
    for byte in open {
        call.write(&[byte]).unwrap();
    }
    assert!(matches!(call.answer(get(b"a")), Answer::Found(_)));
    // A request that means nothing is an answer, and the stream goes on.
    let id = 77;
    call.message(&proto::Request { id, what: None }).unwrap();
    assert_eq!(call.response().unwrap().id, 77);
    assert!(matches!(call.answer(get(b"a")), Answer::Found(_)));
}

#[test]
fn what_is_too_large_or_too_many_is_refused_and_the_stream_goes_on() {
    let limits = "    limits: {kv: {batch: 5, page: 7, watches: 2}}";
    let embly = run(&format!("{MAIN}\n{limits}"));
    let mut call = Call::store(embly.at("relays"), "main");
    let writes = |count: usize| {
        let what = Some(proto::write::What::Delete(proto::Delete {
            key: b"a".to_vec().into(),
        }));
        let checks = vec![proto::Check {
            key: b"b".to_vec().into(),
            version: 0,
        }];
        let writes = vec![proto::Write { what }; count - 1];
        Ask::Batch(proto::Batch { checks, writes })
    };
    let ttl = |ttl_ms| {
        Ask::Set(proto::Set {
            key: b"a".to_vec().into(),
            ttl_ms: Some(ttl_ms),
            ..proto::Set::default()
        })
    };
    let watch = || {
        let what = Some(proto::watch::What::Prefix(Vec::new().into()));
        Ask::Watch(proto::Watch { what, after: None })
    };
    for (ask, errno, says) in [
        (set(&[b'k'; 10_001], b""), E2BIG, "10000 bytes"),
        (set(b"k", &[0; 100_001]), E2BIG, "100000 bytes"),
        (set(b"", b""), EINVAL, "not empty"),
        (list(&[b'k'; 10_001], b"", 1), E2BIG, "10000 bytes"),
        (list(b"", b"", 8), E2BIG, "at most 7 entries"),
        (writes(6), E2BIG, "at most 5 checks and writes"),
        (ttl(0), EINVAL, "at least one millisecond"),
        (ttl(u64::MAX), EINVAL, "a thousand years"),
    ] {
        let (got, detail) = call.refused(ask);
        assert_eq!(got, errno, "{detail}");
        assert!(detail.contains(says), "{detail}");
    }
    assert!(matches!(call.answer(writes(5)), Answer::Committed(it) if it.applied));
    for _ in 0..2 {
        assert!(matches!(call.answer(watch()), Answer::Watching(_)));
    }
    assert_eq!(call.refused(watch()).0, EAGAIN);
    // Pages end at their size in bytes, too.
    let mut other = Call::store(embly.at("relays-too"), "main");
    for n in 0..6 {
        other.answer(set(format!("large/{n}").as_bytes(), &[0; 100_000]));
    }
    let Answer::Page(page) = other.answer(list(b"large/", b"", 100)) else {
        panic!()
    };
    assert_eq!((page.entries.len(), &page.next[..]), (2, &b"large/1"[..]));
}

#[test]
fn a_watch_tells_in_order_goes_on_where_it_was_and_says_when_it_fell_behind() {
    let embly = run(MAIN);
    let mut call = Call::store(embly.at("relays"), "main");
    let watch = |after| {
        let what = Some(proto::watch::What::Prefix(b"w/".to_vec().into()));
        Ask::Watch(proto::Watch { what, after })
    };
    let Answer::Watching(began) = call.answer(watch(None)) else {
        panic!()
    };
    let id = 1;
    let mut other = Call::store(embly.at("relays-too"), "main");
    for n in 0..50 {
        other.answer(set(format!("w/{n}").as_bytes(), b"v"));
        other.answer(set(b"other", b"v"));
    }
    let mut last = began.sequence;
    let mut told = Vec::new();
    for n in 0..50 {
        let response = call.response().unwrap();
        assert_eq!(response.id, id);
        let Some(Answer::Event(event)) = response.what else {
            panic!("{response:?}")
        };
        assert!(event.sequence > last);
        last = event.sequence;
        let Some(Told::Set(entry)) = event.what else {
            panic!("{event:?}")
        };
        assert_eq!(entry.key, format!("w/{n}"));
        told.push(last);
    }
    // Another stream goes on after the tenth.
    let mut again = Call::store(embly.at("relays-too"), "main");
    assert!(matches!(
        again.answer(watch(Some(told[9]))),
        Answer::Watching(_)
    ));
    for sequence in &told[10..] {
        let Some(Answer::Event(event)) = again.response().unwrap().what else {
            panic!()
        };
        assert_eq!(event.sequence, *sequence);
    }
    // One that does not read while 40 MB change has missed some, and hears of what comes then.
    for n in 0..400 {
        other.answer(set(b"w/large", &vec![n as u8; 100_000]));
    }
    let mut fell_behind = false;
    let mut events = 0;
    loop {
        let Some(Answer::Event(event)) = call.response().unwrap().what else {
            panic!()
        };
        match event.what {
            Some(Told::FellBehind(_)) => fell_behind = true,
            Some(Told::Set(entry)) => {
                events += 1;
                if entry.value[0] == (399 % 256) as u8 {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(fell_behind && events < 400, "{events}");
    // Numbers of a store that there is no more, or not yet.
    let mut late = Call::store(embly.at("relays-too"), "main");
    late.answer(watch(Some(u64::MAX)));
    let Some(Answer::Event(event)) = late.response().unwrap().what else {
        panic!()
    };
    assert_eq!(event.what, Some(Told::FellBehind(true)));
}

#[test]
fn an_entry_that_has_expired_is_seen_by_nobody_also_after_a_restart() {
    let project = project(MAIN);
    let embly = Embly::run(&project);
    let mut call = Call::store(embly.at("relays"), "main");
    let set_for = |key: &str, ttl| {
        Ask::Set(proto::Set {
            key: key.to_owned().into(),
            value: b"v".to_vec().into(),
            ttl_ms: Some(ttl),
        })
    };
    call.answer(set_for("short", 3000));
    call.answer(set_for("long", 3_600_000));
    assert!(matches!(call.answer(get(b"short")), Answer::Found(it) if it.entry.is_some()));
    drop(embly);
    let embly = Embly::run(&project);
    let mut call = Call::store(embly.at("relays"), "main");
    eventually(
        "it expires",
        || matches!(call.answer(get(b"short")), Answer::Found(it) if it.entry.is_none()),
    );
    assert_eq!(keys(&mut call), [b"long"]);
    let Answer::Found(found) = call.answer(get(b"long")) else {
        panic!()
    };
    let left = found.entry.unwrap().ttl_ms.unwrap();
    assert!((3_500_000..3_599_000).contains(&left), "{left}");
    let swap = proto::Swap {
        key: b"short".to_vec().into(),
        expected: Some(proto::swap::Expected::Absent(true)),
        new: Some(b"again".to_vec().into()),
        ttl_ms: None,
    };
    assert!(matches!(call.answer(Ask::Swap(swap)), Answer::Swapped(it) if it.swapped));
}

#[test]
fn swaps_that_are_answered_with_more_than_there_is_room_for_are_all_answered() {
    let embly = run(MAIN);
    let mut call = Call::store(embly.at("relays"), "main");
    let value = vec![7; 100_000];
    call.answer(set(b"k", &value));
    let swap = || {
        Ask::Swap(proto::Swap {
            key: b"k".to_vec().into(),
            expected: Some(proto::swap::Expected::Absent(true)),
            new: None,
            ttl_ms: None,
        })
    };
    // They tell 10 MB, and 4 MiB may wait.
    let asked: Vec<u64> = (0..100).map(|_| call.ask(swap())).collect();
    for id in asked {
        let response = call.response().unwrap();
        assert_eq!(response.id, id);
        let Answer::Swapped(swapped) = response.what.unwrap() else {
            panic!()
        };
        assert_eq!(swapped.current.unwrap().value, value);
    }
    assert!(matches!(call.answer(get(b"k")), Answer::Found(_)));
}

#[test]
fn a_flood_of_changes_by_one_function_does_not_hold_up_another_nor_fill_the_master() {
    let embly = run(MAIN);
    let before = support::process::peak_memory(embly.pid());
    let done = support::Done::default();
    std::thread::scope(|scope| {
        let at_end = done.at_end();
        for flood in 0..8 {
            let (at, done) = (embly.at("relays"), &done);
            scope.spawn(move || {
                let mut call = Call::store(at, "main");
                let value = vec![flood; 50_000];
                let mut waiting = 0;
                while !done.is_set() {
                    call.ask(set(&[flood], &value));
                    waiting += 1;
                    if waiting > 60 {
                        call.response().unwrap();
                        waiting -= 1;
                    }
                }
            });
        }
        let mut call = Call::store(embly.at("relays-too"), "main");
        eventually(
            "the flood has come",
            || matches!(call.answer(get(&[7])), Answer::Found(it) if it.entry.is_some()),
        );
        for n in 0..100_u32 {
            let asked = std::time::Instant::now();
            call.answer(set(b"other", &n.to_le_bytes()));
            assert!(asked.elapsed().as_secs() < 5, "{:?}", asked.elapsed());
        }
        drop(at_end);
    });
    let grown = support::process::peak_memory(embly.pid()).saturating_sub(before);
    assert!(grown < 256 << 20, "{grown}");
}
