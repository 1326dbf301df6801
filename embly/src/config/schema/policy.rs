//! The keys of what a gateway or a route does to requests and responses.

use super::{Key, Section, optional, required};

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

pub(super) const RATE: Key = optional(
    "rate",
    "rate: {requests: 100/s, burst: 200}",
    &["rate_limit", "throttle", "limit"],
);

pub(super) const CORS: Key = optional(
    "cors",
    "cors: {origins: [\"https://app.example.com\"]}",
    &["cross_origin", "access_control"],
);

pub(super) const AUTH: Key = optional(
    "auth",
    "auth: {basic: {users: {alice: \"$argon2id$…\"}}}",
    &["authentication", "authorization", "login"],
);

pub(super) const BEFORE: Key = optional(
    "before",
    "before: NAME",
    &["middleware", "forward_auth", "auth_request", "in_front"],
);

pub(super) const COMPRESS: Key = optional(
    "compress",
    "compress: true",
    &["compression", "gzip", "encode", "brotli"],
);

pub(in crate::config) static RATE_RULES: Section = Section {
    what: "`rate`",
    keys: &[
        required("requests", "requests: 100/s", &["rate", "limit", "average"]),
        optional("burst", "burst: 200", &["capacity", "bucket"]),
        optional("by", "by: client", &["key", "per"]),
    ],
};

pub(in crate::config) static CORS_RULES: Section = Section {
    what: "`cors`",
    keys: &[
        required(
            "origins",
            "origins: [\"https://app.example.com\"]",
            &["origin", "allow_origins", "allowed_origins"],
        ),
        optional("methods", "methods: [GET, PUT]", &["allow_methods"]),
        optional("headers", "headers: [content-type]", &["allow_headers"]),
        optional("expose", "expose: [etag]", &["expose_headers", "exposed"]),
        optional(
            "credentials",
            "credentials: true",
            &["allow_credentials", "cookies"],
        ),
        optional("max_age", "max_age: 1h", &["cache", "maxage"]),
    ],
};

pub(in crate::config) static AUTH_RULES: Section = Section {
    what: "`auth`",
    keys: &[
        optional(
            "basic",
            "basic: {users: {alice: \"$argon2id$…\"}}",
            &["users", "password"],
        ),
        optional("bearer", "bearer: [\"sha256:…\"]", &["tokens", "token"]),
        optional(
            "jwt",
            "jwt: {keys: ./jwks.json, audience: api}",
            &["jwks", "oidc"],
        ),
    ],
};

pub(in crate::config) static AUTH_BASIC: Section = Section {
    what: "`basic`",
    keys: &[
        required(
            "users",
            "users: {alice: \"$argon2id$…\"}",
            &["user", "accounts"],
        ),
        optional("realm", "realm: staff", &["name", "title"]),
    ],
};

pub(in crate::config) static AUTH_JWT: Section = Section {
    what: "`jwt`",
    keys: &[
        required("keys", "keys: ./jwks.json", &["jwks", "key", "file"]),
        optional("issuer", "issuer: \"https://id.example.com\"", &["iss"]),
        optional("audience", "audience: api", &["aud"]),
        optional(
            "algorithms",
            "algorithms: [RS256, ES256]",
            &["algs", "alg", "algorithm"],
        ),
    ],
};

pub(in crate::config) static COMPRESS_RULES: Section = Section {
    what: "`compress`",
    keys: &[
        optional(
            "types",
            "types: [text/html, application/json]",
            &["mime", "content_types", "type"],
        ),
        optional("least", "least: 1KiB", &["min", "minimum", "min_size"]),
    ],
};
