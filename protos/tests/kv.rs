//! The bytes of the messages of `embly/kv`. Functions in other languages read and write them: they
//! change only by what old ones pass over.

#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;
use prost::Message;
use protos::services::kv::{
    Batch, Changed, Check, Committed, Delete, Entry, Error, Event, Expire, Found, Get, Increment,
    Incremented, List, Open, Page, Request, Response, Set, Swap, Swapped, Unwatch, Unwatched,
    Watch, Watching, Write, event, request, response, swap, watch, write,
};

fn hex(message: &impl Message) -> String {
    let bytes = message.encode_to_vec();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key() -> bytes::Bytes {
    bytes::Bytes::from_static(b"k")
}

fn value() -> bytes::Bytes {
    bytes::Bytes::from_static(b"v")
}

fn set() -> Set {
    Set {
        key: key(),
        value: value(),
        ttl_ms: Some(1000),
    }
}

fn entry() -> Entry {
    Entry {
        key: key(),
        value: value(),
        version: 7,
        ttl_ms: Some(1000),
    }
}

#[test]
fn requests_have_these_bytes() {
    use request::What::{self, *};
    let request = |what: What| Request {
        id: 5,
        what: Some(what),
    };
    assert_eq!(
        hex(&Open {
            store: "main".to_owned()
        }),
        "0a046d61696e"
    );
    let swap = |expected, new| {
        Swap(self::Swap {
            key: key(),
            expected: Some(expected),
            new,
            ttl_ms: None,
        })
    };
    let watch = |what, after| {
        Watch(self::Watch {
            what: Some(what),
            after,
        })
    };
    for (what, bytes) in [
        (
            Get(self::Get {
                key: key(),
                without_value: true,
            }),
            "080512050a016b1001",
        ),
        (Set(set()), "08051a090a016b12017618e807"),
        (Delete(self::Delete { key: key() }), "080522030a016b"),
        (
            swap(swap::Expected::Absent(true), Some(value())),
            "08052a080a016b10012a0176",
        ),
        (
            swap(swap::Expected::Value(value()), None),
            "08052a060a016b1a0176",
        ),
        (swap(swap::Expected::Version(7), None), "08052a050a016b2007"),
        (
            Increment(self::Increment {
                key: key(),
                by: -1,
                ttl_ms: None,
            }),
            "080532050a016b1001",
        ),
        (
            Expire(self::Expire {
                key: key(),
                ttl_ms: Some(9),
            }),
            "08053a050a016b1009",
        ),
        (
            List(self::List {
                prefix: key(),
                after: value(),
                limit: 3,
                without_values: true,
            }),
            "0805420a0a016b12017618032001",
        ),
        (
            Batch(self::Batch {
                checks: vec![Check {
                    key: key(),
                    version: 7,
                }],
                writes: vec![
                    Write {
                        what: Some(write::What::Set(set())),
                    },
                    Write {
                        what: Some(write::What::Delete(self::Delete { key: key() })),
                    },
                ],
            }),
            "08054a1b0a050a016b1007120b0a090a016b12017618e807120512030a016b",
        ),
        (watch(watch::What::Key(key()), None), "080552030a016b"),
        (
            watch(watch::What::Prefix(key()), Some(7)),
            "0805520512016b1807",
        ),
        (Unwatch(self::Unwatch { watch: 5 }), "08055a020805"),
    ] {
        let request = request(what);
        assert_eq!(hex(&request), bytes, "{request:?}");
        assert_eq!(
            Request::decode(&request.encode_to_vec()[..]).unwrap(),
            request
        );
    }
}

#[test]
fn responses_have_these_bytes() {
    use response::What::{self, *};
    let response = |what: What| Response {
        id: 5,
        what: Some(what),
    };
    let changed = || self::Changed {
        existed: true,
        version: 7,
    };
    let event = |what| {
        Event(self::Event {
            sequence: 7,
            what: Some(what),
        })
    };
    for (what, bytes) in [
        (
            Error(self::Error {
                errno: 2,
                detail: "no".to_owned(),
            }),
            "08051206080212026e6f",
        ),
        (
            Found(self::Found {
                entry: Some(entry()),
            }),
            "08051a0d0a0b0a016b120176180720e807",
        ),
        (Found(self::Found { entry: None }), "08051a00"),
        (Changed(changed()), "0805220408011007"),
        (
            Swapped(self::Swapped {
                swapped: true,
                version: 7,
                current: None,
            }),
            "08052a0408011007",
        ),
        (
            Incremented(self::Incremented {
                value: -1,
                version: 7,
            }),
            "0805320408011007",
        ),
        (Expiry(changed()), "08053a0408011007"),
        (
            Page(self::Page {
                entries: vec![entry()],
                next: key(),
            }),
            "080542100a0b0a016b120176180720e80712016b",
        ),
        (
            Committed(self::Committed {
                applied: false,
                version: 0,
                failed: 2,
            }),
            "08054a021802",
        ),
        (Watching(self::Watching { sequence: 7 }), "080552020807"),
        (Unwatched(self::Unwatched { existed: true }), "08055a020801"),
        (
            event(event::What::Set(entry())),
            "0805620f0807120b0a016b120176180720e807",
        ),
        (event(event::What::Deleted(key())), "0805620508071a016b"),
        (event(event::What::Expired(key())), "08056205080722016b"),
        (event(event::What::FellBehind(true)), "0805620408072801"),
    ] {
        let response = response(what);
        assert_eq!(hex(&response), bytes, "{response:?}");
        assert_eq!(
            Response::decode(&response.encode_to_vec()[..]).unwrap(),
            response
        );
    }
}

fn some_bytes() -> impl Strategy<Value = bytes::Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Into::into)
}

prop_compose! {
    fn some_set()(
        key in some_bytes(), value in some_bytes(), ttl_ms in any::<Option<u64>>(),
    ) -> Set {
        Set { key, value, ttl_ms }
    }
}

fn some_request() -> impl Strategy<Value = Request> {
    let expected = prop_oneof![
        any::<bool>().prop_map(swap::Expected::Absent),
        some_bytes().prop_map(swap::Expected::Value),
        any::<u64>().prop_map(swap::Expected::Version),
    ];
    let check = (some_bytes(), any::<u64>()).prop_map(|(key, version)| Check { key, version });
    let write = prop_oneof![
        some_set().prop_map(write::What::Set),
        some_bytes().prop_map(|key| write::What::Delete(Delete { key })),
    ];
    let write = prop::option::of(write).prop_map(|what| Write { what });
    let what = prop_oneof![
        (some_bytes(), any::<bool>())
            .prop_map(|(key, without_value)| request::What::Get(Get { key, without_value })),
        some_set().prop_map(request::What::Set),
        (
            some_bytes(),
            prop::option::of(expected),
            prop::option::of(some_bytes()),
            any::<Option<u64>>()
        )
            .prop_map(|(key, expected, new, ttl_ms)| {
                request::What::Swap(Swap {
                    key,
                    expected,
                    new,
                    ttl_ms,
                })
            }),
        (some_bytes(), any::<i64>(), any::<Option<u64>>())
            .prop_map(|(key, by, ttl_ms)| request::What::Increment(Increment { key, by, ttl_ms })),
        (
            prop::collection::vec(check, 0..4),
            prop::collection::vec(write, 0..4)
        )
            .prop_map(|(checks, writes)| request::What::Batch(Batch { checks, writes })),
        (some_bytes(), any::<Option<u64>>()).prop_map(|(key, after)| {
            let what = Some(watch::What::Key(key));
            request::What::Watch(Watch { what, after })
        }),
    ];
    (any::<u64>(), prop::option::of(what)).prop_map(|(id, what)| Request { id, what })
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(request in some_request()) {
        let bytes = request.encode_to_vec();
        prop_assert_eq!(Request::decode(&bytes[..]).unwrap(), request);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // What is read can be written, and is then the same.
        if let Ok(request) = Request::decode(&bytes[..]) {
            let again = Request::decode(&request.encode_to_vec()[..]).unwrap();
            prop_assert_eq!(again, request);
        }
        let _ = (Open::decode(&bytes[..]), Response::decode(&bytes[..]));
    }

    #[test]
    fn a_message_that_is_cut_is_never_taken_for_another_of_its_length(
        request in some_request(), cut in 0_usize..20,
    ) {
        let bytes = request.encode_to_vec();
        let cut = bytes.len().saturating_sub(cut + 1);
        if let Ok(short) = Request::decode(&bytes[..cut]) {
            prop_assert!(short.encoded_len() <= cut);
        }
    }
}
