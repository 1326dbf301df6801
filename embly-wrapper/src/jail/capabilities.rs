//! Capabilities: none, in any set, and none to come.

use std::io;

use rustix::io::Errno;
use rustix::thread::{self, CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

/// Capabilities are bits of a u64.
const ALL: u32 = u64::BITS;

/// Drops all, and the ways to get some.
///
/// # Errors
/// Only for the bounding set, which takes a privilege to empty; the others are empty all the same.
pub fn drop_all() -> io::Result<()> {
    let bounding = empty_bounding_set();
    thread::clear_ambient_capability_set()?;
    // A privilege as well, and of use only where the bounding set was not emptied.
    let _ = thread::set_capabilities_secure_bits(
        CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED,
    );
    let none = CapabilitySet::empty();
    thread::set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )?;
    bounding
}

fn empty_bounding_set() -> io::Result<()> {
    for number in 0..ALL {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match thread::capability_is_in_bounding_set(one) {
            Ok(true) => thread::remove_capability_from_bounding_set(one)?,
            Ok(false) => {}
            // The kernel knows no more of them.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
