//! The hosts that a gateway serves.

use std::fmt;

/// `example.test`, or `*.example.test` for every name below it. In lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern(String);

impl HostPattern {
    /// Reads one; `None` for a text that is no host name or IP address.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let name = text.strip_prefix("*.").unwrap_or(&text);
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let is_address = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .is_some_and(|name| name.parse::<std::net::Ipv6Addr>().is_ok());
        let is_name = name.len() <= 253 && name.split('.').all(label);
        (is_name || (is_address && text == name)).then_some(Self(text))
    }

    /// How well it fits the host of a request, which has no port: `None` for not at all, and more
    /// for a more special one.
    pub fn fits(&self, host: &str) -> Option<usize> {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self.0.strip_prefix('*') {
            None => host.eq_ignore_ascii_case(&self.0).then_some(usize::MAX),
            // `.example.test`: something has to stand in front of it.
            Some(end) => {
                let front = host
                    .len()
                    .checked_sub(end.len())
                    .filter(|front| *front > 0)?;
                let (_, tail) = host.split_at_checked(front)?;
                tail.eq_ignore_ascii_case(end).then_some(end.len())
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_fits_itself_and_a_star_every_name_below() {
        let fits = |pattern: &str, host: &str| HostPattern::parse(pattern).unwrap().fits(host);
        assert!(fits("example.test", "EXAMPLE.test").is_some());
        assert!(fits("Example.Test", "example.test.").is_some());
        assert_eq!(fits("example.test", "a.example.test"), None);
        assert!(fits("*.example.test", "a.example.test").is_some());
        assert!(fits("*.example.test", "a.b.example.test").is_some());
        assert_eq!(fits("*.example.test", "example.test"), None);
        assert_eq!(fits("*.example.test", ".example.test"), None);
        assert_eq!(fits("*.example.test", "aexample.test"), None);
        assert!(fits("[::1]", "[::1]").is_some());
        assert!(fits("a.b.test", "a.b.test") > fits("*.b.test", "a.b.test"));
        assert!(fits("*.b.test", "a.b.test") > fits("*.test", "a.b.test"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "", "*", "*.", "a..b", "-a", "a b", "a:80", "http://a", "*.*.a", "*.[::1]", "ä",
        ] {
            assert_eq!(HostPattern::parse(text), None, "{text}");
        }
    }
}
