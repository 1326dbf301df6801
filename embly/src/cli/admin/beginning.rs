//! The address of an invocation, or only its beginning: that is what a terminal has room for.

use std::str::FromStr;

use protos::Address;

use crate::admin::api;

/// Hex digits with which an address begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning(String);

impl FromStr for Beginning {
    type Err = protos::NotAnAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text.len() == 16 || !is_hex || text.is_empty() {
            let address: Address = text.parse()?;
            return Ok(Self(address.to_string()));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl Beginning {
    /// The address, where it is whole.
    pub fn whole(&self) -> Option<&str> {
        (self.0.len() == 16).then_some(&self.0)
    }

    /// Whether this address begins so.
    pub fn is_of(&self, address: &str) -> bool {
        address.starts_with(&self.0)
    }

    /// The only one of these whose address begins so; or what to say.
    pub fn find<'a>(&self, all: &'a [api::Invocation]) -> Result<&'a str, String> {
        let mut found = all.iter().filter(|one| self.is_of(&one.address));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(&one.address),
            (None, _) => Err(format!(
                "no invocation runs whose address begins with {}: `embly ps` shows those that do",
                self.0
            )),
            (Some(one), Some(other)) => Err(format!(
                "several invocations have an address that begins with {}, as {} and {}: type more of it",
                self.0, one.address, other.address
            )),
        }
    }
}
