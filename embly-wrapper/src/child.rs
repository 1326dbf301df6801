//! A wrapper: from its socket to its end, one invocation after the other.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use protos::meter::Meter;
use protos::{Body, PROTOCOL_VERSION, Reason, Slot};

use crate::channel::{Channel, ChannelError};
use crate::host::Invocation;
use crate::host::clock;
use crate::host::log::LogLines;
use crate::instance::Prepared;
use crate::limits::CpuLimit;
use crate::streams::Streams;

/// Says hello and waits for `startup`, runs that invocation and reports its end; again, where it is
/// to be used again and the last one has exited with 0.
///
/// # Errors
/// When the master is gone or speaks another language: there is nobody to tell.
pub fn run(socket: OwnedFd, slot: Slot, function: &mut Prepared) -> Result<(), ChannelError> {
    let mut channel = Channel::new(socket, slot)?;
    loop {
        let invocation = next(channel)?;
        let Some((ending, mut invocation)) = function.run(invocation) else {
            return Err(ChannelError::Closed);
        };
        let again = invocation.startup.reuse && ending.reason == Reason::Ok;
        invocation.send(None, Body::Exit(ending))?;
        if !again {
            return Ok(());
        }
        channel = invocation.channel;
        // While nobody waits for it.
        function.renew();
    }
}

/// The next invocation.
fn next(mut channel: Channel) -> Result<Box<Invocation>, ChannelError> {
    loop {
        let message = channel.receive()?;
        // What arrives before `startup` was for somebody else.
        let Body::Startup {
            address,
            parent,
            startup,
        } = message.body
        else {
            continue;
        };
        if startup.version != PROTOCOL_VERSION {
            return Err(ChannelError::Version(startup.version));
        }
        let limits = startup.limits.unwrap_or_default();
        let cpu_before = clock::cpu_time();
        return Ok(Box::new(Invocation {
            address,
            channel,
            streams: Streams::new(parent, limits.window),
            cpu_limit: CpuLimit::new(
                Duration::from_micros(limits.cpu),
                Duration::from_micros(limits.cpu_window),
                Instant::now(),
                cpu_before,
            ),
            cpu_before,
            limits,
            startup: *startup,
            log: LogLines::new(limits.log_line),
            meter: Meter::new(limits.log_lines),
        }));
    }
}
