//! The table of endpoints: what there is, what it takes, how it can fail. The server finds its way by
//! it, and the OpenAPI document is made from it.

use http::{Method, StatusCode};
use serde_json::Value;

use super::api;
use super::schema::Schema as _;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Master,
    Invocations,
    Functions,
    Events,
    Logs,
    Traces,
    Trace,
    Kill,
    Reload,
    Versions,
    Deploy,
    Rollback,
    Stop,
    OpenApi,
}

/// A parameter in the query.
#[derive(Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub about: &'static str,
    pub form: Form,
    pub required: bool,
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It is there or not, and has no value.
    Flag,
    Name,
    Address,
    Time,
    Number,
}

/// The name of an object, and its schema.
type Named = (&'static str, fn() -> Value);

/// One endpoint.
#[derive(Debug)]
pub struct Endpoint {
    pub operation: Operation,
    pub method: Method,
    /// What stands in braces, `{address}` or `{id}`, is one segment.
    pub path: &'static str,
    pub about: &'static str,
    pub query: &'static [Parameter],
    /// The type of the body of a request, where it has one.
    pub takes: Option<&'static str>,
    /// The status, where it was done.
    pub status: StatusCode,
    /// Name and schema of the answer; `None` for JSON objects that are lines.
    pub answer: Option<Named>,
    pub failures: &'static [Code],
}

/// A word for what went wrong, with its status, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The word.
    pub name: &'static str,
    /// The status of answers with it.
    pub status: StatusCode,
    /// What to do.
    pub help: &'static str,
}

macro_rules! codes {
    ($($(#[doc = $about:literal])+ $name:ident = $text:literal, $status:ident, $help:literal;)+) => {
        $($(#[doc = $about])+
        pub const $name: Code = Code {
            name: $text,
            status: StatusCode::$status,
            help: $help,
        };)+

        /// All of them.
        #[cfg(test)]
        pub const CODES: &[Code] = &[$($name),+];
    };
}

codes! {
    /// Whoever asks is not the user who runs the master.
    OTHER_USER = "other_user", FORBIDDEN, "ask as the user who runs the master";
    /// There is no such path.
    UNKNOWN_PATH = "unknown_path", NOT_FOUND, "`GET /v1/openapi.json` lists what there is";
    /// The path is there, with another method.
    WRONG_METHOD = "wrong_method", METHOD_NOT_ALLOWED, "the header `allow` names those that there are";
    /// A parameter is not there, or cannot be read.
    BAD_PARAMETER = "bad_parameter", BAD_REQUEST, "`GET /v1/openapi.json` says what can be asked for, and how";
    /// What stands in the place of an address is none.
    BAD_ADDRESS = "bad_address", BAD_REQUEST, "an address has 1 to 16 hex digits, as `embly ps` shows them";
    /// No invocation of this address runs.
    UNKNOWN_ADDRESS = "unknown_address", NOT_FOUND, "`embly ps` shows those that run";
    /// Nothing is kept of this invocation or request.
    UNKNOWN_TRACE = "unknown_trace", NOT_FOUND, "`embly trace` lists what is kept: what runs, and what ended lately";
    /// More than one request or invocation has an id that begins like this.
    SEVERAL_TRACES = "several_traces", CONFLICT, "write more of the one that is meant";
    /// The project has no such function.
    UNKNOWN_FUNCTION = "unknown_function", NOT_FOUND, "`embly ps --functions` shows those that are there";
    /// No such version is kept.
    UNKNOWN_VERSION = "unknown_version", NOT_FOUND, "`embly versions` shows those that are kept";
    /// The master has no folder of its own for versions.
    NO_STATE = "no_state", CONFLICT, "start it with `embly run --state DIR`, then deploy";
    /// The folder for versions cannot be used.
    NOT_KEPT = "not_kept", INTERNAL_SERVER_ERROR, "see that the user of the master can write the state folder, and that there is room";
    /// Several changes are waited for, or a bundle is under way.
    BUSY = "busy", SERVICE_UNAVAILABLE, "ask again when the one under way is done";
    /// The master is stopping.
    STOPPING = "stopping", SERVICE_UNAVAILABLE, "start it again with `embly run`";
    /// The project file has mistakes; what was served is served.
    PROJECT_FILE = "project_file", UNPROCESSABLE_ENTITY, "mend the project file, then reload, or deploy a new bundle of it; it is served as it was";
    /// A bundle is none, is damaged, or is not signed as it must be; what was served is served.
    BAD_BUNDLE = "bad_bundle", UNPROCESSABLE_ENTITY, "what was served is served as it was";
    /// A function was not built; what was served is served.
    BUILD_FAILED = "build_failed", UNPROCESSABLE_ENTITY, "the output of the master says why; it is served as it was";
    /// A gateway cannot listen, or a service cannot be provided; what was served is served.
    NOT_SERVED = "not_served", UNPROCESSABLE_ENTITY, "mend what the message names, then reload, or deploy again; it is served as it was";
    /// A gateway does not answer at its `health` as it should; what was served is served.
    UNHEALTHY = "unhealthy", UNPROCESSABLE_ENTITY, "mend the function at `health` of the gateway, then deploy; it is served as it was";
}

const FUNCTION: Parameter = Parameter {
    name: "function",
    about: "Only of this function.",
    form: Form::Name,
    required: false,
};
const ADDRESS: Parameter = Parameter {
    name: "address",
    about: "Only of this invocation.",
    form: Form::Address,
    required: false,
};
const SINCE: Parameter = Parameter {
    name: "since",
    about: "Only what came at this time or later, RFC 3339.",
    form: Form::Time,
    required: false,
};
const VERSION: Parameter = Parameter {
    name: "version",
    about: "This one; otherwise the latest before the current one.",
    form: Form::Number,
    required: false,
};
const FOLLOW: Parameter = Parameter {
    name: "follow",
    about: "Goes on with what comes, until the client or the master ends it.",
    form: Form::Flag,
    required: false,
};

/// For what is not kept.
const MUST_FOLLOW: Parameter = Parameter {
    required: true,
    ..FOLLOW
};

/// The type of a bundle.
const BUNDLE: &str = "application/vnd.embly.bundle";

/// All there are.
pub static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        operation: Operation::Master,
        method: Method::GET,
        path: "/v1/master",
        about: "Who this master is, and what it serves.",
        query: &[],
        takes: None,
        status: StatusCode::OK,
        answer: Some(("Master", api::Master::schema)),
        failures: &[],
    },
    Endpoint {
        operation: Operation::Invocations,
        method: Method::GET,
        path: "/v1/invocations",
        about: "What runs now.",
        query: &[],
        takes: None,
        status: StatusCode::OK,
        answer: Some(("Invocations", api::Invocations::schema)),
        failures: &[],
    },
    Endpoint {
        operation: Operation::Functions,
        method: Method::GET,
        path: "/v1/functions",
        about: "What can run, and how much of it does.",
        query: &[],
        takes: None,
        status: StatusCode::OK,
        answer: Some(("Functions", api::Functions::schema)),
        failures: &[],
    },
    Endpoint {
        operation: Operation::Events,
        method: Method::GET,
        path: "/v1/events",
        about: "The events from now on, one JSON object a line, each with its `time`. Who reads too slowly loses some, and finds `{\"event\": \"lost\", \"lines\": N}` in their place.",
        query: &[MUST_FOLLOW, FUNCTION, ADDRESS],
        takes: None,
        status: StatusCode::OK,
        answer: None,
        failures: &[BAD_PARAMETER, BAD_ADDRESS, UNKNOWN_FUNCTION],
    },
    Endpoint {
        operation: Operation::Logs,
        method: Method::GET,
        path: "/v1/logs",
        about: "The last lines of the logs of functions, as events, oldest first.",
        query: &[FOLLOW, FUNCTION, ADDRESS, SINCE],
        takes: None,
        status: StatusCode::OK,
        answer: None,
        failures: &[BAD_PARAMETER, BAD_ADDRESS, UNKNOWN_FUNCTION],
    },
    Endpoint {
        operation: Operation::Traces,
        method: Method::GET,
        path: "/v1/traces",
        about: "What can be looked at: invocations that run, and those that ended lately, the oldest first.",
        query: &[FUNCTION],
        takes: None,
        status: StatusCode::OK,
        answer: Some(("Traces", api::Traces::schema)),
        failures: &[BAD_PARAMETER, UNKNOWN_FUNCTION],
    },
    Endpoint {
        operation: Operation::Trace,
        method: Method::GET,
        path: "/v1/traces/{id}",
        about: "Who started whom, what went between them and how each ended, of a request or of all that belongs to an invocation.",
        query: &[],
        takes: None,
        status: StatusCode::OK,
        answer: Some(("Traced", api::Traced::schema)),
        failures: &[UNKNOWN_TRACE, SEVERAL_TRACES],
    },
    Endpoint {
        operation: Operation::Kill,
        method: Method::POST,
        path: "/v1/invocations/{address}/kill",
        about: "Ends an invocation, with the reason `killed`, and what it has started.",
        query: &[],
        takes: None,
        status: StatusCode::ACCEPTED,
        answer: Some(("Killed", api::Killed::schema)),
        failures: &[BAD_ADDRESS, UNKNOWN_ADDRESS],
    },
    Endpoint {
        operation: Operation::Reload,
        method: Method::POST,
        path: "/v1/reload",
        about: "Reads the project again, builds what has changed and serves it; answers when that is done.",
        query: &[],
        takes: None,
        status: StatusCode::OK,
        answer: Some(("Reloaded", api::Reloaded::schema)),
        failures: &[
            PROJECT_FILE,
            BAD_BUNDLE,
            BUILD_FAILED,
            NOT_SERVED,
            BUSY,
            STOPPING,
        ],
    },
    Endpoint {
        operation: Operation::Versions,
        method: Method::GET,
        path: "/v1/versions",
        about: "The versions that were deployed and are kept, the latest first.",
        query: &[],
        takes: None,
        status: StatusCode::OK,
        answer: Some(("Versions", api::Versions::schema)),
        failures: &[NO_STATE, NOT_KEPT],
    },
    Endpoint {
        operation: Operation::Deploy,
        method: Method::POST,
        path: "/v1/versions",
        about: "Takes a bundle, compiles all of it and serves it; answers when that is done and it is healthy.",
        query: &[],
        takes: Some(BUNDLE),
        status: StatusCode::OK,
        answer: Some(("Deployed", api::Deployed::schema)),
        failures: &[
            NO_STATE,
            BAD_BUNDLE,
            PROJECT_FILE,
            BUILD_FAILED,
            NOT_SERVED,
            UNHEALTHY,
            NOT_KEPT,
            BUSY,
            STOPPING,
        ],
    },
    Endpoint {
        operation: Operation::Rollback,
        method: Method::POST,
        path: "/v1/rollback",
        about: "Serves a version that was deployed before.",
        query: &[VERSION],
        takes: None,
        status: StatusCode::OK,
        answer: Some(("Deployed", api::Deployed::schema)),
        failures: &[
            BAD_PARAMETER,
            NO_STATE,
            UNKNOWN_VERSION,
            BAD_BUNDLE,
            PROJECT_FILE,
            BUILD_FAILED,
            NOT_SERVED,
            UNHEALTHY,
            NOT_KEPT,
            BUSY,
            STOPPING,
        ],
    },
    Endpoint {
        operation: Operation::Stop,
        method: Method::POST,
        path: "/v1/stop",
        about: "Has the master finish what runs, then stop; a second time, stop at once.",
        query: &[],
        takes: None,
        status: StatusCode::ACCEPTED,
        answer: Some(("Stopping", api::Stopping::schema)),
        failures: &[],
    },
    Endpoint {
        operation: Operation::OpenApi,
        method: Method::GET,
        path: "/v1/openapi.json",
        about: "This document.",
        query: &[],
        takes: None,
        status: StatusCode::OK,
        answer: Some(("Document", Value::schema)),
        failures: &[],
    },
];

/// What is in the place of the braces, or nothing.
pub type Segment<'p> = Option<&'p str>;

/// The endpoints of a path, whatever their methods.
pub fn at(path: &str) -> impl Iterator<Item = (&'static Endpoint, Segment<'_>)> {
    ENDPOINTS
        .iter()
        .filter_map(move |endpoint| Some((endpoint, matches(endpoint.path, path)?)))
}

fn matches<'p>(template: &str, path: &'p str) -> Option<Segment<'p>> {
    let Some((before, rest)) = template.split_once('{') else {
        return (template == path).then_some(None);
    };
    let (_, after) = rest.split_once('}')?;
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(Some(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_endpoint() {
        let found = |path| at(path).next().map(|(found, part)| (found.operation, part));
        assert_eq!(found("/v1/master"), Some((Operation::Master, None)));
        let kill = found("/v1/invocations/0a/kill");
        assert_eq!(kill, Some((Operation::Kill, Some("0a"))));
        let trace = Some((Operation::Trace, Some("0a")));
        assert_eq!(found("/v1/traces/0a"), trace);
        for wrong in [
            "/",
            "/v1/traces/",
            "/v1/master/",
            "/v1/invocations//kill",
            "/v1/invocations/a/b/kill",
            "/v1/invocations/kill",
        ] {
            assert_eq!(found(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_reference_has_every_endpoint_and_every_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/admin.md");
        let reference = std::fs::read_to_string(path).unwrap();
        for Endpoint {
            method,
            path,
            query,
            failures,
            ..
        } in ENDPOINTS
        {
            let row = format!("| `{method} {path}` |");
            let row = reference.lines().find(|line| line.starts_with(&row));
            let row = row.unwrap_or_else(|| panic!("no row for {method} {path}"));
            for parameter in *query {
                assert!(row.contains(&format!("`{}`", parameter.name)), "{row}");
            }
            assert!(failures.iter().all(|code| CODES.contains(code)));
        }
        for Code { name, status, .. } in CODES {
            let row = format!("| `{name}` | {} |", status.as_u16());
            assert!(reference.contains(&row), "no row {row}");
        }
    }
}
