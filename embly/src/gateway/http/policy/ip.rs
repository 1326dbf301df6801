//! `ip`: who may ask.

use std::net::IpAddr;

use crate::config::IpRules;

/// Whether a client may ask. IPv4 that comes in IPv6 is IPv4.
pub fn may_ask(rules: &IpRules, client: IpAddr) -> bool {
    let client = client.to_canonical();
    let allowed = rules.allow.as_ref();
    let allowed = allowed.is_none_or(|ranges| ranges.iter().any(|range| range.contains(&client)));
    allowed && !rules.deny.iter().any(|range| range.contains(&client))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_wins_and_ipv4_is_ipv4_however_it_comes() {
        let ranges = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        let rules = IpRules {
            allow: Some(ranges(&["10.0.0.0/8", "2001:db8::/32"])),
            deny: ranges(&["10.1.0.0/16"]),
        };
        for (client, may) in [
            ("10.2.3.4", true),
            ("10.1.3.4", false),
            ("11.0.0.1", false),
            ("::ffff:10.2.3.4", true),
            ("::ffff:10.1.3.4", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
            // Not mapped: an address of IPv6.
            ("::10.2.3.4", false),
        ] {
            assert_eq!(may_ask(&rules, client.parse().unwrap()), may, "{client}");
        }
        let only_deny = IpRules {
            allow: None,
            deny: ranges(&["192.0.2.0/24"]),
        };
        assert!(may_ask(&only_deny, "::1".parse().unwrap()));
        assert!(!may_ask(&only_deny, "192.0.2.9".parse().unwrap()));
    }
}
