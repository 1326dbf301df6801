//! The master is killed while functions write: every change that was acknowledged is there
//! afterwards, no batch is there in part, and no change that nobody asked for.
//!
//! `EMBLY_KV_ROUNDS=1000 cargo test -p embly --test kv_crash` does so many rounds;
//! `EMBLY_KV_SEED` repeats one run.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protos::services::kv as proto;
use protos::services::kv::{request::What as Ask, response::What as Answer};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::kv::{Call, get, list, set};
use support::{Embly, Project, eventually};

/// Streams that write at the same time.
const WRITERS: u64 = 6;

/// Rounds where only some tests are run, and where all are.
const FEW: u64 = 5;
const MANY: u64 = 100;

/// Keys of a writer: `counter` counts, `a` and `b` are set together, `last` is overwritten with
/// large values.
struct Writer {
    number: u64,
    /// What was acknowledged: the least that must be there.
    acknowledged: BTreeMap<String, u64>,
    /// What was asked for: the most that may be there.
    asked: BTreeMap<String, u64>,
}

impl Writer {
    fn key(&self, name: &str) -> Vec<u8> {
        format!("{}/{name}", self.number).into_bytes()
    }

    /// Writes until the master is gone.
    fn write(&mut self, mut call: Call, random: &mut StdRng, acknowledged: &AtomicU64) {
        let mut under_way = std::collections::VecDeque::new();
        loop {
            let name = ["counter", "pair", "last"][random.random_range(0..3)];
            let next = self.asked.entry(name.to_owned()).or_default();
            *next += 1;
            let n = *next;
            let text = n.to_string();
            let ask = match name {
                "counter" => Ask::Increment(proto::Increment {
                    key: self.key(name).into(),
                    by: 1,
                    ttl_ms: None,
                }),
                "pair" => {
                    let write = |key: &str| {
                        let set = proto::Set {
                            key: self.key(key).into(),
                            value: text.clone().into_bytes().into(),
                            ttl_ms: None,
                        };
                        let what = Some(proto::write::What::Set(set));
                        proto::Write { what }
                    };
                    Ask::Batch(proto::Batch {
                        checks: Vec::new(),
                        writes: vec![write("a"), write("b")],
                    })
                }
                _ => {
                    let padding = " ".repeat(random.random_range(0..20_000));
                    set(&self.key(name), format!("{text}{padding}").as_bytes())
                }
            };
            if call.try_ask(ask).is_err() {
                break;
            }
            under_way.push_back((name, n));
            if under_way.len() >= random.random_range(1..16)
                && !self.answered(&mut call, &mut under_way, acknowledged)
            {
                return;
            }
        }
        // What still comes was acknowledged, too.
        while self.answered(&mut call, &mut under_way, acknowledged) {}
    }

    /// Takes the next answer; whether there was one.
    fn answered(
        &mut self,
        call: &mut Call,
        under_way: &mut std::collections::VecDeque<(&str, u64)>,
        acknowledged: &AtomicU64,
    ) -> bool {
        let Ok(Some(response)) = call.try_response() else {
            return false;
        };
        match response.what.unwrap() {
            Answer::Changed(_) | Answer::Incremented(_) => {}
            Answer::Committed(committed) => assert!(committed.applied),
            other => panic!("{other:?}"),
        }
        let (name, n) = under_way.pop_front().unwrap();
        self.acknowledged.insert(name.to_owned(), n);
        acknowledged.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Sees that all is there, and goes on from it.
    fn check(&mut self, call: &mut Call) {
        let mut number = |name: &str| {
            let Answer::Found(found) = call.answer(get(&self.key(name))) else {
                panic!()
            };
            let value = found.entry.map_or(Vec::new(), |entry| entry.value.to_vec());
            let text = String::from_utf8(value).unwrap();
            text.trim().parse().unwrap_or(0)
        };
        let (a, b) = (number("a"), number("b"));
        assert_eq!(a, b, "a batch is there in part");
        for (name, found) in [
            ("counter", number("counter")),
            ("pair", a),
            ("last", number("last")),
        ] {
            let least = self.acknowledged.get(name).copied().unwrap_or(0);
            let most = self.asked.get(name).copied().unwrap_or(0);
            let who = self.number;
            assert!(
                (least..=most).contains(&found),
                "{who}/{name}: {found}, not {least} to {most}"
            );
            self.acknowledged.insert(name.to_owned(), found);
            self.asked.insert(name.to_owned(), found);
        }
    }
}

#[test]
fn every_acknowledged_change_survives_the_kill_of_the_master() {
    let variable = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let all = std::env::var_os("EMBLY_TEST_ALL").is_some_and(|all| all == "1");
    let rounds = variable("EMBLY_KV_ROUNDS").unwrap_or(if all { MANY } else { FEW });
    let seed = variable("EMBLY_KV_SEED").unwrap_or_else(rand::random);
    eprintln!("EMBLY_KV_SEED={seed} EMBLY_KV_ROUNDS={rounds}");
    let mut random = StdRng::seed_from_u64(seed);
    let keys = "    allow: {kv: [default]}\n    limits: {cpu: none}";
    let project = Project::new().guest_with("relays", keys).tcp("relays");
    let project = project.store("name: default, type: kv");
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer {
            number,
            acknowledged: BTreeMap::new(),
            asked: BTreeMap::new(),
        })
        .collect();
    for round in 0..rounds {
        let embly = Embly::run(&project);
        let at = embly.at("relays");
        let mut call = Call::store(at, "default");
        for writer in &mut writers {
            writer.check(&mut call);
        }
        drop(call);
        let acknowledged = AtomicU64::new(0);
        let pause = Duration::from_micros(random.random_range(0..30_000));
        std::thread::scope(|scope| {
            for writer in &mut writers {
                let mut random = StdRng::seed_from_u64(random.random());
                let acknowledged = &acknowledged;
                // Before anybody can be fast enough for the kill to come.
                let call = Call::store(at, "default");
                scope.spawn(move || writer.write(call, &mut random, acknowledged));
            }
            eventually("changes are acknowledged", || {
                acknowledged.load(Ordering::Relaxed) > WRITERS
            });
            // At any moment of the load, also of a checkpoint.
            std::thread::sleep(pause);
            drop(embly);
        });
        if round % 10 == 9 {
            eprintln!("{} of {rounds}", round + 1);
        }
    }
    let embly = Embly::run(&project);
    let mut call = Call::store(embly.at("relays"), "default");
    for writer in &mut writers {
        writer.check(&mut call);
    }
    let Answer::Page(page) = call.answer(list(b"", b"", 1000)) else {
        panic!()
    };
    assert!(
        page.entries.len() <= 4 * writers.len(),
        "keys that nobody has set"
    );
}
