//! `ip`: who may ask.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::fields::{Field, Fields};
use super::super::problem::{Problem, Problems, quote};
use super::super::route::scalar;
use super::super::tree::Value;
use super::super::{codes, schema};

/// Addresses that may ask, and that may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpRules {
    /// Only these; `None`: all.
    pub allow: Option<Vec<IpNet>>,
    /// None of these, also where `allow` has them.
    pub deny: Vec<IpNet>,
}

pub(super) fn read(field: Field<'_>, problems: &mut Problems) -> Option<IpRules> {
    let fields = Fields::read(&field.entry.value, &schema::IP_RULES, problems)?;
    let allow = fields.get("allow");
    if let Some(field) = allow
        && matches!(&field.entry.value.value, Value::List(items) if items.is_empty())
    {
        let problem = Problem::new(&codes::IP_RANGE, field.span(), "nobody may ask");
        problems.push(problem.help("remove the key to let everybody ask"));
    }
    let allow = allow.map(|field| ranges(field, problems));
    let deny = fields.get("deny");
    Some(IpRules {
        allow,
        deny: deny.map_or_else(Vec::new, |field| ranges(field, problems)),
    })
}

fn ranges(field: Field<'_>, problems: &mut Problems) -> Vec<IpNet> {
    let mut ranges = Vec::new();
    for item in field.list(problems) {
        let Some(text) = scalar(item, field, problems) else {
            continue;
        };
        let help = match range(text) {
            Ok(range) => {
                ranges.push(range);
                continue;
            }
            Err(help) => help,
        };
        let message = format!("{} is not a range of addresses", quote(text));
        let problem = Problem::new(&codes::IP_RANGE, item.span.clone(), message);
        problems.push(problem.help(help));
    }
    ranges
}

/// The range, or what to write.
fn range(text: &str) -> Result<IpNet, String> {
    let alone = text.parse::<IpAddr>().map(IpNet::from);
    let Ok(range) = alone.or_else(|_| text.parse::<IpNet>()) else {
        return Err("write an address, or a range such as `10.0.0.0/8`".to_owned());
    };
    // Nobody should think that the rest of an address counts.
    if range.trunc() != range {
        return Err(format!("write `{}`", range.trunc()));
    }
    Ok(canonical(range))
}

/// A range of IPv4 addresses that is written in IPv6, as one of IPv4.
fn canonical(range: IpNet) -> IpNet {
    let IpNet::V6(six) = range else { return range };
    let mapped = six.addr().to_ipv4_mapped();
    match (mapped, six.prefix_len().checked_sub(96)) {
        (Some(four), Some(prefix)) => ipnet::Ipv4Net::new(four, prefix).map_or(range, IpNet::V4),
        _ => range,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_begins_at_its_first_address_and_mapped_ones_are_of_ipv4() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(range(text).unwrap().to_string(), shown);
        }
        assert_eq!(range("10.1.2.3/8"), Err("write `10.0.0.0/8`".to_owned()));
        for text in ["10.0.0.0/33", "10.0.0", "localhost", "", "*", "010.0.0.1"] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
