//! How severe a line of a log is, as syslog counts (RFC 5424, section 6.2.1): less is more severe.

/// How severe a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Severity {
    /// Something has failed.
    Error = 3,
    /// Something needs a look.
    Warning = 4,
    /// The ordinary course of things.
    Info = 6,
    /// For whoever looks for a mistake.
    Debug = 7,
}

impl Severity {
    /// All of them, the most severe first.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warning, Self::Info, Self::Debug];

    /// The number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The one with this number; the next less severe one for a number between two, and for what is
    /// more severe than any the most severe one. `None` for 0 and above all numbers.
    pub fn new(number: u32) -> Option<Self> {
        let known = |it: &Self| u32::from(it.number()) >= number;
        Self::ALL.into_iter().find(known).filter(|_| number > 0)
    }

    /// What a line counts as of which its function does not say how severe it is.
    pub const fn of_stream(stream: u8) -> Self {
        if stream == 1 {
            Self::Info
        } else {
            Self::Warning
        }
    }

    /// Whether it is at least as severe as this number says; 0 is all.
    pub fn is_wanted(self, least: u32) -> bool {
        least == 0 || u32::from(self.number()) <= least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_syslog_and_what_is_between_is_the_less_severe() {
        let numbers = Severity::ALL.map(Severity::number);
        assert_eq!(numbers, [3, 4, 6, 7]);
        let read = [0, 1, 3, 4, 5, 6, 7, 8].map(Severity::new);
        let [error, warning, info, debug] = Severity::ALL.map(Some);
        assert_eq!(read, [None, error, error, warning, info, info, debug, None]);
        assert!(Severity::Warning.is_wanted(4) && Severity::Debug.is_wanted(0));
        assert!(!Severity::Info.is_wanted(4));
    }
}
