//! The keys of what a gateway or a route does to requests and responses.

use super::{Key, Section, optional};

pub(super) const IP: Key = optional(
    "ip",
    "ip: {allow: [10.0.0.0/8], deny: [10.1.0.0/16]}",
    &["addresses", "whitelist", "blacklist", "firewall"],
);

pub(super) const HEADERS: Key = optional(
    "headers",
    "headers: {set: {x-frame-options: DENY}, remove: [server]}",
    &["header", "add_header", "response_headers"],
);

pub(in crate::config) static IP_RULES: Section = Section {
    what: "`ip`",
    keys: &[
        optional("allow", "allow: [10.0.0.0/8]", &["permit", "only"]),
        optional("deny", "deny: [192.0.2.0/24]", &["block", "ban"]),
    ],
};

pub(in crate::config) static HEADER_RULES: Section = Section {
    what: "`headers`",
    keys: &[
        optional("set", "set: {x-frame-options: DENY}", &["add", "response"]),
        optional("remove", "remove: [server]", &["delete", "unset", "hide"]),
        optional("request", "request: {remove: [cookie]}", &["requests"]),
    ],
};

pub(in crate::config) static HEADER_REQUEST: Section = Section {
    what: "`request`, in `headers`",
    keys: &[
        optional("set", "set: {x-tier: gold}", &["add"]),
        optional("remove", "remove: [cookie]", &["delete", "unset", "hide"]),
    ],
};
