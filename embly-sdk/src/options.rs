//! How a child is started, where that differs from the project file.

use std::time::Duration;

/// What [`spawn_with`](crate::spawn_with) starts, and how.
///
/// ```no_run
/// # use embly_sdk as embly;
/// # use std::time::Duration;
/// use embly::{Error, SpawnOptions, spawn_with};
///
/// fn start() -> Result<(), Error> {
///     let resize = SpawnOptions::new("resize")
///         .arg("--width=200")
///         .env("QUALITY", "80")
///         .memory(32 << 20)
///         .cpu(Duration::from_secs(2));
///     let child = spawn_with(&resize)?;
///     println!("{}", child.status()?);
///     Ok(())
/// }
/// ```
///
/// Limits only lower those of the project file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "nothing is started before `spawn_with`"]
pub struct SpawnOptions {
    name: String,
    args: Vec<String>,
    env: Vec<String>,
    detached: bool,
    memory: u64,
    cpu: u64,
    children: u64,
    levels: Option<u64>,
    wall: u64,
    idle: u64,
    total: u64,
}

impl SpawnOptions {
    /// The function of this name, as the project file has it.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One more argument, after the function's name.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// An environment variable, beside or instead of one of the project file.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push(format!("{key}={value}"));
        self
    }

    /// It does not end with this invocation: it reads how that ended, and goes on up to limits of
    /// its own.
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// At most so many bytes of memory. 0 leaves the limit as it is.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// At most so much CPU time in any 60 s. 0 leaves the limit as it is.
    pub fn cpu(mut self, time: Duration) -> Self {
        self.cpu = micros(time);
        self
    }

    /// At most so long from its start to its exit. Zero leaves the limit as it is.
    pub fn wall(mut self, time: Duration) -> Self {
        self.wall = micros(time);
        self
    }

    /// At most so long without a byte either way. Zero leaves the limit as it is.
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = micros(time);
        self
    }

    /// As [`wall`](Self::wall), whatever else prolongs its life. Zero leaves the limit as it is.
    pub fn total(mut self, time: Duration) -> Self {
        self.total = micros(time);
        self
    }

    /// At most so many live children of its own. 0 leaves the limit as it is.
    pub fn children(mut self, count: u32) -> Self {
        self.children = count.into();
        self
    }

    /// At most so many levels of children below it; 0: it starts none.
    pub fn levels(mut self, count: u32) -> Self {
        self.levels = Some(count.into());
        self
    }

    /// As protobuf, `SpawnOptions` of `comms.proto`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        bytes(&mut out, 1, self.name.as_bytes());
        self.args
            .iter()
            .for_each(|arg| bytes(&mut out, 2, arg.as_bytes()));
        self.env
            .iter()
            .for_each(|variable| bytes(&mut out, 3, variable.as_bytes()));
        number(&mut out, 4, self.detached.into());
        let mut limits = Vec::new();
        number(&mut limits, 1, self.memory);
        number(&mut limits, 2, self.cpu);
        number(&mut limits, 4, self.children);
        // One more than the levels, since 0 is no limit.
        number(&mut limits, 5, self.levels.map_or(0, |levels| levels + 1));
        number(&mut limits, 6, self.wall);
        number(&mut limits, 7, self.idle);
        number(&mut limits, 8, self.total);
        if !limits.is_empty() {
            bytes(&mut out, 5, &limits);
        }
        out
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn decode_for_mock(encoded: &[u8]) -> Option<(String, bool)> {
        let (mut name, mut detached, mut rest) = (String::new(), false, encoded);
        while !rest.is_empty() {
            let tag = take_varint(&mut rest)?;
            let value = take_varint(&mut rest)?;
            if tag & 7 == 2 {
                let (piece, after) = rest.split_at_checked(usize::try_from(value).ok()?)?;
                if tag >> 3 == 1 {
                    name = String::from_utf8(piece.to_vec()).ok()?;
                }
                rest = after;
            } else if tag >> 3 == 4 {
                detached = value != 0;
            }
        }
        Some((name, detached))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A field that is a length and bytes.
fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A field that is a number; 0 is left out.
fn number(out: &mut Vec<u8>, field: u8, value: u64) {
    if value != 0 {
        out.push(field << 3);
        varint(out, value);
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(not(target_arch = "wasm32"))]
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_the_bytes_of_the_protocol() {
        let options = SpawnOptions::new("hello")
            .arg("-v")
            .env("A", "b")
            .detached()
            .memory(128 << 20)
            .cpu(Duration::from_secs(10))
            .children(64)
            .levels(15);
        let hex: String = options
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        // As in the golden bytes of `protos`, without `cpu_window`, which is the master's.
        assert_eq!(
            hex,
            "0a0568656c6c6f12022d761a03413d6220012a0e08808080401080ade20420402810"
        );
        let read = SpawnOptions::decode_for_mock(&options.encode());
        assert_eq!(read, Some(("hello".to_owned(), true)));
        assert_eq!(SpawnOptions::new("x").encode(), b"\n\x01x");
        assert_eq!(
            SpawnOptions::new("x").levels(0).encode()[3..],
            [0x2a, 2, 0x28, 1]
        );
    }
}
