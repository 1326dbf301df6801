//! What `fuzz/` feeds, and each test run with the inputs that are kept in `fuzz/corpus`. Each function
//! takes whatever comes, and panics where a promise does not hold.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use protos::meter::Meter;
use protos::{Address, Limits, Slot, Startup, frame};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown,
};
use wasmtime::{Engine, ExternType, InstancePre, Memory, Module, Store, Val, ValType};

pub use crate::artefact::fuzzing::artefact;
use crate::channel::Channel;
use crate::host::log::LogLines;
use crate::host::{Host, Invocation};
use crate::streams::Streams;
use crate::{engine, link};

/// Takes an input.
pub type Target = fn(&[u8]);

/// Each function by the name of its corpus.
pub const TARGETS: [(&str, Target); 2] = [("artefact", artefact), ("host_calls", host_calls)];

/// Bytes of the guest's memory: one page.
const MEMORY: usize = 64 * 1024;

/// Bytes that lie around the pointers of most calls.
const WINDOW: usize = 256;

/// The address of the invocation.
const OWN: u64 = 7;

/// Lines that it may log in a second, and bytes of each: all of them fit in a socket.
const LOG: (u32, u32) = (64, 512);

/// A guest that does nothing but call the host.
struct Caller {
    engine: Engine,
    pre: InstancePre<Host>,
    calls: Vec<Call>,
}

/// A host call.
struct Call {
    /// What the guest imports it as.
    name: String,
    /// What the guest exports it as.
    export: String,
    parameters: Vec<ValType>,
}

thread_local! {
    static CALLER: Caller = caller().expect("the host's own calls link");
}

fn caller() -> wasmtime::Result<Caller> {
    let engine = engine::engine()?;
    let linker = link::linker(&engine)?;
    let mut store = Store::new(&engine, Host::default());
    let (mut imports, mut functions, mut calls) = (String::new(), String::new(), Vec::new());
    let offered: Vec<_> = linker.iter(&mut store).collect();
    for (number, (module, name, external)) in offered.into_iter().enumerate() {
        let ExternType::Func(ty) = external.ty(&store) else {
            continue;
        };
        let types: Vec<ValType> = ty.params().collect();
        let words = |prefix: &str, types: &[ValType]| match types {
            [] => String::new(),
            types => {
                let types: Vec<_> = types.iter().map(ToString::to_string).collect();
                format!("({prefix} {})", types.join(" "))
            }
        };
        let results: Vec<ValType> = ty.results().collect();
        let (takes, gives) = (words("param", &types), words("result", &results));
        let _ = write!(
            imports,
            "(import \"{module}\" \"{name}\" (func $f{number} {takes} {gives}))"
        );
        let _ = write!(functions, "(func (export \"{number}\") {takes} {gives} ");
        for at in 0..types.len() {
            let _ = write!(functions, "local.get {at} ");
        }
        let _ = write!(functions, "call $f{number})");
        calls.push(Call {
            name: name.to_owned(),
            export: number.to_string(),
            parameters: types,
        });
    }
    let text = format!("(module {imports} (memory (export \"memory\") 1 2) {functions})");
    // In their order, whatever that of the linker's table is.
    calls.sort_by(|one, other| one.name.cmp(&other.name));
    let module = Module::new(&engine, wat::parse_str(text)?)?;
    let pre = linker.instantiate_pre(&module)?;
    Ok(Caller { engine, pre, calls })
}

/// Steps, each with a byte that says which: memory is written, the master says bytes, which may be
/// frames, or a host call is made with parameters of a byte each, or of all theirs. Whatever they are,
/// a call answers or traps, and never waits for a master that is gone; what is said to the master are
/// frames in the name of the invocation.
pub fn host_calls(data: &[u8]) {
    CALLER.with(|caller| calls(caller, data));
}

fn calls(caller: &Caller, data: &[u8]) {
    let flags = SocketFlags::CLOEXEC;
    let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let (ours, masters) = pair.expect("two descriptors");
    let mut store = Store::new(&caller.engine, Host::default());
    store.set_epoch_deadline(1);
    let instance = caller.pre.instantiate(&mut store).expect("its memory");
    let memory = instance.get_memory(&mut store, "memory");
    let memory = memory.expect("it exports one");
    store.data_mut().memory = Some(memory);
    store.data_mut().begin(Box::new(invocation(ours)));

    let (mut input, mut said) = (Input(data), BytesMut::new());
    while let Some(step) = input.byte() {
        match step {
            0 => {
                let (at, bytes) = (input.word(), input.bytes());
                write(memory, &mut store, at as usize % MEMORY, bytes);
            }
            // More than fits is not said.
            1 => drop(send(
                &masters,
                input.bytes(),
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            )),
            step => {
                let call = &caller.calls[usize::from(step) % caller.calls.len()];
                let wide = input.byte().unwrap_or_default();
                let parameters = call.parameters.iter().enumerate().map(|(at, ty)| {
                    let all = wide >> (at % 8) & 1 == 1;
                    parameter(&mut input, ty, all)
                });
                let parameters: Vec<Val> = parameters.collect();
                let waits = match (&*call.name, parameters.first()) {
                    ("_events", Some(Val::I32(non_blocking))) => *non_blocking == 0,
                    (name, _) => name == "poll_oneoff",
                };
                if waits {
                    // It finds the master gone, instead of waiting.
                    let _ = shutdown(&masters, Shutdown::Write);
                }
                let function = instance.get_func(&mut store, &call.export);
                let function = function.expect("it was named");
                let mut results = [Val::I32(0)];
                let count = function.ty(&store).results().len();
                let results = &mut results[..count];
                let answered = function.call(&mut store, &parameters, results);
                listen(&masters, &mut said);
                if answered.is_err() {
                    break;
                }
                if let [Val::I32(errno)] = results {
                    assert!((0..=76).contains(errno), "{}: {errno}", call.name);
                }
            }
        }
    }
    said.advance(said.len().min(Slot::BYTES));
    while let Some(message) = frame::decode(&mut said).expect("frames") {
        assert_eq!(message.from, Address::new(OWN), "{message:?}");
    }
    assert!(said.is_empty(), "a whole frame");
}

/// Takes what was said to the master, so that there is room for more.
fn listen(masters: &OwnedFd, said: &mut BytesMut) {
    let mut piece = [0; 16 * 1024];
    while let Ok((1.., count)) = recv(masters, &mut piece, RecvFlags::DONTWAIT) {
        said.extend_from_slice(&piece[..count]);
    }
}

fn write(memory: Memory, store: &mut Store<Host>, at: usize, bytes: &[u8]) {
    let room = &mut memory.data_mut(store)[at..];
    let length = bytes.len().min(room.len());
    room[..length].copy_from_slice(&bytes[..length]);
}

fn parameter(input: &mut Input<'_>, ty: &ValType, all: bool) -> Val {
    let value = match all {
        true => u64::from(input.word()) | u64::from(input.word()) << 32,
        // Most are ids, flags, lengths, and pointers, which then are in a part of the memory that
        // other steps write to.
        false => u64::from(input.byte().unwrap_or_default()) % WINDOW as u64,
    };
    match ty {
        ValType::I64 => Val::I64(value.cast_signed()),
        _ => Val::I32((value as u32).cast_signed()),
    }
}

fn invocation(socket: OwnedFd) -> Invocation {
    let address = |number| Address::new(number).expect("not 0");
    let limits = Limits {
        children: 3,
        log_lines: LOG.0,
        log_line: LOG.1,
        ..Limits::default()
    };
    let startup = Startup {
        args: vec!["one".to_owned(), "two".to_owned()],
        env: vec!["A=b".to_owned()],
        ..Startup::default()
    };
    Invocation {
        address: address(OWN),
        channel: Channel::new(socket, Slot(1)).expect("the master is there"),
        streams: Streams::new(address(6), 0),
        startup,
        limits,
        cpu_before: Duration::ZERO,
        cpu_limit: None,
        log: LogLines::new(limits.log_line),
        meter: Meter::new(limits.log_lines),
    }
}

/// What is left of the input.
struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn word(&mut self) -> u32 {
        let mut word = [0; 4];
        for byte in &mut word {
            *byte = self.byte().unwrap_or_default();
        }
        u32::from_le_bytes(word)
    }

    /// So many as the next byte says.
    fn bytes(&mut self) -> &'d [u8] {
        let length = usize::from(self.byte().unwrap_or_default());
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn inputs_of_the_fuzzer_keep_every_promise_of_the_wrapper() {
        super::replay::all(&super::TARGETS);
    }
}
