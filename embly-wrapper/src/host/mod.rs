//! What a guest can call, one file per concern.
//!
//! A pointer from a guest is an allegation until [`memory`] has checked it; a bad one traps.
//! Nothing here panics for anything that a guest does.

pub mod clock;
pub mod log;
pub mod memory;
pub mod names;
pub mod random;
pub mod spawn;
pub mod stream;
pub mod wasi;

use std::time::Duration;

use protos::meter::Meter;
use protos::{Address, Errno, Limits, Message, Startup};
use wasmtime::{Caller, Memory, format_err};

use crate::channel::{Channel, ChannelError};
use crate::exit;
use crate::limits::{CpuLimit, MemoryLimit};
use crate::streams::Streams;
use log::LogLines;

/// What belongs to one invocation, in this process.
#[derive(Debug)]
pub struct Invocation {
    /// Its address.
    pub address: Address,
    /// Its connection to the master.
    pub channel: Channel,
    /// Its streams.
    pub streams: Streams,
    /// Arguments, environment, address prefix.
    pub startup: Startup,
    /// The limits that were given.
    pub limits: Limits,
    /// CPU time that this process had used when it began.
    pub cpu_before: Duration,
    /// CPU time so far.
    pub cpu_limit: Option<CpuLimit>,
    /// Half lines of stdout and stderr.
    pub log: LogLines,
    /// Lines against the limit `log`.
    pub meter: Meter,
}

/// What stands behind an instance. It is made before there is an invocation for it.
#[derive(Debug, Default)]
pub struct Host {
    /// The guest's own memory, if it exports one.
    pub memory: Option<Memory>,
    /// Linear memory so far.
    pub memory_limit: MemoryLimit,
    invocation: Option<Box<Invocation>>,
}

impl Host {
    /// The invocation that the instance was made for begins.
    pub fn begin(&mut self, invocation: Box<Invocation>) {
        self.invocation = Some(invocation);
    }

    /// The invocation.
    ///
    /// # Errors
    /// Before it begins, when no guest code runs.
    pub fn invocation(&mut self) -> wasmtime::Result<&mut Invocation> {
        self.invocation
            .as_deref_mut()
            .ok_or_else(|| format_err!("a host call came before the invocation"))
    }

    /// It is over.
    pub fn end(&mut self) -> Option<Box<Invocation>> {
        self.invocation.take()
    }
}

impl Invocation {
    /// Sends to `to`, or to the master itself.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, to: Option<Address>, body: protos::Body) -> Result<(), ChannelError> {
        let message = Message {
            to,
            from: Some(self.address),
            body,
        };
        self.channel.send(message, &mut self.streams)
    }

    /// Waits until something has arrived, at most `timeout`.
    ///
    /// # Errors
    /// When the connection is gone, or the master has asked the guest to stop.
    pub fn wait(&mut self, timeout: Option<Duration>) -> wasmtime::Result<()> {
        if self.log.holds() {
            // Whoever waits goes on: it was no panic.
            let mut log = std::mem::take(&mut self.log);
            let said = log.release(|stream, line| self.say(stream, None, line));
            self.log = log;
            said?;
        }
        self.channel.wait(timeout, &mut self.streams)?;
        Ok(exit::go_on()?)
    }
}

/// The guest that calls.
pub type Guest<'a> = Caller<'a, Host>;

/// The result of a host call: an errno for the guest, or an error that ends the run.
pub type HostResult = wasmtime::Result<i32>;

/// The errno as a host call returns it.
pub fn errno(result: Result<(), Errno>) -> i32 {
    i32::from(result.err().unwrap_or(Errno::SUCCESS).0)
}
