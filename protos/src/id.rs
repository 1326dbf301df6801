//! Addresses and slots.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Names an invocation, a gateway's side of a request, a listener or a service
/// call. Random, never 0, shown everywhere as 16 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(NonZeroU64);

impl Address {
    /// The address with this number, or `None` for 0.
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number, as it stands in messages.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.get())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address: 1 to 16 hex digits, not all zero, are expected")]
pub struct NotAnAddress(String);

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex =
            !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| u64::from_str_radix(text, 16).ok().and_then(Self::new))
            .flatten()
            .ok_or_else(|| NotAnAddress(text.to_owned()))
    }
}

/// Numbers the connection between the master and one wrapper process. The first
/// thing a wrapper says, as 8 bytes, little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Slot(pub u64);

impl Slot {
    /// Length of [`Slot::to_bytes`].
    pub const BYTES: usize = 8;

    /// What the wrapper says first.
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0.to_le_bytes()
    }

    /// The slot that a wrapper named.
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }
}

/// The most characters of a name: a label of a host name has at most as many.
pub const LONGEST_NAME: usize = 63;

/// Whether what has this name is a service, which the host provides: a function has no slash in
/// its name.
pub fn is_service(name: &str) -> bool {
    name.contains('/')
}

/// Whether functions, and invocations, can have this name: `[a-z][a-z0-9-]*`.
pub fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_16_lower_case_hex_digits_and_reads_back() {
        let address = Address::new(0xAB).unwrap();
        assert_eq!(address.to_string(), "00000000000000ab");
        assert_eq!("00000000000000ab".parse(), Ok(address));
        assert_eq!("AB".parse(), Ok(address));
    }

    #[test]
    fn zero_and_other_texts_are_no_address() {
        assert_eq!(Address::new(0), None);
        for text in [
            "",
            "0",
            "0000000000000000",
            "+1",
            "xyz",
            "00000000000000000",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
