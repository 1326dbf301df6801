//! The keys of each section of the project file: one table. A new key is a line here and
//! a line where its section is read.

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
    ],
};

pub(super) static ALLOW: Section = Section {
    what: "`allow`",
    keys: &[
        optional("spawn", "spawn: [hello]", &["call", "functions"]),
        optional("register", "register: [board]", &["names"]),
        optional("reach", "reach: [board]", &["lookup", "talk_to"]),
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
            &["address", "addr", "host", "listen", "ip"],
        ),
        required("port", "port: 8082", &[]),
        required(
            "function",
            "function: hello",
            &["target", "handler", "to", "run"],
        ),
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
static ALL: &[(&Section, &str)] = &[
    (&PROJECT, "the top of the file"),
    (&FUNCTION, "an item of `functions`"),
    (&GATEWAY, "an item of `gateways`"),
    (&LIMITS, "the `limits` of a function"),
    (&ALLOW, "the `allow` of a function"),
    (&QUEUE, "`queue`, in the `limits` of a function"),
    (&LOG, "`log`, in the `limits` of a function"),
    (&PARKED, "the `parked` of a function"),
    (&REUSE, "the `reuse` of a function"),
];

/// Where a key of this name does belong, if only one section has it.
pub(super) fn home(name: &str) -> Option<&'static str> {
    let mut homes = ALL
        .iter()
        .filter(|(section, _)| section.key(name).is_some());
    let first = homes.next()?;
    homes.next().is_none().then_some(first.1)
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
