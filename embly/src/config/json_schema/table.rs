//! What each key of the project file is: its form, its default, and a few words.

use super::super::schema::{self, Section};
use super::shapes::NAME;
use super::shapes::Shape::{self, *};
use crate::report::FACILITIES;

/// Names of environment variables, as `${NAME}` has them.
const ENVIRONMENT: &str = "^[A-Za-z_][A-Za-z0-9_]*$";

/// How a token may be signed.
const ALGORITHMS: &[&str] = &["RS256", "ES256", "EdDSA", "HS256"];

/// How severe a line of a log is.
const LEVELS: &[&str] = &["debug", "info", "warn", "error"];

/// A key, described.
#[derive(Debug)]
pub(super) struct Doc {
    pub key: &'static str,
    pub shape: Shape,
    /// As it would be written, or in words; empty where there is none.
    pub default: &'static str,
    pub what: &'static str,
}

macro_rules! table {
    ($($name:literal $section:ident { $($key:ident: $shape:expr, $default:literal, $what:literal;)* })*) => {
        /// The sections, with their names in the schema and their keys in the order of the parser.
        pub(super) static TABLE: &[(&str, &Section, &[Doc])] = &[$((
            $name,
            &schema::$section,
            &[$(Doc {
                key: stringify!($key),
                shape: $shape,
                default: $default,
                what: $what,
            },)*],
        ),)*];
    };
}

table! {
    "project" PROJECT {
        functions: Some(&In(&schema::FUNCTION)), "", "The functions of the project, at least one";
        defaults: Any(&[In(&schema::DEFAULTS), Nothing]), "", "What holds for all functions that do not say otherwise";
        gateways: Typed("cron", &schema::CRON, &schema::GATEWAY), "", "What starts functions from outside";
        stores: List(&In(&schema::STORE)), "", "Where functions keep data";
        logs: Typed("syslog", &schema::LOG_SYSLOG, &schema::LOG_FILE), "[]", "Where lines of logs go beside the output";
        environments: Map(&Any(&[In(&schema::ENVIRONMENT), Nothing])), "", "By name: what is different with `--environment NAME`";
    }
    "environment" ENVIRONMENT {
        functions: Parts(&[&schema::FUNCTION]), "", "By name: what is different, or functions of this environment alone";
        defaults: Any(&[In(&schema::DEFAULTS), Nothing]), "", "What is different for all functions";
        gateways: Parts(&[&schema::CRON, &schema::GATEWAY]), "", "By name: what is different, or gateways of this environment alone";
        stores: Parts(&[&schema::STORE]), "", "By name: what is different, or stores of this environment alone";
        logs: Parts(&[&schema::LOG_SYSLOG, &schema::LOG_FILE]), "", "By name: what is different, or logs of this environment alone";
    }
    "defaults" DEFAULTS {
        limits: Any(&[In(&schema::LIMITS), Nothing]), "", "What each invocation may use";
        env: Map(&Scalar), "", "Environment variables; `${NAME}` is taken from the environment of `embly`";
        log_level: Words(LEVELS), "info", "The least severe lines of logs that are kept";
    }
    "function" FUNCTION {
        name: NAME, "", "Unique among the functions of the project";
        path: Text, "", "The folder of a crate, or a `.wasm` or `.wat` file; relative to `context` and inside it";
        context: Text, "the project's folder", "The folder that the build may read, relative to the project";
        language: Words(&["rust", "wasm"]), "", "A crate that is compiled, or a ready module";
        entry: Text, "_start", "The exported function to run";
        env: Map(&Scalar), "", "Its environment; `${NAME}` is taken from the environment of `embly`";
        secrets: List(&Form(ENVIRONMENT)), "", "Secrets that it gets, as environment variables";
        limits: Any(&[In(&schema::LIMITS), Nothing]), "", "What each invocation may use";
        isolation: Words(&["invocation", "function"]), "invocation", "What one process serves: one invocation, or one after the other";
        reuse: In(&schema::REUSE), "", "When such a process is replaced; only beside `isolation: function`";
        parked: In(&schema::PARKED), "", "Processes that wait for requests";
        allow: Any(&[In(&schema::ALLOW), Nothing]), "", "What it may do to others, and which services it may use";
        start: Flag, "false", "Started with the project and kept running";
        restart: Words(&["never", "on-failure", "always"]), "on-failure", "When it is started again; only beside `start`";
        log_level: Words(LEVELS), "info", "The least severe lines of its log that are kept";
    }
    "allow" ALLOW {
        spawn: List(&Text), "all of the project", "Functions that it may start";
        register: List(&NAME), "[]", "Names that it may take";
        reach: List(&NAME), "[]", "Names that it may look up";
        kv: List(&Any(&[Text, In(&schema::ALLOW_KV)])), "[]", "Key-value stores that it may use, or parts of them";
        tcp: List(&Any(&[Text, In(&schema::ALLOW_TCP)])), "[]", "Whom it may connect to: `HOST:PORT`";
        http: List(&Any(&[Text, In(&schema::ALLOW_HTTP)])), "[]", "What it may ask of others over HTTP: URLs";
        sql: List(&Any(&[Text, In(&schema::ALLOW_SQL)])), "[]", "SQL stores that it may use";
    }
    "allow-tcp" ALLOW_TCP {
        address: Text, "", "`HOST:PORT`; `*.` in front is all names below";
        private: Flag, "false", "The name may lead to private addresses";
        tls: Flag, "false", "Only with TLS";
        ca: Text, "those of the system", "A file of certificate authorities";
    }
    "allow-http" ALLOW_HTTP {
        url: Text, "", "What URLs begin with";
        private: Flag, "false", "The name may lead to private addresses";
        ca: Text, "those of the system", "A file of certificate authorities";
    }
    "allow-sql" ALLOW_SQL {
        store: Text, "", "Name of the store";
        access: Words(&["read", "read-write"]), "read-write", "Whether it may also change it";
    }
    "allow-kv" ALLOW_KV {
        store: Text, "", "Name of the store";
        prefix: Form(""), "all keys", "What keys begin with";
        access: Words(&["read", "read-write"]), "read-write", "Whether it may also change them";
    }
    "store" STORE {
        name: NAME, "", "Unique among the stores of the project";
        type: Words(&["kv", "sql"]), "", "Keys and values, or SQL";
        path: Text, "the name and type", "The file, relative to the state folder";
        durability: Words(&["full", "relaxed"]), "full", "When a change is acknowledged: on the disk, or with the system";
        migrations: Text, "", "Of `type: sql`: a folder of migrations";
        size: Size, "1GiB, for sql 4GiB", "The most that it may have";
    }
    "gateway" GATEWAY {
        name: NAME, "", "Unique among the gateways of the project";
        type: Words(&["http", "tcp", "websocket", "cron"]), "", "What starts an invocation: a request, a connection, a WebSocket, the clock";
        bind: Text, "127.0.0.1", "An address of this machine, `unix:PATH` or `systemd:NAME`";
        port: Whole(0, 65535), "", "Needed where `bind` is an address; 0 is any free one";
        function: NAME, "", "What takes all that no route matches";
        hosts: List(&Text), "all hosts", "Names that it serves; `*.` in front is all names below";
        routes: List(&In(&schema::ROUTE)), "", "What takes which requests; of type http";
        websocket: Any(&[In(&schema::WEBSOCKET), Flag]), "", "How WebSockets are served; of type websocket";
        tls: Any(&[In(&schema::TLS), Some(&In(&schema::TLS))]), "", "Certificates";
        proxies: List(&Text), "", "Whose word about clients is believed: addresses, networks, `unix`";
        proxy_protocol: Flag, "false", "They begin each connection with a header of the PROXY protocol";
        timeouts: In(&schema::TIMEOUTS), "", "How long clients are waited for";
        access_log: Any(&[Text, In(&schema::ACCESS_LOG)]), "none", "A file for access lines";
        health: Text, "none", "A path that a version which is deployed answers with 2xx, or is not kept";
        ip: Any(&[In(&schema::IP_RULES), Words(&["none"])]), "none", "Who may ask, by address";
        rate: Any(&[In(&schema::RATE_RULES), Words(&["none"])]), "none", "How often a client may ask";
        cors: Any(&[In(&schema::CORS_RULES), Words(&["none"])]), "none", "Pages of which other sites may ask";
        auth: Any(&[In(&schema::AUTH_RULES), Words(&["none"])]), "none", "Who may ask, by password or token";
        before: Any(&[NAME, Words(&["none"])]), "none", "A function that lets each request pass, or answers it";
        compress: Any(&[In(&schema::COMPRESS_RULES), Flag, Words(&["none"])]), "none", "Which answers are compressed";
        headers: Any(&[In(&schema::HEADER_RULES), Words(&["none"])]), "none", "Headers that are set and removed";
    }
    "access-log" ACCESS_LOG {
        path: Text, "", "A file in the state folder";
        format: Words(&["combined", "json"]), "combined", "How a line is written";
    }
    "log-file" LOG_FILE {
        name: NAME, "", "Unique among the logs of the project";
        type: Words(&["file", "syslog"]), "", "Where lines go";
        path: Text, "", "A file in the state folder";
        format: Words(&["text", "json"]), "text", "How a line is written";
        rotate: Any(&[In(&schema::LOG_ROTATE), Words(&["none"])]), "", "When a new file is begun";
        level: Words(LEVELS), "info", "The least severe lines that are written";
        functions: List(&NAME), "all, and what the master says", "Only lines of these functions";
    }
    "log-syslog" LOG_SYSLOG {
        name: NAME, "", "Unique among the logs of the project";
        type: Words(&["file", "syslog"]), "", "Where lines go";
        address: Form("^(/|unix:/|udp:)"), "/dev/log", "A Unix socket, or `udp:` with an IP address and a port";
        facility: Words(&FACILITIES), "daemon", "What syslog sorts them by";
        level: Words(LEVELS), "info", "The least severe lines that are written";
        functions: List(&NAME), "all, and what the master says", "Only lines of these functions";
    }
    "log-rotate" LOG_ROTATE {
        size: Size, "10MiB", "A file that would have more is moved away, from 4KiB";
        keep: Whole(1, 100), "5", "How many that were moved away are kept";
    }
    "timeouts" TIMEOUTS {
        head: Time, "30s", "For a head to become whole";
        body: Time, "60s", "Without a byte of a body";
        response: Time, "", "Without a byte of the response that the client takes";
        keep_alive: Time, "30s", "Without a request";
    }
    "tls" TLS {
        cert: Text, "", "A file with the certificate and those above it, in PEM";
        key: Text, "", "A file with its key, in PEM";
        dev: Flag, "false", "A certificate of an authority of your own; `embly dev` only";
    }
    "cron" CRON {
        name: NAME, "", "Unique among the gateways of the project";
        type: Words(&["http", "tcp", "websocket", "cron"]), "", "What starts an invocation: a request, a connection, a WebSocket, the clock";
        schedule: Text, "", "Minute, hour, day of the month, month, day of the week; or `@hourly`, `@daily`";
        function: NAME, "", "What is started";
        timezone: Text, "UTC", "A name of the IANA database";
        overlap: Words(&["skip", "queue", "allow"]), "skip", "A time that comes while a run goes on";
        missed: Words(&["skip", "run-once"]), "skip", "Times that passed while no master ran";
        jitter: Time, "none", "Each run begins later by a random time below this one";
    }
    "route" ROUTE {
        path: Form("^/"), "", "`{name}` is a segment, `{name...}` at the end all that follows";
        name: Form("^[!-~]{1,255}$"), "the path", "What the function is told";
        methods: Some(&Text), "all", "In capitals";
        function: NAME, "", "What takes the requests";
        redirect: In(&schema::REDIRECT), "", "Where they are sent";
        files: In(&schema::FILES), "", "A folder of static files";
        websocket: Any(&[In(&schema::WEBSOCKET), Flag]), "false", "The function takes WebSockets, and nothing else";
        env: Map(&Scalar), "", "Variables on top of those of the function";
        ip: Any(&[In(&schema::IP_RULES), Words(&["none"])]), "those of the gateway", "Who may ask, by address";
        rate: Any(&[In(&schema::RATE_RULES), Words(&["none"])]), "those of the gateway", "How often a client may ask";
        cors: Any(&[In(&schema::CORS_RULES), Words(&["none"])]), "those of the gateway", "Pages of which other sites may ask";
        auth: Any(&[In(&schema::AUTH_RULES), Words(&["none"])]), "those of the gateway", "Who may ask, by password or token";
        before: Any(&[NAME, Words(&["none"])]), "those of the gateway", "A function that lets each request pass, or answers it";
        compress: Any(&[In(&schema::COMPRESS_RULES), Flag, Words(&["none"])]), "those of the gateway", "Which answers are compressed";
        headers: Any(&[In(&schema::HEADER_RULES), Words(&["none"])]), "those of the gateway", "Headers that are set and removed";
    }
    "websocket" WEBSOCKET {
        message: Held, "1MiB", "The most bytes of a message";
        ping: Time, "30s", "How often a silent client is asked whether it is there";
        origins: Some(&Text), "all", "Pages of which sites may connect";
        protocols: Some(&Text), "", "Subprotocols, those that are preferred first";
    }
    "files" FILES {
        root: Text, "", "A folder, relative to the project";
        not_found: Any(&[Text, In(&schema::NOT_FOUND)]), "a small page", "A file below `root` for what is not there";
        cache: Time, "none", "How long browsers keep a file without asking";
    }
    "not-found" NOT_FOUND {
        file: Text, "", "A file below `root`";
        status: Numbers(&[200, 404]), "404", "What it is answered with";
    }
    "redirect" REDIRECT {
        to: Text, "", "A path or a URL; `{name}` is a parameter of the route";
        status: Numbers(&[301, 302, 303, 307, 308]), "308", "What it is answered with";
    }
    "ip" IP_RULES {
        allow: Some(&Text), "all", "Only these addresses and ranges";
        deny: List(&Text), "[]", "None of these, also where `allow` has them";
    }
    "rate" RATE_RULES {
        requests: Form("^[0-9]+/[smh]$"), "", "On the average, in a second, minute or hour";
        burst: Whole(1, 4294967295), "as many as `requests`", "At once";
        by: Words(&["client"]), "client", "What is counted by itself";
    }
    "cors" CORS_RULES {
        origins: List(&Text), "", "Pages of which sites may ask, or `[\"*\"]`";
        methods: List(&Text), "GET, HEAD and POST", "With which methods";
        headers: List(&Text), "[]", "With which headers";
        expose: List(&Text), "[]", "Which headers of answers they may read";
        credentials: Flag, "false", "With cookies; never beside a `*`";
        max_age: Time, "as browsers have it", "How long browsers keep the answer";
    }
    "auth" AUTH_RULES {
        basic: In(&schema::AUTH_BASIC), "", "Names and passwords";
        bearer: Some(&Form("^sha256:[0-9a-fA-F]{64}$")), "", "Hashes of tokens, which `embly hash --token` makes";
        jwt: In(&schema::AUTH_JWT), "", "Signed tokens";
    }
    "auth-basic" AUTH_BASIC {
        users: Map(&Form("^\\$argon2id\\$")), "", "By name the hash of the password, which `embly hash` makes";
        realm: Text, "", "What a browser shows";
    }
    "auth-jwt" AUTH_JWT {
        keys: Text, "", "A file with a key set, relative to the project";
        issuer: Any(&[Text, Some(&Text)]), "", "Who has signed";
        audience: Any(&[Text, Some(&Text)]), "", "Whom they are for";
        algorithms: Any(&[Words(ALGORITHMS), Some(&Words(ALGORITHMS))]), "", "How they may be signed";
    }
    "compress" COMPRESS_RULES {
        types: List(&Text), "text, JSON, XML, JavaScript, SVG, WebAssembly", "Which types: `text/html`, `text/*`";
        least: Size, "1KiB", "The smallest answer that is compressed";
    }
    "headers" HEADER_RULES {
        set: Map(&Scalar), "", "Instead of what is there, in every answer";
        remove: List(&Text), "[]", "Not in an answer";
        request: In(&schema::HEADER_REQUEST), "", "The same for requests, before a function sees them";
    }
    "headers-request" HEADER_REQUEST {
        set: Map(&Scalar), "", "Instead of what is there";
        remove: List(&Text), "[]", "Not these";
    }
    "limits" LIMITS {
        memory: Size, "128MiB", "Linear memory, 64KiB to 4GiB";
        cpu: Time, "10s", "CPU time in any 60s";
        wall: Time, "http 30s, cron 5m, otherwise none", "Time since its start: for http to the head of the response, otherwise to the end";
        idle: Time, "60s after the head of the response, tcp 60s, otherwise none", "Time without a byte either way";
        total: Time, "none", "Time from the start to the end";
        request_head: Held, "64KiB", "Request line and headers, 1KiB to 16MiB";
        request_body: Size, "10MiB", "The body of a request";
        concurrency: Count, "256", "Invocations of the function at once";
        response_body: Size, "none", "The body of a response";
        queue: In(&schema::QUEUE), "", "Requests beyond `concurrency` that wait";
        children: Count, "64", "Live invocations that one has started";
        depth: Count, "16", "Levels of invocations";
        tree: Count, "1000", "Live invocations of all levels below one";
        window: Held, "256KiB", "Bytes under way on a stream, 4KiB to 256KiB";
        log: In(&schema::LOG), "", "What it may write to its log";
        background: Time, "10s", "Time after the response is complete";
        tcp: In(&schema::LIMITS_TCP), "", "Its connections to others";
        http: In(&schema::LIMITS_HTTP), "", "What it asks of others over HTTP";
        kv: In(&schema::KV), "", "What it may ask of key-value stores";
        sql: In(&schema::SQL), "", "What it may use of SQL stores";
    }
    "limits-tcp" LIMITS_TCP {
        connect: Time, "10s", "Until a connection stands";
        idle: Time, "5m", "Without a byte either way";
        connections: Count, "256", "Of all its invocations together";
    }
    "limits-http" LIMITS_HTTP {
        connect: Time, "10s", "Until a connection stands";
        head: Time, "30s", "From the request to the head of the response";
        time: Time, "none", "For all of a call";
        idle: Time, "60s", "Without a byte of either body";
        request_body: Size, "100MiB", "The body of a request";
        response_head: Held, "64KiB", "The head of a response, from 8KiB";
        response_body: Size, "100MiB", "The body of a response, after it was decompressed";
        redirects: Whole(0, 50), "10", "Redirects that are followed";
        connections: Count, "64", "Of all its invocations together";
    }
    "limits-kv" KV {
        batch: Whole(1, 10000), "1000", "Writes and checks of a batch";
        page: Whole(1, 10000), "1000", "Entries of a page";
        watches: Whole(1, 128), "16", "Watches of a stream";
        pending: Whole(1, 1024), "64", "Changes of a stream that wait to be durable";
    }
    "limits-sql" SQL {
        memory: Held, "64MiB", "Of SQLite, 8MiB to 2GiB";
        time: Time, "5s", "That a statement works";
        transaction: Time, "5s", "In which others cannot write";
        read: Time, "60s", "That an old state is kept for who reads it";
        wait: Time, "10s", "For others that write";
        rows: Count, "none", "Of a result";
        connections: Whole(1, 64), "8", "Processes for each store";
    }
    "queue" QUEUE {
        length: Count, "1024", "How many wait";
        wait: Time, "5s", "How long each";
    }
    "reuse" REUSE {
        invocations: Count, "10000", "After so many";
        age: Time, "10m", "After so long";
    }
    "parked" PARKED {
        min: Whole(0, 4294967295), "1", "How many wait at least";
        max: Whole(0, 4294967295), "64", "How many wait at most";
        after: Time, "60s", "Time without a call until none waits";
    }
    "log" LOG {
        lines: Rate, "1000/s", "Lines in a second";
        line: Held, "16KiB", "Bytes of a line, 64 to 256KiB";
    }
}
