//! Local processes, and wrappers, that are not what they should be.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use protos::{Address, Body, Ending, Message};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::Strike;
use crate::attacks::ATTACKS;
use crate::load::wire::Wire;

const PAUSE: Duration = Duration::from_millis(30);

const SOCKETS: [&str; 2] = ["wrapper.sock", "admin.sock"];

fn connect(socket: &Path) -> Option<UnixStream> {
    let stream = UnixStream::connect(socket).ok()?;
    stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .ok()?;
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .ok()?;
    Some(stream)
}

/// Connects to these sockets again and again, sends what is made for each, and stays to the end.
fn send(strike: &Strike<'_>, names: &[&str], mut make: impl FnMut(&mut StdRng) -> Vec<u8>) {
    let (mut dice, mut open) = (strike.dice(), Vec::new());
    strike.again(PAUSE, || {
        for folder in strike.world.sockets() {
            for name in names {
                if let Some(mut stream) = connect(&folder.join(name)) {
                    // The master may close it at once.
                    let _ = stream.write_all(&make(&mut dice));
                    strike.struck();
                    open.push(stream);
                }
            }
        }
    });
}

pub fn bytes(strike: &Strike<'_>) {
    send(strike, &SOCKETS, |dice| {
        let mut bytes = vec![0; dice.random_range(1..100_000)];
        dice.fill_bytes(&mut bytes);
        bytes
    });
}

pub fn half(strike: &Strike<'_>) {
    send(strike, &SOCKETS[..1], |dice| {
        let mut bytes = vec![0; dice.random_range(0..8)];
        dice.fill_bytes(&mut bytes);
        if dice.random() {
            // A number, and a frame that has no end.
            bytes = vec![1, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 1];
        }
        bytes
    });
}

pub fn huge(strike: &Strike<'_>) {
    send(strike, &SOCKETS, |dice| {
        let slot: u64 = dice.random_range(0..1000);
        [&slot.to_le_bytes()[..], &[0xff; 64]].concat()
    });
}

pub fn slot(strike: &Strike<'_>) {
    let mut next = 0_u64;
    send(strike, &SOCKETS[..1], |dice| {
        next += 1;
        let slot = match dice.random_range(0..4) {
            0 => u64::MAX - next,
            _ => next,
        };
        slot.to_le_bytes().to_vec()
    });
}

pub fn order(strike: &Strike<'_>) {
    send(strike, &SOCKETS[..1], |dice| {
        let mut bytes = BytesMut::from(&dice.random_range(0..500_u64).to_le_bytes()[..]);
        for _ in 0..dice.random_range(1..50) {
            let address = Address::new(dice.random_range(1..u64::MAX));
            let body = match dice.random_range(0..5) {
                0 => Body::Data(vec![b'x'; 100].into()),
                1 => Body::Exit(Ending::exit(0)),
                2 => Body::Credit(1000),
                3 => Body::Kill,
                _ => Body::HalfClose,
            };
            let (to, from) = (address, Address::new(7));
            protos::frame::encode(Message { to, from, body }, &mut bytes).unwrap();
        }
        bytes.to_vec()
    });
}

pub fn admin(strike: &Strike<'_>) {
    let requests: [&[u8]; 6] = [
        b"GET /v1/invocations HTTP/1.1\r\nhost: localhost\r\n",
        b"POST /v1/reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n",
        b"\0\0\0\0\0\0\0\0",
        b"GET /v1/../../etc/passwd HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"DELETE / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    send(strike, &SOCKETS[1..], |dice| {
        requests[dice.random_range(0..requests.len())].to_vec()
    });
}

pub fn compromised(strike: &Strike<'_>) {
    let mut dice = strike.dice();
    for _ in 0..dice.random_range(1..4) {
        let attack = ATTACKS[dice.random_range(0..ATTACKS.len())].name;
        let head = format!("GET /{attack} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        let Ok(mut wire) = Wire::to(strike.world.at("attacks")) else {
            continue;
        };
        if wire.say(head.as_bytes()).is_err() {
            continue;
        }
        match wire.response() {
            Ok((response, _)) if [200, 500, 502, 503, 504].contains(&response.status) => {
                strike.struck();
            }
            Ok((response, _)) => {
                let status = response.status;
                strike
                    .world
                    .finding(format!("the attack {attack} was answered by {status}"));
            }
            // A master that is killed meanwhile.
            Err(_) => {}
        }
    }
}
