//! What functions keep in key-value stores.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use support::client::{get, post, put};
use support::kv::Call;
use support::{Embly, Project};

const ALL: &str = "    allow: {kv: [{store: default}]}";

fn project(allow: &str) -> Project {
    let project = Project::new().guest_with("keeps", allow).http("keeps");
    project.store("name: default, type: kv")
}

#[test]
fn what_was_set_is_there_for_others_and_after_the_master_was_killed() {
    let project = project(ALL);
    let embly = Embly::run(&project);
    let at = embly.at("keeps");
    let value = vec![7; 100_000];
    assert_eq!(put(at, "/a", &value).text(), "set");
    assert_eq!(put(at, "/b", b"two").text(), "set");
    assert!(get(at, "/a").body == value);
    let missing = get(at, "/c");
    assert_eq!(missing.status, 500);
    assert!(missing.text().contains("no such key"), "{}", missing.text());
    drop(embly);
    let embly = Embly::run(&project);
    assert!(get(embly.at("keeps"), "/a").body == value);
    assert_eq!(get(embly.at("keeps"), "/b").text(), "two");
}

#[test]
fn a_store_is_closed_to_functions_that_do_not_list_it_and_the_error_names_the_line() {
    for (allow, reads, writes) in [
        ("", false, false),
        (
            "    allow: {kv: [{store: default, access: read}]}",
            true,
            false,
        ),
        (ALL, true, true),
        ("    allow: {kv: [{store: default, prefix: x}]}", true, true),
        (
            "    allow: {kv: [{store: default, prefix: y}]}",
            false,
            false,
        ),
    ] {
        let project = project(allow)
            .guest_with("keeps-too", ALL)
            .http("keeps-too");
        let embly = Embly::run(&project);
        assert_eq!(put(embly.at("keeps-too"), "/x1", b"there").text(), "set");
        let (read, written) = (
            get(embly.at("keeps"), "/x1"),
            put(embly.at("keeps"), "/x2", b"?"),
        );
        for (answer, may, access, key) in [
            (read, reads, "read", "x1"),
            (written, writes, "read-write", "x2"),
        ] {
            assert_eq!(answer.status == 200, may, "{allow}: {}", answer.text());
            let item = format!("{{store: default, access: {access}}}");
            let line = match allow {
                "" => format!("add `kv: [{item}]`"),
                // What is there stays, and the key is known.
                _ if allow.contains("prefix: y") => format!(
                    "write `kv: [{{store: default, prefix: y}}, {{store: default, prefix: {key}, \
                     access: {access}}}]`"
                ),
                _ => format!("write `kv: [{item}]`"),
            };
            let line = format!("{line} under `allow` of function `keeps`");
            assert!(may || answer.text().contains(&line), "{}", answer.text());
        }
    }
}

#[test]
fn a_function_without_a_store_is_told_all_that_is_missing_at_once() {
    let embly = Embly::run(&Project::new().guest("relays").tcp("relays"));
    let (_, ending) = Call::store(embly.at("relays"), "default").end();
    let line = "add `kv: [{store: default, access: read-write}]` under `allow` of function `relays`, \
                and `- {name: default, type: kv}` to `stores`";
    assert!(ending.contains(line), "{ending}");
}

#[test]
fn a_request_of_the_original_is_one_write_and_what_is_wrong_with_it_is_said() {
    let project = Project::new().guest_with("relays", ALL).tcp("relays");
    let embly = Embly::run(&project.store("name: default, type: kv"));
    let at = embly.at("relays");
    let call = |service: &str, frames: &[&[u8]]| {
        let mut call = Call::of(at, service);
        for frame in frames {
            call.write(frame).unwrap();
        }
        call.close();
        call.end()
    };
    let set = |key: &[u8], value: &[u8]| {
        let length = u16::try_from(key.len()).unwrap();
        [&length.to_le_bytes(), key, value].concat()
    };
    let ok = (Vec::new(), "ok 0 ".to_owned());
    assert_eq!(call("embly/kv/set", &[&set(b"empty", b"")]), ok);
    assert_eq!(call("embly/kv/get", &[b"empty"]), ok);
    let longest = vec![b'k'; 10_000];
    assert_eq!(call("embly/kv/set", &[&set(&longest, b"v")]), ok);
    assert_eq!(call("embly/kv/get", &[&longest]).0, b"v");
    // What follows the first write is not read.
    assert_eq!(call("embly/kv/set", &[&set(b"two", b"1"), b"2"]), ok);
    assert_eq!(call("embly/kv/get", &[b"two", b"empty"]).0, b"1");
    let (none, long) = (Vec::new(), vec![b'k'; 10_001]);
    let wrong: [(&str, Vec<Vec<u8>>, u32, &str); 9] = [
        ("get", none.clone(), 28, "ended before a request"),
        ("set", none, 28, "ended before a request"),
        ("set", vec![vec![3]], 28, "a request is one write"),
        (
            "set",
            vec![vec![3, 0], b"abc".to_vec()],
            28,
            "a request is one write",
        ),
        ("set", vec![set(b"", b"v")], 28, "a key is not empty"),
        (
            "get",
            vec![long.clone()],
            1,
            "at most 10000 bytes, not 10001",
        ),
        ("set", vec![set(&long, b"")], 1, "not 10001"),
        ("set", vec![set(b"k", &[0; 100_001])], 1, "not 100001"),
        ("get", vec![b"missing".to_vec()], 44, "no such key"),
    ];
    for (service, frames, errno, says) in wrong {
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let (said, ending) = call(&format!("embly/kv/{service}"), &frames);
        assert!(
            said.is_empty() && ending.starts_with(&format!("refused {errno} ")),
            "{ending}"
        );
        assert!(ending.contains(says), "{ending}");
    }
}

#[test]
fn a_function_uses_all_of_a_store_through_the_sdk() {
    let allow = "    allow: {kv: [default, main]}";
    let project = Project::new().guest_with("stores", allow).http("stores");
    let project = project
        .store("name: default, type: kv")
        .store("name: main, type: kv");
    let embly = Embly::run(&project);
    let at = embly.at("stores");
    let says = |steps: &[(&str, &str)]| {
        let lines: Vec<_> = steps.iter().map(|(step, _)| *step).collect();
        let answer = post(at, "/default", lines.join("\n").as_bytes()).text();
        let expected: String = steps.iter().map(|(_, said)| format!("{said}\n")).collect();
        assert_eq!(answer, expected);
    };
    says(&[
        ("get a", "-"),
        ("set a 1", "set"),
        ("get a", "1"),
        ("increment a 41", "42"),
        ("increment n -5", "-5"),
        ("set a x", "set"),
        (
            "increment a 1",
            "error: the value is not a whole number of 64 bits, so it cannot be incremented",
        ),
        ("swap a y z", "not: x"),
        ("swap a x z", "done"),
        ("swap a z -", "done"),
        ("swap a z -", "not: -"),
        ("swap a - new", "done"),
        ("ttl a", "Forever"),
        ("expire a 100000", "true"),
        ("ttl a", "long"),
        ("expire a never", "true"),
        ("ttl a", "Forever"),
        ("expire missing 5", "false"),
        ("set short s 1", "set"),
        ("set long l 100000", "set"),
        ("delete n", "true"),
        ("delete n", "false"),
        ("batch p/1=a p/2=b p/3=c a", "true"),
        ("list p/ 2", "p/1=a p/2=b | p/3=c"),
        ("list q 2", ""),
        ("move p/1 p/9", "true"),
        ("move p/2 p/8 p/2 changed", "false"),
        ("list p/ 0", "p/2=changed p/3=c p/9=a"),
        ("watch w/ w/1 told", "w/1=told"),
        ("at-once 500", "500"),
    ]);
    // A millisecond has passed since then.
    says(&[
        ("get short", "-"),
        ("ttl short", "Missing"),
        ("ttl long", "long"),
    ]);
    // Stores do not know of each other.
    assert_eq!(post(at, "/main", b"get a\nlist p/ 0").text(), "-\n\n");
}

#[test]
fn a_full_store_refuses_what_would_make_it_larger_and_its_size_changes_with_the_project() {
    let project = Project::new().guest_with("keeps", ALL).http("keeps");
    let project = project.store("name: default, type: kv, size: 1MiB");
    let embly = Embly::start_detached("run", &project);
    let at = embly.at("keeps");
    let value = vec![7; 100_000];
    let set = |n: u32| put(at, &format!("/{n}"), &value);
    let full = (0..).map(set).find(|answer| answer.status != 200).unwrap();
    assert!(
        full.text().contains("may have 1048576 bytes"),
        "{}",
        full.text()
    );
    assert_eq!(put(at, "/0", b"smaller").status, 200);
    project.edit("size: 1MiB", "size: 2MiB");
    embly.signal(rustix::process::Signal::HUP);
    support::eventually("it is larger", || {
        set(50).status == 200 && set(51).status == 200
    });
    assert_eq!(get(at, "/0").text(), "smaller");
}

#[test]
fn a_disk_that_takes_no_more_is_an_error_and_what_was_acknowledged_is_there() {
    let project = Project::new().guest_with("keeps", ALL).http("keeps");
    let project = project.store("name: default, type: kv");
    // So large is no file of the master, and it is told so instead of ended.
    let embly = Embly::limited(&project, "trap '' XFSZ; ulimit -f 16384");
    let at = embly.at("keeps");
    let value = vec![7; 100_000];
    let mut kept = 0;
    let failed = loop {
        let answer = put(at, &format!("/{kept}"), &value);
        if answer.status != 200 {
            break answer;
        }
        kept += 1;
        assert!(kept < 1000, "nothing stops it");
    };
    assert!(
        failed.text().contains("the store failed"),
        "{}",
        failed.text()
    );
    for n in 0..kept {
        assert!(get(at, &format!("/{n}")).body == value, "{n} of {kept}");
    }
    embly.event("message", |it| {
        it["text"].as_str().unwrap().contains("store `default`")
    });
    drop(embly);
    // With room again all of it is there, and more can be kept.
    let embly = Embly::run(&project);
    let at = embly.at("keeps");
    assert!((0..kept).all(|n| get(at, &format!("/{n}")).body == value));
    assert!(!get(at, &format!("/{kept}")).body.starts_with(&value));
    assert_eq!(put(at, "/more", &value).status, 200);
}

#[test]
fn a_file_that_is_no_store_stops_the_start_with_what_to_do() {
    let start = |prepare: fn(&std::path::Path)| {
        let project = project(ALL);
        let file = project.path().join("data/default.kv");
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        prepare(&file);
        let path = project.path().to_str().unwrap();
        let (code, _, said) = support::output(&["run", path, "--bind", "127.0.0.1:0"]);
        assert_eq!(code, 1, "{said}");
        assert!(
            said.contains("cannot open the store `default` in"),
            "{said}"
        );
        said
    };
    let said = start(|file| std::fs::write(file, [7; 5000]).unwrap());
    assert!(said.contains("not a database"), "{said}");
    let said = start(|file| std::fs::create_dir(file).unwrap());
    assert!(said.contains("unable to open"), "{said}");
}

#[test]
fn a_relaxed_store_survives_the_kill_of_the_master() {
    let project = Project::new().guest_with("keeps", ALL).http("keeps");
    let project = project.store("name: default, type: kv, durability: relaxed");
    let embly = Embly::run(&project);
    for n in 0..20 {
        assert_eq!(put(embly.at("keeps"), &format!("/{n}"), b"1").text(), "set");
    }
    drop(embly);
    // It is a full one from now on.
    project.edit("durability: relaxed", "durability: full");
    let embly = Embly::run(&project);
    for n in 0..20 {
        assert_eq!(get(embly.at("keeps"), &format!("/{n}")).text(), "1");
    }
}
