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
