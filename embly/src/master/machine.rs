//! What the machine has, and how much of it may be used.

use crate::config::Machine;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Credit given out in all may be this part of the memory of the machine, or of the container.
const BUDGET_PART: u64 = 4;

/// Where the machine does not say how much memory it has, in bytes.
const BUDGET_UNKNOWN: u64 = 256 << 20;

/// Every live invocation takes a descriptor, so as many as are allowed are taken.
pub fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // What is not granted shows when descriptors run out, with an error of its own.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

/// What is in the memory of this process is not written anywhere if it crashes.
pub fn no_core_dumps() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Core);
    // With 0 there is no file, but a program that takes crashes (`kernel.core_pattern`) gets them all
    // the same; the kernel gives it none at a limit of 1 byte, which is too small for a file as well.
    let least = maximum.map_or(1, |most| most.min(1));
    let limits = Rlimit {
        current: Some(least),
        maximum,
    };
    // One may always lower it.
    let _ = setrlimit(Resource::Core, limits);
}

/// How many descriptors a master can have open; `None` without limit.
pub fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// Bytes of credit that may be given out in all.
pub fn byte_budget() -> u64 {
    Machine::here()
        .memory
        .map_or(BUDGET_UNKNOWN, |bytes| bytes / BUDGET_PART)
}
