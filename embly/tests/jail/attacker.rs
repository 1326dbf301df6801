//! What runs where a guest would: it does what the path of its request names, and answers with
//! what came of it, if it is still there.

use std::os::fd::{AsRawFd, OwnedFd};

use embly_wrapper::channel::Channel;
use embly_wrapper::instance::Prepared;
use embly_wrapper::jail::Step;
use embly_wrapper::server::Program;
use embly_wrapper::streams::Streams;
use protos::{Address, Body, Ending, Message, Reason, Slot};

use super::attempts::{ATTEMPTS, Around};

/// The program of this executable's wrappers.
pub const PROGRAM: Program = Program { run, steps };

/// The name of a function whose wrappers have all steps but the filter.
pub const UNFILTERED: &str = "unfiltered";

/// A function whose name begins so lacks the step of the number that follows.
pub const LACKS: &str = "lacks-";

fn steps(function: &str) -> &'static [Step] {
    let lacks = match function.strip_prefix(LACKS) {
        Some(number) => Step::ALL[number.parse::<usize>().unwrap()],
        None if function == UNFILTERED => Step::Filter,
        None => return &Step::ALL,
    };
    let steps = Step::ALL.into_iter().filter(|step| *step != lacks);
    // Once per process.
    steps.collect::<Vec<_>>().leak()
}

struct Attacker {
    channel: Channel,
    streams: Streams,
    address: Address,
    parent: Address,
}

impl Attacker {
    fn send(&mut self, to: Option<Address>, body: Body) {
        let message = Message {
            to,
            from: Some(self.address),
            body,
        };
        self.channel.send(message, &mut self.streams).unwrap();
    }

    fn exit(&mut self) {
        self.send(None, Body::Exit(Ending::new(Reason::Ok, "")));
    }

    fn answer(&mut self, text: &str) {
        let length = text.len();
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}");
        self.send(Some(self.parent), Body::Data(response.into()));
        self.exit();
    }
}

fn run(socket: OwnedFd, slot: Slot, _: &mut Prepared) {
    let around = Around::look(socket.as_raw_fd());
    let mut channel = Channel::new(socket, slot).unwrap();
    let (address, parent) = loop {
        if let Body::Startup {
            address, parent, ..
        } = channel.receive().unwrap().body
        {
            break (address, parent);
        }
    };
    let request = loop {
        if let Body::Data(data) = channel.receive().unwrap().body {
            break String::from_utf8_lossy(&data).into_owned();
        }
    };
    let mut attacker = Attacker {
        streams: Streams::new(parent, 0),
        channel,
        address,
        parent,
    };
    let path = request.split(' ').nth(1).unwrap_or_default();
    match path.trim_start_matches('/') {
        "panic" => panic!("as the request says"),
        "abort" => std::process::abort(),
        "exits-and-escapes" => {
            attacker.exit();
            let _ = super::sys::call(libc::SYS_getuid, [0; 6]);
        }
        "futex" => {
            // Two seconds. After a stop the kernel takes such a wait up by another call.
            let (word, time) = ([0u32; 1], [2u64, 0]);
            let wait = [
                word.as_ptr() as usize,
                (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize,
                0,
                time.as_ptr() as usize,
                0,
                0,
            ];
            let result = super::sys::call(libc::SYS_futex, wait);
            attacker.answer(&format!("{result:?}"));
        }
        "stay" => while attacker.channel.receive().is_ok() {},
        "nothing" => attacker.answer("nothing was tried"),
        name => {
            let attempt = ATTEMPTS.iter().find(|attempt| attempt.name == name);
            let result = attempt.map(|attempt| (attempt.attack)(&around));
            attacker.answer(&match result {
                Some(Ok(value)) => format!("got {value}"),
                Some(Err(errno)) => format!("errno {errno}"),
                None => format!("there is no attempt {name}"),
            });
        }
    }
}
