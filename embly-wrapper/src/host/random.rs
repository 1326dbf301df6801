//! Randomness: always the kernel's, never a state that a fork would copy.

use rustix::rand::{GetRandomFlags, getrandom};

/// Fills `buffer`.
pub fn fill(buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        // Fails only when interrupted, or before the kernel has collected enough at boot,
        // which it waits for.
        if let Ok(bytes) = getrandom(&mut buffer[filled..], GetRandomFlags::empty()) {
            filled += bytes;
        }
    }
}

/// A random number.
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
