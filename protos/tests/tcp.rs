//! The messages of the service `embly/tcp`, byte for byte: functions in other languages write them
//! too.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use protos::services::tcp::{
    Answer, Error, Kind, Open, Opened, Step, Tls, answer, step::Step as Is,
};

#[track_caller]
fn golden<M: Message + Default + PartialEq + std::fmt::Debug>(message: &M, hex: &str) {
    let bytes = message.encode_to_vec();
    let shown: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown, hex.replace(' ', ""));
    assert_eq!(
        &M::decode(bytes.as_slice()).expect("its own bytes"),
        message
    );
}

fn tls() -> Tls {
    Tls {
        server_name: "b".to_owned(),
        alpn: vec!["h2".to_owned(), "x".to_owned()],
    }
}

#[test]
fn the_bytes_of_each_message() {
    let open = Open {
        host: "a.example".to_owned(),
        port: 5432,
        tls: None,
        starttls: false,
    };
    golden(&open, "0a09 612e6578616d706c65 10b82a");
    let open = Open {
        host: "a".to_owned(),
        port: 1,
        tls: Some(tls()),
        starttls: true,
    };
    golden(&open, "0a0161 1001 1a0a 0a0162 12026832 120178 2001");
    let opened = Opened {
        peer: "192.0.2.1:1".to_owned(),
        alpn: "h2".to_owned(),
    };
    let opened = Answer {
        answer: Some(answer::Answer::Opened(opened)),
    };
    golden(&opened, "0a11 0a0b 3139322e302e322e313a31 12026832");
    let error = Error {
        kind: Kind::Tls.into(),
        message: "no".to_owned(),
    };
    let error = Answer {
        answer: Some(answer::Answer::Error(error)),
    };
    golden(&error, "1206 0805 12026e6f");
    let step = |is| Step { step: Some(is) };
    golden(&step(Is::Data(Bytes::from_static(b"hi"))), "0a02 6869");
    golden(&step(Is::StartTls(tls())), "120a 0a0162 12026832 120178");
    golden(&step(Is::StayPlain(true)), "1801");
    golden(&step(Is::Answer(error)), "2208 1206 0805 12026e6f");
    golden(&Open::default(), "");
}

#[test]
fn the_numbers_of_the_kinds() {
    let kinds = [
        (Kind::Other, 0),
        (Kind::Name, 1),
        (Kind::Refused, 2),
        (Kind::Timeout, 3),
        (Kind::Unreachable, 4),
        (Kind::Tls, 5),
    ];
    for (kind, number) in kinds {
        assert_eq!(i32::from(kind), number);
        assert_eq!(Kind::try_from(number), Ok(kind));
    }
}

fn any_tls() -> impl Strategy<Value = Tls> {
    ("\\PC{0,40}", prop::collection::vec("\\PC{0,20}", 0..4))
        .prop_map(|(server_name, alpn)| Tls { server_name, alpn })
}

fn any_open() -> impl Strategy<Value = Open> {
    let parts = (
        "\\PC{0,80}",
        any::<u32>(),
        prop::option::of(any_tls()),
        any::<bool>(),
    );
    parts.prop_map(|(host, port, tls, starttls)| Open {
        host,
        port,
        tls,
        starttls,
    })
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let opened = ("\\PC{0,40}", "\\PC{0,10}")
        .prop_map(|(peer, alpn)| answer::Answer::Opened(Opened { peer, alpn }));
    let error = (any::<i32>(), "\\PC{0,80}")
        .prop_map(|(kind, message)| answer::Answer::Error(Error { kind, message }));
    prop::option::of(prop_oneof![opened, error]).prop_map(|answer| Answer { answer })
}

fn any_step() -> impl Strategy<Value = Step> {
    let data = prop::collection::vec(any::<u8>(), 0..200).prop_map(|data| Is::Data(data.into()));
    let step = prop_oneof![
        data,
        any_tls().prop_map(Is::StartTls),
        any::<bool>().prop_map(Is::StayPlain),
        any_answer().prop_map(Is::Answer),
    ];
    prop::option::of(step).prop_map(|step| Step { step })
}

proptest! {
    #[test]
    fn every_message_is_read_as_it_was_written(
        open in any_open(),
        answer in any_answer(),
        step in any_step(),
    ) {
        prop_assert_eq!(Open::decode(open.encode_to_vec().as_slice()), Ok(open));
        prop_assert_eq!(Answer::decode(answer.encode_to_vec().as_slice()), Ok(answer));
        prop_assert_eq!(Step::decode(step.encode_to_vec().as_slice()), Ok(step));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        step in any_step(),
        at: prop::sample::Index,
        with: u8,
    ) {
        let mut broken = step.encode_to_vec();
        if !broken.is_empty() {
            let at = at.index(broken.len());
            broken[at] = with;
        }
        for bytes in [bytes, broken] {
            // What is read can be written again, and is the same then.
            if let Ok(read) = Step::decode(bytes.as_slice()) {
                prop_assert_eq!(Step::decode(read.encode_to_vec().as_slice()), Ok(read));
            }
            if let Ok(read) = Open::decode(bytes.as_slice()) {
                prop_assert_eq!(Open::decode(read.encode_to_vec().as_slice()), Ok(read));
            }
        }
    }
}
