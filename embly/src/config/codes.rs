//! The codes of everything that can be wrong with a project: one table.
//!
//! A code never changes its meaning and is never used again for something else.
//! `E1xx` stops the project, `W1xx` is only said.

/// A kind of problem.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// Stable name, `E101` or `W101`.
    pub id: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// A paragraph: why it is a problem and what to do.
    pub explanation: &'static str,
}

impl Code {
    /// Whether the project can still be used.
    pub fn is_warning(&self) -> bool {
        self.id.starts_with('W')
    }
}

macro_rules! codes {
    ($($name:ident $id:literal $title:literal $explanation:literal)*) => {
        $(
            #[doc = $title]
            pub static $name: Code = Code { id: $id, title: $title, explanation: $explanation };
        )*
        /// All codes, in the order of their numbers.
        pub static ALL: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    UNREADABLE "E101" "the file cannot be read"
        "The project file is there but reading it failed, for the reason given: no permission, a \
         folder of that name, a broken disk. Nothing else was looked at."
    NOT_UTF8 "E102" "the file is not UTF-8"
        "Project files are UTF-8 text. The place shown is the first byte that is not; often the \
         file was saved as UTF-16 or Latin-1. Save it again as UTF-8."
    EMPTY "E103" "the file is empty"
        "There is nothing in the file but comments and space. A project has at least one function \
         under `functions`, with `name`, `path` and `language`."
    SYNTAX "E104" "the file is not YAML"
        "The file cannot be read as YAML, so nothing after the place shown was looked at. Usual \
         causes: a tab in the indentation, a bracket or quote that is not closed, a value with \
         `: ` or `#` or `{` in it that needs quotes."
    DUPLICATE_KEY "E105" "a key is there twice"
        "One of the two values would be silently lost, so neither is taken. Keep one of them; a \
         second function or gateway is a new list item that begins with `-`."
    YAML_FEATURE "E106" "a part of YAML that project files do not use"
        "Anchors, aliases, tags and several documents in one file are refused: a project file \
         means what it says at the place where it says it. Write the value out."
    TOO_BIG "E107" "the file is too big or nested too deep"
        "A project file may have at most 1 MiB and 16 levels. Files beyond that are broken or \
         are not project files."
    UNKNOWN_KEY "E110" "a key that nobody reads"
        "The key does not exist at this place, so it would have no effect. It is misspelled, \
         stands in the wrong section, or belongs to another version of Embly."
    MISSING_KEY "E111" "a required key is missing"
        "A function needs `name`, `path` and `language`; a gateway needs `name`, `type` and, \
         where `bind` is an address, `port`; a route `path`."
    WRONG_TYPE "E112" "a value of the wrong type"
        "The key takes another kind of value: text, a number, a list or a map. In YAML a value in \
         quotes is text, `8082` is a number, lines that begin with `-` are a list, and lines \
         `key: value` are a map."
    NO_FUNCTIONS "E113" "the project has no functions"
        "A project is its functions; with none there is nothing to build or run."
    BAD_NAME "E120" "a name that cannot be used"
        "Names of functions and gateways, and those of `allow: {register: …}` and `reach`, have \
         lower-case letters, digits and `-`, begin with a letter, and have at most 63 characters. So they can stand in host names, log lines and \
         paths as they are."
    DUPLICATE_NAME "E121" "a name is used twice"
        "Two functions, or two gateways, have the same name, so it is not clear which one is \
         meant. A function and a gateway may share a name."
    UNKNOWN_FUNCTION "E122" "a function that does not exist"
        "A gateway sends its requests to a function of the same project file, by its `name`, and \
         `allow: {spawn: …}` lists functions of the same project file."
    LANGUAGE "E130" "an unsupported language"
        "`rust` is a crate that Embly compiles, `wasm` is a ready `.wasm` or `.wat` file, \
         which any language can make that compiles to WASI preview 1."
    GATEWAY_TYPE "E131" "an unsupported gateway type"
        "`http` starts the function once for each request, `tcp` once for each connection, \
         `websocket` once for each WebSocket, `cron` when its time has come."
    OUT_OF_RANGE "E132" "a number out of range"
        "The number is of the right kind but too small or too big. A port is 0 to 65535, \
         where 0 takes any free one."
    LIMIT_FORM "E133" "a limit that cannot be read"
        "Sizes are whole numbers with `B`, `KiB`, `MiB`, `GiB` (or `KB`, `MB`, `GB` of 1,000), a \
         bare number is bytes. Times are whole numbers with `ms`, `s`, `m`, `h`, `d`, also \
         together: `1h30m`. Counts are bare numbers, rates are `1000/s`. `none` lifts a limit."
    LIMIT_VALUE "E134" "a limit that makes no sense"
        "`0` is refused, because it could mean nothing at all as well as no limit; to have no \
         limit write `none`. A few limits \
         cannot be lifted, and some have a smallest or largest value."
    LIMIT_MACHINE "E135" "a limit that the machine cannot give"
        "One invocation alone could never get as much, so the limit would only hide the real one. \
         A memory of WebAssembly has at most 4 GiB; the rest is what this machine, or the \
         container that Embly runs in, has."
    BIND "E136" "not an address to listen on"
        "`bind` is an IPv4 or IPv6 address of this machine: `127.0.0.1` for this machine only, \
         `0.0.0.0` for everybody. Names are not looked up. The port has a key of its own. Or it is \
         `unix:PATH`, a Unix socket, relative to the folder of the project file and of at most 107 bytes \
         in all; or `systemd:NAME`, a socket that systemd has opened."
    ADDRESS_TAKEN "E137" "two gateways at one address"
        "Only one gateway can listen on a port of an address, or several of type http that serve \
         different `hosts`. `0.0.0.0` is all IPv4 addresses of the machine, `::` is all of both \
         kinds. Port 0 never clashes."
    RESTART "E138" "not a way to restart"
        "`restart: never` runs the function once, `on-failure` starts it again after any ending \
         but exit 0, `always` after any ending."
    RESTART_ALONE "E139" "`restart` without `start`"
        "Only a function that is started with the project, with `start: true`, is started again \
         when it ends. All others run when they are called."
    PATH_MISSING "E140" "a path that is not there"
        "`context` is relative to the folder of the project file, `path` is relative to \
         `context`, which is that same folder unless it is set."
    PATH_KIND "E141" "a path to the wrong thing"
        "With `language: rust`, `path` is the folder of a crate, with a `Cargo.toml` in it. With \
         `language: wasm` it is a file that ends in `.wasm` or `.wat`. `context` is a folder."
    PATH_OUTSIDE "E142" "a path outside its context"
        "A build may read what is below `context` and nothing else, so the function's own folder \
         must be there too. Links are followed before this is checked. Set `context` to a folder \
         that holds both."
    ISOLATION "E143" "not a kind of isolation"
        "`isolation` is `invocation`, where each process serves one invocation, or `function`, where \
         it serves others of the same function version afterwards, one at a time and each with an \
         instance of its own."
    REUSE_ALONE "E144" "`reuse` without `isolation: function`"
        "`reuse` says when a process that serves several invocations is replaced. Without \
         `isolation: function` each process serves one, so the key would have no effect."
    VARIABLE_MISSING "E150" "a variable that is not set"
        "`${NAME}` in `env` is taken from the environment of `embly` itself when it starts. \
         A missing one is an error where the project is to run, because an empty password is worse \
         than none. `embly dev` and `embly test` also read the file `.env` beside the project file."
    VARIABLE_FORM "E151" "a `${` that does not name a variable"
        "A variable is `${NAME}`, with letters, digits and `_`, and nothing else between the \
         braces. To have the two characters `${` themselves, write `$${`."
    ENV_NAME "E152" "not an environment variable"
        "The name of an environment variable is not empty and has no `=`, and neither name nor \
         value has a NUL character; other programs could not read it."
    DOTENV "E153" "a line of `.env` that cannot be read"
        "Lines of `.env` are `NAME=value`, with or without `export` in front. A value with \
         spaces or `#` stands in quotes, single ones keep everything as it is, double ones know \
         `\\n`, `\\t`, `\\\"`, `\\\\` and `\\$`. A `#` begins a comment."
    HTTP_URL "E160" "a URL that cannot be allowed"
        "An item of `allow: {http: …}` is the beginning of URLs: `https://` or `http://`, a host, \
         perhaps a port and a path. It has no user, no query and no fragment."
    HTTP_WILDCARD "E161" "a `*` that stands for too much or too little"
        "`https://*.example.com/` covers all hosts below `example.com`, not itself. A `*` cannot \
         stand anywhere else, and not for an address."
    CA_FILE "E162" "a file of certificates that cannot be used"
        "`ca` is a file with certificates in PEM form (`-----BEGIN CERTIFICATE-----`), relative to \
         the folder of the project file. Servers whose certificate is signed by one of them are \
         trusted, beside those that the system trusts."
    TCP_ADDRESS "E163" "not an address to connect to"
        "`allow: {tcp: …}` lists addresses as `HOST:PORT`, each once: a name, an IPv4 address of four \
         decimal numbers, or an IPv6 address in brackets. `*.example.com:443` is all names below \
         `example.com`. Other spellings of addresses, such as `127.1`, are refused everywhere."
    STORE_TYPE "E170" "an unsupported type of store"
        "`kv` keeps values by their keys, `sql` is an SQLite database."
    STORE_PATH "E171" "a store that cannot be kept there"
        "`path` is a file of its own in the state folder, `data/` in the project unless `--state` \
         says otherwise. Without it the file is called as the store."
    DURABILITY "E172" "not a kind of durability"
        "With `full` a change is acknowledged when it is on the disk, with `relaxed` when the \
         system has it: it then survives the end of the master, but not that of the machine."
    UNKNOWN_STORE "E173" "a store that does not exist"
        "`allow` names stores that the same project file lists under `stores`, each with a type of \
         its own."
    ACCESS "E174" "not a kind of access"
        "`read` is to look, `read-write` also to change."
    MIGRATIONS "E175" "a folder of migrations that cannot be read"
        "`migrations` is a folder in the project, relative to the project file, and each of its files \
         is a migration of the store. It must be there, and be inside of the project."
    MIGRATION_NAME "E176" "a file that is not in the order of migrations"
        "Migrations are called `001-name.sql` or `001_name.sql`, with the number in front. The \
         numbers begin with 1 and have no gaps, and no two files have the same, so that there is one \
         order in which they are applied."
    STORE_KEY "E177" "a key of another type of store"
        "`migrations` are for stores of the type `sql`; a `kv` store has nothing of the kind."
    STORE_SIZE "E178" "not a size of a store"
        "What a store may have: the bytes of a database, or the entries of a store of type `kv` with \
         64 bytes for each beside key and value. Sizes are whole numbers with `KiB`, `MiB`, `GiB`; \
         `none` leaves it to the disk."
    SECRET_NAME "E180" "not a name of a secret"
        "A secret is given to the function as an environment variable of its name, so that has \
         letters, digits and `_`, begins with no digit, and has at most 128 characters."
    SECRET_MISSING "E181" "a secret that is not there"
        "`secrets` lists names; the values come from the file that `embly secrets set` writes, or \
         else from the environment of `embly` when it starts. A missing one is an error, because an \
         empty password is worse than none. `embly dev` also reads `.env`."
    SECRETS_UNREADABLE "E182" "secrets that cannot be read"
        "The file of secrets in the state folder is there, and cannot be read for the reason given. \
         What it has wins over the environment, so nobody can tell which value is meant."
    SECRET_VALUE "E183" "a value that cannot be a secret"
        "A secret has 4 bytes at least: it is taken out of the log wherever it stands there, and \
         shorter ones stand everywhere. It has at most 32 KiB, and no NUL character."
    TLS "E184" "a certificate that cannot be served"
        "`tls` has a certificate with its chain, `cert`, and its private key, `key`: two files in PEM \
         form, relative to the folder of the project file; or a list of such pairs. `{dev: true}` \
         stands for a certificate that `embly dev` makes."
    SHARED_SOCKET "E185" "gateways that share a port and differ in what comes before HTTP"
        "Which of several gateways at one port is meant shows with the host of a request. What comes \
         before that is the same for all: they all have `tls`, or none, and `proxies`, \
         `proxy_protocol`, and `head` and `keep_alive` of `timeouts` are equal."
    PROXIES "E186" "proxies that cannot be trusted"
        "`proxies` lists addresses (`127.0.0.1`), networks (`10.0.0.0/8`), and `unix` for programs that \
         connect to a Unix socket. What they say about their clients is believed. `proxy_protocol: true` \
         expects the PROXY protocol from them, so it needs such a list."
    SOCKET_PORT "E187" "a `port` where there is none"
        "A Unix socket and a socket of systemd have no port of the project file, so the key would have no \
         effect."
    ACCESS_LOG "E188" "an access log that cannot be kept there"
        "`access_log` is a file in the state folder, `access.log` for example, or a map with its `path` \
         and a `format`: `combined` or `json`. It is no file of a store or of Embly itself. Gateways may \
         write one file together, all in the same format."
    ROUTE_PATH "E190" "not a path of a route"
        "A path begins with `/`. A segment is text, or `{name}` for anything that is not empty; \
         `{name...}` at the end is all that follows, also nothing. Percent-encoding is compared \
         decoded."
    ROUTE_CLASH "E191" "two routes for the same requests"
        "A literal segment beats a parameter, and a parameter beats the rest, so the order of \
         routes never matters. Of these two neither is more special, so one of them could never be \
         taken."
    ROUTE_TARGET "E192" "a gateway or route without one thing behind it"
        "A route leads to a `function`, is a `redirect`, or serves `files`: one of them. A gateway has a \
         `function`, `routes`, or both: the function then takes what no route matches."
    METHOD "E193" "not a method"
        "Methods are written as HTTP has them: `GET`, `POST`, in capitals. Without `methods` a \
         route takes all."
    HOST "E194" "not a host"
        "A host is a name as browsers send it, such as `example.test`, or `*.example.test` for all \
         names below it; without a scheme, a port or a path."
    REDIRECT "E195" "not a redirect"
        "`to` is a path or a whole URL. `{name}` in it is a parameter of the route. `status` is \
         301, 302, 303, 307 or 308."
    HTTP_ONLY "E196" "a key for gateways of type http"
        "`hosts` and `routes` look into HTTP requests. A gateway of type tcp sees none, and one \
         of type websocket has one function for all of them, so the key would have no effect. Nor \
         have `body` and `response` of `timeouts` on a WebSocket, for which `idle` counts."
    FILES "E197" "files that cannot be served"
        "`root` is a folder, relative to that of the project file. The path of the route ends with \
         `{name...}`, which is the file's path below `root`. `not_found` is a file below it."
    WEBSOCKET "E198" "not how WebSockets are served"
        "`websocket` stands beside the `function` of a route, or in a gateway of type websocket: `true`, or \
         its keys. A handshake is a GET, so such a route takes no other `methods`. `origins` are as \
         browsers send them: `https://example.test`, with a port where it is not the usual one."
    IP_RANGE "E200" "not a range of addresses"
        "`ip` lists addresses and ranges of them: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`. A range \
         begins at its first address. An IPv4 address covers the same one written in IPv6."
    HEADER "E201" "a header that cannot be set or removed"
        "A header has a name as HTTP has them, and a value of one line. Those that frame a message or are \
         for one hop, `x-request-id`, and those that begin with `embly-` are made by the gateway."
    RATE "E202" "not a rate of requests"
        "`requests` is how many on the average: `100/s`, `60/m`, `1000/h`; `burst` is how many at once, \
         from 1 up. Each client is counted by itself, `by: client`; there is no other way yet."
    ORIGIN "E203" "not an origin"
        "An origin is a scheme, a host, and a port where it is not the usual one, as browsers send it: \
         `https://app.example.com`. `*` alone is all of them."
    CORS "E204" "cross-origin rules that browsers refuse"
        "With `credentials: true` a browser takes no `*`, neither for origins nor for methods and headers: \
         any page could act as the user. List what is meant."
    AUTH "E205" "not one way to know who asks"
        "`auth` has one of `basic`, `bearer` and `jwt`. `algorithms` of `jwt` are RS256, ES256, EdDSA and \
         HS256."
    AUTH_HASH "E206" "not a hash of a password or token"
        "The file has no secrets in it, only their hashes. `embly hash` asks for a password and prints the \
         hash for `basic`, which begins with `$argon2id$`; `embly hash --token` makes a token and prints it \
         with its hash for `bearer`, `sha256:` and 64 hexadecimal digits."
    JWKS "E207" "a key set that cannot be used"
        "`keys` is a file with a JSON Web Key Set, relative to the folder of the project file: \
         `{\"keys\": [{\"kty\": …}]}`, with one key at least that can check a signature of the algorithms."
    COMPRESS "E208" "not what can be compressed"
        "`compress` is `true`, or has `types`, such as `text/html` or `text/*`, and `least`, the smallest \
         answer that is compressed."
    CRON "E210" "not a schedule"
        "`schedule` has five fields: minute, hour, day of the month, month, day of the week, each a \
         number, `*`, a list `1,2`, a range `1-5` or a step `*/5`; a sixth in front is the second. \
         `@hourly`, `@daily`, `@weekly` and `@monthly` are known as well. `timezone` is a name of \
         the IANA database; `overlap` is `skip`, `queue` or `allow`, `missed` is `skip` or `run-once`."
    NOT_IN_BUNDLES "E220" "not for another machine"
        "A bundle has what a project needs elsewhere, but for its keys: those of certificates, and sets \
         that may have secrets in them, lie on the machine that serves. A path that is relative to the \
         project leads nowhere there, so it is written whole: `/etc/embly/web.key`. The same goes for \
         Unix sockets: `bind: unix:/run/embly/web.sock`. And what a bundle brings along is named in one \
         plain line."
    HEALTH "E221" "not a path for health"
        "`health` of a gateway is a path, as `/healthz`, and a query where one is needed. A version that \
         is deployed has to answer a GET there with a status from 200 to 299, or the one before it is \
         served again."
    LOG_SINK "E222" "a log that cannot be written"
        "`logs` is a list, each with a `name` of its own and a `type`: `file`, with its `path` in the state \
         folder, or `syslog`, with an `address` such as `/dev/log`, `unix:/run/log.sock` or \
         `udp:127.0.0.1:514`. A file is no store, no access log, and no other log's. `rotate` has `size`, \
         from 4KiB, and `keep`, from 1 to 100."
    LOG_LEVEL "E223" "not a level of a log"
        "A level is `debug`, `info`, `warn` or `error`: what is less severe is left out. A line of which the \
         function does not say the level counts as `info` on standard output and as `warn` on standard \
         error."
    UNKNOWN_ENVIRONMENT "E224" "an environment that does not exist"
        "`--environment NAME` takes what the file says under `environments: {NAME: …}`. `embly check` checks \
         all of them."
    NOT_THERE_TO_CHANGE "E225" "nothing of that name to change"
        "An environment changes the function, gateway, store or log that has the same `name` in the file, \
         and adds one that has all of the keys that such a thing needs. What has another name and not all of \
         the keys is neither: most often the name is misspelled."
    MEMORY_SUM "W101" "limits that together exceed the machine"
        "`concurrency` invocations that each use all of `memory` would need more than the \
         machine has. That is fine while most of them use less; when they do not, invocations \
         are refused or ended before they reach their own limit."
    CPU_WINDOW "W102" "a CPU limit that is never reached"
        "An invocation runs on one core at a time, so it cannot use more than 60 s of CPU time in \
         60 s. A limit that large never ends anything; `none` says the same more clearly."
    NEARLY_NAMED "W103" "a name that is nearly another"
        "An environment adds a function, gateway, store or log whose name is nearly that of one in the file. \
         If that one was meant, it is left as it was, and there are two."
    ELSEWHERE "W104" "a file that is not on this machine"
        "Keys and certificates lie on the machine that serves. The project was read for another one than          this, in an environment that was not chosen here or for a bundle, so the file is not missed;          what is in it is looked at where the project runs."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_in_order_and_explained() {
        for pair in ALL.windows(2) {
            assert!(pair[0].id < pair[1].id, "{}", pair[1].id);
        }
        for code in ALL {
            assert_eq!(code.id.len(), 4, "{}", code.id);
            assert!(code.explanation.len() > code.title.len(), "{}", code.id);
            assert!(code.explanation.ends_with('.'), "{}", code.id);
            assert!(!code.title.ends_with('.'), "{}", code.id);
        }
    }
}
