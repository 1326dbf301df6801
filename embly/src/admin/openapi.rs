//! The OpenAPI document, made from the table of endpoints.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::api;
use super::endpoint::{Code, ENDPOINTS, Endpoint, Form, OTHER_USER, Parameter, WRONG_METHOD};
use super::listener::SHOWN;
use super::schema::Schema as _;

/// The type of answers that are JSON objects, one a line.
pub const LINES: &str = "application/x-ndjson";

/// The whole document.
pub fn document() -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    schemas.insert("Failed".to_owned(), api::Failed::schema());
    for endpoint in ENDPOINTS {
        if let Some((name, schema)) = endpoint.answer {
            schemas.insert(name.to_owned(), schema());
        }
        let methods = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        methods[endpoint.method.as_str().to_lowercase()] = operation(endpoint);
    }
    for (path, about, statuses) in SHOWN {
        paths.insert((*path).to_owned(), shown(about, statuses));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Embly admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Of a running master, on the Unix socket `admin.sock` in its folder of sockets, for its own user.",
        },
        "servers": [{"url": "http://localhost"}],
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// What is elsewhere, for whoever asks.
fn shown(about: &str, statuses: &[StatusCode]) -> Value {
    let text = json!({"text/plain": {"schema": {"type": "string"}}});
    let statuses = statuses.iter().chain([&StatusCode::METHOD_NOT_ALLOWED]);
    let responses: Map<String, Value> = statuses
        .map(|status| {
            let about = status.canonical_reason().unwrap_or_default();
            let response = json!({"description": about, "content": text});
            (status.as_str().to_owned(), response)
        })
        .collect();
    // Without bodies, but with their types.
    json!({
        "servers": [{
            "url": "http://{address}",
            "description": "Where `--admin-listen` says, and only there.",
            "variables": {"address": {"default": "127.0.0.1:9090"}},
        }],
        "get": {"summary": about, "responses": responses},
        "head": {"summary": about, "responses": responses},
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let content = match endpoint.answer {
        Some((name, _)) => json!({"application/json": {"schema": reference(name)}}),
        None => json!({LINES: {"schema": {"type": "string"}}}),
    };
    let mut responses = Map::new();
    responses.insert(
        endpoint.status.as_str().to_owned(),
        json!({"description": endpoint.about, "content": content}),
    );
    let always = [OTHER_USER, WRONG_METHOD];
    for code in endpoint.failures.iter().chain(&always) {
        fail(&mut responses, code);
    }
    let mut parameters: Vec<Value> = endpoint.query.iter().map(parameter).collect();
    for (name, about, form) in [
        ("address", "An address.", Form::Address),
        ("id", "An address, or the id of a request.", Form::Name),
    ] {
        if endpoint.path.contains(&format!("{{{name}}}")) {
            parameters.push(json!({
                "name": name,
                "in": "path",
                "required": true,
                "description": about,
                "schema": schema_of(form),
            }));
        }
    }
    let mut operation = json!({
        "operationId": format!("{:?}", endpoint.operation),
        "summary": endpoint.about,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(kind) = endpoint.takes {
        operation["requestBody"] = json!({"required": true, "content": {kind: {}}});
    }
    operation
}

fn schema_of(form: Form) -> Value {
    match form {
        Form::Flag => json!({"type": "string", "maxLength": 0}),
        Form::Name => json!({"type": "string"}),
        // Not all of them zero.
        Form::Address => json!({"type": "string", "pattern": "^(?!0+$)[0-9a-fA-F]{1,16}$"}),
        Form::Number => json!({"type": "integer", "minimum": 1, "maximum": i64::MAX}),
        Form::Time => json!({"type": "string", "format": "date-time"}),
    }
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "allowEmptyValue": parameter.form == Form::Flag,
        "description": parameter.about,
        "schema": schema_of(parameter.form),
    })
}

/// Several codes may have the same status.
fn fail(responses: &mut Map<String, Value>, code: &Code) {
    let response = responses.entry(code.status.as_str()).or_insert_with(|| {
        json!({
            "description": "",
            "content": {"application/json": {"schema": reference("Failed")}},
        })
    });
    let before = response["description"].as_str().unwrap_or_default();
    let joint = if before.is_empty() { "" } else { "; " };
    response["description"] = format!("{before}{joint}`{}`: {}", code.name, code.help).into();
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
