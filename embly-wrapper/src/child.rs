//! A wrapper: from its socket to its end.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use protos::meter::Meter;
use protos::{Body, PROTOCOL_VERSION, Slot};

use crate::channel::{Channel, ChannelError};
use crate::host::Invocation;
use crate::host::clock;
use crate::host::log::LogLines;
use crate::instance::Prepared;
use crate::limits::CpuLimit;
use crate::streams::Streams;

/// Says hello, waits for `startup`, runs one invocation, reports its end.
///
/// # Errors
/// When the master is gone or speaks another language: there is nobody to tell.
pub fn run(socket: OwnedFd, slot: Slot, function: &mut Prepared) -> Result<(), ChannelError> {
    let mut channel = Channel::new(socket, slot)?;
    let invocation = loop {
        let message = channel.receive()?;
        // What arrives before `startup` was for somebody else.
        if let Body::Startup {
            address,
            parent,
            startup,
        } = message.body
        {
            let limits = startup.limits.unwrap_or_default();
            if startup.version != PROTOCOL_VERSION {
                return Err(ChannelError::Version(startup.version));
            }
            break Box::new(Invocation {
                address,
                channel,
                streams: Streams::new(parent, limits.window),
                cpu_limit: CpuLimit::new(
                    Duration::from_micros(limits.cpu),
                    Duration::from_micros(limits.cpu_window),
                    Instant::now(),
                    clock::cpu_time(),
                ),
                limits,
                startup: *startup,
                log: LogLines::new(limits.log_line),
                meter: Meter::new(limits.log_lines),
            });
        }
    };
    match function.run(invocation) {
        Some((ending, mut invocation)) => Ok(invocation.send(None, Body::Exit(ending))?),
        None => Err(ChannelError::Closed),
    }
}
