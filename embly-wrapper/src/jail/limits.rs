//! Resource limits, the last line behind those that Embly counts itself.

use std::fs::File;
use std::io::{self, Read};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::control::MAX_BATCH;

/// What a wrapper may take beside the memory of its guest, in bytes: streams (32 MiB of credit
/// and 16 MiB of what was not read), tables (8 MiB), a log, and what was loaded.
pub const HOST_MEMORY: u64 = 128 << 20;

/// Descriptors of a fork server: a whole batch, its own few, and some to spare.
const DESCRIPTORS: u64 = MAX_BATCH as u64 + 11;

const _: () = assert!(DESCRIPTORS > MAX_BATCH as u64 + 6);

/// Memory of a compiler, in bytes. A module of 60 MB took a tenth of it with two cores; each core
/// adds the function that it is at.
pub const COMPILER_MEMORY: u64 = 4 << 30;

/// CPU time of a compiler, all its threads together, in seconds. A module of 60 MB took 22.
pub const COMPILER_CPU: u64 = 300;

/// Descriptors of a process that runs SQL: the three files of a database, its socket, and some to
/// spare.
const SQL_DESCRIPTORS: u64 = 32;

/// Of a fork server and its wrappers. `memory` is the limit of the function, `status` is
/// `/proc/self/status`.
///
/// # Errors
/// That of `setrlimit`.
pub fn server(memory: Option<u64>, status: &mut File) -> io::Result<()> {
    nothing_of_what_nobody_needs()?;
    // No files are written.
    set(Resource::Fsize, 0)?;
    set(Resource::Nofile, DESCRIPTORS)?;
    if let Some(memory) = memory {
        // Address space is no measure: each linear memory reserves more than 4 GiB of it. What
        // is there already counts as well, so that a module that begins with more than its limit
        // lives to be told so.
        let data = memory.max(data(status)?).saturating_add(HOST_MEMORY);
        set(Resource::Data, data)?;
    }
    // The user may be another one from now on, whose processes are those of all functions: the
    // limit of the user before is not meant for them. `concurrency` is.
    let most = Rlimit {
        current: None,
        maximum: None,
    };
    if setrlimit(Resource::Nproc, most).is_err() {
        let maximum = getrlimit(Resource::Nproc).maximum;
        setrlimit(
            Resource::Nproc,
            Rlimit {
                current: maximum,
                maximum,
            },
        )?;
    }
    Ok(())
}

/// Of a compiler, in bytes and seconds.
///
/// # Errors
/// That of `setrlimit`.
pub fn compiler(memory: u64, cpu: u64) -> io::Result<()> {
    nothing_of_what_nobody_needs()?;
    set(Resource::Data, memory)?;
    // At the first the kernel sends a signal of its own, by which the end is told from others.
    let (current, maximum) = (Some(cpu), Some(cpu + 1));
    Ok(setrlimit(Resource::Cpu, Rlimit { current, maximum })?)
}

/// Of a process that runs SQL: bytes of memory, and of each file that it writes.
///
/// # Errors
/// That of `setrlimit`.
pub fn sql(memory: u64, file: u64) -> io::Result<()> {
    nothing_of_what_nobody_needs()?;
    set(Resource::Data, memory)?;
    set(Resource::Fsize, file)?;
    set(Resource::Nofile, SQL_DESCRIPTORS)
}

/// In a wrapper: it cannot start a process or a thread.
///
/// # Errors
/// That of `setrlimit`.
pub fn no_processes() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    Ok(setrlimit(Resource::Nproc, none)?)
}

/// No core is dumped, no memory locked, no priority raised.
fn nothing_of_what_nobody_needs() -> io::Result<()> {
    for resource in [
        Resource::Core,
        Resource::Memlock,
        Resource::Nice,
        Resource::Rtprio,
        Resource::Msgqueue,
    ] {
        set(resource, 0)?;
    }
    Ok(())
}

fn set(resource: Resource, most: u64) -> io::Result<()> {
    // Never above what is allowed already.
    let allowed = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let most = Some(most.min(allowed));
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    Ok(setrlimit(resource, limit)?)
}

/// Bytes of data that this process has now, as the kernel counts them.
fn data(status: &mut File) -> io::Result<u64> {
    let mut text = String::new();
    status.read_to_string(&mut text)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kibibytes.unwrap_or(0) * 1024)
}
