//! What kind of address an IP address is: one table.
//!
//! From the IANA registries of special-purpose addresses (RFC 6890 and what followed it), and the
//! documents of the clouds for where their machines find credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who may connect to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Everybody whose host is listed.
    Public,
    /// This machine.
    Loopback,
    /// A network of the operator's own.
    Private,
    /// Where machines of a cloud find their credentials, and other services of the link.
    Metadata,
    /// Nobody: it is no address of a server.
    Forbidden,
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Who may connect to it.
    pub class: Class,
    /// What it is, as in "`10.0.0.1` is a private address".
    pub what: &'static str,
}

const fn kind(class: Class, what: &'static str) -> Kind {
    Kind { class, what }
}

/// Addresses that begin with the same bits.
struct Block<A> {
    first: A,
    length: u32,
    kind: Kind,
}

const fn v4(
    [a, b, c, d]: [u8; 4],
    length: u32,
    class: Class,
    what: &'static str,
) -> Block<Ipv4Addr> {
    Block {
        first: Ipv4Addr::new(a, b, c, d),
        length,
        kind: kind(class, what),
    }
}

const fn v6(first: u128, length: u32, class: Class, what: &'static str) -> Block<Ipv6Addr> {
    Block {
        first: Ipv6Addr::from_bits(first),
        length,
        kind: kind(class, what),
    }
}

use Class::{Forbidden, Loopback, Metadata, Private, Public};

const CLOUD: &str = "an address where a cloud's machine finds its credentials";
const UNSPECIFIED: &str = "not the address of a machine";
const DOCUMENTATION: &str = "an address for documentation";
const TRANSITION: &str = "an address of a way to wrap IPv4 in IPv6 that is given up";

/// The first that fits counts.
static V4: &[Block<Ipv4Addr>] = &[
    // RFC 1122; Linux connects to this machine.
    v4([0, 0, 0, 0], 8, Forbidden, UNSPECIFIED),
    // RFC 1918
    v4([10, 0, 0, 0], 8, Private, "a private address"),
    // Alibaba Cloud, "instance metadata"
    v4([100, 100, 100, 200], 32, Metadata, CLOUD),
    // RFC 6598
    v4(
        [100, 64, 0, 0],
        10,
        Private,
        "an address behind a carrier's NAT",
    ),
    // RFC 1122
    v4([127, 0, 0, 0], 8, Loopback, "a loopback address"),
    // Azure, "What is IP address 168.63.129.16?"
    v4([168, 63, 129, 16], 32, Metadata, CLOUD),
    // RFC 3927. AWS, Azure, Google Cloud, DigitalOcean, Hetzner, OpenStack, Oracle and others:
    // 169.254.169.254; ECS 169.254.170.2, EKS 169.254.170.23, Scaleway 169.254.42.42,
    // Tencent 169.254.0.23
    v4(
        [169, 254, 0, 0],
        16,
        Metadata,
        "a link-local address, where clouds keep credentials",
    ),
    // RFC 1918
    v4([172, 16, 0, 0], 12, Private, "a private address"),
    // Oracle Cloud, "instance metadata", before 169.254.169.254
    v4([192, 0, 0, 192], 32, Metadata, CLOUD),
    // RFC 6890
    v4([192, 0, 0, 0], 24, Forbidden, "an address for protocols"),
    // RFC 5737
    v4([192, 0, 2, 0], 24, Forbidden, DOCUMENTATION),
    // RFC 7526
    v4([192, 88, 99, 0], 24, Forbidden, TRANSITION),
    // RFC 1918
    v4([192, 168, 0, 0], 16, Private, "a private address"),
    // RFC 2544
    v4([198, 18, 0, 0], 15, Private, "an address for measurements"),
    // RFC 5737
    v4([198, 51, 100, 0], 24, Forbidden, DOCUMENTATION),
    v4([203, 0, 113, 0], 24, Forbidden, DOCUMENTATION),
    // RFC 5771
    v4([224, 0, 0, 0], 4, Forbidden, "a multicast address"),
    // RFC 1112, with the broadcast address of RFC 919
    v4([240, 0, 0, 0], 4, Forbidden, "a reserved address"),
];

/// The first that fits counts; what none fits is [`RESERVED`].
static V6: &[Block<Ipv6Addr>] = &[
    // RFC 4291
    v6(0, 128, Forbidden, UNSPECIFIED),
    v6(1, 128, Loopback, "a loopback address"),
    // AWS: IMDS `::254`, EKS `::23`
    v6(0xfd00_0ec2 << 96, 32, Metadata, CLOUD),
    // Google Cloud, "metadata server" of machines with IPv6 only
    v6(0xfd20_00ce << 96 | 0x254, 128, Metadata, CLOUD),
    // Oracle Cloud
    v6(0xfd00_00c1 << 96 | 0xa9fe_a9fe, 128, Metadata, CLOUD),
    // Scaleway
    v6(0xfd00_0042 << 96 | 0x42, 128, Metadata, CLOUD),
    // Akamai (Linode)
    v6(0xfd00_a9fe_a9fe << 80 | 1, 128, Metadata, CLOUD),
    // RFC 4193
    v6(0xfc00 << 112, 7, Private, "a private address"),
    // RFC 4291; OpenStack's metadata at fe80::a9fe:a9fe. They need a zone as well.
    v6(0xfe80 << 112, 10, Forbidden, "a link-local address"),
    // RFC 3879
    v6(0xfec0 << 112, 10, Forbidden, "a site-local address"),
    // RFC 4291
    v6(0xff00 << 112, 8, Forbidden, "a multicast address"),
    // RFC 4380: Teredo, an IPv4 address with all bits turned over at its end
    v6(0x2001_0000 << 96, 32, Forbidden, TRANSITION),
    // RFC 2928, with benchmarks (RFC 5180) and ORCHID (RFC 4843, 7343)
    v6(0x2001 << 112, 23, Forbidden, "an address for protocols"),
    // RFC 3849, RFC 9637
    v6(0x2001_0db8 << 96, 32, Forbidden, DOCUMENTATION),
    v6(0x3fff << 112, 20, Forbidden, DOCUMENTATION),
    // RFC 7526: 6to4, with an IPv4 address after the first two bytes
    v6(0x2002 << 112, 16, Forbidden, TRANSITION),
    // RFC 4291: all that are given to machines of the internet
    v6(0x2000 << 112, 3, Public, "a public address"),
];

const PUBLIC: Kind = kind(Public, "a public address");

/// Of IPv6 everything else: not given to anybody, RFC 4291 and the registry. With IPv4-compatible
/// ones (`::a.b.c.d`), those of RFC 2765 (`::ffff:0:a.b.c.d`), NAT64 of a network of one's own (RFC
/// 8215), those that discard (RFC 6666) and segments (RFC 9602).
const RESERVED: Kind = kind(Forbidden, "a reserved address");

/// RFC 6052: a gateway of the network connects to the IPv4 address in the last four bytes.
const NAT64: u128 = 0x0064_ff9b << 96;

/// What kind of address this is.
pub fn classify(address: IpAddr) -> Kind {
    match address.to_canonical() {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => of_v6(address),
    }
}

fn of_v4(address: Ipv4Addr) -> Kind {
    let fits = |block: &&Block<Ipv4Addr>| {
        let differs = address.to_bits() ^ block.first.to_bits();
        differs.leading_zeros() >= block.length
    };
    V4.iter().find(fits).map_or(PUBLIC, |block| block.kind)
}

fn of_v6(address: Ipv6Addr) -> Kind {
    let bits = address.to_bits();
    if bits >> 32 == NAT64 >> 32 {
        return of_v4(Ipv4Addr::from_bits(bits as u32));
    }
    let fits = |block: &&Block<Ipv6Addr>| {
        let differs = bits ^ block.first.to_bits();
        differs.leading_zeros() >= block.length
    };
    V6.iter().find(fits).map_or(RESERVED, |block| block.kind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class(text: &str) -> Class {
        classify(text.parse().unwrap()).class
    }

    #[test]
    fn the_first_and_the_last_address_of_each_block_and_its_neighbours() {
        for (class_is, inside, outside) in [
            (Forbidden, ["0.0.0.0", "0.255.255.255"], ["", "1.0.0.0"]),
            (
                Private,
                ["10.0.0.0", "10.255.255.255"],
                ["9.255.255.255", "11.0.0.0"],
            ),
            (
                Private,
                ["100.64.0.0", "100.127.255.255"],
                ["100.63.255.255", "100.128.0.0"],
            ),
            (
                Loopback,
                ["127.0.0.0", "127.255.255.255"],
                ["126.255.255.255", "128.0.0.0"],
            ),
            (
                Metadata,
                ["169.254.0.0", "169.254.255.255"],
                ["169.253.255.255", "169.255.0.0"],
            ),
            (
                Private,
                ["172.16.0.0", "172.31.255.255"],
                ["172.15.255.255", "172.32.0.0"],
            ),
            (
                Forbidden,
                ["192.0.0.0", "192.0.0.255"],
                ["191.255.255.255", "192.0.1.0"],
            ),
            (
                Forbidden,
                ["192.0.2.0", "192.0.2.255"],
                ["192.0.1.255", "192.0.3.0"],
            ),
            (
                Forbidden,
                ["192.88.99.0", "192.88.99.255"],
                ["192.88.98.255", "192.88.100.0"],
            ),
            (
                Private,
                ["192.168.0.0", "192.168.255.255"],
                ["192.167.255.255", "192.169.0.0"],
            ),
            (
                Private,
                ["198.18.0.0", "198.19.255.255"],
                ["198.17.255.255", "198.20.0.0"],
            ),
            (
                Forbidden,
                ["198.51.100.0", "198.51.100.255"],
                ["198.51.99.255", "198.51.101.0"],
            ),
            (
                Forbidden,
                ["203.0.113.0", "203.0.113.255"],
                ["203.0.112.255", "203.0.114.0"],
            ),
            (
                Forbidden,
                ["224.0.0.0", "255.255.255.255"],
                ["223.255.255.255", ""],
            ),
            (
                Forbidden,
                ["2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"],
                ["", "2001:200::"],
            ),
            (
                Forbidden,
                ["2001:db8::", "2001:db8:ffff::"],
                ["2001:db7:ffff::", "2001:db9::"],
            ),
            (
                Forbidden,
                ["2002::", "2002:ffff::"],
                ["2001:ffff::", "2003::"],
            ),
            (Forbidden, ["3fff::", "3fff:fff::"], ["3ffe:ffff::", ""]),
        ] {
            for text in inside {
                assert_eq!(class(text), class_is, "{text}");
            }
            for text in outside.into_iter().filter(|text| !text.is_empty()) {
                assert_eq!(class(text), Public, "{text}");
            }
        }
    }

    #[test]
    fn of_ipv6_only_what_machines_of_the_internet_have_is_public() {
        for (text, is) in [
            ("::", Forbidden),
            ("::1", Loopback),
            ("::2", Forbidden),
            ("::127.0.0.1", Forbidden),
            ("::8.8.8.8", Forbidden),
            ("::ffff:0:127.0.0.1", Forbidden),
            ("64:ff9b:1::8.8.8.8", Forbidden),
            ("100::1", Forbidden),
            ("1fff:ffff::1", Forbidden),
            ("2000::", Public),
            ("2606:4700::1111", Public),
            ("3ffe:ffff::", Public),
            ("4000::", Forbidden),
            ("5f00::1", Forbidden),
            ("fc00::1", Private),
            ("fd12:3456::1", Private),
            ("fe00::1", Forbidden),
            ("fe80::1", Forbidden),
            ("fe80::a9fe:a9fe", Forbidden),
            ("fec0::1", Forbidden),
            ("ff02::1", Forbidden),
        ] {
            assert_eq!(class(text), is, "{text}");
        }
    }

    #[test]
    fn credentials_of_the_clouds_are_in_a_class_of_their_own() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "fd00:a9fe:a9fe::1",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
        ] {
            assert_eq!(class(text), Metadata, "{text}");
        }
    }

    #[test]
    fn no_block_is_hidden_by_one_before_it() {
        for (at, block) in V4.iter().enumerate() {
            let before = &V4[..at];
            let hides = |other: &Block<Ipv4Addr>| {
                other.length <= block.length
                    && (other.first.to_bits() ^ block.first.to_bits()).leading_zeros()
                        >= other.length
            };
            assert!(!before.iter().any(hides), "{}", block.first);
        }
        for (at, block) in V6.iter().enumerate() {
            let before = &V6[..at];
            let hides = |other: &Block<Ipv6Addr>| {
                other.length <= block.length
                    && (other.first.to_bits() ^ block.first.to_bits()).leading_zeros()
                        >= other.length
            };
            assert!(!before.iter().any(hides), "{}", block.first);
        }
    }

    /// The forms in which IPv6 can carry an IPv4 address.
    fn wrapped(inner: Ipv4Addr) -> [u128; 7] {
        let bits = u128::from(inner.to_bits());
        [
            bits,
            0xffff << 32 | bits,
            0xffff << 48 | bits,
            NAT64 | bits,
            0x0064_ff9b_0001 << 80 | bits,
            0x2002 << 112 | bits << 80,
            // Teredo by way of a public server.
            0x2001_0000 << 96 | 0x0808_0808 << 64 | u128::from(!inner.to_bits()),
        ]
    }

    proptest! {
        #[test]
        fn no_form_of_an_address_reaches_more_than_the_address(bits: u32) {
            let inner = Ipv4Addr::from_bits(bits);
            let own = of_v4(inner).class;
            for form in wrapped(inner) {
                let form = IpAddr::V6(Ipv6Addr::from_bits(form));
                let class = classify(form).class;
                let least = form == IpAddr::V6(Ipv6Addr::LOCALHOST);
                prop_assert!(least || class == own || class == Forbidden, "{} {:?}", form, class);
            }
        }

        /// The blocks of std that are stable, as a second opinion.
        #[test]
        fn what_is_public_is_so_for_std_as_well(bits: u128) {
            let v4 = Ipv4Addr::from_bits(bits as u32);
            if of_v4(v4).class == Public {
                prop_assert!(!v4.is_private() && !v4.is_loopback() && !v4.is_link_local());
                prop_assert!(!v4.is_multicast() && !v4.is_broadcast() && !v4.is_unspecified());
                prop_assert!(!v4.is_documentation());
            }
            let v6 = Ipv6Addr::from_bits(bits);
            if of_v6(v6).class == Public {
                prop_assert!(!v6.is_unique_local() && !v6.is_unicast_link_local());
                prop_assert!(!v6.is_multicast() && !v6.is_loopback() && !v6.is_unspecified());
            }
        }
    }
}
