//! The bytes of every message. They change only with the version of the protocol: wrappers of
//! other runtimes read them too.

use bytes::{BufMut, Bytes, BytesMut};
use protos::frame::{self, FrameError, MAX_MESSAGE_BYTES};
use protos::{
    Address, Body, Ending, Errno, Limits, Malformed, Message, Reason, Severity, SpawnOptions,
    Startup, Warning,
};

fn address(number: u64) -> Address {
    Address::new(number).expect("not 0")
}

fn message(to: u64, from: u64, body: Body) -> Message {
    Message {
        to: Address::new(to),
        from: Address::new(from),
        body,
    }
}

fn limits() -> Limits {
    Limits {
        memory: 128 << 20,
        cpu: 10_000_000,
        cpu_window: 60_000_000,
        children: 64,
        depth_left: 16,
        ..Limits::default()
    }
}

fn spawn(options: Option<SpawnOptions>) -> Body {
    Body::Spawn {
        name: "hello".to_owned(),
        address: address(1001),
        options: options.map(Box::new),
    }
}

fn options() -> SpawnOptions {
    SpawnOptions {
        name: "hello".to_owned(),
        args: vec!["-v".to_owned()],
        env: vec!["A=b".to_owned()],
        detached: true,
        limits: Some(lower_limits()),
    }
}

fn lower_limits() -> Limits {
    Limits {
        wall: 1,
        idle: 2,
        total: 3,
        window: 4096,
        log_lines: 5,
        log_line: 6,
        log_severity: 7,
        ..Limits::default()
    }
}

fn startup() -> Body {
    let startup = Startup {
        version: 1,
        args: vec!["hello".to_owned(), "x".to_owned()],
        env: vec!["KEY=value".to_owned()],
        limits: Some(limits()),
        address_prefix: 0xab << 56,
        address_prefix_bits: 8,
        reuse: true,
    };
    Body::Startup {
        address: address(1001),
        parent: address(1000),
        startup: Box::new(startup),
    }
}

fn register(name: &str, release: bool) -> Body {
    Body::Register {
        name: name.to_owned(),
        release,
    }
}

fn grant(name: &str, error: Errno) -> Body {
    Body::Grant {
        name: name.to_owned(),
        error,
    }
}

/// Each message and its frame: u32 little-endian length, then protobuf.
fn all() -> Vec<(Message, &'static str)> {
    let m = message;
    let warning = Warning {
        limit: "wall".to_owned(),
    };
    let log = Body::Log {
        stream: 2,
        severity: None,
        line: "over".to_owned(),
    };
    let severe = Body::Log {
        stream: 2,
        severity: Some(Severity::Error),
        line: "over".to_owned(),
    };
    let no_such = Ending::refused(Errno::NOENT, "there is no `x`");
    let trap = Ending::new(Reason::Trap, "no luck");
    let early = Ending {
        early: true,
        ..Ending::exit(1)
    };
    let lookup = Body::Lookup {
        name: "board".to_owned(),
        address: address(1001),
    };
    vec![
        (
            m(1, 2, Body::Data(Bytes::from_static(b"hi"))),
            "08000000 080110021a026869",
        ),
        (
            m(u64::MAX, 0x0123_4567_89ab_cdef, Body::HalfClose),
            "17000000 08ffffffffffffffffff0110ef9bafcdf8acd191016801",
        ),
        (m(0, 2, spawn(None)), "0c000000 1002220568656c6c6f28e907"),
        (
            m(0, 2, spawn(Some(options()))),
            "32000000 1002220568656c6c6f28e9079201230a0568656c6c6f12022d761a03413d6220012a0f300138024003488020500558066007",
        ),
        (m(3, 2, Body::Kill), "06000000 080310023001"),
        (
            m(0, 2, Body::Exit(Ending::exit(0))),
            "06000000 100238017a00",
        ),
        (
            m(0, 2, Body::Exit(Ending::exit(-3))),
            "1e000000 1002380140fdffffffffffffffff017a0d080110fdffffffffffffffff01",
        ),
        (
            m(0, 2, Body::Exit(trap)),
            "11000000 100238017a0b08021a076e6f206c75636b",
        ),
        (
            m(0, 2, Body::Exit(early)),
            "0e000000 1002380140017a06080110012001",
        ),
        (m(2, 3, Body::Error(Errno::PIPE)), "06000000 080210035840"),
        (
            m(1001, 0, startup()),
            "46000000 08e90748e90750e807623b0801120568656c6c6f1201781a094b45593d76616c7565221308808080401080ade20418808ece1c20402810288080808080808080ab0130083801",
        ),
        (m(2, 3, Body::Credit(262_144)), "08000000 0802100370808010"),
        (
            m(2, 3, Body::Ending(no_such)),
            "1b000000 080210037a15080c102c1a0f7468657265206973206e6f20607860",
        ),
        (
            m(2, 0, Body::Warning(warning)),
            "0b000000 08028201060a0477616c6c",
        ),
        (m(0, 2, log), "0d000000 10028a0108080212046f766572"),
        (m(0, 2, severe), "0f000000 10028a010a080212046f7665721803"),
        (
            m(0, 2, register("board", false)),
            "0c000000 10029a01070a05626f617264",
        ),
        (
            m(0, 2, register("board", true)),
            "0e000000 10029a01090a05626f6172641001",
        ),
        (m(0, 2, lookup), "0f000000 1002a2010a0a05626f61726410e907"),
        (m(3, 2, Body::Monitor), "07000000 08031002a80101"),
        (
            m(2, 0, grant("board", Errno::EXIST)),
            "0e000000 0802b201090a05626f6172641014",
        ),
        (
            m(2, 1001, grant("board", Errno::SUCCESS)),
            "0f000000 080210e907b201070a05626f617264",
        ),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> BytesMut {
    let digits: Vec<u8> = text
        .bytes()
        .filter(u8::is_ascii_hexdigit)
        .map(|digit| (digit as char).to_digit(16).expect("a digit") as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect::<Vec<u8>>()[..]
        .into()
}

#[test]
fn every_message_has_these_bytes_and_they_read_back() {
    for (message, golden) in all() {
        let mut frame = BytesMut::new();
        frame::encode(message.clone(), &mut frame).unwrap();
        assert_eq!(hex(&frame), golden.replace(' ', ""), "{message:?}");
        let mut bytes = unhex(golden);
        bytes.extend_from_slice(b"next");
        assert_eq!(frame::decode(&mut bytes), Ok(Some(message)));
        assert_eq!(&bytes[..], b"next");
    }
}

#[test]
fn every_kind_of_message_is_among_them() {
    let mut names: Vec<&str> = all()
        .iter()
        .map(|(message, _)| message.body.name())
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 15, "{names:?}");
}

#[test]
fn a_frame_is_taken_when_it_is_whole_and_not_before() {
    for (message, golden) in all() {
        let whole = unhex(golden);
        for length in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..length]);
            assert_eq!(
                frame::decode(&mut part),
                Ok(None),
                "{length} bytes of {message:?}"
            );
            assert_eq!(part.len(), length, "nothing was taken");
        }
    }
}

/// What a frame with this content reads as.
fn decoded(content: &str) -> Result<Option<Message>, FrameError> {
    let content = unhex(content);
    let mut frame = BytesMut::new();
    frame.put_u32_le(content.len().try_into().expect("short"));
    frame.extend_from_slice(&content);
    frame::decode(&mut frame)
}

fn malformed(content: &str) -> Malformed {
    match decoded(content) {
        Err(FrameError::Malformed(malformed)) => malformed,
        other => panic!("{content}: {other:?}"),
    }
}

#[test]
fn bytes_that_are_no_protobuf_are_refused() {
    for content in [
        // A field cut short, a length beyond the end, an unknown wire type, a wrong one for `to`.
        "08",
        "1a05 6869",
        "0f",
        "0a01 78",
        // Text that is not UTF-8.
        "2202 c328 28e907",
    ] {
        assert!(
            matches!(malformed(content), Malformed::NotProtobuf(_)),
            "{content}"
        );
    }
}

#[test]
fn a_message_says_exactly_one_thing() {
    assert_eq!(malformed(""), Malformed::Bodies(vec![]));
    assert_eq!(malformed("0801 1002"), Malformed::Bodies(vec![]));
    assert_eq!(
        malformed("1a0178 3001"),
        Malformed::Bodies(vec!["data", "kill"])
    );
    // A code without `exiting`, an address without `startup`.
    assert_eq!(malformed("4003"), Malformed::Bodies(vec![]));
    assert_eq!(malformed("4801"), Malformed::Bodies(vec![]));
}

#[test]
fn values_without_a_meaning_are_refused() {
    let value = |field, value| Malformed::Value { field, value };
    // `spawn` without an address, `startup` without one of its addresses.
    assert_eq!(malformed("220178"), value("spawn_address", 0));
    assert_eq!(malformed("6200 5001"), value("your_address", 0));
    assert_eq!(malformed("6200 4801"), value("parent_address", 0));
    // An unknown reason, an unknown stream, an errno that is none.
    assert_eq!(malformed("7a02 0863"), value("reason", 99));
    assert_eq!(malformed("8a0100"), value("stream", 0));
    assert_eq!(malformed("8a0102 0804"), value("stream", 4));
    assert_eq!(malformed("58 ffffffffffffffffff01"), value("error", -1));
    assert_eq!(malformed("58 808004"), value("error", 65536));
    // `lookup` without an address, a name refused with an errno that is none.
    assert_eq!(malformed("a201 03 0a0178"), value("address", 0));
    assert_eq!(malformed("b201 04 10808004"), value("error", 65536));
}

#[test]
fn an_exit_without_details_is_read() {
    let exit = |code| Ok(Some(message(0, 0, Body::Exit(Ending::exit(code)))));
    assert_eq!(decoded("3801"), exit(0));
    assert_eq!(decoded("3801 4007"), exit(7));
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    assert_eq!(decoded("3001 c03e01"), Ok(Some(message(0, 0, Body::Kill))));
}

#[test]
fn a_frame_that_is_too_long_is_refused_before_it_is_there() {
    let mut frame = BytesMut::new();
    frame.put_u32_le(u32::try_from(MAX_MESSAGE_BYTES).unwrap() + 1);
    let too_long = FrameError::TooLong(MAX_MESSAGE_BYTES + 1);
    assert_eq!(frame::decode(&mut frame), Err(too_long));
    let data = Bytes::from(vec![0; MAX_MESSAGE_BYTES]);
    let mut out = BytesMut::new();
    let error = frame::encode(message(1, 2, Body::Data(data)), &mut out);
    assert!(matches!(error, Err(FrameError::TooLong(_))));
    assert!(out.is_empty());
}
