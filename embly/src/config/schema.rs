//! The keys of each section of the project file: one table. A new key is a line here and
//! a line where its section is read.

mod policy;

pub(super) use policy::{
    AUTH_BASIC, AUTH_JWT, AUTH_RULES, COMPRESS_RULES, CORS_RULES, HEADER_REQUEST, HEADER_RULES,
    IP_RULES, RATE_RULES,
};

/// A kind of map in the file.
#[derive(Debug)]
pub(super) struct Section {
    /// As in "unknown key in …".
    pub what: &'static str,
    pub keys: &'static [Key],
}

/// A key of a section.
#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    pub required: bool,
    /// What to write, as a whole line; the value is an example.
    pub example: &'static str,
    /// Other names that people try.
    pub also: &'static [&'static str],
}

const fn required(name: &'static str, example: &'static str, also: &'static [&'static str]) -> Key {
    Key {
        name,
        required: true,
        example,
        also,
    }
}

const fn optional(name: &'static str, example: &'static str, also: &'static [&'static str]) -> Key {
    Key {
        name,
        required: false,
        example,
        also,
    }
}

pub(super) static PROJECT: Section = Section {
    what: "a project",
    keys: &[
        required("functions", "functions:", &[]),
        optional(
            "defaults",
            "defaults: {limits: {memory: 64MiB}}",
            &["default", "common", "global"],
        ),
        optional("gateways", "gateways:", &["listeners", "servers"]),
        optional(
            "stores",
            "stores: [{name: default, type: kv}]",
            &["databases", "storage"],
        ),
        optional(
            "logs",
            "logs: [{name: all, type: file, path: all.log}]",
            &["logging", "log", "sinks"],
        ),
        optional(
            "environments",
            "environments: {production: {gateways: [{name: index, port: 80}]}}",
            &["environment", "profiles", "stages", "overlays"],
        ),
    ],
};

/// What an environment may say: the keys of a project.
pub(super) static ENVIRONMENT: Section = Section {
    what: "an environment",
    keys: &[
        optional(
            "functions",
            "functions: [{name: hello, env: {KEY: value}}]",
            &[],
        ),
        optional("defaults", "defaults: {limits: {memory: 64MiB}}", &[]),
        optional("gateways", "gateways: [{name: index, port: 80}]", &[]),
        optional("stores", "stores: [{name: default, size: 1GiB}]", &[]),
        optional("logs", "logs: [{name: all, level: warn}]", &[]),
    ],
};

pub(super) static FUNCTION: Section = Section {
    what: "a function",
    keys: &[
        required("name", "name: hello", &["id"]),
        required(
            "path",
            "path: ./hello",
            &["dir", "folder", "source", "src", "file"],
        ),
        optional("context", "context: ..", &["workspace"]),
        required("language", "language: rust", &["lang", "runtime"]),
        optional(
            "entry",
            "entry: _start",
            &["entrypoint", "handler", "main", "export"],
        ),
        optional(
            "env",
            "env: {KEY: value}",
            &["environment", "variables", "vars"],
        ),
        optional("secrets", "secrets: [STRIPE_KEY]", &["secret"]),
        optional("limits", "limits: {memory: 128MiB}", &["resources"]),
        optional(
            "isolation",
            "isolation: invocation",
            &["isolate", "sandbox"],
        ),
        optional(
            "reuse",
            "reuse: {invocations: 10000, age: 10m}",
            &["recycle", "keep"],
        ),
        optional(
            "parked",
            "parked: {min: 1, max: 64, after: 60s}",
            &["pool", "warm", "scale"],
        ),
        optional(
            "allow",
            "allow: {spawn: [hello]}",
            &["permissions", "rights", "permit"],
        ),
        optional("start", "start: true", &["autostart", "always_on"]),
        optional("restart", "restart: on-failure", &["supervise"]),
        optional("log_level", "log_level: debug", &["level", "verbosity"]),
    ],
};

pub(super) static ALLOW: Section = Section {
    what: "`allow`",
    keys: &[
        optional("spawn", "spawn: [hello]", &["call", "functions"]),
        optional("register", "register: [board]", &["names"]),
        optional("reach", "reach: [board]", &["lookup", "talk_to"]),
        optional(
            "kv",
            "kv: [default, {store: hits, access: read}]",
            &["key_value", "keys"],
        ),
        optional(
            "tcp",
            "tcp: [\"db.example.com:5432\"]",
            &["connect", "sockets", "network", "net"],
        ),
        optional(
            "http",
            "http: [\"https://api.example.com/v1/\"]",
            &["https", "urls", "fetch"],
        ),
        optional("sql", "sql: [main]", &["sqlite", "database"]),
    ],
};

pub(super) static ALLOW_TCP: Section = Section {
    what: "an item of `tcp`",
    keys: &[
        required(
            "address",
            "address: \"db.example.com:5432\"",
            &["host", "to", "addr"],
        ),
        optional("private", "private: true", &["internal", "local"]),
        optional("tls", "tls: true", &["ssl", "secure"]),
        optional("ca", "ca: ./ca.pem", &["certificate", "cacert", "roots"]),
    ],
};

pub(super) static ALLOW_HTTP: Section = Section {
    what: "an item of `http`",
    keys: &[
        required(
            "url",
            "url: \"https://api.example.com/v1/\"",
            &["host", "origin"],
        ),
        optional("private", "private: true", &["internal", "local"]),
        optional("ca", "ca: ./ca.pem", &["certificate", "cacert", "roots"]),
    ],
};

pub(super) static ALLOW_SQL: Section = Section {
    what: "an item of `sql`",
    keys: &[
        required("store", "store: main", &["name"]),
        optional("access", "access: read-write", &["mode", "rights"]),
    ],
};

pub(super) static ALLOW_KV: Section = Section {
    what: "an item of `kv`",
    keys: &[
        required("store", "store: default", &["name"]),
        optional("prefix", "prefix: \"users/\"", &["keys", "key"]),
        optional("access", "access: read-write", &["mode", "rights"]),
    ],
};

pub(super) static STORE: Section = Section {
    what: "a store",
    keys: &[
        required("name", "name: default", &["id"]),
        required("type", "type: kv", &["kind"]),
        optional("path", "path: default.kv", &["file"]),
        optional("durability", "durability: full", &["sync", "fsync"]),
        optional("migrations", "migrations: ./migrations", &["schema"]),
        optional("size", "size: 1GiB", &["max_size", "capacity", "quota"]),
    ],
};

pub(super) static DEFAULTS: Section = Section {
    what: "`defaults`",
    keys: &[
        optional("limits", "limits: {memory: 64MiB}", &["resources"]),
        optional(
            "env",
            "env: {KEY: value}",
            &["environment", "variables", "vars"],
        ),
        optional("log_level", "log_level: debug", &["level", "verbosity"]),
    ],
};

/// A log sink of type file.
pub(super) static LOG_FILE: Section = Section {
    what: "a log of type file",
    keys: &[
        required("name", "name: all", &["id"]),
        required("type", "type: file", &["kind", "to", "sink"]),
        required("path", "path: all.log", &["file", "filename"]),
        optional("format", "format: json", &["style"]),
        optional(
            "rotate",
            "rotate: {size: 10MiB, keep: 5}",
            &["rotation", "logrotate"],
        ),
        optional("level", "level: warn", &["severity", "log_level"]),
        optional("functions", "functions: [hello]", &["function", "only"]),
    ],
};

/// A log sink of type syslog.
pub(super) static LOG_SYSLOG: Section = Section {
    what: "a log of type syslog",
    keys: &[
        required("name", "name: system", &["id"]),
        required("type", "type: syslog", &["kind", "to", "sink"]),
        optional(
            "address",
            "address: \"udp:127.0.0.1:514\"",
            &["socket", "host", "server"],
        ),
        optional("facility", "facility: daemon", &[]),
        optional("level", "level: warn", &["severity", "log_level"]),
        optional("functions", "functions: [hello]", &["function", "only"]),
    ],
};

pub(super) static LOG_ROTATE: Section = Section {
    what: "`rotate`",
    keys: &[
        optional("size", "size: 10MiB", &["max_size", "bytes"]),
        optional("keep", "keep: 5", &["count", "files", "max_files"]),
    ],
};

pub(super) static GATEWAY: Section = Section {
    what: "a gateway",
    keys: &[
        required("name", "name: index", &["id"]),
        required("type", "type: http", &["kind", "protocol"]),
        optional(
            "bind",
            "bind: 127.0.0.1",
            &["address", "addr", "host", "listen"],
        ),
        // Needed where `bind` is an address.
        optional("port", "port: 8082", &[]),
        optional(
            "function",
            "function: hello",
            &["target", "handler", "to", "run"],
        ),
        optional(
            "hosts",
            "hosts: [example.test, \"*.example.test\"]",
            &["domains", "names", "server_name"],
        ),
        optional(
            "routes",
            "routes: [{path: /, function: hello}]",
            &["paths", "rules", "locations"],
        ),
        optional(
            "websocket",
            "websocket: {message: 1MiB}",
            &["ws", "sockets"],
        ),
        optional(
            "tls",
            "tls: {cert: ./cert.pem, key: ./key.pem}",
            &["ssl", "https", "certificates"],
        ),
        optional(
            "proxies",
            "proxies: [127.0.0.1, 10.0.0.0/8]",
            &["trusted_proxies", "trusted", "real_ip_from"],
        ),
        optional(
            "proxy_protocol",
            "proxy_protocol: true",
            &["accept_proxy", "haproxy"],
        ),
        optional(
            "timeouts",
            "timeouts: {head: 30s, body: 60s}",
            &["timeout", "deadlines"],
        ),
        optional(
            "access_log",
            "access_log: access.log",
            &["log", "logs", "logging", "access"],
        ),
        optional(
            "health",
            "health: /healthz",
            &["healthcheck", "health_check", "healthz", "probe"],
        ),
        policy::IP,
        policy::RATE,
        policy::CORS,
        policy::AUTH,
        policy::BEFORE,
        policy::COMPRESS,
        policy::HEADERS,
    ],
};

pub(super) static ACCESS_LOG: Section = Section {
    what: "`access_log`",
    keys: &[
        required("path", "path: access.log", &["file", "name", "to"]),
        optional("format", "format: combined", &["type", "kind", "style"]),
    ],
};

pub(super) static TIMEOUTS: Section = Section {
    what: "`timeouts`",
    keys: &[
        optional("head", "head: 30s", &["header", "headers", "read_header"]),
        optional("body", "body: 60s", &["request", "read", "upload"]),
        optional("response", "response: 60s", &["write", "send", "idle"]),
        optional(
            "keep_alive",
            "keep_alive: 30s",
            &["keepalive", "idle_timeout", "between"],
        ),
    ],
};

pub(super) static TLS: Section = Section {
    what: "`tls`",
    keys: &[
        optional(
            "cert",
            "cert: ./cert.pem",
            &["certificate", "chain", "crt", "pem"],
        ),
        optional("key", "key: ./key.pem", &["private_key", "secret"]),
        optional("dev", "dev: true", &["local", "self_signed", "auto"]),
    ],
};

pub(super) static CRON: Section = Section {
    what: "a gateway of type cron",
    keys: &[
        required("name", "name: digest", &["id"]),
        required("type", "type: cron", &["kind", "protocol"]),
        required(
            "schedule",
            "schedule: \"*/5 * * * *\"",
            &["cron", "when", "every", "interval"],
        ),
        required(
            "function",
            "function: hello",
            &["target", "handler", "to", "run"],
        ),
        optional("timezone", "timezone: Europe/Berlin", &["zone", "tz"]),
        optional("overlap", "overlap: skip", &["concurrency", "concurrent"]),
        optional("missed", "missed: skip", &["catch_up", "catchup"]),
        optional("jitter", "jitter: 30s", &["splay", "random", "delay"]),
    ],
};

pub(super) static ROUTE: Section = Section {
    what: "a route",
    keys: &[
        required(
            "path",
            "path: \"/users/{id}\"",
            &["route", "pattern", "match"],
        ),
        optional("name", "name: user", &["id"]),
        optional("methods", "methods: [GET, HEAD]", &["method", "verbs"]),
        optional(
            "function",
            "function: hello",
            &["target", "handler", "to", "run"],
        ),
        optional(
            "redirect",
            "redirect: {to: \"/new\", status: 308}",
            &["location", "rewrite"],
        ),
        optional(
            "files",
            "files: {root: ./public}",
            &["static", "root", "folder", "dir"],
        ),
        optional("websocket", "websocket: true", &["ws", "socket", "upgrade"]),
        optional(
            "env",
            "env: {KEY: value}",
            &["environment", "variables", "vars"],
        ),
        policy::IP,
        policy::RATE,
        policy::CORS,
        policy::AUTH,
        policy::BEFORE,
        policy::COMPRESS,
        policy::HEADERS,
    ],
};

pub(super) static WEBSOCKET: Section = Section {
    what: "`websocket`",
    keys: &[
        optional(
            "message",
            "message: 1MiB",
            &["max_message", "size", "max_size"],
        ),
        optional(
            "ping",
            "ping: 30s",
            &["heartbeat", "keep_alive", "interval"],
        ),
        optional(
            "origins",
            "origins: [\"https://example.test\"]",
            &["origin", "allowed_origins"],
        ),
        optional(
            "protocols",
            "protocols: [chat.v1]",
            &["protocol", "subprotocols", "subprotocol"],
        ),
    ],
};

pub(super) static FILES: Section = Section {
    what: "`files`",
    keys: &[
        required("root", "root: ./public", &["path", "folder", "dir"]),
        optional(
            "not_found",
            "not_found: 404.html",
            &["fallback", "error", "404"],
        ),
        optional("cache", "cache: 1h", &["max_age", "expires"]),
    ],
};

pub(super) static NOT_FOUND: Section = Section {
    what: "`not_found`",
    keys: &[
        required("file", "file: index.html", &["path", "page"]),
        optional("status", "status: 200", &["code"]),
    ],
};

pub(super) static REDIRECT: Section = Section {
    what: "`redirect`",
    keys: &[
        required("to", "to: \"/new/{rest}\"", &["location", "url", "target"]),
        optional("status", "status: 308", &["code"]),
    ],
};

pub(super) static LIMITS: Section = Section {
    what: "`limits`",
    keys: &[
        optional("memory", "memory: 128MiB", &["mem", "ram"]),
        optional("cpu", "cpu: 10s", &["cpus"]),
        optional("wall", "wall: 30s", &["timeout", "time", "duration"]),
        optional("idle", "idle: 60s", &["idle_timeout", "keep_alive"]),
        optional("total", "total: 1h", &["lifetime", "max_time"]),
        optional(
            "request_head",
            "request_head: 64KiB",
            &["headers", "header"],
        ),
        optional("request_body", "request_body: 10MiB", &["body", "max_body"]),
        optional(
            "concurrency",
            "concurrency: 256",
            &["instances", "parallel"],
        ),
        optional(
            "response_body",
            "response_body: 1GiB",
            &["max_response", "response"],
        ),
        optional(
            "queue",
            "queue: {length: 1024, wait: 5s}",
            &["waiting", "backlog"],
        ),
        optional("children", "children: 64", &["spawns"]),
        optional("depth", "depth: 16", &["levels"]),
        optional("tree", "tree: 1000", &["descendants", "invocations"]),
        optional("window", "window: 256KiB", &["buffer", "credit"]),
        optional(
            "log",
            "log: {lines: 1000/s, line: 16KiB}",
            &["logs", "logging"],
        ),
        optional("background", "background: 10s", &["after", "grace"]),
        optional(
            "tcp",
            "tcp: {connect: 10s, idle: 5m, connections: 256}",
            &["sockets", "network", "net"],
        ),
        optional(
            "http",
            "http: {connect: 10s, head: 30s}",
            &["http_client", "outbound", "client"],
        ),
        optional("kv", "kv: {batch: 1000, page: 1000}", &["key_value"]),
        optional("sql", "sql: {time: 5s, memory: 64MiB}", &["sqlite"]),
    ],
};

pub(super) static LIMITS_TCP: Section = Section {
    what: "`tcp`",
    keys: &[
        optional("connect", "connect: 10s", &["connect_timeout", "dial"]),
        optional("idle", "idle: 5m", &["idle_timeout", "stall"]),
        optional("connections", "connections: 256", &["sockets", "pool"]),
    ],
};

pub(super) static LIMITS_HTTP: Section = Section {
    what: "`http`",
    keys: &[
        optional("connect", "connect: 10s", &["connect_timeout", "dial"]),
        optional("head", "head: 30s", &["timeout", "response_timeout"]),
        optional("time", "time: 5m", &["total", "wall", "duration"]),
        optional("idle", "idle: 60s", &["idle_timeout", "stall"]),
        optional("request_body", "request_body: 100MiB", &["upload", "body"]),
        optional(
            "response_head",
            "response_head: 64KiB",
            &["headers", "header"],
        ),
        optional(
            "response_body",
            "response_body: 100MiB",
            &["download", "max_response"],
        ),
        optional("redirects", "redirects: 10", &["follow", "max_redirects"]),
        optional("connections", "connections: 64", &["sockets", "pool"]),
    ],
};

pub(super) static KV: Section = Section {
    what: "`kv`, in `limits`",
    keys: &[
        optional("batch", "batch: 1000", &["writes"]),
        optional("page", "page: 1000", &["entries"]),
        optional("watches", "watches: 16", &["watchers"]),
        optional("pending", "pending: 64", &["in_flight", "pipeline"]),
    ],
};

pub(super) static SQL: Section = Section {
    what: "`sql`",
    keys: &[
        optional("memory", "memory: 64MiB", &["mem", "heap"]),
        optional("time", "time: 5s", &["timeout", "statement"]),
        optional("transaction", "transaction: 5s", &["write", "writing"]),
        optional("read", "read: 60s", &["reading", "cursor"]),
        optional("wait", "wait: 10s", &["busy", "lock"]),
        optional("rows", "rows: 100000", &["max_rows", "results"]),
        optional("connections", "connections: 8", &["pool", "processes"]),
    ],
};

pub(super) static QUEUE: Section = Section {
    what: "`queue`",
    keys: &[
        optional("length", "length: 1024", &["size", "max"]),
        optional("wait", "wait: 5s", &["timeout", "time"]),
    ],
};

pub(super) static REUSE: Section = Section {
    what: "`reuse`",
    keys: &[
        optional("invocations", "invocations: 10000", &["requests", "count"]),
        optional("age", "age: 10m", &["time", "lifetime", "max_age"]),
    ],
};

pub(super) static PARKED: Section = Section {
    what: "`parked`",
    keys: &[
        optional("min", "min: 1", &["minimum", "least"]),
        optional("max", "max: 64", &["maximum", "most"]),
        optional("after", "after: 60s", &["idle", "timeout", "ttl"]),
    ],
};

pub(super) static LOG: Section = Section {
    what: "`log`",
    keys: &[
        optional("lines", "lines: 1000/s", &["rate"]),
        optional("line", "line: 16KiB", &["length", "size"]),
    ],
};

/// Sections inside a section, for keys that stand one level too high or too low. The keys of
/// `defaults` are those of a function, which is where most people want them.
pub(super) static ALL: &[(&Section, &str)] = &[
    (&PROJECT, "the top of the file"),
    (&FUNCTION, "an item of `functions`"),
    (&GATEWAY, "an item of `gateways`"),
    (&CRON, "a gateway of type cron"),
    (&TLS, "the `tls` of a gateway"),
    (&ACCESS_LOG, "the `access_log` of a gateway"),
    (&LOG_FILE, "a log of type file"),
    (&LOG_SYSLOG, "a log of type syslog"),
    (&LOG_ROTATE, "the `rotate` of a log"),
    (&TIMEOUTS, "the `timeouts` of a gateway"),
    (&ROUTE, "an item of `routes`, in a gateway"),
    (&REDIRECT, "the `redirect` of a route"),
    (&WEBSOCKET, "the `websocket` of a route or gateway"),
    (&FILES, "the `files` of a route"),
    (&NOT_FOUND, "`not_found`, in the `files` of a route"),
    (&IP_RULES, "the `ip` of a gateway or route"),
    (&RATE_RULES, "the `rate` of a gateway or route"),
    (&CORS_RULES, "the `cors` of a gateway or route"),
    (&AUTH_RULES, "the `auth` of a gateway or route"),
    (&AUTH_BASIC, "`basic`, in the `auth` of a gateway or route"),
    (&AUTH_JWT, "`jwt`, in the `auth` of a gateway or route"),
    (&COMPRESS_RULES, "the `compress` of a gateway or route"),
    (&HEADER_RULES, "the `headers` of a gateway or route"),
    (
        &HEADER_REQUEST,
        "`request`, in the `headers` of a gateway or route",
    ),
    (&LIMITS, "the `limits` of a function"),
    (&ALLOW, "the `allow` of a function"),
    (&ALLOW_KV, "an item of `kv`, in the `allow` of a function"),
    (&ALLOW_TCP, "an item of `tcp`, in the `allow` of a function"),
    (&LIMITS_TCP, "`tcp`, in the `limits` of a function"),
    (
        &ALLOW_HTTP,
        "an item of `http`, in the `allow` of a function",
    ),
    (&LIMITS_HTTP, "`http`, in the `limits` of a function"),
    (&ALLOW_SQL, "an item of `sql`, in the `allow` of a function"),
    (&STORE, "an item of `stores`"),
    (&QUEUE, "`queue`, in the `limits` of a function"),
    (&KV, "`kv`, in the `limits` of a function"),
    (&LOG, "`log`, in the `limits` of a function"),
    (&PARKED, "the `parked` of a function"),
    (&REUSE, "the `reuse` of a function"),
    (&SQL, "`sql`, in the `limits` of a function"),
];

/// Where a key of this name does belong, if only one section has it.
pub(super) fn home(name: &str) -> Option<&'static str> {
    let mut homes = ALL
        .iter()
        .filter(|(section, _)| section.key(name).is_some());
    let first = homes.next()?;
    // Of two the other one is meant more often: these limits have the names of others.
    homes
        .all(|(section, _)| std::ptr::eq(*section, &SQL))
        .then_some(first.1)
}

impl Section {
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The key that was probably meant by one that does not exist.
    pub fn meant(&self, name: &str) -> Option<&'static Key> {
        let lower = name.to_lowercase().replace('-', "_");
        let alias = self.keys.iter().find(|key| key.also.contains(&&*lower));
        alias.or_else(|| {
            let names = self.keys.iter().map(|key| key.name);
            self.key(super::suggest::nearest(&lower, names)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_begin_with_their_key_and_no_other_name_is_a_key() {
        for (section, _) in ALL {
            for key in section.keys {
                assert!(key.example.starts_with(&format!("{}:", key.name)));
                for also in key.also {
                    assert!(section.key(also).is_none(), "{also}");
                    assert_eq!(section.meant(also).map(|key| key.name), Some(key.name));
                }
            }
        }
    }
}
