//! `_spawn` and `_spawn_with`: children.

use prost::Message as _;
use protos::message::{MAX_SPAWN_NAME, MAX_SPAWN_OPTIONS};
use protos::{Address, Body, Errno, SpawnOptions, is_service};

use super::{Guest, HostResult, Invocation, errno, memory, random};

/// `_spawn(name, len, *id)`: starts a function or service.
///
/// Returns what can be refused here: EINVAL and ENAMETOOLONG for the name, EAGAIN for too
/// many children, EPERM at the deepest level. A later refusal shows as an ended stream.
///
/// Traps on a bad pointer.
pub fn spawn(mut guest: Guest<'_>, name: i32, len: i32, id: i32) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    let result = match std::str::from_utf8(memory::slice(memory, name, len)?) {
        Ok(name) => start(invocation, name, None)?,
        Err(_) => Err(Errno::INVAL),
    };
    answer(memory, id, result)
}

/// `_spawn_with(options, len, *id)`: the same, with a protobuf `SpawnOptions`.
///
/// Returns as `_spawn`, EINVAL for options that do not decode, E2BIG for more than 32 KiB of them.
///
/// Traps on a bad pointer.
pub fn spawn_with(mut guest: Guest<'_>, options: i32, len: i32, id: i32) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    let bytes = memory::slice(memory, options, len)?;
    if bytes.len() > MAX_SPAWN_OPTIONS {
        return answer(memory, id, Err(Errno::TOOBIG));
    }
    let result = match SpawnOptions::decode(bytes) {
        Ok(options) => {
            let name = options.name.clone();
            start(invocation, &name, Some(Box::new(options)))?
        }
        Err(_) => Err(Errno::INVAL),
    };
    answer(memory, id, result)
}

pub(super) fn answer(memory: &mut [u8], id: i32, result: Result<u32, Errno>) -> HostResult {
    memory::put(memory, id, result.unwrap_or(0).to_le_bytes())?;
    Ok(errno(result.map(|_| ())))
}

fn start(
    invocation: &mut Invocation,
    name: &str,
    options: Option<Box<SpawnOptions>>,
) -> wasmtime::Result<Result<u32, Errno>> {
    let service = is_service(name);
    if let Err(error) = check(invocation, name, service) {
        return Ok(Err(error));
    }
    pay_owed(invocation)?;
    let address = pick_address(invocation);
    let opened = if service {
        invocation.streams.open_to_service(address)
    } else {
        invocation.streams.open(address)
    };
    let id = match opened {
        Ok(id) => id,
        Err(error) => return Ok(Err(error)),
    };
    invocation.send(
        None,
        Body::Spawn {
            name: name.to_owned(),
            address,
            options,
        },
    )?;
    Ok(Ok(id))
}

/// Tells the master what was read of streams that have ended since.
pub(super) fn pay_owed(invocation: &mut Invocation) -> wasmtime::Result<()> {
    for (of, bytes) in invocation.streams.take_owed() {
        invocation.send(Some(of), Body::Credit(bytes))?;
    }
    Ok(())
}

fn check(invocation: &Invocation, name: &str, service: bool) -> Result<(), Errno> {
    let limits = &invocation.limits;
    if name.is_empty() || name.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(Errno::INVAL);
    }
    if name.len() > MAX_SPAWN_NAME {
        return Err(Errno::NAMETOOLONG);
    }
    // A service starts nobody.
    if !service && limits.depth_left == 1 {
        return Err(Errno::PERM);
    }
    if limits.children != 0 && invocation.streams.live_children() >= limits.children {
        return Err(Errno::AGAIN);
    }
    Ok(())
}

/// A random address with the prefix that was given, if any.
pub(super) fn pick_address(invocation: &Invocation) -> Address {
    let bits = invocation.startup.address_prefix_bits.min(63);
    let random_part = u64::MAX >> bits;
    let prefix = invocation.startup.address_prefix & !random_part;
    loop {
        if let Some(address) = Address::new(prefix | (random::number() & random_part)) {
            return address;
        }
    }
}
