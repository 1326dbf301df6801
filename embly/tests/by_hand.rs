//! The protocol of a wrapper, spoken by hand: what another runtime has to do, and what another
//! master may expect.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use bytes::BytesMut;
use protos::credit::INITIAL_WINDOW;
use protos::{Address, Body, Ending, Errno, Message, PROTOCOL_VERSION, Reason, Startup, frame};
use support::project::{answering, guest};
use support::{EMBLY, PATIENCE};

const ADDRESS: Address = Address::new(1001).unwrap();
const PARENT: Address = Address::new(1000).unwrap();

/// A wrapper process and our end of its socket.
struct Wrapper {
    child: Child,
    socket: UnixStream,
    incoming: BytesMut,
}

impl Wrapper {
    /// Starts one; it has said hello.
    fn start(module: &Path) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // The shell passes its standard input on as number 3.
        let child = Command::new("sh")
            .args(["-c", r#"exec "$0" wrapper exec 3<&0 </dev/null"#, EMBLY])
            .env("EMBLY_ADDR", "1001")
            .env("EMBLY_SOCKET_FD", "3")
            .env("EMBLY_MODULE", module)
            .stdin(OwnedFd::from(theirs))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut wrapper = Self {
            child,
            socket,
            incoming: BytesMut::new(),
        };
        let mut hello = [0; 8];
        wrapper.socket.read_exact(&mut hello).unwrap();
        assert_eq!(hello, 1001u64.to_le_bytes());
        wrapper
    }

    fn says(&mut self, from: Option<Address>, body: Body) {
        let to = Some(ADDRESS);
        let mut bytes = BytesMut::new();
        frame::encode(Message { to, from, body }, &mut bytes).unwrap();
        self.socket.write_all(&bytes).unwrap();
    }

    fn startup(&mut self, version: u32, argument: &str) {
        let startup = Startup {
            version,
            args: vec![argument.to_owned()],
            ..Startup::default()
        };
        let (address, parent) = (ADDRESS, PARENT);
        let startup = Box::new(startup);
        self.says(
            None,
            Body::Startup {
                address,
                parent,
                startup,
            },
        );
    }

    /// The next message, which is from the invocation.
    fn hears(&mut self) -> (Option<Address>, Body) {
        loop {
            if let Some(message) = frame::decode(&mut self.incoming).unwrap() {
                assert_eq!(message.from, Some(ADDRESS));
                return (message.to, message.body);
            }
            let mut buffer = [0; 4096];
            let bytes = self.socket.read(&mut buffer).unwrap();
            assert!(bytes > 0, "it closed the socket");
            self.incoming.extend_from_slice(&buffer[..bytes]);
        }
    }

    /// Closes the socket and waits for the process.
    fn end(self) -> Output {
        drop(self.socket);
        self.child.wait_with_output().unwrap()
    }
}

fn wat(text: &str) -> tempfile::TempPath {
    let file = tempfile::Builder::new().suffix(".wat").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file.into_temp_path()
}

#[test]
fn a_wrapper_says_its_number_and_then_what_its_function_writes() {
    let mut wrapper = Wrapper::start(&wat(&answering("hello")));
    wrapper.startup(PROTOCOL_VERSION, "anything");
    let (to, body) = wrapper.hears();
    assert_eq!(to, Some(PARENT));
    let Body::Data(data) = body else {
        panic!("{body:?}");
    };
    assert_eq!(
        &data[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
    );
    assert_eq!(wrapper.hears(), (None, Body::Exit(Ending::exit(0))));
    assert!(wrapper.end().status.success());
}

#[test]
fn bytes_go_both_ways_and_a_half_close_ends_them() {
    let mut wrapper = Wrapper::start(guest());
    // What comes before `startup` was for somebody else.
    wrapper.says(Some(PARENT), Body::Data("lost".into()));
    wrapper.startup(PROTOCOL_VERSION, "echo");
    for text in ["one", "two"] {
        wrapper.says(Some(PARENT), Body::Data(text.into()));
        assert_eq!(wrapper.hears(), (Some(PARENT), Body::Data(text.into())));
    }
    wrapper.says(Some(PARENT), Body::HalfClose);
    assert_eq!(wrapper.hears(), (None, Body::Exit(Ending::exit(0))));
    assert!(wrapper.end().status.success());
}

#[test]
fn a_wrapper_writes_as_much_as_its_credit_and_goes_on_when_it_gets_more() {
    let mut wrapper = Wrapper::start(guest());
    wrapper.startup(PROTOCOL_VERSION, "script");
    let task = "x-do: fill 50000\r\n\r\n";
    wrapper.says(Some(PARENT), Body::Data(task.into()));
    let mut received = 0;
    let mut credit = INITIAL_WINDOW as usize;
    while received < 50_000 {
        while credit > 0 && received < 50_000 {
            let (_, body) = wrapper.hears();
            let Body::Data(data) = body else {
                panic!("{body:?}");
            };
            assert!(
                data.len() <= credit,
                "{} bytes with a credit of {credit}",
                data.len()
            );
            credit -= data.len();
            received += data.len();
        }
        // One that has all it needs is about to end.
        if received < 50_000 {
            credit += 10_000;
            wrapper.says(Some(PARENT), Body::Credit(10_000));
        }
    }
    assert_eq!(received, 50_000);
    assert_eq!(wrapper.hears(), (None, Body::Exit(Ending::exit(0))));
}

#[test]
fn a_trap_and_a_log_line_are_messages_too() {
    let mut wrapper = Wrapper::start(guest());
    wrapper.startup(PROTOCOL_VERSION, "script");
    let task = "x-do: say hello; trap\r\n\r\n";
    wrapper.says(Some(PARENT), Body::Data(task.into()));
    let line = "hello".to_owned();
    let hello = Body::Log {
        stream: 1,
        severity: None,
        line,
    };
    assert_eq!(wrapper.hears(), (None, hello));
    let mut backtrace = 0;
    let ending = loop {
        match wrapper.hears() {
            (None, Body::Log { stream: 2, .. }) => backtrace += 1,
            (None, Body::Exit(ending)) => break ending,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((ending.reason, ending.early), (Reason::Trap, false));
    assert!(backtrace > 1, "the reason and where it was");
}

#[test]
fn another_version_of_the_protocol_is_refused() {
    let mut wrapper = Wrapper::start(guest());
    wrapper.startup(PROTOCOL_VERSION + 1, "echo");
    let output = wrapper.child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("version"), "{text}");
}

#[test]
fn a_wrapper_ends_with_its_socket() {
    for starts in [true, false] {
        let mut wrapper = Wrapper::start(guest());
        if starts {
            wrapper.startup(PROTOCOL_VERSION, "echo");
        }
        assert_eq!(wrapper.end().status.code(), Some(2));
    }
}

#[test]
fn bytes_that_are_no_frame_end_a_wrapper() {
    let mut wrapper = Wrapper::start(guest());
    wrapper.startup(PROTOCOL_VERSION, "echo");
    wrapper.socket.write_all(&u32::MAX.to_le_bytes()).unwrap();
    assert_eq!(
        wrapper.child.wait_with_output().unwrap().status.code(),
        Some(2)
    );
}

#[test]
fn a_name_is_asked_for_once_and_its_answer_is_an_event_of_id_0() {
    // EAGAIN first; then one event, of id 0; then the answer, which is the exit code.
    let module = wat("(module
      (import \"embly\" \"_register\" (func $register (param i32 i32) (result i32)))
      (import \"embly\" \"_events\"
        (func $events (param i32 i64 i32 i32 i32 i32) (result i32)))
      (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))
      (memory (export \"memory\") 1)
      (data (i32.const 16) \"board\")
      (func $expect (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
      (func $again (result i32) (call $register (i32.const 16) (i32.const 5)))
      (func (export \"_start\")
        (call $expect (call $again) (i32.const 6))
        (i32.store (i32.const 64) (i32.const 9))
        (drop (call $events (i32.const 0) (i64.const 0) (i32.const 0)
          (i32.const 64) (i32.const 4) (i32.const 128)))
        (call $expect (i32.load (i32.const 128)) (i32.const 1))
        (call $expect (i32.load (i32.const 64)) (i32.const 0))
        (call $exit (call $again))))");
    for error in [Errno::EXIST, Errno::ACCES, Errno::SUCCESS] {
        let mut wrapper = Wrapper::start(&module);
        wrapper.startup(PROTOCOL_VERSION, "anything");
        let (name, release) = ("board".to_owned(), false);
        assert_eq!(wrapper.hears(), (None, Body::Register { name, release }));
        let name = "board".to_owned();
        wrapper.says(None, Body::Grant { name, error });
        let (_, body) = wrapper.hears();
        let Body::Exit(ending) = body else {
            panic!("{body:?}");
        };
        assert_eq!(ending.code, i32::from(error.0), "{ending:?}");
        // It has looked for events.
        assert!(!ending.early);
    }
}

#[test]
fn a_newcomer_is_announced_and_answered_at_its_address() {
    let visitor = Address::new(77);
    let granted = || Body::Grant {
        name: "board".to_owned(),
        error: Errno::SUCCESS,
    };
    let mut wrapper = Wrapper::start(guest());
    wrapper.startup(PROTOCOL_VERSION, "board");
    assert_eq!(wrapper.hears().1.name(), "register");
    wrapper.says(None, granted());
    assert_eq!(wrapper.hears().1.name(), "log");
    // Somebody whom nobody has announced is dropped.
    wrapper.says(Address::new(78), Body::Data("no".into()));
    wrapper.says(visitor, granted());
    wrapper.says(visitor, Body::Data("yes".into()));
    wrapper.says(visitor, Body::HalfClose);
    assert_eq!(wrapper.hears(), (visitor, Body::Data("yes".into())));
    assert_eq!(wrapper.hears(), (visitor, Body::HalfClose));
}

#[test]
fn a_visitor_that_has_left_is_closed_by_the_wrapper_itself() {
    // Looks for events ten times, at most 50 ms each.
    let module = wat("(module
      (import \"embly\" \"_events\"
        (func $events (param i32 i64 i32 i32 i32 i32) (result i32)))
      (memory (export \"memory\") 1)
      (func (export \"_start\") (local $n i32)
        (loop $again
          (drop (call $events (i32.const 0) (i64.const 0) (i32.const 50000000)
            (i32.const 64) (i32.const 4) (i32.const 128)))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $n) (i32.const 10))))))");
    let visitor = Address::new(77);
    let mut wrapper = Wrapper::start(&module);
    wrapper.startup(PROTOCOL_VERSION, "anything");
    let (name, error) = ("board".to_owned(), Errno::SUCCESS);
    wrapper.says(visitor, Body::Grant { name, error });
    wrapper.says(visitor, Body::Ending(Ending::new(Reason::ClientGone, "")));
    assert_eq!(wrapper.hears(), (visitor, Body::HalfClose));
    assert_eq!(wrapper.hears(), (None, Body::Exit(Ending::exit(0))));
}
