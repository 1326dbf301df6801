//! The machine-wide budget for bytes under way.

/// How many bytes of credit may be given out in all.
#[derive(Debug)]
pub struct Budget {
    used: u64,
    limit: u64,
}

impl Budget {
    /// A budget of so many bytes.
    pub const fn new(limit: u64) -> Self {
        Self { used: 0, limit }
    }

    /// Bytes given out.
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Takes `bytes` if they are there.
    pub fn take(&mut self, bytes: u32) -> bool {
        let wanted = self.used + u64::from(bytes);
        let there = wanted <= self.limit;
        if there {
            self.used = wanted;
        }
        there
    }

    /// Gives `bytes` back.
    pub fn give_back(&mut self, bytes: u32) {
        self.used = self.used.saturating_sub(bytes.into());
    }
}
