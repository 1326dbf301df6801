//! The bytes of what a function and `embly/http` say to each other. They never change: functions in
//! other languages write and read them too.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use protos::services::http::answer::What;
use protos::services::http::{Answer, Error, Header, Kind, Request, Response, Version};

fn header(name: &str, value: &'static [u8]) -> Header {
    Header {
        name: name.to_owned(),
        value: Bytes::from_static(value),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn request() -> Request {
    Request {
        method: "POST".to_owned(),
        url: "https://a.example/".to_owned(),
        headers: vec![header("x", b"\xff"), header("y", b"")],
        content: Bytes::from_static(b"hi"),
        body_follows: true,
        redirects: Some(0),
        compressed: true,
        time: 1_000_000,
        version: Version::Http2.into(),
    }
}

fn response() -> Response {
    Response {
        status: 200,
        headers: vec![header("x", b"1")],
        url: "http://h/".to_owned(),
        version: 11,
    }
}

fn error(kind: Kind) -> Answer {
    let error = Error {
        kind: kind.into(),
        message: "no".to_owned(),
    };
    Answer {
        what: Some(What::Error(error)),
    }
}

#[test]
fn the_bytes_of_each_message_stay_as_they_are() {
    let get = Request {
        method: "GET".to_owned(),
        url: "http://h/".to_owned(),
        ..Request::default()
    };
    assert_eq!(
        hex(&get.encode_to_vec()),
        "0a034745541209687474703a2f2f682f"
    );
    assert_eq!(
        hex(&request().encode_to_vec()),
        "0a04504f5354121268747470733a2f2f612e6578616d706c652f1a060a01781201ff1a030a0179220268692801300038\
         0140c0843d4802"
    );
    let answer = Answer {
        what: Some(What::Response(response())),
    };
    assert_eq!(
        hex(&answer.encode_to_vec()),
        "0a1808c80112060a01781201311a09687474703a2f2f682f200b"
    );
    assert_eq!(
        hex(&error(Kind::NotAllowed).encode_to_vec()),
        "1206080212026e6f"
    );
}

#[test]
fn the_numbers_of_kinds_and_versions_stay_as_they_are() {
    let kinds = [
        Kind::Unknown,
        Kind::Invalid,
        Kind::NotAllowed,
        Kind::Dns,
        Kind::Connect,
        Kind::Tls,
        Kind::Timeout,
        Kind::TooLarge,
        Kind::Redirect,
        Kind::Protocol,
        Kind::Busy,
    ];
    for (number, kind) in (0..).zip(kinds) {
        assert_eq!(i32::from(kind), number);
    }
    assert!(
        Kind::try_from(11).is_err(),
        "a new kind belongs in this list"
    );
    let versions = [Version::Any, Version::Http1, Version::Http2];
    for (number, version) in (0..).zip(versions) {
        assert_eq!(i32::from(version), number);
    }
}

#[test]
fn what_is_absent_is_told_from_what_is_zero() {
    let none = Request::default();
    assert_eq!(none.redirects, None);
    assert_eq!(none.encode_to_vec(), b"");
    let zero = Request {
        redirects: Some(0),
        ..Request::default()
    };
    let read = Request::decode(&*zero.encode_to_vec()).unwrap();
    assert_eq!(read.redirects, Some(0));
}

prop_compose! {
    fn any_request()(
        texts in (".{0,20}", ".{0,40}"),
        headers in prop::collection::vec((".{0,10}", prop::collection::vec(any::<u8>(), 0..20)), 0..5),
        content in prop::collection::vec(any::<u8>(), 0..50),
        flags in any::<(bool, bool)>(),
        numbers in any::<(Option<u32>, u64, i32)>(),
    ) -> Request {
        Request {
            method: texts.0,
            url: texts.1,
            headers: headers.into_iter().map(|(name, value)| Header { name, value: value.into() }).collect(),
            content: content.into(),
            body_follows: flags.0,
            redirects: numbers.0,
            compressed: flags.1,
            time: numbers.1,
            version: numbers.2,
        }
    }
}

prop_compose! {
    fn any_response()(
        headers in prop::collection::vec((".{0,10}", prop::collection::vec(any::<u8>(), 0..20)), 0..5),
        url in ".{0,40}",
        numbers in any::<(u32, u32)>(),
    ) -> Response {
        Response {
            status: numbers.0,
            headers: headers.into_iter().map(|(name, value)| Header { name, value: value.into() }).collect(),
            url,
            version: numbers.1,
        }
    }
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let error = (any::<i32>(), ".{0,40}");
    let error = error.prop_map(|(kind, message)| What::Error(Error { kind, message }));
    let what = prop_oneof![any_response().prop_map(What::Response), error];
    prop::option::of(what).prop_map(|what| Answer { what })
}

proptest! {
    #[test]
    fn answers_are_read_as_they_were_written(answer in any_answer()) {
        prop_assert_eq!(Answer::decode(&*answer.encode_to_vec()).unwrap(), answer);
    }

    #[test]
    fn requests_are_read_as_they_were_written(request in any_request()) {
        prop_assert_eq!(Request::decode(&*request.encode_to_vec()).unwrap(), request);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Request::decode(&*bytes);
        let _ = Answer::decode(&*bytes);
    }
}
